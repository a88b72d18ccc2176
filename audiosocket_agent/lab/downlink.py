"""What Asterisk makes of the bytes a service sends it. Sans-IO: bytes and times in, messages out.

Asterisk 22, `res/res_audiosocket.c`, `ast_audiosocket_receive_frame_with_hangup`: audio of any kind
and length is played, kind 0x00 is the end, and anything else, an empty audio message too, loses the
call. A payload must follow its header without a pause: each part is waited for 5 ms. `wire.Decoder`
reads the other direction, and is not used here: what is to be measured must not measure itself.
"""

from dataclasses import dataclass
from typing import Final

from audiosocket_agent import wire

SPLIT_SECONDS: Final = 0.005
"""Asterisk polls this long for the next part of a payload; 2 ms were seen to pass, 10 ms to end the
call."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The service broke the protocol, and Asterisk ends the call here. `why` says what it met."""

    why: str


Message = wire.Audio | wire.Hangup | Broken


class Downlink:
    """Turns the stream from a service, however it is split, into messages.

    `late_payloads` counts those whose parts came more than 5 ms apart. Asterisk would end the call;
    here it is only noted, since this process can be late itself.
    """

    def __init__(self) -> None:
        self.late_payloads = 0
        self._pending = b""  # less than one message: 65,538 bytes at the most
        self._pending_at = 0.0
        self._over = False

    def feed(self, data: bytes, at: float) -> list[Message]:
        """Take the next bytes, received `at` (seconds, any clock), and return what they complete.

        After Hangup or Broken there is nothing more to read, and nothing is returned.
        """
        if self._over:
            return []
        if self._pending:
            if len(self._pending) >= wire.HEADER_BYTES and at - self._pending_at > SPLIT_SECONDS:
                self.late_payloads += 1
            data = self._pending + data
        messages: list[Message] = []
        start = 0
        while not self._over and len(data) - start >= wire.HEADER_BYTES:
            kind, length = data[start], data[start + 1] << 8 | data[start + 2]
            stop = start + wire.HEADER_BYTES + length
            if kind in wire.RATE_HZ and length and stop > len(data):
                break
            messages.append(self._message(kind, data[start + wire.HEADER_BYTES : stop]))
            start = stop
        self._pending, self._pending_at = data[start:], at
        return messages

    def end(self) -> Broken | None:
        """The service closed the connection: not a clean end if it did so inside a message."""
        if self._pending and not self._over:
            return Broken("the connection was closed inside a message")
        return None

    def _message(self, kind: int, payload: bytes) -> Message:
        if kind in wire.RATE_HZ and payload:
            return wire.Audio(kind, payload)
        self._over = True
        if kind == wire.Kind.HANGUP:
            return wire.Hangup()
        if kind in wire.RATE_HZ:
            return Broken(f"audio of length 0 (kind 0x{kind:02x})")
        return Broken(f"a message of kind 0x{kind:02x}, which Asterisk does not take")

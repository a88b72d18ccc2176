"""The AudioSocket wire, on one page. Sans-IO: bytes in, messages out.

Source of every fact here: Asterisk 22, `res/res_audiosocket.c` and
`include/asterisk/res_audiosocket.h`.

    +------+--------+--------+---------------- - -
    | kind | length (16, BE) | payload: `length` bytes
    +------+--------+--------+---------------- - -

Asterisk connects to us and sends UUID first, then audio and digits, and closes the socket when the
caller hangs up. We send audio, and HANGUP when the dialplan is to go on. Audio is signed 16-bit
little-endian mono; its kind tells the rate. A message carries one frame of the caller, usually
20 ms, so at 8 kHz: 8000 Hz * 0.020 s * 2 bytes = 320 bytes, and 960 bytes at 24 kHz.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from audiosocket_agent.errors import PeerError

HEADER_BYTES: Final = 3
SAMPLE_BYTES: Final = 2
UUID_BYTES: Final = 16

MAX_AUDIO_BYTES: Final = 23_040
"""60 ms at 192 kHz, the longest frame Asterisk was seen to send at the highest rate it has.
The length field could say 65,535; a peer that uses it is not Asterisk."""


class Kind(IntEnum):
    """What a message is (`enum ast_audiosocket_msg_kind`)."""

    HANGUP = 0x00
    UUID = 0x01
    DTMF = 0x03
    SLIN = 0x10  # 8 kHz, the only audio kind before Asterisk 20.17, 21.12, 22.7 and 23.1
    SLIN12 = 0x11
    SLIN16 = 0x12
    SLIN24 = 0x13
    SLIN32 = 0x14
    SLIN44 = 0x15
    SLIN48 = 0x16
    SLIN96 = 0x17
    SLIN192 = 0x18


RATE_HZ: Final[dict[int, int]] = {
    Kind.SLIN: 8_000,
    Kind.SLIN12: 12_000,
    Kind.SLIN16: 16_000,
    Kind.SLIN24: 24_000,
    Kind.SLIN32: 32_000,
    Kind.SLIN44: 44_100,
    Kind.SLIN48: 48_000,
    Kind.SLIN96: 96_000,
    Kind.SLIN192: 192_000,
}
KIND_OF_RATE: Final[dict[int, Kind]] = {rate: Kind(kind) for kind, rate in RATE_HZ.items()}


@dataclass(frozen=True, slots=True)
class Identity:
    """The first message of a connection: which call this is."""

    uuid: uuid.UUID


@dataclass(frozen=True, slots=True)
class Audio:
    """One frame of the caller: `payload` is s16le mono at `RATE_HZ[kind]`, any whole length."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Digit:
    """A DTMF digit, sent once, when the caller lets the key go: one of 0-9, A-D, * and #."""

    digit: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """The peer ends the call. Asterisk itself never says so: it closes the socket."""


Message = Identity | Audio | Digit | Hangup

HANGUP: Final = bytes((Kind.HANGUP, 0, 0))
_DIGITS: Final = frozenset("0123456789ABCDabcd*#")


class Decoder:
    """Turns a byte stream, however it is split, into messages.

    The UUID must come first and only once; that, like every limit, is checked here, so that what
    `feed` returns can be used as it is.
    """

    def __init__(self, max_audio_bytes: int = MAX_AUDIO_BYTES) -> None:
        self._max_audio_bytes = max_audio_bytes
        self._pending = b""
        self._identified = False
        self._usual_head = b""  # of the last audio
        self.usual_bytes = 0
        """Of its message; 0 in the middle of another."""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take the next bytes of the stream; gives the messages they complete, one by one, so that
        those before a mistake are not lost by it. To be iterated to its end.

        At most one unfinished message is kept, so at most `max_audio_bytes` + 3 bytes.
        Raises PeerError at the first header or payload that breaks the protocol; the stream has no
        meaning after that.
        """
        data = self._pending + data if self._pending else data
        self._pending = b""
        start, end = 0, len(data)
        while end - start >= HEADER_BYTES:
            kind = data[start]
            length = data[start + 1] << 8 | data[start + 2]
            self._check_header(kind, length)
            stop = start + HEADER_BYTES + length
            if stop > end:
                break
            if kind in RATE_HZ:
                self._usual_head = data[start : start + HEADER_BYTES]
                self.usual_bytes = stop - start
            yield self._message(kind, data[start + HEADER_BYTES : stop])
            start = stop
        self._pending = data[start:]
        if self._pending:
            self.usual_bytes = 0

    def usual(self, data: bytes) -> int:
        """Of how many messages like the last audio the next bytes are made, where they are made of
        nothing else: one, as a PBX writes them, or a few where we read late. They need not be fed then:
        each is `usual_bytes` long, and its payload follows the header. A tenth of the work."""
        size, head = self.usual_bytes, self._usual_head
        if not size or len(data) % size:
            return 0
        if len(data) == size:
            return data.startswith(head)
        starts = range(0, len(data), size)
        return len(starts) if all(data.startswith(head, start) for start in starts) else 0

    @property
    def mid_message(self) -> bool:
        """True when the stream stopped inside a message: a close now is a cut, not an end."""
        return bool(self._pending)

    def _check_header(self, kind: int, length: int) -> None:
        if not self._identified and kind != Kind.UUID:
            raise PeerError("no_uuid", f"the first message is kind 0x{kind:02x}, not the UUID")
        if kind in RATE_HZ:
            if length > self._max_audio_bytes:
                limit = self._max_audio_bytes
                raise PeerError("too_long", f"audio of {length} bytes, more than {limit}")
            if length == 0 or length % SAMPLE_BYTES:
                raise PeerError(
                    "bad_length",
                    f"audio of {length} bytes is no whole number of 16-bit samples; where Asterisk "
                    "dials AudioSocket/… the codec must be given: /c(slin16)",
                )
        elif kind == Kind.UUID:
            if self._identified:
                raise PeerError("second_uuid", "a second UUID on the same connection")
            if length != UUID_BYTES:
                raise PeerError("bad_length", f"a UUID of {length} bytes, not {UUID_BYTES}")
        elif kind == Kind.DTMF:
            if length != 1:
                raise PeerError("bad_length", f"a DTMF message of {length} bytes, not 1")
        elif kind == Kind.HANGUP:
            if length != 0:
                raise PeerError("bad_length", f"a hangup message of {length} bytes, not 0")
        else:
            raise PeerError("unknown_kind", f"unknown message kind 0x{kind:02x}")

    def _message(self, kind: int, payload: bytes) -> Message:
        if kind in RATE_HZ:
            return Audio(kind, payload)
        if kind == Kind.DTMF:
            digit = chr(payload[0])
            if digit not in _DIGITS:
                raise PeerError("bad_digit", f"DTMF byte 0x{payload[0]:02x} is no digit")
            return Digit(digit.upper())
        if kind == Kind.UUID:
            self._identified = True
            return Identity(uuid.UUID(bytes=payload))
        return Hangup()


def identity(call: uuid.UUID) -> bytes:
    """The opening message of a PBX."""
    return bytes((Kind.UUID, 0, UUID_BYTES)) + call.bytes


def audio(kind: int, payload: bytes) -> bytes:
    """One audio message; to Asterisk it must leave in one write: a payload whose parts arrive
    more than 5 ms apart ends the call there (res_audiosocket.c, `ast_audiosocket_receive_frame`).
    """
    return bytes((kind, len(payload) >> 8, len(payload) & 0xFF)) + payload


def dtmf(digit: str) -> bytes:
    """One DTMF message, as a PBX sends it."""
    return bytes((Kind.DTMF, 0, 1)) + digit.encode("ascii")

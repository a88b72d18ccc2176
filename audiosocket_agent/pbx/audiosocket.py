"""The AudioSocket leg: a socket from Asterisk on one side, a listener on the other.

One protocol object per call. What arrives goes to the listener at once; what leaves is one frame every
20 ms from accept to the end, silence where the agent has nothing to say: Asterisk's channel driver may
not deliver the caller's audio until it has heard from us (asterisk issue 2089), and its application
hangs up after two quiet seconds (app_audiosocket.c).
"""

import asyncio
import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, cast

from audiosocket_agent import wire
from audiosocket_agent.audio import FRAME_SECONDS, FRAMES_PER_SECOND, frame_bytes, silence
from audiosocket_agent.audio.pacer import Pacer
from audiosocket_agent.audio.playout import Playout
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.clock import Ticker, monotonic
from audiosocket_agent.errors import PeerError
from audiosocket_agent.pbx.gate import AUDIO_SECONDS, DIGIT_SECONDS, Haste

IDENTITY_TIMEOUT_S: Final = 2.0
"""Asterisk sends the UUID in the same breath as it connects."""

CLOSE_TIMEOUT_S: Final = 1.0
"""What a peer has to close its end after our hangup before we do; Asterisk takes under 10 ms."""

USUAL_AT_ONCE: Final = 100
"""Messages that are like the one before are looked at for their haste by so many: two seconds' worth
of 20 ms."""

MAX_UNSENT_SECONDS: Final = 0.2
"""A peer that does not read gets no more than this queued in our process: the oldest frame is dropped
for the next, so that what it hears when it reads again is current."""

SEND_BUFFER_BYTES: Final = 16 * 1024
"""Asked of the kernel, which counts its own overhead in: about 15 frames. Left to itself it took 242 s
of audio for a peer on loopback that read nothing, all of which such a peer would hear later."""

STALLED_SECONDS: Final = 5.0
"""A peer that has read nothing for so long is gone."""

Tap = Callable[[float, bytes, int], None]
"""Takes a frame that was sent: its time (`Pacer.slot`), payload and rate in Hz. Must not block, or
raise."""


class LegListener(Protocol):
    """Whoever has the call. Every method is called in the event loop and must not block."""

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None:
        """The caller's next audio."""

    def pressed(self, digit: str) -> None:
        """The caller let go of a key."""

    def ticked(self, now: float) -> None:
        """20 ms have passed."""

    def played_out(self, now: float) -> None:
        """The last frame of a reply has left."""

    def closed(self, outcome: Outcome, error: Exception | None) -> None:
        """The socket is gone; nothing follows."""


@dataclass(slots=True)
class Counts:
    """What passed through one leg since it was last asked."""

    received: Counter[int] = field(default_factory=Counter)
    """Messages, by kind."""
    sent: int = 0
    late: int = 0
    """Wake-ups that came more than 20 ms late."""
    skipped_seconds: float = 0.0
    """Audio time given up: we were too late, the peer did not read, or the model was minutes
    ahead."""
    stalls: int = 0
    """Times the model's audio ran dry inside a reply."""


class _Frame(NamedTuple):
    """What leaves as soon as the peer reads."""

    message: bytes
    payload: bytes
    slot: float
    rate_hz: int


_MAX_HELD: Final = round(MAX_UNSENT_SECONDS * FRAMES_PER_SECOND) - 1  # and the one that is stuck


class Leg(asyncio.Protocol):
    """One connection from Asterisk.

    `identified` is called once, with the UUID, and returns the listener for the rest of the call, or
    None to refuse it. `lost` is called once for a connection that ends without a listener. `admitted` is
    asked first whether the `peer` may be here; where not, it is closed without a byte. `said`: what
    another process has read of the connection.
    `downlink_rate_hz`: 0 sends at the rate the caller's audio came in; any other needs Asterisk
    20.17, 21.12, 22.7 or 23.1, which tell kinds apart.
    """

    def __init__(
        self,
        ticker: Ticker,
        *,
        identified: Callable[["Leg", uuid.UUID], LegListener | None],
        lost: Callable[["Leg", Exception | None], None],
        admitted: Callable[["Leg"], bool] = lambda leg: True,
        said: bytes = b"",
        downlink_rate_hz: int = 0,
        playout_capacity_s: float = 180.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._ticker = ticker
        self._identified = identified
        self._lost = lost
        self._admitted = admitted
        self._said = said
        self._fixed_rate_hz = downlink_rate_hz
        self._clock = clock
        self._decoder = wire.Decoder()
        self._haste = Haste()
        self._usual = 0  # messages taken the short way, of which the above is to be told
        self._listener: LegListener | None = None
        self._transport: asyncio.Transport  # from connection_made on
        self._timer: asyncio.TimerHandle | None = None  # one deadline at a time: identity, close
        self._error: Exception | None = None
        self._outcome = Outcome.CALLER_HANGUP
        self._stuck_at: float | None = None  # since when the transport has a frame it cannot send
        self._held: list[_Frame] = []  # those that follow it
        self.tap: Tap | None = None  # who wants all that is sent, silence included
        self.playout = Playout(downlink_rate_hz or 8_000, capacity_s=playout_capacity_s)
        self._filler: Playout | None = None  # heard where the reply is not
        self._set_downlink(downlink_rate_hz or 8_000)
        self.pacer: Pacer  # from connection_made on
        self._counts = Counts()
        self.accepted_at = 0.0
        self.last_spoke_at = 0.0  # when a frame of a reply last left
        self.peer = ""
        self.done = False

    @property
    def due(self) -> float:
        """When the next frame is due."""
        return self.pacer.due

    # -- the socket ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        peername = transport.get_extra_info("peername") or ("",)
        self.peer = str(peername[0])
        self._transport.set_write_buffer_limits(high=0)  # what waits, waits here
        now = self.accepted_at = self._clock()
        self.pacer = Pacer(now)
        if not self._said and not self._admitted(self):
            self.close()
            return
        self._timer = asyncio.get_running_loop().call_later(IDENTITY_TIMEOUT_S, self._unidentified)
        self._ticker.add(self)
        said, self._said = self._said, b""
        if said:
            self.data_received(said)

    def data_received(self, data: bytes) -> None:
        if self.done:
            return
        if self._listener is None:
            self._said += data  # until it is known whose it is
        try:
            usual = self._decoder.usual(data)
            if usual:
                now = self._clock()
                self._usual += usual
                if self._usual >= USUAL_AT_ONCE:
                    self._haste.came(now, self._usual * AUDIO_SECONDS)
                    self._usual = 0
                size = self._decoder.usual_bytes
                for start in range(0, len(data), size):
                    self._hear(data[start], data[start + wire.HEADER_BYTES : start + size], now)
                    if self.done:
                        break
                if now >= self._ticker.due:
                    self._ticker.run(now)
                return
            for message in self._decoder.feed(data):
                if isinstance(message, wire.Audio):
                    now = self._clock()
                    self._haste.came(now, AUDIO_SECONDS)
                    self._hear(message.kind, message.payload, now)
                else:
                    self._take(message)
                if self.done:
                    break
        except Exception as error:  # noqa: BLE001 - PeerError, or a fault of ours: it ends this call alone
            self._fail(error)

    def eof_received(self) -> None:
        """The PBX has closed: the caller hung up, or the dialplan went on."""
        if self._decoder.mid_message:
            self._note(PeerError("truncated", "closed in the middle of a message"))
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done = True
        self._cancel_timer()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.closed(self._outcome, self._error)
        else:
            self._lost(self, self._error)

    # -- the caller ----------------------------------------------------------------------------

    def _hear(self, kind: int, payload: bytes, now: float) -> None:
        self._counts.received[kind] += 1
        rate_hz = wire.RATE_HZ[kind]
        if not self._fixed_rate_hz and rate_hz != self.playout.rate_hz:
            self._set_downlink(rate_hz)
        assert self._listener is not None  # the UUID comes first: the decoder sees to it
        self._listener.heard(payload, rate_hz, now)

    def _take(self, message: wire.Message) -> None:
        match message:
            case wire.Digit(digit):
                self._haste.came(self._clock(), DIGIT_SECONDS)
                self._counts.received[wire.Kind.DTMF] += 1
                assert self._listener is not None
                self._listener.pressed(digit)
            case wire.Identity(call):
                self._counts.received[wire.Kind.UUID] += 1
                self._cancel_timer()
                self._listener = self._identified(self, call)
                self._said = b""
                if self._listener is None:
                    self.hang_up()
            case wire.Hangup():
                self._counts.received[wire.Kind.HANGUP] += 1
                self.close()

    def _unidentified(self) -> None:
        self._fail(PeerError("no_uuid", f"no UUID within {IDENTITY_TIMEOUT_S:g} s"))

    def _set_downlink(self, rate_hz: int) -> None:
        """Speak at this rate from now on. A reply under way keeps the rate it began with: the next
        frame of the caller asks again."""
        if self.playout.set_rate(rate_hz):
            self._filler = None
            self._quiet, self._silence = _silent_frame(rate_hz)
            self._header = self._silence[: wire.HEADER_BYTES]

    def use_rate(self, rate_hz: int) -> None:
        """Send at this rate from now on, whatever the caller's is; 0 changes nothing, and neither
        does anything where the rate was fixed by `downlink_rate_hz`."""
        if rate_hz and not self._fixed_rate_hz:
            self._fixed_rate_hz = rate_hz
            self._set_downlink(rate_hz)

    def take_counts(self) -> Counts:
        """What passed since the last call of this."""
        counts, self._counts = self._counts, Counts()
        counts.late += self.pacer.late
        counts.skipped_seconds += self.pacer.skipped_seconds + self.playout.dropped_ms / 1000
        counts.stalls += self.playout.underruns
        self.pacer.late = 0
        self.pacer.skipped_seconds = self.playout.dropped_ms = 0.0
        self.playout.underruns = 0
        return counts

    # -- the agent -----------------------------------------------------------------------------

    def play(self, pcm: bytes, rate_hz: int) -> bool:
        """Queue the agent's audio; the first frame of a reply leaves now. True if one began."""
        self._filler = None
        begins = self.playout.push(pcm, rate_hz)
        if not self.playout.heard_ms:
            self._send_early()
        return begins

    def fill(self, pcm: bytes, rate_hz: int) -> None:
        """Play something into the silence that is no reply: it is neither waited for nor told of, and
        gone as soon as there is more of a reply."""
        self._filler = Playout(self.playout.rate_hz)
        self._filler.push(pcm, rate_hz)
        self._filler.finish()

    def hush(self) -> None:
        """Play no more of a filler."""
        self._filler = None

    def finish(self) -> None:
        """No more of the reply will come; when its last frame has left, `played_out` is called.
        A paused reply is not over, even if nothing of it is left to play: `resume` ends it."""
        under_way = not self.playout.idle
        self.playout.finish()
        if under_way and not self.playout.paused:
            self._played_out_if_idle(self._clock())

    def resume(self) -> None:
        """Go on with a paused reply, now."""
        if self.playout.paused:
            self.playout.paused = False
            self._played_out_if_idle(self._clock())
            self._send_early()

    def tick(self, now: float) -> float:
        """Send what is due: the reply's next frame, or silence."""
        pacer = self.pacer
        try:
            owed = pacer.take(now)
            for _ in range(owed):
                self._send_frame(now)
            if owed and self._listener is not None and not self.done:
                self._listener.ticked(now)
        except Exception as error:  # noqa: BLE001 - the ticker is shared: a fault of ours ends this call alone
            self._fail(error)
        return pacer.due

    def _send_early(self) -> None:
        now = self._clock()
        if not self.done and self.playout.ready and self.pacer.take_early(now):
            self._send_frame(now)

    def _send_frame(self, now: float) -> None:
        if self.done:  # a listener may end the call between two frames
            return
        frame = self.playout.take()
        if frame is not None:
            self._write(self._header + frame, frame, now)
            self.last_spoke_at = now
            self._played_out_if_idle(now)
            return
        if self._filler is not None:
            filler = self._filler.take()
            if filler is not None:
                self._write(self._header + filler, filler, now)
                return
            self._filler = None
        self._write(self._silence, self._quiet, now)
        if self.pacer.borrowed:
            self.pacer.give_back()

    def _played_out_if_idle(self, now: float) -> None:
        if self.playout.idle and self._listener is not None:
            self._listener.played_out(now)

    def _write(self, message: bytes, payload: bytes, now: float) -> None:
        if self._stuck_at is None:
            if self._let_go(message) and self.tap is not None:
                self.tap(self.pacer.slot, payload, self.playout.rate_hz)
            return
        if len(self._held) >= _MAX_HELD:
            del self._held[0]
            self._counts.skipped_seconds += FRAME_SECONDS
        self._held.append(_Frame(message, payload, self.pacer.slot, self.playout.rate_hz))
        if now - self._stuck_at > STALLED_SECONDS:
            text = f"the peer has read nothing for {STALLED_SECONDS:g} s"
            self._note(PeerError("stalled", text))
            self.close()

    def _let_go(self, message: bytes) -> bool:
        """False where there is nobody any more."""
        transport = self._transport
        if transport.is_closing():
            return False
        transport.write(message)
        self._counts.sent += 1
        return True

    def pause_writing(self) -> None:
        """The transport could not send all of a frame."""
        self._stuck_at = self._clock()

    def resume_writing(self) -> None:
        """It has."""
        self._stuck_at = None
        while self._held and self._stuck_at is None and not self.done:
            frame = self._held.pop(0)
            if self._let_go(frame.message) and self.tap is not None:
                self.tap(frame.slot, frame.payload, frame.rate_hz)

    # -- the end -------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Give the call back to the dialplan, and expect the peer to close.

        The socket is not closed here: closing it under the caller's audio makes the kernel send a
        reset, which Asterisk takes for a failure, and hangs the caller up.
        """
        if self.done:
            return
        self._held.clear()
        self._transport.write(wire.HANGUP)
        self.done = True
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.close)

    def refuse(self, error: PeerError) -> None:
        """End a connection that has not said who it is."""
        self._note(error)
        self.close()

    def hand_over(self, listener: LegListener) -> None:
        """From now on the call is this one's."""
        self._listener = listener

    def give_away(self) -> tuple[socket.socket, bytes]:
        """Let go of a connection from inside `identified`, for another process to go on with: its
        socket, and all that was read from it."""
        sock, said = os.dup(self._transport.get_extra_info("socket").fileno()), self._said
        self.close()
        return socket.socket(fileno=sock), said

    def close(self) -> None:
        """Close the socket now; `closed` follows."""
        self.done = True
        self._transport.abort()

    def _fail(self, error: Exception) -> None:
        """End this call for a reason, and leave the caller to the dialplan where there is one."""
        self._note(error)
        if self._listener is not None:
            self.hang_up()
        else:
            self.close()

    def _note(self, error: Exception) -> None:
        if self._error is None and not self.done:  # an end that was decided has its reason
            self._error = error
            self._outcome = Outcome.PEER_ERROR if isinstance(error, PeerError) else Outcome.ERROR

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@lru_cache(maxsize=8)
def _silent_frame(rate_hz: int) -> tuple[bytes, bytes]:
    """Its payload and the message with it, once for all calls."""
    payload = silence(frame_bytes(rate_hz))
    return payload, wire.audio(wire.KIND_OF_RATE[rate_hz], payload)

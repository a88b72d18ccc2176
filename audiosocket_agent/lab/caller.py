"""A pretend Asterisk with one caller on the line.

It connects, sends the UUID, then one audio message every 20 ms, silence included, and reads all
that comes back: what `app_audiosocket.c` does for a caller. A script drives it by what the caller
does (`say`, `press`, `mute`, `hang_up`) and hears (`agent_speaks`, `agent_silent`):

    async with Call.connect("127.0.0.1", 9092) as call:
        greeting = await call.agent_speaks()
        await call.agent_silent(0.7)
        call.say(question)
        asked = await call.said()
        answer = await call.agent_speaks()
        assert answer - asked < 1.0

The waits read the call forward, as its transcript does: each looks at what came after the thing the
one before it waited for, and misses nothing that happened in between. All times are seconds since
the connection was made. Where Asterisk would end the call, because the service broke the protocol,
it ends here, and `violations` says why.
"""

import asyncio
import uuid as uuid_module
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar, cast

from audiosocket_agent import wire
from audiosocket_agent.audio import FRAME_SECONDS, FRAMES_PER_SECOND, frame_bytes
from audiosocket_agent.errors import AgentError
from audiosocket_agent.lab.downlink import Broken, Downlink
from audiosocket_agent.lab.ear import AUDIBLE_DBFS, level_dbfs
from audiosocket_agent.lab.report import CallReport, End, Said, greeting, spacing, turns
from audiosocket_agent.lab.sound import Received, Sides
from audiosocket_agent.lab.story import Observer, Story, nobody
from audiosocket_agent.lab.ticker import Ticker

CONNECT_SECONDS: Final = 2.0
"""What Asterisk waits for a connection (res_audiosocket.c)."""

IDLE_SECONDS: Final = 2.0
"""The application gives a call up when neither the caller nor the service sends for so long
(app_audiosocket.c). A service that is silent for it depends on its caller's voice."""

DIGIT_FRAMES: Final = 9
"""While a key is held Asterisk sends no audio: 180 ms were measured, then the digit."""

_BETWEEN_DIGITS: Final = 5  # frames of silence after a digit: 100 ms

FRAMES_KEPT: Final = 30 * 60 * FRAMES_PER_SECOND
"""Of what was heard; a longer call keeps the last half hour."""

_DIGITS: Final = frozenset("0123456789ABCD*#")

_T = TypeVar("_T")


class CallOver(AgentError):
    """The call ended while the script waited for something else; the text says how and for what."""


class Frame(NamedTuple):
    """One audio message of the agent's."""

    at: float
    kind: int
    length: int  # of the payload, bytes
    dbfs: float

    @property
    def audible(self) -> bool:
        """Whether the agent speaks in it."""
        return self.dbfs > AUDIBLE_DBFS


class _Slot(NamedTuple):
    """What goes out at one tick of the clock."""

    message: bytes  # may be empty: nothing is sent
    words: Said | None = None  # of which this is an audible frame
    digit: str = ""


class Call(asyncio.Protocol):
    """One connection to a service. Use `Call.connect`."""

    def __init__(
        self,
        ticker: Ticker,
        *,
        rate_hz: int,
        uuid: uuid_module.UUID,
        observe: Observer,
        keep_audio: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ticker = ticker
        self._kind = wire.KIND_OF_RATE[rate_hz]
        self._frame_bytes = frame_bytes(rate_hz)
        self._idle = _Slot(wire.audio(self._kind, bytes(self._frame_bytes)))
        self._keep_audio = keep_audio
        self._story = Story(observe)
        self._downlink = Downlink()
        self._queue: deque[_Slot] = deque()  # what the script wants sent; as long as it says
        self._first: Frame | None = None
        self._frames: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self._heard: deque[Received] = deque(maxlen=FRAMES_KEPT)
        self._spoken: deque[Received] = deque(maxlen=FRAMES_KEPT)
        self._waiters: list[Callable[[], None]] = []
        self._read_to = 0.0  # how far the waits have read the call
        self._dialled_at = self._loop.time()
        self._connected_at = 0.0
        self._connect_seconds = 0.0
        self._received_at = 0.0  # when anything was last received
        self._sent_at = 0.0  # when anything was last sent
        self._idle_noted = False  # for the current pause of the service
        self._ended_at = 0.0
        self._closed = self._loop.create_future()
        self.rate_hz = rate_hz
        self.uuid = uuid
        self.end: End | None = None  # None while the call lasts
        self.violations: list[str] = []

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        rate_hz: int = 8_000,
        uuid: uuid_module.UUID | None = None,
        ticker: Ticker | None = None,
        observe: Observer = nobody,
        keep_audio: bool = True,
    ) -> AsyncGenerator["Call", None]:
        """Connect as Asterisk does, and hang up at the end of the block unless that has happened.

        `rate_hz`: of the caller's audio, one of `wire.KIND_OF_RATE`. `ticker`: to be shared by the
        calls of a load. Without `keep_audio` only times and levels of what is heard are kept.
        Raises OSError where nobody listens, TimeoutError after CONNECT_SECONDS.
        """
        call = cls(
            ticker or Ticker(),
            rate_hz=rate_hz,
            uuid=uuid or uuid_module.uuid4(),
            observe=observe,
            keep_audio=keep_audio,
        )
        async with asyncio.timeout(CONNECT_SECONDS):
            await call._loop.create_connection(lambda: call, host, port)
        try:
            yield call
        finally:
            call.hang_up()
            await call._closed

    # -- what the caller does ------------------------------------------------------------------

    def say(self, pcm: bytes) -> Said:
        """Say s16le mono at the call's rate, after all that was asked before. Returns at once; what
        is returned fills in as the words go out."""
        frames = [
            pcm[at : at + self._frame_bytes].ljust(self._frame_bytes, b"\0")
            for at in range(0, len(pcm), self._frame_bytes)
        ]
        audible = [n for n, frame in enumerate(frames) if level_dbfs(frame) > AUDIBLE_DBFS]
        seconds = (audible[-1] - audible[0]) * FRAME_SECONDS if audible else 0.0
        words = Said(voiced_seconds=seconds, frames_left=len(audible))
        voiced = set(audible)
        self._queue.extend(
            _Slot(wire.audio(self._kind, frame), words if n in voiced else None)
            for n, frame in enumerate(frames)
        )
        return words

    def press(self, digits: str) -> None:
        """Press keys one after the other, after all that was asked before. Raises ValueError for
        anything but 0-9, A-D, * and #."""
        if not _DIGITS.issuperset(digits):
            raise ValueError(f"{digits!r}: a telephone has the keys 0-9, A-D, * and #")
        for digit in digits:
            self._queue.extend([_Slot(b"")] * DIGIT_FRAMES)
            self._queue.append(_Slot(wire.dtmf(digit), digit=digit))
            self._queue.extend([self._idle] * _BETWEEN_DIGITS)

    def mute(self, seconds: float) -> None:
        """Send nothing for so long, as for a caller on hold or a phone that suppresses silence,
        after all that was asked before."""
        self._queue.extend([_Slot(b"")] * round(seconds / FRAME_SECONDS))

    def hang_up(self) -> None:
        """Close the connection now, as Asterisk does when its caller leaves. What was still to be
        said is not."""
        self._finish(End.HUNG_UP)

    # -- what the caller waits for -------------------------------------------------------------

    async def said(self) -> float:
        """Wait until everything asked for has been sent. Returns when the caller was last heard."""
        await self._until(lambda: True if not self._queue else None, "to have said everything")
        if self._story.said:
            self._read_to = max(self._read_to, self._story.said[-1].ends)
        return self._read_to

    async def agent_speaks(self, timeout: float = 10.0) -> float:
        """Wait for audio of the agent's, not silence. Returns when it was received.

        Raises TimeoutError, and CallOver where the call ends instead.
        """
        async with asyncio.timeout(timeout):
            at = await self._until(self._next_audible, "the agent to speak")
        self._read_to = at
        return at

    async def agent_silent(self, for_seconds: float = 0.5, timeout: float = 30.0) -> float:
        """Wait until the agent has not been audible for so long, the time before this call
        included. Returns when it was last heard, 0 if it never was.

        Raises TimeoutError, and CallOver where the call ends instead.
        """

        def last_heard() -> float | None:
            spans = self._story.agent.spans
            at = spans[-1].ends if spans else 0.0
            return at if self.now - at >= for_seconds else None

        async with asyncio.timeout(timeout):
            at = await self._until(last_heard, "the agent to be silent")
        self._read_to = max(self._read_to, at)
        return at

    async def passes(self, seconds: float) -> None:
        """Let the call go on for so long. The next wait looks at what comes after it."""
        until = self.now + seconds
        await self._until(lambda: True if self.now >= until else None, "time to pass")
        self._read_to = until

    async def ended(self, timeout: float = 10.0) -> End:
        """Wait for the service to end the call, and say how it did."""
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._closed)
        assert self.end is not None
        return self.end

    # -- what is known -------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the connection was made; after the call, its length."""
        return self._loop.time() - self._connected_at if self.end is None else self._ended_at

    @property
    def frames(self) -> list[Frame]:
        """Every audio message received, the last FRAMES_KEPT of them."""
        return list(self._frames)

    @property
    def heard(self) -> bytes:
        """The audio received, one message after the other, at whatever rate each had; empty
        without `keep_audio`."""
        return b"".join(payload for _, _, payload in self._heard)

    @property
    def sides(self) -> Sides:
        """What the caller said and heard, with its times, for `sound.write_heard`; empty without
        `keep_audio`."""
        return list(self._spoken), list(self._heard)

    def report(self) -> CallReport:
        """What became of the call; only once it has ended."""
        if self.end is None:
            raise RuntimeError("the call has not ended")
        agent, said, first = self._story.agent.spans, self._story.said, self._first
        return CallReport(
            uuid=str(self.uuid),
            rate_hz=self.rate_hz,
            end=self.end,
            duration_seconds=self.now,
            connect_seconds=self._connect_seconds,
            first_frame_seconds=first.at if first else None,
            greeting_seconds=greeting(said, agent),
            turns=turns(said, agent),
            heard_rate_hz=wire.RATE_HZ[first.kind] if first else None,
            spacing=spacing([frame.at for frame in self._frames]),
            late_payloads=self._downlink.late_payloads,
            violations=tuple(self.violations),
        )

    # -- the connection ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # pause_writing: the kernel's buffer is full
        self._connected_at = self._loop.time()
        self._connect_seconds = self._connected_at - self._dialled_at
        transport.write(wire.identity(self.uuid))
        self._ticker.join(self._tick)

    def data_received(self, data: bytes) -> None:
        at = self._received_at = self._loop.time() - self._connected_at
        self._idle_noted = False
        for message in self._downlink.feed(data, at):
            match message:
                case wire.Audio(kind, payload):
                    self._hear(at, kind, payload)
                case wire.Hangup():
                    self._finish(End.FINISHED)
                case Broken(why):
                    self._break(why)

    def eof_received(self) -> None:
        cut = self._downlink.end()
        if cut is not None:
            self._break(cut.why)
        self._finish(End.CLOSED)

    def pause_writing(self) -> None:
        self._break("the service does not read: Asterisk's write fails")

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(End.CLOSED if exc is None else End.RESET)
        self._closed.set_result(None)

    def _hear(self, at: float, kind: int, payload: bytes) -> None:
        frame = Frame(at, kind, len(payload), level_dbfs(payload))
        self._first = self._first or frame
        self._frames.append(frame)
        if self._keep_audio:
            self._heard.append((at, wire.RATE_HZ[kind], payload))
        self._story.frame(at, audible=frame.audible)

    def _tick(self, loop_time: float) -> None:
        """Send one frame, and see what time has brought."""
        at = loop_time - self._connected_at
        slot = self._queue.popleft() if self._queue else self._idle
        if slot.message:
            self._sent_at = at
            self._transport.write(slot.message)
            if slot is not self._idle:
                self._remember(slot, at)
        if at - self._received_at >= IDLE_SECONDS:
            self._unheard(at)
        self._story.passes(at)
        for waiter in tuple(self._waiters):
            waiter()

    def _remember(self, slot: _Slot, at: float) -> None:
        if slot.digit:
            self._story.pressed(slot.digit, at)
        elif self._keep_audio:
            self._spoken.append((at, self.rate_hz, slot.message[wire.HEADER_BYTES :]))
        if slot.words is not None:
            self._story.spoken(slot.words, at)

    def _unheard(self, at: float) -> None:
        why = f"nothing was received for {IDLE_SECONDS:g} s"
        if at - self._sent_at >= IDLE_SECONDS:
            self._break(f"{why}, and nothing sent")
        elif not self._idle_noted:
            self._idle_noted = True
            self._violation(why)

    # -- the end -------------------------------------------------------------------------------

    def _violation(self, why: str) -> None:
        self.violations.append(why)
        self._story.noted(why, self.now)

    def _break(self, why: str) -> None:
        if self.end is None:
            self._violation(why)
            self._finish(End.BROKEN)

    def _finish(self, end: End) -> None:
        """The first reason counts; everything after it is its consequence."""
        if self.end is not None:
            return
        self._ended_at = self.now
        self.end = end
        self._ticker.leave(self._tick)
        self._story.over(end, self._ended_at)
        if end is End.BROKEN:
            self._transport.abort()
        else:
            self._transport.close()
        for waiter in tuple(self._waiters):
            waiter()

    # -- waiting -------------------------------------------------------------------------------

    def _next_audible(self) -> float | None:
        """When the agent was first audible after what the waits have read."""
        spans = self._story.agent.spans
        if not spans or spans[-1].ends <= self._read_to:
            return None
        at = spans[-1].ends
        for frame in reversed(self._frames):
            if frame.at <= self._read_to:
                break
            if frame.audible:
                at = frame.at
        return at

    async def _until(self, condition: Callable[[], _T | None], what: str) -> _T:
        """Wait until `condition` gives a value; it is asked every 20 ms, and when the call ends."""
        future: asyncio.Future[_T] = self._loop.create_future()

        def ask() -> None:
            if future.done():
                return
            value = condition()
            if value is not None:
                future.set_result(value)
            elif self.end is not None:
                future.set_exception(CallOver(f"{self.end} while waiting for {what}"))

        self._waiters.append(ask)
        try:
            ask()
            return await future
        finally:
            self._waiters.remove(ask)

"""Callers by the hundred: each speaks by one script, and notes when it heard what.

    greeting | speech, 1 s of reply, barge-in, whole reply | speech, whole reply | noise | again

A frame leaves every 20 ms, all the time, as Asterisk's do. When a frame came is what the kernel says, so
that our own work is not in the figures. Sending is by one timer for all; how late it was is kept: a run
in which that was often is no measurement of the service, and is repeated.
"""

import asyncio
import socket
import struct
import uuid
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

import numpy as np

from audiosocket_agent import wire
from audiosocket_agent.audio import FRAME_SECONDS, frame_bytes
from tests.bench.capacity.stand_in import FIRST_TONE_HZ, TONE_STEP_HZ

QUIET_AFTER_S: Final = 0.3
"""A reply is over when nothing has been heard for so long."""
WAIT_S: Final = 8.0
"""For a reply; one that has not come by then is missing."""
NOISE_S: Final = 1.0
LATE_S: Final = 0.003
"""A frame of ours that leaves later than this is late."""
MARK: Final = 2_000
"""Amplitude of the last frame of what is said: loud, and gone at once."""

_TONE_S: Final = 0.5  # its pitch is found to 2 Hz in so much
_SO_TIMESTAMPNS: Final = 35  # <asm-generic/socket.h>; Python has no name for it
_TIMESPEC: Final = struct.Struct("@ll")
_READ_BYTES: Final = 65_536
_LONGEST_WAIT_S: Final = 1.0  # of bytes for us in the kernel; a stamp that says more is none


@dataclass(slots=True)
class Reply:
    """Audible frames in a row."""

    begins: float
    ends: float
    frames: int = 1
    cut: bool = False
    """The caller spoke over it."""


@dataclass(slots=True)
class Notes:
    """Of one call; times are monotonic seconds."""

    connected: float = 0.0
    said: list[float] = field(default_factory=list)
    """When the last frame of each thing said was sent."""
    barged: list[tuple[float, float]] = field(default_factory=list)
    """When the caller began to speak over a reply, and when the last of that was heard."""
    replies: list[Reply] = field(default_factory=list)
    came: "array[float]" = field(default_factory=lambda: array("d"))
    """When each frame of a reply but its first one came, and"""
    gaps: "array[float]" = field(default_factory=lambda: array("d"))
    """how long after the one before it."""
    missing: int = 0
    tone: bytearray = field(default_factory=bytearray)
    """The greeting's beginning."""
    tone_rate_hz: int = 0
    lost: str = ""

    def session(self) -> int | None:
        """Of the stand-in, by the tone of its greeting; None where too little of that was heard."""
        samples = np.frombuffer(self.tone, "<i2").astype(np.float64)
        if len(samples) < _TONE_S * self.tone_rate_hz or not self.tone_rate_hz:
            return None
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), self.tone_rate_hz))
        return round((int(spectrum.argmax()) - FIRST_TONE_HZ) / TONE_STEP_HZ)


class Callers:
    """All of them; `speech` is s16le at `rate_hz`."""

    def __init__(self, port: int, rate_hz: int, speech: bytes) -> None:
        self._port = port
        self._calls: list[_Caller] = []
        size = frame_bytes(rate_hz)
        kind = wire.KIND_OF_RATE[rate_hz]
        mark = MARK * np.sin(2 * np.pi * 1_000 * np.arange(size // 2) / rate_hz)
        spoken = speech[: len(speech) // size * size] + mark.astype("<i2").tobytes()
        noise = np.random.default_rng(1).integers(-60, 60, round(NOISE_S * rate_hz))
        self.speech = [wire.audio(kind, f) for f in _frames(spoken, size)]
        self.noise = [wire.audio(kind, f) for f in _frames(noise.astype("<i2").tobytes(), size)]
        self.quiet = wire.audio(kind, bytes(size))
        self.late: list[tuple[float, float]] = []
        """When a millisecond's frames were due that left late, and when they left."""
        self.began_at = self._due = monotonic()
        self._loop = asyncio.get_running_loop()
        self._running = True
        self._slots: list[list[_Caller]] = [[] for _ in range(20)]
        self._slot = 0
        self._loop.call_soon(self._tick)

    async def begin(self, count: int, per_second: float) -> None:
        """So many more calls, evenly."""
        began = monotonic()
        for number in range(count):
            await asyncio.sleep(began + number / per_second - monotonic())
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(sock, ("127.0.0.1", self._port))
            caller = _Caller(self, sock)
            self._slots[len(self._calls) * 7 % 20].append(caller)
            self._calls.append(caller)

    async def end(self) -> list[Notes]:
        """Hang all up."""
        self._running = False
        for caller in self._calls:
            caller.hang_up()
        await asyncio.sleep(0.3)
        return [caller.notes for caller in self._calls]

    def _tick(self) -> None:
        """A millisecond of the 20, or as many as have passed."""
        now = monotonic()
        while self._due <= now:
            if now - self._due > LATE_S:
                self.late.append((self._due, now))
            for caller in self._slots[self._slot]:
                caller.send(now)
            self._slot = (self._slot + 1) % 20
            self._due += FRAME_SECONDS / 20
        if self._running:
            self._loop.call_later(max(0.0, self._due - monotonic()), self._tick)


def _frames(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[at : at + size].ljust(size, b"\0") for at in range(0, len(pcm), size)]


class _Caller:
    def __init__(self, callers: Callers, sock: socket.socket) -> None:
        self._callers = callers
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._script = self._converse()
        self._last = 0.0  # when the last audible frame came
        self._reply: Reply | None = None
        self._over = False
        self.notes = Notes(connected=monotonic())
        self._loop.add_reader(sock, self._readable)
        self._sock.send(wire.identity(uuid.uuid4()))

    # -- what is said --------------------------------------------------------------------------

    def _converse(self) -> Iterator[bytes]:
        callers = self._callers
        yield from self._listen(0, after=0)
        while True:
            yield from self._say(callers.speech)
            yield from self._listen(50)
            reply = self._reply
            if reply is not None:
                reply.cut, began = True, monotonic()
                yield from self._say(callers.speech)
                self.notes.barged.append((began, reply.ends))
            yield from self._listen(0)
            yield from self._say(callers.speech)
            yield from self._listen(0)
            yield from callers.noise

    def _say(self, frames: Sequence[bytes]) -> Iterator[bytes]:
        yield from frames[:-1]
        self.notes.said.append(monotonic())
        yield frames[-1]

    def _listen(self, frames: int, after: int | None = None) -> Iterator[bytes]:
        """To the next reply, or the one `after` so many: to as many frames of it, or all (0)."""
        quiet = self._callers.quiet
        before = len(self.notes.replies) if after is None else after
        patience = monotonic() + WAIT_S
        while len(self.notes.replies) == before:
            if monotonic() > patience:
                self.notes.missing += 1
                return
            yield quiet
        while self._reply is not None and not (frames and self._reply.frames >= frames):
            yield quiet

    def send(self, now: float) -> None:
        """The next frame."""
        if self._over:
            return
        if self._reply is not None and now - self._last > QUIET_AFTER_S:
            self._reply = None
        try:
            self._sock.send(next(self._script))
        except OSError as error:  # it is full: nobody has read for seconds; or gone
            self._lose(str(error))

    def hang_up(self) -> None:
        if not self._over:
            self._over = True
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _lose(self, why: str) -> None:
        self.notes.lost = self.notes.lost or why
        self.hang_up()

    # -- what is heard -------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(_READ_BYTES, 64)
        except OSError as error:
            return self._lose(str(error))
        if not data:
            return self._lose("closed")
        came = _stamp(ancillary)
        buffer, at = self._buffer, 0
        buffer += data
        while len(buffer) - at >= wire.HEADER_BYTES:
            size = buffer[at + 1] << 8 | buffer[at + 2]
            if len(buffer) - at < wire.HEADER_BYTES + size:
                break
            kind = buffer[at]
            if kind >= wire.Kind.SLIN:
                self._hear(buffer[at + 3 : at + 3 + size], kind, came)
            else:
                self.notes.lost = f"message {kind:#x}"
            at += wire.HEADER_BYTES + size
        del buffer[:at]
        return None

    def _hear(self, payload: bytearray, kind: int, now: float) -> None:
        if payload.count(0) == len(payload):
            return
        notes, reply = self.notes, self._reply
        if reply is None:
            reply = self._reply = Reply(now, now)
            notes.replies.append(reply)
        else:
            notes.came.append(now)
            notes.gaps.append(now - self._last)
            reply.frames += 1
            reply.ends = now
        self._last = now
        if len(notes.replies) == 1 and 5 < reply.frames <= 45:
            notes.tone += payload
            notes.tone_rate_hz = wire.RATE_HZ[wire.Kind(kind)]


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When what was read came, by the kernel; its clock is that of the day."""
    now = monotonic()
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            waited: float = time() - (seconds + nanoseconds / 1e9)
            if 0.0 <= waited < _LONGEST_WAIT_S:
                return now - waited
    return now

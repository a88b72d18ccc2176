"""The agent's audio on its way to the caller: bursts in, 20 ms frames out.

A model speaks faster than real time and a phone does not, so a reply waits here, and nowhere else:
Asterisk keeps no queue of ours, so to stop sending is to stop speaking. A pause keeps everything; a
clear drops it and says how much of the reply had been heard.
"""

from collections import deque

from audiosocket_agent.audio import FRAME_MS, duration_ms, frame_bytes
from audiosocket_agent.audio.resample import Resampler


class Playout:
    """The queue of one call, holding frames of `rate_hz`.

    `capacity_s`: audio beyond it is dropped as it arrives and counted in `dropped_ms`: a model that
    is minutes ahead of its caller has lost the thread. `rebuffer_ms`: after the queue ran dry inside
    a reply, playing goes on when so much has come; more makes fewer but longer gaps.
    """

    def __init__(self, rate_hz: int, *, capacity_s: float = 180.0, rebuffer_ms: int = 100) -> None:
        self._capacity = int(capacity_s * 1000 / FRAME_MS)
        self._rebuffer = max(2, rebuffer_ms // FRAME_MS)
        self._frames: deque[bytes] = deque()
        self._tail = b""
        self._odd = b""  # half a sample, until the other half comes
        self._open = False  # more of the current reply may come
        self._needed = 1  # frames that must be queued before one is given
        self._heard = 0  # frames of the current reply that were given
        self._resampler: Resampler | None = None
        self._from_hz = rate_hz
        self.paused = False
        self.underruns = 0
        self.dropped_ms = 0.0
        self.rate_hz = rate_hz
        self._frame_bytes = frame_bytes(rate_hz)

    @property
    def idle(self) -> bool:
        """Nothing is queued and nothing more is expected."""
        return not (self._open or self._frames)

    @property
    def ready(self) -> bool:
        """Whether `take` has a frame to give."""
        needed = self._needed if self._open else 1
        return not self.paused and len(self._frames) >= needed

    @property
    def heard_ms(self) -> int:
        """How much of the current reply has been sent to the caller."""
        return self._heard * FRAME_MS

    @property
    def left_ms(self) -> int:
        """How much of what has arrived is still to be sent."""
        return len(self._frames) * FRAME_MS

    def set_rate(self, rate_hz: int) -> bool:
        """Give frames of another rate from now on; only while idle, else returns False."""
        if self.idle and rate_hz != self.rate_hz:
            self.rate_hz = rate_hz
            self._frame_bytes = frame_bytes(rate_hz)
            self._from_hz, self._resampler = rate_hz, None
        return rate_hz == self.rate_hz

    def push(self, pcm: bytes, rate_hz: int) -> bool:
        """Queue more of the agent's speech. True where a reply begins with it."""
        begins = self.idle
        if begins:
            self._heard, self._needed = 0, 1
        self._open = True
        if rate_hz != self._from_hz:
            self._from_hz = rate_hz
            self._resampler = Resampler(rate_hz, self.rate_hz) if rate_hz != self.rate_hz else None
        pcm = self._odd + pcm
        whole = len(pcm) & ~1  # a model may cut a sample in two
        pcm, self._odd = pcm[:whole], pcm[whole:]
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        self._queue(pcm)
        return begins

    def finish(self) -> None:
        """No more of this reply will come: its last, partial frame is padded with silence."""
        if not self._open:
            return
        if self._resampler is not None:
            self._queue(self._resampler.flush())
        if self._tail:
            self._frames.append(self._tail.ljust(self._frame_bytes, b"\0"))
            self._tail = b""
        self._open = False
        self._odd = b""

    def take(self) -> bytes | None:
        """The next frame, or None where silence is to be sent."""
        if not (self._frames or self._open):
            return None  # as a rule, while the caller speaks
        if self.ready:
            self._needed = 1
            self._heard += 1
            return self._frames.popleft()
        if self._open and self._heard and self._needed == 1 and not self.paused:
            self.underruns += 1
            self._needed = self._rebuffer
        return None

    def clear(self) -> int:
        """Drop what is queued and end the reply. Returns the milliseconds of it that were heard."""
        self._frames.clear()
        self._tail = self._odd = b""
        self._open = False
        self.paused = False
        if self._resampler is not None:
            self._resampler.reset()
        return self.heard_ms

    def _queue(self, pcm: bytes) -> None:
        data, size = self._tail + pcm, self._frame_bytes
        room = (self._capacity - len(self._frames)) * size
        if len(data) > room:
            self.dropped_ms += duration_ms(data[room:], self.rate_hz)
            data = data[:room]
        whole = len(data) - len(data) % size
        self._frames.extend([data[at : at + size] for at in range(0, whole, size)])
        self._tail = data[whole:]

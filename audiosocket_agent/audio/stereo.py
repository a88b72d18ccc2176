"""The two sides of a call on one clock: caller on the left, agent on the right.

A frame stands where it passed our socket, on both sides, as in Asterisk's MixMonitor. But frames do not
pass it evenly, and some do not come at all, so where one belongs is told by those after it: on its way a
frame is only ever delayed, and the least delayed of a second shows where all of it belongs.

    passed      |1|2|3            |4|5|6|7     nothing was sent after 3: mute, DTX, a transfer
    laid down   |1|2|3|           |4|5|6|7

    passed      |1|2|3            |4567|8|9    4 to 6 were held up: they go back to their places
    laid down   |1|2|3|4|5|6|7|8|9

Frames are laid end to end, which is how a phone plays them, as long as that is right to 20 ms. Where it
is not, silence is put in or taken out, and while nobody speaks 10 ms are enough for that: a telephone
whose clock is slow or fast loses nothing that was said. The agent's frames are never cut: they leave on
our own clock, up to 40 ms early (`audio.pacer`); where that is told with their time they stand exactly.

While a caller types a secret their side is to be fed silence: some phones beep, and people read aloud
what they type. The agent's side stays: the model is never told the digits, and what it says meanwhile
shows what was asked for.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiosocket_agent.audio import SAMPLE_BYTES
from audiosocket_agent.audio.resample import Resampler

Samples = NDArray[np.int16]

Chunk = tuple[float, bytes, int]
"""When it passed, in seconds; whole samples, s16le mono; their rate in Hz."""

Block = tuple[int, bytes]
"""A position in the call, in samples of one channel, and s16le stereo from there on, 1 s at the most."""

LOOKAHEAD_SECONDS: Final = 1.0
"""What waits for those after it. Frames that were held up for longer are lost where others, or silence,
have been laid down in their places."""

_SLACK_SECONDS: Final = 0.020
_EVER: Final = 1 << 62
_STEPS_PER_SECOND: Final = 10
"""Converted at once, a second's matrix product is large enough for OpenBLAS to spread it over all cores,
where its threads then wait for each other: 2.7 ms of CPU instead of 0.6."""


@dataclass(frozen=True, slots=True)
class _Side:
    """How far from where it belongs a side may be before it is put right; seconds."""

    ahead: float
    ahead_in_quiet: float
    behind_in_quiet: float
    quiet_peak: int
    """What is not louder may be cut."""


_CALLER: Final = _Side(_SLACK_SECONDS, 0.010, behind_in_quiet=0.010, quiet_peak=330)  # -40 dBFS
_AGENT: Final = _Side(0.045, _SLACK_SECONDS, behind_in_quiet=0.002, quiet_peak=0)


class Stereo:
    """One call, at `rate_hz`. `began` is position 0; the clock of all times is anybody's, and they may
    be out of order by a little."""

    def __init__(self, rate_hz: int, began: float) -> None:
        self.rate_hz = rate_hz
        self._began = began
        self._position = 0
        self._caller = _Track(_CALLER, rate_hz, began)
        self._agent = _Track(_AGENT, rate_hz, began)

    @property
    def seconds(self) -> float:
        """How much of the call has been given."""
        return self._position / self.rate_hz

    def add_caller(self, chunks: Sequence[Chunk]) -> None:
        """What the caller said, in the order it came."""
        self._caller.add(chunks)

    def add_agent(self, chunks: Sequence[Chunk]) -> None:
        """What was sent to the caller, in the order it was."""
        self._agent.add(chunks)

    def take(self, now: float) -> list[Block]:
        """What can be given when all that passed before `now` has been added; to be asked about once a
        second. What no block covers is silence."""
        until = self._position_at(now - LOOKAHEAD_SECONDS)
        self._caller.settle(until)
        self._agent.settle(until)
        return self._blocks(until)

    def finish(self, now: float) -> list[Block]:
        """The rest of a call that ended at `now`, and the end of this object's use."""
        self._caller.settle(_EVER)
        self._agent.settle(_EVER)
        return self._blocks(max(self._caller.end, self._agent.end, self._position_at(now)))

    def _position_at(self, now: float) -> int:
        return round((now - self._began) * self.rate_hz)

    def _blocks(self, until: int) -> list[Block]:
        blocks = []
        while self._position < until:
            both = np.zeros((min(self.rate_hz, until - self._position), 2), "<i2")
            heard = self._caller.read(self._position, both[:, 0])
            if self._agent.read(self._position, both[:, 1]) or heard:
                blocks.append((self._position, both.tobytes()))
            self._position += len(both)
        return blocks


class _Track:
    """One side."""

    def __init__(self, side: _Side, rate_hz: int, began: float) -> None:
        self._rate_hz = rate_hz
        self._began = began
        self._late = int(_SLACK_SECONDS * rate_hz)
        self._ahead = int(side.ahead * rate_hz)
        self._ahead_in_quiet = int(side.ahead_in_quiet * rate_hz)
        self._behind_in_quiet = int(side.behind_in_quiet * rate_hz)
        self._quiet_peak = side.quiet_peak
        self._from_hz = rate_hz
        self._resampler: Resampler | None = None
        # what waits: all samples, and of each chunk when it passed and its length, in samples
        self._samples: Samples = np.zeros(0, np.int16)
        self._passed = np.zeros(0, np.int64)
        self._lengths = np.zeros(0, np.int64)
        self._laid: deque[tuple[int, Samples]] = deque()
        self.end = 0  # of what is laid down
        self._settled = 0  # nothing is laid down before this any more

    def add(self, chunks: Sequence[Chunk]) -> None:
        start = 0
        for end in range(1, len(chunks) + 1):
            if end == len(chunks) or chunks[end][2] != chunks[start][2]:
                self._convert(chunks[start:end])
                start = end

    def _convert(self, chunks: Sequence[Chunk]) -> None:
        """Take chunks of one rate."""
        rate_hz = chunks[0][2]
        if rate_hz != self._from_hz:
            self._from_hz = rate_hz
            same = rate_hz == self._rate_hz
            self._resampler = None if same else Resampler(rate_hz, self._rate_hz)
        pcm = b"".join([payload for _, payload, _ in chunks])
        ends = np.cumsum([len(payload) // SAMPLE_BYTES for _, payload, _ in chunks])
        if self._resampler is not None:
            step = rate_hz // _STEPS_PER_SECOND * SAMPLE_BYTES
            steps = [pcm[at : at + step] for at in range(0, len(pcm), step)]
            pcm = b"".join([self._resampler.feed(part) for part in steps])
            ends = np.minimum(ends * self._rate_hz // rate_hz, len(pcm) // SAMPLE_BYTES)
            ends[-1] = len(pcm) // SAMPLE_BYTES  # up to 10 ms come or stay in the filter
        seconds = np.array([now for now, _, _ in chunks]) - self._began
        passed = np.rint(seconds * self._rate_hz).astype(np.int64)
        self._samples = np.concatenate((self._samples, np.frombuffer(pcm, "<i2")))
        self._passed = np.concatenate((self._passed, passed))
        self._lengths = np.concatenate((self._lengths, np.diff(ends, prepend=0)))

    def settle(self, until: int) -> None:
        """Lay down all that belongs before `until`."""
        end = max(self.end, self._settled)
        starts = np.cumsum(self._lengths) - self._lengths
        late = np.minimum.accumulate((self._passed - starts - end)[::-1])[::-1]
        count = int(np.searchsorted(end + starts, until))
        if count and (late[0] < -self._ahead_in_quiet or late[count - 1] > self._behind_in_quiet):
            count, end = self._put_right(end, until, starts, late)
        else:
            end = self._lay(end, self._samples[: starts[count] if count < len(starts) else None])
        self._drop(count)
        self.end, self._settled = end, max(self._settled, until)

    def _put_right(
        self, end: int, until: int, starts: NDArray[np.int64], late: NDArray[np.int64]
    ) -> tuple[int, int]:
        """Lay down chunk by chunk, in their places. Returns how many, and where the last one ends."""
        moved = 0  # against laying them end to end
        chunks = zip(starts.tolist(), self._lengths.tolist(), late.tolist(), strict=True)
        for count, (start, length, behind) in enumerate(chunks):
            samples, off = self._samples[start : start + length], behind - moved
            gap = 0
            if off > self._behind_in_quiet and (off > self._late or self._is_quiet(samples)):
                gap = off
            elif off < -self._ahead_in_quiet and (off < -self._ahead or self._is_quiet(samples)):
                samples = samples[-off:]
            if end + gap >= until:
                return count, end
            moved += gap + len(samples) - length
            end = self._lay(end + gap, samples)
        return len(starts), end

    def _is_quiet(self, samples: Samples) -> bool:
        return not len(samples) or int(np.abs(samples.astype(np.int32)).max()) <= self._quiet_peak

    def _lay(self, position: int, samples: Samples) -> int:
        """Returns where it ends."""
        if len(samples):
            self._laid.append((position, samples))
        return position + len(samples)

    def _drop(self, count: int) -> None:
        """Chunks do not wait any more."""
        self._samples = self._samples[int(self._lengths[:count].sum()) :]
        self._passed, self._lengths = self._passed[count:], self._lengths[count:]

    def read(self, position: int, into: Samples) -> bool:
        """Copy what is laid down from `position` on, all of which is settled, over silence. Whether
        there was anything."""
        end = position + len(into)
        found = False
        while self._laid and self._laid[0][0] < end:
            start, samples = self._laid.popleft()
            into[start - position : start - position + len(samples)] = samples[: end - start]
            found = True
            if start + len(samples) > end:
                self._laid.appendleft((end, samples[end - start :]))
                break
        return found

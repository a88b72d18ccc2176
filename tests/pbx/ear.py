"""A listener with the script in hand: was what was heard what was said, whole and in order?

The reference is cut into short windows of speech, and each is compared with what was heard at every
offset in question. The likeliest line through these offsets, one that seldom steps, is flat for a
perfect reply. A step up is a gap (silence got in) or a repeat (sound got in), a step down a skip
(sound is missing), a slope is the wrong speed, and an end before the script's is a cut. Sound that
is missing without a step, as a lost packet is, shows as silence where the script has none.

Normalized correlation makes all this indifferent to level, to mu-law and to a careful resampler.
Everything is numpy on int16 PCM; nothing here knows of calls.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tests.pbx.codec import Pcm

_Sound = npt.NDArray[np.float64]
Kind = Literal["gap", "repeat", "skip"]

_WINDOW_S: Final = 0.12  # some ten pitch periods: longer ones smear a fault, shorter ones guess
_HOP_S: Final = 0.06
_BLOCK_S: Final = 0.01
_ANCHOR_S: Final = 0.24
_BACK_S: Final = 0.5
_SURE: Final = 0.9  # other moments of the same voice reach 0.85, the same through mu-law 0.98
_STEP_COST: Final = 0.5  # of correlation: a step pays once two windows agree on it
_SLIDE_S: Final = 0.0005  # free movement from window to window, so 0.8 % of drift can be followed
_SLIDE_COST: Final = 0.002  # per sample; a vowel fits nearly as well a little to the side
_CUT_S: Final = 0.05  # less than this at the end is a codec's or a fade's tail
_SILENT_RMS: Final = 40.0  # mu-law's idle noise is 8, quiet speech 100
_SPEECH_SHARE: Final = 0.05  # of the reference's level: quieter parts are pauses and breath


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where ear and script part. `at_s` is a position in what was heard."""

    kind: Kind
    at_s: float
    ms: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a reference. Without `found` the rest means nothing."""

    found: bool
    start_s: float = 0.0
    """Where the reference's first sample lies, or would lie, in what was heard."""
    faults: tuple[Fault, ...] = ()
    cut_at_s: float | None = None
    """How much of the reference was heard before it stopped for good; None: all of it."""
    drift: float = 0.0
    """0.01: it was played 1 % too slowly."""
    min_correlation: float = 0.0
    """Of the worst window that was found."""

    def count(self, kind: Kind) -> int:
        """How many faults of a kind."""
        return sum(fault.kind == kind for fault in self.faults)

    @property
    def gaps(self) -> int:
        """Silence that is not in the script."""
        return self.count("gap")

    @property
    def repeats(self) -> int:
        """Sound that is in the script once and was heard twice."""
        return self.count("repeat")

    @property
    def skips(self) -> int:
        """Sound of the script that is missing, without silence in its place."""
        return self.count("skip")

    @property
    def perfect(self) -> bool:
        """Heard from beginning to end, once, without a fault, at the right speed."""
        whole = self.found and not self.faults and self.cut_at_s is None
        return whole and abs(self.drift) < 0.001


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of sound, in seconds."""

    start_s: float
    end_s: float


def spans(heard: Pcm, rate_hz: int, pause_s: float = 0.4) -> list[Span]:
    """Where there is sound: stretches that are at least `pause_s` apart."""
    size = round(rate_hz * _BLOCK_S)
    loud = np.flatnonzero(_block_rms(heard.astype(np.float64), size) > _SILENT_RMS * 3)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) * _BLOCK_S >= pause_s)
    starts = np.concatenate(([loud[0]], loud[breaks + 1]))
    ends = np.concatenate((loud[breaks], [loud[-1]])) + 1
    return [
        Span(float(a) * _BLOCK_S, float(b) * _BLOCK_S) for a, b in zip(starts, ends, strict=True)
    ]


def align(heard: Pcm, reference: Pcm, rate_hz: int, slack_s: float = 1.0) -> Verdict:
    """Find `reference` in `heard`, both at `rate_hz`, the first time it is there.

    Gaps and repeats may add up to `slack_s`; what comes later counts as not heard. Of a reference
    that is heard several times only the first is looked at; cut `heard` where others begin.
    """
    return _Listener(heard, reference, rate_hz).verdict(slack_s)


class _Listener:
    """One reference and one ear. Places and offsets are in samples: what the script has at `place`
    is heard at `place + offset`."""

    def __init__(self, heard: Pcm, reference: Pcm, rate_hz: int) -> None:
        self.rate = rate_hz
        self.raw: _Sound = heard.astype(np.float64)
        self.heard = _without_top(heard)
        self.script = _without_top(reference)
        self.window = round(rate_hz * _WINDOW_S)
        self.block = round(rate_hz * _BLOCK_S)
        self.rms = _block_rms(self.script, self.block)
        level = float(np.percentile(self.rms, 95)) if len(self.rms) else 0.0
        self.spoken = self.rms > max(level * _SPEECH_SHARE, _SILENT_RMS)
        self.gain = 1.0  # of the ear over the script, once that is known

    def verdict(self, slack_s: float) -> Verdict:
        windows = self._speech_windows()
        anchor = self._anchor(windows)
        if anchor is None:
            return Verdict(found=False)
        line, fits = self._likeliest(windows, anchor, slack_s)
        sure = self._sure(line, fits)
        at = [windows[i] for i in sure]
        offsets = [line[i] for i in sure]
        if not at:
            return Verdict(found=False)
        self.gain = self._level_at_ear(at, offsets)
        steps, drift = self._steps(at, offsets)
        missing = self._missing(at, offsets)
        cut_at = self._cut(at[-1], offsets[-1])
        if cut_at is not None:
            missing = [(a, b) for a, b in missing if a + self.block <= cut_at]
        faults = steps + self._replaced(missing, steps, at, offsets)
        return Verdict(
            found=True,
            start_s=offsets[0] / self.rate,
            faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
            cut_at_s=None if cut_at is None else cut_at / self.rate,
            drift=drift,
            min_correlation=min(fits[i] for i in sure),
        )

    # ---- finding -------------------------------------------------------------------------------

    def _speech_windows(self) -> list[int]:
        """Starts of the windows that are mostly speech; others fit anywhere."""
        hop = round(self.rate * _HOP_S)
        count = self.window // self.block
        return [
            start
            for start in range(0, len(self.script) - self.window + 1, hop)
            if self.spoken[start // self.block :][:count].mean() > 0.5
        ]

    def _anchor(self, windows: list[int]) -> int | None:
        """The offset of the beginning: the first place that fits about as well as any."""
        size = round(self.rate * _ANCHOR_S)
        # The very first words may be what is damaged.
        for start in windows[:12:3]:
            fit = _correlation(self.heard, self.script[start : start + size])
            if len(fit) and fit.max() > _SURE:
                first = int(np.argmax(fit > 0.95 * fit.max()))
                first += int(np.argmax(fit[first : first + size]))
                return first - start
        return None

    def _likeliest(
        self, windows: list[int], anchor: int, slack_s: float
    ) -> tuple[list[int], list[float]]:
        """The offset of each window on the best line through all (Viterbi's algorithm), and its
        correlation there."""
        low = anchor - round(self.rate * _BACK_S)
        count = round(self.rate * (_BACK_S + slack_s))
        slide = round(self.rate * _SLIDE_S)
        moves = np.arange(-slide, slide + 1)
        lags = np.arange(count)
        score = np.zeros(count)
        came_from, fits = [], []
        for start in windows:
            fit = self._fit(start, low, count)
            walls = np.pad(score, slide, constant_values=-np.inf)
            slid = np.lib.stride_tricks.sliding_window_view(walls, len(moves))
            slid = slid - _SLIDE_COST * np.abs(moves)
            move = slid.argmax(axis=1)
            best, top = slid[lags, move], int(score.argmax())
            steps = score[top] - _STEP_COST > best
            came_from.append(np.where(steps, top, lags + moves[move]))
            score = np.where(steps, score[top] - _STEP_COST, best) + fit
            fits.append(fit)
        lag = int(score.argmax())
        line = []
        for back in reversed(came_from):
            line.append(lag)
            lag = int(back[lag])
        line.reverse()
        return [low + lag for lag in line], [float(f[i]) for f, i in zip(fits, line, strict=True)]

    def _fit(self, start: int, low: int, count: int) -> _Sound:
        """Correlation of the window at `start` for `count` offsets from `low` on."""
        first = start + low
        sound = self._sound(first, first + count + self.window - 1)
        return _correlation(sound, self.script[start : start + self.window])

    def _sure(self, line: list[int], fits: list[float]) -> list[int]:
        """The windows that were found. One alone may fit by chance; its neighbour has to agree."""
        slide = round(self.rate * _SLIDE_S)
        pairs = [
            min(fits[i : i + 2]) >= _SURE and abs(line[i + 1] - line[i]) <= slide
            for i in range(len(fits) - 1)
        ]
        return [i for i in range(len(fits)) if any(pairs[max(i - 1, 0) : i + 1])]

    # ---- judging -------------------------------------------------------------------------------

    def _level_at_ear(self, at: list[int], offsets: list[int]) -> float:
        """How much louder the ear heard it than the script has it."""
        script = np.concatenate([self.script[a : a + self.window] for a in at])
        heard = np.concatenate(
            [
                self._sound(a + offset, a + offset + self.window)
                for a, offset in zip(at, offsets, strict=True)
            ]
        )
        return float(script @ heard) / float(script @ script)

    def _steps(self, at: list[int], offsets: list[int]) -> tuple[list[Fault], float]:
        """Faults that moved what followed, and the slope that is left without them."""
        faults: list[Fault] = []
        slid = walked = 0
        for i in range(1, len(at)):
            step, walk = offsets[i] - offsets[i - 1], at[i] - at[i - 1]
            if abs(step) <= _SLIDE_S * walk / _HOP_S:
                slid += step
                walked += walk
            else:
                start, end = at[i - 1], at[i] + self.window
                faults.append(self._step(start, end, offsets[i - 1], offsets[i]))
        return faults, slid / walked if walked else 0.0

    def _step(self, start: int, end: int, before: int, after: int) -> Fault:
        """The fault between two places of the script, found where the one offset stops to fit and
        the other begins."""
        wrong_before = np.concatenate(([0.0], np.cumsum(self._residue(start, end, before))))
        wrong_after = np.concatenate(([0.0], np.cumsum(self._residue(start, end, after))))
        place = start + before + int(np.argmin(wrong_before + wrong_after[-1] - wrong_after))
        kind: Kind = "skip"
        if after > before:
            kind = "gap" if self._is_silent(place, place + after - before) else "repeat"
        return Fault(kind, place / self.rate, abs(after - before) * 1000 / self.rate)

    def _sound(self, start: int, end: int) -> _Sound:
        """What was heard between two samples, silence where that is outside."""
        sound = self.heard[max(start, 0) : max(end, 0)]
        before = min(max(-start, 0), end - start)
        return np.pad(sound, (before, end - start - before - len(sound)))

    def _is_silent(self, start: int, end: int) -> bool:
        """Whether the ear heard nothing there; the edges are left to ringing filters."""
        edge = (end - start) // 4
        middle = self.raw[max(start + edge, 0) : max(end - edge, 0)]
        return not len(middle) or float(np.sqrt(np.mean(np.square(middle)))) < _SILENT_RMS

    def _residue(self, start: int, end: int, offset: int) -> _Sound:
        """Energy of each sample of the ear that the script, at this offset, does not explain."""
        heard = self._sound(start + offset, end + offset)
        residue: _Sound = np.square(heard / self.gain - self.script[start:end])
        return residue

    def _missing(self, at: list[int], offsets: list[int]) -> list[tuple[int, int]]:
        """Stretches of the script that are spoken there and not at the ear."""
        missing = np.zeros(len(self.spoken), np.bool_)
        for block in map(int, np.flatnonzero(self.spoken)):
            start, end = block * self.block, (block + 1) * self.block
            residue = self._residue(start, end, self._nearest(start, at, offsets))
            missing[block] = residue.mean() > self.rms[block] ** 2 / 2
        return _runs(missing, self.block)

    def _cut(self, last: int, offset: int) -> int | None:
        """Where in the script hearing stopped for good, the last sure window being known."""
        script = np.square(self.script[last:])
        # Heard: next to nothing is left unexplained. Not heard: at least the script itself is.
        heard = np.cumsum(script / 2 - self._residue(last, len(self.script), offset))
        stop = last + int(np.argmax(heard)) + 1
        lost = np.count_nonzero(self.spoken[-(-stop // self.block) :]) * _BLOCK_S
        return stop if lost > _CUT_S else None

    def _replaced(
        self,
        missing: list[tuple[int, int]],
        steps: list[Fault],
        at: list[int],
        offsets: list[int],
    ) -> list[Fault]:
        """Faults that moved nothing; beside a step, it is the step that is missing."""
        faults = []
        for a, b in missing:
            start = a + self._nearest(a, at, offsets)
            place = start / self.rate
            if all(abs(place - step.at_s) > 2 * _WINDOW_S + step.ms / 1000 for step in steps):
                kind: Kind = "gap" if self._is_silent(start, start + b - a) else "skip"
                faults.append(Fault(kind, place, (b - a) * 1000 / self.rate))
        return faults

    def _nearest(self, place: int, at: list[int], offsets: list[int]) -> int:
        """The offset of the window closest to a place in the script."""
        return offsets[int(np.abs(np.add(at, self.window // 2) - place).argmin())]


def _without_top(pcm: Pcm) -> _Sound:
    """The sound up to 0.7 of its band, where resamplers begin to differ."""
    if not len(pcm):
        return np.zeros(0)
    spectrum = np.fft.rfft(pcm.astype(np.float64))
    share = np.linspace(0, 1, len(spectrum))
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((share - 0.7) / 0.05, 0, 1))
    return np.fft.irfft(spectrum * fade, len(pcm))


def _block_rms(sound: _Sound, size: int) -> _Sound:
    blocks = sound[: len(sound) // size * size].reshape(-1, size)
    rms: _Sound = np.sqrt(np.mean(np.square(blocks), axis=1))
    return rms


def _correlation(sound: _Sound, part: _Sound) -> _Sound:
    """How well `part` fits `sound` at each position where all of it does, -1 to 1; silence: 0."""
    count = len(sound) - len(part) + 1
    if count < 1:
        return np.zeros(0)
    size = 1 << (len(sound) + len(part) - 1).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(part, size))
    product = np.fft.irfft(spectrum, size)[:count]
    energy = np.concatenate(([0.0], np.cumsum(np.square(sound))))
    energy = energy[len(part) :] - energy[:count]
    quiet = len(part) * _SILENT_RMS**2
    fit: _Sound = product / np.sqrt(np.maximum(energy, quiet) * (np.square(part).sum() + 1.0))
    return fit


def _runs(mask: npt.NDArray[np.bool_], size: int) -> list[tuple[int, int]]:
    """First and one-past-last sample of each run of true blocks."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a) * size, int(b) * size) for a, b in edges.reshape(-1, 2)]

"""What a caller hears, and what it means: each sentence of the pretend model is a tone of its own.

The pretend model understands no words, but it counts; so do its sentences, and whoever listens knows
which one is being said, whether it is whole, whether an agent greets a second time, and for how long
nothing was heard that should have been. Pure: frames with their times in, judgements out.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from audiosocket_agent.audio import FRAME_SECONDS
from audiosocket_agent.lab.ear import AUDIBLE_DBFS, level_dbfs
from audiosocket_agent.lab.simulator import Pcm

GREETING: Final = 0
AGAIN: Final = 8
"""Said where the model is asked by a text to go on."""
SENTENCES: Final = tuple(range(9))
"""0 the greeting, then the answers to the caller's questions by their number, and AGAIN."""

RATE_HZ: Final = 24_000
_FIRST_HZ, _STEP_HZ, _PEAK = 800.0, 200.0, 9000.0  # above the tones of the comfort sound
_PURE: Final = 0.8
"""Of a frame's power, to be that sentence."""


def counted(question: int) -> int:
    """The sentence that answers a question, from 1: after the seventh it is the first again."""
    return (question - 1) % (AGAIN - 1) + 1


def hertz(sentence: int) -> float:
    """The tone of a sentence."""
    return _FIRST_HZ + _STEP_HZ * sentence


def sentence(number: int, seconds: float) -> Pcm:
    """Sentence `number`, to be said."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = _PEAK * np.sin(2 * np.pi * hertz(number) * t)
    return Pcm(wave.astype("<i2").tobytes(), RATE_HZ)


class Heard(NamedTuple):
    """One frame."""

    at: float
    audible: bool
    sentence: int | None = None


def listen(at: float, rate_hz: int, payload: bytes) -> Heard:
    """What a frame of s16le mono has in it."""
    if level_dbfs(payload) <= AUDIBLE_DBFS:
        return Heard(at, audible=False)
    samples = np.frombuffer(payload, "<i2").astype(np.float64)
    t = np.arange(len(samples)) / rate_hz
    power = float(samples @ samples) * len(samples) / 2
    for number in SENTENCES:
        wave = np.exp(-2j * np.pi * hertz(number) * t)
        if abs(samples @ wave) ** 2 > _PURE * power:
            return Heard(at, True, number)
    return Heard(at, audible=True)


def _since(frames: Sequence[Heard], at: float) -> Iterator[Heard]:
    """Those from then on. An hour has 180,000 frames, and whoever goes through all of them for each of
    its turns keeps every other call of this process waiting for seconds."""
    first = bisect_left(frames, at, key=lambda frame: frame.at)
    return (frames[number] for number in range(first, len(frames)))


def silences(frames: Sequence[Heard], begins: float, ends: float) -> list[tuple[float, float]]:
    """The times without a sound between two moments."""
    found, last = [], begins
    for frame in _since(frames, begins):
        if frame.at > ends:
            break
        if frame.audible:
            found.append((last, frame.at))
            last = frame.at + FRAME_SECONDS
    return [(since, until) for since, until in (*found, (last, ends)) if until > since]


def longest_silence(frames: Sequence[Heard], begins: float, ends: float) -> float:
    """The longest time without a sound between two moments."""
    return max((until - since for since, until in silences(frames, begins, ends)), default=0.0)


def seconds_of(frames: Sequence[Heard], since: float, sentences: Sequence[int]) -> float:
    """How much of `sentences` was heard since then."""
    wanted = sum(1 for frame in _since(frames, since) if frame.sentence in sentences)
    return wanted * FRAME_SECONDS


@dataclass(slots=True)
class Spoken:
    """A sentence as it was heard: whole, where its seconds are those it has."""

    sentence: int
    at: float
    seconds: float = 0.0
    ends: float = field(default=0.0)


def sentences(frames: Iterable[Heard], pause_s: float = 0.3) -> list[Spoken]:
    """What was said, one after the other; a pause ends a sentence, and so does another one."""
    said: list[Spoken] = []
    for frame in frames:
        if frame.sentence is None:
            continue
        last = said[-1] if said else None
        if last is None or last.sentence != frame.sentence or frame.at - last.ends > pause_s:
            last = Spoken(frame.sentence, frame.at)
            said.append(last)
        last.seconds += FRAME_SECONDS
        last.ends = frame.at
    return said

"""Who speaks, and when: levels of frames in, spans of speech out.

    frames     . . | | | | . . | | | . . . . . . . . . . . . . . . . . | | |
    spans          [=================]<------- PAUSE_SECONDS ------->  [====
                   begins            ends

A level is enough here: what a lab plays and hears is speech or silence, without a room behind it. A
pause inside a span is breath; a longer one ends it, at its last audible frame.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiosocket_agent.audio import FRAME_SECONDS, FRAMES_PER_SECOND

Samples = NDArray[np.int16]

AUDIBLE_DBFS: Final = -50.0
"""A frame above this is somebody speaking: telephone speech lies near -25, line noise below -60."""

SILENT_DBFS: Final = -120.0
"""What digital silence, which has no level, is given; one step of 16 bits is -90."""

PAUSE_SECONDS: Final = 0.6
"""Longer silence ends an utterance. The pauses inside the shipped speech are below 0.2 s, between
sentences of a voice model up to 0.5 s; the answer to a barge-in comes later than this after it."""

OVERLAP_SECONDS: Final = 0.060
"""An agent heard this recently is speaking, not pausing: three frames."""

_MARGIN_FRAMES: Final = 5
"""Kept on both sides of an utterance cut from a recording: 100 ms, for the soft consonants."""

_ZEROS: Final = bytes(65_535)


def level_dbfs(payload: bytes) -> float:
    """Root mean square of s16le samples against full scale, in dB; SILENT_DBFS at the least."""
    if _ZEROS.startswith(payload):  # half of all frames, and a hundred times cheaper
        return SILENT_DBFS
    samples = np.frombuffer(payload, "<i2", len(payload) // 2).astype(np.float32)
    power = float(samples @ samples)
    if power == 0.0:
        return SILENT_DBFS
    return 10 * math.log10(power / (len(samples) * 32768.0**2))


@dataclass(slots=True)
class Span:
    """Speech: its first and its last audible frame, in seconds. `ends` grows while it lasts."""

    begins: float
    ends: float


class Ear:
    """Joins audible frames to spans. A call has few: one for each PAUSE_SECONDS at the most."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def hear(self, at: float, *, audible: bool) -> bool:
        """Take the next frame. True where a span begins with it."""
        if not audible:
            return False
        if self.heard_within(PAUSE_SECONDS, at):
            self.spans[-1].ends = at
            return False
        self.spans.append(Span(at, at))
        return True

    def heard_within(self, seconds: float, now: float) -> bool:
        """Whether the last audible frame is less than `seconds` old."""
        return bool(self.spans) and now - self.spans[-1].ends < seconds


def utterances(samples: Samples, rate_hz: int) -> list[Samples]:
    """Cut a recording where it is silent for PAUSE_SECONDS or longer."""
    size = rate_hz // FRAMES_PER_SECOND
    ear = Ear()
    for number in range(math.ceil(len(samples) / size)):
        level = level_dbfs(samples[number * size : (number + 1) * size].tobytes())
        ear.hear(number * FRAME_SECONDS, audible=level > AUDIBLE_DBFS)
    return [_cut(samples, span, size) for span in ear.spans]


def _cut(samples: Samples, span: Span, size: int) -> Samples:
    first = round(span.begins / FRAME_SECONDS) - _MARGIN_FRAMES
    last = round(span.ends / FRAME_SECONDS) + _MARGIN_FRAMES
    return samples[max(0, first) * size : (last + 1) * size]

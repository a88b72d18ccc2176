"""A caller's words for tests: the first utterance of the shipped caller, silence around it cut."""

import wave
from pathlib import Path
from typing import Final

import numpy as np

import audiosocket_agent

RATE_HZ: Final = 16_000
_FRAME: Final = RATE_HZ // 50
_LOUD: Final = 600
_PAUSE_FRAMES: Final = 30
"""0.6 s: no pause inside an utterance is as long, and all between them are longer."""


def _first_utterance() -> bytes:
    path = Path(audiosocket_agent.__file__).parent / "assets" / "caller.wav"
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_HZ
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.int32)
    loud = np.flatnonzero(np.abs(frames).max(axis=1) > _LOUD)
    [*_, end] = loud[: 1 + int(np.argmax(np.diff(loud) > _PAUSE_FRAMES))]
    return samples[loud[0] * _FRAME : (end + 1) * _FRAME].tobytes()


SPEECH: Final = _first_utterance()
"""s16le mono at RATE_HZ."""

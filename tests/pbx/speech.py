"""What is said in test calls: the package's own recordings, and Asterisk's prompts for callers."""

import wave
from pathlib import Path
from typing import Final

import numpy as np

import audiosocket_agent
from tests.pbx.asterisk import ROOT
from tests.pbx.codec import Pcm, resample

_ASSETS: Final = Path(audiosocket_agent.__file__).parent / "assets"
_PROMPTS: Final = ROOT / "usr/share/asterisk/sounds/en_US_f_Allison"
_PAUSE_RMS: Final = 300

PROMPT_RATE_HZ: Final = 8_000

QUESTIONS: Final = ("agent-loginok", "info-about-last-call", "cannot-complete-as-dialed")
"""Prompts of 1.6, 2.0 and 2.5 s of speech without a pause that would end a caller's turn."""


def asset(name: str, rate_hz: int) -> Pcm:
    """A recording of the package: simulator-greeting, simulator-reply, simulator-goodbye, caller,
    echo-greeting."""
    pcm, rate = _read(_ASSETS / f"{name}.wav")
    return resample(pcm, rate, rate_hz)


def prompt(name: str) -> Pcm:
    """A prompt of Asterisk's at PROMPT_RATE_HZ, without the silence around it, so that speech
    starts and ends where the PCM does."""
    pcm, rate = _read(_PROMPTS / f"{name}.wav")
    assert rate == PROMPT_RATE_HZ
    block = rate // 100
    blocks = pcm[: len(pcm) // block * block].reshape(-1, block).astype(np.float64)
    loud = np.flatnonzero(np.sqrt(np.mean(np.square(blocks), axis=1)) > _PAUSE_RMS)
    return pcm[loud[0] * block : (loud[-1] + 1) * block]


def _read(path: Path) -> tuple[Pcm, int]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()

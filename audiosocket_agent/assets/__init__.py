"""The speech that ships with the package; see README beside this file."""

import wave
from functools import cache
from importlib.resources import files

RATE_HZ = 16_000


@cache
def speech(name: str) -> bytes:
    """The samples of `name`.wav: s16le mono at 16 kHz."""
    with files(__name__).joinpath(f"{name}.wav").open("rb") as file, wave.open(file, "rb") as audio:
        return audio.readframes(audio.getnframes())

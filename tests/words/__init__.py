"""One-word answers, as callers give them: see README beside this file."""

import wave
from pathlib import Path
from typing import Final

RATE_HZ: Final = 8_000


def _read(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_HZ
        pcm: bytes = file.readframes(file.getnframes())
        return pcm


WORDS: Final = {path.stem: _read(path) for path in sorted(Path(__file__).parent.glob("*.wav"))}
"""s16le mono at RATE_HZ, by word and voice."""

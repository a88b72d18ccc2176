"""Speech without the silence around it."""

from typing import Final

import numpy as np

from audiosocket_agent.audio import SAMPLE_BYTES

STEP_S: Final = 0.01
QUIET: Final = 150.0
"""Root mean square of 10 ms (0 to 32767) that is silence: -47 dBFS, above what a model breathes between
its words and below their softest consonants."""
MARGIN_STEPS: Final = 4
"""Kept on either side: an s fades in, a vowel fades out."""


def trim(pcm: bytes, rate_hz: int) -> bytes:
    """What sounds in it, from the first sound to the last; nothing where nothing does."""
    step = round(STEP_S * rate_hz)
    samples = np.frombuffer(pcm, "<i2", len(pcm) // SAMPLE_BYTES).astype(np.float64)
    steps = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    sounding = np.flatnonzero(np.sqrt((steps**2).mean(axis=1)) > QUIET)
    if not len(sounding):
        return b""
    first = max(0, int(sounding[0]) - MARGIN_STEPS)
    last = int(sounding[-1]) + 1 + MARGIN_STEPS
    return pcm[first * step * SAMPLE_BYTES : last * step * SAMPLE_BYTES]

"""A soft sound for a caller who waits: two notes that fade in and out,
unlike a line's own tones."""

from typing import Final

import numpy as np

NOTES_HZ: Final = (523.25, 659.26)
"""A major third, which no network's busy, ringing or congestion tone is (ITU-T E.180: 350 to 480 Hz)."""
NOTE_S: Final = 0.3
PEAK: Final = 1600
"""26 dB under full scale: heard, and some 10 dB softer than speech."""


def comfort_tone(rate_hz: int) -> bytes:
    """Made of NOTES_HZ one after the other, each swelling and fading; s16le."""
    t = np.arange(round(NOTE_S * rate_hz)) / rate_hz
    swell = PEAK * np.sin(np.pi * t / NOTE_S) ** 2
    notes = [swell * np.sin(2 * np.pi * hertz * t) for hertz in NOTES_HZ]
    return bytes(np.concatenate(notes).astype("<i2").tobytes())

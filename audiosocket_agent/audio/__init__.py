"""Audio as numbers: no sockets, no clock, no settings.

Everywhere below, audio is signed 16-bit little-endian mono, and a frame is 20 ms of it.
"""

from functools import lru_cache
from typing import Final

SAMPLE_BYTES: Final = 2
FRAME_MS: Final = 20
FRAMES_PER_SECOND: Final = 1000 // FRAME_MS
FRAME_SECONDS: Final = FRAME_MS / 1000


def frame_bytes(rate_hz: int) -> int:
    """Length of 20 ms: 8000 Hz / 50 * 2 bytes = 320."""
    return rate_hz // FRAMES_PER_SECOND * SAMPLE_BYTES


@lru_cache(maxsize=64)
def silence(size: int) -> bytes:
    """So many bytes of it, once for all calls."""
    return bytes(size)


def duration_ms(pcm: bytes, rate_hz: int) -> float:
    """How long `pcm` plays."""
    return len(pcm) * 1000 / (rate_hz * SAMPLE_BYTES)

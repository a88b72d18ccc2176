"""Short WAV files: whole, mono, 16 bits."""

import io
import wave
from typing import Final

from audiosocket_agent.audio import SAMPLE_BYTES

RATES_HZ: Final = (8_000, 16_000, 24_000)


def encode(pcm: bytes, rate_hz: int) -> bytes:
    """A file with this in it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(SAMPLE_BYTES)
        audio.setframerate(rate_hz)
        audio.writeframes(pcm)
    return file.getvalue()


def decode(content: bytes) -> tuple[bytes, int]:
    """The samples of a file, s16le, and their rate in Hz. Raises ValueError, which says in words what
    it is instead of a WAV file of RATES_HZ, mono, with 16 bits."""
    try:
        with wave.open(io.BytesIO(content), "rb") as audio:
            width, channels, rate_hz = (
                audio.getsampwidth(),
                audio.getnchannels(),
                audio.getframerate(),
            )
            announced, pcm = audio.getnframes(), audio.readframes(audio.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # the last for chunks in no order
        raise ValueError(f"no PCM WAV file ({str(error) or 'it is cut short'})") from None
    if width != SAMPLE_BYTES:
        raise ValueError(f"{8 * width} bits, not 16")
    if channels != 1:
        raise ValueError(f"{channels} channels, not 1")
    if rate_hz not in RATES_HZ:
        raise ValueError(f"{rate_hz} Hz, not one of {', '.join(map(str, RATES_HZ))}")
    if len(pcm) != announced * SAMPLE_BYTES:
        raise ValueError("cut short")
    return pcm, rate_hz

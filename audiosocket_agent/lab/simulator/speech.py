"""What the model says: speech at 24 kHz, cut into the payloads of messages, made once for all."""

import base64
import itertools
import math
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiosocket_agent.lab.simulator.behaviour import Pcm, Speech

RATE_HZ: Final = 24_000
SAMPLE_BYTES: Final = 2
BYTES_PER_SECOND: Final = RATE_HZ * SAMPLE_BYTES

AUDIO_HEAD: Final = (
    b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":'
    b'{"mimeType":"audio/pcm;rate=24000","data":"'
)
AUDIO_TAIL: Final = b'"}}]}}}'

_TONE_HZ: Final = 440
_TONE_PEAK: Final = 16_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """The audio of one message."""

    message: bytes
    """Ready to send."""
    payload: str
    """The base64 of it alone, for a message with more in it."""
    pcm_bytes: int

    @property
    def seconds(self) -> float:
        return self.pcm_bytes / BYTES_PER_SECOND


@lru_cache(maxsize=64)
def chunks_of(speech: Speech, chunk_ms: int) -> tuple[Chunk, ...]:
    """`speech` at 24 kHz, in chunks of `chunk_ms`, the last one shorter."""
    if isinstance(speech, Pcm):
        pcm, rate_hz = speech
    else:
        pcm, rate_hz = _read_wav(speech)
    samples = resample(np.frombuffer(pcm, "<i2").astype(np.float64), rate_hz, RATE_HZ)
    return _cut(np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes(), chunk_ms)


def tone(chunk_ms: int) -> Iterator[Chunk]:
    """A tone without end."""
    return itertools.cycle(_tone_second(chunk_ms))


@lru_cache(maxsize=4)
def _tone_second(chunk_ms: int) -> tuple[Chunk, ...]:
    at = np.arange(RATE_HZ) * (2 * math.pi * _TONE_HZ / RATE_HZ)
    return _cut((_TONE_PEAK * np.sin(at)).astype("<i2").tobytes(), chunk_ms)


def resample(samples: NDArray[np.float64], rate_in: int, rate_out: int) -> NDArray[np.float64]:
    """All of a signal at another rate, by its spectrum: exact within the lower band, nothing of
    the upper one left. Silence is put around it, so that the ends do not ring into each other."""
    if rate_in == rate_out or not len(samples):
        return samples
    common = math.gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    around = down * -(-rate_in // (10 * down))  # 100 ms, a whole number of samples at both rates
    blocks = -(-(len(samples) + 2 * around) // down)
    size = down * (1 << (blocks - 1).bit_length())  # such lengths transform fast
    padded = np.zeros(size)
    padded[around : around + len(samples)] = samples
    count = size // down * up
    out = np.fft.irfft(np.fft.rfft(padded), count) * (count / size)
    start = around // down * up
    return out[start : start + round(len(samples) * up / down)]


def _read_wav(path: Path) -> tuple[bytes, int]:
    with wave.open(str(path)) as file:
        if file.getnchannels() != 1 or file.getsampwidth() != SAMPLE_BYTES:
            raise ValueError(f"{path} is not mono with 16 bits")
        return file.readframes(file.getnframes()), file.getframerate()


def _cut(pcm: bytes, chunk_ms: int) -> tuple[Chunk, ...]:
    size = RATE_HZ * chunk_ms // 1000 * SAMPLE_BYTES
    parts = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    encoded = [base64.b64encode(part) for part in parts]
    return tuple(
        Chunk(AUDIO_HEAD + payload + AUDIO_TAIL, payload.decode(), len(part))
        for part, payload in zip(parts, encoded, strict=True)
    )

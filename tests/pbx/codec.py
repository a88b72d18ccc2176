"""The two codecs callers speak here: G.711 mu-law at 8 kHz and L16 at 16 kHz.

PCM is a numpy array of int16 everywhere in this bench; `rate_hz` goes beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]

PACKET_S: Final = 0.02


def _ulaw_levels() -> Pcm:
    """G.711 table 2a: the value of each of the 256 codes, scaled from 14 to 16 bits."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4 & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    magnitude = ((mantissa << 3) + 132 << exponent) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


_ULAW_LEVELS: Final = _ulaw_levels()
# Codes by rising level. 0x7f and 0xff are both zero; either encodes it.
_ULAW_CODES: Final = np.argsort(_ULAW_LEVELS, kind="stable").astype(np.uint8)
_ULAW_EDGES: Final = np.convolve(_ULAW_LEVELS[_ULAW_CODES].astype(np.int32), (1, 1), "valid") / 2


def ulaw_encode(pcm: Pcm) -> bytes:
    """The nearest mu-law code of each sample."""
    return _ULAW_CODES[np.searchsorted(_ULAW_EDGES, pcm)].tobytes()


def ulaw_decode(payload: bytes) -> Pcm:
    """The level of each mu-law code."""
    return _ULAW_LEVELS[np.frombuffer(payload, np.uint8)]


def _l16_encode(pcm: Pcm) -> bytes:
    return pcm.astype(">i2").tobytes()


def _l16_decode(payload: bytes) -> Pcm:
    return np.frombuffer(payload, ">i2").astype(np.int16)


@dataclass(frozen=True, slots=True)
class Codec:
    """How SDP calls a codec, and how its payload is made and read."""

    rtpmap: str
    rate_hz: int
    payload_type: int
    """What an offer proposes; the answer decides."""
    encode: Callable[[Pcm], bytes]
    decode: Callable[[bytes], Pcm]

    @property
    def packet_samples(self) -> int:
        """Samples in the 20 ms of one packet."""
        return round(self.rate_hz * PACKET_S)


ULAW: Final = Codec("PCMU/8000", 8_000, 0, ulaw_encode, ulaw_decode)
L16: Final = Codec("L16/16000", 16_000, 118, _l16_encode, _l16_decode)


def resample(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """The same sound at another rate, band-limited, by way of its whole spectrum."""
    if from_hz == to_hz:
        return pcm
    count = round(len(pcm) * to_hz / from_hz)
    spectrum = np.fft.rfft(pcm.astype(np.float64))
    kept = np.zeros(count // 2 + 1, np.complex128)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    sound = np.fft.irfft(kept, count) * (to_hz / from_hz)
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)

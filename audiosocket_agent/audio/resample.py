"""Rate conversion for a call: one small matrix product per chunk.

A polyphase FIR low-pass, laid out as a Toeplitz matrix: a block of `down * k` input samples with the
filter's history before it, times the matrix, gives `up * k` output samples. State is the history;
it belongs to one direction of one call and is never shared. The filter is a Kaiser-windowed sinc of
32 taps per phase: delay <= 2 ms, aliases <= -85 dB (tests/audio/test_resample.py measures both).
Streaming soxr delays telephone chunks by 40 to 118 ms, the stdlib's audioop aliased at 0 dB.
"""

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_TAPS_PER_PHASE: Final = 32
_KAISER_BETA: Final = 9.0  # stop band about -90 dB
_CUTOFF: Final = 0.92  # of the lower Nyquist frequency: 3.7 kHz on a telephone line
_BLOCK_SAMPLES: Final = 60  # the matrix stays small enough for the cache; larger gains nothing


class Resampler:
    """Converts one stream from `from_hz` to `to_hz`, chunk by chunk."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._matrix, self._block, self._delay = _design(from_hz, to_hz)
        self._history = np.zeros(len(self._matrix) - self._block, np.float32)

    def feed(self, pcm: bytes) -> bytes:
        """Convert the next chunk, whole samples of any number. Multiples of 10 ms come out whole;
        of others up to 10 ms stay inside until the next chunk or `flush`."""
        data = np.concatenate((self._history, np.frombuffer(pcm, "<i2")))  # float32
        rows, block = len(self._matrix), self._block
        blocks = (len(data) - rows) // block + 1
        if blocks <= 0:
            self._history = data
            return b""
        step = data.itemsize
        windows = np.ndarray((blocks, rows), data.dtype, data, 0, (block * step, step))
        self._history = data[blocks * block :].copy()
        out = np.matmul(windows, self._matrix)
        np.clip(np.rint(out, out), -32768, 32767, out=out)
        return bytes(out.astype("<i2").tobytes())

    def flush(self) -> bytes:
        """Return what the filter still holds of the stream, and forget it."""
        held = len(self._history) - (len(self._matrix) - self._block)
        missing = self._delay + (-(held + self._delay)) % self._block
        tail = self.feed(bytes(2 * missing))
        self.reset()
        return tail

    def reset(self) -> None:
        """Forget the stream, so that its tail is not heard in the next one."""
        self._history = np.zeros(len(self._matrix) - self._block, np.float32)


@cache
def _design(from_hz: int, to_hz: int) -> tuple[Samples, int, int]:
    """The matrix (history + block rows, output columns), the block and the delay in input samples.

    Output m is the sum over n of x[n] * h[m * down - n * up]: row r of a block stands for input
    r - history, column j for output j.
    """
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    taps = _lowpass(up, down)
    history = math.ceil((len(taps) - 1) / up)
    groups = max(1, math.gcd(from_hz // 100, _BLOCK_SAMPLES * down) // down)
    block = down * groups
    columns = np.arange(up * groups)
    rows = np.arange(history + block)[:, np.newaxis]
    tap = columns * down - (rows - history) * up
    inside = (tap >= 0) & (tap < len(taps))
    matrix = np.where(inside, taps[tap * inside], 0).astype(np.float32)
    return matrix, block, math.ceil((len(taps) // 2) / up)


def _lowpass(up: int, down: int) -> NDArray[np.float64]:
    half = _TAPS_PER_PHASE * max(up, down) // 2
    cutoff = _CUTOFF / max(up, down)
    n = np.arange(-half, half + 1)
    window: NDArray[np.float64] = np.kaiser(2 * half + 1, _KAISER_BETA)
    sinc: NDArray[np.float64] = np.sinc(cutoff * n) * cutoff * up
    return window * sinc

"""From the caller's samples to speech: a turn begins when enough of it was heard, and ends when
enough silence was."""

from typing import Final

import numpy as np
import webrtcvad

FRAME_MS: Final = 20
"""One verdict of the detector; webrtcvad takes 10, 20 or 30."""
VAD_MODE: Final = 3
"""The strictest: it must not take a line's noise for a caller."""
_VAD_RATES: Final = (8_000, 16_000, 32_000, 48_000)
_FALLBACK_RATE: Final = 16_000
SAMPLE_BYTES: Final = 2


class SpeechMeter:
    """Cuts audio of one rate into frames and says which of them are speech: to webrtcvad, and
    loud enough."""

    def __init__(self, rate_hz: int, level: int) -> None:
        """`level` is the RMS below which a frame is not speech."""
        self.rate_hz = rate_hz
        self._vad_rate = rate_hz if rate_hz in _VAD_RATES else _FALLBACK_RATE
        self._frame_bytes = self._vad_rate * FRAME_MS // 1000 * SAMPLE_BYTES
        self._vad = webrtcvad.Vad(VAD_MODE)
        self._least_energy = level * level * (self._frame_bytes // SAMPLE_BYTES)
        self._rest = b""

    def feed(self, pcm: bytes) -> list[bool]:
        """One verdict for each 20 ms that `pcm`, s16le of any length, completes."""
        if self._vad_rate != self.rate_hz and pcm:
            pcm = self._to_vad_rate(pcm)
        data = self._rest + pcm if self._rest else pcm
        size = self._frame_bytes
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [self._is_speech(data[start : start + size]) for start in range(0, whole, size)]

    def _is_speech(self, frame: bytes) -> bool:
        if not self._vad.is_speech(frame, self._vad_rate):
            return False
        samples = np.frombuffer(frame, "<i2").astype(np.float32)
        return float(samples @ samples) >= self._least_energy

    def _to_vad_rate(self, pcm: bytes) -> bytes:
        # Good enough to tell speech from silence, and for nothing else.
        samples = np.frombuffer(pcm, "<i2")
        count = len(samples) * self._vad_rate // self.rate_hz
        at = np.arange(count) * (self.rate_hz / self._vad_rate)
        out: bytes = np.interp(at, np.arange(len(samples)), samples).astype("<i2").tobytes()
        return out


class TurnDetector:
    """Automatic activity detection over the verdicts of a SpeechMeter."""

    def __init__(self, prefix_ms: int, silence_ms: int) -> None:
        self._prefix_ms = max(prefix_ms, FRAME_MS)
        self._silence_ms = silence_ms
        self._speech_ms = 0
        self._quiet_ms = 0
        self.speaking = False

    def feed(self, is_speech: bool) -> bool:
        """Take the verdict on the next 20 ms; True: `speaking` changed."""
        if self.speaking:
            self._quiet_ms = 0 if is_speech else self._quiet_ms + FRAME_MS
            if self._quiet_ms >= self._silence_ms:
                self.reset()
                return True
            return False
        # A gap takes back what a frame of speech gave, so that scattered clicks never add up.
        step = FRAME_MS if is_speech else -FRAME_MS
        self._speech_ms = max(0, self._speech_ms + step)
        if self._speech_ms < self._prefix_ms:
            return False
        self.speaking, self._quiet_ms = True, 0
        return True

    @property
    def idle(self) -> bool:
        """No speech is waiting to become a turn."""
        return self._speech_ms == 0

    def reset(self) -> None:
        """The stream paused, or the turn is over: what was heard counts no more."""
        self._speech_ms = self._quiet_ms = 0
        self.speaking = False

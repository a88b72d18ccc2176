"""From the caller's samples to the caller's turns: one begins when enough speech was heard, and ends
when enough silence was."""

import math
from typing import Final

import numpy as np
import webrtcvad

from audiosocket_agent.lab.simulator.behaviour import Behaviour
from audiosocket_agent.lab.simulator.record import CallerTurn, SessionRecord, keep
from audiosocket_agent.lab.simulator.setup import Setup

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


class Ear:
    """The caller's side of a conversation: what arrives, and the turns found or marked in it, for
    the record and for the model."""

    def __init__(self, behaviour: Behaviour, setup: Setup, record: SessionRecord) -> None:
        self._record = record
        self._level = behaviour.level
        self._kept_seconds = behaviour.kept_audio_seconds
        self._automatic = setup.automatic_activity
        self._meter: SpeechMeter | None = None
        self._detector = TurnDetector(
            behaviour.prefix_ms if setup.prefix_ms is None else setup.prefix_ms,
            behaviour.silence_ms if setup.silence_ms is None else setup.silence_ms,
        )
        self._deaf_until = -math.inf
        self._first_speech = self._last_speech = 0.0
        self._turn: CallerTurn | None = None

    def hear(self, pcm: bytes, rate_hz: int, now: float) -> list[bool]:
        """The next audio. Returns what it changed: True, the caller began a turn; False, ended
        it."""
        self._note_audio(pcm, rate_hz, now)
        if self._meter is None or self._meter.rate_hz != rate_hz:
            self._meter = SpeechMeter(rate_hz, self._level)
        changes = []
        for is_speech in self._meter.feed(pcm):
            if is_speech:
                self._note_speech(now)
            heeded = is_speech and (now >= self._deaf_until or self._detector.speaking)
            if self._automatic and self._detector.feed(heeded):
                changes.append(self._detector.speaking)
                if self._detector.speaking:
                    self._open(now)
                else:
                    self.end(now)
        return changes

    def take_no_notice(self, until: float) -> None:
        """Of speech that begins before then, where detection is automatic."""
        self._deaf_until = until

    def begin(self, now: float) -> None:
        """The client says that the caller's turn begins."""
        self._first_speech = self._last_speech = now
        self._open(now)

    def end(self, now: float) -> bool:
        """The caller's turn ends. False: there was none."""
        if self._turn is None:
            return False
        self._turn.end, self._turn.to_byte = now, self._record.audio_bytes
        self._turn = None
        return True

    def pause(self, now: float) -> bool:
        """The stream pauses, and with it all that was heard is over. True: it ended a turn."""
        self._record.audio_stream_ends += 1
        self._meter = None
        if not self._automatic:
            return False
        self._detector.reset()
        return self.end(now)

    def _open(self, now: float) -> None:
        self._turn = CallerTurn(
            now,
            self._first_speech,
            self._last_speech,
            marked=not self._automatic,
            from_byte=self._record.audio_bytes,
        )
        keep(self._record.caller_turns, self._turn)

    def _note_audio(self, pcm: bytes, rate_hz: int, now: float) -> None:
        record = self._record
        if record.first_audio is None:
            record.first_audio = now
        record.last_audio = now
        record.audio_messages += 1
        record.audio_rate_hz = rate_hz
        record.audio_bytes += len(pcm)
        if self._turn is None and not self._automatic:
            record.unmarked_bytes += len(pcm)
        room = int(self._kept_seconds * rate_hz) * SAMPLE_BYTES - len(record.audio)
        if room > 0:
            record.audio += pcm[:room]

    def _note_speech(self, now: float) -> None:
        self._record.speech_ms += FRAME_MS
        self._last_speech = now
        if self._detector.idle:
            self._first_speech = now
        if self._turn is not None:
            self._turn.last_speech = now
            self._turn.speech_ms += FRAME_MS

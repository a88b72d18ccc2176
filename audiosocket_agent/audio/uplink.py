"""The caller's audio on its way to the model.

Frames pass at the rate they came in where that is 8 or 16 kHz, which webrtcvad and Gemini both take;
Asterisk can be told to send others, which become 16 kHz. Runs the speech detector on the way, and
stands silence in for what is missing.
"""

from collections.abc import Callable

from audiosocket_agent.audio import SAMPLE_BYTES, frame_bytes
from audiosocket_agent.audio.cadence import Cadence
from audiosocket_agent.audio.gap import Gap, GapFiller
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.audio.vad import RATES_HZ, Edge, SpeechDetector

WIDEBAND_HZ = 16_000


class Uplink:
    """One caller's audio. `detector` makes the speech detector for a rate; `model_rate_hz` is the rate
    to give the model, 0 for the caller's own."""

    def __init__(
        self,
        detector: Callable[[int], SpeechDetector],
        *,
        gap_fill_s: float = 1.0,
        model_rate_hz: int = 0,
    ) -> None:
        self._make_detector = detector
        self._wanted_hz = model_rate_hz
        self._cadence = Cadence()
        self._gap = GapFiller(fill_s=gap_fill_s)
        self._from_hz = 0
        self._resampler: Resampler | None = None
        self.detector: SpeechDetector | None = None
        self.rate_hz = 0  # of what `take` and `fill` return

    @property
    def voiced(self) -> bool:
        """Whether the last frame was speech."""
        return self.detector is not None and self.detector.speaking and not self.detector.quiet_ms

    @property
    def sounding(self) -> bool:
        """Whether the caller was heard within the last tenth of a second."""
        detector = self.detector
        return detector is not None and detector.speaking and detector.quiet_ms <= 100

    @property
    def quiet_s(self) -> float:
        """How long ago the last frame was that was speech; to be asked once there has been an edge."""
        assert self.detector is not None
        return self.detector.quiet_ms / 1000

    def rearm(self) -> None:
        """Speech that goes on is a new onset (`SpeechDetector.rearm`)."""
        if self.detector is not None:
            self.detector.rearm()

    def take(self, payload: bytes, rate_hz: int, now: float) -> tuple[bytes, list[Edge]]:
        """Pass on the caller's next audio; returns it for the model, and the edges found in it.
        Raises PeerError where it is not what its rate says."""
        if rate_hz != self._from_hz:
            self._adopt(rate_hz)
        duration_s = len(payload) / (rate_hz * SAMPLE_BYTES)
        self._cadence.received(now, len(payload), duration_s)
        self._gap.received(now, duration_s)
        assert self.detector is not None
        if self._resampler is None:
            return payload, self.detector.feed(payload)
        pcm = self._resampler.feed(payload)
        # where it can be, speech is found before it is converted: the same in fewer bytes
        return pcm, self.detector.feed(payload if rate_hz in RATES_HZ else pcm)

    def missing(self, now: float) -> tuple[bytes, list[Edge], bool] | None:
        """To be asked every 20 ms: silence to send in place of what did not come (or nothing), the
        edges in it, and whether the model is to be told that the audio pauses. None, as a rule:
        nothing is missing."""
        gap = self._gap.poll(now)
        if gap is Gap.NONE:
            return None
        if gap is not Gap.FILL or self.detector is None:
            return b"", [], gap is Gap.END
        edges = self.detector.feed(bytes(frame_bytes(self._detector_hz)))
        return bytes(frame_bytes(self.rate_hz)), edges, False

    def _adopt(self, rate_hz: int) -> None:
        self._from_hz = rate_hz
        native = rate_hz in RATES_HZ
        self.rate_hz = self._wanted_hz or (rate_hz if native else WIDEBAND_HZ)
        self._resampler = Resampler(rate_hz, self.rate_hz) if rate_hz != self.rate_hz else None
        self._detector_hz = rate_hz if native else self.rate_hz
        self.detector = self._make_detector(self._detector_hz)

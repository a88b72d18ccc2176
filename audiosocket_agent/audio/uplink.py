"""The caller's audio on its way to the model.

Frames pass at the rate they came in where that is 8 or 16 kHz, which webrtcvad and Gemini both take;
Asterisk can be told to send others, which become 16 kHz. Runs the speech detector on the way, and
stands silence in for what is missing.
"""

from collections.abc import Callable, Sequence

from audiosocket_agent.audio import SAMPLE_BYTES, frame_bytes, silence
from audiosocket_agent.audio.cadence import MAX_AHEAD_SECONDS, Cadence
from audiosocket_agent.audio.gap import Gap, GapFiller
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.audio.vad import RATES_HZ, Edge, SpeechDetector
from audiosocket_agent.errors import PeerError

WIDEBAND_HZ = 16_000
AT_ONCE_SECONDS = 2 * MAX_AHEAD_SECONDS
"""Of audio between two checks. More is a flood, of which no more is looked at: a process that stood
still for so long has lost the call."""


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
        self._from_hz = self._bytes_per_s = 0
        self._messages = self._bytes = 0  # at the present rate
        self._noticed = self._filled_to = 0  # of the bytes, by a tick; by the gap filler
        self._noticed_at = 0.0
        self._checked = (0, 0)  # messages and bytes
        self._before_s = 0.0  # of audio at other rates, not checked yet
        self._at_most = 0.0  # of the bytes, until the next check
        self._resampler: Resampler | None = None
        self.detector: SpeechDetector | None = None
        self.rate_hz = 0  # of what `take` and `missing` return
        self.voiced = False
        """Whether what was last taken was speech."""

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

    def take(self, payload: bytes, rate_hz: int) -> tuple[bytes, Sequence[Edge]]:
        """Pass on the caller's next audio; returns it for the model, and the edges found in it. Raises
        PeerError where far too much comes at once."""
        if rate_hz != self._from_hz:
            ended = self._adopt(rate_hz)
            pcm, edges = self.take(payload, rate_hz)
            return pcm, (*ended, *edges)
        self._messages += 1
        self._bytes += len(payload)
        if self._bytes > self._at_most:
            raise PeerError("too_fast", f"more than {AT_ONCE_SECONDS:g} s of audio at once")
        pcm = payload if self._resampler is None else self._resampler.feed(payload)
        detector = self.detector
        assert detector is not None
        # where it can be, speech is found before it is converted: the same in fewer bytes
        edges = detector.feed(payload if self._native else pcm)
        self.voiced = detector.voiced
        return pcm, edges

    def missing(self, now: float) -> tuple[bytes, Sequence[Edge], bool] | None:
        """To be asked every 20 ms: silence to send in place of what did not come (or nothing), the
        edges in it, and whether the model is to be told that the audio pauses. None, as a rule:
        nothing is missing."""
        if self._noticed != self._bytes:
            self._noticed, self._noticed_at = self._bytes, now
            return None
        if self._filled_to != self._noticed:
            came_s = (self._noticed - self._filled_to) / self._bytes_per_s
            self._gap.received(self._noticed_at, came_s)
            self._filled_to = self._noticed
        gap = self._gap.poll(now)
        if gap is Gap.NONE:
            return None
        detector = self.detector
        assert detector is not None  # there is no gap before the first audio
        if gap is Gap.END:  # perhaps before the silence was long enough to be found
            return b"", detector.pause(), True
        edges = detector.feed(silence(frame_bytes(self._detector_hz)))
        return silence(frame_bytes(self.rate_hz)), edges, False

    def check(self, now: float) -> None:
        """To be asked every second. Raises PeerError where the audio is not what its rate says."""
        if self._from_hz:
            messages, size = self._checked
            self._checked = self._messages, self._bytes
            messages, size = self._messages - messages, self._bytes - size
            before_s, self._before_s = self._before_s, 0.0
            self._cadence.received(now, messages, size, before_s + size / self._bytes_per_s)
            self._bound()

    def _bound(self) -> None:
        self._at_most = self._bytes + (AT_ONCE_SECONDS - self._before_s) * self._bytes_per_s

    def _adopt(self, rate_hz: int) -> Sequence[Edge]:
        """Returns the end of an utterance: the next detector knows nothing of it."""
        ended = () if self.detector is None else self.detector.pause()
        if self._from_hz:
            self._before_s += (self._bytes - self._checked[1]) / self._bytes_per_s
        self._from_hz = rate_hz
        self._bytes_per_s = rate_hz * SAMPLE_BYTES
        self._messages = self._bytes = self._noticed = self._filled_to = 0
        self._checked = (0, 0)
        self._bound()
        self._native = rate_hz in RATES_HZ
        self.rate_hz = self._wanted_hz or (rate_hz if self._native else WIDEBAND_HZ)
        self._resampler = Resampler(rate_hz, self.rate_hz) if rate_hz != self.rate_hz else None
        self._detector_hz = rate_hz if self._native else self.rate_hz
        self.detector = self._make_detector(self._detector_hz)
        return ended

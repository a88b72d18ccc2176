"""The caller's audio on its way to the model: all of it, or, where the turns are found on this side,
what is within one.

    server   ──────────────────────────── audio ────────────────────────────▶
    local                  activityStart ─ pre-roll, audio ─ activityEnd

What is outside a turn is not sent then: the service leaves it out of the turn that follows
(turnCoverage), and has no other use for it.
"""

import math
from collections.abc import Callable

from audiosocket_agent.audio.endpointing import Endpointing
from audiosocket_agent.audio.uplink import Uplink
from audiosocket_agent.call.turns import Detection, TurnMode
from audiosocket_agent.call.watchdog import Fault
from audiosocket_agent.model.base import VoiceSession


class Turns:
    """Of one call. `able`: the model lets turns be marked; else they are its own to find. `careful`:
    whether the caller's turn would cut the agent short, so that a sound must be speech beyond
    doubt."""

    def __init__(
        self,
        mode: TurnMode,
        endpointing: Callable[[], Endpointing],
        uplink: Uplink,
        careful: Callable[[], bool],
        *,
        able: bool,
    ) -> None:
        self._make = endpointing
        self._uplink = uplink
        self._careful = careful
        self._local = endpointing() if able and mode is TurnMode.LOCAL else None
        self._detection = Detection(mode if able else TurnMode.SERVER)

    @property
    def local(self) -> bool:
        """Whether the turns are found here."""
        return self._local is not None

    def pass_on(self, voice: VoiceSession, pcm: bytes, *, secret: bool, greets: bool) -> None:
        """The next of the uplink's audio. `secret`: it was made silent; nothing in it begins a turn.
        `greets`: the agent is about to greet; a model that finds the turns itself would answer a noise
        on the line in place of that, and hears silence."""
        uplink, local = self._uplink, self._local
        if local is None:
            voice.send_audio(bytes(len(pcm)) if greets else pcm, uplink.rate_hz)
            return
        detector = uplink.detector
        assert detector is not None
        voiced_ms = detector.voiced_ms
        at_least_ms = math.inf if secret else 0
        if voiced_ms and not local.open and self._careful():
            at_least_ms = max(at_least_ms, detector.sustain_ms)
        begins, pcm, ends = local.take(
            pcm,
            uplink.rate_hz,
            voiced_ms=voiced_ms,
            quiet_ms=detector.quiet_ms,
            at_least_ms=at_least_ms,
        )
        if begins:
            voice.begin_activity()
        if pcm:
            voice.send_audio(pcm, uplink.rate_hz)
        if ends:
            voice.end_activity()

    def pause(self, voice: VoiceSession) -> None:
        """The caller's audio pauses."""
        if self._local is None:
            voice.end_audio()
        elif self._local.pause():
            voice.end_activity()

    def fails(self, fault: Fault, *, waits: bool) -> bool:
        """A fault of the model was found; `waits`: the caller has said something, and waits for the
        answer. True where that is reason enough to find the turns here."""
        return self._detection.failed(fault, caller_waits=waits)

    def find_here(self, voice: VoiceSession, *, unanswered: bool) -> bool:
        """Find them here from now on, on a new connection; `unanswered`: what the caller has said last
        is a turn, and said again. False where it cannot be done, or is done already."""
        if self._local is not None or not voice.mark_turns(unanswered=unanswered):
            return False
        self._local = self._make()
        return True

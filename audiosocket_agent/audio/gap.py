"""What the model hears while the caller's audio is missing.

Asterisk sends no message while the caller sends no RTP: on mute or hold, in discontinuous
transmission, for the ~180 ms of a DTMF digit. A model that counts samples would take the pause out
and wait for an end of speech that never comes, so a gap is filled with silence; a long one is
announced instead, since silence is billed.
"""

from enum import Enum

from audiosocket_agent.audio import FRAME_SECONDS


class Gap(Enum):
    """What to do about the caller's silence on the wire."""

    NONE = "none"
    FILL = "fill"  # send one frame of silence
    END = "end"  # say once that the audio pauses


class GapFiller:
    """Watches one uplink. `grace_s` is what a message may be late by without being missed; `fill_s`
    how much silence is sent before the pause is announced."""

    def __init__(self, *, fill_s: float = 1.0, grace_s: float = 0.1) -> None:
        self._fill_s = fill_s
        self._grace_s = grace_s
        self._heard_until: float | None = None
        self._filled_s = 0.0
        self._ended = False

    def received(self, now: float, duration_s: float) -> None:
        """So much of the caller's audio has come since this was last said, the last of it now."""
        until = self._heard_until
        reached = now if until is None else until + duration_s
        if reached < now:
            reached = now
        elif reached > now + self._grace_s:
            reached = now + self._grace_s
        self._heard_until = reached
        self._filled_s = 0.0
        self._ended = False

    def poll(self, now: float) -> Gap:
        """To be asked every 20 ms. Before the caller's first audio there is no gap."""
        until = self._heard_until
        if until is None or now - until < self._grace_s or self._ended:
            return Gap.NONE
        if self._filled_s < self._fill_s:
            self._filled_s += FRAME_SECONDS
            self._heard_until = until + FRAME_SECONDS
            return Gap.FILL
        self._ended = True
        return Gap.END

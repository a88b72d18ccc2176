"""When the next frame is due: the 20 ms clock of one call, as numbers.

Asterisk passes each message on as one RTP packet, at once, with no buffer and no clock of its own
(app_audiosocket.c; main/channel.c), so the spacing a caller's phone sees is the spacing made here.
The schedule is absolute: a late wake-up never moves the frames after it.

    due      |0    |20   |40   |60   |80        a call at rest
    reply at 27: its first frame leaves at 27, the next at 47, 67 ...     13 ms borrowed
    silence after it: one interval of 33, and the call stands on its old clock again
"""

from typing import Final

from audiosocket_agent.audio import FRAME_SECONDS

CATCH_UP_SECONDS: Final = 0.060
"""Later than this, frames are skipped instead of sent in a burst: Asterisk keeps RTP timestamps
continuous over a stall below 100 ms only (res_rtp_asterisk.c, a skew of 640 samples), and catching
up after a longer one leaves the stream ahead for the rest of the call."""

EARLY_SECONDS: Final = 0.002
"""A wake-up this much before its time counts: timers are rounded to 1 ms, and calls due in the same
millisecond are served together."""

_MAX_BORROWED_SECONDS: Final = 0.040


class Pacer:
    """The schedule of one call. `now` is any monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self.due = now
        self.late = 0
        """Times it was asked 20 ms after its time, or later."""
        self.skipped_seconds = 0.0
        self.borrowed = 0.0
        """Seconds that replies have left too early by, and are to be given back."""

    def take(self, now: float) -> int:
        """How many frames to send now: 0 before the time, 1 as a rule, up to 4 to catch up."""
        late = now - self.due
        if late < FRAME_SECONDS:
            if late < -EARLY_SECONDS:
                return 0
            self.due += FRAME_SECONDS
            return 1
        self.late += 1
        owed = 1 + int(late / FRAME_SECONDS)
        self.due += owed * FRAME_SECONDS
        if late <= CATCH_UP_SECONDS:
            return owed
        self.skipped_seconds += (owed - 1) * FRAME_SECONDS
        return 1

    def take_early(self, now: float) -> bool:
        """Whether a reply's first frame may leave now, ahead of the schedule; the clock then starts
        here. False where replies have followed each other without a silence between them: what is
        borrowed stays under two frames, well inside a phone's jitter buffer. The frame before may have
        left `EARLY_SECONDS` too early itself: one reply in twenty comes within a millisecond of it."""
        ahead = self.due - now
        if not 0 < ahead <= FRAME_SECONDS + EARLY_SECONDS:
            return False
        if self.borrowed + ahead > _MAX_BORROWED_SECONDS:
            return False
        self.borrowed += ahead
        self.due = now + FRAME_SECONDS
        return True

    @property
    def slot(self) -> float:
        """When the last frame given would have left if none ever left early: a phone plays frames end
        to end, so this is how it hears them."""
        return self.due - FRAME_SECONDS + self.borrowed

    def give_back(self) -> None:
        """Return what was borrowed, by one longer interval. To be called in silence."""
        self.due += self.borrowed
        self.borrowed = 0.0

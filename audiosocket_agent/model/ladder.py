"""The ladder: which attempt comes next when a session has been lost, or could not be had.

    this model, with the handle    at once, then 0.25, 0.5, 1 s apart
    this model, without it         where the setup was refused (1007); then without optional fields
    the next model, without it     where this one has failed three times, or says that it never will
    nothing                        after TOTAL_S, or where no model is left

What follows nothing (an apology, the dialplan's fallback) is the call's business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audiosocket_agent.errors import ModelError
from audiosocket_agent.model.faults import Fault, fault_of

TOTAL_S: Final = 8.0
"""From the loss to giving up: what a caller bears, and what a telephony product allows (1 retry)."""
ATTEMPT_S: Final = 4.0
"""A setup takes four round trips and the server's time, 0.3 s in the field."""
SHORTEST_S: Final = 0.3
"""An attempt with less time left is not worth making."""
TRIES: Final = 3
"""On one model while there is another."""
LAST_TRIES: Final = 12
"""On the only one there is: a network that flaps for half a minute is no reason to lose a call."""
BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 1.0
LOOK_AGAIN_S: Final = 0.5
"""At a breaker that is open, by a call that is up: it is worth the wait, a new one is not."""
STABLE_S: Final = 10.0
"""A connection that has lasted as long was a good one; more than TRIES in a row that have not are a
loop."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: at `at`, given up at `until`."""

    rung: int
    """Index of the model."""
    resume: bool
    """With the handle, if there is one."""
    plain: bool
    """Without optional fields."""
    at: float
    until: float
    waits: bool = False
    """Nothing is to be attempted; ask again at `at`."""


class Ladder:
    """Of one call, which stays on the rung it has reached. Pure: times are seconds of any clock."""

    def __init__(self, rungs: int) -> None:
        self.rung = 0
        self.plain = False  # what was once needed stays so, until the model is another
        self._left: list[int] = list(range(1, rungs))  # not yet tried in this outage
        self._rungs = rungs
        self._resume = True
        self._tries = 0
        self._short_lived = 0
        self._began_at = 0.0
        self._not_before = 0.0
        self._exhausted = False
        self._patient = False

    def begin(self, now: float, *, up: bool = False) -> None:
        """A session is wanted; by a call that is `up`, if there was one before it."""
        self._patient = up
        self._left = [rung for rung in range(self._rungs) if rung != self.rung]
        self._resume = True
        self._tries = 0
        self._began_at = self._not_before = now
        self._exhausted = False

    def lost(self, error: ModelError, lived_s: float, now: float, *, handle: bool) -> None:
        """The session was lost after `lived_s` on its connection."""
        self.begin(now, up=True)
        self._short_lived = self._short_lived + 1 if lived_s < STABLE_S else 0
        fault = fault_of(error)
        if self._short_lived > (TRIES if self._left else LAST_TRIES):
            self._short_lived = 0
            self._climb()
        elif fault is not Fault.LOST:
            self._learn(fault, now, handle=handle)
        elif self._short_lived > TRIES:
            self._not_before = now + LONGEST_BACKOFF_S

    def another(self) -> None:
        """To be called after `lost`: the session itself was at fault. The next model, or where there
        is none a new session of this one."""
        self._resume = False
        if self._left:
            self._climb()

    def failed(self, error: ModelError, now: float, *, handle: bool) -> None:
        """The attempt came to nothing; `handle`: it was made with one."""
        fault = fault_of(error)
        if fault is not Fault.LOST:
            self._learn(fault, now, handle=handle)
            return
        self._tries += 1
        late = now - self._began_at >= TOTAL_S / 2
        if self._left and (self._tries >= TRIES or late):
            self._climb()
        else:
            pause = BACKOFF_S * 2 ** (self._tries - 1)
            self._not_before = now + min(pause, LONGEST_BACKOFF_S)

    def next(self, now: float, allows: Callable[[int], bool]) -> Attempt | None:
        """The attempt to be made, on a rung that `allows` says yes to; None: there is none."""
        end = self._began_at + TOTAL_S
        at = max(now, self._not_before)
        while not self._exhausted and end - at >= SHORTEST_S:
            if allows(self.rung):
                return Attempt(
                    self.rung, self._resume, self.plain, at, until=min(at + ATTEMPT_S, end)
                )
            if self._patient and not self._left:
                again = at + LOOK_AGAIN_S
                return Attempt(self.rung, self._resume, self.plain, again, until=end, waits=True)
            self._climb()
            at = now
        return None

    def _learn(self, fault: Fault, now: float, *, handle: bool) -> None:
        if fault is Fault.INVALID and handle and self._resume:
            self._resume = False
        elif fault is Fault.INVALID and not self.plain:
            self.plain, self._resume = True, False
        elif fault is Fault.QUOTA and not self._left:
            self._not_before = now + LONGEST_BACKOFF_S
        else:
            self._climb()

    def _climb(self) -> None:
        if not self._left:
            self._exhausted = True
            return
        self.rung = self._left.pop(0)
        self._resume = self.plain = False
        self._tries = 0
        self._not_before = self._began_at

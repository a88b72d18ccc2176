"""A circuit breaker: a project that refuses everybody is not asked by everybody.

    closed ──THRESHOLD refusals──▶ open ──its time is over──▶ one probe
      ▲                             ▲                          │  │
      └───────── it worked ─────────│──────────────────────────┘  │
                                    └──── refused: twice as long ─┘

While it is open, a call learns at once that there is no model, and its dialplan goes on with its
fallback. One belongs to one project key, for all calls of the process.
"""

from collections import deque
from typing import Final

THRESHOLD: Final = 3
"""Refusals without a success between them. One may be chance: quotas are counted by the minute."""
WINDOW_S: Final = 30.0
FIRST_S: Final = 5.0
"""Open for so long at first: as long as a caller hears the fallback's first sentence."""
LONGEST_S: Final = 300.0
PROBE_S: Final = 10.0
"""A probe that has not been heard of for so long has died with its call."""


class Breaker:
    """Pure: times are seconds of any monotonic clock."""

    def __init__(self) -> None:
        self.opened = 0
        """How often it opened, probes that were refused included."""
        self.turned_away = 0
        """Attempts that were not made."""
        self._refusals: deque[float] = deque(maxlen=THRESHOLD)
        self._open_s = 0.0  # 0: closed
        self._until = 0.0
        self._probing_until = 0.0

    @property
    def is_open(self) -> bool:
        """The last that is known is that the project refuses."""
        return self._open_s > 0

    def allows(self, now: float) -> bool:
        """Whether an attempt may be made; it must then be told by `worked`, `refused` or `unclear`."""
        if not self.is_open:
            return True
        if now < self._until or now < self._probing_until:
            self.turned_away += 1
            return False
        self._probing_until = now + PROBE_S
        return True

    def refused(self, now: float) -> None:
        """For quota or key."""
        if self.is_open:
            if now >= self._until:  # else it was on its way when the breaker opened
                self._open(min(2 * self._open_s, LONGEST_S), now)
            return
        self._refusals.append(now)
        if len(self._refusals) == THRESHOLD and now - self._refusals[0] <= WINDOW_S:
            self._open(FIRST_S, now)

    def worked(self) -> None:
        """The project gave a session."""
        self._open_s = 0.0
        self._refusals.clear()

    def unclear(self) -> None:
        """The attempt failed for reasons of its own: the next one is the probe."""
        self._probing_until = 0.0

    def _open(self, seconds: float, now: float) -> None:
        self.opened += 1
        self._open_s = seconds
        self._until = now + seconds
        self._probing_until = 0.0

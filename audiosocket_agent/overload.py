"""Whether this process can carry another call: how late its event loop runs, and its memory.

A call more on a loop that is late is heard by all callers; refused, the dialplan goes on within
milliseconds. Pure: who measures is in `heartbeat.watch_loop`.

The loop is probed by a timer on an absolute schedule. A stall delays every probe that falls into it,
and each counts, so what is asked is how much of the time a timer would have come late:

    due      0   .1   .2   .3   .4   .5   .6
    stall         ├────────────┤
    late     0   .25  .15  .05   0    0    0
"""

from collections import deque
from typing import Final

PROBE_SECONDS: Final = 0.1
WINDOW_PROBES: Final = 50  # 5 s
LATE_PROBES: Final = 5
"""Of the window, a tenth: a single stall, of the machine or a library, is no overload until it lasts
for half a second."""

_RELIEF: Final = 0.5  # of the late threshold, under which all is well again
_MEMORY_RELIEF: Final = 0.95


class Overload:
    """`max_lag_s`: how late the loop may run; `max_memory_bytes`: what the process may have resident.
    0 is no bound."""

    def __init__(self, max_lag_s: float = 0.0, max_memory_bytes: int = 0) -> None:
        self._max_lag_s = max_lag_s
        self._max_memory_bytes = max_memory_bytes
        self._late: deque[float] = deque(maxlen=WINDOW_PROBES)
        self._due: float | None = None
        self._slow = False
        self._full = False

    @property
    def reason(self) -> str:
        """Why no further call is to be taken: loop_lag, memory, or nothing."""
        if self._slow:
            return "loop_lag"
        return "memory" if self._full else ""

    @property
    def lag_s(self) -> float:
        """A tenth of the last 5 s was later than this."""
        ordered = sorted(self._late, reverse=True)
        return ordered[LATE_PROBES] if len(ordered) > LATE_PROBES else 0.0

    def probed(self, now: float) -> float:
        """The timer has run; returns how long it is until it is due again."""
        if self._due is None:
            self._due = now
        while self._due <= now:
            self._late.append(now - self._due)
            self._due += PROBE_SECONDS
        if self._max_lag_s:
            limit = self._max_lag_s * (_RELIEF if self._slow else 1.0)
            self._slow = self.lag_s > limit
        return self._due - now

    def measured(self, memory_bytes: int) -> None:
        """What the process has resident now."""
        if self._max_memory_bytes:
            limit = self._max_memory_bytes * (_MEMORY_RELIEF if self._full else 1.0)
            self._full = memory_bytes > limit

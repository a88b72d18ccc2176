"""One timer for all calls of the process, and waits that outlast a machine that stands still.

Each call has its own 20 ms schedule (`audio.pacer`); the ticker keeps the calls in a heap by the
time of their next frame and wakes for the first. Calls due within a millisecond share a wake-up, so
250 calls cost at most 1000 wake-ups a second instead of 12,500.
"""

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

monotonic: Final = time.monotonic
"""The one clock of the service; seconds. Everything timed in a call is timed by it."""

_TOGETHER_SECONDS: Final = 0.001
"""What is due within this shares a wake-up; event loops round their timers to 1 ms anyway."""


STOOD_STILL_S: Final = 0.2
"""A timer this late means that the process had no CPU. Of a busy one they are a few milliseconds late;
virtual machines were seen to stand still for a second (a snapshot, a neighbour)."""
_CATCH_UP_S: Final = 0.5
"""At most, to read what came in meanwhile: for 12 calls after 0.8 s 50 ms were too little."""


async def sleep(seconds: float) -> None:
    """`asyncio.sleep`, for whoever acts on silence: see `catch_up`."""
    due = monotonic() + seconds
    await asyncio.sleep(seconds)
    await catch_up(monotonic() - due)


async def catch_up(late_s: float) -> None:
    """Where a timer is so late that the process must have stood still, let what has come in meanwhile
    be read and dealt with first. An answer that is there already takes several steps of the loop, the
    timer one: it would look like none."""
    if late_s > STOOD_STILL_S:
        await asyncio.sleep(min(late_s, _CATCH_UP_S))


class Paced(Protocol):
    """Something that must act at certain times."""

    @property
    def due(self) -> float:
        """When to act first."""

    done: bool

    def tick(self, now: float) -> float:
        """Act, unless it is too early; returns when to act next. Must not raise: the ticker belongs to
        all calls."""


class Ticker:
    """Calls `tick` on everything added, at its time, until it is `done`.

    The time may move later meanwhile; the ticker notices when it comes to it. (Or sooner, by 2 ms at the
    most, which is then late by as much.) One that does not move is come back to after a millisecond, so
    nothing added can make the loop spin.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.due = math.inf
        """When the first is to act; whoever finds that it has come by then calls `run`."""
        self._clock = clock
        self._heap: list[tuple[float, int, Paced]] = []
        self._serial = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf

    def add(self, paced: Paced) -> None:
        """Take one more; needs a running loop."""
        heapq.heappush(self._heap, (paced.due, next(self._serial), paced))
        self.due = self._heap[0][0]
        self._arm(self._clock())

    def close(self) -> None:
        """Stop, and forget all that was added."""
        self._heap.clear()
        self.due = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now: float) -> None:
        due = self._heap[0][0]
        if self._timer is not None:
            if self._armed_for <= due:
                return
            self._timer.cancel()
        self._armed_for = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._wake)

    def run(self, now: float) -> None:
        """Have those act whose time has come. A loop that is busy comes to its timers after all that can
        be read, which at 250 calls took 20 ms: so who reads a frame, and knows the time, asks too."""
        self.due = math.inf  # a tick that asks finds nothing to do
        heap = self._heap
        limit = now + _TOGETHER_SECONDS
        soonest = limit + _TOGETHER_SECONDS / 10  # always forward
        while heap and heap[0][0] <= limit:
            _, serial, paced = heapq.heappop(heap)  # a tick may add to the heap
            if not paced.done:
                heapq.heappush(heap, (max(paced.tick(now), soonest), serial, paced))
        if heap:
            self.due = heap[0][0]

    def _wake(self) -> None:
        self._timer, self._armed_for = None, math.inf
        now = self._clock()
        self.run(now)
        if self._heap:
            self._arm(now)

"""What stays of many calls: `python -m tests.chaos.soak --minutes 5 --calls 20`.

Brief calls first fill what fills once: the database's pages, the allocator's, what is kept of the calls
that ended last. Then so many are up all the time; each is a whole conversation, and where one ends the
next begins. The first part of that is left out, too. At the end the process has to hold what it held
before.

    brief calls   20 at a time ─────────────────────────────────────────────────   none
                  |─ WARM_UP ─|───────── the slope: Theil and Sen's ────────────|  tasks, sockets, files

Only the service's process is measured. Slopes are the medians of those between all pairs of samples: a
block that is taken from the system once moves them by little, what grows with every call does. A run
that is over before all that fills is full is judged by how much it holds in the end.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import uvloop

from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.ticker import Ticker
from tests.agi.dialplan import HOST
from tests.chaos.acts import nothing
from tests.chaos.house import Traces, World, counting, left_behind, world
from tests.chaos.row import warm_up
from tests.chaos.talk import Caller, Moment, Outcome

SAMPLE_S: Final = 2.0
BRIEF_CALLS: Final = 600
"""Measured with calls of a second each: the process grows with the first 500, and then no more."""
BRIEF_AT_ONCE: Final = 20
WARM_UP: Final = 0.4
"""Of the time: whole conversations hold more than brief ones."""
RAMP_S: Final = 15.0
"""In which the first calls come, so that they do not end together."""
LONG_MINUTES: Final = 20.0
STEEPEST_KB: Final = 1024.0
"""Of memory, per ten minutes, where the calls last LONG_MINUTES."""
FILLS_KB: Final = 16.0 * 1024
"""Of memory, from the brief calls to the end, where they are over sooner: SQLite's caches and the
allocator's pages fill for ten minutes and more. Measured: 8.7 MB in 5 minutes (403 calls), 12.8 MB in 30
(2422 calls), and then no more. A leak of 20 KiB a call comes on top of that."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process held at `at`, in seconds since the first call."""

    at: float
    rss_kb: int
    held: Traces


@dataclass(frozen=True, slots=True)
class Soak:
    """What was measured."""

    samples: Sequence[Sample]
    outcomes: Sequence[Outcome]
    left: Traces
    idle_kb: tuple[int, int, int]
    """Of memory: as it started, after the brief calls, and after the last."""
    minutes: float

    @property
    def lost(self) -> int:
        return sum(not outcome.finished for outcome in self.outcomes)

    @property
    def silence_s(self) -> float:
        return max((outcome.silence_s for outcome in self.outcomes), default=0.0)

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Name, the median of the first and of the last tenth after the warm-up, and the slope per ten
        minutes."""
        warm = [x for x in self.samples if x.at >= WARM_UP * self.minutes * 60]
        at = [each.at for each in warm]
        tenth = max(1, len(warm) // 10)
        return [
            (name, *_medians(values[:tenth], values[-tenth:]), 600 * slope(at, values))
            for name, values in (
                ("memory, kB", [each.rss_kb for each in warm]),
                ("tasks", [each.held.tasks for each in warm]),
                ("sockets", [each.held.sockets for each in warm]),
                ("files", [each.held.files for each in warm]),
            )
        ]

    @property
    def wrong(self) -> list[str]:
        """What should not be."""
        found = []
        if self.lost:
            why = {outcome.why for outcome in self.outcomes if not outcome.finished}
            found.append(f"{self.lost} calls lost: {', '.join(sorted(why))}")
        if any(self.left.all()):
            found.append(f"left behind: {self.left}")
        _, brief, end = self.idle_kb
        slope, filled = self.rows()[0][3], end - brief
        if self.minutes < LONG_MINUTES:
            if filled > FILLS_KB:
                found.append(f"memory grows by {filled} kB; {FILLS_KB:.0f} are allowed")
        elif slope > STEEPEST_KB:
            found.append(
                f"memory grows by {slope:.0f} kB in 10 minutes; {STEEPEST_KB:.0f} are allowed"
            )
        return found


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """Of values per second, by Theil and Sen: a quarter of all samples may be anything."""
    x, y = np.array(at, float), np.array(values, float)
    one, other = np.triu_indices(len(x), 1)
    return float(np.median((y[other] - y[one]) / (x[other] - x[one])))


def _medians(first: Sequence[float], last: Sequence[float]) -> tuple[float, float]:
    return float(np.median(first)), float(np.median(last))


async def soak(minutes: float, calls: int) -> Soak:
    """Make the calls."""
    ticker = Ticker()
    samples: list[Sample] = []
    outcomes: list[Outcome] = []
    async with world() as house:
        await warm_up(house)
        house.arm(counting(), {})
        before, started = await house.service.traces(), house.service.rss_kb()
        for _ in range(BRIEF_CALLS // BRIEF_AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for _ in range(BRIEF_AT_ONCE):
                    group.create_task(_brief(house, ticker))
        await left_behind(house.service, before)
        idle = house.service.rss_kb()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                first = began + number * RAMP_S / calls
                group.create_task(_calls(house, ticker, first, began + minutes * 60, outcomes))
            while (at := time.monotonic() - began) < minutes * 60:
                held = await house.service.traces()
                house.service.forget_counts()
                if at > RAMP_S:
                    samples.append(Sample(at, house.service.rss_kb(), held))
                await asyncio.sleep(SAMPLE_S)
        left = await left_behind(house.service, before)
        idle_kb = started, idle, house.service.rss_kb()
        return Soak(samples, outcomes, left, idle_kb, minutes)


async def _brief(house: World, ticker: Ticker) -> None:
    """Until the agent speaks."""
    async with Call.connect(HOST, house.service.port, ticker=ticker, keep_audio=False) as call:
        with suppress(TimeoutError, CallOver):
            await call.agent_speaks(10.0)


async def _calls(
    house: World, ticker: Ticker, first: float, until: float, outcomes: list[Outcome]
) -> None:
    """One call after the other."""
    await asyncio.sleep(first - time.monotonic())
    while time.monotonic() < until:
        caller = Caller(house, ticker, when=Moment.NEVER, act=nothing)
        outcomes.append(await caller.run())


def main() -> None:
    """Exit 1 where a call was lost, memory grows, or something is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--calls", type=int, default=20)
    given = parser.parse_args()
    done = uvloop.run(soak(given.minutes, given.calls))
    print(f"{'':12}{'after warm-up':>15}{'at the end':>12}{'per 10 min':>12}")
    for name, begin, end, slope in done.rows():
        print(f"{name:12}{begin:15.1f}{end:12.1f}{slope:+12.1f}")
    print(
        f"{len(done.outcomes)} calls, {given.calls} at a time for {given.minutes:g} minutes: "
        f"{done.lost} lost, longest silence {done.silence_s:.1f} s, left {done.left} "
        f"(tasks/sockets/files), memory without calls {done.idle_kb[0]} kB at the start, "
        f"{done.idle_kb[1]} kB after {BRIEF_CALLS} brief ones, {done.idle_kb[2]} kB at the end"
    )
    for each in done.wrong:
        print(f"  {each}")
    sys.exit(bool(done.wrong))


if __name__ == "__main__":
    main()

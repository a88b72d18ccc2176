"""What stays of many calls: `python -m tests.chaos.soak --minutes 5 --calls 20`.

So many calls are up all the time; each is a whole conversation, and where one ends the next begins. The
slopes are those of straight lines through what the process held after the warm-up; at the end it has to
hold what it held before.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import uvloop

from audiosocket_agent.lab.ticker import Ticker
from tests.chaos.acts import nothing
from tests.chaos.house import Traces, World, counting, left_behind, world
from tests.chaos.row import warm_up
from tests.chaos.talk import Caller, Moment, Outcome

SAMPLE_S: Final = 2.0
WARM_UP: Final = 0.4
"""Of the time: the allocator's arenas, the caches and the database's pages fill in it."""
RAMP_S: Final = 15.0
"""In which the first calls come, so that they do not end together."""
STEEPEST_KB: Final = 1024.0
"""Of memory, per ten minutes, once WARM_CALLS calls are over."""
STEEP_KB: Final = 30 * 1024.0
"""Before that: what is kept of the last 1000 calls is still filling."""
WARM_CALLS: Final = 1000


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
    idle_kb: tuple[int, int]
    """Of memory, before the first call and after the last."""

    @property
    def lost(self) -> int:
        return sum(not outcome.finished for outcome in self.outcomes)

    @property
    def silence_s(self) -> float:
        return max((outcome.silence_s for outcome in self.outcomes), default=0.0)

    def warm(self) -> list[Sample]:
        """After the warm-up, and while all calls were up."""
        return [x for x in self.samples if x.at >= WARM_UP * self.samples[-1].at]

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Name, the first and the last of the line, and its slope per ten minutes."""
        warm = self.warm()
        at = np.array([each.at for each in warm])
        found = []
        for name, values in (
            ("memory, kB", [each.rss_kb for each in warm]),
            ("tasks", [each.held.tasks for each in warm]),
            ("sockets", [each.held.sockets for each in warm]),
            ("files", [each.held.files for each in warm]),
        ):
            slope, begin = np.polyfit(at - at[0], np.array(values, float), 1)
            end = begin + slope * (at[-1] - at[0])
            found.append((name, float(begin), float(end), float(slope) * 600))
        return found

    @property
    def wrong(self) -> list[str]:
        """What should not be."""
        found = []
        if self.lost:
            found.append(f"{self.lost} calls lost")
        if any(self.left.all()):
            found.append(f"left behind: {self.left}")
        memory = self.rows()[0][3]
        warm = WARM_UP * len(self.outcomes) >= WARM_CALLS
        if memory > (STEEPEST_KB if warm else STEEP_KB):
            found.append(f"memory grows by {memory:.0f} kB in 10 minutes")
        return found


async def soak(minutes: float, calls: int) -> Soak:
    """Make the calls."""
    ticker = Ticker()
    samples: list[Sample] = []
    outcomes: list[Outcome] = []
    async with world() as house:
        await warm_up(house)
        house.arm(counting(), {})
        before, idle = await house.service.traces(), house.service.rss_kb()
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
        return Soak(samples, outcomes, left, (idle, house.service.rss_kb()))


async def _calls(
    house: World, ticker: Ticker, first: float, until: float, outcomes: list[Outcome]
) -> None:
    """One call after the other."""
    await asyncio.sleep(first - time.monotonic())
    while time.monotonic() < until:
        port = house.service.port
        caller = Caller(house, ticker, when=Moment.NEVER, act=nothing, port=port)
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
        f"(tasks/sockets/files), memory without calls {done.idle_kb[0]} kB before, "
        f"{done.idle_kb[1]} kB after"
    )
    for each in done.wrong:
        print(f"  {each}")
    sys.exit(bool(done.wrong))


if __name__ == "__main__":
    main()

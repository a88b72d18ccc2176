"""The table of what can happen: `python -m tests.chaos [--calls 5] [--write] [words of a name]`."""

import argparse
import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import uvloop

from audiosocket_agent.lab.ticker import Ticker
from tests.bench.capacity.pauses import probing
from tests.chaos import table
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.row import Row, run

CALLS_AT_ONCE: Final = 20
FAULTS_AT_ONCE: Final = 6
"""The most of either; each fault has a service of its own, which takes a second of CPU to start."""

LOOK_S: Final = 0.01
LATE_S: Final = 0.02


async def chaos(faults: Sequence[Fault], calls: int, at_once: int, *, chatty: bool) -> list[Row]:
    """All rows, in the order of the faults; their silences without the machine's own pauses."""
    async with probing(sorted(os.sched_getaffinity(0))) as probes:
        rows = await _rows(faults, calls, at_once, chatty=chatty)
    return [replace(row, pauses=probes.pauses) for row in rows]


async def _rows(faults: Sequence[Fault], calls: int, at_once: int, *, chatty: bool) -> list[Row]:
    ticker, free = Ticker(), asyncio.Semaphore(at_once)

    async def row(fault: Fault) -> Row:
        async with free:
            done = await run(fault, calls, ticker)
        print(table.line(done), flush=True)
        if chatty:
            for outcome in done.outcomes:
                print("   ", outcome, flush=True)
        return done

    lateness = Lateness()
    watch = asyncio.create_task(lateness.watch())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(row(fault)) for fault in faults]
    watch.cancel()
    print(f"\nthe callers' own timer: {lateness}")
    return [task.result() for task in tasks]


class Lateness:
    """Of a timer of ours: what the callers themselves may have heard so much too late."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._times = 0

    async def watch(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._times += 1
            if (late := loop.time() - due) > LATE_S:
                self._late.append(late)

    def __str__(self) -> str:
        share, most = len(self._late) / max(1, self._times), max(self._late, default=0.0)
        return f"{share:.1%} more than {LATE_S * 1000:.0f} ms late, most {most * 1000:.0f} ms"


def main() -> None:
    """Exit 1 where a call was lost, silent for too long, forgotten, or something was left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose names have all of them")
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell every call")
    given = parser.parse_args()
    faults = [f for f in FAULTS if f.name == " ".join(given.words)]
    faults = faults or [f for f in FAULTS if all(word in f.name for word in given.words)]
    if not faults:
        parser.error(f"no fault is called {' '.join(given.words)!r}")
    logging.getLogger("asyncio").setLevel(
        logging.CRITICAL
    )  # a proxy's streams tell what it does to them
    began = time.monotonic()
    gc.freeze()
    at_once = min(FAULTS_AT_ONCE, max(1, CALLS_AT_ONCE // given.calls))
    rows = uvloop.run(chaos(faults, given.calls, at_once, chatty=given.verbose))
    print(table.verdict(rows, time.monotonic() - began))
    for row in rows:
        if row.wrong:
            print(f"  {row.fault.name}: {'; '.join(row.wrong)}")
    if given.write:
        table.write(rows)
    sys.exit(any(row.wrong for row in rows))


if __name__ == "__main__":
    main()

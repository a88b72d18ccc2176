"""What calls cost, and what callers notice of it, by their number: `python -m tests.bench.capacity`.

The service is alone on core 0; callers and the model's stand-in share core 1. CPU is what the kernel
counts for the service while all calls are up, times are the kernel's too. Beside the service runs a
floor, the leanest bridge that does the same, so that the ratio means the same on any machine. A run
that was disturbed is discarded and repeated. At the end stands what must be shown, and whether it was.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.capacity import file, table
from tests.bench.capacity.judge import disturbance
from tests.bench.capacity.run import CYCLE_S, LOAD_CORE, PATHS, SERVICE_CORE, Cell, measure
from tests.bench.capacity.verdicts import verdicts

SIZES: Final = (1, 10, 50, 100, 250)
PAIR: Final = ("floor", "service")
BURST: Final = 50
REPEATED: Final = 1 / 3
"""So much of all runs, but two at least: on a machine that is never quiet more would be no better."""


def _grid(paths: Iterable[str], sizes: Iterable[int], who: Iterable[str]) -> list[Cell]:
    """Service and floor take turns, so that they see the same machine."""
    return [Cell(each, path, calls) for path, calls, each in product(paths, sizes, who)]


def _with_burst(cells: list[Cell]) -> list[Cell]:
    of = Cell("service", "untouched", 100)
    return [replace(cell, burst=BURST) if cell == of else cell for cell in cells]


PLANS: Final = {
    "quick": _grid(["untouched"], [100], PAIR),
    "bench": [*_with_burst(_grid(["untouched"], SIZES, PAIR)), Cell("sdk", "untouched", 100)],
    "full": _with_burst(_grid(PATHS, (*SIZES, 300), PAIR)) + _grid(PATHS, [100], ["sdk"]),
    "hold": [Cell("service", "untouched", 100)],
}
"""A minute; five; with all paths and 300 calls, twenty for each of --runs; as long as --minutes says."""


async def _run(
    cells: list[Cell], runs: int, seconds: float, minutes: float
) -> tuple[list[file.Run], list[str]]:
    kept: list[file.Run] = []
    discarded: list[str] = []
    repeats = max(2, round(runs * len(cells) * REPEATED))
    print(table.HEADER)
    for cell in cells * runs:
        while True:
            result = await measure(cell, seconds, minutes)
            reason = disturbance(result)
            if not reason or len(discarded) == repeats:
                break
            discarded.append(f"{cell}: {reason}")
            print(f"  discarded: {discarded[-1]}", flush=True)
        kept.append(file.Run(result, reason))
        print(table.line(result, disturbed=bool(reason)), flush=True)
    return kept, discarded


def _cells(arguments: argparse.Namespace) -> list[Cell]:
    if not (arguments.calls or arguments.path or arguments.who):
        return PLANS[arguments.plan]
    cells = _grid(arguments.path or ["untouched"], arguments.calls or [100], arguments.who or PAIR)
    return [replace(cell, burst=arguments.burst) for cell in cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", nargs="?", choices=PLANS, default="bench")
    parser.add_argument("--calls", type=int, nargs="+", help="instead of a plan")
    parser.add_argument("--path", nargs="+", choices=PATHS)
    parser.add_argument("--who", nargs="+", choices=(*PAIR, "sdk"))
    parser.add_argument("--burst", type=int, default=0, help="so many more calls in a second")
    parser.add_argument("--runs", type=int, default=1, help="of each, in turn; medians are shown")
    parser.add_argument("--seconds", type=float, default=CYCLE_S, help="with all calls up")
    parser.add_argument("--minutes", type=float, default=0.0, help="to hold them after that")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    if not os.sched_getaffinity(0) >= {SERVICE_CORE, LOAD_CORE}:
        sys.exit("two cores are needed, 0 and 1: one for the service, one for those who call")
    os.sched_setaffinity(0, {LOAD_CORE})
    kept, discarded = uvloop.run(
        _run(_cells(arguments), arguments.runs, arguments.seconds, arguments.minutes)
    )
    if arguments.runs > 1:
        print(f"\nmedians of {arguments.runs} runs; counts are added up\n{table.HEADER}")
        for each in file.summaries([run.result for run in kept]):
            print(table.line(each))
    print(f"\n{table.LEGEND}\n")
    results = [run.result for run in kept]
    judged = verdicts(results, list(PATHS))
    measured = [verdict for verdict in judged if verdict.figure != "-"]
    print(*measured, sep="\n")
    if missing := len(judged) - len(measured):
        print(f"   {missing} more were not measured by this plan")
    for run in kept:
        if run.disturbed:
            print(
                f"disturbed, and kept: {run.result.who}, {run.result.calls} calls: {run.disturbed}"
            )
    if arguments.json:
        file.write(
            arguments.json, file.content(kept, discarded, judged, file.command(sys.argv[1:]))
        )


if __name__ == "__main__":
    main()

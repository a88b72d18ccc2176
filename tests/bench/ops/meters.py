"""How much an operation is, on one tree of the code or another.

Instructions are what is compared: the same work gives the same number, to 0.2 %, on a busy machine too.
Where the kernel lets perf count them it does; in most virtual machines there is no counter, and
valgrind's callgrind counts instead, fifty times slower. Without either, CPU time is taken, by turns, and
is less sure.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.ops.operations import CYCLE, OPERATIONS

ROOT: Final = Path(__file__).parents[3]
PERF_TIMES: Final = 20 * CYCLE
"""Starting Python is 10^9 instructions, give or take 10^5: the operations must be many more."""
CLOCK_TIMES: Final = 5 * CYCLE
CLOCK_ROUNDS: Final = 7


@dataclass(slots=True)
class Counted:
    """Of one tree: what each operation takes once, and why others could not be done."""

    values: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Meter:
    """A way to measure. `trees` are directories with an audiosocket_agent in each."""

    unit: str
    by: str

    def measure(self, trees: Sequence[Path]) -> list[Counted]:
        raise NotImplementedError


def best_meter() -> Meter:
    """Of those that work here."""
    if perf_counts():
        return Perf("instructions", "perf stat -e instructions:u")
    if shutil.which("valgrind"):
        return Callgrind("instructions", "valgrind --tool=callgrind")
    return Clock("us of CPU", f"CPU time, medians of {CLOCK_ROUNDS} paired runs")


def perf_counts() -> bool:
    """Whether perf is here, may count, and has a counter."""
    if not shutil.which("perf"):
        return False
    tried = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.returncode == 0 and perf_count(tried.stderr) is not None


def perf_count(text: str) -> int | None:
    """The number in `perf stat -x,`; None where it says <not supported> or <not counted>."""
    found = re.search(r"^(\d+),[^,]*,instructions", text, re.MULTILINE)
    return int(found[1]) if found else None


class Perf(Meter):
    """Each operation in a process of its own, once often and once not at all: the difference counts."""

    def measure(self, trees: Sequence[Path]) -> list[Counted]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self._one, trees))

    def _one(self, tree: Path) -> Counted:
        counted = Counted()
        for name in OPERATIONS:
            often = self._instructions(tree, name, PERF_TIMES)
            never = self._instructions(tree, name, 0)
            if isinstance(often, int) and isinstance(never, int):
                counted.values[name] = (often - never) / PERF_TIMES
            else:
                counted.errors[name] = str(often)
        return counted

    def _instructions(self, tree: Path, name: str, times: int) -> int | str:
        """Of the whole process; or why there are none."""
        done = _count(
            tree, name, times=times, under=("perf", "stat", "-x,", "-e", "instructions:u")
        )
        line = next(_lines(done.stdout))
        instructions = perf_count(done.stderr)
        if "error" in line or instructions is None:
            return str(line.get("error", done.stderr))
        return instructions


class Callgrind(Meter):
    """All operations in one process, which dumps its count before and after each (count.py)."""

    def measure(self, trees: Sequence[Path]) -> list[Counted]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self._one, trees))

    def _one(self, tree: Path) -> Counted:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            to = f"--callgrind-out-file={directory}/out"
            by = ("valgrind", "-q", "--tool=callgrind", "--dump-before=getpgrp*", to)
            done = _count(tree, times=CYCLE, under=by)
            dumps = [Path(f"{directory}/out.{2 * n}") for n in range(1, len(OPERATIONS) + 1)]
            totals = [callgrind_total(d.read_text()) for d in dumps if d.exists()]
        return paired(_lines(done.stdout), totals)


def callgrind_total(text: str) -> int:
    """Instructions in one dump."""
    found = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    assert found, "a dump of callgrind without a total"
    return int(found[1])


def paired(lines: Iterator[dict[str, str]], totals: Sequence[int]) -> Counted:
    """Those that were done, in order, have a total each; the others have none."""
    counted, rest = Counted(), iter(totals)
    for line in lines:
        if "error" in line:
            counted.errors[line["name"]] = line["error"]
        else:
            counted.values[line["name"]] = next(rest) / CYCLE
    return counted


class Clock(Meter):
    """All operations on one tree, then on the other, and again: the machine is the same for both."""

    def measure(self, trees: Sequence[Path]) -> list[Counted]:
        rounds: list[list[Counted]] = [[] for _ in trees]
        for _ in range(CLOCK_ROUNDS):
            for tree, done in zip(trees, rounds, strict=True):
                done.append(timed(_lines(_count(tree, times=CLOCK_TIMES).stdout)))
        return [medians(each) for each in rounds]


def timed(lines: Iterator[dict[str, str]]) -> Counted:
    """In microseconds."""
    counted = Counted()
    for line in lines:
        if "error" in line:
            counted.errors[line["name"]] = line["error"]
        else:
            counted.values[line["name"]] = float(line["seconds"]) / CLOCK_TIMES * 1e6
    return counted


def medians(rounds: Sequence[Counted]) -> Counted:
    """Of each operation; what failed once has failed."""
    errors = {name: why for each in rounds for name, why in each.errors.items()}
    names = [name for name in rounds[0].values if name not in errors]
    return Counted({n: median(each.values[n] for each in rounds) for n in names}, errors)


def _count(
    tree: Path, *names: str, times: int, under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Today's operations on that tree's code. What would differ from run to run is fixed: the order of
    sets, the number of threads."""
    fixed = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*under, sys.executable, "-m", "tests.bench.ops.count", "--times", str(times), *names],
        cwd=tree,
        env=os.environ | fixed | {"PYTHONPATH": f"{tree}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the operations do not run on {tree}:\n{done.stderr}")
    return done


def _lines(text: str) -> Iterator[dict[str, str]]:
    return (json.loads(line) for line in text.splitlines())

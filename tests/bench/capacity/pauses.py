"""Moments in which the machine itself stood still, and the probe that sees them.

A virtual machine is paused by its host for 5 to 90 ms, often 20 times a minute, all cores at once, and
each pause looks like a late frame. So a probe sleeps for a millisecond again and again on either core,
above every other process (SCHED_FIFO, where we may): a service that computes too long cannot delay it.
What both probes missed at once was a pause, and what touches it is left out of the figures. What only
one of them missed excuses nobody, and neither does a late timer of the load's.

    python -m tests.bench.capacity.pauses CORE        prints `from until`, monotonic seconds, per pause
"""

import asyncio
import os
import sys
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import reduce
from tempfile import TemporaryFile
from typing import Final, TextIO

Span = tuple[float, float]
"""From when until when, monotonic seconds."""

EVERY_S: Final = 0.001
LATE_S: Final = 0.003
"""A sleep that ends this late was a pause. In real time it is 0.1 ms late otherwise."""
AFTERMATH_S: Final = 0.020
"""What was due in a pause leaves in a burst after it, within a frame."""
PRIORITY: Final = 50


def at_once(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Where spans of both overlap: the whole of both, in order."""
    pauses: list[Span] = []
    for begins, ends in one:
        for since, until in other:
            if since <= ends and until >= begins:
                begins, ends = min(begins, since), max(ends, until)
        if any(since <= ends and until >= begins for since, until in other):
            if pauses and begins <= pauses[-1][1]:
                pauses[-1] = (min(begins, pauses[-1][0]), max(ends, pauses[-1][1]))
            else:
                pauses.append((begins, ends))
    return pauses


class Pauses:
    """Of one run, in order, none overlapping."""

    def __init__(self, spans: Sequence[Span] = ()) -> None:
        self._spans = spans

    def touch(self, since: float, until: float) -> bool:
        """Whether a stretch of time touches one of them, or its aftermath."""
        first = max(0, bisect_left(self._spans, (since,)) - 1)
        return any(
            begins <= until and ends + AFTERMATH_S >= since
            for begins, ends in self._spans[first : first + 3]
        )

    def seconds(self, since: float, until: float) -> float:
        """How much of a stretch of time they are."""
        return sum(max(0.0, min(ends, until) - max(begins, since)) for begins, ends in self._spans)


class Probes:
    """Those that run; `pauses` are theirs once they have stopped."""

    def __init__(self) -> None:
        self.pauses = Pauses()


@asynccontextmanager
async def probing(cores: Sequence[int]) -> AsyncIterator[Probes]:
    """Look for pauses on these cores until the block ends."""
    probes = Probes()
    with ExitStack() as files:
        seen = [files.enter_context(TemporaryFile("w+")) for _ in cores]
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, str(core), stdout=lines
            )
            for core, lines in zip(cores, seen, strict=True)
        ]
        try:
            yield probes
        finally:
            for process in processes:
                process.kill()
                await process.wait()
        probes.pauses = Pauses(reduce(at_once, [_read(lines) for lines in seen]))


def _read(lines: TextIO) -> list[Span]:
    lines.seek(0)
    return [(float(since), float(until)) for since, until in map(str.split, lines)]


def _probe(core: int) -> None:
    os.sched_setaffinity(0, {core})
    with suppress(PermissionError):  # then as everybody else: both must be late all the same
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    while True:
        due = time.monotonic() + EVERY_S
        time.sleep(EVERY_S)
        now = time.monotonic()
        if now - due > LATE_S:
            print(due, now, flush=True)


if __name__ == "__main__":
    _probe(int(sys.argv[1]))

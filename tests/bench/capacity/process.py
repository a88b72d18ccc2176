"""What the kernel says of the process under test, and of its core."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = slice(3, 5)  # of the columns of /proc/stat: idle, iowait
_COUNTED: Final = 8  # user to steal; guests are in user already


class Memory(NamedTuple):
    """MB (10^6 bytes). Of a page that is shared with others, `pss` counts its share."""

    rss: float
    pss: float


def pin(pid: int, core: int) -> None:
    """All threads that there are; those to come inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def cpu_s(pid: int) -> float:
    """User and system time of all its threads, also of those that have ended, to the nanosecond: the
    clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> Memory:
    """Stops the process for a few milliseconds: not to be asked for while it is being timed."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kb = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return Memory(int(kb["Rss"]) * 1024 / 1e6, int(kb["Pss"]) * 1024 / 1e6)


def busy_s(core: int) -> float:
    """What the core has worked since the machine was started, for whomever."""
    text = Path("/proc/stat").read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"cpu{core} "))
    ticks = [int(word) for word in line.split()[1:]][:_COUNTED]
    return (sum(ticks) - sum(ticks[_IDLE])) / TICKS_PER_S

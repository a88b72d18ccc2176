"""Memory of calls that are over goes back to the system, and nobody hears it.

glibc raises its bound for what it takes from the system by itself with every big buffer that is freed;
from then on those of 256 KiB, one for each TLS connection, come from the heap, whose holes stay with the
process. From the 1000th to the 3000th call, 20 at a time, it grew by 2.7 MB so, and by 0.4 MB with the
bound where it is at the start. The arenas of threads are not the matter: with one it grew more.

What refers to itself is found by Python's collector, which stops all calls for as long as it looks: at
250 calls, which are 160,000 objects, 50 to 80 ms whenever a quarter more has come. The young are
looked through as ever, in some milliseconds; all of it when a `Sweep` says so.
"""

import ctypes
import gc
from typing import Final

BIG_BYTES: Final = 128 * 1024
"""glibc's own bound, before it raises it; what is freed above it is the system's at once."""

MANY_CALLS: Final = 250
"""Ended since, of which each has left 135 objects, 16 kB at most. More: more memory waits. Fewer: the
callers of a service that is never idle hear the search more often."""
LONG_S: Final = 3600.0
"""What else there is to find is little, and is not left for ever."""
_NEVER: Final = 1_000_000_000

_M_MMAP_THRESHOLD: Final = -3
"""mallopt(3)"""


def return_big_buffers() -> bool:
    """From now on, for the whole process. False where the allocator is none that can be told."""
    libc = ctypes.CDLL(None)
    return hasattr(libc, "mallopt") and bool(libc.mallopt(_M_MMAP_THRESHOLD, BIG_BYTES))


def begin_sweeping() -> None:
    """What is there now stays, and is left out of every search; all of the rest is searched by
    `gc.collect` alone."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    gc.freeze()
    gc.enable()


class Sweep:
    """When to search everything. Pure; `now` is any monotonic clock in seconds."""

    def __init__(self, now: float) -> None:
        self._at = now
        self._ended = 0

    def is_due(self, now: float, *, calls: int, ended: int) -> bool:
        """`calls`: up now; `ended`: so far. True once for each time that it is to be done."""
        since = ended - self._ended
        due = since >= MANY_CALLS or now - self._at >= LONG_S or (since > 0 and not calls)
        if due:
            self._at, self._ended = now, ended
        return due

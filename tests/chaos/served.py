"""The service, which on SIGUSR1 says how many tasks it has, and on SIGUSR2 is on a host whose clock is
set: `python -m tests.chaos.served`.

Nothing else of it is changed: `audiosocket-agent serve` of a process of its own, which begins as the
command does.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import chain, repeat
from typing import Final, Self

CLOCK_S: Final = 3600.0
"""How far it is set: forth at the first SIGUSR2, back at the second, and right at the third."""
_true_time: Final = time.time
_off_s = 0.0


class _Wrong(datetime):
    """The time of day, as it is on that host."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(seconds=_off_s)


def _tell() -> None:
    names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    line = json.dumps({"event": "tasks", "tasks": names.total(), "names": names})
    os.write(2, line.encode() + b"\n")


def _set_clock(offsets: Iterator[float]) -> None:
    """For whoever in this process asks for the time of day, in Python."""
    global _off_s
    _off_s = next(offsets)
    time.time = lambda: _true_time() + _off_s
    for module in tuple(sys.modules.values()):
        if getattr(module, "datetime", None) is datetime:
            module.datetime = _Wrong  # type: ignore[attr-defined]


def main() -> None:
    """Serve, with the settings of the environment."""
    gc.disable()  # what is imported from here on is not to count for how often it is searched
    import uvloop

    from audiosocket_agent import config
    from audiosocket_agent.service import serve

    async def serve_and_tell() -> None:
        loop, offsets = asyncio.get_running_loop(), chain((CLOCK_S, -CLOCK_S), repeat(0.0))
        loop.add_signal_handler(signal.SIGUSR1, _tell)
        loop.add_signal_handler(signal.SIGUSR2, _set_clock, offsets)
        await serve(config.load(None).settings)

    uvloop.run(serve_and_tell())


if __name__ == "__main__":
    main()

"""The service, which on SIGUSR1 also says how many tasks it has: `python -m tests.chaos.served`.

Nothing else of it is changed: `audiosocket-agent serve` of a process of its own.
"""

import asyncio
import json
import os
import signal
from collections import Counter

import uvloop

from audiosocket_agent import config
from audiosocket_agent.service import serve
from audiosocket_agent.settings import Settings


def _tell() -> None:
    names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    line = json.dumps({"event": "tasks", "tasks": names.total(), "names": names})
    os.write(2, line.encode() + b"\n")


async def _serve(settings: Settings) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell)
    await serve(settings)


def main() -> None:
    """Serve, with the settings of the environment."""
    uvloop.run(_serve(config.load(None).settings))


if __name__ == "__main__":
    main()

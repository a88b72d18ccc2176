"""Calls announced faster than anybody dials: `python -m tests.bench.announce`.

`open` is asked 50 times a second, each time as Asterisk does it: connect, head, three variables,
close. Nobody comes for these calls; what is left of them after their time is counted.
"""

import argparse
import asyncio
import time
import uuid
from pathlib import Path

from audiosocket_agent.lab.report import quantile
from audiosocket_agent.lab.simulator import Behaviour, Simulator
from tests.agi.dialplan import agi
from tests.pbx.service import Service, running_service

RING_S = 5.0


async def ask(port: int, took: list[float], statuses: list[str]) -> None:
    asked = time.perf_counter()
    answer = await agi(port, f"open?uuid={uuid.uuid4()}")
    took.append((time.perf_counter() - asked) * 1000)
    statuses.append(answer["AGENT_STATUS"])


def open_files(service: Service) -> int:
    return len(list(Path(f"/proc/{service.pid}/fd").iterdir()))


async def measure(per_second: int, seconds: int) -> None:
    """Print what came of it."""
    took: list[float] = []
    statuses: list[str] = []
    behaviour = Behaviour(connect_delay_seconds=0.7)
    settings = {"FASTAGI_RING_TIME": str(RING_S), "MAX_CALLS": "1000", "LOG_LEVEL": "INFO"}
    async with Simulator(behaviour) as simulator, running_service(simulator, **settings) as service:
        loop = asyncio.get_running_loop()
        files, began = open_files(service), loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in range(per_second * seconds):
                await asyncio.sleep(began + number / per_second - loop.time())
                tasks.create_task(ask(service.agi_port, took, statuses))
        most = await service.metric("calls_active")
        async with asyncio.timeout(RING_S + 5.0):
            while await service.metric("calls_active") or open_files(service) > files:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        abandoned = await service.metric("calls_total", outcome="abandoned")
        took.sort()
        print(f"{len(took)} asked, {statuses.count('OK')} OK, {most:.0f} at once at the end")
        print(
            f"ms: median {quantile(took, 0.5):.1f}  p99 {quantile(took, 0.99):.1f}  "
            f"max {took[-1]:.1f}"
        )
        print(f"{abandoned:.0f} let go after {RING_S:.0f} s; open files as before: {files}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-second", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.per_second, arguments.seconds))


if __name__ == "__main__":
    main()

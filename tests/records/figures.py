"""What the records cost the media path: `python -m tests.records.figures [DATABASE_URL]`.

put       nanoseconds of a call's time for one row
rows/s    through queue, batches and database; and by way of the journal
commit    milliseconds until a ticket may be told
lag       how late the event loop runs a 1 ms timer meanwhile, in milliseconds
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import uvloop

from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import MAX_QUEUE_ROWS, Writer
from tests.records.made import ticket, turn

ROWS = 9_000
STEADY_S = 5.0
STEADY_ROWS_PER_S = 400  # 80 calls, five rows a second each


async def main(url: str, directory: Path) -> None:
    async with Store(url, migrate=True) as store:
        await store.write([turn(0)], 30.0)
        idle = Writer(store, directory / "idle")
        print(f"put     {_put_ns(idle):8.0f} ns")
        await _lagging("idle", lambda: asyncio.sleep(STEADY_S))
        async with Writer(store, directory / "journal") as writer:
            await _lagging(f"{STEADY_ROWS_PER_S} rows/s", lambda: _steadily(writer))
            rows = [turn(n) for n in range(ROWS)]
            started = time.perf_counter()
            for row in rows:
                writer.put(row)
            written = writer.written + ROWS
            await _lagging("burst", lambda: _until(lambda: writer.written >= written))
            print(f"burst   {ROWS / (time.perf_counter() - started):8.0f} rows/s")
            await _lagging("commits", lambda: _commits(writer))
    async with Store("sqlite:////nowhere/x.db") as nowhere:
        async with Writer(nowhere, directory / "journal") as writer:
            started = time.perf_counter()
            for n in range(ROWS):
                writer.put(turn(n))
            await _lagging("journal", lambda: _until(lambda: writer.journalled >= ROWS))
            print(f"journal {ROWS / (time.perf_counter() - started):8.0f} rows/s")
    async with Store(url) as store, Writer(store, directory / "journal") as writer:
        started = time.perf_counter()
        await _lagging("replay", lambda: _until(lambda: writer.replayed >= ROWS))
        print(f"replay  {ROWS / (time.perf_counter() - started):8.0f} rows/s")


def _put_ns(writer: Writer) -> float:
    row = turn()
    started = time.perf_counter_ns()
    for _ in range(MAX_QUEUE_ROWS):
        writer.put(row)
    return (time.perf_counter_ns() - started) / MAX_QUEUE_ROWS


async def _steadily(writer: Writer) -> None:
    for n in range(int(STEADY_S * 50)):
        for _ in range(STEADY_ROWS_PER_S // 50):
            writer.put(turn(n))
        await asyncio.sleep(0.02)


async def _commits(writer: Writer) -> None:
    took = []
    for n in range(500):
        started = time.perf_counter()
        await writer.commit(ticket(f"{time.time_ns()}-{n}"))
        took.append(time.perf_counter() - started)
    print(f"commit  {median(took) * 1e3:8.2f} ms, p99 {_share(took, 0.99) * 1e3:.2f} ms")


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def _lagging(what: str, run: Callable[[], object]) -> None:
    late: list[float] = []

    async def watch() -> None:
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - asked - 0.001)

    watching = asyncio.create_task(watch())
    await run()  # type: ignore[misc]
    watching.cancel()
    shown = [median(late), _share(late, 0.99), _share(late, 0.999), max(late)]
    parts = zip(("median", "p99", "p99.9", "max"), shown, strict=True)
    print(f"lag     {', '.join(f'{name} {s * 1e3:.2f}' for name, s in parts)} ms ({what})")


def _share(values: list[float], share: float) -> float:
    return sorted(values)[int(share * len(values))]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        place = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{temporary}/records.db"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(place, Path(temporary)))

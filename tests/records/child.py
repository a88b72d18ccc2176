"""Processes of their own, for what two of them do to one database, and for what a kill -9 leaves.

Run as a program: forks, so that twenty of them start in the time of one.
"""

import asyncio
import itertools
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from audiosocket_agent.records import migrations, writer
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.place import Place
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import Writer
from tests.records.made import ticket, turn


def upgrade(url: str) -> None:
    migrations.upgrade(Place.of(url))


def write(url: str, journal: str, name: str) -> None:
    """Two hundred turns, and twenty tickets of which others make the same."""

    async def go() -> None:
        async with Store(url) as store, Writer(store, Path(journal) / name) as rows:
            for n in range(20):
                for part in range(10):
                    rows.put(turn(n * 10 + part, call_id=f"call-{name}"))
                promised = await rows.commit(ticket(f"key-{n}", subject=name), 20.0)
                os.write(1, f"{promised.idempotency_key} {promised.number}\n".encode())

    asyncio.run(go())


def write_until_killed(url: str, journal: str, acknowledged: str, name: str) -> None:
    """Put and promise for ever. Each promise that was kept, and how many turns have been, is told in
    a file; what is told there must be true whenever we are killed."""
    told = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def go() -> None:
        async with Store(url) as store, Writer(store, Path(journal)) as rows:
            numbers = itertools.count()
            for n in itertools.count():
                for _ in range(random.randrange(1, 30)):
                    rows.put(turn(next(numbers), call_id=f"call-{name}"))
                await asyncio.sleep(0.001)
                os.write(told, f"turns {name} {rows.written + rows.journalled}\n".encode())
                try:
                    promised = await rows.commit(ticket(f"key-{name}-{n}"), 1.0)
                except StoreError:
                    continue
                os.write(told, f"ticket {promised.idempotency_key} {promised.number}\n".encode())

    with patch.object(writer, "BATCH_SECONDS", 0.005):
        asyncio.run(go())


# -- processes -------------------------------------------------------------------------------------


def fork(run: Callable[..., None], *arguments: str) -> int:
    child = os.fork()
    if child:
        return child
    try:
        run(*arguments)
        os._exit(0)
    except Exception:  # noqa: BLE001 - whatever it is, the parent is to fail by it
        traceback.print_exc()
    finally:
        os._exit(1)


def together(runs: Sequence[partial[None]]) -> None:
    """All at the same moment; all have to end well."""
    waiting, go = os.pipe()

    def wait_and_run(run: partial[None]) -> None:
        os.close(go)
        os.read(waiting, 1)
        run()

    children = [fork(partial(wait_and_run, run)) for run in runs]
    os.close(go)
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, "a process failed"


def kill_many(kills: int, url: str, journal: str, acknowledged: str) -> None:
    """Every third finds no database, and leaves its rows in the journal for the next."""
    nowhere = "sqlite:////nowhere/records.db"
    for number in range(kills):
        where = nowhere if number % 3 == 1 else url
        child = fork(write_until_killed, where, journal, acknowledged, str(number))
        time.sleep(random.uniform(0.02, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def main(what: str, count: str, url: str, *paths: str) -> None:
    match what:
        case "upgrade":
            together([partial(upgrade, url)] * int(count))
        case "write":
            journal = paths[0]
            together([partial(write, url, journal, str(name)) for name in range(int(count))])
        case "kill":
            kill_many(int(count), url, *paths)


if __name__ == "__main__":
    main(*sys.argv[1:])

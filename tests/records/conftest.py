"""Every test of the records, on SQLite and on a real PostgreSQL.

The latter are marked `pbx` and need PostgreSQL's programs, or `DATABASE_URL_TEST_PG`: the URL of a
server where databases can be made. That one is not stopped and started by tests.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from audiosocket_agent.records import place, writer
from audiosocket_agent.records.store import Store
from tests.records.postgres import PROGRAMS, Cluster, new_database

GIVEN = os.environ.get("DATABASE_URL_TEST_PG", "")
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.pbx)]


class Database:
    """A new, empty database, which can be stopped and started."""

    def __init__(self, url: str, stop: Callable[[], None], start: Callable[[], None]) -> None:
        self.url = url
        self.stop = stop
        self.start = start

    def store(self) -> Store:
        return Store(self.url, migrate=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if PROGRAMS is None:
        pytest.skip("needs Debian's package postgresql-15, or DATABASE_URL_TEST_PG")
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        file, away = tmp_path / "records.db", tmp_path / "away.db"
        return Database(f"sqlite:///{file}", lambda: _move(file, away), lambda: _move(away, file))
    if GIVEN:
        return Database(new_database(GIVEN, "records_test"), _not_ours, _not_ours)
    cluster = request.getfixturevalue("cluster")
    return Database(cluster.database(), cluster.stop, cluster.start)


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    async with database.store() as store:
        yield store


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds in service takes less."""
    monkeypatch.setattr(place, "BUSY_SECONDS", 0.3)
    monkeypatch.setattr(writer, "BATCH_SECONDS", 0.02)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.1)


async def until(true: Callable[[], bool], within: float = 20.0) -> None:
    """Wait for something that will be so. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - of a process that has no event for it
            await asyncio.sleep(0.005)


def _move(file: Path, to: Path) -> None:
    """SQLite's file goes: what it has beside it stays, as it is a file of a service that runs."""
    file.rename(to)


def _not_ours() -> None:
    pytest.skip("DATABASE_URL_TEST_PG is not stopped by tests")

"""A transaction is there or it is not, however its block ends; and the ORM never is."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError

from audiosocket_agent.records import codec, schema
from audiosocket_agent.records.connection import AsyncConnection, dispose, transaction
from audiosocket_agent.records.place import CONNECTIONS, TO_READ, TO_WRITE
from tests.records.conftest import Database
from tests.records.made import turn


@asynccontextmanager
async def engine_of(database: Database) -> AsyncIterator[Engine]:
    async with database.store() as store:
        await store.open()
        engine = store.place.async_engine()
        try:
            yield engine
        finally:
            await dispose(engine)


async def write(connection: AsyncConnection, **changed: Any) -> None:
    await connection.execute(schema.turns.insert(), codec.values(turn()) | changed)


async def count(engine: Engine) -> int:
    async with transaction(engine, TO_READ) as connection:
        found = await connection.execute(select(func.count()).select_from(schema.turns))
        return int(found.scalar_one())


async def test_what_is_written_is_there_when_the_block_ends(database: Database) -> None:
    async with engine_of(database) as engine:
        async with transaction(engine, TO_WRITE) as connection:
            await write(connection)
        assert await count(engine) == 1


async def test_of_a_block_that_fails_nothing_is_there(database: Database) -> None:
    async with engine_of(database) as engine:
        for _ in range(2 * CONNECTIONS):  # and its connection is free again
            with pytest.raises(ZeroDivisionError):
                await _write_and_fail(engine)
        assert await count(engine) == 0


async def test_of_a_block_that_the_database_refuses_nothing_is_there(database: Database) -> None:
    async with engine_of(database) as engine:
        with pytest.raises(IntegrityError):
            await _write_and_be_refused(engine)
        assert await count(engine) == 0


async def test_of_a_block_that_is_cancelled_nothing_is_there(database: Database) -> None:
    async with engine_of(database) as engine:
        for _ in range(2 * CONNECTIONS):
            written = asyncio.Event()
            task = asyncio.create_task(_write_and_wait(engine, written))
            await written.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await count(engine) == 0


async def test_whoever_is_cancelled_while_the_database_is_at_work_leaves_nothing(
    database: Database,
) -> None:
    """At one step of the transaction after the other, as far as it gets."""
    async with engine_of(database) as engine:
        for steps in range(12):
            task = asyncio.create_task(_write_and_fail(engine))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
                await task
        assert await count(engine) == 0


async def _write_and_wait(engine: Engine, written: asyncio.Event) -> None:
    async with transaction(engine, TO_WRITE) as connection:
        await write(connection)
        written.set()
        await asyncio.Event().wait()


async def _write_and_fail(engine: Engine) -> None:
    async with transaction(engine, TO_WRITE) as connection:
        await write(connection)
        raise ZeroDivisionError


async def _write_and_be_refused(engine: Engine) -> None:
    async with transaction(engine, TO_WRITE) as connection:
        await write(connection)
        await write(connection, n=2, text=None)


def test_a_service_is_without_the_orm() -> None:
    code = "import sys, audiosocket_agent.service; print('sqlalchemy.orm' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"

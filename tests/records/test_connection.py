"""A transaction is there or it is not, however its block ends; and the ORM never is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.util import greenlet_spawn

from audiosocket_agent.records import codec, schema
from audiosocket_agent.records import connection as connection_module
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
                await _write(engine, 1, fails=True)
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


@pytest.mark.parametrize("fails", [True, False])
async def test_whoever_is_cancelled_at_any_step_leaves_all_or_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Each step is one wait for the database: connecting, BEGIN, a statement, COMMIT, giving back."""
    async with engine_of(database) as engine:
        await count(engine)  # what follows has a connection already
        for step in range(1, 100):
            steps = Steps(step)
            monkeypatch.setattr(connection_module, "greenlet_spawn", steps.spawn)
            task = asyncio.create_task(_write(engine, step, fails=fails))
            steps.cancels = task.cancel
            [result] = await asyncio.gather(task, return_exceptions=True)
            monkeypatch.undo()
            assert await count(engine) <= (0 if fails else step)
            if not isinstance(result, asyncio.CancelledError):
                break
        assert step > 4
        assert isinstance(result, ZeroDivisionError) if fails else result is None
        async with AsyncExitStack() as all_there_are:
            for _ in range(CONNECTIONS):
                await all_there_are.enter_async_context(transaction(engine, TO_READ))


async def test_a_connection_whose_commit_failed_is_given_back_without_its_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OperationalError("COMMIT", None, Exception("database is locked"))

    async with engine_of(database) as engine:
        await count(engine)
        with monkeypatch.context() as patched:
            patched.setattr(engine.dialect, "do_commit", fail)
            with pytest.raises(OperationalError):
                await _write(engine, 1, fails=False)
        for _ in range(2 * CONNECTIONS):  # each begins a transaction
            assert await count(engine) == 0


class Steps:
    """Cancels at the n-th wait for the database."""

    def __init__(self, n: int) -> None:
        self._left = n
        self.cancels: Callable[[], object]

    async def spawn(self, work: Callable[..., Any], *args: Any) -> Any:
        self._left -= 1
        if not self._left:
            asyncio.get_running_loop().call_soon(self.cancels)
        return await greenlet_spawn(work, *args)


async def _write(engine: Engine, n: int, *, fails: bool) -> None:
    async with transaction(engine, TO_WRITE) as connection:
        await write(connection, n=n)
        if fails:
            raise ZeroDivisionError


async def _write_and_wait(engine: Engine, written: asyncio.Event) -> None:
    async with transaction(engine, TO_WRITE) as connection:
        await write(connection)
        written.set()
        await asyncio.Event().wait()


async def _write_and_be_refused(engine: Engine) -> None:
    async with transaction(engine, TO_WRITE) as connection:
        await write(connection)
        await write(connection, n=2, text=None)

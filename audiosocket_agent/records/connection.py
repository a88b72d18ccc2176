"""Transactions for the event loop, by SQLAlchemy's Core alone.

Its extension for asyncio is the same few lines over `greenlet_spawn`, and imports the ORM, which
nothing here uses: 6 MB of a service's 115.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable
from sqlalchemy.util import greenlet_spawn

from audiosocket_agent.records.jobs import to_the_end

_Result = TypeVar("_Result")


class AsyncConnection:
    """A connection in a transaction. What it finds is in memory when it returns; all raise
    SQLAlchemyError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return await greenlet_spawn(self._connection.execute, statement, parameters)

    async def exec_driver_sql(self, statement: str) -> CursorResult[Any]:
        return await greenlet_spawn(self._connection.exec_driver_sql, statement)

    async def run_sync(self, work: Callable[[Connection], _Result]) -> _Result:
        """What is written for threads, as it is: where it waits, the loop does not."""
        return await greenlet_spawn(work, self._connection)


@asynccontextmanager
async def transaction(engine: Engine, options: Mapping[str, Any]) -> AsyncIterator[AsyncConnection]:
    """Of an engine with a driver for asyncio. Committed where the block ends well; else, also where it
    is cancelled, nothing of it is there. Whoever is cancelled after that may have written all of it.
    Raises SQLAlchemyError."""
    connection = await greenlet_spawn(engine.connect)
    try:
        connection.execution_options(**options)
        await greenlet_spawn(connection.begin)
        yield AsyncConnection(connection)
        await greenlet_spawn(connection.commit)
    finally:
        closing = greenlet_spawn(_close, connection)
        await to_the_end(asyncio.ensure_future(closing))


def _close(connection: Connection) -> None:
    try:
        connection.rollback()  # of a commit that failed, `close` takes it that the driver has done it
    finally:
        connection.close()


async def dispose(engine: Engine) -> None:
    """Close all connections that are not in use."""
    await greenlet_spawn(engine.dispose)

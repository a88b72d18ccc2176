"""The database: transactions, and rows into it.

Calls never wait for anything in here: `writer` does, in a task of its own. What a database does wrong
comes out as StoreError.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import SQLAlchemyError

from audiosocket_agent import log
from audiosocket_agent.records import codec, migrations, statements
from audiosocket_agent.records.connection import AsyncConnection, dispose, transaction
from audiosocket_agent.records.errors import RowError, StoreError
from audiosocket_agent.records.ids import ticket_number
from audiosocket_agent.records.jobs import apart, to_the_end
from audiosocket_agent.records.place import NOT_AT_ALL, TO_READ, TO_WRITE, Place
from audiosocket_agent.records.rows import TABLES, Gone, Promise, Row, Ticket

_NUMBERS_TRIED: Final = 20
"""With a million tickets one in four is taken."""
_CLOSE_SECONDS: Final = 6.0
"""A little more than SQLite waits for its lock."""
_CLOSE_AGAIN_SECONDS: Final = 1.0

_Result = TypeVar("_Result")
_Promise = TypeVar("_Promise", bound=Promise)
_Values = tuple[type[object], dict[str, Any]]

_log = log.get(__name__)


class Store:
    """One database. Made without connecting: it may be down when a service starts.

    With `migrate` it is brought up to this version at its first use, and SQLite's file is made; else
    it must be there and of this version. A context manager.
    """

    def __init__(self, url: str, *, migrate: bool = False) -> None:
        """Raises ConfigError."""
        self.place = Place.of(url)
        self._migrate = migrate
        self._engine = self.place.async_engine()
        self._direct = self.place.engine() if self.place.file else None  # for threads
        self._statements = statements.write(self._engine.dialect.name)
        self._opening = asyncio.Lock()
        self._upgrading: asyncio.Future[tuple[str, str]] | None = None
        self._checked = False
        self._file: tuple[int, int] | None = None
        self._log_file: tuple[int, int] | None = None
        # SQLite has one writer; who waits for it in here is served in turn, and does not poll
        self._writer = asyncio.Lock() if self.place.file else nullcontext()
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """See that the database is there, still the same, and of our version. All else here does it
        first; a service asks when it starts, for an error that is not `retryable`. Raises
        StoreError."""
        if self._is_open():
            return
        async with self._opening:
            if self._is_open():
                return
            if self._checked:  # there is another file now; a backup, perhaps
                self._checked = False
                self.place.drop_log(self._log_file)
                await self._dispose()
            elif self._migrate:
                await self._upgrade()
            self._file = self.place.identity()
            async with self._transaction(TO_READ) as connection:
                found = await connection.run_sync(migrations.version)
            migrations.check(self.place, found)
            if self._file is not None:
                self._log_file = self.place.log_identity()
            self._checked = True

    async def _upgrade(self) -> None:
        """One at a time: who gives up leaves it under way, in a thread."""
        if self._upgrading is None or self._upgrading.done():
            self._upgrading = apart(partial(migrations.upgrade, self.place))
        await asyncio.wait({self._upgrading})
        self._upgrading.result()

    def _is_open(self) -> bool:
        return self._checked and self.place.identity() == self._file

    async def close(self) -> None:
        """Close all connections, once what is under way is done."""
        for patience_s in (_CLOSE_SECONDS, _CLOSE_AGAIN_SECONDS):
            if self._unfinished:
                await asyncio.wait(self._unfinished.copy(), timeout=patience_s)
            for task in self._unfinished:
                task.cancel()  # psycopg goes on waiting after the first time
        await self._dispose()

    async def _dispose(self) -> None:
        await dispose(self._engine)
        if self._direct is not None:
            self._direct.dispose()

    async def settle(self) -> None:
        """After a deletion: take SQLite's write-ahead log to its file and empty it, as far as nobody
        reads in it. Raises StoreError."""
        if self.place.file is not None:
            async with self._writer, self._transaction(NOT_AT_ALL) as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- transactions ------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes nothing. Raises StoreError."""
        await self.open()
        async with self._transaction(TO_READ) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed where the block ends well. Raises StoreError; RowError where it is
        what was to be written that is wrong."""
        await self.open()
        async with self._writer, self._transaction(TO_WRITE) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, begin: Mapping[str, str]) -> AsyncIterator[AsyncConnection]:
        try:
            async with transaction(self._engine, begin) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self.place.told(error) from None

    async def _write_by(self, work: Callable[[Connection], None]) -> None:
        """`writing`, for what is written many times a second. Of SQLite it is one job for a thread, and
        not each of its statements: 0.6 ms of CPU for a batch instead of 1.3, and 0.14 of the event
        loop's instead of 0.85."""
        if self._direct is None:
            async with self.writing() as connection:
                await connection.run_sync(work)
            return
        await self.open()
        async with self._writer:
            loop = asyncio.get_running_loop()
            await to_the_end(loop.run_in_executor(None, self._write_directly, work))

    def _write_directly(self, work: Callable[[Connection], None]) -> None:
        assert self._direct is not None
        try:
            with self._direct.connect() as connection:
                connection.execution_options(**TO_WRITE)
                with connection.begin():
                    work(connection)
        except SQLAlchemyError as error:
            raise self.place.told(error) from None

    async def within(self, seconds: float, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of `work`, which uses this store, or StoreError when the time is up.

        A driver may need longer to give up: SQLite waits for its lock in a thread, a dead network is
        noticed by TCP. It does so in a task that `close` waits for.
        """
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._finished)
        try:
            await asyncio.wait({task}, timeout=seconds)
            if task.done():
                return task.result()
        finally:
            task.cancel()
        raise StoreError(f"{self.place.name}: no answer within {seconds:g} s")

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has been told, or is gone

    # -- rows --------------------------------------------------------------------------------------

    async def lacks(self, table: Table, key: str) -> bool:
        """Whether there is certainly no row by this primary key, of one column. Raises StoreError.

        For what is asked of every new call, and seldom there. SQLite's driver takes each step of a
        transaction to its thread and back, ten times for a row: 0.62 ms of CPU, and ten rounds of a
        loop that is busy in a rush of calls. This is one job for a thread, 0.06 ms. Elsewhere nothing
        is certain.
        """
        if self._direct is None:
            return False
        await self.open()
        column = table.primary_key.columns[0].name
        wanted = f"SELECT 1 FROM {table.name} WHERE {column} = ?"
        return not await asyncio.to_thread(self._finds, wanted, key)

    def _finds(self, wanted: str, key: str) -> bool:
        assert self._direct is not None
        try:
            connection = self._direct.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(wanted, (key,))
                return cursor.fetchone() is not None
            finally:
                connection.close()
        except SQLAlchemyError as error:
            raise self.place.told(error) from None
        except sqlite3.Error as error:
            raise StoreError(f"{self.place.name}: {error}") from None

    async def write(self, rows: Sequence[Row], timeout_s: float) -> int:
        """Write rows in one transaction; what is there already stays as it is. Returns how many are
        in the database now: those that it will never take are logged, and left out. Raises StoreError
        where it has to be done again; nothing is doubled by that."""
        return await self.within(timeout_s, self._write(rows))

    async def commit(self, row: _Promise, timeout_s: float) -> _Promise:
        """Write what a caller is about to be told. Returns it as it is on the disk: a ticket with its
        number, and for a key that is there already the row that came first. Raises StoreError, in
        time, where that is not certain."""
        return await self.within(timeout_s, self._commit(row))

    async def _write(self, rows: Sequence[Row]) -> int:
        fit: list[_Values] = []
        for row in rows:
            try:
                fit.append((type(row), codec.values(row)))
            except RowError as error:
                _log.error("record refused", reason=str(error))
        return await self._insert(fit)

    async def _insert(self, rows: Sequence[_Values]) -> int:
        """Returns how many the database has taken."""
        by_kind: dict[type[object], list[dict[str, Any]]] = {}
        for kind, values in sorted(rows, key=_deletes):
            by_kind.setdefault(kind, []).append(values)

        def execute(connection: Connection) -> None:
            for kind, several in by_kind.items():
                connection.execute(self._statements[kind], several)

        try:
            await self._write_by(execute)
        except RowError as error:
            if len(rows) > 1:  # it is one of them: the others are not to suffer
                return sum([await self._insert([row]) for row in rows])
            _log.error("record refused", reason=f"{rows[0][0].__name__} {error}")
            return 0
        return len(rows)

    async def _commit(self, row: _Promise) -> _Promise:
        table, insert = TABLES[type(row)], self._statements[type(row)]
        for _ in range(_NUMBERS_TRIED):
            if isinstance(row, Ticket):
                row = replace(row, number=ticket_number())
            first = select(table).where(table.c.idempotency_key == row.idempotency_key)
            async with self.writing() as connection:
                await connection.execute(insert, codec.values(row))
                there = (await connection.execute(first)).mappings().first()
            if there is not None:  # else the number is taken
                return type(row)(**there)
        raise StoreError(f"{self.place.name}: no number for a ticket is free")


def _deletes(row: _Values) -> bool:
    """What deletes comes after all that it is to delete."""
    return row[0] is Gone

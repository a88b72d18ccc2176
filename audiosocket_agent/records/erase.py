"""What is to be forgotten: a call, a caller, or all that is old enough.

Rows of a call may still wait in the journal, and would come after their deletion. So the journal is
taken to the database first, and kept from others until the rows are gone. A recording's file goes
before the row that knows of it: a crash in between leaves a row to go on with, never a file that
nobody knows of.

SQLite overwrites what is deleted, also in its write-ahead log. PostgreSQL does when it vacuums.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Table, and_, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from audiosocket_agent.records import schema
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.ids import first_id
from audiosocket_agent.records.journal import Journal
from audiosocket_agent.records.rows import OPEN
from audiosocket_agent.records.store import Store

_CHUNK: Final = 200
"""Calls that one transaction deletes; others write in between."""
_REPLAY_SECONDS: Final = 30.0

_PARTS: Final = (schema.turns, schema.tool_uses, schema.usage, schema.recordings)
"""What is nothing without its call; a ticket or a callback is."""

Condition = ColumnElement[bool]


@dataclass(slots=True)
class Erased:
    """What was deleted."""

    calls: int = 0
    tickets: int = 0
    callbacks: int = 0
    recordings: int = 0
    missing: list[str] = field(default_factory=list)
    """Files of recordings that are not there; on another host, perhaps."""
    up: list[str] = field(default_factory=list)
    """Calls that go on, and write on: forget them again when they are over."""


async def forget_call(store: Store, journal: Path, call_id: str) -> Erased:
    """Delete all that is known of a call, its tickets and callbacks too. Raises StoreError."""
    erased = Erased()
    async with _replayed(store, journal):
        await _erase(store, [call_id], erased, promises=True)
    await store.settle()
    return erased


async def forget_caller(store: Store, journal: Path, number: str) -> Erased:
    """Delete all that is known of a number's calls, and all tickets and callbacks that it is in.
    Raises StoreError."""
    erased = Erased()
    async with _replayed(store, journal):
        while ids := await _calls(store, schema.calls.c.caller == number):
            await _erase(store, ids, erased, promises=True)
        async with store.writing() as connection:
            of_caller = schema.tickets.c.caller == number
            erased.tickets += await _delete(connection, schema.tickets, of_caller)
            of_number = schema.callbacks.c.number == number
            erased.callbacks += await _delete(connection, schema.callbacks, of_number)
    await store.settle()
    return erased


async def expire(store: Store, before: datetime) -> Erased:
    """Delete calls that began before, and tickets and callbacks made before that are not open any
    more. Raises StoreError."""
    erased = Erased()
    while ids := await _calls(store, schema.calls.c.started_at < before):
        await _erase(store, ids, erased, promises=False)
    while ids := await _orphans(store, before):
        await _erase(store, ids, erased, promises=False)
    tickets, callbacks = schema.tickets, schema.callbacks
    async with store.writing() as connection:
        settled = and_(tickets.c.status != OPEN, tickets.c.created_at < before)
        erased.tickets += await _delete(connection, tickets, settled)
        done = and_(callbacks.c.status != OPEN, callbacks.c.created_at < before)
        erased.callbacks += await _delete(connection, callbacks, done)
    await store.settle()
    return erased


@asynccontextmanager
async def _replayed(store: Store, directory: Path) -> AsyncIterator[None]:
    """The journal is empty, and stays so."""
    journal = Journal(directory)
    try:
        async with journal.held():
            while not await journal.replay(store, _REPLAY_SECONDS):
                pass
            yield
    finally:
        journal.close()


async def _calls(store: Store, which: Condition) -> list[str]:
    """Some of the calls, none where all are gone."""
    async with store.reading() as connection:
        found = await connection.execute(select(schema.calls.c.id).where(which).limit(_CHUNK))
        return list(found.scalars())


async def _orphans(store: Store, before: datetime) -> list[str]:
    """Some of the calls whose own row was lost at a bound, by rows that are old."""
    ids: set[str] = set()
    async with store.reading() as connection:
        for table in _PARTS:
            old = select(table.c.call_id).where(table.c.id < first_id(before)).limit(_CHUNK)
            ids.update((await connection.execute(old)).scalars())
    return list(ids)


async def _erase(store: Store, ids: Sequence[str], erased: Erased, *, promises: bool) -> None:
    """Delete calls and their parts."""
    calls, recordings = schema.calls, schema.recordings
    async with store.reading() as connection:
        kept = select(recordings.c.path).where(recordings.c.call_id.in_(ids))
        paths = list((await connection.execute(kept)).scalars())
        up = select(calls.c.id).where(calls.c.id.in_(ids), calls.c.outcome.is_(None))
        erased.up += (await connection.execute(up)).scalars()
    for path in paths:
        if await asyncio.to_thread(_unlinked, Path(path)):
            erased.recordings += 1
        else:
            erased.missing.append(path)
    async with store.writing() as connection:
        for table in _PARTS:
            await _delete(connection, table, table.c.call_id.in_(ids))
        if promises:
            tickets, callbacks = schema.tickets, schema.callbacks
            of_call = tickets.c.call_id.in_(ids)
            erased.tickets += await _delete(connection, tickets, of_call)
            of_call = callbacks.c.call_id.in_(ids)
            erased.callbacks += await _delete(connection, callbacks, of_call)
        erased.calls += await _delete(connection, calls, calls.c.id.in_(ids))


async def _delete(connection: AsyncConnection, table: Table, which: Condition) -> int:
    return (await connection.execute(delete(table).where(which))).rowcount


def _unlinked(path: Path) -> bool:
    """False where there is no such file. Raises StoreError where it cannot be deleted."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"recording {path}: {error.strerror}", retryable=False) from None
    return True

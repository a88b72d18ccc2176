"""What is to be forgotten: a call, a caller, or all that is old enough.

Rows of a call may still wait in the journal, and would come after their deletion. So the journal is
taken to the database first, and kept from others until the rows are gone. A recording's file goes
before the row that knows of it: a crash in between leaves a row to go on with, never a file that
nobody knows of. A file that cannot be deleted keeps its row, and nothing else from going.

SQLite overwrites what is deleted, also in its write-ahead log. PostgreSQL does when it vacuums.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Table, and_, delete, select

from audiosocket_agent.records import schema
from audiosocket_agent.records.connection import AsyncConnection
from audiosocket_agent.records.ids import first_id
from audiosocket_agent.records.journal import Journal
from audiosocket_agent.records.lookup import same_phone
from audiosocket_agent.records.rows import OPEN
from audiosocket_agent.records.store import Store

_CHUNK: Final = 200
"""Calls that one transaction deletes; others write in between."""
_REPLAY_SECONDS: Final = 30.0
_UP: Final = timedelta(minutes=3)
"""A call that is up writes its row among those every minute."""

_NUMBERS: Final = (
    schema.calls.c.caller,
    schema.live.c.caller,
    schema.tickets.c.caller,
    schema.callbacks.c.number,
)
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
    stuck: dict[str, str] = field(default_factory=dict)
    """Files of recordings that cannot be deleted, and why; their rows stay, to try again."""
    numbers: list[str] = field(default_factory=list)
    """How the caller's was written."""
    ids: list[str] = field(default_factory=list)
    """Of the calls that were to be forgotten."""
    up: list[str] = field(default_factory=list)
    """Calls that go on, and write on: forget them again when they are over."""


async def replay(store: Store, journal: Path) -> None:
    """Take what waits in the journal to the database, where it can be found. Raises StoreError."""
    async with replayed(store, journal):
        pass


async def spellings(store: Store, number: str) -> list[str]:
    """How a telephone number is written in the records: with its country, with a zero, or without.
    Raises StoreError."""
    found: set[str] = set()
    async with store.reading() as connection:
        for column in _NUMBERS:
            found.update((await connection.execute(select(column).distinct())).scalars())
    return sorted(each for each in found if each == number or same_phone(each, number))


async def forget_call(store: Store, journal: Path, call_id: str) -> Erased:
    """Delete all that is known of a call, its tickets and callbacks too. Raises StoreError."""
    erased = Erased(ids=[call_id])
    async with replayed(store, journal):
        await _erase(store, [call_id], erased, promises=True)
    await store.settle()
    return erased


async def forget_caller(store: Store, journal: Path, number: str) -> Erased:
    """Delete all that is known of a number's calls, and all tickets and callbacks that it is in,
    however it is written there. Raises StoreError."""
    erased = Erased()
    async with replayed(store, journal):
        erased.numbers = numbers = await spellings(store, number)
        while ids := await _calls(store, schema.calls.c.caller.in_(numbers)):
            await _erase(store, ids, erased, promises=True)
            erased.ids += ids
        async with store.writing() as connection:
            await _delete(connection, schema.live, schema.live.c.caller.in_(numbers))
            of_caller = schema.tickets.c.caller.in_(numbers)
            erased.tickets += await _delete(connection, schema.tickets, of_caller)
            of_number = schema.callbacks.c.number.in_(numbers)
            erased.callbacks += await _delete(connection, schema.callbacks, of_number)
    await store.settle()
    return erased


async def expire(store: Store, before: datetime) -> Erased:
    """Delete calls that began before, and tickets and callbacks made before that are not open any
    more. Raises StoreError."""
    erased = Erased()
    while ids := await _calls(store, schema.calls.c.started_at < before):
        await _erase(store, ids, erased, promises=False)
    for table in _PARTS:
        last = ""  # of the calls that were seen: where a file is stuck, its row stays
        while ids := await _orphans(store, table, before, last):
            await _erase(store, ids, erased, promises=False)
            last = ids[-1]
    tickets, callbacks = schema.tickets, schema.callbacks
    async with store.writing() as connection:
        await _delete(connection, schema.live, schema.live.c.began_at < before)
        settled = and_(tickets.c.status != OPEN, tickets.c.created_at < before)
        erased.tickets += await _delete(connection, tickets, settled)
        done = and_(callbacks.c.status != OPEN, callbacks.c.created_at < before)
        erased.callbacks += await _delete(connection, callbacks, done)
    await store.settle()
    return erased


@asynccontextmanager
async def replayed(store: Store, directory: Path) -> AsyncIterator[None]:
    """A journal is empty, and stays so. Raises StoreError."""
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


async def _orphans(store: Store, table: Table, before: datetime, after: str) -> list[str]:
    """Some of the calls whose own row was lost at a bound, by rows that are old; those that come
    after one, in their order."""
    of = table.c.call_id
    old = select(of).where(table.c.id < first_id(before), of > after).distinct().order_by(of)
    async with store.reading() as connection:
        return list((await connection.execute(old.limit(_CHUNK))).scalars())


async def _erase(store: Store, ids: Sequence[str], erased: Erased, *, promises: bool) -> None:
    """Delete calls and their parts."""
    calls, live, recordings = schema.calls, schema.live, schema.recordings
    async with store.reading() as connection:
        kept = select(recordings.c.path).where(recordings.c.call_id.in_(ids))
        paths = list((await connection.execute(kept)).scalars())
        up = select(calls.c.id).join(live, live.c.call_id == calls.c.id)
        written = live.c.written_at > datetime.now(UTC) - _UP
        up = up.where(calls.c.id.in_(ids), calls.c.outcome.is_(None), written)
        erased.up += (await connection.execute(up)).scalars()
    stuck: dict[str, str] = {}
    for path in paths:
        try:
            await asyncio.to_thread(Path(path).unlink)
        except FileNotFoundError:
            erased.missing.append(path)
        except OSError as error:
            stuck[path] = error.strerror or str(error)
        else:
            erased.recordings += 1
    erased.stuck |= stuck
    async with store.writing() as connection:
        for table in _PARTS:
            if table is not recordings:
                await _delete(connection, table, table.c.call_id.in_(ids))
        gone = and_(recordings.c.call_id.in_(ids), recordings.c.path.not_in(stuck))
        await _delete(connection, recordings, gone)
        await _delete(connection, live, live.c.call_id.in_(ids))
        if promises:
            tickets, callbacks = schema.tickets, schema.callbacks
            of_call = tickets.c.call_id.in_(ids)
            erased.tickets += await _delete(connection, tickets, of_call)
            of_call = callbacks.c.call_id.in_(ids)
            erased.callbacks += await _delete(connection, callbacks, of_call)
        erased.calls += await _delete(connection, calls, calls.c.id.in_(ids))


async def _delete(connection: AsyncConnection, table: Table, which: Condition) -> int:
    return (await connection.execute(delete(table).where(which))).rowcount

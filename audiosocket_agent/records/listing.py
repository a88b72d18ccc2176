"""What people ask the records."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Select, and_, func, or_, select, update

from audiosocket_agent.records import schema
from audiosocket_agent.records.connection import AsyncConnection
from audiosocket_agent.records.rows import (
    CLOSED,
    OPEN,
    TABLES,
    Call,
    Callback,
    Promise,
    Recording,
    Row,
    Ticket,
    ToolUse,
    Turn,
    Usage,
)
from audiosocket_agent.records.store import Store

UP: Final = "up"
"""Asks for calls that have no outcome yet."""
PAGE_CALLS: Final = 200

_AnyRow = TypeVar("_AnyRow", bound=Row | Promise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which calls; all where nothing is said."""

    since: datetime | None = None
    """Begun then or later."""
    until: datetime | None = None
    """Begun before."""
    agent: str | None = None
    outcome: str | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call and all that belongs to it, each in the order it happened."""

    call: Call
    turns: list[Turn]
    tool_uses: list[ToolUse]
    usage: list[Usage]
    tickets: list[Ticket]
    callbacks: list[Callback]
    recordings: list[Recording]


ALL: Final = Which()


async def calls(store: Store, which: Which = ALL, limit: int = 50) -> list[Call]:
    """The newest calls first. Raises StoreError."""
    async with store.reading() as connection:
        return await _rows(connection, Call, _newest(which).limit(limit))


async def call(store: Store, call_id: str) -> CallRecord | None:
    """One call with all that belongs to it. Raises StoreError."""
    async with store.reading() as connection:
        query = select(schema.calls).where(schema.calls.c.id == call_id)
        found = await _complete(connection, await _rows(connection, Call, query))
    return found[0] if found else None


async def complete(store: Store, which: Which = ALL) -> AsyncIterator[CallRecord]:
    """All calls, the newest first, with all that belongs to them, some hundred in memory at a time.
    Raises StoreError."""
    query = _newest(which).limit(PAGE_CALLS)
    page = query
    while True:
        async with store.reading() as connection:  # one for each: a long one would hold up SQLite
            found = await _complete(connection, await _rows(connection, Call, page))
        for record in found:
            yield record
        if len(found) < PAGE_CALLS:
            return
        page = query.where(_older(found[-1].call))


async def tickets(
    store: Store,
    *,
    status: str | None = None,
    kind: str | None = None,
    caller: str | None = None,
    limit: int = 50,
) -> list[Ticket]:
    """The newest tickets first. Raises StoreError."""
    columns = schema.tickets.c
    query = select(schema.tickets).order_by(columns.created_at.desc(), columns.id.desc())
    for column, wanted in (
        (columns.status, status),
        (columns.kind, kind),
        (columns.caller, caller),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    async with store.reading() as connection:
        return await _rows(connection, Ticket, query.limit(limit))


async def ticket(store: Store, number: str) -> Ticket | None:
    """The ticket of this number. Raises StoreError."""
    async with store.reading() as connection:
        found = await _rows(connection, Ticket, _numbered(number))
    return found[0] if found else None


async def close_ticket(store: Store, number: str, at: datetime) -> Ticket | None:
    """Close a ticket, if it is not closed already; None: there is none. Raises StoreError."""
    columns = schema.tickets.c
    closing = (
        update(schema.tickets)
        .where(columns.number == number, columns.status == OPEN)
        .values(status=CLOSED, closed_at=at)
    )
    async with store.writing() as connection:
        await connection.execute(closing)
        found = await _rows(connection, Ticket, _numbered(number))
    return found[0] if found else None


async def spent(store: Store, since: datetime) -> Decimal:
    """What calls have cost since then, in USD, as far as tokens have a price. Raises StoreError."""
    columns = schema.usage.c
    query = select(func.sum(columns.cost_usd)).where(columns.used_at >= since)
    async with store.reading() as connection:
        return (await connection.execute(query)).scalar() or Decimal(0)


def _newest(which: Which) -> Select[Any]:
    columns = schema.calls.c
    query = select(schema.calls).order_by(columns.started_at.desc(), columns.id.desc())
    if which.since is not None:
        query = query.where(columns.started_at >= which.since)
    if which.until is not None:
        query = query.where(columns.started_at < which.until)
    if which.agent is not None:
        query = query.where(columns.agent == which.agent)
    if which.caller is not None:
        query = query.where(columns.caller == which.caller)
    if which.outcome is not None:
        outcome = None if which.outcome == UP else which.outcome
        query = query.where(columns.outcome.is_not_distinct_from(outcome))
    return query


def _older(last: Call) -> Any:
    started_at, call_id = schema.calls.c.started_at, schema.calls.c.id
    same = and_(started_at == last.started_at, call_id < last.id)
    return or_(started_at < last.started_at, same)


def _numbered(number: str) -> Select[Any]:
    return select(schema.tickets).where(schema.tickets.c.number == number)


async def _complete(connection: AsyncConnection, found: Sequence[Call]) -> list[CallRecord]:
    ids = [call.id for call in found]
    return [
        CallRecord(*parts)
        for parts in zip(
            found,
            await _parts(connection, Turn, ids, schema.turns.c.n),
            await _parts(connection, ToolUse, ids),
            await _parts(connection, Usage, ids),
            await _parts(connection, Ticket, ids),
            await _parts(connection, Callback, ids),
            await _parts(connection, Recording, ids),
            strict=True,
        )
    ]


async def _parts(
    connection: AsyncConnection, kind: type[_AnyRow], ids: Sequence[str], *order: Any
) -> list[list[_AnyRow]]:
    """The rows of one kind, for each of these calls."""
    table = TABLES[kind]
    query = select(table).where(table.c.call_id.in_(ids)).order_by(*order, table.c.id)
    parts: dict[str, list[_AnyRow]] = {call_id: [] for call_id in ids}
    for row in await _rows(connection, kind, query):
        parts[cast("Any", row).call_id].append(row)
    return list(parts.values())


async def _rows(
    connection: AsyncConnection, kind: type[_AnyRow], query: Select[Any]
) -> list[_AnyRow]:
    found = await connection.execute(query)
    return [kind(**row) for row in found.mappings()]

"""What is asked of a business's data while a caller waits, and what proves a caller.

Whoever asks gives it a time (`Store.within`); all here raise StoreError.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, case, func, or_, select, update

from audiosocket_agent.records import schema
from audiosocket_agent.records.cells import PHONE_END, is_whole, phone_digits
from audiosocket_agent.records.names import BETWEEN, MAX_KEY_CHARS, key, likeness, pairs
from audiosocket_agent.records.store import Store

MAX_FAILURES: Final = 10
"""Wrong answers for one account or order, from all calls together, until no answer is right."""
FAILURES_LAST: Final = timedelta(hours=24)
"""So long after the latest. Four digits are guessed in three years of that, on average in half."""

_NEAREST: Final = 40
"""Rows that are compared more closely."""
_MAX_PAIRS: Final = 30

Row = Mapping[str, Any]


# -- proof -----------------------------------------------------------------------------------------


Provable = Table
ORDERS: Final[Provable] = schema.orders
ACCOUNTS: Final[Provable] = schema.accounts


async def prove(
    store: Store, table: Provable, number: str, is_right: Callable[[Row], bool], now: datetime
) -> Row | None:
    """The row of this number, where the answer to what proves the caller is right; None also where
    there is no such row, or where there were too many wrong answers of late, in whatever calls.

    The count is on the disk before anybody is told anything, and of two answers at once one waits
    for the other.
    """
    columns = table.c
    one = select(table).where(columns.number == number).with_for_update()
    async with store.writing() as connection:
        found = (await connection.execute(one)).mappings().first()
        if found is None:
            return None
        row = {**found}
        latest = row["failed_at"]
        failed = row["failed"] if latest is not None and now - latest < FAILURES_LAST else 0
        if failed >= MAX_FAILURES:
            return None
        right = is_right(row)
        tries: dict[str, Any] = {"failed": 0, "failed_at": None}
        if not right:
            tries = {"failed": failed + 1, "failed_at": now}
        await connection.execute(update(table).where(columns.number == number).values(**tries))
    return row if right else None


def same_phone(one: str, other: str) -> bool:
    """Whether two are the same number, one of them perhaps written without its country. What is too
    short to tell is not."""
    shorter, longer = sorted((one, other), key=lambda number: len(phone_digits(number)))
    if is_whole(shorter) and phone_digits(shorter) != phone_digits(longer):
        return False
    end = phone_digits(shorter)
    return len(end) >= PHONE_END and phone_digits(longer).endswith(end)


# -- orders, accounts ------------------------------------------------------------------------------


async def order(store: Store, number: str) -> Row | None:
    return await _first(store, select(schema.orders).where(schema.orders.c.number == number))


async def bills(store: Store, account: str, limit: int) -> list[Row]:
    """The newest first."""
    columns = schema.bills.c
    query = select(schema.bills).where(columns.account == account)
    return await _all(store, query.order_by(columns.period.desc()).limit(limit))


async def sent(store: Store, tool: str, phone: str, since: datetime) -> int:
    """How often a tool may have sent something to a number, however it was shown, in calls that have
    begun since then."""
    uses, calls = schema.tool_uses, schema.calls
    query = (
        select(func.count())
        .select_from(calls.join(uses, uses.c.call_id == calls.c.id))
        .where(
            calls.c.started_at >= since,
            calls.c.caller.endswith(phone_digits(phone)[-PHONE_END:]),
            uses.c.tool == tool,
            uses.c.outcome.in_(("ok", "error", "timeout", "cancelled")),
        )
    )
    async with store.reading() as connection:
        return int((await connection.execute(query)).scalar_one())


# -- names -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alike:
    """A row whose name comes near to what was heard."""

    row: Row
    likeness: float
    """1: it is the same."""


AREAS: Final = schema.areas
PRODUCTS: Final = schema.products


async def alike(
    store: Store, table: Table, heard: str, limit: int, *where: ColumnElement[bool]
) -> list[Alike]:
    """Rows by how near their names come to what was heard, those of the same name first."""
    wanted = key(heard)[:MAX_KEY_CHARS]
    if not wanted:
        return []
    keys = table.c["keys"]
    same = keys.contains(f"{BETWEEN}{wanted}{BETWEEN}", autoescape=True)
    some = list(dict.fromkeys(pairs(wanted)))[:_MAX_PAIRS]
    has = [keys.contains(pair, autoescape=True) for pair in some]
    shared = sum((case((each, 1), else_=0) for each in has), case((same, _MAX_PAIRS), else_=0))
    order = (shared.desc(), func.length(keys), *table.primary_key.columns)
    query = select(table).where(or_(same, *has), *where).order_by(*order).limit(_NEAREST)
    found = [Alike(row, likeness(wanted, row["keys"])) for row in await _all(store, query)]
    near = [each for each in found if each.likeness > 0]
    return sorted(near, key=lambda each: -each.likeness)[:limit]


async def areas_of_pincode(store: Store, pincode: str, limit: int) -> list[Row]:
    columns = schema.areas.c
    query = select(schema.areas).where(columns.pincode == pincode)
    return await _all(store, query.order_by(columns.name).limit(limit))


async def outages(store: Store, area: str, city: str, limit: int) -> list[Row]:
    """Where the supply is off or will be, in an area by its name; the earliest first."""
    columns = schema.outages.c
    here = and_(columns.area_key == key(area), columns.city_key.in_(["", key(city)]))
    query = select(schema.outages).where(here, columns.status != "restored")
    return await _all(store, query.order_by(columns.started_at).limit(limit))


async def weather(store: Store, heard: str, day: date, limit: int) -> list[Alike]:
    """The weather of a day, of places by how near their names come to what was heard."""
    return await alike(store, schema.weather, heard, limit, schema.weather.c.day == day)


# -- reading ---------------------------------------------------------------------------------------


async def _all(store: Store, query: Any) -> list[Row]:
    async with store.reading() as connection:
        return [{**row} for row in (await connection.execute(query)).mappings()]


async def _first(store: Store, query: Any) -> Row | None:
    return next(iter(await _all(store, query.limit(1))), None)

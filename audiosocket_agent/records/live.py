"""Calls that are up, as their rows tell those who did not have them.

A call has one row, of its newest life. Whoever takes a call up again begins a new life of it in the
same moment, so that of two who try one succeeds, and the process that had it before, should it live
after all, writes nothing any more.

All here raise StoreError.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, select, update

from audiosocket_agent.records import schema
from audiosocket_agent.records.rows import LOST, Alive
from audiosocket_agent.records.store import Store


async def take_up(
    store: Store,
    call_id: str,
    instance: str,
    now: datetime,
    since: datetime,
    may: Callable[[Alive], bool],
) -> tuple[Alive, int] | None:
    """Begin a new life of a call for `instance`; returns its row, as it is now, and how many turns of
    it are on the disk. None where there is no row written after `since`, where `may` says no of it as
    it was, or where somebody else has just done so."""
    live, calls, turns = schema.live, schema.calls, schema.turns
    if await store.lacks(live, call_id):  # as most that are asked for
        return None
    wanted = select(live).where(live.c.call_id == call_id, live.c.written_at > since)
    async with store.reading() as connection:
        found = (await connection.execute(wanted)).mappings().first()
    if found is None or not may(row := Alive(**found)):
        return None
    async with store.writing() as connection:
        same = wanted.where(live.c.life == row.life).with_for_update()
        found = (await connection.execute(same)).mappings().first()
        if found is None:
            return None
        row = Alive(**found)
        mine = replace(row, life=row.life + 1, instance=instance)
        ours = {"life": mine.life, "instance": instance, "written_at": now}
        await connection.execute(update(live).where(live.c.call_id == call_id).values(**ours))
        lost = update(calls).where(calls.c.id == call_id, calls.c.outcome == LOST)
        await connection.execute(lost.values(outcome=None, instance=instance))
        last = select(func.max(turns.c.n)).where(turns.c.call_id == call_id)
        return mine, (await connection.execute(last)).scalar() or 0


async def has_been(store: Store, call_id: str) -> bool:
    """Whether there is a record of a call by this name, whatever has become of it."""
    if await store.lacks(schema.calls, call_id):  # as most that are asked for
        return False
    found = select(schema.calls.c.id).where(schema.calls.c.id == call_id)
    async with store.reading() as connection:
        return (await connection.execute(found)).first() is not None


async def forget_stale(store: Store, before: datetime) -> int:
    """Delete the rows of calls that nobody has written since; returns how many."""
    stale = delete(schema.live).where(schema.live.c.written_at <= before)
    async with store.writing() as connection:
        return (await connection.execute(stale)).rowcount

"""Calls that were promised: which are to be made, and that one was."""

from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from audiosocket_agent.records import schema
from audiosocket_agent.records.rows import OPEN, Callback
from audiosocket_agent.records.store import Store

DONE: Final = "done"


async def due(
    store: Store,
    *,
    status: str | None = OPEN,
    until: datetime | None = None,
    limit: int = 50,
) -> list[Callback]:
    """Callbacks, the one that is due first being the first; `status` None: all of them. Raises
    StoreError."""
    columns = schema.callbacks.c
    query = select(schema.callbacks).order_by(columns.due_at, columns.id).limit(limit)
    if status is not None:
        query = query.where(columns.status == status)
    if until is not None:
        query = query.where(columns.due_at < until)
    async with store.reading() as connection:
        return [Callback(**row) for row in (await connection.execute(query)).mappings()]


async def done(store: Store, callback_id: str) -> bool:
    """Somebody has called. False where it was not open any more. Raises StoreError."""
    columns = schema.callbacks.c
    mine = columns.id == callback_id, columns.status == OPEN
    async with store.writing() as connection:
        changed = await connection.execute(
            update(schema.callbacks).where(*mine).values(status=DONE)
        )
    return changed.rowcount > 0

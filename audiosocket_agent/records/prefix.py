"""Rows by how their id begins: nobody types a UUID."""

from typing import Final

from sqlalchemy import Table, select

from audiosocket_agent.errors import AgentError
from audiosocket_agent.records.store import Store

MIN_CHARS: Final = 4
_NAMED: Final = 5  # in an error


class PrefixError(AgentError):
    """It is the beginning of several ids, or is too short to be of one."""


async def find(store: Store, table: Table, prefix: str) -> str | None:
    """The id that begins so; None where none does. Raises PrefixError, StoreError."""
    if len(prefix) < MIN_CHARS:
        raise PrefixError(f"{prefix!r}: {MIN_CHARS} characters of an id are needed, or more")
    begins = table.c.id.startswith(prefix.lower(), autoescape=True)
    query = select(table.c.id).where(begins).order_by(table.c.id).limit(_NAMED + 1)
    async with store.reading() as connection:
        found = list((await connection.execute(query)).scalars())
    if len(found) > 1:
        more = " and others" if len(found) > _NAMED else ""
        named = ", ".join(found[:_NAMED])
        raise PrefixError(f"{prefix!r} is the beginning of {named}{more}")
    return found[0] if found else None

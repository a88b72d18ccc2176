"""How each row is written: so that writing it twice is writing it once."""

from collections.abc import Collection
from importlib import import_module
from typing import Any, Final

from sqlalchemy import Table, and_, bindparam, delete, exists, or_, update

from audiosocket_agent.records import schema
from audiosocket_agent.records.rows import LOST, TABLES, Alive, Call, Gone, Lost


def _write(kind: type[object], dialect: str) -> Any:
    if kind is Lost:
        return _LOSE
    if kind is Gone:
        return _FORGET
    insert = _insert(TABLES[kind], dialect)
    if kind is Alive:
        return _renew(insert)
    return _upsert(insert) if kind is Call else insert.on_conflict_do_nothing()


def _insert(table: Table, dialect: str) -> Any:
    """An INSERT that knows of conflicts; the two dialects say it alike."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def _upsert(insert: Any) -> Any:
    """The row of a call that is over replaces any of the same call, that of a call that is up only its
    like: a journal may bring the beginning after the end. A later call with the same UUID replaces none
    whose end is known."""
    new, old = insert.excluded, schema.calls.c
    its_own = or_(old.started_at == new.started_at, old.outcome == LOST)
    return insert.on_conflict_do_update(
        index_elements=["id"],
        set_={column.name: new[column.name] for column in schema.calls.c if column.name != "id"},
        where=or_(old.outcome.is_(None), and_(new.outcome.is_not(None), its_own)),
    )


def _renew(insert: Any) -> Any:
    """The newest row of a call that is up; that of a process which has lost the call changes nothing."""
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["call_id"],
        set_={
            column.name: new[column.name] for column in schema.live.c if column.name != "call_id"
        },
        where=schema.live.c.life <= new.life,
    )


def upsert(table: Table, dialect: str, key: Collection[str], columns: Collection[str]) -> Any:
    """Takes values of any number of rows; of one that is there, by its key, these columns change."""
    insert = _insert(table, dialect)
    new = insert.excluded
    changed = {name: new[name] for name in columns if name not in key}
    return insert.on_conflict_do_update(index_elements=list(key), set_=changed)


_LOSE: Final = (
    update(schema.calls)
    .where(
        schema.calls.c.instance == bindparam("of"),
        schema.calls.c.outcome.is_(None),
        schema.calls.c.started_at < bindparam("before"),
        ~exists().where(  # it was taken up again meanwhile
            schema.live.c.call_id == schema.calls.c.id,
            schema.live.c.life > 0,
            schema.live.c.written_at >= bindparam("before"),
        ),
    )
    .values(outcome=LOST)
)

_FORGET: Final = delete(schema.live).where(
    schema.live.c.call_id == bindparam("call_id"), schema.live.c.life <= bindparam("life")
)


def write(dialect: str) -> dict[type[object], Any]:
    """By kind; each takes the values of any number of rows."""
    return {kind: _write(kind, dialect) for kind in TABLES}

"""Numbers in a file that an operator has written."""

from typing import TypeVar

from audiosocket_agent.tables.table import Table

T = TypeVar("T", int, float)


def limit(table: Table, key: str) -> float | None:
    """A number of either kind, if there is one."""
    return table.get(key, int) if type(table.values.get(key)) is int else table.get(key, float)


def integer(table: Table, key: str) -> int | None:
    """A whole number, if there is one."""
    if type(table.values.get(key)) is float:
        table.wrong(key, "must be a whole number")
        return None
    return table.get(key, int)


def seconds(table: Table, key: str, least: float, most: float, default: float) -> float:
    """A number in its bounds; one beyond them is noted."""
    value = limit(table, key)
    return default if value is None else _within(table, key, value, least, most)


def whole(table: Table, key: str, least: int, most: int, default: int) -> int:
    """A whole number in its bounds; one beyond them is noted."""
    value = integer(table, key)
    return default if value is None else _within(table, key, value, least, most)


def _within(table: Table, key: str, value: T, least: float, most: float) -> T:
    if not least <= value <= most:
        table.wrong(key, f"must be from {least:g} to {most:g}")
    return value

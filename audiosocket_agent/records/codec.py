"""A row as values for a database, and as a line of the journal.

Every row passes here before it goes anywhere, so that what one database would refuse (a NUL in
PostgreSQL, a lone surrogate in either) is found while it is still one row, not a failed transaction.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any, Final, get_args, get_type_hints

from audiosocket_agent.records.columns import USD_PLACES
from audiosocket_agent.records.errors import RowError
from audiosocket_agent.records.rows import (
    Alive,
    Call,
    Gone,
    Lost,
    Promise,
    Recording,
    Row,
    ToolUse,
    Turn,
    Usage,
)

MAX_TEXT_CHARS: Final = 64 * 1024
"""What is longer is cut: an hour of talk without a pause is less."""
MAX_JSON_CHARS: Final = 256 * 1024
MAX_LINE_BYTES: Final = 4 * (MAX_JSON_CHARS + 16 * MAX_TEXT_CHARS)
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
_MAX_INT: Final = 2**63
_MAX_USD: Final = Decimal(1_000_000)
_NANO: Final = Decimal(1).scaleb(-USD_PLACES)
_DEPTH: Final = 16

_JOURNALLED: Final[Mapping[str, type[Row]]] = {
    kind.__name__: kind for kind in (Call, Turn, ToolUse, Usage, Recording, Lost, Alive, Gone)
}


def values(row: Row | Promise) -> dict[str, Any]:
    """The row by columns. Raises RowError."""
    found: dict[str, Any] = {}
    for name, take, optional in _FIELDS[type(row)]:
        value = getattr(row, name)
        if value is None and optional:
            found[name] = None
            continue
        try:
            found[name] = take(value)
        except RowError as error:
            raise RowError(f"{type(row).__name__}.{name} {error}") from None
        except ArithmeticError:  # beyond a double, or beyond the calendar
            raise RowError(f"{type(row).__name__}.{name} is too large") from None
    return found


def line(row: Row) -> bytes:
    """The row as one line, with its end. Raises RowError."""
    entry = {"kind": type(row).__name__, "row": values(row)}
    return json.dumps(entry, ensure_ascii=False, default=_written).encode() + b"\n"


def row(journalled: bytes) -> Row:
    """What `line` was given. Fields that this version does not know are left out, those that it
    knows and the line has not get their defaults. Raises RowError for what is no such line: torn by
    a crash, or of a kind that is unknown here."""
    try:
        entry = json.loads(journalled)
        kind = _JOURNALLED[entry["kind"]]
        known = {name: (take, optional) for name, take, optional in _FIELDS[kind]}
        return kind(
            **{
                name: _read(*known[name], value)
                for name, value in entry["row"].items()
                if name in known
            }
        )
    except (*_UNREADABLE, RowError):
        raise RowError("is no line of a journal") from None


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read(take: Callable[[Any], Any], optional: bool, value: Any) -> Any:
    if value is None and optional:
        return None
    if take is _time:
        value = datetime.fromisoformat(value)
    elif take is _usd:
        value = Decimal(value)
    return take(value)


# -- what fits which field -------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RowError("should be text")
    if len(value) > MAX_TEXT_CHARS:
        value = value[: MAX_TEXT_CHARS - 1] + "…"
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _MAX_INT:
        raise RowError("should be an integer of 64 bits")
    return value


def _float(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise RowError("should be a finite number")
    return float(value)


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise RowError("should be true or false")
    return value


def _usd(value: object) -> Decimal:
    try:
        if isinstance(value, Decimal) and abs(value) < _MAX_USD:
            return value.quantize(_NANO)
    except InvalidOperation:  # not a number
        pass
    raise RowError(f"should be a decimal below {_MAX_USD}")


def _time(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise RowError("should be a time with a zone")
    return value.astimezone(UTC)


def _json(value: object) -> Any:
    if not isinstance(value, Mapping):
        raise RowError("should be an object of JSON")
    clean = _part(value, 0)
    if len(json.dumps(clean, ensure_ascii=False)) > MAX_JSON_CHARS:
        raise RowError("is too long")
    return clean


def _part(value: object, depth: int) -> Any:
    """A part of JSON, made of what JSON has and nothing else."""
    if depth > _DEPTH:
        raise RowError("is too deep")
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int():
            return _int(value)
        case float():
            return _float(value)
        case list() | tuple():
            return [_part(item, depth + 1) for item in value]
        case Mapping():
            return {_text(key): _part(item, depth + 1) for key, item in value.items()}
    raise RowError("has something that is not JSON")


_TAKES: Final[Mapping[Any, Callable[[Any], Any]]] = {
    str: _text,
    int: _int,
    float: _float,
    bool: _bool,
    Decimal: _usd,
    datetime: _time,
    Mapping[str, Any]: _json,
}


def _fields(kind: type[Row] | type[Promise]) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Name, what takes a value, and whether None is one, of every field."""
    hints = get_type_hints(kind)
    plan = []
    for field in fields(kind):
        kinds = [each for each in get_args(hints[field.name]) if each is not NoneType]
        optional = NoneType in get_args(hints[field.name])
        take = _TAKES[kinds[0] if optional else hints[field.name]]
        plan.append((field.name, take, optional))
    return tuple(plan)


_FIELDS: Final = {kind: _fields(kind) for kind in (*get_args(Row), *get_args(Promise))}

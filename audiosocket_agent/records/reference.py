"""A business's own data: what its tools look up for a caller, and how it gets here.

It comes as CSV files, one of each kind, from wherever it really lives. A file is taken whole or not at
all: every mistake is told with its line and column, and nothing is written while there is one. The
same file twice is the same as once.

The secret digits of an account are kept as they are: four digits have no hash that hides them. What
keeps them is who may read the database, and the count of wrong answers in `lookup.prove`, which an
import leaves alone.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, delete, func, select, tuple_

from audiosocket_agent.errors import AgentError
from audiosocket_agent.localtime import HERE
from audiosocket_agent.records import cells, schema, statements
from audiosocket_agent.records.cells import PHONE_END, Cell
from audiosocket_agent.records.connection import AsyncConnection
from audiosocket_agent.records.names import joined, key
from audiosocket_agent.records.store import Store

MAX_ROWS: Final = 20_000
"""Of a file. Names are looked for in all rows of a kind: with so many it takes a tenth of a second."""
MAX_CHARS: Final = 16 * 1024 * 1024
"""Of a file."""
MAX_MISTAKES: Final = 50
_MAX_SHOWN_CHARS: Final = 40
_CHUNK: Final = 500

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data, and what its file looks like."""

    name: str
    about: str
    table: Table
    cells: tuple[Cell, ...]
    key: tuple[str, ...]
    """The columns that tell rows apart."""
    derive: Callable[[Row], Row] = field(default=lambda row: {})
    """What else is kept of a row."""
    fresh: Mapping[str, Any] = field(default_factory=dict)
    """What a new row begins with; an import leaves it alone afterwards."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done."""

    kind: str
    rows: int
    """Of the file; they are all in the database."""
    added: int
    """Of these, those that were not there before."""
    removed: int
    """Rows that were there and not in the file."""


class ImportRefused(AgentError):
    """A file has mistakes; nothing of it was written. The text has one per line."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


# -- the kinds -------------------------------------------------------------------------------------

_ALSO: Final = cells.text(
    "also_called", "other names, with ; between them", required=False, most=cells.MAX_TEXT_CHARS
)
_EXPECTED: Final = cells.moment("expected_at", required=False)
_NOTE: Final = cells.text("note", required=False, most=200)
_UNTRIED: Final = {"failed": 0}


def _phone_end(row: Row) -> Row:
    return {"phone_end": row["phone"][-PHONE_END:]}


def _names(row: Row, *first: str) -> Row:
    return {"keys": joined([*first, *row["also_called"].split(";")])}


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "orders",
            "what customers have ordered",
            schema.orders,
            (
                cells.number("number", "the order's number"),
                cells.phone("phone"),
                cells.text("items", "what was ordered", most=300),
                cells.amount("amount"),
                cells.currency("currency"),
                cells.text("status", "how far it is", most=60),
                cells.moment("ordered_at"),
                _EXPECTED,
                _NOTE,
            ),
            ("number",),
            _phone_end,
            _UNTRIED,
        ),
        Kind(
            "products",
            "what is sold",
            schema.products,
            (
                cells.number("sku", "the product's number"),
                cells.text("name"),
                _ALSO,
                cells.amount("price"),
                cells.currency("currency"),
                cells.whole("stock"),
                cells.text("unit", "what is counted, as packet", most=30),
                _NOTE,
            ),
            ("sku",),
            lambda row: _names(row, row["name"], row["sku"]),
        ),
        Kind(
            "accounts",
            "customers, and the secret digits that prove them",
            schema.accounts,
            (
                cells.number("number", "the account's number"),
                cells.text("name"),
                cells.phone("phone"),
                cells.text("area"),
                cells.text("address", most=200),
                cells.secret_digits("digits"),
            ),
            ("number",),
            fresh=_UNTRIED,
        ),
        Kind(
            "bills",
            "what an account owes",
            schema.bills,
            (
                cells.number("account", "the account's number"),
                cells.period("period"),
                cells.amount("amount"),
                cells.currency("currency"),
                cells.day("due_on"),
                cells.one_of("status", "unpaid", "paid"),
                cells.measured("units", "units used"),
            ),
            ("account", "period"),
        ),
        Kind(
            "outages",
            "where the supply is off, or will be",
            schema.outages,
            (
                cells.number("number", "the outage's number"),
                cells.text("area", "the area, named as in areas"),
                cells.text("city", "its city; empty: any", required=False),
                cells.text("cause", most=200),
                cells.one_of("status", "ongoing", "planned", "restored"),
                cells.moment("started_at"),
                _EXPECTED,
            ),
            ("number",),
            lambda row: {"area_key": key(row["area"]), "city_key": key(row["city"])},
        ),
        Kind(
            "areas",
            "places, and whether they are supplied",
            schema.areas,
            (
                cells.text("name"),
                cells.text("city"),
                _ALSO,
                cells.pincode("pincode"),
                cells.yes_or_no("supplied"),
                cells.text("office", "who looks after it", required=False, most=200),
            ),
            ("name", "city"),
            lambda row: _names(row, row["name"], row["name"] + row["city"]),
        ),
        Kind(
            "weather",
            "the weather by place and day",
            schema.weather,
            (
                cells.text("place"),
                _ALSO,
                cells.day("day"),
                cells.text("text", "what it will be like", most=200),
                cells.measured("min_c", "°C"),
                cells.measured("max_c", "°C"),
            ),
            ("place", "day"),
            lambda row: _names(row, row["place"]),
        ),
    )
}


# -- the import ------------------------------------------------------------------------------------


async def import_csv(
    store: Store,
    kind: str,
    lines: Iterable[str],
    *,
    file: str = "",
    replace: bool = False,
    now: datetime | None = None,
) -> Imported:
    """Write the rows of a file, over those of the same key; with `replace` those that are not in it
    go. `lines` is the file, opened with newline=""; `file` is what mistakes call it. Times in it are
    in the zone of `now`, the host's where that is None. Raises ImportRefused, StoreError, and KeyError
    for a kind that there is not."""
    of = KINDS[kind]
    rows = _Reader(of, file or f"{kind}.csv", now or datetime.now(HERE)).read(lines)
    dialect = "sqlite" if store.place.file else "postgresql"
    async with store.writing() as connection:
        before = await _count(connection, of.table)
        removed = await _remove_others(connection, of, rows) if replace else 0
        write = statements.upsert(of.table, dialect, of.key, set(rows[0]) - set(of.fresh))
        for at in range(0, len(rows), _CHUNK):
            await connection.execute(write, rows[at : at + _CHUNK])
        after = await _count(connection, of.table)
    return Imported(kind, len(rows), after - (before - removed), removed)


async def _count(connection: AsyncConnection, table: Table) -> int:
    found = await connection.execute(select(func.count()).select_from(table))
    return int(found.scalar_one())


async def _remove_others(connection: AsyncConnection, kind: Kind, rows: Sequence[Row]) -> int:
    columns = [kind.table.c[name] for name in kind.key]
    stay = {tuple(row[name] for name in kind.key) for row in rows}
    there = {tuple(row) for row in await connection.execute(select(*columns))}
    gone = list(there - stay)
    for at in range(0, len(gone), _CHUNK):
        those = tuple_(*columns).in_(gone[at : at + _CHUNK])
        await connection.execute(delete(kind.table).where(those))
    return len(gone)


class _Reader:
    """Reads one file, and collects what is wrong with it."""

    def __init__(self, kind: Kind, file: str, now: datetime) -> None:
        self._kind = kind
        self._file = file
        self._now = now
        self._by_name = {cell.name: cell for cell in kind.cells}
        self._mistakes: list[str] = []

    def read(self, lines: Iterable[str]) -> list[Row]:
        """The rows. Raises ImportRefused."""
        reader = csv.reader(self._bounded(lines), strict=True)
        rows: list[Row] = []
        try:
            header = self._header(next(reader, []))
            for line, record in _numbered(reader):
                if self._mistakes and not header:
                    break
                if len(rows) >= MAX_ROWS:
                    self._wrong(line, f"there are more than {MAX_ROWS} rows")
                    break
                if len(self._mistakes) > MAX_MISTAKES:
                    break
                if any(cell.strip() for cell in record):
                    rows.append(self._row(line, header, record))
        except csv.Error as error:
            self._wrong(reader.line_num, str(error))
        except UnicodeDecodeError:
            self._wrong(reader.line_num + 1, "is not UTF-8")
        except _TooLong:
            self._wrong(reader.line_num + 1, f"the file has more than {MAX_CHARS} characters")
        if not rows and not self._mistakes:
            self._wrong(reader.line_num, "there are no rows")
        self._see_doubles(rows)
        if self._mistakes:
            raise ImportRefused(self._told())
        for row in rows:
            del row[_LINE]
        return rows

    def _bounded(self, lines: Iterable[str]) -> Iterator[str]:
        chars = 0
        for number, line in enumerate(lines):
            chars += len(line)
            if chars > MAX_CHARS:
                raise _TooLong
            yield (
                line.removeprefix("\ufeff") if number == 0 else line
            )  # as a spreadsheet begins one

    def _header(self, record: Sequence[str]) -> list[str]:
        """The names of the columns; none where they cannot be used."""
        names = [name.strip().lower() for name in record]
        known = ", ".join(self._by_name)
        for name in dict.fromkeys(names):
            if name not in self._by_name:
                self._wrong(1, f"no such column; there are {known}", _short(name))
            elif names.count(name) > 1:
                self._wrong(1, "is there twice", name)
        for cell in self._kind.cells:
            if (cell.required or cell.name in self._kind.key) and cell.name not in names:
                self._wrong(1, "is missing", cell.name)
        return [] if self._mistakes else names

    def _row(self, line: int, header: Sequence[str], record: Sequence[str]) -> Row:
        row: Row = {cell.name: cell.empty for cell in self._kind.cells if not cell.required}
        if len(record) != len(header):
            self._wrong(line, f"has {len(record)} cells, the first line has {len(header)}")
            return row
        mistakes = len(self._mistakes)
        for name, written in zip(header, record, strict=True):
            self._cell(line, self._by_name[name], written.strip(), row)
        if len(self._mistakes) == mistakes:
            row |= {**self._kind.fresh, **self._kind.derive(row)}
        return row | {_LINE: line}

    def _cell(self, line: int, cell: Cell, written: str, row: Row) -> None:
        if not written:
            if cell.required:
                self._wrong(line, "is empty", cell.name)
            return
        try:
            row[cell.name] = cell.read(written, self._now)
        except (ValueError, OverflowError):
            shown = "" if cell.secret else f", not {_short(written)!r}"
            self._wrong(line, f"should be {cell.what}{shown}", cell.name)

    def _see_doubles(self, rows: Sequence[Row]) -> None:
        first: dict[tuple[Any, ...], int] = {}
        for row in rows:
            if not all(name in row for name in (_LINE, *self._kind.key)):
                continue  # it has mistakes
            line = row[_LINE]
            earlier = first.setdefault(tuple(row[name] for name in self._kind.key), line)
            if earlier != line:
                self._wrong(line, f"is there already, in line {earlier}", "+".join(self._kind.key))

    def _wrong(self, line: int, what: str, column: str = "") -> None:
        where = f"{self._file}:{line}:" + (f" {column}:" if column else "")
        self._mistakes.append(f"{where} {what}")

    def _told(self) -> list[str]:
        if len(self._mistakes) <= MAX_MISTAKES:
            return self._mistakes
        return [*self._mistakes[:MAX_MISTAKES], f"{self._file}: and more"]


class _TooLong(Exception):
    """There is more in a file than there may be."""


_LINE: Final = ""
"""Where a row has its line while it is read; no column is called so."""


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The records, each with the line it begins in."""
    line = reader.line_num + 1
    for record in reader:
        yield line, record
        line = reader.line_num + 1


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"

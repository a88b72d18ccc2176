"""Calls for other programs: one JSON object per line, or CSV.

A spreadsheet takes a cell that begins with = or @ for a formula, and a caller can choose their name:
such a cell gets an apostrophe in front. A telephone number's + is left alone.
"""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from audiosocket_agent.records.listing import ALL, Which, complete
from audiosocket_agent.records.rows import Call
from audiosocket_agent.records.store import Store

COLUMNS: Final = tuple(field.name for field in fields(Call))

_FORMULA: Final = re.compile(r"[=@\t\r]|[+-](?![0-9 ().-]*$)")


async def json_lines(store: Store, which: Which = ALL) -> AsyncIterator[str]:
    """Every call with all that belongs to it, the newest first. Raises StoreError."""
    async for record in complete(store, which):
        yield json.dumps(asdict(record), ensure_ascii=False, default=_plain) + "\n"


async def csv_lines(store: Store, which: Which = ALL) -> AsyncIterator[str]:
    """A line of names, then a line per call. Raises StoreError."""
    yield _csv(COLUMNS)
    async for record in complete(store, which):
        yield _csv([_cell(getattr(record.call, name)) for name in COLUMNS])


def _csv(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and _FORMULA.match(value):
        return "'" + value
    return value if value is None or isinstance(value, (str, int, float)) else _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:f}"  # a Decimal, not as 1E-9

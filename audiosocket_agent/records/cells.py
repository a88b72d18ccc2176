"""One cell of a CSV file, as its column takes it: a value, or a sentence that says what fits.

Days and times may be said from the day of the import (`today+2`, `now-3h`), so that a sample is never
old and a job that runs each night needs no dates of its own.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from audiosocket_agent.records.names import code

MAX_TEXT_CHARS: Final = 500
MAX_WHOLE: Final = 10**9
MAX_AMOUNT: Final = Decimal(10) ** 9
PHONE_END: Final = 9
"""So many digits at a number's end are the same however its country and trunk prefix are written."""

Read = Callable[[str, datetime], Any]
"""The value of what a cell says, at a moment with the zone of whoever wrote the file. Raises
ValueError."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of a file."""

    name: str
    what: str
    """What fits, for people: `a day, as 2026-11-21 or today+3`."""
    read: Read
    required: bool = True
    empty: Any = ""
    """The value where nothing is said."""
    secret: bool = False
    """A mistake is told without what is there."""


# -- texts -----------------------------------------------------------------------------------------


def text(name: str, what: str = "a text", *, required: bool = True, most: int = 120) -> Cell:
    """Words, in whatever script; spaces and ends of lines between them are one space."""

    def read(cell: str, now: datetime) -> str:
        words = " ".join(cell.split())
        if len(words) > most or any(unicodedata.category(char) in ("Cc", "Cs") for char in words):
            raise ValueError
        return words

    return Cell(name, f"{what}, up to {most} characters", read, required)


def number(name: str, what: str) -> Cell:
    """The number that something was given, of letters and digits."""

    def read(cell: str, now: datetime) -> str:
        found = code(cell)
        if not re.fullmatch(r"[0-9A-Z]{1,32}", found):
            raise ValueError
        return found

    return Cell(name, f"{what}: up to 32 of A-Z and 0-9; signs and spaces do not count", read)


def one_of(name: str, *words: str) -> Cell:
    def read(cell: str, now: datetime) -> str:
        if cell.lower() not in words:
            raise ValueError
        return cell.lower()

    return Cell(name, f"one of {', '.join(words)}", read)


def yes_or_no(name: str) -> Cell:
    known = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}

    def read(cell: str, now: datetime) -> bool:
        if cell.lower() not in known:
            raise ValueError
        return known[cell.lower()]

    return Cell(name, "yes or no", read)


def phone(name: str) -> Cell:
    def read(cell: str, now: datetime) -> str:
        digits = phone_digits(cell)
        if not re.fullmatch(r"\+?[0-9 ().-]{6,24}", cell, re.ASCII) or len(digits) < 6:
            raise ValueError
        return f"+{digits}" if is_whole(cell) else digits

    return Cell(name, "a telephone number, best as +911204567890", read)


def phone_digits(written: str) -> str:
    """The digits of a telephone number, without the zeros of a prefix."""
    return re.sub(r"[^0-9]", "", written).lstrip("0")


def is_whole(written: str) -> bool:
    """Whether a telephone number has its country with it."""
    return written.startswith(("+", "00"))


def pincode(name: str) -> Cell:
    return _matching(name, "a PIN code of six digits", r"[1-9][0-9]{5}")


def secret_digits(name: str) -> Cell:
    what, digits = "the 4 to 12 secret digits", r"[0-9]{4,12}"
    return _matching(name, what, digits, secret=True)


def currency(name: str) -> Cell:
    return _matching(name, "a currency of three letters, as INR", r"[A-Z]{3}")


def period(name: str) -> Cell:
    return _matching(name, "a month, as 2026-10", r"20[0-9]{2}-(0[1-9]|1[0-2])")


def _matching(name: str, what: str, pattern: str, *, secret: bool = False) -> Cell:
    def read(cell: str, now: datetime) -> str:
        if not re.fullmatch(pattern, cell, re.ASCII):
            raise ValueError
        return cell

    return Cell(name, what, read, secret=secret)


# -- numbers ---------------------------------------------------------------------------------------


def amount(name: str) -> Cell:
    def read(cell: str, now: datetime) -> Decimal:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,2})?", cell, re.ASCII):
            raise ValueError
        if (value := Decimal(cell)) > MAX_AMOUNT:
            raise ValueError
        return value

    return Cell(name, "an amount, as 1250.50", read)


def whole(name: str) -> Cell:
    def read(cell: str, now: datetime) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", cell, re.ASCII):
            raise ValueError
        if (value := int(cell)) > MAX_WHOLE:
            raise ValueError
        return value

    return Cell(name, "a whole number", read)


def measured(name: str, what: str) -> Cell:
    """A number that need not be known."""

    def read(cell: str, now: datetime) -> float:
        if not re.fullmatch(r"-?[0-9]{1,7}(\.[0-9]{1,3})?", cell, re.ASCII):
            raise ValueError
        return float(cell)

    return Cell(name, f"{what}, as 21.5", read, required=False, empty=None)


# -- days and times --------------------------------------------------------------------------------

_DAY: Final = re.compile(r"today(?:([+-][0-9]{1,3}))?")
_NOW: Final = re.compile(r"now(?:([+-][0-9]{1,4})([mh]))?")
_YEARS: Final = range(2000, 2100)


def day(name: str) -> Cell:
    def read(cell: str, now: datetime) -> date:
        return _day(cell, now)

    return Cell(name, "a day, as 2026-11-21 or today+3", read)


def moment(name: str, *, required: bool = True) -> Cell:
    """A day and a time. Without a zone it is in that of whoever wrote the file."""

    def read(cell: str, now: datetime) -> datetime:
        found = _moment(cell, now)
        if found.year not in _YEARS:
            raise ValueError
        return found.astimezone(UTC)

    what = "a day and a time, as 2026-11-21 18:30, today-1 18:30 or now-3h"
    return Cell(name, what, read, required, empty=None)


def _day(cell: str, now: datetime) -> date:
    if found := _DAY.fullmatch(cell):
        return now.date() + timedelta(days=int(found[1] or 0))
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cell, re.ASCII):
        raise ValueError
    of_year = date.fromisoformat(cell)
    if of_year.year not in _YEARS:
        raise ValueError
    return of_year


def _moment(cell: str, now: datetime) -> datetime:
    if found := _NOW.fullmatch(cell):
        unit = timedelta(hours=1) if found[2] == "h" else timedelta(minutes=1)
        return (now + int(found[1] or 0) * unit).replace(second=0, microsecond=0)
    said, _, hour = cell.partition(" ")
    if _DAY.fullmatch(said) and re.fullmatch(r"[0-9]{2}:[0-9]{2}", hour, re.ASCII):
        return _at(_day(said, now), time.fromisoformat(hour), now.tzinfo)
    written = datetime.fromisoformat(cell)
    return written if written.tzinfo else _at(written.date(), written.time(), now.tzinfo)


def _at(of: date, hour: time, zone: tzinfo | None) -> datetime:
    return datetime.combine(of, hour, zone)

"""Values as a model is told them: to compute with, and beside that as words to speak.

Words are English; the model says them in the caller's language. What must not be said wrong is the
number, the day and the hour, and these a model gets wrong from ISO dates more often than from words.
"""

from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NEAR: Final = {-1: "yesterday, ", 0: "today, ", 1: "tomorrow, "}
_GROUP: Final = 4


def digits(number: str) -> str:
    """One by one, in groups: `4 8 2 0, 5 9 1 7`."""
    groups = (number[at : at + _GROUP] for at in range(0, len(number), _GROUP))
    return ", ".join(" ".join(group) for group in groups)


def day(of: date, today: date) -> str:
    """`tomorrow, Friday 20 November 2026`."""
    near = _NEAR.get((of - today) // timedelta(days=1), "")
    return f"{near}{_DAYS[of.weekday()]} {of.day} {_MONTHS[of.month - 1]} {of.year}"


def moment(at: datetime, now: datetime, zone: tzinfo) -> str:
    """`today, Thursday 19 November 2026, 6:30 pm`."""
    here = at.astimezone(zone)
    half = "am" if here.hour < 12 else "pm"
    hour = f"{(here.hour - 1) % 12 + 1}:{here.minute:02} {half}"
    return f"{day(here.date(), now.astimezone(zone).date())}, {hour}"


def month(period: str) -> str:
    """`October 2026`, of 2026-10."""
    year, _, number = period.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}"


def local(at: datetime, zone: tzinfo) -> str:
    """ISO, to the minute."""
    return at.astimezone(zone).isoformat(timespec="minutes")


def when(name: str, at: datetime | None, now: datetime, zone: tzinfo) -> dict[str, Any]:
    """A moment under its name, and its words; nothing where it is not known."""
    if at is None:
        return {}
    return {name: local(at, zone), f"{name}_in_words": moment(at, now, zone)}


def money(value: Decimal) -> int | float:
    """Without a fraction where there is none."""
    return int(value) if value == value.to_integral_value() else float(value)

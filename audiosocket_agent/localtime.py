"""The zone of this host, with its summers and winters.

`datetime.now().astimezone().tzinfo` is today's offset from UTC, and an hour wrong for a day on the other
side of a change of the clocks.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final


class _Here(tzinfo):
    """What the host's clock shows, at whatever time."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return None if at is None else _here(at).utcoffset()

    def tzname(self, at: datetime | None) -> str | None:
        return None if at is None else _here(at).tzname()

    def dst(self, at: datetime | None) -> timedelta | None:
        return None  # part of the offset; how much of it, the host does not say

    def fromutc(self, at: datetime) -> datetime:
        here = at.replace(tzinfo=UTC).astimezone()
        shown = here.replace(tzinfo=self)
        # an hour that the clock shows twice: the later one, if it is not the earlier
        return shown if shown.utcoffset() == here.utcoffset() else shown.replace(fold=1)


def _here(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=None).astimezone()
    except ValueError as error:  # at the ends of the calendar; as of any other zone
        raise OverflowError(str(error)) from None


HERE: Final[tzinfo] = _Here()

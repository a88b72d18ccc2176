"""Values as a model is told them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from audiosocket_agent.business import say
from tests.business.talk import INDIA, LOCAL_NOON


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-11-19T18:30", "today, Friday 20 November 2026, 12:00 am"),
        ("2026-11-20T06:29", "today, Friday 20 November 2026, 11:59 am"),
        ("2026-11-20T06:30", "today, Friday 20 November 2026, 12:00 pm"),
        ("2026-11-21T18:29", "tomorrow, Saturday 21 November 2026, 11:59 pm"),
        ("2026-11-18T20:00", "yesterday, Thursday 19 November 2026, 1:30 am"),
        ("2027-01-01T00:05", "Friday 1 January 2027, 5:35 am"),
    ],
)
def test_a_moment_is_told_in_the_callers_zone(at: str, words: str) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert say.moment(moment, LOCAL_NOON, INDIA) == words


def test_a_number_is_told_in_groups() -> None:
    assert say.digits("48205917") == "4 8 2 0, 5 9 1 7"
    assert say.digits("12345") == "1 2 3 4, 5"


def test_what_has_no_fraction_is_told_without() -> None:
    assert [say.money(Decimal(text)) for text in ("303.00", "0.99", "0")] == [303, 0.99, 0]
    assert isinstance(say.money(Decimal("303.00")), int)


def test_a_month_has_a_name() -> None:
    assert say.month("2026-10") == "October 2026"
    assert say.day(date(2026, 11, 22), LOCAL_NOON.date()) == "Sunday 22 November 2026"

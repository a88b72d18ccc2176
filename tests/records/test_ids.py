"""Ids of rows, and numbers that are said over the telephone."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from audiosocket_agent.records.ids import (
    TICKET_DIGITS,
    first_id,
    read_ticket_number,
    ticket_number,
    uuid7,
)


def test_an_id_is_a_uuid_of_version_7_and_says_when() -> None:
    now = datetime.now(UTC)
    made = uuid.UUID(uuid7())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert abs((made.int >> 80) / 1000 - now.timestamp()) < 60


def test_ids_are_all_different_and_sort_as_they_were_made() -> None:
    ids = [uuid7() for _ in range(2000)]
    assert len(set(ids)) == 2000
    times = [name[:13] for name in ids]
    assert times == sorted(times)


def test_the_first_id_of_a_time_parts_those_made_before_from_those_made_after() -> None:
    now = datetime.now(UTC)
    assert first_id(now - timedelta(minutes=1)) < uuid7() < first_id(now + timedelta(minutes=1))


@pytest.fixture(scope="module")
def numbers() -> list[str]:
    return [ticket_number() for _ in range(300)]


def test_a_number_is_eight_digits_and_never_two_alike_in_a_row(numbers: list[str]) -> None:
    for number in numbers:
        assert len(number) == TICKET_DIGITS
        assert number.isascii()
        assert number.isdigit()
        assert number[0] != "0"
        assert all(one != other for one, other in itertools.pairwise(number))
    assert len(set(numbers)) > 290


def test_every_single_wrong_digit_is_noticed(numbers: list[str]) -> None:
    for number in numbers:
        for place, digit in itertools.product(range(TICKET_DIGITS), "0123456789"):
            heard = number[:place] + digit + number[place + 1 :]
            assert read_ticket_number(heard) == (number if digit == number[place] else None)


def test_two_neighbours_that_change_places_are_noticed(numbers: list[str]) -> None:
    for number in numbers:
        for place in range(TICKET_DIGITS - 1):
            swapped = number[place + 1] + number[place]
            assert read_ticket_number(number[:place] + swapped + number[place + 2 :]) is None


def test_a_number_is_understood_however_it_is_written() -> None:
    number = next(made for made in iter(ticket_number, None) if made.startswith("4"))
    hindi = number.translate({ord(str(digit)): 0x966 + digit for digit in range(10)})
    for heard in (number, f"{number[:4]} {number[4:]}", f"ticket {'-'.join(number)}.", hindi):
        assert read_ticket_number(heard) == number
    for heard in ("", number[:-1], number + "0", "twelve", "²²²²²²²²"):
        assert read_ticket_number(heard) is None

"""Digits, as they are pressed."""

import pytest

from audiosocket_agent.call.digits import DigitCollector, DigitsWanted, Ending


def entry(most: int = 4, terminator: str = "#", timeout_s: float = 5.0) -> DigitCollector:
    return DigitCollector(DigitsWanted(most, terminator, timeout_s, secret=False), now=100.0)


@pytest.mark.parametrize(
    ("pressed", "digits", "ending"),
    [
        ("", "", None),
        ("12", "12", None),
        ("1234", "1234", Ending.COMPLETE),
        ("12345", "1234", Ending.COMPLETE),
        ("12#", "12", Ending.TERMINATOR),
        ("#", "", Ending.TERMINATOR),
        ("12#34", "12", Ending.TERMINATOR),
        ("1*", "1*", None),
    ],
)
def test_so_many_are_enough_and_the_terminator_ends_them(
    pressed: str, digits: str, ending: Ending | None
) -> None:
    collected = entry()
    for digit in pressed:
        collected.press(digit, now=100.0)
    assert (collected.digits, collected.ending) == (digits, ending)


def test_without_a_terminator_every_key_is_a_digit() -> None:
    collected = entry(terminator="")
    collected.press("#", now=100.0)
    assert collected.digits == "#"


def test_the_next_digit_is_waited_for_and_no_longer() -> None:
    collected = entry()
    assert collected.due == 105.0
    collected.press("1", now=104.0)
    assert collected.due == 109.0
    collected.elapse(108.9, agent_speaks=False)
    collected.press("2", now=108.9)
    collected.elapse(113.9, agent_speaks=False)
    assert (collected.digits, collected.ending) == ("12", Ending.TIMEOUT)
    collected.press("3", now=114.0)
    assert collected.digits == "12"


def test_the_wait_begins_when_the_agent_has_asked() -> None:
    collected = entry()
    collected.elapse(105.0, agent_speaks=True)
    assert collected.ending is None
    assert collected.due == 110.0


def test_time_does_not_change_what_is_complete() -> None:
    collected = entry(most=1)
    collected.press("1", now=101.0)
    collected.elapse(999.0, agent_speaks=False)
    assert collected.ending is Ending.COMPLETE

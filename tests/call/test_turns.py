"""Whether the service's detection of the caller's turns is still relied on."""

import pytest

from audiosocket_agent.call.turns import DETECTION, FAILURES, Detection, TurnMode
from audiosocket_agent.call.watchdog import Fault


@pytest.mark.parametrize("fault", DETECTION)
def test_two_failures_are_enough(fault: Fault) -> None:
    detection = Detection(TurnMode.AUTO)
    told = [detection.failed(fault, caller_waits=True) for _ in range(FAILURES + 2)]
    assert told == [False, True, True, True]


@pytest.mark.parametrize("fault", set(Fault) - DETECTION)
def test_what_has_nothing_to_do_with_it_is_not_held_against_it(fault: Fault) -> None:
    detection = Detection(TurnMode.AUTO)
    assert not any(detection.failed(fault, caller_waits=True) for _ in range(10))


def test_nor_an_answer_that_is_missing_where_the_caller_said_nothing() -> None:
    detection = Detection(TurnMode.AUTO)
    assert not any(detection.failed(Fault.NO_ANSWER, caller_waits=False) for _ in range(10))
    assert not detection.failed(Fault.PHANTOM, caller_waits=False)
    assert detection.failed(Fault.PHANTOM, caller_waits=False)


@pytest.mark.parametrize("mode", [TurnMode.SERVER, TurnMode.LOCAL])
def test_only_auto_changes(mode: TurnMode) -> None:
    detection = Detection(mode)
    assert not any(detection.failed(Fault.MISSED, caller_waits=True) for _ in range(10))

"""When a process is asked whether it can carry another call. Times are seconds."""

import pytest

from audiosocket_agent.overload import PROBE_SECONDS, Overload

MIB = 2**20


class Loop:
    """A loop that is probed whenever it can."""

    def __init__(self, overload: Overload) -> None:
        self.overload = overload
        self.now = 100.0
        self.wait_s = overload.probed(self.now)

    def runs(self, seconds: float, late_s: float = 0.0, every: int = 1) -> None:
        """Time passes; every so many-th probe comes late."""
        for number in range(round(seconds / PROBE_SECONDS)):
            self.now += self.wait_s + (late_s if number % every == 0 else 0.0)
            self.wait_s = self.overload.probed(self.now)

    def stalls(self, seconds: float) -> None:
        self.now += self.wait_s + seconds
        self.wait_s = self.overload.probed(self.now)


@pytest.fixture
def loop() -> Loop:
    loop = Loop(Overload(max_lag_s=0.05))
    loop.runs(6.0)
    return loop


def test_a_loop_that_runs_in_time_takes_calls(loop: Loop) -> None:
    assert loop.wait_s == pytest.approx(PROBE_SECONDS)
    loop.runs(60.0, late_s=0.04)
    assert loop.overload.reason == ""


def test_a_loop_that_is_late_takes_none_until_it_has_been_well_for_a_while(loop: Loop) -> None:
    loop.runs(2.0, late_s=0.06)
    assert loop.overload.reason == "loop_lag"
    assert loop.overload.lag_s == pytest.approx(0.06)
    loop.runs(4.0)
    assert loop.overload.reason == "loop_lag"
    loop.runs(1.0)
    assert loop.overload.reason == ""


def test_between_the_limit_and_its_half_it_stays_as_it_was(loop: Loop) -> None:
    loop.runs(10.0, late_s=0.04)
    assert loop.overload.reason == ""
    loop.runs(10.0, late_s=0.06)
    assert loop.overload.reason == "loop_lag"
    loop.runs(10.0, late_s=0.04)
    assert loop.overload.reason == "loop_lag"
    loop.runs(10.0, late_s=0.02)
    assert loop.overload.reason == ""


def test_one_timer_in_twenty_may_be_late(loop: Loop) -> None:
    loop.runs(10.0, late_s=0.09, every=20)
    assert loop.overload.reason == ""
    loop.runs(10.0, late_s=0.09, every=5)
    assert loop.overload.reason == "loop_lag"


@pytest.mark.parametrize(("seconds", "reason"), [(0.4, ""), (0.8, "loop_lag"), (30.0, "loop_lag")])
def test_a_stall_counts_for_as_long_as_it_was(loop: Loop, seconds: float, reason: str) -> None:
    loop.stalls(seconds)
    assert loop.overload.reason == reason
    loop.runs(5.0)
    assert loop.overload.reason == ""


def test_memory_over_its_bound_takes_none_until_there_is_some_room() -> None:
    overload = Overload(max_memory_bytes=100 * MIB)
    for mib, reason in ((90, ""), (101, "memory"), (99, "memory"), (95, ""), (99, "")):
        overload.measured(mib * MIB)
        assert overload.reason == reason


def test_without_bounds_there_is_no_reason() -> None:
    overload = Overload()
    loop = Loop(overload)
    loop.stalls(10.0)
    overload.measured(2**40)
    assert overload.reason == ""

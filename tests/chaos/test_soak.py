"""The verdict of `make soak`, on samples whose story is known."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.chaos.house import NOTHING, Traces
from tests.chaos.soak import SAMPLE_S, Sample, Soak
from tests.chaos.talk import Outcome

CALLS_A_MINUTE = 78
"""Of 20 at a time."""
BLOCK_KB = 1024
"""What the interpreter takes from the system at a time."""


def soak(
    minutes: float, grown_kb: Callable[[float], float], left: Traces = NOTHING, lost: int = 0
) -> Soak:
    """`grown_kb`: of so many calls. The process is weighed in pages, and 40 of them come and go."""
    chance = np.random.default_rng(1)
    samples = []
    for at in np.arange(15.0, minutes * 60, SAMPLE_S):
        calls = at / 60 * CALLS_A_MINUTE
        rss = 140_000 + grown_kb(calls) + 4 * chance.integers(-20, 20)
        samples.append(Sample(float(at), int(rss), Traces(120, 48, 15)))
    outcomes = [Outcome(finished=n >= lost) for n in range(round(minutes * CALLS_A_MINUTE))]
    idle = 126_000, 138_000, 138_000 + int(grown_kb(minutes * CALLS_A_MINUTE))
    return Soak(samples, outcomes, left, idle, minutes)


def in_blocks(kb_a_call: float) -> Callable[[float], float]:
    return lambda calls: calls * kb_a_call // BLOCK_KB * BLOCK_KB


def once(kb: float, after_calls: float) -> Callable[[float], float]:
    return lambda calls: kb * (calls > after_calls)


@pytest.mark.parametrize(
    ("minutes", "grows"),
    [
        (5, lambda calls: 0.0),
        (5, lambda calls: 13_000 * calls / (calls + 200)),  # what fills, and then is full
        (30, once(4 * BLOCK_KB, 1200)),
        (30, once(BLOCK_KB, 1640)),
        (30, in_blocks(1.0)),  # 0.8 MB in 10 minutes
    ],
)
def test_what_does_not_grow_is_right(minutes: float, grows: Callable[[float], float]) -> None:
    assert not soak(minutes, grows).wrong


@pytest.mark.parametrize(("minutes", "kb_a_call"), [(5, 45.0), (30, 20.0), (30, 2.0)])
def test_a_leak_is_told(minutes: float, kb_a_call: float) -> None:
    [wrong] = soak(minutes, in_blocks(kb_a_call)).wrong
    assert wrong.startswith("memory grows by")


def test_calls_that_were_lost_and_what_is_left_are_told() -> None:
    done = soak(5, lambda calls: 0.0, Traces(0, 2, 0), lost=1)
    assert [each.partition(":")[0] for each in done.wrong] == ["1 calls lost", "left behind"]

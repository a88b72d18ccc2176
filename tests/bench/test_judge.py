"""What a run is judged by: pauses, lateness, medians."""

from array import array
from dataclasses import replace

import numpy as np
import pytest

from tests.bench.capacity.callers import Notes, Reply
from tests.bench.capacity.judge import Result, Seen, disturbance, figures, ratio, summary
from tests.bench.capacity.pauses import Pauses, Span, at_once
from tests.bench.capacity.stand_in import FIRST_TONE_HZ, Heard

RESULT = Result(
    who="service",
    path="untouched",
    calls=100,
    cpu_ms=2.5,
    talk=45.0,
    lost=0,
    replies=300,
    broken=0,
    greeting_p50=15.0,
    greeting_p99=30.0,
    up_p50=0.3,
    up_p99=1.0,
    down_p50=0.4,
    down_p99=1.5,
    stop_p50=60.0,
    stop_max=80.0,
    spacing_p99=1.5,
    spacing_p999=3.0,
    gaps=0,
    rss_mb=100.0,
    pss_mb=95.0,
    empty_rss_mb=80.0,
    empty_pss_mb=75.0,
    left_out=1.0,
    paused=0.5,
    others=1.0,
    late=0.1,
)


# -- pauses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ([(1.0, 1.1)], [(1.0, 1.1)], [(1.0, 1.1)]),
        ([(1.0, 1.1)], [(1.05, 1.2)], [(1.0, 1.2)]),  # the whole of both
        ([(1.0, 1.1)], [], []),  # a core that was busy is no pause
        ([(1.0, 1.1)], [(1.2, 1.3)], []),
        ([(1.0, 1.1), (2.0, 2.1)], [(2.0, 2.1)], [(2.0, 2.1)]),
        ([(1.0, 1.1), (1.15, 1.2)], [(1.0, 1.3)], [(1.0, 1.3)]),  # one, seen as two
    ],
)
def test_a_pause_is_what_both_cores_missed(
    one: list[Span], other: list[Span], both: list[Span]
) -> None:
    assert at_once(one, other) == both
    assert at_once(other, one) == both


@pytest.mark.parametrize(
    ("since", "until", "touches"),
    [
        (0.90, 0.99, False),
        (0.98, 1.01, True),
        (1.02, 1.04, True),
        (0.90, 1.50, True),
        (1.11, 1.20, True),  # what was due in the pause comes in a burst after it
        (1.13, 1.20, False),
        (2.01, 2.02, True),
    ],
)
def test_what_touches_a_pause_is_left_out(since: float, until: float, touches: bool) -> None:
    assert Pauses([(1.0, 1.1), (2.0, 2.1)]).touch(since, until) is touches


def test_how_much_of_a_time_was_pauses() -> None:
    assert Pauses([(1.0, 1.1), (2.0, 2.5)]).seconds(1.05, 2.25) == pytest.approx(0.3)


# -- one run ---------------------------------------------------------------------------------------


def greeted(*came: float) -> Notes:
    """A call that is answered at 1.0, and hears frames of its greeting then and at these times."""
    tone = 8_000 * np.sin(2 * np.pi * FIRST_TONE_HZ * np.arange(24_000) / 24_000)
    call = Notes(connected=0.99, tone=bytearray(tone.astype("<i2").tobytes()), tone_rate_hz=24_000)
    call.replies = [Reply(1.0, came[-1], frames=100), Reply(3.5, 4.0)]
    call.came = array("d", came)
    call.gaps = array(
        "d", [after - before for before, after in zip((1.0, *came), came, strict=False)]
    )
    return call


def seen(
    call: Notes,
    *,
    pauses: tuple[Span, ...] = (),
    late: tuple[Span, ...] = (),
    burst: Span | None = None,
    newcomers: tuple[Notes, ...] = (),
) -> Seen:
    return Seen(
        notes=[call],
        heard=[Heard(replies_begin=[0.995])],
        late=late,
        pauses=Pauses(pauses),
        window=(1.0, 2.0),
        burst=burst,
        newcomers=newcomers,
    )


def test_a_frame_that_is_late_is_a_gap() -> None:
    found = figures(seen(greeted(1.02, 1.08, 1.10)))
    assert found["gaps"] == 1
    assert found["spacing_p999"] == 40.0
    assert found["left_out"] == 0.0
    assert found["down_p50"] == 5.0
    assert found["greeting_p50"] == 10.0


def test_one_that_a_pause_made_late_is_left_out() -> None:
    found = figures(seen(greeted(1.02, 1.08, 1.12), pauses=((1.03, 1.07),)))
    assert found["gaps"] == 0
    assert found["left_out"] == pytest.approx(66.7)
    assert found["spacing_p99"] == 0.0  # of the first; 1.12 is still its aftermath


def test_our_own_lateness_excuses_no_gap() -> None:
    found = figures(seen(greeted(1.02, 1.08), late=((1.03, 1.09),)))
    assert found["gaps"] == 1
    assert found["late"] == 0.1  # of a thousand milliseconds


def test_lateness_in_a_pause_is_not_ours() -> None:
    found = figures(seen(greeted(1.02), late=((1.03, 1.09),), pauses=((1.03, 1.08),)))
    assert found["late"] == 0.0


def test_a_call_that_is_never_greeted_is_broken() -> None:
    assert figures(seen(Notes(connected=1.0)))["broken"] == 1


def test_a_reply_that_is_cut_short_is_broken() -> None:
    call = greeted(1.02)
    call.replies[0].frames = 60
    assert figures(seen(call))["broken"] == 1
    call.replies[0].cut = True  # by the caller
    assert figures(seen(call))["broken"] == 0


def test_a_burst_is_judged_by_itself() -> None:
    up, late = greeted(1.02, 1.08, 5.00, 5.07), greeted(5.3)
    late.connected, late.replies[0].begins = 4.9, 5.0
    found = figures(seen(up, burst=(4.5, 7.5), newcomers=(late,)))
    assert found["burst_greeting_p99"] == pytest.approx(100.0)
    assert found["burst_spacing_p99"] == pytest.approx(3900.0)
    assert found["gaps"] == 1  # before the burst


# -- several ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (RESULT, ""),
        (replace(RESULT, late=1.5), "1.5 % of our own frames were late"),
        (replace(RESULT, others=7.0), "others had 7.0 % of the service's core"),
        (replace(RESULT, paused=6.0), "the machine was paused for 6.0 % of the time"),
        (replace(RESULT, gaps=500, lost=3, cpu_ms=9.0, spacing_p99=80.0), ""),
    ],
)
def test_runs_are_discarded_for_their_surroundings_alone(result: Result, reason: str) -> None:
    assert disturbance(result) == reason


def test_several_runs_are_their_medians_and_all_their_faults() -> None:
    runs = [
        replace(RESULT, cpu_ms=2.0, gaps=0, stop_max=80.0, greeting_p50=None),
        replace(RESULT, cpu_ms=9.0, gaps=7, stop_max=95.0),
        replace(RESULT, cpu_ms=3.0, gaps=1, stop_max=70.0),
    ]
    whole = summary(runs)
    assert whole.runs == 3
    assert whole.calls == 100
    assert whole.cpu_ms == 3.0
    assert whole.gaps == 8
    assert whole.replies == 900
    assert whole.stop_max == 95.0
    assert whole.greeting_p50 == 15.0


def test_the_ratio_is_of_runs_side_by_side() -> None:
    services = [replace(RESULT, cpu_ms=ms) for ms in (2.0, 4.0, 3.0)]
    floors = [replace(RESULT, who="floor", cpu_ms=ms) for ms in (2.0, 3.2, 2.0)]
    assert ratio(services, floors) == 1.25
    assert ratio(services, []) is None

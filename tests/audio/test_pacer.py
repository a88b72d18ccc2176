"""The 20 ms clock of a call, with the arithmetic beside it. Times in milliseconds from the accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.audio import FRAME_SECONDS
from audiosocket_agent.audio.pacer import EARLY_SECONDS, Pacer


def ms(milliseconds: float) -> float:
    """Any monotonic clock; this one is an hour old."""
    return 3600.0 + milliseconds / 1000


def rested(*, until: float = 0) -> Pacer:
    """A call at rest whose next frame is due at `until`."""
    pacer = Pacer(ms(0))
    for at in range(0, int(until), 20):
        assert pacer.take(ms(at)) == 1
    return pacer


def due(pacer: Pacer) -> float:
    return round((pacer.due - ms(0)) * 1000, 6)


@pytest.mark.parametrize(
    ("now", "frames", "next_due", "skipped"),
    [
        # due at 100
        (90, 0, 100, 0),  # 10 early: not yet
        (97.9, 0, 100, 0),  # 2.1 early: not yet
        (98.1, 1, 120, 0),  # 1.9 early: timers are no better; the schedule does not move
        (100, 1, 120, 0),
        (101, 1, 120, 0),  # 1 late
        (119.9, 1, 120, 0),  # 19.9 late: the next one follows 0.1 later
        (120.1, 2, 140, 0),  # those of 100 and 120
        (139.9, 2, 140, 0),
        (159.9, 3, 160, 0),  # 59.9 late: 100, 120, 140 in a burst
        (160.1, 1, 180, 60),  # more than 60 late: only that of 160; 100, 120, 140 are given up
        (161, 1, 180, 60),
        (179.9, 1, 180, 60),
        (180.1, 1, 200, 80),
        (400.1, 1, 420, 300),  # 300 late: 15 given up
        (3_600_100.1, 1, 3_600_120, 3_600_000),  # the machine slept for an hour
    ],
)
def test_frames_owed(now: float, frames: int, next_due: float, skipped: float) -> None:
    pacer = rested(until=100)
    assert pacer.take(ms(now)) == frames
    assert due(pacer) == next_due
    assert round(pacer.skipped_seconds * 1000, 6) == skipped


def test_a_frame_that_leaves_early_keeps_its_slot() -> None:
    pacer = rested(until=100)
    slots = []
    for at in (87, 107, 127):
        assert pacer.take_early(ms(at)) if at == 87 else pacer.take(ms(at)) == 1
        slots.append(round((pacer.slot - ms(0)) * 1000, 6))
    pacer.give_back()
    assert pacer.take(ms(160)) == 1
    slots.append(round((pacer.slot - ms(0)) * 1000, 6))
    assert slots == [100, 120, 140, 160]


def test_at_60_ms_late_nothing_is_given_up() -> None:
    pacer = rested(until=100)
    owed = pacer.take(ms(160))
    assert owed in (3, 4)  # 160 is due in this very moment: floats decide
    assert due(pacer) == 100 + owed * 20
    assert pacer.skipped_seconds == 0


def test_a_late_frame_does_not_move_those_after_it() -> None:
    pacer = rested()
    sent = [pacer.take(ms(at)) for at in (0, 27, 40, 75, 80, 100)]
    assert sent == [1, 1, 1, 1, 1, 1]
    assert due(pacer) == 120


def test_a_reply_borrows_and_the_next_silence_gives_back() -> None:
    pacer = rested(until=40)
    assert pacer.take_early(ms(27))  # 40 - 27 = 13 borrowed
    assert due(pacer) == 47
    assert pacer.take(ms(47)) == 1
    assert due(pacer) == 67
    assert pacer.take(ms(67)) == 1
    pacer.give_back()  # that was silence: 87 + 13
    assert due(pacer) == 100
    pacer.give_back()  # once
    assert due(pacer) == 100


def test_replies_without_a_silence_between_borrow_40_ms_at_the_most() -> None:
    pacer = rested(until=40)
    assert pacer.take_early(ms(23))  # 17 borrowed; next due 43
    assert pacer.take_early(ms(25))  # 18 more = 35; next due 45
    assert not pacer.take_early(ms(39))  # 6 more would be 41
    assert pacer.take_early(ms(41))  # 4 more = 39; next due 61
    assert pacer.take(ms(61)) == 1
    pacer.give_back()  # 81 + 39
    assert due(pacer) == 120


def test_a_whole_interval_may_be_borrowed() -> None:
    pacer = rested(until=40)
    assert pacer.take_early(ms(20))
    assert due(pacer) == 40


@pytest.mark.parametrize("now", [40, 41, 99])
def test_a_frame_that_is_due_anyway_is_not_early(now: float) -> None:
    pacer = rested(until=40)
    assert not pacer.take_early(ms(now))
    assert due(pacer) == 40


def test_a_reply_that_comes_right_after_a_frame_that_was_early_itself_does_not_wait() -> None:
    pacer = rested(until=40)
    assert pacer.take(ms(39)) == 1  # shared a wake-up with another call
    assert pacer.take_early(ms(39.1))
    assert due(pacer) == pytest.approx(59.1)
    assert pacer.take(ms(60)) == 1  # when a ticker comes that waits for 60
    pacer.give_back()
    assert due(pacer) == 100


def test_in_the_long_interval_that_gives_back_nothing_is_early_until_its_last_22_ms() -> None:
    pacer = rested(until=40)
    assert pacer.take_early(ms(27))
    assert pacer.take(ms(47)) == 1
    pacer.give_back()  # 67 + 13 = 80
    assert not pacer.take_early(ms(57.9))  # a ticker that waits for 80 would not see an earlier due
    assert pacer.take_early(ms(61))
    assert due(pacer) == 81


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wake"), st.floats(-0.0019, 0.1) | st.floats(0, 2), st.just(0)),
        st.tuples(st.just("reply"), st.floats(0, 1), st.integers(1, 30)),
    ),
    max_size=60,
)


@given(st.floats(0, 1e7), _STEPS)
def test_over_a_call_there_is_a_frame_for_every_20_ms(
    start: float, steps: list[tuple[str, float, int]]
) -> None:
    pacer, now, frames, to_speak = Pacer(start), start, 0, 0
    for what, amount, length in [*steps, *[("wake", 0.0, 0)] * 31]:
        before = pacer.due
        if what == "reply":  # comes somewhere in the interval
            now += amount * max(0.0, pacer.due - now)
            to_speak = to_speak or length
            if pacer.take_early(now):
                frames, to_speak = frames + 1, to_speak - 1
        else:
            now = max(now, pacer.due + amount)
            owed = pacer.take(now)
            assert 1 <= owed <= 4
            for _ in range(owed):
                frames += 1
                if to_speak:
                    to_speak -= 1
                else:
                    pacer.give_back()
        assert pacer.due >= before  # a ticker only looks for what moves later
        assert pacer.due > now - 1e-6  # and must have something to wait for
    # all replies are over and all is given back: the call stands on the clock it began with
    assert frames * FRAME_SECONDS + pacer.skipped_seconds == pytest.approx(
        pacer.due - start, abs=1e-4
    )
    assert pacer.due - now <= 3 * FRAME_SECONDS + EARLY_SECONDS

"""What the model is given while the caller's audio is missing. Times in milliseconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.audio.gap import Gap, GapFiller


def ms(milliseconds: float) -> float:
    """Any monotonic clock; this one is an hour old."""
    return 3600.0 + milliseconds / 1000


def polled(filler: GapFiller, begin: int, end: int) -> list[tuple[int, Gap]]:
    """What is to be done, asked every 20 ms; only where it is something."""
    answers = [(at, filler.poll(ms(at + 1))) for at in range(begin, end, 20)]
    return [(at, gap) for at, gap in answers if gap is not Gap.NONE]


def test_before_the_first_audio_there_is_no_gap() -> None:
    assert polled(GapFiller(), 0, 60_000) == []


@pytest.mark.parametrize("duration", [10, 20, 30, 60])
def test_steady_audio_has_no_gap(duration: int) -> None:
    filler = GapFiller()
    for at in range(0, 6_000, 60):
        for part in range(0, 60, duration):
            filler.received(ms(at + part), duration / 1000)
        assert polled(filler, at, at + 60) == []


def test_the_gap_of_a_key_is_filled_when_it_is_certain() -> None:
    """Asterisk sends nothing for the 180 ms of a digit: 100 are waited for, 80 filled."""
    filler = GapFiller()
    filler.received(ms(0), 0.020)
    assert polled(filler, 20, 180) == [(at, Gap.FILL) for at in (100, 120, 140, 160)]
    filler.received(ms(180), 0.020)
    assert polled(filler, 180, 280) == []


def test_mute_is_filled_for_a_second_and_then_announced_once() -> None:
    filler = GapFiller(fill_s=1.0)
    filler.received(ms(0), 0.020)
    fills = [(at, Gap.FILL) for at in range(100, 1_100, 20)]
    assert polled(filler, 20, 60_000) == [*fills, (1_100, Gap.END)]
    filler.received(ms(60_000), 0.020)  # unmuted
    assert polled(filler, 60_000, 60_100) == []
    again = polled(filler, 60_100, 70_000)
    assert (len(again), again[-1]) == (51, (61_100, Gap.END))


def test_where_nothing_is_filled_the_pause_is_announced_at_once() -> None:
    filler = GapFiller(fill_s=0.0)
    filler.received(ms(0), 0.020)
    assert polled(filler, 20, 1_000) == [(100, Gap.END)]


def test_audio_that_was_held_up_covers_100_ms_of_what_follows_at_the_most() -> None:
    filler = GapFiller()
    filler.received(ms(0), 0.020)
    for _ in range(10):  # 200 ms at once: 100 of it may be ahead of the clock
        filler.received(ms(80), 0.020)
    assert polled(filler, 80, 400)[0] == (280, Gap.FILL)  # 80 + 100 ahead + 100 of patience


def test_a_model_hears_of_a_long_gap_as_much_as_it_lasted_but_for_100_ms() -> None:
    filler = GapFiller()
    filler.received(ms(0), 0.020)
    filled = len(polled(filler, 20, 720)) * 20
    assert filled == 720 - 100


def test_who_asks_more_often_than_every_20_ms_fills_no_more() -> None:
    filler = GapFiller()
    filler.received(ms(0), 0.020)
    fills = [at for at in range(0, 300, 5) if filler.poll(ms(at + 1)) is Gap.FILL]
    assert fills == list(range(100, 300, 20))


@given(st.lists(st.integers(0, 75), min_size=2, max_size=100))
def test_jitter_under_75_ms_is_no_gap(jitter: list[int]) -> None:
    filler, arrivals = GapFiller(), [20 * n + late for n, late in enumerate(jitter)]
    for now in range(20 * len(jitter)):
        for _ in range(arrivals.count(now)):
            filler.received(ms(now), 0.020)
        if now % 20 == 19:
            assert filler.poll(ms(now)) is Gap.NONE

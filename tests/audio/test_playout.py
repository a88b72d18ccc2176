"""Bursts in, frames out: what is played, what is dropped, and what was heard."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.audio import frame_bytes
from audiosocket_agent.audio.playout import Playout
from audiosocket_agent.audio.resample import Resampler

SIZE = 320  # 20 ms at 8 kHz


def said(*numbers: int, size: int = SIZE) -> bytes:
    """Frames that can be told apart."""
    return b"".join(bytes((number,)) * size for number in numbers)


def taken(playout: Playout, most: int = 10_000) -> list[bytes]:
    """Frames until silence is to be sent."""
    frames: list[bytes] = []
    while len(frames) < most and (frame := playout.take()) is not None:
        frames.append(frame)
    return frames


# -- a reply ---------------------------------------------------------------------------------------


def test_a_burst_leaves_frame_by_frame() -> None:
    playout = Playout(8_000)
    assert playout.idle
    assert playout.take() is None
    assert playout.push(said(1, 2), 8_000)  # a reply begins
    assert not playout.push(said(3), 8_000)  # and goes on
    playout.finish()
    assert taken(playout) == [said(1), said(2), said(3)]
    assert playout.idle
    assert playout.heard_ms == 60
    assert playout.underruns == 0


def test_what_is_left_of_a_burst_is_known() -> None:
    playout = Playout(8_000)
    playout.push(said(1, 2, 3), 8_000)
    playout.take()
    assert playout.left_ms == 40


def test_frames_are_whole_whatever_the_chunks() -> None:
    playout = Playout(8_000)
    playout.push(b"\x01" * 200, 8_000)
    assert playout.take() is None
    assert not playout.idle
    playout.push(b"\x02" * 200, 8_000)
    assert playout.take() == b"\x01" * 200 + b"\x02" * 120
    playout.finish()
    assert taken(playout) == [b"\x02" * 80 + bytes(240)]  # the last one is padded with silence
    assert playout.idle


def test_the_first_frame_is_not_waited_for() -> None:
    playout = Playout(8_000)
    playout.push(said(1), 8_000)
    assert playout.take() == said(1)


def test_heard_ms_is_of_the_reply_that_plays() -> None:
    playout = Playout(8_000)
    playout.push(said(1, 2), 8_000)
    playout.finish()
    taken(playout)
    assert playout.push(said(3), 8_000)
    assert playout.heard_ms == 0
    taken(playout)
    assert playout.heard_ms == 20


def test_what_comes_before_the_last_reply_is_played_out_belongs_to_it() -> None:
    playout = Playout(8_000)
    playout.push(said(1, 2), 8_000)
    playout.finish()
    playout.take()
    assert not playout.push(said(3), 8_000)
    assert playout.clear() == 20


@pytest.mark.parametrize("pcm", [b"", said(1)])
def test_finish_ends_a_reply_once(pcm: bytes) -> None:
    playout = Playout(8_000)
    playout.finish()  # nothing to end
    assert playout.push(pcm, 8_000)
    assert not playout.idle
    playout.finish()
    playout.finish()
    assert b"".join(taken(playout)) == pcm
    assert playout.idle


# -- running dry -----------------------------------------------------------------------------------


def test_a_reply_that_runs_dry_goes_on_when_100_ms_have_come() -> None:
    playout = Playout(8_000)
    playout.push(said(1), 8_000)
    assert playout.take() == said(1)
    assert taken(playout) == taken(playout) == []  # dry, for two frames
    assert playout.underruns == 1
    playout.push(said(2, 3, 4, 5), 8_000)  # 80 ms: a gap now would be the next one soon
    assert not playout.ready
    assert playout.take() is None
    playout.push(said(6), 8_000)
    assert taken(playout) == [said(n) for n in (2, 3, 4, 5, 6)]
    assert playout.take() is None
    assert playout.underruns == 2


def test_what_is_left_of_a_dry_reply_is_played_when_it_is_over() -> None:
    playout = Playout(8_000)
    playout.push(said(1), 8_000)
    assert playout.take() == said(1)
    assert playout.take() is None
    playout.push(said(2), 8_000)
    assert playout.take() is None
    playout.finish()
    assert taken(playout) == [said(2)]
    assert playout.underruns == 1


def test_a_reply_that_has_not_begun_is_not_dry() -> None:
    playout = Playout(8_000)
    playout.push(b"\x01" * 100, 8_000)
    assert playout.take() is None
    assert playout.underruns == 0


def test_a_dry_reply_leaves_nothing_to_wait_for_to_the_next() -> None:
    playout = Playout(8_000)
    playout.push(said(1), 8_000)
    assert len(taken(playout)) == 1
    playout.clear()
    playout.push(said(2), 8_000)
    assert playout.take() == said(2)


def test_the_least_rebuffer_counts_a_dry_reply_once_too() -> None:
    playout = Playout(8_000, rebuffer_ms=0)
    playout.push(said(1), 8_000)
    assert len(taken(playout)) == 1
    assert taken(playout) == taken(playout) == []
    assert playout.underruns == 1


# -- an interruption -------------------------------------------------------------------------------


def test_a_pause_keeps_everything() -> None:
    playout = Playout(8_000)
    playout.push(said(1, 2), 8_000)
    assert playout.take() == said(1)
    playout.paused = True
    assert not playout.ready
    assert playout.take() is None
    playout.push(said(3), 8_000)
    playout.finish()
    assert playout.take() is None
    assert not playout.idle
    assert playout.heard_ms == 20
    playout.paused = False
    assert taken(playout) == [said(2), said(3)]


def test_a_pause_is_not_running_dry() -> None:
    playout = Playout(8_000)
    playout.push(said(1), 8_000)
    assert playout.take() == said(1)
    playout.paused = True
    assert playout.take() is None
    assert playout.underruns == 0


def test_clear_says_what_was_heard_and_drops_the_rest() -> None:
    playout = Playout(8_000)
    playout.push(said(1, 2, 3) + b"\x04" * 100, 8_000)
    assert len(taken(playout, most=2)) == 2
    playout.paused = True
    assert playout.clear() == 40
    assert playout.idle
    assert not playout.paused
    assert playout.take() is None
    assert playout.push(said(5), 8_000)  # the next reply, and nothing of the last in it
    assert playout.take() == said(5)


# -- rates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_hz", [8_000, 12_000, 16_000, 24_000, 44_100, 48_000])
def test_frames_are_20_ms_of_the_downlinks_rate(to_hz: int) -> None:
    playout = Playout(to_hz)
    playout.push(bytes(24_000 * 2), 24_000)  # a second
    playout.finish()
    frames = taken(playout)
    assert {len(frame) for frame in frames} == {frame_bytes(to_hz)}
    assert len(frames) in (50, 51)  # the filter's delay may need one more


def test_a_reply_at_the_downlinks_own_rate_is_not_touched() -> None:
    playout = Playout(24_000)
    playout.push(said(1, 2, size=960), 24_000)
    playout.finish()
    assert taken(playout) == [said(1, size=960), said(2, size=960)]


def test_nothing_of_a_converted_reply_is_lost_at_its_end() -> None:
    playout, pcm = Playout(8_000), said(*range(1, 100), size=14)
    playout.push(pcm, 24_000)
    playout.finish()
    resampler = Resampler(24_000, 8_000)
    whole = resampler.feed(pcm) + resampler.flush()
    assert b"".join(taken(playout)) == whole + bytes(-len(whole) % SIZE)


@pytest.mark.parametrize("end", [Playout.clear, Playout.finish])
def test_nothing_of_a_converted_reply_is_heard_in_the_next(
    end: Callable[[Playout], object],
) -> None:
    used, fresh = Playout(8_000), Playout(8_000)
    used.push(said(7, 9, size=1000), 24_000)
    end(used)
    taken(used)
    for playout in (used, fresh):
        playout.push(bytes(960 * 2), 24_000)
        playout.finish()
    assert taken(used) == taken(fresh)


def test_a_converted_reply_sounds_the_same_however_it_is_cut() -> None:
    pcm, whole, cut = said(*range(1, 200), size=96), Playout(8_000), Playout(8_000)
    whole.push(pcm, 24_000)
    for at in range(0, len(pcm), 1920):  # 40 ms
        cut.push(pcm[at : at + 1920], 24_000)
    for playout in (whole, cut):
        playout.finish()
    assert taken(cut) == taken(whole)


def test_callers_do_not_hear_each_other() -> None:
    alone, one, other = Playout(8_000), Playout(8_000), Playout(8_000)
    for number in range(1, 50):
        other.push(said(255 - number, size=960), 24_000)
        for playout in (alone, one):
            playout.push(said(number, size=960), 24_000)
    assert taken(one) == taken(alone)


def test_the_model_may_change_its_rate() -> None:
    playout = Playout(8_000)
    playout.push(said(1), 8_000)
    playout.push(bytes(640), 16_000)
    playout.push(said(2), 8_000)
    playout.finish()
    frames = taken(playout)
    assert (frames[0], frames[-1]) == (said(1), said(2))


def test_the_downlinks_rate_changes_between_replies_only() -> None:
    playout = Playout(8_000)
    assert playout.set_rate(16_000)
    playout.push(bytes(640), 16_000)
    assert not playout.set_rate(8_000)
    assert playout.set_rate(16_000)
    playout.finish()
    assert not playout.set_rate(8_000)  # a frame is still queued
    assert len(taken(playout)[0]) == 640
    assert playout.set_rate(8_000)
    playout.push(said(1), 8_000)
    assert playout.take() == said(1)


def test_a_model_that_keeps_its_rate_is_converted_to_the_new_one() -> None:
    playout = Playout(8_000)
    for to_hz in (8_000, 16_000, 24_000, 8_000):
        assert playout.set_rate(to_hz)
        playout.push(bytes(24_000), 24_000)  # half a second
        playout.finish()
        frames = taken(playout)
        assert {len(frame) for frame in frames} == {frame_bytes(to_hz)}
        assert len(frames) in (25, 26)


# -- the bound -------------------------------------------------------------------------------------


def test_what_is_beyond_the_capacity_is_dropped_and_counted() -> None:
    playout = Playout(8_000, capacity_s=0.1)  # five frames
    playout.push(said(1, 2, 3, 4, 5, 6) + b"\x07" * 160, 8_000)
    assert playout.dropped_ms == 30
    playout.push(said(8), 8_000)
    assert playout.dropped_ms == 50
    assert taken(playout, most=2) == [said(1), said(2)]
    playout.push(said(9), 8_000)  # there is room again
    playout.finish()
    assert taken(playout) == [said(3), said(4), said(5), said(9)]
    assert playout.dropped_ms == 50


def test_what_was_dropped_is_not_heard_in_the_next_reply() -> None:
    playout = Playout(8_000, capacity_s=0.04)
    playout.push(said(1) + b"\x02" * 100, 8_000)
    playout.push(said(3, 4), 8_000)
    playout.finish()
    assert taken(playout) == [said(1), b"\x02" * 100 + b"\x03" * 220]
    playout.push(said(5), 8_000)
    assert playout.take() == said(5)


def test_a_sample_cut_in_two_is_put_together() -> None:
    playout, speech = Playout(8_000), said(1) + said(2)
    for at in range(0, len(speech), 7):
        playout.push(speech[at : at + 7], 8_000)
    playout.finish()
    assert b"".join(taken(playout)) == speech


# -- any order of things ---------------------------------------------------------------------------

_STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "take", "pause", "resume"]), st.integers(0, 2_000)),
    max_size=40,
)


@given(_STEPS, st.booleans())
def test_what_is_played_is_what_was_said(steps: list[tuple[str, int]], cleared: bool) -> None:
    playout, pushed, frames = Playout(8_000), b"", list[bytes]()
    for number, (what, amount) in enumerate(steps):
        match what:
            case "push":
                assert playout.push(said(number + 1, size=amount), 8_000) is (not pushed)
                pushed += said(number + 1, size=amount)
                if not pushed:  # an empty reply has begun; end it, so that the next begins
                    playout.finish()
            case "take":
                ready = playout.ready
                frame = playout.take()
                assert (frame is not None) is ready
                frames += [frame] if frame else []
            case _:
                playout.paused = what == "pause"
    heard = b"".join(frames)
    assert playout.heard_ms == len(frames) * 20
    assert pushed.startswith(heard)
    if cleared:
        assert playout.clear() == len(frames) * 20
    else:
        playout.paused = False
        playout.finish()
        rest = pushed[len(heard) : len(pushed) & ~1]  # half a sample at the end is none
        assert b"".join(taken(playout)) == rest + bytes(-len(rest) % SIZE)
    assert playout.idle

"""Both sides of calls, as they would be listened to: what stands where, and what is missing.

Frames are told apart by their samples, which all have the frame's number; the file is looked at to the
sample. Times are seconds of the call.
"""

import asyncio
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiosocket_agent import wire
from audiosocket_agent.audio import FRAME_SECONDS, frame_bytes
from audiosocket_agent.audio.stereo import LOOKAHEAD_SECONDS, Block, Chunk, Samples, Stereo
from audiosocket_agent.wire import Kind
from tests.pbx_leg.line import ID, Connection
from tests.virtual_time import in_virtual_time

LEFT, RIGHT = 0, 1
LOUD = 1000  # the first number that is no whisper


def frame(number: int, rate_hz: int = 8_000) -> bytes:
    return np.full(rate_hz // 50, number, "<i2").tobytes()


def frames(
    times: Sequence[float] | NDArray[np.float64], first: int = LOUD, rate_hz: int = 8_000
) -> list[Chunk]:
    """Frames that pass at these times, numbered from `first`."""
    return [(t, frame(first + n, rate_hz), rate_hz) for n, t in enumerate(times)]


def every_20_ms(begin: float, end: float) -> NDArray[np.float64]:
    return np.arange(round((end - begin) / FRAME_SECONDS)) * np.float64(FRAME_SECONDS) + begin


def recorded(
    caller: Sequence[Chunk],
    agent: Sequence[Chunk] = (),
    *,
    seconds: float,
    rate_hz: int = 8_000,
    began: float = 0.0,
) -> NDArray[np.int16]:
    """The whole call, when both sides are looked at once a second."""
    return whole(list(blocks(caller, agent, seconds=seconds, rate_hz=rate_hz, began=began)))


def blocks(
    caller: Sequence[Chunk],
    agent: Sequence[Chunk] = (),
    *,
    seconds: float,
    rate_hz: int = 8_000,
    began: float = 0.0,
) -> Iterator[Block]:
    stereo = Stereo(rate_hz, began)
    sides = [list(caller), list(agent)]
    for now in np.arange(began + 1.0, began + seconds, 1.0):
        for side, add in zip(sides, (stereo.add_caller, stereo.add_agent), strict=True):
            count = next((n for n, chunk in enumerate(side) if chunk[0] > now), len(side))
            add(side[:count])
            del side[:count]
        yield from stereo.take(float(now))
    stereo.add_caller(sides[LEFT])
    stereo.add_agent(sides[RIGHT])
    yield from stereo.finish(began + seconds)
    yield round(stereo.seconds * rate_hz), b""


def whole(parts: list[Block]) -> NDArray[np.int16]:
    """The file that the blocks make."""
    file = np.zeros((parts[-1][0], 2), np.int16)
    reached = 0
    for position, pcm in parts:
        assert position >= reached, "blocks follow each other"
        samples = np.frombuffer(pcm, "<i2").reshape(-1, 2)
        file[position : position + len(samples)] = samples
        reached = position + len(samples)
    return file


def ends(side: Samples, rate_hz: int = 8_000) -> dict[int, float]:
    """When each frame that can be heard is over, by its number."""
    last = np.flatnonzero(np.diff(side, append=0) != 0)
    return {int(side[at]): (at + 1) / rate_hz for at in last if side[at]}


# -- in place --------------------------------------------------------------------------------------


def test_what_comes_evenly_is_kept_to_the_sample() -> None:
    said = frames(every_20_ms(0.0, 3.0))
    sent = frames(every_20_ms(0.0, 3.0), 5000)
    file = recorded(said, sent, seconds=3.0)
    assert file[:, LEFT].tobytes() == b"".join(payload for _, payload, _ in said)
    assert file[:, RIGHT].tobytes() == b"".join(payload for _, payload, _ in sent)


def test_position_is_time_since_the_beginning() -> None:
    file = recorded(frames([112.5]), frames([113.25], 5000), seconds=4.0, began=110.0)
    assert len(file) == 32_000
    assert ends(file[:, LEFT]) == {LOUD: 2.52}
    assert ends(file[:, RIGHT]) == {5000: 3.27}


def test_jitter_leaves_no_gap() -> None:
    times = every_20_ms(0.0, 5.0)
    times += np.tile([0.0, 0.008, 0.003, 0.012, 0.0], 50)
    said = frames(times)
    file = recorded(said, seconds=5.0)
    assert file[:, LEFT].tobytes() == b"".join(payload for _, payload, _ in said)


def test_the_agent_is_where_it_was_sent_from_its_first_frame_on() -> None:
    """The first ones left before anybody listened in."""
    times = every_20_ms(0.019, 3.0)
    sent = [(at, frame(0 if n < 50 else 5000 + n), 8_000) for n, at in enumerate(times)]
    over = ends(recorded((), sent, seconds=3.1)[:, RIGHT])
    assert over[5050] == pytest.approx(1.039)


def test_where_nothing_came_is_silence() -> None:
    """Mute, and a telephone that sends nothing while nobody speaks."""
    times = np.concatenate((every_20_ms(0.0, 1.0), every_20_ms(4.0, 5.0), every_20_ms(5.5, 6.0)))
    side = recorded(frames(times), seconds=7.0)[:, LEFT]
    over = ends(side)
    assert [over[LOUD + n] for n in (49, 50, 99, 100, 124)] == [1.0, 4.02, 5.0, 5.52, 6.0]
    assert not side[8_000:32_000].any()
    assert not side[40_000:44_000].any()
    assert not side[48_000:].any()


def test_one_lost_packet_is_20_ms_of_silence() -> None:
    times = np.delete(every_20_ms(0.0, 3.0), [60, 100])
    over = ends(recorded(frames(times), seconds=3.0)[:, LEFT])
    assert over[LOUD + 147] == pytest.approx(3.0, abs=0.0201)


def test_what_was_held_up_goes_back_to_its_place() -> None:
    """The loop stood still for 0.7 s: all that came meanwhile is heard at once."""
    times = every_20_ms(0.0, 5.0)
    said = frames(np.where((times >= 2.0) & (times < 2.7), 2.7, times))
    file = recorded(said, seconds=5.0)
    assert file[:, LEFT].tobytes() == b"".join(payload for _, payload, _ in said)


def test_after_a_gap_and_a_delay_all_stands_where_it_was_said() -> None:
    times = np.concatenate((every_20_ms(0.0, 1.0), every_20_ms(2.0, 4.0)))
    over = ends(
        recorded(frames(np.where(times < 2.0, times, np.maximum(times, 2.5))), seconds=4.0)[:, LEFT]
    )
    assert over[LOUD + 50] == 2.02
    assert over[LOUD + 149] == 4.0


def test_what_was_held_up_for_longer_than_is_waited_gives_way_to_what_is_in_time() -> None:
    times = every_20_ms(0.0, 12.0)
    side = recorded(frames(np.where((times >= 2.0) & (times < 7.0), 7.0, times)), seconds=12.0)
    over = ends(side[:, LEFT])
    for number in (99, 349, 350, 599):
        assert over[LOUD + number] == pytest.approx(number * 0.02 + 0.02, abs=0.0201)
    lost = 600 - len(over)
    assert lost * FRAME_SECONDS <= 5.0 - LOOKAHEAD_SECONDS + 1.0
    assert len(side) == pytest.approx(96_000, abs=160)


def test_times_out_of_order_do_no_harm() -> None:
    times = every_20_ms(0.0, 4.0)
    times[1::2] -= 0.015
    times[::3] += 0.004
    said = frames(times)
    file = recorded(said, seconds=4.0)
    assert ends(file[:, LEFT])[LOUD + 199] == pytest.approx(4.0, abs=0.0201)
    assert file[:, LEFT].tobytes().strip(b"\0") == b"".join(p for _, p, _ in said)


def test_a_time_that_lies_in_the_future_moves_nothing_else() -> None:
    times = every_20_ms(0.0, 4.0)
    times[80] += 3600.0
    stereo = Stereo(8_000, 0.0)
    stereo.add_caller(frames(times))
    over = ends(whole([*stereo.take(4.0), *stereo.finish(4.0), (32_000, b"")])[:, LEFT])
    assert over[LOUD + 199] == 4.0


def test_a_delay_is_told_from_a_gap_by_what_is_added_later() -> None:
    """A pause, then a stall; the call is looked at in the middle of what comes after it."""
    said = np.concatenate((every_20_ms(0.0, 1.0), every_20_ms(1.5, 4.0)))
    came = frames(np.where((said >= 2.0) & (said < 2.6), 2.6, said))
    stereo = Stereo(8_000, 0.0)
    stereo.add_caller(came[:76])  # one of those that were held up
    parts = stereo.take(2.6)
    stereo.add_caller(came[76:])
    parts += [*stereo.take(4.0), *stereo.finish(4.0), (32_000, b"")]
    over = np.array(list(ends(whole(parts)[:, LEFT]).values()))
    assert over == pytest.approx(said + FRAME_SECONDS)


@st.composite
def uplinks(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When frames were said, and when they passed: stretches of speech, gaps, and stalls of up to
    0.7 s that hold up all that is said meanwhile."""
    said: list[float] = []
    stalls: list[tuple[float, float]] = []
    now = draw(st.integers(0, 100)) * 0.01
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, 150))
        if draw(st.booleans()) and count > 60:
            stall = now + draw(st.integers(0, 20)) * FRAME_SECONDS
            stalls.append((stall, stall + draw(st.integers(1, 35)) * FRAME_SECONDS))
        said += [now + n * FRAME_SECONDS for n in range(count)]
        now = (
            said[-1] + FRAME_SECONDS + draw(st.sampled_from([0.0, 0.02, 0.06, 0.18, 0.5, 1.3, 4.0]))
        )
    passed = np.array(said)
    for begin, end in stalls:
        passed = np.where((passed >= begin) & (passed < end), end, passed)
    return np.array(said), passed


@given(uplinks(), uplinks(), st.sampled_from([8_000, 16_000]))
def test_every_frame_is_within_20_ms_of_its_place(
    left: tuple[NDArray[np.float64], NDArray[np.float64]],
    right: tuple[NDArray[np.float64], NDArray[np.float64]],
    rate_hz: int,
) -> None:
    seconds = float(max(left[0][-1], right[0][-1])) + FRAME_SECONDS
    sides = [frames(passed, LOUD, rate_hz) for _, passed in (left, right)]
    file = recorded(*sides, seconds=seconds, rate_hz=rate_hz)
    assert len(file) / rate_hz == pytest.approx(seconds, abs=0.0201)
    for channel, (said, _) in enumerate((left, right)):
        over = ends(file[:, channel], rate_hz)
        assert list(over) == [LOUD + n for n in range(len(said))]
        wrong = np.array(list(over.values())) - said - FRAME_SECONDS
        assert np.abs(wrong).max() <= 0.0201


@given(
    st.lists(st.tuples(st.floats(-2.0, 8.0), st.integers(1, 800)), max_size=60),
    st.sampled_from([(8_000, 8_000), (24_000, 16_000), (44_100, 8_000)]),
)
def test_whatever_comes_whenever_the_blocks_are_in_order_and_the_length_is_the_calls(
    came: list[tuple[float, int]], rates: tuple[int, int]
) -> None:
    from_hz, to_hz = rates
    chunks = [(at, b"\x11\x11" * count, from_hz) for at, count in came]
    stereo = Stereo(to_hz, 0.0)
    parts = []
    for second in range(6):
        stereo.add_caller(chunks[second * 10 : second * 10 + 10])
        parts += stereo.take(second + 1.0)
    parts += stereo.finish(6.0)
    assert all(len(pcm) <= 4 * to_hz for _, pcm in parts)
    file = whole([*parts, (round(stereo.seconds * to_hz), b"")])
    latest = max((at for at, _ in came), default=0.0)
    assert (
        6.0 <= stereo.seconds <= max(6.0, latest) + sum(count for _, count in came) / from_hz + 0.1
    )
    heard = np.count_nonzero(file[:, LEFT])
    assert heard <= sum(count for _, count in came) * to_hz / from_hz * 1.02 + 100


# -- an hour ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-200e-6, 200e-6])
def test_a_telephone_whose_clock_is_off_stays_in_step_for_an_hour(skew: float) -> None:
    """200 ppm are 0.7 s an hour. It speaks for 4 s and listens for 1; nothing it says is lost."""
    stereo = Stereo(8_000, 0.0)
    speech, noise = frame(LOUD), frame(7)
    spoken = kept = 0
    number = 0
    worst = 0.0
    for now in range(1, 3601):
        chunks = []
        while (at := number * FRAME_SECONDS * (1 + skew)) <= now:
            marker = number % 250 == 0
            speaks = number % 250 < 200
            spoken += speaks
            payload = frame(2000) if marker else speech if speaks else noise
            chunks.append((at, payload, 8_000))
            number += 1
        stereo.add_caller(chunks)
        for position, pcm in stereo.take(float(now)):
            side = np.frombuffer(pcm, "<i2")[::2]
            kept += int(np.count_nonzero(side >= LOUD))
            for edge in np.flatnonzero(np.diff((side == 2000).astype(np.int8), prepend=0) == 1):
                begins = (position + int(edge)) / 8_000
                nearest = round(begins / (5 * (1 + skew))) * 5 * (1 + skew)
                if edge:  # else its beginning is in the block before
                    worst = max(worst, abs(begins - nearest))
    assert 0 < worst <= 0.0201
    rest = sum(
        np.count_nonzero(np.frombuffer(pcm, "<i2") >= LOUD) for _, pcm in stereo.finish(3600)
    )
    assert kept + rest == spoken * 160


def test_who_never_pauses_is_put_right_all_the_same() -> None:
    times = every_20_ms(0.0, 300.0) * (1 - 300e-6)
    side = recorded([(t, frame(LOUD + n % 2), 8_000) for n, t in enumerate(times)], seconds=300.0)
    last = np.flatnonzero(side[:, LEFT])[-1] / 8_000
    assert last == pytest.approx(times[-1] + FRAME_SECONDS, abs=0.0201)


def test_an_hour_on_hold_takes_no_room() -> None:
    stereo = Stereo(8_000, 0.0)
    stereo.add_caller(frames([0.0]))
    assert [position for position, _ in stereo.take(2.0)] == [0]
    stereo.add_caller(frames([3600.0]))
    assert stereo.take(3600.5) == []
    assert stereo.seconds == 3599.5
    [(position, pcm)] = stereo.finish(3601.0)
    assert position == 3599.5 * 8_000
    assert 4 * 8_000 >= len(pcm) > 4 * 4_000


# -- rates -----------------------------------------------------------------------------------------


def tone(hertz: float, begin: float, end: float, rate_hz: int, samples: int = 0) -> list[Chunk]:
    """A tone that passes in frames, or so many samples at a time."""
    t = np.arange(round(begin * rate_hz), round(end * rate_hz)) / rate_hz
    pcm = (9000 * np.sin(2 * np.pi * hertz * t)).astype("<i2").tobytes()
    size = 2 * samples or frame_bytes(rate_hz)
    return [
        (begin + at / (2 * rate_hz), pcm[at : at + size], rate_hz)
        for at in range(0, len(pcm), size)
    ]


@pytest.mark.parametrize("to_hz", [8_000, 16_000])
@pytest.mark.parametrize("from_hz", sorted(wire.RATE_HZ.values()))
@pytest.mark.parametrize("samples", [0, 101])
def test_every_rate_becomes_the_files_without_a_seam(
    from_hz: int, to_hz: int, samples: int
) -> None:
    sent = tone(400.0, 0.0, 3.0, from_hz, samples)
    side = recorded((), sent, seconds=3.0, rate_hz=to_hz)[:, RIGHT]
    t = np.arange(len(side)) / to_hz
    steady = slice(to_hz // 10, -to_hz // 10)
    phase = np.stack((np.sin(2 * np.pi * 400 * t), np.cos(2 * np.pi * 400 * t)), axis=1)[steady]
    fit, *_ = np.linalg.lstsq(phase, side[steady], rcond=None)
    error = side[steady] - phase @ fit
    assert np.hypot(*fit) == pytest.approx(9000, rel=0.01)
    assert np.abs(error).max() < 9  # -60 dB: a seam would be a click
    delay = -np.arctan2(fit[1], fit[0]) / (2 * np.pi * 400)
    assert delay % (1 / 400) <= 0.0021  # the filter's


def test_chunks_of_odd_lengths_do_not_fall_behind() -> None:
    """The filter keeps a part of each second for the next."""
    sent = tone(400.0, 0.0, 300.0, 24_000, 101)
    side = recorded((), sent, seconds=302.0)[:, RIGHT]
    assert np.flatnonzero(side)[-1] / 8_000 == pytest.approx(300.0, abs=0.012)


def test_a_rate_may_change_in_the_call() -> None:
    """A caller passed on to another codec, and an agent that has learned of 24 kHz."""
    said = [*tone(400.0, 0.0, 2.0, 8_000), *tone(400.0, 2.0, 4.0, 16_000)]
    sent = [*tone(700.0, 0.0, 1.0, 8_000), *tone(700.0, 1.0, 4.0, 24_000)]
    file = recorded(said, sent, seconds=4.0, rate_hz=16_000)
    assert len(file) == 64_000
    for channel, hertz in ((LEFT, 400), (RIGHT, 700)):
        for second in range(4):
            part = file[second * 16_000 + 800 : (second + 1) * 16_000 - 800, channel]
            loudest = np.abs(np.fft.rfft(part)).argmax() * 16_000 / len(part)
            assert loudest == pytest.approx(hertz, abs=2)
            assert np.abs(part).max() == pytest.approx(9000, rel=0.02)


# -- a leg -----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_barge_in_shows_exactly_what_was_sent() -> None:
    """The agent has 5 s to say, and is interrupted after 1.3 s by a caller who goes on for 1 s."""
    connection = Connection()
    connection.says(ID)
    playout = connection.leg.playout
    reply = b"".join(frame(LOUD + n) for n in range(250))

    await asyncio.sleep(1.007)  # between two frames: the first of the reply leaves early
    connection.leg.play(reply, 8_000)
    await asyncio.sleep(1.3)
    for number in range(50):
        connection.says(wire.audio(Kind.SLIN, frame(9000 + number)))
        if number == 2:
            playout.paused = True
        if number == 14:
            heard_ms = playout.clear()
        await asyncio.sleep(FRAME_SECONDS)
    await asyncio.sleep(2.0)

    sent = [(at, payload, wire.RATE_HZ[kind]) for at, kind, payload in connection.frames]
    came = [(at, payload, rate_hz) for at, rate_hz, payload in connection.desk.audio]
    file = recorded(came, sent, seconds=5.0)
    agent = file[:, RIGHT].tobytes()
    assert agent.strip(b"\0") == reply[: heard_ms * 16].strip(b"\0")
    begins = np.flatnonzero(file[:, RIGHT])[0] / 8_000
    assert begins == pytest.approx(1.007, abs=0.0201)
    stops = (np.flatnonzero(file[:, RIGHT])[-1] + 1) / 8_000
    interrupts = np.flatnonzero(file[:, LEFT])[0] / 8_000
    spoke_over = connection.leg.last_spoke_at + FRAME_SECONDS - came[0][0]
    assert stops - interrupts == pytest.approx(spoke_over, abs=0.0201)


@in_virtual_time
async def test_replies_that_leave_early_are_neither_cut_nor_late() -> None:
    """Each begins at another moment between two frames; before some there is no silence."""
    connection = Connection()
    connection.says(ID)
    spoken = b""
    pauses = (0.503, 0.003, 0.001, 0.511, 0.0, 0.005, 1.3, 0.0, 0.001, 0.001)
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        words = b"".join(frame(LOUD + 100 * number + n) for n in range(80))
        connection.leg.play(words, 8_000)
        connection.leg.finish()
        spoken += words
        while not connection.leg.playout.idle:  # noqa: ASYNC110 - any moment between two frames
            await asyncio.sleep(0.003)
    await asyncio.sleep(1.0)
    sent = [(at, payload, wire.RATE_HZ[kind]) for at, kind, payload in connection.frames]
    began = [(at, payload) for at, payload, _ in sent if any(payload)]
    file = recorded((), sent, seconds=20.0)[:, RIGHT]
    heard = file[file != 0].astype("<i2").tobytes()
    assert heard == spoken
    over = ends(file)
    for at, payload in began:
        number = int(np.frombuffer(payload, "<i2")[0])
        # a telephone plays it when the frame before is over: up to two frames later
        assert -0.0201 <= over[number] - FRAME_SECONDS - at <= 0.0451

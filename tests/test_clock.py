"""One timer for all calls: each at its time, none twice, and never a loop that spins."""

import asyncio
import math
import random
import socket
import time
from collections.abc import Callable

import pytest
import uvloop

from audiosocket_agent.audio.pacer import Pacer
from audiosocket_agent.clock import STOOD_STILL_S, Ticker, monotonic, sleep
from tests.virtual_time import VirtualLoop, in_virtual_time


class Beat:
    """Acts every `every` seconds from `due` on, and remembers when."""

    def __init__(self, due: float, every: float = 0.020) -> None:
        self.due = due
        self.every = every
        self.done = False
        self.ticks: list[float] = []
        self.then: Callable[[], None] = lambda: None

    def tick(self, now: float) -> float:
        if self.due <= now + 0.001:
            self.ticks.append(now)
            self.due += self.every
            self.then()
        return self.due


class Watch:
    """The virtual clock, and how often it was looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return asyncio.get_running_loop().time()


@in_virtual_time
async def test_each_is_called_at_its_time() -> None:
    ticker, beats = Ticker(Watch()), [Beat(0.003), Beat(0.0), Beat(0.011, every=0.030)]
    for beat in beats:
        ticker.add(beat)
    await asyncio.sleep(0.0995)
    for beat, first in zip(beats, (0.003, 0.0, 0.011), strict=True):
        expected = [first + n * beat.every for n in range(len(beat.ticks))]
        assert beat.ticks == pytest.approx(expected, abs=0.001)
    assert [len(beat.ticks) for beat in beats] == [5, 5, 3]


@in_virtual_time
async def test_what_is_due_within_a_millisecond_shares_a_wake_up() -> None:
    ticker, beats = Ticker(Watch()), [Beat(0.0200), Beat(0.0209), Beat(0.0212)]
    for beat in beats:
        ticker.add(beat)
    await asyncio.sleep(0.030)
    assert beats[0].ticks == beats[1].ticks
    assert beats[2].ticks[0] > beats[0].ticks[0]


@in_virtual_time
async def test_250_calls_cost_at_most_1000_wake_ups_a_second() -> None:
    watch = Watch()
    ticker = Ticker(watch)
    beats = [Beat(random.Random(n).random() * 0.020) for n in range(250)]
    for beat in beats:
        ticker.add(beat)
    looks = watch.looks
    await asyncio.sleep(1.0)
    assert watch.looks - looks <= 1000
    assert {len(beat.ticks) for beat in beats} <= {50, 51}


@in_virtual_time
async def test_what_moves_later_is_called_later() -> None:
    ticker, beat = Ticker(Watch()), Beat(0.020)
    ticker.add(beat)
    await asyncio.sleep(0.010)
    beat.due = 0.047
    await asyncio.sleep(0.030)
    assert beat.ticks == []
    await asyncio.sleep(0.010)
    assert beat.ticks == pytest.approx([0.047], abs=0.001)


@in_virtual_time
async def test_what_is_added_with_an_earlier_time_is_not_kept_waiting() -> None:
    ticker, late, soon = Ticker(Watch()), Beat(10.0), Beat(0.5)
    ticker.add(late)
    ticker.add(soon)
    await asyncio.sleep(0.51)
    assert soon.ticks == pytest.approx([0.5], abs=0.001)


@in_virtual_time
async def test_what_is_done_is_forgotten() -> None:
    watch = Watch()
    ticker, beat = Ticker(watch), Beat(0.0)
    ticker.add(beat)
    await asyncio.sleep(0.030)
    beat.done = True
    await asyncio.sleep(0.030)
    ticks, looks = len(beat.ticks), watch.looks
    await asyncio.sleep(10.0)
    assert (len(beat.ticks), watch.looks) == (ticks, looks)  # not a timer left


@in_virtual_time
async def test_who_is_done_in_a_tick_is_not_called_again() -> None:
    ticker, beat = Ticker(Watch()), Beat(0.0)

    def finish() -> None:
        beat.done = True

    beat.then = finish
    ticker.add(beat)
    await asyncio.sleep(1.0)
    assert len(beat.ticks) == 1


@pytest.mark.parametrize("due", [0.0, -1e9, -math.inf])
@in_virtual_time
async def test_a_due_that_does_not_move_cannot_make_the_loop_spin(due: float) -> None:
    ticker, stuck, other = Ticker(Watch()), Beat(due, every=0.0), Beat(0.0)
    ticker.add(stuck)
    ticker.add(other)
    await asyncio.sleep(1.0)
    assert 100 < len(stuck.ticks) <= 1001
    assert len(other.ticks) == 51


@in_virtual_time
async def test_a_tick_may_add() -> None:
    ticker, first, second = Ticker(Watch()), Beat(0.0), Beat(0.0)

    def accept() -> None:
        if len(first.ticks) == 2:
            second.due = first.ticks[-1] - 0.005
            ticker.add(second)

    first.then = accept
    ticker.add(first)
    await asyncio.sleep(0.0995)
    assert len(first.ticks) == 5
    assert second.ticks == pytest.approx([0.020, 0.035, 0.055, 0.075, 0.095], abs=0.001)


@in_virtual_time
async def test_a_closed_ticker_calls_nobody_until_someone_is_added() -> None:
    ticker, beat = Ticker(Watch()), Beat(0.0)
    ticker.close()
    ticker.add(beat)
    await asyncio.sleep(0.010)
    ticker.close()
    await asyncio.sleep(1.0)
    assert len(beat.ticks) == 1
    again = Beat(2.0)
    ticker.add(again)
    await asyncio.sleep(1.0)
    assert again.ticks == pytest.approx([2.0], abs=0.001)
    assert len(beat.ticks) == 1


class Call:
    """A call as the ticker sees it: the real schedule, and the frames it made."""

    done = False

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self.frames = 0

    @property
    def due(self) -> float:
        return self.pacer.due

    def tick(self, now: float) -> float:
        self.frames += self.pacer.take(now)
        return self.pacer.due


@in_virtual_time
async def test_calls_keep_their_clock_on_a_busy_machine() -> None:
    """50 calls for 30 s, with the loop blocked for up to 50 ms again and again."""
    loop, chance = asyncio.get_running_loop(), random.Random(20)
    assert isinstance(loop, VirtualLoop)
    ticker, calls = Ticker(loop.time), {n: Call(Pacer(n * 0.0004)) for n in range(50)}
    for call in calls.values():
        ticker.add(call)
    while loop.time() < 30.0:
        await asyncio.sleep(chance.uniform(0.0, 0.3))
        loop.stall(chance.uniform(0.0, 0.05))
    await asyncio.sleep(0.1)
    for n, call in calls.items():
        slots = (call.due - n * 0.0004) / 0.020
        assert call.frames == pytest.approx(slots, abs=0.001)  # none lost, none too many
        assert 0 < call.due - loop.time() <= 0.021


def test_the_clock_is_monotonic() -> None:
    assert monotonic() <= monotonic()


def test_what_came_in_while_the_machine_stood_still_is_read_before_a_wait_is_over() -> None:
    async def wait() -> list[str]:
        order: list[str] = []
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)

        async def answer() -> None:
            await reader.readexactly(1)
            for _ in range(5):  # through TLS, HTTP and whoever waits for it
                await asyncio.sleep(0)
            order.append("answered")

        async def silence() -> None:
            await sleep(0.02)
            order.append("silent")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer())
            tasks.create_task(silence())
            await asyncio.sleep(0)
            far.send(b"!")
            time.sleep(STOOD_STILL_S + 0.1)  # noqa: ASYNC251 - nobody gets the CPU
        writer.close()
        far.close()
        return order

    assert uvloop.run(wait()) == ["answered", "silent"]


@in_virtual_time
async def test_who_knows_the_time_does_not_wait_for_the_timer() -> None:
    ticker, beats = Ticker(Watch()), [Beat(0.010), Beat(0.015)]
    for beat in beats:
        ticker.add(beat)
    assert ticker.due == 0.010
    ticker.run(0.010)  # a loop so busy that its timers are late
    assert [beat.ticks for beat in beats] == [[0.010], []]
    assert ticker.due == 0.015
    await asyncio.sleep(0.0995)
    for beat, first in zip(beats, (0.010, 0.015), strict=True):
        expected = [first + n * beat.every for n in range(5)]
        assert beat.ticks == pytest.approx(expected, abs=0.001)  # none twice, none left out


@in_virtual_time
async def test_who_asks_from_inside_a_tick_finds_nothing_to_do() -> None:
    ticker, beats = Ticker(Watch()), [Beat(0.0), Beat(0.0)]
    found: list[float] = []
    for beat in beats:
        beat.then = lambda: found.append(ticker.due)
        ticker.add(beat)
    ticker.run(0.0)
    assert [beat.ticks for beat in beats] == [[0.0], [0.0]]
    assert found == [math.inf, math.inf]

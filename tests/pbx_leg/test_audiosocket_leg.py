"""A leg over a line in memory: its 50 frames a second, and every way it can end.

Times are seconds of virtual time since the accept.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent import wire
from audiosocket_agent.audio import frame_bytes
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.clock import Ticker
from audiosocket_agent.errors import PeerError
from audiosocket_agent.wire import Kind
from tests.pbx_leg.line import CALL, ID, Connection, Desk
from tests.virtual_time import VirtualLoop, in_virtual_time

CALLER = wire.audio(Kind.SLIN, b"\x11" * 320)
WIDEBAND = wire.audio(Kind.SLIN16, b"\x11" * 640)
SECOND = b"\x22" * 16_000  # of the agent's speech at 8 kHz
FRAME = b"\x22" * 320
SILENCE = bytes(320)
JUNK = b"\x77\x00\x02ab"


def at(*seconds: float) -> Any:
    return pytest.approx(list(seconds), abs=0.0015)


def spoken(connection: Connection) -> list[float]:
    """When frames of the agent's speech left."""
    return [time for time, _, payload in connection.frames if any(payload)]


def stall(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.stall(seconds)


# -- 50 frames a second ----------------------------------------------------------------------------


@in_virtual_time
async def test_silence_from_the_accept_on_fifty_frames_a_second() -> None:
    """Asterisk may not deliver the caller before it has heard from us, so nothing is waited for."""
    connection = Connection()
    await asyncio.sleep(1.01)
    assert [time for time, _, _ in connection.frames] == at(*(0.02 * n for n in range(51)))
    assert {(kind, payload) for _, kind, payload in connection.frames} == {(0x10, SILENCE)}
    assert len(connection.frames) == len(connection.line.sent)  # one write for each


@in_virtual_time
async def test_a_message_is_sent_in_one_write_and_is_less_than_a_tcp_segment() -> None:
    connection = Connection(downlink_rate_hz=24_000)
    await asyncio.sleep(0.1)
    assert {len(data) for _, data in connection.line.sent} == {963}


@pytest.mark.parametrize("kind", sorted(wire.RATE_HZ))
@in_virtual_time
async def test_the_downlink_has_the_uplinks_kind(kind: int) -> None:
    connection, rate_hz = Connection(), wire.RATE_HZ[kind]
    connection.says(ID, wire.audio(kind, bytes(frame_bytes(rate_hz))))
    await asyncio.sleep(0.05)
    assert {(k, len(payload)) for _, k, payload in connection.frames} == {
        (kind, frame_bytes(rate_hz))
    }


@in_virtual_time
async def test_until_the_caller_is_heard_the_downlink_is_what_every_asterisk_takes() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.05)
    connection.says(WIDEBAND)
    await asyncio.sleep(0.045)
    assert [kind for _, kind, _ in connection.frames] == [0x10, 0x10, 0x10, 0x12, 0x12]


@in_virtual_time
async def test_a_fixed_downlink_does_not_follow() -> None:
    connection = Connection(downlink_rate_hz=24_000)
    connection.says(ID, WIDEBAND)
    await asyncio.sleep(0.05)
    assert {(kind, len(payload)) for _, kind, payload in connection.frames} == {(0x13, 960)}


@in_virtual_time
async def test_a_reply_keeps_the_kind_it_began_with_and_what_follows_has_the_callers() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(SECOND[:3200], 8_000)  # 0.2 s, before the caller's first frame
    connection.leg.finish()
    for _ in range(15):
        connection.says(WIDEBAND)
        await asyncio.sleep(0.02)
    assert {kind for _, kind, payload in connection.frames if any(payload)} == {0x10}
    assert connection.frames[-1][1] == 0x12
    connection.leg.play(SECOND[:3200], 8_000)
    assert connection.frames[-1][1:] == (0x12, connection.frames[-1][2])
    assert len(connection.frames[-1][2]) == 640


# -- the caller ------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_the_caller_says_and_presses_is_told_at_once() -> None:
    connection, desk = Connection(), Desk()
    connection.desk = desk
    await asyncio.sleep(0.1)
    connection.says(ID + CALLER + wire.dtmf("5") + CALLER[:100])
    await asyncio.sleep(0.1)
    connection.says(CALLER[100:] + WIDEBAND)
    assert connection.calls == [CALL]
    assert [(rate, len(payload)) for _, rate, payload in desk.audio] == [
        (8_000, 320),
        (8_000, 320),
        (16_000, 640),
    ]
    assert [now for now, _, _ in desk.audio] == at(0.1, 0.2, 0.2)
    assert desk.digits == "5"
    counts = connection.leg.take_counts()
    assert counts.received == {Kind.UUID: 1, Kind.SLIN: 2, Kind.SLIN16: 1, Kind.DTMF: 1}
    assert counts.sent == 11
    assert not connection.leg.take_counts().received


@in_virtual_time
async def test_the_listener_is_told_of_every_20_ms() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.101)
    assert connection.desk.ticks == at(0, 0.02, 0.04, 0.06, 0.08, 0.1)


# -- the agent -------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_replys_first_frame_leaves_at_once_and_the_rest_20_ms_apart() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.107)
    assert connection.leg.play(SECOND[:1600], 8_000)  # 0.1 s
    connection.leg.finish()
    await asyncio.sleep(0.2)
    assert spoken(connection) == at(0.107, 0.127, 0.147, 0.167, 0.187)
    assert connection.desk.played == at(0.187)
    # 13 ms were borrowed: silence at 0.207, and then, 33 ms later, the old clock
    assert [time for time, _, _ in connection.frames][-6:] == at(
        0.187, 0.207, 0.24, 0.26, 0.28, 0.3
    )
    assert connection.leg.last_spoke_at == pytest.approx(0.187, abs=0.0015)


@in_virtual_time
async def test_over_a_call_of_many_replies_the_clock_holds() -> None:
    connection = Connection()
    connection.says(ID)
    for _ in range(40):
        await asyncio.sleep(0.333)
        connection.leg.play(SECOND[:2000], 8_000)
        connection.leg.finish()
    await asyncio.sleep(0.333)
    assert len(connection.frames) == pytest.approx(41 * 0.333 / 0.02, abs=1)
    assert len(spoken(connection)) == 40 * 7  # 2000 bytes are 6.25 frames


@in_virtual_time
async def test_what_is_less_than_a_frame_is_not_announced_by_a_silent_one() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.101)
    assert connection.leg.play(SECOND[:200], 8_000)
    await asyncio.sleep(0.006)
    assert [time for time, _, _ in connection.frames] == at(0, 0.02, 0.04, 0.06, 0.08, 0.1)
    assert not connection.leg.play(SECOND[:200], 8_000)  # now there is a whole one
    assert spoken(connection) == at(0.107)


@in_virtual_time
async def test_a_reply_is_played_out_once_also_if_its_end_is_told_late() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(SECOND[:640], 8_000)
    await asyncio.sleep(0.1)
    assert connection.desk.played == []  # more might come
    connection.leg.finish()
    connection.leg.finish()
    assert connection.desk.played == at(0.1)
    await asyncio.sleep(0.1)
    assert len(connection.desk.played) == 1


@in_virtual_time
async def test_a_dropped_reply_is_not_played_out() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(SECOND, 8_000)
    await asyncio.sleep(0.1)
    assert connection.leg.playout.clear() == 120  # 0, 0.02 ... 0.1
    connection.leg.finish()
    await asyncio.sleep(0.1)
    assert connection.desk.played == []
    assert spoken(connection)[-1] == pytest.approx(0.1, abs=0.0015)


@in_virtual_time
async def test_a_paused_reply_goes_on_at_once_where_it_stopped() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(b"".join(bytes((n,)) * 320 for n in range(1, 11)), 8_000)
    connection.leg.finish()
    await asyncio.sleep(0.05)
    connection.leg.playout.paused = True
    await asyncio.sleep(0.4)
    connection.leg.resume()
    await asyncio.sleep(0.3)
    assert [payload[0] for _, _, payload in connection.frames if any(payload)] == [*range(1, 11)]
    assert spoken(connection)[:4] == at(0, 0.02, 0.04, 0.45)
    assert connection.desk.played == at(0.45 + 6 * 0.02)


@in_virtual_time
async def test_a_reply_that_ends_dry_in_a_pause_is_over_when_it_is_resumed() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(FRAME, 8_000)
    await asyncio.sleep(0.05)
    connection.leg.playout.paused = True  # nothing was left to play
    connection.leg.finish()
    await asyncio.sleep(0.05)
    assert connection.desk.played == []  # it may yet turn out to be interrupted
    connection.leg.resume()
    connection.leg.resume()
    assert connection.desk.played == at(0.1)


@in_virtual_time
async def test_a_reply_that_runs_dry_is_counted() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(FRAME, 8_000)
    await asyncio.sleep(0.1)
    connection.leg.play(FRAME * 5, 8_000)
    await asyncio.sleep(0.1)
    assert connection.leg.take_counts().stalls == 1
    assert connection.leg.take_counts().stalls == 0


@in_virtual_time
async def test_a_filler_is_heard_in_silence_and_is_no_reply() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.fill(SECOND, 8_000)
    await asyncio.sleep(0.09)
    assert len(spoken(connection)) == 5
    assert connection.leg.last_spoke_at == 0.0
    connection.leg.play(bytes((7,)) * 640, 8_000)  # from here on it is the reply's turn
    connection.leg.finish()
    await asyncio.sleep(0.2)
    assert [payload[0] for _, _, payload in connection.frames if any(payload)][5:] == [7, 7]
    assert len(connection.desk.played) == 1
    assert connection.leg.take_counts().stalls == 0


@in_virtual_time
async def test_a_filler_that_is_over_is_over_and_so_is_one_that_is_taken_back() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.fill(FRAME * 2, 8_000)
    await asyncio.sleep(0.09)
    assert len(spoken(connection)) == 2
    connection.leg.fill(SECOND, 8_000)
    await asyncio.sleep(0.1)
    connection.leg.hush()
    await asyncio.sleep(0.1)
    assert len(spoken(connection)) == 2 + 5
    assert connection.desk.played == []


@in_virtual_time
async def test_a_filler_has_the_downlinks_rate() -> None:
    connection = Connection(downlink_rate_hz=24_000)
    connection.says(ID)
    connection.leg.fill(FRAME * 3, 8_000)
    await asyncio.sleep(0.2)
    assert len(spoken(connection)) == 3 + 1  # in which the filter runs out
    assert {len(payload) for _, _, payload in connection.frames} == {960}


@in_virtual_time
async def test_a_filler_ends_where_the_rate_changes() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.fill(SECOND, 8_000)
    await asyncio.sleep(0.09)
    connection.leg.use_rate(16_000)
    await asyncio.sleep(0.1)
    assert len(spoken(connection)) == 5


# -- late ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_ms", "late", "frames", "skipped"),
    [
        (5, 0, 1, 0.0),
        (15, 0, 1, 0.0),
        (30, 1, 2, 0.0),  # due 0.02 and 0.04
        (50, 1, 3, 0.0),  # 0.02, 0.04, 0.06
        (70, 1, 1, 0.06),  # that of 0.08; three are given up
        (310, 1, 1, 0.30),
    ],
)
@in_virtual_time
async def test_a_busy_loop_is_late_then_skips(
    late_ms: int, late: int, frames: int, skipped: float
) -> None:
    connection = Connection()
    await asyncio.sleep(0.01)
    stall(0.01 + late_ms / 1000)
    await asyncio.sleep(0.001)
    assert len(connection.frames) - 1 == frames
    counts = connection.leg.take_counts()
    assert (counts.late, counts.sent) == (late, 1 + frames)
    assert counts.skipped_seconds == pytest.approx(skipped)
    await asyncio.sleep(0.02)
    assert len(connection.frames) - 1 == frames + 1


@in_virtual_time
async def test_what_is_skipped_is_counted_once_whatever_the_reason() -> None:
    connection = Connection(playout_capacity_s=0.1)
    connection.says(ID)
    connection.leg.play(FRAME * 8, 8_000)  # the queue takes five
    await asyncio.sleep(0.01)
    stall(0.08)  # and 0.02 is 70 ms late: three frames are given up
    await asyncio.sleep(0.001)
    assert connection.leg.take_counts().skipped_seconds == pytest.approx(0.06 + 0.06)
    assert connection.leg.take_counts().skipped_seconds == 0


@in_virtual_time
async def test_a_loop_that_only_reads_keeps_all_callers_time() -> None:
    """It comes to its timers after all that can be read: whoever is read has the others' time kept."""
    ticker = Ticker(asyncio.get_running_loop().time)
    talker, other = Connection(ticker=ticker), Connection(ticker=ticker)
    talker.says(ID)
    await asyncio.sleep(0.011)
    for _ in range(30):
        stall(0.002)
        talker.says(wire.audio(0x10, FRAME))
    for connection in (talker, other):
        left = [time for time, _, _ in connection.frames]
        assert left == pytest.approx([0.0, 0.02, 0.04, 0.06], abs=0.002)


# -- who listens in --------------------------------------------------------------------------------


@in_virtual_time
async def test_a_tap_gets_what_is_sent_as_a_phone_plays_it_end_to_end() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.095)
    tapped: list[tuple[float, bytes, int]] = []
    connection.leg.tap = lambda at, payload, rate_hz: tapped.append((at, payload, rate_hz))
    await asyncio.sleep(0.032)  # between two frames: the first of the reply leaves early
    connection.leg.play(SECOND[:3200], 8_000)
    connection.leg.finish()
    await asyncio.sleep(0.4)
    connection.says(WIDEBAND)
    await asyncio.sleep(0.1)
    sent = connection.frames[-len(tapped) :]
    assert [payload for _, payload, _ in tapped] == [payload for _, _, payload in sent]
    assert [rate_hz for _, _, rate_hz in tapped] == [wire.RATE_HZ[kind] for _, kind, _ in sent]
    assert {rate_hz for _, _, rate_hz in tapped} == {8_000, 16_000}
    assert [at for at, _, _ in tapped] == at(*(0.1 + 0.02 * n for n in range(len(tapped))))
    assert spoken(connection)[0] == pytest.approx(0.127, abs=0.0015)


@in_virtual_time
async def test_what_does_not_leave_is_not_tapped() -> None:
    connection = Connection()
    connection.says(ID)
    tapped: list[float] = []
    connection.leg.tap = lambda at, payload, rate_hz: tapped.append(at)
    connection.line.reads = False
    await asyncio.sleep(1.0)
    assert len(tapped) == len(connection.frames) == 1  # of which a part has left
    connection.line.takes(2)
    assert tapped == at(0.0, 0.84, 0.86)
    assert len(connection.frames) == 3


# -- a peer that does not read ---------------------------------------------------------------------


@in_virtual_time
async def test_a_peer_that_does_not_read_is_owed_the_last_200_ms() -> None:
    connection = Connection()
    connection.says(ID)
    connection.leg.play(b"".join(bytes((n,)) * 320 for n in range(1, 101)), 8_000)
    await asyncio.sleep(0.105)
    assert connection.frames[-1][2][0] == 6
    connection.line.reads = False
    await asyncio.sleep(1.0)
    assert connection.frames[-1][2][0] == 7
    connection.line.takes_all()
    assert [payload[0] for _, _, payload in connection.frames[7:]] == [*range(48, 57)]
    assert connection.leg.take_counts().skipped_seconds == pytest.approx(40 * 0.02)
    await asyncio.sleep(0.5)
    assert [payload[0] for _, _, payload in connection.frames[16:]] == [*range(57, 82)]
    assert connection.desk.ends == []


@in_virtual_time
async def test_a_peer_that_does_not_read_is_still_told_that_the_call_is_over() -> None:
    connection = Connection()
    connection.says(ID)
    connection.line.reads = False
    await asyncio.sleep(1.0)
    connection.leg.hang_up()
    connection.line.takes_all()
    assert [data for _, data in connection.line.sent][-1] == wire.HANGUP
    await ended(connection, within=1.0)


@in_virtual_time
async def test_a_peer_that_reads_nothing_for_5_s_is_gone() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(1.0)
    connection.line.reads = False
    await asyncio.sleep(4.9)
    assert connection.desk.ends == []
    await asyncio.sleep(0.2)
    [(outcome, error)] = connection.desk.ends
    assert outcome is Outcome.PEER_ERROR
    assert isinstance(error, PeerError)
    assert error.code == "stalled"
    assert connection.line.aborts == 1


@in_virtual_time
async def test_a_peer_that_reads_a_little_and_then_nothing_is_gone_too() -> None:
    connection = Connection()
    connection.says(ID)
    connection.line.reads = False
    await asyncio.sleep(3.0)
    connection.line.takes(1)
    await asyncio.sleep(4.9)
    assert connection.desk.ends == []
    await asyncio.sleep(0.2)
    assert len(connection.desk.ends) == 1


@in_virtual_time
async def test_a_peer_that_reads_slowly_is_not() -> None:
    connection = Connection()
    connection.says(ID)
    connection.line.reads = False
    for _ in range(100):
        await asyncio.sleep(0.2)
        connection.line.takes(3)  # 15 frames a second
    assert connection.desk.ends == []
    assert len(connection.frames) == pytest.approx(300, abs=3)


# -- every way to end ------------------------------------------------------------------------------


async def ended(connection: Connection, within: float = 0.0) -> None:
    """The end has been told once, and after it nothing happens any more."""
    await asyncio.sleep(within + 0.001)
    assert connection.ends == 1
    sent, aborts, ticks = len(connection.line.sent), connection.line.aborts, connection.desk.ticks
    connection.leg.hang_up()
    connection.leg.play(SECOND, 8_000)
    connection.leg.finish()
    connection.leg.tick(asyncio.get_running_loop().time())
    await asyncio.sleep(5.0)
    assert connection.ends == 1
    assert len(connection.line.sent) == sent
    assert connection.line.aborts == aborts  # no timer is left
    assert connection.desk.ticks is ticks


@in_virtual_time
async def test_the_caller_hangs_up() -> None:
    connection = Connection()
    connection.says(ID, CALLER)
    await asyncio.sleep(0.5)
    connection.hangs_up()
    await ended(connection)
    assert connection.desk.ends == [(Outcome.CALLER_HANGUP, None)]
    assert connection.hangups == []


@in_virtual_time
async def test_a_peer_says_that_it_hangs_up() -> None:
    connection = Connection()
    connection.says(ID, CALLER + wire.HANGUP + CALLER)
    await ended(connection)
    assert connection.desk.ends == [(Outcome.CALLER_HANGUP, None)]
    assert len(connection.desk.audio) == 1  # what follows the end is not heard
    assert connection.leg.take_counts().received == {Kind.UUID: 1, Kind.SLIN: 1, Kind.HANGUP: 1}


@in_virtual_time
async def test_the_connection_is_reset() -> None:
    """So it looks when Asterisk closes over audio of ours that it has not read."""
    connection = Connection()
    connection.says(ID, CALLER)
    await asyncio.sleep(0.5)
    connection.line.lose(ConnectionResetError())
    await ended(connection)
    assert connection.desk.ends == [(Outcome.CALLER_HANGUP, None)]


@in_virtual_time
async def test_nothing_is_written_to_a_connection_that_is_lost() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.015)
    connection.line.lose(BrokenPipeError())
    connection.leg.tick(0.02)  # before the loop has told us
    assert len(connection.frames) == 1
    await ended(connection)


@in_virtual_time
async def test_we_hang_up_and_asterisk_closes() -> None:
    connection = Connection()
    connection.says(ID, CALLER)
    await asyncio.sleep(0.5)
    connection.leg.hang_up()
    connection.leg.hang_up()
    assert connection.hangups == at(0.5)
    assert connection.line.sent[-1][1] == b"\x00\x00\x00"
    assert connection.line.aborts == 0  # Asterisk is to read it first
    await asyncio.sleep(0.1)
    connection.says(CALLER)  # still on its way
    assert connection.line.sent[-1][1] == b"\x00\x00\x00"  # and not a frame after it
    connection.hangs_up()
    await ended(connection)
    assert connection.desk.ends == [(Outcome.CALLER_HANGUP, None)]
    assert len(connection.desk.audio) == 1


@in_virtual_time
async def test_we_hang_up_and_asterisk_does_not_close() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.5)
    connection.leg.hang_up()
    await asyncio.sleep(0.99)
    assert connection.ends == 0
    await ended(connection, within=0.02)
    assert connection.line.aborts == 1


@in_virtual_time
async def test_we_hang_up_and_asterisk_closes_in_the_middle_of_a_frame() -> None:
    connection = Connection()
    connection.says(ID, CALLER[:100])
    connection.leg.hang_up()
    connection.hangs_up()
    await ended(connection)
    assert connection.desk.ends == [(Outcome.CALLER_HANGUP, None)]  # it may: we said goodbye


@in_virtual_time
async def test_we_hang_up_before_we_know_who_calls() -> None:
    connection = Connection()
    connection.leg.hang_up()
    await ended(connection, within=1.0)
    assert connection.lost == [None]


@in_virtual_time
async def test_a_cut_in_the_middle_of_a_frame() -> None:
    connection = Connection()
    connection.says(ID, CALLER[:100])
    connection.hangs_up()
    await ended(connection)
    [(outcome, error)] = connection.desk.ends
    assert outcome is Outcome.PEER_ERROR
    assert isinstance(error, PeerError)
    assert error.code == "truncated"


@in_virtual_time
async def test_who_hangs_up_at_the_first_of_several_frames_hears_no_other() -> None:
    connection, desk = Connection(), Desk()
    connection.desk = desk
    connection.says(ID + CALLER)
    heard, hears = len(desk.audio), desk.heard

    def hang_up(payload: bytes, rate_hz: int, now: float) -> None:
        hears(payload, rate_hz, now)
        connection.leg.hang_up()

    desk.heard = hang_up  # type: ignore[method-assign]
    connection.says(CALLER * 3)
    assert len(desk.audio) == heard + 1


@pytest.mark.parametrize(("a_second", "refused"), [(190, False), (1_000, True)])
@in_virtual_time
async def test_messages_that_come_one_by_one_are_counted_too(a_second: int, refused: bool) -> None:
    connection = Connection()
    connection.says(ID)
    for _ in range(40 * a_second):
        connection.says(wire.audio(Kind.SLIN, b"\x11\x11"))  # a single sample: it has no length
        await asyncio.sleep(1 / a_second)
    errors = [error for _, error in connection.desk.ends]
    assert [error.code for error in errors if isinstance(error, PeerError)] == [
        "too_fast"
    ] * refused


@pytest.mark.parametrize(("sent", "code"), [(b"", None), (ID[:7], "truncated")])
@in_virtual_time
async def test_a_connection_without_a_call(sent: bytes, code: str | None) -> None:
    """So Asterisk does where the channel was not answered, and so do port checks."""
    connection = Connection()
    connection.says(sent)
    connection.hangs_up()
    await ended(connection)
    assert [error.code if isinstance(error, PeerError) else error for error in connection.lost] == [
        code
    ]


@in_virtual_time
async def test_nobody_says_who_calls() -> None:
    connection = Connection()
    await asyncio.sleep(1.99)
    assert connection.ends == 0
    await ended(connection, within=0.02)
    [error] = connection.lost
    assert isinstance(error, PeerError)
    assert error.code == "no_uuid"
    assert connection.line.aborts == 1
    assert len(connection.frames) == 100


@in_virtual_time
async def test_who_has_said_so_may_be_silent() -> None:
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(60.0)
    assert connection.ends == 0
    assert len(connection.frames) == pytest.approx(3000, abs=1)


@in_virtual_time
async def test_a_broken_peer_in_a_call_is_given_back_to_the_dialplan() -> None:
    connection = Connection()
    connection.says(ID + CALLER + JUNK + CALLER)
    assert connection.hangups == at(0.0)
    assert len(connection.desk.audio) == 1
    connection.hangs_up()
    await ended(connection)
    [(outcome, error)] = connection.desk.ends
    assert outcome is Outcome.PEER_ERROR
    assert isinstance(error, PeerError)
    assert error.code == "unknown_kind"


@in_virtual_time
async def test_a_broken_peer_before_a_call_is_cut_off() -> None:
    connection = Connection()
    connection.says(b"GET / HTTP/1.1\r\n\r\n")
    await ended(connection)
    [error] = connection.lost
    assert isinstance(error, PeerError)
    assert error.code == "no_uuid"
    assert connection.hangups == []


@in_virtual_time
async def test_a_refused_call_is_given_back_to_the_dialplan() -> None:
    connection = Connection(refuse=True)
    connection.says(ID + CALLER)
    assert connection.hangups == at(0.0)
    connection.hangs_up()
    await ended(connection)
    assert connection.lost == [None]
    assert connection.desk.audio == []


@in_virtual_time
async def test_the_first_error_is_the_reason() -> None:
    connection = Connection()
    connection.says(ID, JUNK)
    connection.says(ID)  # not looked at any more
    connection.hangs_up()
    await ended(connection)
    assert [getattr(error, "code", None) for _, error in connection.desk.ends] == ["unknown_kind"]


# -- faults of ours --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["heard", "pressed", "ticked", "played_out"])
@in_virtual_time
async def test_a_fault_ends_the_call_it_happens_in_and_no_other(fault: str) -> None:
    ticker = Ticker(asyncio.get_running_loop().time)
    bad, good = Connection(Desk(fault), ticker=ticker), Connection(ticker=ticker)
    for connection in (bad, good):
        connection.says(ID)
        connection.leg.play(FRAME * 2, 8_000)
        connection.leg.finish()
        connection.says(CALLER, wire.dtmf("1"))
    await asyncio.sleep(0.1)
    assert len(bad.hangups) == 1  # the dialplan goes on
    bad.hangs_up()
    await ended(bad)
    [(outcome, error)] = bad.desk.ends
    assert outcome is Outcome.ERROR
    assert str(error) == f"a fault in {fault}"
    assert good.ends == 0
    assert good.desk.ticks[-1] > 5.0


@in_virtual_time
async def test_a_fault_before_there_is_a_listener_closes_the_connection() -> None:
    connection = Connection(Desk("identified"))
    connection.says(ID + CALLER)
    await ended(connection)
    assert [str(error) for error in connection.lost] == ["a fault in identified"]


@in_virtual_time
async def test_a_listener_may_hang_up_between_two_frames() -> None:
    """The loop was late: two frames are owed, the first is the last of a reply, and that ends it."""
    connection = Connection()
    connection.says(ID)
    await asyncio.sleep(0.005)
    connection.leg.play(FRAME * 2, 8_000)
    connection.leg.finish()
    connection.desk.played_out = lambda now: connection.leg.hang_up()  # type: ignore[method-assign]
    stall(0.045)
    await asyncio.sleep(0.001)
    assert connection.line.sent[-1][1] == wire.HANGUP
    assert len(spoken(connection)) == 2


# -- any order of things ---------------------------------------------------------------------------

_STEPS: dict[str, Callable[[Connection], object]] = {
    "uuid": lambda c: c.says(ID),
    "caller": lambda c: c.says(CALLER),
    "wideband": lambda c: c.says(WIDEBAND),
    "half a frame": lambda c: c.says(CALLER[:50]),
    "key": lambda c: c.says(wire.dtmf("1")),
    "junk": lambda c: c.says(JUNK),
    "peer's hangup": lambda c: c.says(wire.HANGUP),
    "eof": lambda c: c.hangs_up(),
    "reset": lambda c: c.line.lose(ConnectionResetError()),
    "stop reading": lambda c: setattr(c.line, "reads", False),
    "play": lambda c: c.leg.play(FRAME * 3, 8_000),
    "play 24 kHz": lambda c: c.leg.play(SECOND[:500], 24_000),
    "finish": lambda c: c.leg.finish(),
    "pause": lambda c: setattr(c.leg.playout, "paused", True),
    "resume": lambda c: c.leg.resume(),
    "clear": lambda c: c.leg.playout.clear(),
    "hang up": lambda c: c.leg.hang_up(),
    "close": lambda c: c.leg.close(),
    "busy": lambda c: stall(0.09),
}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(_STEPS)), st.sampled_from([0, 0, 7, 20, 150, 990])),
        max_size=25,
    ),
    st.booleans(),
    st.sampled_from(["", "", "heard", "ticked", "played_out", "identified"]),
)
def test_whatever_happens_the_end_is_told_once_and_is_the_end(
    steps: list[tuple[str, int]], refuse: bool, fault: str
) -> None:
    async def call() -> None:
        connection = Connection(Desk(fault), refuse=refuse)
        for what, pause_ms in steps:
            if connection.line.closing and what not in (
                "play",
                "finish",
                "resume",
                "hang up",
                "close",
            ):
                continue  # the socket is gone: nothing comes from it
            # a fault in played_out may come back to whoever finished the reply
            with contextlib.suppress(RuntimeError):
                _STEPS[what](connection)
            await asyncio.sleep(pause_ms / 1000)
        if not connection.line.closing:
            connection.hangs_up()
        await asyncio.sleep(7.0)
        assert connection.ends == 1
        assert connection.line.closing
        assert [
            at for at, data in connection.line.sent if data == wire.HANGUP
        ] == connection.hangups
        assert len(connection.hangups) <= 1
        if connection.hangups:
            assert connection.line.sent[-1][1] == wire.HANGUP
        times = [at for at, _ in connection.line.sent]
        assert all(later >= sooner for sooner, later in itertools.pairwise(times))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(call())


# -- the socket ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "peername", "peer"),
    [
        (socket.AF_INET, ("192.0.2.7", 40_000), "192.0.2.7"),
        (socket.AF_INET6, ("2001:db8::7", 40_000, 0, 0), "2001:db8::7"),
        (socket.AF_UNIX, "", ""),
    ],
)
@in_virtual_time
async def test_small_messages_are_not_held_back(family: int, peername: Any, peer: str) -> None:
    with socket.socket(family) as sock:
        connection = Connection(extra={"socket": sock, "peername": peername})
        assert connection.leg.peer == peer
        if family != socket.AF_UNIX:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

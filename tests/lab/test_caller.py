"""The pretend Asterisk on the line: what it sends, what it hears, and how a call with it ends."""

import asyncio
import socket
import struct
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
import uvloop

from audiosocket_agent import wire
from audiosocket_agent.audio import FRAME_SECONDS, frame_bytes
from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.ticker import Ticker
from tests.lab.tiny_agent import HOST, Agent, read_all, service, tone
from tests.virtual_time import VirtualLoop, in_virtual_time

SILENCE = wire.audio(wire.Kind.SLIN, bytes(320))


class Listener:
    """A service that says nothing but silence, and keeps what it gets with its times."""

    def __init__(self) -> None:
        self.received: list[tuple[float, wire.Message]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, decoder = asyncio.get_running_loop(), wire.Decoder()
        try:
            while data := await reader.read(65_536):
                for message in decoder.feed(data):
                    self.received.append((loop.time(), message))
                writer.write(SILENCE)
        except ConnectionResetError:
            pass  # the caller hung up on unread audio

    def audio(self) -> list[tuple[float, wire.Audio]]:
        return [(at, m) for at, m in self.received if isinstance(m, wire.Audio)]


# -- what it sends -------------------------------------------------------------------------------


@in_virtual_time
@pytest.mark.parametrize(("rate_hz", "kind", "size"), [(8_000, 0x10, 320), (16_000, 0x12, 640)])
async def test_it_says_who_it_is_and_then_sends_a_frame_every_20_ms(
    rate_hz: int, kind: int, size: int
) -> None:
    listener, name = Listener(), uuid.uuid4()
    async with (
        service(listener) as port,
        Call.connect(HOST, port, rate_hz=rate_hz, uuid=name) as call,
    ):
        await call.passes(1.0)
    assert listener.received[0][1] == wire.Identity(name)
    frames = listener.audio()
    assert len(frames) == len(listener.received) - 1 == pytest.approx(50, abs=1)
    assert {(m.kind, len(m.payload)) for _, m in frames} == {(kind, size)}
    gaps = [b - a for (a, _), (b, _) in pairwise(frames)]
    assert gaps == pytest.approx([FRAME_SECONDS] * len(gaps))


@in_virtual_time
async def test_words_digits_and_a_pause_go_out_one_after_the_other() -> None:
    listener = Listener()
    async with service(listener) as port, Call.connect(HOST, port) as call:
        words = call.say(tone(0.2))
        call.press("5#")
        call.mute(0.5)
        call.say(tone(0.1))
        last = await call.said()
    loud = [at for at, m in listener.audio() if any(m.payload)]
    digits = [(at, m.digit) for at, m in listener.received if isinstance(m, wire.Digit)]
    times = [at for at, _ in listener.audio()]
    assert len(loud) == 10 + 5
    assert [digit for _, digit in digits] == ["5", "#"]
    # While a key is held there is no audio for 180 ms; the digit comes when it is let go.
    assert digits[0][0] - loud[9] == pytest.approx(0.200)
    assert not [at for at in times if loud[9] < at < digits[0][0]]
    # After the second digit 100 ms of silence, then 500 ms of nothing at all.
    assert max(b - a for a, b in pairwise(times)) == pytest.approx(0.520)
    assert words.ends - words.begins == pytest.approx(0.18) == words.voiced_seconds
    assert words.frames_left == 0
    assert last == pytest.approx(loud[-1] - times[0], abs=FRAME_SECONDS)


@in_virtual_time
async def test_a_telephone_has_no_other_keys() -> None:
    async with service(Listener()) as port, Call.connect(HOST, port) as call:
        with pytest.raises(ValueError, match="'7x'"):
            call.press("7x")


@in_virtual_time
async def test_frames_that_came_due_during_a_stall_are_sent_at_once() -> None:
    listener = Listener()
    async with service(listener) as port, Call.connect(HOST, port) as call:
        await call.passes(0.5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        before = len(listener.audio())
        stalled_from = loop.time()
        loop.stall(0.2)
        await call.passes(0.04)
        times = [at - stalled_from for at, _ in listener.audio()[before:]]
        assert len([at for at in times if at < 0.21]) == pytest.approx(10, abs=1)
        await call.passes(1.0)
        # The clock has not moved: 1.74 s are 87 frames.
        assert len(listener.audio()) == pytest.approx(87, abs=1)


@in_virtual_time
async def test_callers_do_not_speak_in_step() -> None:
    listener, ticker = Listener(), Ticker()
    async with service(listener) as port, AsyncExitStack() as calls:
        for _ in range(4):
            call = await calls.enter_async_context(Call.connect(HOST, port, ticker=ticker))
        await call.passes(1.0)
    phases = Counter(round(at % FRAME_SECONDS, 3) % FRAME_SECONDS for at, _ in listener.audio())
    assert len(phases) == 4
    assert min(phases.values()) == pytest.approx(50, abs=2)


# -- what it hears -------------------------------------------------------------------------------


@in_virtual_time
async def test_a_call_is_written_as_its_transcript() -> None:
    agent = Agent(greets_after=0.4, greeting=1.0, patience=0.6, reply=2.0, yields_after=0.14)
    async with service(agent) as port, Call.connect(HOST, port) as call:
        assert await call.agent_speaks() == pytest.approx(0.4, abs=0.05)
        assert await call.agent_silent(0.7) == pytest.approx(1.4, abs=0.05)
        call.say(tone(1.0))
        asked = await call.said()
        answered = await call.agent_speaks()
        assert answered - asked == pytest.approx(0.6, abs=0.05)
        await call.passes(0.5)
        over = call.say(tone(1.0))
        stopped = await call.agent_silent(0.5)
        assert stopped - over.begins == pytest.approx(0.14, abs=0.05)
        assert await call.said() == over.ends
        assert await call.agent_speaks() - over.ends == pytest.approx(0.6, abs=0.05)
        call.hang_up()
    report = call.report()
    assert (report.ok, report.end) == (True, End.HUNG_UP)
    assert [turn.barge_in_stop_seconds for turn in report.turns] == [
        None,
        pytest.approx(0.14, abs=0.05),
    ]


@in_virtual_time
async def test_a_wait_misses_nothing_that_happened_before_it() -> None:
    agent = Agent(greets_after=0.1, greeting=0.2, patience=0.2, reply=0.2)
    async with service(agent) as port, Call.connect(HOST, port) as call:
        call.say(bytes(8_000) + tone(0.2))
        await asyncio.sleep(2.0)  # the greeting, the words and the answer are long over
        assert await call.agent_speaks() == pytest.approx(0.1, abs=0.05)
        asked = await call.said()
        assert await call.agent_speaks() - asked == pytest.approx(0.2, abs=0.05)
        assert await call.agent_silent(1.0) == pytest.approx(call.now - 1.0, abs=0.3)


@in_virtual_time
async def test_an_agent_that_never_speaks_or_never_stops_is_not_waited_for_for_ever() -> None:
    async with service(Listener()) as port, Call.connect(HOST, port) as call:
        with pytest.raises(TimeoutError):
            await call.agent_speaks(timeout=3.0)
        assert call.now == pytest.approx(3.0, abs=0.05)
        assert await call.agent_silent(1.0) == 0.0
    chatter = Agent(greets_after=0.0, greeting=60.0, yields_after=None)
    async with service(chatter) as port, Call.connect(HOST, port) as call:
        with pytest.raises(TimeoutError):
            await call.agent_silent(0.5, timeout=3.0)


@in_virtual_time
async def test_any_kind_and_length_is_heard() -> None:
    sent = [
        (0x10, tone(0.02)),
        (0x13, tone(0.02, 24_000)),
        (0x12, tone(0.06, 16_000)),
        (0x18, b"1"),
    ]

    async def mixed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(wire.audio(kind, payload) for kind, payload in sent) + wire.HANGUP)
        await read_all(reader)

    async with service(mixed) as port, Call.connect(HOST, port) as call:
        assert await call.ended() is End.FINISHED
    assert [(kind, length) for _, kind, length, _ in call.frames] == [
        (kind, len(payload)) for kind, payload in sent
    ]
    assert call.heard == b"".join(payload for _, payload in sent)
    assert [frame.audible for frame in call.frames] == [True, True, True, False]
    assert call.report().heard_rate_hz == 8_000


@in_virtual_time
async def test_what_is_heard_need_not_be_kept() -> None:
    agent = Agent(greets_after=0.0)
    async with service(agent) as port, Call.connect(HOST, port, keep_audio=False) as call:
        call.say(tone(0.1))
        await call.agent_silent(0.5)
    assert call.frames
    assert call.heard == b""
    assert call.sides == ([], [])


# -- how it ends ---------------------------------------------------------------------------------

Ending = Callable[[asyncio.StreamWriter], None]


def finish(writer: asyncio.StreamWriter) -> None:
    writer.write(wire.HANGUP)


def close(writer: asyncio.StreamWriter) -> None:
    writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def sending(data: bytes) -> Ending:
    return lambda writer: writer.write(data)


def cut(writer: asyncio.StreamWriter) -> None:
    writer.write(SILENCE[:100])
    writer.write_eof()


@in_virtual_time
@pytest.mark.parametrize(
    ("ending", "end", "violation"),
    [
        (finish, End.FINISHED, None),
        (close, End.CLOSED, None),
        (reset, End.RESET, None),
        (cut, End.BROKEN, "closed inside a message"),
        (sending(b"\x10\x00\x00"), End.BROKEN, "length 0"),
        (sending(b"\x01\x00\x10" + bytes(16)), End.BROKEN, "kind 0x01"),
        (sending(wire.dtmf("5")), End.BROKEN, "kind 0x03"),
        (sending(b"\x19\x00\x02\x00\x00"), End.BROKEN, "kind 0x19"),
        (sending(b"\xff\x00\x00"), End.BROKEN, "kind 0xff"),
        (sending(b"HTTP/1.1 400 Bad Request\r\n"), End.BROKEN, "kind 0x48"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
async def test_a_service_ends_a_call(ending: Ending, end: End, violation: str | None) -> None:
    async def doomed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SILENCE * 2)
        await reader.readexactly(wire.HEADER_BYTES + wire.UUID_BYTES)
        ending(writer)
        await read_all(reader)

    async with service(doomed) as port, Call.connect(HOST, port) as call:
        assert await call.ended() is end
        with pytest.raises(CallOver, match=f"{end} while waiting for the agent to speak"):
            await call.agent_speaks()
    if end is not End.RESET:  # a reset may overtake the audio before it
        assert len(call.frames) == 2
    if violation is None:
        assert call.violations == []
    else:
        assert [violation in text for text in call.violations] == [True]


@in_virtual_time
async def test_a_caller_hangs_up_by_closing() -> None:
    received = []

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await read_all(reader))

    async with service(patient) as port, Call.connect(HOST, port) as call:
        call.say(tone(10.0))
        await call.passes(0.2)
        call.hang_up()
        assert await call.ended() is End.HUNG_UP
        with pytest.raises(CallOver):
            await call.said()
    assert call.now == pytest.approx(0.2, abs=0.05)
    assert wire.Hangup() not in wire.Decoder().feed(received[0])


@in_virtual_time
async def test_a_report_is_for_a_call_that_is_over() -> None:
    async with service(Listener()) as port, Call.connect(HOST, port) as call:
        with pytest.raises(RuntimeError, match="not ended"):
            call.report()


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A service that takes a call and sends nothing."""
    await read_all(reader)


@in_virtual_time
async def test_a_silent_service_depends_on_its_caller() -> None:
    async with service(mute) as port, Call.connect(HOST, port) as call:
        await call.passes(2.5)
        assert (call.end, call.violations) == (None, ["nothing was received for 2 s"])
        call.mute(5.0)  # on hold
        assert await call.ended() is End.BROKEN
        assert call.now == pytest.approx(2.5 + 2.0, abs=0.1)
        assert call.violations[1:] == ["nothing was received for 2 s, and nothing sent"]
    assert not call.report().ok


@in_virtual_time
async def test_a_muted_caller_is_kept_by_a_service_that_sends_silence() -> None:
    async with service(Agent()) as port, Call.connect(HOST, port) as call:
        call.mute(5.0)
        await call.said()
        assert (call.end, call.violations) == (None, [])


@in_virtual_time
async def test_a_service_that_does_not_read_loses_the_call() -> None:
    async with service(mute) as port, Call.connect(HOST, port) as call:
        # Megabytes of buffers lie between here and there; what the transport calls when the
        # kernel takes no more is called directly.
        call.pause_writing()
        assert await call.ended() is End.BROKEN
        assert "does not read" in call.violations[0]


@in_virtual_time
async def test_where_nobody_listens_there_is_no_call() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        async with Call.connect(HOST, port):
            pass


# -- in real time --------------------------------------------------------------------------------


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_runs_on_both_loops(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scene() -> None:
        agent = Agent(greets_after=0.1, greeting=0.1, patience=0.1, reply=0.1)
        async with service(agent) as port, Call.connect(HOST, port) as call:
            await call.agent_silent(0.3)
            call.say(tone(0.1))
            asked = await call.said()
            assert await call.agent_speaks() > asked
            call.press("1")
            await call.said()
        assert (call.end, agent.digits) == (End.HUNG_UP, "1")
        assert len(call.frames) > 10
        assert {frame.length for frame in call.frames} == {frame_bytes(8_000)}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scene())

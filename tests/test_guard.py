"""Refusal beats collapse: who comes from elsewhere, too often, or stands in the door; and a process that
has enough to do."""

import asyncio
import contextlib
import gc
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from audiosocket_agent import wire
from audiosocket_agent.addresses import networks
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.overload import Overload
from audiosocket_agent.pbx.gate import HALF_OPEN_PER_SOURCE
from tests.agi.dialplan import agi, head
from tests.house import HOST, House, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.serving import serving
from tests.virtual_time import in_virtual_time

STRANGER = "127.0.0.2"
PBX_ALONE = networks(HOST)
ID = wire.identity(uuid.UUID(int=7))


async def said_to(source: str, port: int, data: bytes = b"", *, ends: bool = True) -> bytes:
    """Connect from an address of this host, send, and read until it is closed."""
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
    try:
        writer.write(data)
        if ends:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10.0)
    except OSError:  # reset, or closed before the end could be said
        return b""
    finally:
        writer.close()


@asynccontextmanager
async def silent(source: str, port: int, count: int) -> AsyncIterator[list[socket.socket]]:
    """Connections that say nothing."""
    loop = asyncio.get_running_loop()
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket()
            made.append(sock)
            sock.setblocking(False)
            sock.bind((source, 0))
            await loop.sock_connect(sock, (HOST, port))
        yield made
    finally:
        for sock in made:
            sock.close()


# -- where they come from --------------------------------------------------------------------------


@in_virtual_time
async def test_a_stranger_hears_not_a_byte_and_is_logged_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with house(ScriptedModel(), allow=PBX_ALONE) as service, service.call() as call:
        for _ in range(20):
            assert await said_to(STRANGER, service.port, ID, ends=False) == b""
            assert await said_to(STRANGER, service.agi_port, head("open"), ends=False) == b""
        assert service.metric("calls_rejected_total", reason="not_allowed") == 40
        await call.passes(1.0)
        assert call.end is None
        assert service.server.calls == 1
    assert capsys.readouterr().out.count("connections closed at once") == 1


@in_virtual_time
async def test_the_pbx_of_a_stranger_cannot_announce_calls() -> None:
    async with house(ScriptedModel(), allow=PBX_ALONE) as service:
        assert await said_to(STRANGER, service.agi_port, head(f"open?uuid={uuid.uuid4()}")) == b""
        assert service.server.calls == 0
        assert (await agi(service.agi_port, f"open?uuid={uuid.uuid4()}"))["AGENT_STATUS"] == "OK"


# -- how often -------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_comes_too_often_is_turned_away_and_nobody_else() -> None:
    async with house(ScriptedModel(), connects_per_second=20.0) as service:
        for _ in range(30):
            await said_to(STRANGER, service.port)
            await said_to(STRANGER, service.agi_port)
        assert service.metric("calls_rejected_total", reason="too_often") >= 30
        async with service.call() as call:
            await call.passes(0.5)
            assert call.end is None
        assert (await agi(service.agi_port, f"open?uuid={uuid.uuid4()}"))["AGENT_STATUS"] == "OK"


# -- who stands in the door ------------------------------------------------------------------------


@in_virtual_time
async def test_those_who_say_nothing_make_room_for_those_who_do() -> None:
    async with house(ScriptedModel(), connects_per_second=10_000.0) as service:
        async with silent(HOST, service.port, HALF_OPEN_PER_SOURCE + 100):
            async with service.call() as call:
                await call.passes(0.5)
                assert service.server.gate.half_open <= HALF_OPEN_PER_SOURCE
                assert service.metric("calls_rejected_total", reason="pushed_out") >= 100
                await call.passes(3.0)
                assert service.server.gate.half_open == 0
                assert call.end is None
        async with silent(HOST, service.agi_port, HALF_OPEN_PER_SOURCE + 100) as made:
            async with asyncio.timeout(1.0):
                assert await asyncio.get_running_loop().sock_recv(made[99], 1) == b""
            answer = await agi(service.agi_port, f"open?uuid={uuid.uuid4()}")
            assert answer["AGENT_STATUS"] == "OK"


@in_virtual_time
async def test_a_byte_a_second_is_no_uuid() -> None:
    async with house(ScriptedModel()) as service:
        _, writer = await asyncio.open_connection(HOST, service.port)
        with contextlib.suppress(ConnectionError):
            for byte in ID:
                writer.write(bytes((byte,)))
                await asyncio.sleep(1.0)
        writer.close()
        assert service.metric("calls_rejected_total", reason="no_uuid") == 1
        assert service.server.gate.half_open == service.server.calls == 0


GARBAGE = (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 500, ID[:9], ID + ID, ID + b"\x77\x00\x02ab", b"")


@in_virtual_time
async def test_silence_and_garbage_by_the_hundred_leave_calls_as_they_are_and_nothing_behind() -> (
    None
):
    async with house(ScriptedModel(greet), connects_per_second=10_000.0) as service:
        await said_to(STRANGER, service.port)  # whatever is made once is made
        gc.collect()
        before = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        async with contextlib.AsyncExitStack() as calls:
            lines = [await calls.enter_async_context(service.call()) for _ in range(5)]
            async with silent(STRANGER, service.port, 300):
                for number in range(200):
                    await said_to(STRANGER, service.port, GARBAGE[number % len(GARBAGE)])
                    await asyncio.sleep(0.01)
            for line in lines:
                await line.passes(3.0)
                assert line.end is None
                assert line.violations == []
                assert len(line.frames) == pytest.approx(line.now / 0.02, abs=2)
        await service.is_empty()
        await asyncio.sleep(0.1)
        gc.collect()
        after = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        assert after[0] <= before[0]
        assert after[1] <= before[1]


async def greet(model: Puppet) -> None:
    model.say(tone(2.0))
    model.turn_ends()


# -- a peer that does not read ---------------------------------------------------------------------


@in_virtual_time
async def test_a_peer_that_does_not_read_is_gone_after_5_s_and_another_call_goes_on() -> None:
    async with house(ScriptedModel(), downlink_rate_hz=24_000) as service, service.call() as good:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        with sock:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (HOST, service.port))
            await loop.sock_sendall(sock, ID + wire.audio(wire.Kind.SLIN, bytes(320)))
            await good.passes(4.0)
            assert service.server.calls == 2
            await good.passes(8.0)
            assert service.metric("calls_total", outcome="peer_error") == 1
        assert good.end is None
        assert service.metric("playout_skipped_seconds_total") >= 3.0
        assert service.server.calls == 1


# -- a call that goes wrong ------------------------------------------------------------------------

AUDIO = wire.audio(wire.Kind.SLIN, bytes(320))
SAMPLE = wire.audio(wire.Kind.SLIN, bytes(2))


@pytest.mark.parametrize(
    ("flood", "count"),
    [
        pytest.param(AUDIO, 1_600, id="half a minute of audio at once"),
        pytest.param(SAMPLE, 6_100, id="audio in single samples"),
        pytest.param(wire.dtmf("5"), 800, id="digits"),
    ],
)
@in_virtual_time
async def test_who_sends_faster_than_the_clock_ends_alone(flood: bytes, count: int) -> None:
    async with house(ScriptedModel()) as service, service.call() as good:
        _, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(ID + flood * (count // 2))
        await good.passes(1.0)
        assert service.server.calls == 2  # it may have been a stall
        writer.write(flood * count)
        await good.passes(2.5)  # it is looked at within a second, and has one to close its end
        assert service.metric("calls_total", outcome="peer_error") == 1
        assert service.server.calls == 1
        assert good.end is None
        assert len(good.frames) == pytest.approx(good.now / 0.02, abs=1)
        writer.close()


@in_virtual_time
async def test_a_half_closed_connection_is_a_caller_who_has_hung_up() -> None:
    async with house(ScriptedModel()) as service, service.call() as good:
        _, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(ID + AUDIO)
        await good.passes(0.5)
        writer.write_eof()
        await good.passes(0.5)
        assert service.metric("calls_total", outcome="caller_hangup") == 1
        assert service.server.calls == 1
        assert good.end is None
        writer.close()


# -- too much to do --------------------------------------------------------------------------------


@in_virtual_time
async def test_a_process_that_has_enough_to_do_says_so_and_keeps_its_calls() -> None:
    overload = Overload(max_lag_s=0.05, max_memory_bytes=100)
    async with house(ScriptedModel(), overload=overload) as service, service.call() as call:
        await call.passes(0.1)
        overload.measured(101)
        assert await ready(service) == "memory"
        answer = await agi(service.agi_port, f"open?uuid={uuid.uuid4()}")
        assert answer["AGENT_STATUS"] == "BUSY"
        async with service.call() as late:
            assert await late.ended() is End.FINISHED
        assert service.metric("calls_rejected_total", reason="memory") == 2
        assert call.end is None
        overload.measured(90)
        assert await ready(service) == "ready"
        for number in range(20):
            overload.probed(number * 0.2)
        assert await ready(service) == "loop_lag"


async def ready(service: House) -> str:
    """What /readyz says."""
    return service.server.health.respond(b"GET /readyz HTTP/1.1\r\n\r\n").decode().split()[-1]


async def test_a_running_service_measures_itself() -> None:
    async with serving(MAX_MEMORY="1") as service:
        assert (await service.logged("overload"))["reason"] == "memory"
        assert await service.page("/readyz") == (503, "memory\n")
        async with Call.connect(HOST, service.port) as call:
            assert await call.ended() is End.FINISHED

"""Peers that are not Asterisk, or not well: none reaches another call, none leaves anything behind."""

import asyncio
import contextlib
import gc
import os
import socket
import struct
import uuid

import pytest

from audiosocket_agent import wire
from tests.house import HOST, House, house
from tests.scripted import ScriptedModel
from tests.virtual_time import in_virtual_time

ID = wire.identity(uuid.UUID(int=7))
FRAME = wire.audio(wire.Kind.SLIN, bytes(320))

MALFORMED: dict[str, tuple[bytes, str]] = {
    # before a call: what is sent, and the reason it is refused for
    "HTTP": (b"GET / HTTP/1.1\r\nHost: pbx\r\n\r\n", "no_uuid"),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "no_uuid"),
    "SIP": (b"OPTIONS sip:pbx SIP/2.0\r\n\r\n", "no_uuid"),
    "zeros": (bytes(64), "no_uuid"),
    "all ones": (b"\xff" * 64, "no_uuid"),
    "audio before the UUID": (FRAME + ID, "no_uuid"),
    "a digit before the UUID": (wire.dtmf("1") + ID, "no_uuid"),
    "a hangup before the UUID": (wire.HANGUP, "no_uuid"),
    "a UUID of 15 bytes": (b"\x01\x00\x0f" + bytes(15), "bad_length"),
    "a UUID as text": (b"\x01\x00\x24" + str(uuid.UUID(int=7)).encode(), "bad_length"),
    "a UUID of no length": (b"\x01\x00\x00", "bad_length"),
    "half a header": (b"\x01\x00", "truncated"),
    "half a UUID": (ID[:10], "truncated"),
    # in a call: what follows the UUID
    "a second UUID": (ID + ID, ""),
    "no audio in audio": (ID + b"\x10\x00\x00", ""),
    "an odd number of bytes (raw opus)": (ID + b"\x10\x00\x25" + bytes(37), ""),
    "an audio message of 64 kB": (ID + b"\x10\xff\xfe" + bytes(65_534), ""),
    "the error kind": (ID + b"\xff\x00\x01\x01", ""),
    "an unknown kind": (ID + FRAME + b"\x77\x00\x02ab", ""),
    "a kind after the last": (ID + b"\x19\x00\x02ab", ""),
    "two digits in one": (ID + b"\x03\x00\x0212", ""),
    "a digit that is none": (ID + b"\x03\x00\x01\x07", ""),
    "a hangup with a payload": (ID + b"\x00\x00\x01\x00", ""),
    "a cut in mid-frame": (ID + FRAME + FRAME[:100], ""),
}


async def send_and_wait(service: House, data: bytes) -> bytes:
    """Connect, send, half-close, and read until the service closes; returns what it said."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    writer.write(data)
    try:
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 5.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", MALFORMED)
@in_virtual_time
async def test_a_malformed_peer_ends_alone_and_leaves_nothing(kind: str) -> None:
    data, reason = MALFORMED[kind]
    async with house(ScriptedModel()) as service, service.call() as good:
        await good.passes(0.5)
        await send_and_wait(service, b"")  # whatever is made once is made
        gc.collect()  # and what earlier tests have left is gone: google-genai closes in a task
        await good.passes(0.1)
        tasks, files = len(asyncio.all_tasks()), open_files()
        await send_and_wait(service, data)
        await good.passes(2.0)
        assert good.end is None
        assert len(good.frames) == pytest.approx(good.now / 0.02, abs=1)
        assert service.server.calls == 1
        if reason:
            assert service.metric("calls_rejected_total", reason=reason) == 1
        else:
            assert service.metric("calls_total", outcome="peer_error") == 1
        gc.collect()
        assert len(asyncio.all_tasks()) == tasks
        assert open_files() <= files  # fewer, where an earlier test's are collected only now


@in_virtual_time
async def test_a_peer_that_says_nothing_has_two_seconds() -> None:
    async with house(ScriptedModel()) as service:
        reader, writer = await asyncio.open_connection(HOST, service.port)
        before = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionResetError):  # closed or reset: it is gone
            await reader.read()
        assert asyncio.get_running_loop().time() - before == pytest.approx(2.0, abs=0.1)
        writer.close()
        assert service.metric("calls_rejected_total", reason="no_uuid") == 1


@in_virtual_time
async def test_a_peer_that_resets_ends_its_call() -> None:
    async with house(ScriptedModel()) as service:
        _, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(ID + FRAME)
        await asyncio.sleep(0.1)
        assert service.server.calls == 1
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await service.is_empty(within=1.0)
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
async def test_a_peer_that_writes_a_byte_at_a_time_is_understood() -> None:
    model = ScriptedModel()
    async with house(model) as service:
        _, writer = await asyncio.open_connection(HOST, service.port)
        for byte in ID + FRAME * 3:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.0001)
        await asyncio.sleep(0.05)
        assert len(model.puppet.heard) >= 320
        writer.close()
        await service.is_empty()


@in_virtual_time
async def test_the_peer_may_say_that_it_hangs_up() -> None:
    async with house(ScriptedModel()) as service:
        await send_and_wait(service, ID + FRAME + wire.HANGUP)
        await service.is_empty()
        assert service.metric("calls_total", outcome="caller_hangup") == 1

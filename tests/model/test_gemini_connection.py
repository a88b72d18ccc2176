"""The fast path against a real WebSocket server: what passes it is whole, and in order."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from audiosocket_agent.model.gemini_connection import FastConnection, _next_key, connecting_for

TURN_OVER = '{"serverContent":{"turnComplete":true}}'


def audio(pcm: bytes) -> str:
    inline = {"mimeType": "audio/pcm;rate=24000", "data": b64encode(pcm).decode()}
    return json.dumps({"serverContent": {"modelTurn": {"parts": [{"inlineData": inline}]}}})


class Taker:
    """Notes what it hears, and what is read, in one story."""

    connection: FastConnection | None = None

    def __init__(self) -> None:
        self.story: list[bytes] = []

    def take_audio(self, pcm: bytes, rate_hz: int) -> None:
        assert rate_hz == 24_000
        self.story.append(pcm)


@asynccontextmanager
async def connected(
    taker: Taker, serving: Callable[[ServerConnection], Coroutine[Any, Any, None]]
) -> AsyncIterator[FastConnection]:
    connecting_for.set(taker)
    async with serve(serving, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(
            f"ws://127.0.0.1:{port}", create_connection=FastConnection, compression=None
        ) as connection:
            yield cast(FastConnection, connection)


async def test_audio_keeps_its_order_with_everything_else() -> None:
    async def speak(server: ServerConnection) -> None:
        await server.send(audio(b"1111"))
        await server.send(TURN_OVER)
        await server.send(audio(b"2222"))  # while nobody has seen that the turn was over
        await server.send([audio(b"3333")[:40], audio(b"3333")[40:]])
        await server.send(audio(b"4444"))
        await server.recv()  # all of it was read
        await server.send(audio(b"5555"))
        await server.send(audio(b"6666"))
        await server.send(TURN_OVER)

    taker = Taker()
    async with connected(taker, speak) as connection:
        await asyncio.sleep(0.05)  # all is there before anything is read
        for _ in range(2):
            taker.story.append(await connection.recv())
            connection.send_audio_end()
    over = TURN_OVER.encode()
    assert taker.story == [
        *(b"1111", over, b"2222", b"3333", b"4444"),
        *(b"5555", b"6666", over),
    ]


async def test_a_fault_in_what_takes_the_audio_is_raised_to_whoever_reads() -> None:
    class Broken(Taker):
        def take_audio(self, pcm: bytes, rate_hz: int) -> None:
            raise LookupError("ours")

    async def speak(server: ServerConnection) -> None:
        await server.recv()
        await server.send(audio(b"1111"))

    async with connected(Broken(), speak) as connection:
        reading = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        connection.send_audio_end()
        with pytest.raises(LookupError):
            await reading


@pytest.mark.parametrize("size", [2, 640, 60_000])  # by each form of a frame's length
async def test_frames_of_ours_are_frames_between_those_of_websockets(size: int) -> None:
    heard: list[str] = []

    async def listen(server: ServerConnection) -> None:
        heard.extend([cast(str, message) async for message in server])

    async with connected(Taker(), listen) as connection:
        connection.send_activity(begins=True)
        await connection.send("the SDK's")
        connection.send_audio(bytes(range(256)) * (size // 256) + bytes(size % 256), 8_000)
        await (await connection.ping())
        connection.send_activity(begins=False)
    connection.send_audio_end()  # nobody hears it, and it harms nobody
    begin, sdk, said, end = heard
    assert ("activityStart" in begin, sdk, "activityEnd" in end) == (True, "the SDK's", True)
    sent = json.loads(said)["realtime_input"]["audio"]
    assert sent["mime_type"] == "audio/pcm;rate=8000"
    assert len(b64decode(sent["data"])) == size


async def test_no_two_frames_have_the_same_key() -> None:
    keys = [_next_key() for _ in range(5_000)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) > 4_990


async def test_a_message_larger_than_the_buffer_it_is_read_into_arrives_whole() -> None:
    async def speak(server: ServerConnection) -> None:
        await server.send(json.dumps({"text": "x" * 300_000}))

    async with connected(Taker(), speak) as connection:
        message = await connection.recv()
    assert len(json.loads(message)["text"]) == 300_000

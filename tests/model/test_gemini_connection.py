"""The fast path against a real WebSocket server: what passes it is whole, and in order."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import accumulate, pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.uri import parse_uri
from websockets.utils import accept_key

from audiosocket_agent.model.gemini_connection import (
    MAX_TOGETHER,
    FastConnection,
    _next_key,
    connecting_for,
    rate_of,
)

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

    def take_message(self, message: bytes) -> bool:
        return False


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
            try:
                yield cast(FastConnection, connection)
            finally:
                await connection.close()


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


async def test_what_is_taken_keeps_its_order_with_what_is_read() -> None:
    class Quick(Taker):
        def take_message(self, message: bytes) -> bool:
            if b"word" in message:
                self.story.append(message)
            return b"word" in message

    async def speak(server: ServerConnection) -> None:
        await server.send("word 1")
        await server.send(audio(b"1111"))
        await server.send(TURN_OVER)
        await server.send("word 2")  # while nobody has seen that the turn was over
        await server.send(audio(b"2222"))
        await server.recv()
        await server.send(["wor", "d 3"])
        await server.send("word 4")
        await server.send(audio(b"3333"))
        await server.send(TURN_OVER)

    taker = Quick()
    async with connected(taker, speak) as connection:
        await asyncio.sleep(0.05)  # all is there before anything is read
        for _ in range(2):
            taker.story.append(await connection.recv())
            await asyncio.sleep(0.01)
            taker.story.append(b"dealt with")
            connection.send_audio_end()
    over = [TURN_OVER.encode(), b"dealt with"]
    assert taker.story == [
        *(b"word 1", b"1111", *over, b"word 2", b"2222"),
        *(b"word 3", b"word 4", b"3333", *over),
    ]


@pytest.mark.parametrize("said", [audio(b"1111"), "a word"])
async def test_a_fault_in_what_takes_it_is_raised_to_whoever_reads(said: str) -> None:
    class Broken(Taker):
        def take_audio(self, pcm: bytes, rate_hz: int) -> None:
            raise LookupError("ours")

        def take_message(self, message: bytes) -> bool:
            raise LookupError("ours")

    async def speak(server: ServerConnection) -> None:
        await server.recv()
        await server.send(said)

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
    with capture_logs() as logged:
        connection.send_audio_end()  # nobody hears it, and it harms nobody
        await asyncio.sleep(0)
    assert logged == []
    begin, sdk, said, end = heard
    assert ("activityStart" in begin, sdk, "activityEnd" in end) == (True, "the SDK's", True)
    sent = json.loads(said)["realtime_input"]["audio"]
    assert sent["mime_type"] == "audio/pcm;rate=8000"
    assert len(b64decode(sent["data"])) == size


class Wire(asyncio.Transport):
    """Where frames end up, in the order in which they left."""

    def __init__(self, frames: list["Wire"], *, broken: bool = False) -> None:
        super().__init__()
        self.frames, self.broken, self.aborted = frames, broken, False

    def write(self, data: object) -> None:
        if self.broken:
            raise RuntimeError("ours")
        self.frames.append(self)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def on(wire: Wire) -> FastConnection:
    connecting_for.set(Taker())
    connection = FastConnection(ClientProtocol(parse_uri("wss://localhost")))
    connection.transport, connection.protocol.state = wire, State.OPEN
    return connection


async def test_frames_of_all_calls_leave_together_and_a_fault_of_one_stops_no_other() -> None:
    left: list[Wire] = []
    wires = [Wire(left), Wire(left, broken=True), Wire(left)]
    connections = [on(wire) for wire in wires]
    for connection in connections * 2:
        connection.send_audio(bytes(320), 8_000)
    assert left == []
    await asyncio.sleep(0)
    assert left == [wires[0], wires[2]] * 2
    assert [wire.aborted for wire in wires] == [False, True, False]


async def test_so_many_do_not_wait_for_more() -> None:
    left: list[Wire] = []
    connection = on(Wire(left))
    for _ in range(MAX_TOGETHER + 1):
        connection.send_activity(begins=True)
    assert len(left) == MAX_TOGETHER
    await asyncio.sleep(0)
    assert len(left) == MAX_TOGETHER + 1


def test_audio_without_a_sample_is_nobodys_speech() -> None:
    said = [b"", bytes(99), b"", bytes(99)]
    texts = [audio(pcm).replace("}]}}}", " " * 40 + "}]}}}") for pcm in said]
    pieces = [frame(1, text.encode()) for text in texts]
    assert story(pieces, FastConnection, 0)[:-2] == [b"24000: " + bytes(99)] * 2


@pytest.mark.parametrize(
    ("mime_type", "rate_hz"),
    [
        ("audio/pcm;rate=24000", 24_000),
        ("audio/pcm;rate=8000", 8_000),
        ("audio/l16; rate=16000; channels=1", 16_000),
        ("audio/pcm", 24_000),
        ("audio/pcm;rate=0", 24_000),
        ("audio/pcm;rate=24001", 24_000),  # whose matrix would have gigabytes
        ("audio/pcm;rate=\u0661\u0662000", 24_000),
        ("audio/pcm;rate=" + "9" * 5_000, 24_000),
    ],
)
def test_the_rate_is_one_that_speech_comes_at(mime_type: str, rate_hz: int) -> None:
    assert rate_of(mime_type) == rate_hz


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


# -- any slicing of any stream -----------------------------------------------------------------------


class Line(asyncio.Transport):
    """What a connection is told by its transport, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """As a server sends it (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    else:
        length = (
            b"\x7e" + size.to_bytes(2, "big")
            if size < 1 << 16
            else b"\x7f" + size.to_bytes(8, "big")
        )
    return bytes([opcode | (0x80 if fin else 0)]) + length + payload


def story(pieces: list[bytes], kind: type[ClientConnection], reads_after: int) -> list[bytes]:
    """What one connection makes of these bytes: audio as it is taken, all else as it is read; at last
    the opcodes of its answers, and how it stands. Whoever reads begins after so many pieces."""

    async def run() -> list[bytes]:
        taker, line = Rated(), Line()
        connecting_for.set(taker)
        connection = kind(
            ClientProtocol(parse_uri("ws://localhost/")), ping_interval=None, max_queue=None
        )
        connection.connection_made(line)
        shaking = asyncio.ensure_future(ClientConnection.handshake(connection))
        while not line.written:  # noqa: ASYNC110 - it is written within a turn or two of the loop
            await asyncio.sleep(0)
        asked = b"".join(line.written).decode().split("\r\n")
        key = next(each[19:] for each in asked if each.startswith("Sec-WebSocket-Key:"))
        connection.data_received(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
        )
        await shaking
        line.written.clear()

        async def read() -> None:
            while True:
                taker.story.append(await connection.recv(decode=False))

        reading: asyncio.Task[None] | None = None
        for number, piece in enumerate(pieces):
            if number == reads_after:
                reading = asyncio.ensure_future(read())
                await asyncio.sleep(0)
            connection.data_received(piece)
            if number % 3 < 2:
                for _ in range(3):
                    await asyncio.sleep(0)
        reading = reading or asyncio.ensure_future(read())
        for _ in range(3 * len(pieces) + 10):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        answers = bytes(data[0] for data in line.written if data)
        return [*taker.story, answers, connection.protocol.state.name.encode()]

    return asyncio.run(run())


class Rated(Taker):
    def take_audio(self, pcm: bytes, rate_hz: int) -> None:
        self.story.append(b"%d: " % rate_hz + pcm)


class Plain(ClientConnection):
    """websockets alone; what is audio is found in what is read."""

    async def recv(self, decode: bool | None = None) -> Any:
        message = await super().recv(decode=False)
        try:
            content = json.loads(message)["serverContent"]
            inline = content["modelTurn"]["parts"][0]["inlineData"]
            return (
                inline["mimeType"][-5:].encode() + b": " + b64decode(inline["data"], validate=True)
            )
        except (ValueError, KeyError, TypeError):
            return message


_PCM = st.binary(min_size=60, max_size=400)
_SHAPES: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: text.replace("24000", "16000"),
    lambda text: text.replace('"}}]}}}', '" }}]}}}'),
]
_SAID = st.tuples(_PCM, st.sampled_from([*_SHAPES[:1] * 4, *_SHAPES])).map(
    lambda it: it[1](audio(it[0])).encode()
)
_BAD = _PCM.map(lambda pcm: audio(pcm).replace('"data": "', '"data": "*').encode())
_ELSE = st.sampled_from([TURN_OVER.encode(), json.dumps({"text": "x" * 70_000}).encode()])
_TEXT = st.integers(0, 9).flatmap(lambda die: _BAD if die == 0 else _ELSE if die == 1 else _SAID)
_WHOLE = st.builds(frame, st.sampled_from([1, 2]), _TEXT)
_PARTS = st.tuples(_SAID, st.integers(1, 50) | st.just(1_000), st.booleans()).map(
    lambda it: (
        frame(1, it[0][: it[1]], fin=False)
        + (frame(9, b"in between") if it[2] else b"")
        + frame(0, it[0][it[1] :])
    )
)
_CONTROL = st.sampled_from([frame(9, b"ping"), frame(10, b""), frame(8, b"\x03\xe8")])
_MASKED = st.just(b"\x81\xfe\x01\x00" + bytes(260))  # which no server may send
_FRAME = st.integers(0, 15).flatmap(
    lambda die: _CONTROL if die == 0 else _MASKED if die == 1 else _PARTS if die < 4 else _WHOLE
)
_FRAMES = st.lists(_FRAME, min_size=2, max_size=10)
_CUTS = st.lists(
    st.tuples(st.integers(0, 10), st.just(0) | st.just(0) | st.integers(-6, 400)), max_size=16
)
"""After so many frames, and so many bytes more."""


@given(_FRAMES, _CUTS, st.sampled_from([0, 0, 0, 1, 3]))
@example([frame(1, audio(bytes(99)).encode())] * 4, [(1, 0), (2, 2), (2, 4), (3, 0)], 0)
@example([frame(1, TURN_OVER.encode(), fin=False), frame(0, b"")], [(1, 0)], 1)
def test_any_slicing_of_any_stream_is_what_websockets_makes_of_it(
    frames: list[bytes], cuts: list[tuple[int, int]], reads_after: int
) -> None:
    stream, ends = b"".join(frames), [0, *accumulate(map(len, frames))]
    places = [ends[min(after, len(frames))] + more for after, more in cuts]
    edges = [0, *sorted(min(max(0, place), len(stream)) for place in places), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges) if a < b]
    fast, plain = (story(pieces, kind, reads_after) for kind in (FastConnection, Plain))
    assert fast == plain


def test_of_messages_that_are_alike_only_the_first_is_parsed() -> None:
    parsed: list[int] = []

    class Counting(FastConnection):
        def _without_audio(self, message: bytes) -> bytes:
            parsed.append(len(message))
            return super()._without_audio(message)

    said = [bytes([number]) * 99 for number in range(5)]
    pieces = [frame(1, audio(pcm).encode()) for pcm in said]
    taken = story([*pieces[:2], b"".join(pieces[2:])], Counting, 0)[:5]
    assert taken == [b"24000: " + pcm for pcm in said]
    assert len(parsed) == 1

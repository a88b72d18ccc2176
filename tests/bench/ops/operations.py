"""What a call does fifty times a second, one operation at a time, each on the code the service runs.

Sockets are replaced by their transports: an operation ends where the bytes are given to the kernel or to
TLS, and begins where they come from there. Sizes are those of a real call: 20 ms frames of 320, 640 or
960 bytes, 40 ms messages of the model. All go through interfaces that the rest of the house uses, so
that they run on older commits too.
"""

import asyncio
import itertools
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, cast

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.headers import build_host
from websockets.uri import parse_uri
from websockets.utils import accept_key

from audiosocket_agent import assets, wire
from audiosocket_agent.audio.playout import Playout
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.audio.uplink import Uplink
from audiosocket_agent.audio.vad import SpeechDetector
from audiosocket_agent.clock import Ticker
from audiosocket_agent.model.base import Capabilities, SessionSetup, VoiceModel
from audiosocket_agent.model.gemini_connection import FastConnection, connecting_for
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.pbx.audiosocket import Leg
from tests.virtual_time import VirtualLoop

FRAME_S: Final = 0.020
CYCLE: Final = 100
"""Frames of speech, then of silence, that a caller's are taken from: to be done so often, or a multiple,
where operations are compared."""
CHUNK: Final = bytes(range(1, 241)) * 8
"""40 ms at 24 kHz."""
CALLS: Final = 100

Operation = Callable[[], object]
Made = AbstractContextManager[Operation]
"""Ready to be done, for as long as the block lasts."""


def spoken(rate_hz: int) -> Iterator[bytes]:
    """Half of CYCLE is speech, half of it what a silent line sends; again and again."""
    pcm = assets.speech("caller")[: assets.RATE_HZ * 2]
    if rate_hz != assets.RATE_HZ:
        pcm = Resampler(assets.RATE_HZ, rate_hz).feed(pcm)
    size = round(rate_hz * FRAME_S) * 2
    frames = [pcm[at : at + size] for at in range(0, len(pcm), size)][: CYCLE // 2]
    return itertools.cycle([*frames, *[bytes(size)] * (CYCLE - len(frames))])


# -- audio -----------------------------------------------------------------------------------------


@contextmanager
def wire_parse() -> Iterator[Operation]:
    """A frame at 8 kHz, as it is read from the socket."""
    decoder = wire.Decoder()
    list(decoder.feed(wire.identity(uuid.UUID(int=7))))
    frame = wire.audio(wire.Kind.SLIN, bytes(320))
    yield lambda: list(decoder.feed(frame))


@contextmanager
def wire_frame() -> Iterator[Operation]:
    """A frame at 24 kHz, as it is written."""
    payload = bytes(960)
    yield lambda: wire.audio(wire.Kind.SLIN24, payload)


@contextmanager
def vad(rate_hz: int) -> Iterator[Operation]:
    """Whether a frame is speech."""
    detector, frames = SpeechDetector(rate_hz), spoken(rate_hz)
    yield lambda: detector.feed(next(frames))


@contextmanager
def resample(from_hz: int, to_hz: int, seconds: float) -> Iterator[Operation]:
    """A chunk of so many seconds."""
    resampler, pcm = Resampler(from_hz, to_hz), CHUNK[: round(from_hz * seconds) * 2]
    yield lambda: resampler.feed(pcm)


@contextmanager
def uplink() -> Iterator[Operation]:
    """A frame at 8 kHz, as it came, with all that is watched on its way to the model."""
    way, frames = Uplink(SpeechDetector), spoken(8_000)
    yield lambda: way.take(next(frames), 8_000)


@contextmanager
def playout(rate_hz: int) -> Iterator[Operation]:
    """40 ms of a reply, queued and taken."""
    queue = Playout(rate_hz)

    def operation() -> None:
        queue.push(CHUNK, 24_000)
        queue.take()
        queue.take()

    yield operation


# -- the PBX's side ----------------------------------------------------------------------------------


class Transport(asyncio.Transport):
    """Takes everything, and keeps the last of it; gives a protocol what a socket would."""

    last: Any = b""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._protocol = protocol
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def deliver(self, data: bytes) -> None:
        """What the peer has sent."""
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            cast(asyncio.Protocol, protocol).data_received(data)
            return
        while data:
            buffer = memoryview(protocol.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            protocol.buffer_updated(size)
            data = data[size:]

    def write(self, data: Any) -> None:
        self.last = data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.last = b"".join(list_of_data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Listener:
    """Whoever has the call: does nothing (pbx.audiosocket.LegListener)."""

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None: ...
    def pressed(self, digit: str) -> None: ...
    def ticked(self, now: float) -> None: ...
    def played_out(self, now: float) -> None: ...
    def closed(self, outcome: Any, error: Exception | None) -> None: ...


class Clock:
    """Stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def _loop() -> Iterator[VirtualLoop]:
    """Whatever still waits in it at the end is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        yield loop


@contextmanager
def _leg(clock: Clock) -> Iterator[tuple[Leg, Transport]]:
    """One that is identified, and sends at 24 kHz."""

    async def made() -> tuple[Leg, Transport]:
        leg = Leg(
            Ticker(clock),
            identified=lambda *_: Listener(),
            lost=lambda *_: None,
            downlink_rate_hz=24_000,
            clock=clock,
        )
        line = Transport(leg)
        line.deliver(wire.identity(uuid.UUID(int=7)))
        return leg, line

    with _loop() as loop:
        yield loop.run_until_complete(made())


@contextmanager
def leg_in() -> Iterator[Operation]:
    """A frame of the caller, from the socket to the listener."""
    clock, frame = Clock(), wire.audio(wire.Kind.SLIN, bytes(320))
    with _leg(clock) as (_, line):

        def operation() -> None:
            clock.now += FRAME_S
            line.deliver(frame)

        yield operation


@contextmanager
def leg_silence() -> Iterator[Operation]:
    """A tick in which the agent says nothing."""
    clock = Clock()
    with _leg(clock) as (leg, _):

        def operation() -> None:
            clock.now += FRAME_S
            leg.tick(clock.now)

        yield operation


@contextmanager
def leg_reply() -> Iterator[Operation]:
    """40 ms of a reply, from the model's chunk to two frames on the socket."""
    clock = Clock()
    with _leg(clock) as (leg, _):

        def operation() -> None:
            leg.play(CHUNK, 24_000)
            for _ in range(2):
                clock.now += FRAME_S
                leg.tick(clock.now)

        yield operation


class Paced:
    """Due every 20 ms."""

    done = False

    def __init__(self, due: float) -> None:
        self.due = due

    def tick(self, now: float) -> float:
        self.due += FRAME_S
        return self.due


@contextmanager
def ticker() -> Iterator[Operation]:
    """100 calls for 20 ms: a tick of each, at times of their own."""
    with _loop() as loop:

        async def add() -> None:
            them = Ticker(loop.time)
            for number in range(CALLS):
                them.add(Paced(FRAME_S * number / CALLS))

        loop.run_until_complete(add())
        yield lambda: loop.run_until_complete(asyncio.sleep(FRAME_S))


# -- the model's side --------------------------------------------------------------------------------


class Taker:
    """The session of a connection (gemini_connection.AudioTaker)."""

    connection: FastConnection | None = None
    taken = 0

    def take_audio(self, pcm: bytes, rate_hz: int) -> None:
        self.taken += 1

    def take_message(self, message: bytes) -> bool:
        return False


class Voice:
    """A session that knows nothing but to pass audio on."""

    dropped = 0

    def __init__(self, connection: FastConnection) -> None:
        self.send_audio = connection.send_audio

    async def events(self) -> Any:
        await asyncio.Event().wait()
        yield


async def _connected(taker: Taker) -> tuple[FastConnection, Transport]:
    """Its opening handshake is a real one; the service's part of it is here."""
    connecting_for.set(taker)
    uri = parse_uri("wss://localhost/ws")
    connection = FastConnection(ClientProtocol(uri), ping_interval=None)
    line = Transport(connection)
    shaking = asyncio.ensure_future(ClientConnection.handshake(connection))
    while not line.last:  # noqa: ASYNC110 - it is written within a turn or two of the loop
        await asyncio.sleep(0)
    head = bytes(line.last).decode()
    assert f"Host: {build_host(uri.host, uri.port, uri.secure)}" in head
    key = next(line[19:] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key:"))
    line.deliver(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
    )
    await shaking
    return connection, line


@contextmanager
def model_send(rate_hz: int) -> Iterator[Operation]:
    """A frame of the caller, to a masked WebSocket frame for TLS."""
    frames = spoken(rate_hz)
    with _loop() as loop:
        connection, line = loop.run_until_complete(_connected(Taker()))
        yield lambda: connection.send_audio(next(frames), rate_hz)
        loop.run_until_complete(asyncio.sleep(0))  # with which the last of them leave
        assert len(line.last) > rate_hz * FRAME_S * 2


class Model:
    """One that is there at once."""

    name = "bench"
    capabilities = Capabilities(heard_notes=False)

    @asynccontextmanager
    async def open(self, setup: SessionSetup, sink: Any) -> AsyncIterator[Any]:
        connection, _ = await _connected(Taker())
        yield Voice(connection)


@contextmanager
def model_keep_and_send() -> Iterator[Operation]:
    """The same through the session that outlives its connections, which keeps what is not answered."""
    frames, model = spoken(8_000), cast(VoiceModel, Model())
    with _loop() as loop:
        opened = LastingModel([Rung(model)], loop.time).open(SessionSetup("", ""), lambda *_: None)
        session = loop.run_until_complete(opened.__aenter__())
        try:
            yield lambda: session.send_audio(next(frames), 8_000)
        finally:
            loop.run_until_complete(opened.__aexit__(None, None, None))


@contextmanager
def model_receive() -> Iterator[Operation]:
    """40 ms from the model, from a WebSocket frame out of TLS to PCM; ten of them, as they come in a
    burst."""
    taker = Taker()
    text = (
        b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000",'
        b'"data":"' + b64encode(CHUNK) + b'"}}]}}}'
    )
    frame = bytes((0x82, 126)) + len(text).to_bytes(2, "big") + text

    async def start() -> Transport:
        connection, line = await _connected(taker)
        reading.append(asyncio.ensure_future(connection.recv()))
        await asyncio.sleep(0)
        return line

    async def receive() -> None:
        wanted = taker.taken + 10
        for _ in range(10):
            line.deliver(frame)
            await asyncio.sleep(0)
        while taker.taken < wanted:  # noqa: ASYNC110 - in this turn of the loop, or the next
            await asyncio.sleep(0)

    reading: list[asyncio.Future[Any]] = []
    with _loop() as loop:
        line = loop.run_until_complete(start())
        yield lambda: loop.run_until_complete(receive())


OPERATIONS: Final[dict[str, Callable[[], Made]]] = {
    "wire parse": wire_parse,
    "wire frame": wire_frame,
    "vad 8 kHz": lambda: vad(8_000),
    "vad 16 kHz": lambda: vad(16_000),
    "resample 8 to 16 kHz, 20 ms": lambda: resample(8_000, 16_000, 0.020),
    "resample 24 to 8 kHz, 40 ms": lambda: resample(24_000, 8_000, 0.040),
    "resample 24 to 16 kHz, 40 ms": lambda: resample(24_000, 16_000, 0.040),
    "uplink frame": uplink,
    "playout 24 kHz, 40 ms": lambda: playout(24_000),
    "playout 8 kHz, 40 ms": lambda: playout(8_000),
    "leg: frame in": leg_in,
    "leg: silence out": leg_silence,
    "leg: reply out, 40 ms": leg_reply,
    "ticker, 100 calls, 20 ms": ticker,
    "model send 8 kHz": lambda: model_send(8_000),
    "model send 16 kHz": lambda: model_send(16_000),
    "model keep and send": model_keep_and_send,
    "model receive, 10 of 40 ms": model_receive,
}
"""By their names, as they are compared under."""

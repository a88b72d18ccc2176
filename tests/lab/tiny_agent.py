"""Services for the pretend caller to call: one that converses in tones, and raw ones."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from audiosocket_agent import wire
from audiosocket_agent.audio import FRAME_SECONDS, frame_bytes

HOST = "127.0.0.1"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def tone(seconds: float, rate_hz: int = 8_000) -> bytes:
    """440 Hz at -15 dBFS."""
    n = np.arange(round(seconds * rate_hz))
    return (8_000 * np.sin(2 * np.pi * 440 * n / rate_hz)).astype("<i2").tobytes()


@asynccontextmanager
async def service(handler: Handler) -> AsyncGenerator[int, None]:
    """Serve every connection by `handler`; gives the port. What a handler raises is raised."""
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        await asyncio.gather(*filter(None, served))


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Whatever comes until the caller is gone, also by a reset: it hung up on unread audio."""
    received = b""
    try:
        while data := await reader.read(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


@dataclass
class Agent:
    """Greets, answers when the caller has been silent for `patience`, and stops when the caller has
    spoken over it for `yields_after`. Paced, silence included. Durations in seconds."""

    rate_hz: int = 8_000
    greets_after: float = 0.4
    greeting: float = 1.0
    patience: float = 0.6
    reply: float = 3.0
    yields_after: float | None = 0.14
    answers: int | None = None  # so many, then 0x00
    identities: list[wire.Message] = field(default_factory=list)
    digits: str = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mind = _Mind(self)
        decoder = wire.Decoder()
        speaking = asyncio.create_task(self._speak(mind, writer))
        try:
            while data := await reader.read(65_536):
                for message in decoder.feed(data):
                    self._take(message, mind)
        except ConnectionResetError:
            pass  # the caller hung up on unread audio
        finally:
            speaking.cancel()

    def _take(self, message: wire.Message, mind: "_Mind") -> None:
        match message:
            case wire.Audio(_, payload):
                mind.hear(bool(np.abs(np.frombuffer(payload, "<i2")).max() > 300))
            case wire.Identity():
                self.identities.append(message)
            case wire.Digit(digit):
                self.digits += digit

    async def _speak(self, mind: "_Mind", writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        kind, silence = wire.KIND_OF_RATE[self.rate_hz], bytes(frame_bytes(self.rate_hz))
        sound = tone(FRAME_SECONDS, self.rate_hz)
        due = loop.time()
        while not mind.has_finished:
            writer.write(wire.audio(kind, sound if mind.speaks() else silence))
            due += FRAME_SECONDS
            await asyncio.sleep(due - loop.time())
        writer.write(wire.HANGUP)


class _Mind:
    """What an Agent is about to say in one call, in frames."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._wait = round(agent.greets_after / FRAME_SECONDS)
        self._to_say = round(agent.greeting / FRAME_SECONDS)
        self._answered = 0
        self._heard = self._silent = 0

    @property
    def has_finished(self) -> bool:
        return self._answered == self._agent.answers and not self._to_say

    def speaks(self) -> bool:
        """Whether the next frame is speech."""
        if self._wait:
            self._wait -= 1
        elif self._to_say:
            self._to_say -= 1
            return True
        return False

    def hear(self, audible: bool) -> None:
        """The caller's next frame."""
        agent = self._agent
        if audible:
            self._heard, self._silent = self._heard + 1, 0
            if agent.yields_after is not None and self._heard * FRAME_SECONDS > agent.yields_after:
                self._to_say = 0
        elif self._heard:
            self._silent += 1
            if self._silent * FRAME_SECONDS >= agent.patience:
                self._to_say = round(agent.reply / FRAME_SECONDS)
                self._heard, self._answered = 0, self._answered + 1

"""Bad weather between two sockets of this host: a TCP proxy that does to bytes what networks do.

async with Proxy(port) as proxy:
    proxy.weather = Weather(delay_s=0.15, jitter_s=0.05)    # of connections to come
    await connect("127.0.0.1", proxy.port)
    proxy.pipes[0].freeze()                                  # half-open: nothing passes any more
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, cast

HOST: Final = "127.0.0.1"
READ_BYTES: Final = 65_536
HELD_CHUNKS: Final = 256
"""On their way, each direction; a sender that is faster is not read meanwhile."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What every byte goes through. All zero: nothing happens to it."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Added to the delay, evenly from 0 to this; the order is kept, as TCP does."""
    slice_bytes: int = 0
    """Written in pieces of 1 to so many bytes, each a packet of its own."""
    bytes_per_s: float = 0.0
    corrupt_every: int = 0
    """One byte in about so many is another one."""


FINE: Final = Weather()


class Pipe:
    """One connection through the proxy."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather = weather
        self.port = 0
        """Ours, as the server sees it."""
        self._random = random.Random(seed)
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._half_closed = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def closed(self) -> bool:
        return not self._writers or all(writer.is_closing() for writer in self._writers)

    def cut(self, *, reset: bool = False) -> None:
        """Both ends are told at once: by a FIN, or by a reset."""
        self._thawed.set()
        for writer in self._writers:
            if reset:
                _linger_for_no_time(writer)
                writer.transport.abort()
            else:
                writer.close()

    def half_close(self) -> None:
        """The client is told that the server has no more to say; the other way stays open."""
        self._half_closed.set()
        with suppress(OSError):  # gone meanwhile
            self._writers[0].write_eof()

    def reset_client(self) -> None:
        """The client is told by a reset; the server hears nothing any more, and nothing of it."""
        self.freeze()
        _linger_for_no_time(self._writers[0])
        self._writers[0].transport.abort()

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._thawed.clear()

    def thaw(self) -> None:
        """What was held passes."""
        self._thawed.set()

    async def run(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Carry until both ways are closed."""
        self._writers = [client[1], server[1]]
        self.port = server[1].get_extra_info("sockname")[1]
        try:
            async with asyncio.TaskGroup() as group:
                for reader, writer in ((client[0], server[1]), (server[0], client[1])):
                    group.create_task(self._carry(reader, writer))
        finally:
            for writer in self._writers:
                writer.close()
            for writer in self._writers:
                with suppress(OSError):
                    await writer.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_CHUNKS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(reader, held))
            group.create_task(self._pass_on(held, writer))

    async def _take(
        self, reader: asyncio.StreamReader, held: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        now = asyncio.get_running_loop().time
        while True:
            try:
                data = await reader.read(READ_BYTES)
            except OSError:
                data = b""
            weather = self.weather
            delay = weather.delay_s + self._random.uniform(0.0, weather.jitter_s)
            await held.put((now() + delay, data))
            if not data:
                return

    async def _pass_on(
        self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, data = await held.get()
            if due > now():
                await asyncio.sleep(due - now())
            await self._thawed.wait()
            try:
                if not data:
                    if writer.can_write_eof() and not writer.is_closing():
                        writer.write_eof()
                    return
                if self._half_closed.is_set() and writer is self._writers[0]:
                    continue
                await self._write(data, writer)
            except (OSError, RuntimeError):  # that end is gone (RuntimeError: uvloop's way)
                continue

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        weather = self.weather
        if weather.corrupt_every:
            data = self._corrupted(data, weather.corrupt_every)
        at = 0
        while at < len(data):
            size = len(data) - at
            if weather.slice_bytes:
                size = min(size, self._random.randint(1, weather.slice_bytes))
            elif weather.bytes_per_s:
                size = min(size, max(1, round(weather.bytes_per_s / 50)))
            writer.write(data[at : at + size])
            await writer.drain()
            at += size
            if weather.bytes_per_s:
                await asyncio.sleep(size / weather.bytes_per_s)
            elif weather.slice_bytes:
                await asyncio.sleep(0)  # else the next follows before anybody could read this one

    def _corrupted(self, data: bytes, every: int) -> bytes:
        changed = bytearray(data)
        at = self._random.randrange(2 * every)
        while at < len(changed):
            changed[at] ^= 1 + self._random.randrange(255)
            at += 1 + self._random.randrange(2 * every)
        return bytes(changed)


class Proxy:
    """Listens on a free port for as long as the block lasts, and carries to `port` of this host."""

    def __init__(self, port: int, weather: Weather = FINE) -> None:
        self.target = port
        self.port = 0
        self.weather = weather
        self.refusing = False
        """New connections are reset."""
        self.pipes: list[Pipe] = []
        """Open ones, in order of arrival."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._seeds = 0
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def find(self, port: int) -> Pipe:
        """The connection that the server sees as coming from `port`. Raises LookupError."""
        return _first(self.pipes, lambda pipe: pipe.port == port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            _linger_for_no_time(writer)
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._seeds += 1
        pipe = Pipe(self.weather, self._seeds)
        try:
            server = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        finally:
            self._tasks.discard(task)
        self._tasks.add(task)
        for each in (writer, server[1]):
            plain = cast(socket.socket, each.get_extra_info("socket"))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pipes.append(pipe)
        try:
            await pipe.run((reader, writer), server)
        except asyncio.CancelledError:  # the proxy is leaving; streams log what they do not expect
            pass
        finally:
            self.pipes.remove(pipe)
            self._tasks.discard(task)


def _first(pipes: list[Pipe], fits: Callable[[Pipe], bool]) -> Pipe:
    for pipe in pipes:
        if fits(pipe):
            return pipe
    raise LookupError("no such connection")


def _linger_for_no_time(writer: asyncio.StreamWriter) -> None:
    """Turns the close into a reset (socket(7), SO_LINGER)."""
    plain = writer.get_extra_info("socket")
    with suppress(OSError):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

"""The network between us and a model: a TCP proxy that can be cut, hold its tongue, or be stuck."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Final, Self

CHUNK_BYTES: Final = 64 * 1024
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Lingering for no time turns the close into a reset (socket(7), SO_LINGER)."""


class Cable:
    """To a port of localhost, for as long as the block lasts."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.connections = 0
        self._to = port
        self._delivers = asyncio.Event()  # for the connections there are
        self._reads = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._delivers.set()
        self._reads.set()
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self._reads.set()
        self.reset()
        await self._server.wait_closed()

    def reset(self) -> None:
        """Every connection there is ends with a reset, on both sides."""
        for writer in self._writers:
            if not writer.is_closing():
                plain = writer.get_extra_info("socket")
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                writer.transport.abort()
        self._writers.clear()

    def hold(self) -> None:
        """What the connections there are carry from now on is never delivered, and nobody is told."""
        self._delivers.clear()
        self._delivers = asyncio.Event()  # for those to come
        self._delivers.set()

    def block(self) -> None:
        """Nothing is read any more, so that those who send can do so no longer."""
        self._reads.clear()

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self.connections += 1
        far, on = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {back, on}
        delivers = self._delivers
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass(near, on, delivers))
            tasks.create_task(self._pass(far, back, delivers))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delivers: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self._reads.wait()
                if not delivers.is_set():
                    continue
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()

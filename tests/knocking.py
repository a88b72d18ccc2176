"""Connections at a steady rate, every tenth a call, and what became of them.

async with knocking(port, per_second=100) as callers:
    ...
assert not callers.refused
"""

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from audiosocket_agent import wire

HOST: Final = "127.0.0.1"
STAY_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 5.0
CALL_OF: Final = 10
"""The others look whether somebody is there, as load balancers do."""


class Callers:
    """All that came so far."""

    def __init__(self) -> None:
        self.taken = 0
        self.calls = 0
        """Of them."""
        self.refused: Counter[str] = Counter()
        """Those that were not, by how."""
        self.slowest_s = 0.0
        """From the connect to the first frame."""

    async def one(self, port: int, *, calls: bool) -> None:
        """Connect, wait for the first frame, and where it `calls` listen for a moment."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if why := await self._come(port, calls):
                    self.refused[why] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.refused[type(error).__name__] += 1

    async def _come(self, port: int, calls: bool) -> str:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            if calls:
                writer.write(wire.identity(uuid.uuid4()))
            header = await reader.readexactly(wire.HEADER_BYTES)
            self.slowest_s = max(self.slowest_s, loop.time() - began_at)
            end = loop.time() + (STAY_SECONDS if calls else 0.0)
            while loop.time() < end:
                if header[0] == wire.Kind.HANGUP:
                    return "hung up"
                await reader.readexactly(int.from_bytes(header[1:]))
                header = await reader.readexactly(wire.HEADER_BYTES)
            self.taken += 1
            self.calls += calls
            return ""
        finally:
            writer.close()


@asynccontextmanager
async def knocking(port: int, *, per_second: float) -> AsyncIterator[Callers]:
    """Callers at this rate for as long as the block lasts, and to the end of the last."""
    callers = Callers()
    loop = asyncio.get_running_loop()

    async def come() -> None:
        async with asyncio.TaskGroup() as group:
            due = loop.time()
            for number in itertools.count():
                if enough.is_set():
                    break
                group.create_task(callers.one(port, calls=number % CALL_OF == 0))
                due += 1 / per_second
                await asyncio.sleep(max(0.0, due - loop.time()))

    enough = asyncio.Event()
    coming = loop.create_task(come())
    try:
        yield callers
    finally:
        enough.set()
        await coming

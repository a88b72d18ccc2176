"""Commands as people and programs run them: each a process."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.serving import PATIENCE_SECONDS, environment

ANSI: Final = "\x1b"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@asynccontextmanager
async def started(
    *arguments: str, settings: dict[str, str], terminal: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command while it goes on: on a terminal, or with pipes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "audiosocket_agent", *arguments),
        env=environment(**settings),
        stdin=asyncio.subprocess.DEVNULL if terminal is None else terminal,
        stdout=asyncio.subprocess.PIPE if terminal is None else terminal,
        stderr=asyncio.subprocess.PIPE if terminal is None else terminal,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str, **settings: str) -> Done:
    """Run a command to its end."""
    async with started(*arguments, settings=settings) as process, asyncio.timeout(PATIENCE_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    assert ANSI not in out.decode() + err.decode()  # this is no terminal
    return Done(process.returncode, out.decode(), err.decode())

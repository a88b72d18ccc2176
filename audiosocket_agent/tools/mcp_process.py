"""An MCP server as a child process: a message a line on its stdin and stdout.

The official client's own way to start one hands on more of our environment, reads lines of any length,
and may leave the process behind where its task is cancelled. Here nothing is without a bound, and the
whole process group ends with the block.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from audiosocket_agent import log
from audiosocket_agent.tools.hiding import hidden
from audiosocket_agent.tools.mcp_server import MAX_MESSAGE_BYTES, McpServer, one_line

WRITE_S: Final = 5.0
"""A server that reads nothing for so long is taken for dead."""
END_S: Final = 1.0
"""For a server to end once its stdin is closed, and again once it is told to."""

_QUEUED: Final = 64  # messages; beyond them a use waits, in its own time
_SAID_CHARS: Final = 500
_SAID_A_SECOND: Final = 20

_log = log.get(__name__)

FromServer = SessionMessage | Exception
"""The client takes exceptions, too; here none is sent."""


@asynccontextmanager
async def process(server: McpServer, on_end: Callable[[], None]) -> AsyncIterator[Transport]:
    """A transport of the client's; `on_end` is called when the server has closed its stdout. Raises
    OSError where it cannot be started."""
    child = await asyncio.create_subprocess_exec(
        *server.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(server.env),
        limit=MAX_MESSAGE_BYTES,
        start_new_session=True,
    )
    try:
        received, read = anyio.create_memory_object_stream[FromServer](0)
        write, written = anyio.create_memory_object_stream[SessionMessage](_QUEUED)
        async with received, read, write, written, anyio.create_task_group() as tasks:
            tasks.start_soon(_receive, child, server, received, on_end)
            tasks.start_soon(_send, child, written)
            tasks.start_soon(_overhear, child, server)
            yield contextlib.nullcontext((read, write))
            tasks.cancel_scope.cancel()
    finally:
        await _end(child)


# ---- what is said --------------------------------------------------------------------------------


async def _receive(
    child: asyncio.subprocess.Process,
    server: McpServer,
    received: MemoryObjectSendStream[FromServer],
    on_end: Callable[[], None],
) -> None:
    assert child.stdout is not None
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with received:
            async for line in _lines(child.stdout, server):
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:  # some print to stdout what is for people
                    continue
                await received.send(SessionMessage(message))
    on_end()


async def _lines(pipe: asyncio.StreamReader, server: McpServer) -> AsyncIterator[bytes]:
    """Lines, without those that are too long."""
    too_long = said = False
    while True:
        try:
            await asyncio.sleep(0)  # a thousand lines may be there, and frames come between
            line = await pipe.readuntil()
        except asyncio.LimitOverrunError as error:
            await pipe.readexactly(error.consumed)
            if not said:
                most = f"{MAX_MESSAGE_BYTES // 1024} KiB"
                _log.warning("MCP server says too much in one line", server=server.name, most=most)
            too_long = said = True
        except asyncio.IncompleteReadError:
            return
        else:
            if not too_long:
                yield line
            too_long = False


async def _send(
    child: asyncio.subprocess.Process, written: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    assert child.stdin is not None
    try:
        async for item in written:
            child.stdin.write(
                item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            )
            with anyio.fail_after(WRITE_S):
                await child.stdin.drain()
    except (OSError, TimeoutError):
        _signal(child, signal.SIGKILL)  # its stdout ends then, which is waited for


async def _overhear(child: asyncio.subprocess.Process, server: McpServer) -> None:
    """What it says on stderr, for whoever looks for a fault; not all of what says too much."""
    assert child.stderr is not None
    loop = asyncio.get_running_loop()
    told, second = 0, 0.0
    async for line in _lines(child.stderr, server):
        if loop.time() - second >= 1:
            told, second = 0, loop.time()
        told += 1
        if told <= _SAID_A_SECOND:
            said = hidden(line.decode(errors="replace"), server.secrets)
            _log.debug("MCP server says", server=server.name, stderr=one_line(said, _SAID_CHARS))


# ---- its end -------------------------------------------------------------------------------------


async def _end(child: asyncio.subprocess.Process) -> None:
    """Ask it to go, tell it to, and see to it; shielded from the client's cancellations, and brief."""
    assert child.stdin is not None
    try:
        with anyio.CancelScope(shield=True):
            child.stdin.close()
            for word in (signal.SIGTERM, signal.SIGKILL):
                with anyio.move_on_after(END_S):
                    await child.wait()
                    break
                _signal(child, word)
    finally:  # those it has started, too
        _signal(child, signal.SIGKILL)
        # what is left in its pipes, or holds them open from elsewhere, is nobody's any more
        child._transport.close()  # type: ignore[attr-defined]


def _signal(child: asyncio.subprocess.Process, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, what)

"""The service's side of the control socket: the file, its connections and their bounds."""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from audiosocket_agent.clock import monotonic
from audiosocket_agent.control import LINE_BYTES, PATH_BYTES
from audiosocket_agent.control.operator import Answer, Operator
from audiosocket_agent.errors import StartError
from audiosocket_agent.server import Server

MAX_CONNECTIONS: Final = 16
IDLE_SECONDS: Final = 30.0
"""What a connection may take for a request, or for reading an answer."""

_REFUSED_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0
_ELSEWHERE: Final = "set CONTROL_SOCKET to another path"


class ControlServer:
    """Answers operators for one server. `facts` are what `status` adds: the model, the ports. `host`
    and `port` are where its AudioSocket listens."""

    def __init__(
        self,
        server: Server,
        facts: Mapping[str, Any],
        *,
        host: str,
        port: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._operator = Operator(server, facts, host, port, clock)
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._path = Path()
        self._made: tuple[int, int] = (0, 0)  # which file is ours

    async def start(self, path: Path) -> None:
        """Listen on `path`; its directory is made where it is missing. Raises StartError."""
        sock = _bind(path)
        self._path, self._made = path, _identity(path)
        self._listener = await asyncio.start_unix_server(
            self._connected, sock=sock, limit=LINE_BYTES
        )

    async def stop(self) -> None:
        """Close all connections, and take the socket's file away."""
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._made:
                self._path.unlink()
        self._listener.close()
        await asyncio.sleep(0)  # a connection made just now has begun, so that it can end
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        room = len(self._connections) < MAX_CONNECTIONS
        serving = self._serve(reader, writer) if room else _refuse(reader, writer)
        task = asyncio.get_running_loop().create_task(serving)
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer):
            while line := await _line(reader, IDLE_SECONDS):
                await _say(writer, self._operator.answer(line))
                await asyncio.sleep(0)  # requests may all be here already: calls come between them


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection too many. The request is read first: who is still writing hears no answer."""
    async with _closing(writer):
        await _line(reader, _REFUSED_SECONDS)
        await _say(writer, _error(f"there are {MAX_CONNECTIONS} connections already"))


async def _line(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """The next line; the last may lack its end. Empty: the peer is done."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            return end.partial


async def _say(writer: asyncio.StreamWriter, answer: Answer) -> None:
    async with asyncio.timeout(IDLE_SECONDS):
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """A connection's end, whatever it is."""
    writer.transport.set_write_buffer_limits(high=0)  # one answer is the most that waits
    try:
        yield
    except asyncio.LimitOverrunError:
        writer.write(
            json.dumps(_error(f"a request has at most {LINE_BYTES} bytes")).encode() + b"\n"
        )
    except (TimeoutError, OSError):
        pass  # a peer that does not ask, or does not listen
    finally:
        writer.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()
        except OSError:
            pass


def _error(text: str) -> Answer:
    return {"ok": False, "error": text}


# -- the file --------------------------------------------------------------------------------------


def _bind(path: Path) -> socket.socket:
    """A socket at `path` that nobody but its user can open, at no time. Raises StartError."""
    if len(os.fsencode(path)) > PATH_BYTES:
        why = f"has more than the {PATH_BYTES} bytes that a socket's path may have"
        raise StartError(f"CONTROL_SOCKET {path} {why}; set it to a shorter one")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear(path)
        return _bound(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        why = getattr(error, "strerror", None) or str(error)
        raise StartError(f"CONTROL_SOCKET {path} cannot be used: {why}; {_ELSEWHERE}") from None


def _bound(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(umask)
    return sock


def _clear(path: Path) -> None:
    """Take away what a process that is dead has left. Raises StartError where there is a living one."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(f"CONTROL_SOCKET {path} is there and is no socket; {_ELSEWHERE}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # alive, and busy
    raise StartError(
        f"CONTROL_SOCKET {path} is in use: is another audiosocket-agent running? Stop it, or "
        f"{_ELSEWHERE}"
    )


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino

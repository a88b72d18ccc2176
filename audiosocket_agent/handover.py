"""A new process takes over the ports of a running one; no connection is refused, no call is lost.

    new                                         old
     │ connects to its handover socket          │
     │<────────── PORTS: the sockets it listens on
     │<────────── CALLS: whose they are, from now on also each that begins
     │ reads its settings, opens its database   │
     ├──────────> READY                         │ listens no more
     │<────────── GONE: the control socket is free, too
     │ listens; what came meanwhile has waited  │ drains
     ├──────────> LEG: a connection of one of its calls, with what was read from it
     ├──────────> REQUEST: a dialplan's request about one of them, likewise
     │                                          closes with its last call

A listening socket that two processes have has one queue, which neither's close touches. (Two sockets
on one port, SO_REUSEPORT, have two, and the kernel resets what waits in the one that is closed.)

Sockets travel as SCM_RIGHTS over a Unix socket of packets, mode 0600 beside the control socket.
"""

import asyncio
import contextlib
import json
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from audiosocket_agent import log
from audiosocket_agent.control import PATH_BYTES
from audiosocket_agent.errors import StartError
from audiosocket_agent.pbx.agi import FastAgiServer, Request
from audiosocket_agent.pbx.audiosocket import IDENTITY_TIMEOUT_S, Leg
from audiosocket_agent.server import Server

PACKET_BYTES: Final = 64 * 1024
MAX_SOCKETS: Final = 16
ANSWER_SECONDS: Final = 5.0
_UUID_BYTES: Final = 16
_CALLS_IN_ONE: Final = 1000

PORTS, CALLS, READY, GONE, LEG, REQUEST = b"P", b"C", b"R", b"G", b"L", b"A"

_log = log.get(__name__)


def handover_path(control: Path) -> Path:
    """Where the process with this control socket hands its ports over."""
    return control.with_name(f"{control.name}.handover")


class _Link:
    """One end of the connection. `received` gets each packet's first byte, the rest, and the sockets
    that came with it, which are its own from then on."""

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[bytes, bytes, list[socket.socket]], None],
        closed: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._received = received
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)
        self.is_open = True

    def send(self, kind: bytes, data: bytes = b"", fds: Sequence[int] = ()) -> bool:
        """Send a packet now; False where that cannot be. Descriptors stay the caller's own."""
        if not self.is_open or len(data) >= PACKET_BYTES:
            return False
        try:
            socket.send_fds(self._sock, [kind + data], fds)
        except OSError as error:
            _log.warning("handover: not sent", kind=kind.decode(), reason=str(error))
            return False
        return True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._closed()

    def _readable(self) -> None:
        flags = socket.MSG_CMSG_CLOEXEC
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, PACKET_BYTES, MAX_SOCKETS, flags)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self.close()
            return
        self._received(data[:1], data[1:], [socket.socket(fileno=fd) for fd in fds])


# -- the new one -----------------------------------------------------------------------------------


class Predecessor:
    """The process whose ports are taken over, as long as it has calls (`server.Elsewhere`)."""

    def __init__(self, sock: socket.socket) -> None:
        self.calls: set[uuid.UUID] = set()
        self.gone = asyncio.Event()
        self._sockets: dict[str, list[socket.socket]] = {}
        self._offered = asyncio.Event()
        self._left = asyncio.Event()
        self._link = _Link(sock, self._received, self._closed)

    @classmethod
    async def find(cls, path: Path) -> "Predecessor | None":
        """The one that hands over at `path`, with its sockets; None where there is none. Raises
        StartError where it does not answer."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            return None
        found = cls(sock)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await found._offered.wait()
        except TimeoutError:
            found.close()
        if not found._link.is_open:
            raise StartError(f"the service at {path} does not hand over its ports")
        return found

    def sockets(self, name: str, port: int) -> list[socket.socket]:
        """Those that listen on a port of ours; of others, and by other settings, none."""
        mine = self._sockets.pop(name, [])
        if port and any(sock.getsockname()[1] != port for sock in mine):
            for sock in mine:
                sock.close()
            return []
        return mine

    async def take_over(self) -> None:
        """Everything is ready to listen: now it is to stop. Returns when it has."""
        self._link.send(READY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._left.wait()

    def has(self, call_id: uuid.UUID) -> bool:
        """Whether a call is its own."""
        return call_id in self.calls

    def take_leg(self, leg: Leg) -> None:
        """Give it a call's connection."""
        sock, said = leg.give_away()
        with sock:
            if not self._link.send(LEG, said, [sock.fileno()]):
                _log.warning("connection not handed over", peer=leg.peer, unread_bytes=len(said))

    def take_request(self, request: Request, head: bytes, fd: int) -> bool:
        """Give it a request of the dialplan, where it is about a call of its own."""
        with contextlib.suppress(ValueError):
            if uuid.UUID(request.query.get("uuid", "")) in self.calls:
                return self._link.send(REQUEST, head, [fd])
        return False

    def close(self) -> None:
        """Have no more to do with it."""
        self._link.close()

    def _received(self, kind: bytes, data: bytes, sockets: list[socket.socket]) -> None:
        if kind == PORTS:
            for name in json.loads(data):
                self._sockets.setdefault(name, []).append(sockets.pop(0))
        elif kind == CALLS:
            ids = [data[at : at + _UUID_BYTES] for at in range(0, len(data), _UUID_BYTES)]
            self.calls.update(uuid.UUID(bytes=call) for call in ids)
            self._offered.set()
        elif kind == GONE:
            self._left.set()
        for sock in sockets:
            sock.close()

    def _closed(self) -> None:
        self.calls.clear()
        self._offered.set()
        self._left.set()
        self.gone.set()


# -- the old one -----------------------------------------------------------------------------------


class Handover:
    """Offers this process's ports to the one that follows it. `listening` gives the descriptors by
    port; `leave` closes them, and what else the other one needs, and sees to the drain."""

    def __init__(
        self,
        server: Server,
        agi: FastAgiServer,
        listening: Callable[[], Mapping[str, Sequence[int]]],
        calls: Callable[[], list[uuid.UUID]],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        self._server = server
        self._agi = agi
        self._listening = listening
        self._calls = calls
        self._leave = leave
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._path = Path()
        self._link: _Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, path: Path) -> None:
        """Offer them at `path`, where whoever has the control socket may have left one."""
        if len(os.fsencode(path)) > PATH_BYTES:
            _log.warning("no handover: the control socket's path is too long", path=str(path))
            return
        path.unlink(missing_ok=True)
        umask = os.umask(0o177)
        try:
            self._sock.bind(str(path))
        finally:
            os.umask(umask)
        self._path = path
        self._sock.listen(1)
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    @property
    def taken(self) -> bool:
        """Whether another process has the ports, or is about to."""
        return self._link is not None

    async def stop(self) -> None:
        """Close, after the last call."""
        self.stop_offering()
        if self._link is not None:
            self._link.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop_offering(self) -> None:
        """Take the socket away."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            if self._path != Path():
                self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if self._link is not None:
            sock.close()
            return
        self._link = link = _Link(sock, self._received, self._lost)
        ports = [(name, fd) for name, fds in self._listening().items() for fd in fds]
        names = json.dumps([name for name, _ in ports]).encode()
        link.send(PORTS, names, [fd for _, fd in ports])
        ids = [call.bytes for call in self._calls()]
        for at in range(0, len(ids) or 1, _CALLS_IN_ONE):
            link.send(CALLS, b"".join(ids[at : at + _CALLS_IN_ONE]))
        self._server.began = self._tell

    def _tell(self, call_id: uuid.UUID) -> None:
        if self._link is not None:
            self._link.send(CALLS, call_id.bytes)

    def _lost(self) -> None:
        self._link = None
        self._server.began = None

    def _received(self, kind: bytes, data: bytes, sockets: list[socket.socket]) -> None:
        if kind == READY:
            self._do(self._go())
        elif kind == LEG and sockets:
            self._do(self._server.adopt(sockets.pop(), data))
        elif kind == REQUEST and sockets:
            self._do(self._agi.adopt(sockets.pop(), data))
        for sock in sockets:
            sock.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go(self) -> None:
        _log.info("ports handed over", calls=self._server.calls)
        self.stop_offering()
        await self._leave()
        if self._link is not None:
            self._link.send(GONE)


DECIDE_SECONDS: Final = IDENTITY_TIMEOUT_S + 0.5
"""What connections that the old one had accepted get to say who they are, before it refuses others."""

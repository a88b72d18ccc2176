"""The asyncio edge: TLS, the upgrade, and two tasks per session, one that reads and one that
writes. Everything a session says is decided in `conversation`."""

import asyncio
import contextlib
import logging
import math
import re
import socket
import struct
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self

import orjson
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from audiosocket_agent.lab.certificate import ensure_certificate
from audiosocket_agent.lab.simulator.behaviour import ABORT, HTTP_REFUSALS, Behaviour, Close
from audiosocket_agent.lab.simulator.conversation import Conversation
from audiosocket_agent.lab.simulator.payload import decode
from audiosocket_agent.lab.simulator.record import SessionRecord
from audiosocket_agent.lab.simulator.resumption import Handles
from audiosocket_agent.lab.simulator.schema import CLIENT_MESSAGES, Kind, SessionEnd, invalid, read
from audiosocket_agent.lab.simulator.setup import read_setup
from audiosocket_agent.lab.simulator.speaking import prepare

SESSIONS_KEPT: Final = 1000
"""Records kept; the oldest goes first."""
CLOSE_SECONDS: Final = 1.0
"""How long a client may take to answer a close frame."""
SILENT_SECONDS: Final = 30.0
"""How long a connection may go without an upgrade, by the client's fault or by ours (`silent`).
The SDK gives up after 10."""
GOING_AWAY: Final = Close(1001, "")
MESSAGE_BYTES: Final = 1 << 20
"""The largest message taken, websockets' default: 24 s of audio at 16 kHz."""

TIMER_GRAIN_SECONDS: Final = 0.001
"""uvloop's timers count whole milliseconds and may be early by one: without this, half of all
wake-ups (measured, 100 sessions) find nothing due yet."""

_LOG: Final = logging.getLogger(__name__)
_LOG.setLevel(logging.WARNING)  # below, websockets logs the beginning of every message

_GEMINI_PATH: Final = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v\w+)\.GenerativeService\.BidiGenerateContent"
)
_VERTEX_PATH: Final = re.compile(
    r"/ws/google\.cloud\.aiplatform\.(v\w+)\.LlmBidiService/BidiGenerateContent"
)
_KEY_HEADERS: Final = {"x-goog-api-key", "authorization"}


class _Connection(ServerConnection):
    """A connection that knows which session it carries."""

    record: SessionRecord
    behaviour: Behaviour
    vertex: bool
    api_version: str
    woken: asyncio.Event
    """Something is to be written, or due sooner."""


class Simulator:
    """The Gemini Live API on a local port, for as long as the `async with` block lasts.

    An unmodified SDK finds it by `GOOGLE_GEMINI_BASE_URL=base_url` and `SSL_CERT_FILE=ca_file`.
    `behaviour_for` is asked with the number of each session, in order of arrival from 0, and wins
    over `behaviour`. Certificates are kept in `certificate_dir`, else made for this block only.
    Entering raises OSError where the port or a speech file cannot be had.
    """

    def __init__(
        self,
        behaviour: Behaviour = Behaviour(),  # noqa: B008 - frozen
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate_dir: Path | None = None,
        behaviour_for: Callable[[int], Behaviour] | None = None,
    ) -> None:
        self.port = port
        """Known inside the block where 0 was asked for."""
        self.ca_file: Path
        """PEM, for SSL_CERT_FILE; exists inside the block."""
        self.sessions: list[SessionRecord] = []
        """In order of arrival, connections that were refused included; the last 1000."""
        self.session_count = 0
        """All that arrived."""
        self._behaviour = behaviour
        self._host = host
        self._certificate_dir = certificate_dir
        self._behaviour_for = behaviour_for or (lambda _number: behaviour)
        self._handles = Handles()
        self._open: set[_Connection] = set()
        self._live: dict[int, tuple[_Connection, Conversation]] = {}
        self._closing = asyncio.Event()
        self._stack = AsyncExitStack()

    @property
    def base_url(self) -> str:
        """For GOOGLE_GEMINI_BASE_URL."""
        return f"https://localhost:{self.port}"

    async def __aenter__(self) -> Self:
        prepare(self._behaviour)
        async with AsyncExitStack() as stack:
            directory = self._certificate_dir or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="simulator-"))
            )
            certificate = ensure_certificate(directory)
            self.ca_file = certificate.ca_file
            server: Server = await stack.enter_async_context(
                serve_websockets(
                    self._converse,
                    self._host,
                    self.port,
                    ssl=certificate.server_context(),
                    create_connection=_Connection,
                    process_request=self._admit,
                    logger=_LOG,
                    compression=None,
                    open_timeout=SILENT_SECONDS,
                    ping_interval=None,
                    close_timeout=CLOSE_SECONDS,
                    max_size=MESSAGE_BYTES,
                )
            )
            stack.push_async_callback(self._end_sessions)
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _end_sessions(self) -> None:
        self._closing.set()
        async with asyncio.TaskGroup() as group:
            for connection in self._open:
                group.create_task(_close(connection, GOING_AWAY))

    def inject(self, fault: str, session: int = -1) -> None:
        """Let a fault that happens once (`close`, `go-away`, `malformed-json`, `unknown-message`,
        `error-message`) happen now in a live session: its number, or -1 for the newest.
        Raises LookupError if it is not live, ValueError for other faults."""
        number = max(self._live, default=-1) if session < 0 else session
        connection, conversation = self._live[number]
        conversation.inject(fault)
        connection.woken.set()

    # ---- the upgrade -----------------------------------------------------------------------

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, _Connection)
        number, self.session_count = self.session_count, self.session_count + 1
        path, _, query = request.path.partition("?")
        record = SessionRecord(number, monotonic(), path, connection.remote_address[1])
        self.sessions.append(record)
        del self.sessions[:-SESSIONS_KEPT]
        connection.record = record
        connection.behaviour = behaviour = self._behaviour_for(number)

        for fault, status in HTTP_REFUSALS.items():
            if fault in behaviour.faults:
                return connection.respond(status, f"Simulated: {fault}\n")
        if "reset" in behaviour.faults:
            await _reset(connection)
        elif "silent" in behaviour.faults:
            await self._stay_silent(connection)
        gemini, vertex = _GEMINI_PATH.fullmatch(path), _VERTEX_PATH.fullmatch(path)
        found = gemini or vertex
        if found is None:
            return connection.respond(404, "No such method.\n")
        if not (_KEY_HEADERS & {name.lower() for name in request.headers} or "key=" in query):
            return connection.respond(403, "Method doesn't allow unregistered callers.\n")
        connection.vertex, connection.api_version = vertex is not None, found[1]
        return None

    async def _stay_silent(self, connection: _Connection) -> None:
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(connection.wait_closed())
            closing = group.create_task(self._closing.wait())
            await asyncio.wait((gone, closing), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            closing.cancel()

    # ---- a session -------------------------------------------------------------------------

    async def _converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Connection)
        record = connection.record
        self._open.add(connection)
        try:
            await self._session(connection)
        except SessionEnd as end:
            await _close(connection, end.close)
            record.close_code, record.close_reason = end.close
        except ConnectionClosed:  # the client left before its setup was answered
            pass
        finally:
            self._open.discard(connection)
            self._live.pop(record.number, None)
            record.closed = monotonic()
            if record.close_code is None:
                record.close_code = connection.close_code
                record.close_reason = connection.close_reason or ""

    async def _session(self, connection: _Connection) -> None:
        behaviour, record = connection.behaviour, connection.record
        if "close-before-setup" in behaviour.faults:
            raise SessionEnd(behaviour.close)
        first = decode(await connection.recv(decode=False))
        read(first, {"setup": Kind.ANY} | dict(CLIENT_MESSAGES), "")
        if first.keys() != {"setup"}:
            raise invalid("setup must be the first message and only the first.")
        record.setup = first["setup"]
        setup = read_setup(
            first["setup"], vertex=connection.vertex, api_version=connection.api_version
        )
        prepare(behaviour)
        conversation = Conversation(behaviour, setup, record, self._handles, monotonic())
        if "close-at-setup" in behaviour.faults:
            raise SessionEnd(behaviour.close)
        answered = "no-setup-complete" not in behaviour.faults
        try:
            async with asyncio.timeout(behaviour.connect_delay_seconds if answered else None):
                await connection.wait_closed()
                return
        except TimeoutError:
            pass
        conversation.open(monotonic())
        connection.woken = asyncio.Event()
        self._live[record.number] = connection, conversation
        await _run(connection, conversation)


async def _run(connection: _Connection, conversation: Conversation) -> None:
    """Read and write until the session ends. Raises SessionEnd if it is us who end it."""
    end: SessionEnd | None = None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_read(connection, conversation))
            group.create_task(_write(connection, conversation))
    except* SessionEnd as ends:
        end = next(each for each in ends.exceptions if isinstance(each, SessionEnd))
    except* ConnectionClosed:
        pass
    if end is not None:
        # The client may not read. Before Python 3.11.4 asyncio.timeout raises no TimeoutError in a task
        # whose TaskGroup has failed (CPython's gh-102780).
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_flush(connection, conversation), CLOSE_SECONDS)
        raise end


async def _read(connection: _Connection, conversation: Conversation) -> None:
    while True:
        if conversation.receive(await connection.recv(decode=False), monotonic()):
            connection.woken.set()


async def _write(connection: _Connection, conversation: Conversation) -> None:
    # The only writer, so that what a session says keeps its order. A client that does not read
    # stops this task, not the hearing.
    loop, woken = asyncio.get_running_loop(), connection.woken
    while True:
        woken.clear()
        conversation.tick(monotonic())
        await _flush(connection, conversation)
        timer = None
        if conversation.deadline < math.inf:
            delay = max(0.0, conversation.deadline - monotonic()) + TIMER_GRAIN_SECONDS
            timer = loop.call_later(delay, woken.set)
        try:
            await woken.wait()
        finally:
            if timer is not None:
                timer.cancel()


async def _flush(connection: _Connection, conversation: Conversation) -> None:
    faults, outbox = connection.behaviour.faults, conversation.outbox
    text = "binary" not in faults
    while outbox:
        message = outbox.popleft()
        if "pretty" in faults:
            message = _indented(message)
        await connection.send(message, text=text)


def _indented(message: bytes) -> bytes:
    try:
        return orjson.dumps(orjson.loads(message), option=orjson.OPT_INDENT_2) + b"\n"
    except orjson.JSONDecodeError:  # meant to be broken
        return message


async def _close(connection: _Connection, close: Close) -> None:
    # Bounded here: websockets bounds the answer to a close frame, not the sending of it, which a
    # client that does not read delays for ever.
    if close.code != ABORT:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(connection.close(close.code, close.reason), 2 * CLOSE_SECONDS)
    connection.transport.abort()
    await connection.wait_closed()


async def _reset(connection: _Connection) -> None:
    # Lingering for no time turns the close into a reset (socket(7), SO_LINGER).
    plain = connection.transport.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()
    await connection.wait_closed()


async def serve(
    behaviour: Behaviour,
    host: str,
    port: int,
    certificate_dir: Path | None,
    on_ready: Callable[[Simulator], None],
) -> None:
    """Serve until cancelled; `on_ready` is called once, when sessions are accepted. What callers
    said is counted but not kept. Raises OSError if the port cannot be had."""
    behaviour = replace(behaviour, kept_audio_seconds=0.0)
    async with Simulator(
        behaviour, host=host, port=port, certificate_dir=certificate_dir
    ) as simulator:
        on_ready(simulator)
        await asyncio.Event().wait()

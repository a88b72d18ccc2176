"""FastAGI: the dialplan asks, we answer. Sans-IO messages first, then the server that speaks them.

    Asterisk                                          us
       │ agi_network_script: open?uuid=…   one line per fact, then an empty line
       ├────────────────────────────────────────────>│
       │<─────────────── SET VARIABLE AGENT_STATUS "OK"
       │ 200 result=1
       ├────────────────────────────────────────────>│
       │                                       close: the dialplan goes on

Source: Asterisk 22, `res/res_agi.c`. What the dialplan sends is a caller's doing in part (caller ID,
dialled digits): every value is bounded and decoded here, and whatever we send back is quoted; a line
break can get neither in nor out.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, unquote

from audiosocket_agent import log
from audiosocket_agent.clock import monotonic
from audiosocket_agent.errors import PeerError, StartError
from audiosocket_agent.pbx.gate import Gate

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEAD_LINES: Final = 100
MAX_VALUE_CHARS: Final = 1024
MAX_QUERY_VALUES: Final = 50
HEAD_SECONDS: Final = 5.0
"""For the whole head; Asterisk sends it in one write."""
REPLY_SECONDS: Final = 5.0
"""For the reply to a command that does something at once."""
STOP_SECONDS: Final = 1.0
MAX_CONNECTIONS: Final = 500
"""Beside those that drive a call."""

KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A PBX that has vanished is noticed within two minutes: `run` waits for as long as a call lasts."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What the dialplan asks: `agi://host:port/script?query`."""

    script: str
    query: Mapping[str, str] = field(default_factory=dict)
    """Decoded, bounded, free of control characters. A name given twice counts as given first."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Asterisk's own: callerid, calleridname, channel, extension, uniqueid, version ... without the
    `agi_` before each. "unknown" is left out."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command."""

    code: int
    """200, or what is wrong: 510 unknown command, 511 dead channel, 520 usage."""
    result: str = ""
    data: str = ""
    """What stood in parentheses: a variable's value."""


class ChannelGone(PeerError):
    """The caller has hung up, or Asterisk has closed the connection."""

    def __init__(self, text: str) -> None:
        super().__init__("gone", text)


# ---- messages ----------------------------------------------------------------------------------


def parse_request(head: bytes) -> Request:
    """The head of a connection, without its empty line. Raises PeerError."""
    lines = head.decode("utf-8", "replace").split("\n")
    if len(lines) > MAX_HEAD_LINES:
        raise PeerError("too_long", f"an AGI head of {len(lines)} lines")
    facts: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not (colon and name.startswith("agi_")):
            raise PeerError("not_agi", "a line is no AGI variable")  # and may be part of a name
        facts[clean(name.removeprefix("agi_"), 80)] = clean(value)
    script = facts.pop("network_script", "")
    path, _, query = script.partition("?")
    known = {name: value for name, value in facts.items() if value != "unknown"}
    return Request(clean(unquote(path)).strip("/"), _query(query), known)


def parse_reply(line: bytes) -> Reply:
    """One line: `200 result=1 (value)`. Raises PeerError where it is none."""
    text = line.decode("utf-8", "replace").strip("\r\n")
    match = re.match(r"([0-9]{3})[ -](?:result=(\S*) ?)?(.*)$", text)
    if not match:
        raise PeerError("not_agi", "a line is no AGI reply")  # and may be part of a value
    code, result, rest = match.groups()
    data = rest[1 : rest.rindex(")")] if rest.startswith("(") and ")" in rest else ""
    return Reply(int(code), clean(result or ""), clean(data))


def encode_command(*words: str) -> bytes:
    """A command line: the words after the first quoted. Raises ValueError for a control
    character: such a value is to be cleaned by whoever has it, not passed on."""
    for word in words:
        if _CONTROL.search(word):
            raise ValueError(f"a control character in {clean(word, 40)!r}")
    return " ".join(words[:1] + tuple(map(_quoted, words[1:]))).encode() + b"\n"


def clean(text: str, limit: int = MAX_VALUE_CHARS) -> str:
    """A value that came from outside, without control characters, at most `limit` long."""
    return _CONTROL.sub(" ", text).strip()[:limit]


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_VALUES)
    except ValueError:
        limit = MAX_QUERY_VALUES
        raise PeerError("too_long", f"an AGI request with over {limit} values") from None
    pairs.reverse()  # the first wins: what a caller calls themselves may hold an & and come later
    return {clean(name, 80): clean(value) for name, value in pairs}


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# ---- the server --------------------------------------------------------------------------------


class Channel:
    """One connection: the caller's channel, to be told what to do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        sockname = writer.get_extra_info("sockname") or ("",)
        self.local_host = str(sockname[0])
        """The address of ours that Asterisk has connected to."""
        sock = writer.get_extra_info("socket")
        self.fd: int = sock.fileno() if sock is not None else -1
        """The connection's descriptor."""
        self.hung_up = False
        """Asterisk has said that the caller has left; commands may still be answered."""

    async def command(self, *words: str, timeout_s: float | None = REPLY_SECONDS) -> Reply:
        """Send a command and wait for its reply. Raises ChannelGone, PeerError, TimeoutError."""
        self._writer.write(encode_command(*words))
        async with asyncio.timeout(timeout_s):
            while True:
                line = await self._line()
                if line == b"HANGUP\n":
                    self.hung_up = True
                    continue  # the reply still comes
                reply = parse_reply(line)
                if line[3:4] != b"-":  # 520- begins a usage text that 520 ends
                    break
                while not (line := await self._line()).startswith(b"520 "):
                    pass
                break
        if reply.code == 511:
            raise ChannelGone("the caller has hung up")
        return reply

    async def set_variables(self, values: Mapping[str, str]) -> None:
        """Set channel variables, in order."""
        for name, value in values.items():
            await self.command("SET VARIABLE", name, clean(value))

    async def variable(self, name: str) -> str:
        """A channel variable's value; empty where it is not set."""
        return (await self.command("GET VARIABLE", name)).data

    async def execute(self, application: str, *arguments: str) -> str:
        """Run a dialplan application for as long as it takes; returns its result: "0", "-1" where
        it failed or the caller left, "-2" where there is none of that name."""
        reply = await self.command("EXEC", application, ",".join(arguments), timeout_s=None)
        return reply.result

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except ValueError:  # longer than the stream's limit
            raise PeerError("too_long", f"an AGI line of over {MAX_HEAD_BYTES} bytes") from None
        if not line.endswith(b"\n"):
            raise ChannelGone("Asterisk has closed the AGI connection")
        return line


Handler = Callable[[Channel, Request, str], Awaitable[None]]
"""Answers one request on a channel; the last argument is the address it came from."""


Elsewhere = Callable[[Request, bytes, int], bool]
"""Asked of each request with its head and the descriptor of its connection: whether another process
has taken it."""


class FastAgiServer:
    """Answers requests by the first part of their path. Beyond `max_connections` at a time further
    ones are closed at once, and the dialplan goes on. So are those that the `gate` has a reason
    against; `turned_away` is told of them: the address and the reason."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        max_connections: int = MAX_CONNECTIONS,
        *,
        gate: Gate[asyncio.Task[None]] | None = None,
        turned_away: Callable[[str, str], None] = lambda peer, reason: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._handlers = handlers
        self._max_connections = max_connections
        self._gate: Gate[asyncio.Task[None]] = gate or Gate()
        self._turned_away = turned_away
        self._clock = clock
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()
        self.elsewhere: Elsewhere | None = None

    async def start(self, host: str, port: int, sockets: Sequence[socket.socket] = ()) -> int:
        """Listen, on `sockets` where some were handed over; returns the port. Raises StartError."""
        listen = partial(asyncio.start_server, self._connected, limit=MAX_HEAD_BYTES, backlog=128)
        try:
            self._servers = [await listen(sock=sock) for sock in sockets] or [
                await listen(host, port)
            ]
        except OSError as error:
            taken = "is another audiosocket-agent running? Set FASTAGI_PORT, or stop it"
            raise StartError.listen("FASTAGI_PORT", host, port, error, taken) from None
        bound: int = self._servers[0].sockets[0].getsockname()[1]
        return bound

    def listening(self) -> list[int]:
        """The descriptors of the sockets that listen."""
        return [sock.fileno() for server in self._servers for sock in server.sockets]

    def stop_listening(self) -> None:
        """Accept no more; requests that are there are answered."""
        for server in self._servers:
            server.close()

    async def adopt(self, sock: socket.socket, said: bytes) -> None:
        """Answer on a connection that another process has accepted, and read `said` from."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(MAX_HEAD_BYTES, loop)
        reader.feed_data(said)
        protocol = asyncio.StreamReaderProtocol(reader, self._begin, loop)
        with contextlib.suppress(OSError):  # it may be over
            await loop.connect_accepted_socket(lambda: protocol, sock)

    async def stop(self) -> None:
        """Stop listening. Requests that are being answered get a second; those that go on for as
        long as a call are given back to the dialplan."""
        self.stop_listening()
        if self._open:
            await asyncio.wait(self._open, timeout=STOP_SECONDS)
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        reason = self._gate.refusal(peer, self._clock())
        if not reason and len(self._open) >= self._max_connections:
            reason = "full"
        if reason:
            self._turned_away(peer, reason)
            writer.transport.abort()
            return
        if pushed := self._gate.enter(self._begin(reader, writer), peer):
            pushed.cancel()

    def _begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> asyncio.Task[None]:
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            for option in KEEPALIVE:
                sock.setsockopt(*option)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        self._gate.leave(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        try:
            head = await _head(reader)
            if (task := asyncio.current_task()) is not None:
                self._gate.leave(task)
            await self._answer(Channel(reader, writer), head, peer)
        except (TimeoutError, OSError, ChannelGone):
            pass  # the caller left, or the peer is none
        except (PeerError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            _log.warning("bad AGI request", peer=peer, reason=str(error))
        except Exception:  # noqa: BLE001 - a fault of ours: the dialplan goes on without an answer
            _log.exception("AGI request failed", peer=peer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(HEAD_SECONDS):
                    await writer.wait_closed()

    async def _answer(self, channel: Channel, head: bytes, peer: str) -> None:
        request = parse_request(head)
        if self.elsewhere is not None and self.elsewhere(request, head + b"\n\n", channel.fd):
            return
        handler = self._handlers.get(request.script)
        if handler is None:
            raise PeerError("unknown_request", f"no such request: {request.script!r}")
        await handler(channel, request, peer)


def _peer(writer: asyncio.StreamWriter) -> str:
    return str((writer.get_extra_info("peername") or ("",))[0])


async def _head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(HEAD_SECONDS):
        return (await reader.readuntil(b"\n\n"))[:-2]


# ---- what a version can do -----------------------------------------------------------------------

_KINDS_SINCE: Final = {20: 17, 21: 12, 22: 7, 23: 1}


def takes_every_rate(version: str) -> bool:
    """Whether this Asterisk (`agi_version`, "22.10.1~dfsg") tells audio kinds apart, and so takes
    24 kHz: 20.17, 21.12, 22.7, 23.1 and later. An unknown or certified version does not count."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match:
        return False
    major, minor = int(match[1]), int(match[2])
    return major > max(_KINDS_SINCE) or minor >= _KINDS_SINCE.get(major, minor + 1)

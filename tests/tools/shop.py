"""Somebody else's HTTP server, on loopback: it answers what a test says, and remembers what it was
asked."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Shop:
    """A running server. `answer` may be replaced at any time."""

    answer: Answer
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.append(writer)
        try:
            while True:
                asked = await _request(reader)
                self.asked.append(asked)
                await self.answer(asked, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Asked(method, target, headers, body)


def raw(body: bytes, status: int = 200, *more: str, kind: str = "application/json") -> bytes:
    """An answer as it stands on the wire."""
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
    return "\r\n".join([*head, *more, "", ""]).encode() + body


def says(value: Any, status: int = 200, *more: str) -> Answer:
    """Answers everything with this JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return sends(raw(body, status, *more))


def sends(answer: bytes, after: float = 0.0) -> Answer:
    """Answers everything with these bytes."""

    async def send(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after)
        writer.write(answer)
        await writer.drain()

    return send


def in_turn(*answers: Answer) -> Answer:
    """Another answer each time, and at the end always the last."""
    left = list(answers)

    async def send(asked: Asked, writer: asyncio.StreamWriter) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        await answer(asked, writer)

    return send


async def hangs_up(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Closes without a word."""
    raise ConnectionResetError


@asynccontextmanager
async def shop(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Shop]:
    """The server, for as long as the block lasts."""
    running = Shop(answer)
    server = await asyncio.start_server(running.serve, HOST, 0, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for writer in running.open:
            writer.close()

"""Port 9100: `/metrics`, `/healthz`, `/readyz`, answered by the event loop that carries the calls.

A page served from a thread of its own would say "healthy" while the loop hangs; this one cannot. It is
just enough HTTP for Prometheus, a load balancer and curl: one GET per connection, small and in time.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from audiosocket_agent.errors import StartError
from audiosocket_agent.metrics import Metrics

HEAD_BYTES: Final = 8192
HEAD_SECONDS: Final = 5.0  # a silent client is closed after it
MAX_CONNECTIONS: Final = 64  # more are closed at once; Prometheus needs one

_TEXT: Final = "text/plain; charset=utf-8"


class HealthServer:
    """`not_ready` says why new calls are refused, or is empty."""

    def __init__(self, metrics: Metrics, not_ready: Callable[[], str]) -> None:
        self._metrics = metrics
        self._not_ready = not_ready
        self._servers: list[asyncio.Server] = []
        self._open = 0

    async def start(self, host: str, port: int, sockets: Sequence[socket.socket] = ()) -> int:
        """Listen, on `sockets` where some were handed over; returns the port (which differs where 0 was
        asked for). Raises StartError."""
        listen = partial(asyncio.start_server, self._serve, limit=HEAD_BYTES)
        try:
            self._servers = [await listen(sock=sock) for sock in sockets] or [
                await listen(host, port)
            ]
        except OSError as error:
            taken = (
                "node_exporter also likes 9100: set METRICS_PORT=9101, or stop the other program"
            )
            raise StartError.listen("METRICS_PORT", host, port, error, taken) from None
        bound: int = self._servers[0].sockets[0].getsockname()[1]
        return bound

    def listening(self) -> list[int]:
        """The descriptors of the sockets that listen."""
        return [sock.fileno() for server in self._servers for sock in server.sockets]

    async def stop(self) -> None:
        """Stop listening; answers under way are finished by their connection's deadline."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(HEAD_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self.respond(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that does not ask, or does not listen, gets nothing
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(HEAD_SECONDS):
                    await writer.wait_closed()

    def respond(self, head: bytes) -> bytes:
        """The whole response to a request head (RFC 9112)."""
        request, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            response = _response("405 Method Not Allowed", "GET or HEAD\n", "Allow: GET, HEAD\r\n")
        elif path == "/metrics":
            headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            body, content_type = self._metrics.page(headers.get("accept", ""))
            response = _response("200 OK", body, content_type=content_type)
        elif path == "/healthz":
            response = _response("200 OK", "ok\n")
        elif path == "/readyz":
            reason = self._not_ready()
            status = "503 Service Unavailable" if reason else "200 OK"
            response = _response(status, f"{reason or 'ready'}\n")
        else:
            response = _response("404 Not Found", "/metrics, /healthz or /readyz\n")
        return response if method != "HEAD" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _response(
    status: str, body: str | bytes, extra: str = "", *, content_type: str = _TEXT
) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(data)}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + data

"""The HTTP client that reaches MCP servers: no proxies, no cookies, no answer without a bound.

Redirects are followed by the MCP client, within the server's own origin. A stream of events may last
for ever; each event has its bound there.
"""

import ssl
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2

from audiosocket_agent.tools.mcp_server import MAX_MESSAGE_BYTES, McpServer

STEP_S: Final = 5.0
"""To connect, to send."""
QUIET_S: Final = 300.0
"""A stream of events that says nothing for so long is opened again."""
GOODBYE_S: Final = 1.0
"""To tell a server that its session is over."""


def http_client(server: McpServer, tls: ssl.SSLContext) -> httpx2.AsyncClient:
    """A context manager."""
    return httpx2.AsyncClient(
        transport=_Bounded(httpx2.AsyncHTTPTransport(verify=tls, trust_env=False)),
        trust_env=False,
        timeout=httpx2.Timeout(STEP_S, read=QUIET_S),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={
            "User-Agent": "audiosocket-agent",
            "Accept-Encoding": "identity",
            **dict(server.headers),
        },
    )


class _Bounded(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            request.extensions["timeout"] = httpx2.Timeout(GOODBYE_S).as_dict()
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the answer is packed", request=request)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return response
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_BoundedStream(response.stream),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > MAX_MESSAGE_BYTES:
                raise httpx2.StreamError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()

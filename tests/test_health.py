"""Port 9100, asked over real sockets by those who will: scrapers, balancers, curl, and port scanners."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiosocket_agent.errors import StartError
from audiosocket_agent.health import HEAD_BYTES, MAX_CONNECTIONS, HealthServer
from audiosocket_agent.metrics import Metrics
from tests.virtual_time import in_virtual_time

HOST = "127.0.0.1"


@asynccontextmanager
async def listening(not_ready: str = "") -> AsyncIterator[int]:
    """A server; gives its port."""
    server = HealthServer(Metrics(), lambda: not_ready)
    yield await server.start(HOST, 0)
    await server.stop()


async def ask(port: int, request: str) -> tuple[str, dict[str, str], str]:
    """One request; returns status, headers and body."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    version, _, reason = status.partition(" ")
    assert version == "HTTP/1.1"
    return reason, dict(line.split(": ", 1) for line in lines), body


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What still comes until the server closes; a reset is a close too."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


# -- what is asked for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /healthz HTTP/1.1", "200 OK", "ok\n"),
        ("GET /healthz HTTP/1.0", "200 OK", "ok\n"),
        ("GET /healthz?from=haproxy HTTP/1.1", "200 OK", "ok\n"),
        ("GET /readyz HTTP/1.1", "200 OK", "ready\n"),
        ("GET / HTTP/1.1", "404 Not Found", "/metrics, /healthz or /readyz\n"),
        ("GET /healthz/ HTTP/1.1", "404 Not Found", "/metrics, /healthz or /readyz\n"),
        ("GET /calls/1 HTTP/1.1", "404 Not Found", "/metrics, /healthz or /readyz\n"),
        ("POST /healthz HTTP/1.1", "405 Method Not Allowed", "GET or HEAD\n"),
        ("get /healthz HTTP/1.1", "405 Method Not Allowed", "GET or HEAD\n"),
        ("", "405 Method Not Allowed", "GET or HEAD\n"),
    ],
)
async def test_pages(request_line: str, status: str, body: str) -> None:
    async with listening() as port:
        answer = await ask(port, f"{request_line}\r\nHost: pbx\r\n\r\n")
    assert (answer[0], answer[2]) == (status, body)
    assert answer[1]["Content-Length"] == str(len(body))
    assert answer[1]["Content-Type"] == "text/plain; charset=utf-8"
    assert answer[1]["Connection"] == "close"
    assert answer[1].get("Allow") == ("GET, HEAD" if status.startswith("405") else None)


async def test_the_metrics_are_a_page_of_their_own_type() -> None:
    async with listening() as port:
        status, headers, body = await ask(port, "GET /metrics HTTP/1.1\r\n\r\n")
    assert status == "200 OK"
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Content-Length"] == str(len(body))
    assert "\naudiosocket_agent_calls_active 0.0\n" in body


@pytest.mark.parametrize("accept", ["Accept", "accept", "ACCEPT"])
async def test_a_scraper_that_takes_openmetrics_gets_it(accept: str) -> None:
    # what Prometheus 3 sends
    types = (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    )
    async with listening() as port:
        _, headers, body = await ask(port, f"GET /metrics HTTP/1.1\r\n{accept}: {types}\r\n\r\n")
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert body.endswith("# EOF\n")


async def test_not_ready_says_why() -> None:
    async with listening(not_ready="draining") as port:
        assert (await ask(port, "GET /readyz HTTP/1.1\r\n\r\n"))[::2] == (
            "503 Service Unavailable",
            "draining\n",
        )
        assert (await ask(port, "GET /healthz HTTP/1.1\r\n\r\n"))[::2] == ("200 OK", "ok\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/x"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with listening() as port:
        get = await ask(port, f"GET {path} HTTP/1.1\r\n\r\n")
        head = await ask(port, f"HEAD {path} HTTP/1.1\r\n\r\n")
    # a counter of the process may have got another digit meanwhile
    lengths = [int(answer[1].pop("Content-Length")) for answer in (get, head)]
    assert head == (get[0], get[1], "")
    assert abs(lengths[0] - lengths[1]) < 0.05 * lengths[0]


async def test_a_request_may_come_in_pieces() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for byte in b"GET /healthz HTTP/1.1\r\n\r\n":
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"\r\n\r\nok\n")
        writer.close()


# -- what is not a request -------------------------------------------------------------------------


@in_virtual_time
async def test_a_silent_client_is_closed_after_5_seconds() -> None:
    loop = asyncio.get_running_loop()
    async with listening() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await closes(reader, writer) == b""
        assert loop.time() == pytest.approx(5.0, abs=0.1)


@in_virtual_time
async def test_a_client_that_trickles_is_closed_after_5_seconds() -> None:
    loop = asyncio.get_running_loop()
    async with listening() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for second in range(5):
            await asyncio.sleep(0.99)
            assert not reader.at_eof(), second
            writer.write(b"x")
        assert await closes(reader, writer) == b""
        assert loop.time() == pytest.approx(5.0, abs=0.1)


async def test_a_head_that_is_too_large_is_not_answered() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET /healthz HTTP/1.1\r\nCookie: " + b"x" * HEAD_BYTES + b"\r\n\r\n")
        assert await closes(reader, writer) == b""
        assert (await ask(port, "GET /healthz HTTP/1.1\r\n\r\n"))[2] == "ok\n"


async def test_a_client_that_leaves_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as port:
        for said in (b"", b"\x16\x03\x01", b"GET /metrics HTTP/1.1\r\n\r\n"):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(said)
            writer.transport.abort()
        assert (await ask(port, "GET /healthz HTTP/1.1\r\n\r\n"))[2] == "ok\n"
    assert caplog.records == []


@in_virtual_time
async def test_silent_clients_are_bounded_and_hold_their_place_for_5_seconds() -> None:
    async with listening() as port:
        silent = [await asyncio.open_connection(HOST, port) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await closes(reader, writer) == b""
        assert asyncio.get_running_loop().time() < 1.0
        await asyncio.sleep(5.1)
        assert (await ask(port, "GET /healthz HTTP/1.1\r\n\r\n"))[2] == "ok\n"
        for reader, writer in silent:
            assert await closes(reader, writer) == b""


_GET = b"GET /metrics HTTP/1.1\r\n"


@given(st.binary(max_size=200), st.sampled_from([b"", _GET, _GET + b"Accept: "]))
@example(b"application/openmetrics-text; version=abc", _GET + b"Accept: ")
@example(b"text/plain; version=\xb2.0", _GET + b"Accept: ")
@example(b": : :\r\n:\r\n: x\r\n \r\n", _GET)
def test_whatever_is_asked_is_answered_by_http(junk: bytes, begins: bytes) -> None:
    answer = HealthServer(Metrics(), lambda: "").respond(begins + junk + b"\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    assert status in (
        "HTTP/1.1 200 OK",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 405 Method Not Allowed",
    )
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Content-Length"] == str(len(body))


# -- the port --------------------------------------------------------------------------------------


async def test_a_port_that_is_taken_says_what_to_do() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError) as refused:
            await HealthServer(Metrics(), str).start(HOST, port)
    text = str(refused.value)
    assert text.startswith(f"METRICS_PORT {HOST}:{port} cannot be used: Address already in use")
    assert "METRICS_PORT=9101" in text
    assert "\n" not in text


async def test_an_address_that_is_not_ours_is_refused_in_one_line() -> None:
    with pytest.raises(StartError, match=r"METRICS_PORT 192\.0\.2\.1:9100 cannot be used"):
        await HealthServer(Metrics(), str).start("192.0.2.1", 9100)


async def test_after_stop_nobody_listens() -> None:
    server = HealthServer(Metrics(), str)
    await server.stop()  # it was never started: nothing to do
    port = await server.start(HOST, 0)
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)

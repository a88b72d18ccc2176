"""The weather itself, between two plain sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import FINE, HOST, Proxy, Weather

TEXT = bytes(range(256)) * 40


class Ends:
    """A client, and what the server has made of it."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.pieces: list[bytes] = []
        self.over = asyncio.Event()
        self.error: OSError | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Echo."""
        try:
            while data := await reader.read(65_536):
                self.pieces.append(data)
                writer.write(data)
                await writer.drain()
        except OSError as error:
            self.error = error
        writer.close()
        self.over.set()

    async def echoed(self, text: bytes) -> float:
        """Send it, and wait for all of it to come back; returns the seconds that took."""
        began = asyncio.get_running_loop().time()
        self.writer.write(text)
        assert await self.reader.readexactly(len(text)) == text
        return asyncio.get_running_loop().time() - began


@asynccontextmanager
async def connected(weather: Weather = FINE) -> AsyncIterator[Ends]:
    ends: Ends

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ends.serve(reader, writer)

    server = await asyncio.start_server(serve, HOST, 0)
    async with Proxy(server.sockets[0].getsockname()[1], weather) as proxy:
        ends = Ends(proxy)
        ends.reader, ends.writer = await asyncio.open_connection(HOST, proxy.port)
        await ends.echoed(b"!")
        ends.pieces.clear()
        try:
            yield ends
        finally:
            ends.writer.transport.abort()
            await asyncio.wait_for(ends.over.wait(), 5.0)
            server.close()


async def test_fine_weather_changes_nothing() -> None:
    async with connected() as ends:
        await ends.echoed(TEXT)
        ends.writer.write_eof()
        assert await ends.reader.read() == b""
        assert ends.error is None


async def test_bytes_are_late_and_stay_in_order() -> None:
    async with connected(Weather(delay_s=0.05, jitter_s=0.02)) as ends:
        assert await ends.echoed(TEXT) >= 0.1
        for _ in range(5):
            ends.writer.write(TEXT)
            await asyncio.sleep(0.005)
        assert await ends.reader.readexactly(5 * len(TEXT)) == 5 * TEXT


async def test_bytes_come_in_slices() -> None:
    async with connected(Weather(slice_bytes=1)) as ends:
        await ends.echoed(TEXT[:300])
        assert len(ends.pieces) > 50  # the reader may find some of them together


async def test_bytes_come_slowly() -> None:
    async with connected(Weather(bytes_per_s=20_000)) as ends:
        assert await ends.echoed(TEXT) > 0.4


async def test_bytes_are_changed() -> None:
    async with connected() as ends:
        ends.proxy.pipes[0].weather = Weather(corrupt_every=100)
        ends.writer.write(TEXT)
        changed = await ends.reader.readexactly(len(TEXT))
        assert 20 < sum(a != b for a, b in zip(changed, TEXT, strict=True)) < 1000


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "reset"])
async def test_a_connection_is_cut(reset: bool) -> None:
    async with connected() as ends:
        ends.proxy.pipes[0].cut(reset=reset)
        if reset:
            with pytest.raises(ConnectionResetError):
                await ends.reader.read()
        else:
            assert await ends.reader.read() == b""
        await ends.over.wait()
        assert (ends.error is not None) == reset


async def test_a_connection_is_half_closed() -> None:
    async with connected() as ends:
        ends.proxy.pipes[0].half_close()
        assert await ends.reader.read() == b""
        ends.writer.write(TEXT)
        while b"".join(ends.pieces) != TEXT:  # noqa: ASYNC110 - the other side's state
            await asyncio.sleep(0.01)


async def test_a_connection_is_reset_for_the_client_alone() -> None:
    async with connected() as ends:
        [pipe] = ends.proxy.pipes
        pipe.reset_client()
        with pytest.raises(ConnectionResetError):
            await ends.reader.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ends.over.wait()
        pipe.thaw()


async def test_a_connection_is_half_open() -> None:
    async with connected() as ends:
        [pipe] = ends.proxy.pipes
        pipe.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ends.echoed(TEXT)
        assert not ends.pieces
        pipe.thaw()
        while b"".join(ends.pieces) != TEXT:  # noqa: ASYNC110 - the other side's state
            await asyncio.sleep(0.01)


async def test_new_connections_are_refused_and_old_ones_stay() -> None:
    async with connected() as ends:
        ends.proxy.refusing = True
        reader, writer = await asyncio.open_connection(HOST, ends.proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await ends.echoed(TEXT)


async def test_a_connection_is_found_by_the_port_that_the_server_sees() -> None:
    async with connected() as ends:
        [pipe] = ends.proxy.pipes
        assert ends.proxy.find(pipe.port) is pipe
        with pytest.raises(LookupError):
            ends.proxy.find(1)

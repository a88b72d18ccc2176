"""A PostgreSQL that does not answer any more, and does not say so."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from audiosocket_agent import archive as archive_module
from audiosocket_agent.archive import archive
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.recall import recall
from audiosocket_agent.records import store as store_module
from audiosocket_agent.records import writer as writer_module
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.rows import Ticket
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import Writer
from audiosocket_agent.settings import Database, Settings
from audiosocket_agent.survival import LOOK_S, Lives, NotLookedUp
from tests.records.conftest import until
from tests.records.made import CALL, NUMBER, ticket, turn
from tests.records.postgres import Cluster
from tests.records.test_store import kept
from tests.records.test_writer import numbers

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("hurried")]

READY_FOR_QUERY: Final = b"Z\0\0\0\5I"


class Wire:
    """The network between us and the server. It can be cut so that nobody notices: nothing is lost,
    and nothing comes."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._flows = asyncio.Event()
        self._flows.set()
        self._pumps: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._flows.clear()

    def mend(self) -> None:
        self._flows.set()

    @asynccontextmanager
    async def on(self) -> AsyncIterator[int]:
        """The port it is to be had on."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _connected(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, forth = await asyncio.open_unix_connection(self._socket)
        for reader, writer in ((here, forth), (there, back)):
            self._pumps.add(asyncio.create_task(self._pump(reader, writer)))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


class Mute(Wire):
    """Lets everybody log in, and then nothing more: as a PgBouncer does whose server is away."""

    async def _connected(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, forth = await asyncio.open_unix_connection(self._socket)
        self._pumps.add(asyncio.create_task(self._pump(here, forth)))
        self._pumps.add(asyncio.create_task(self._log_in(there, back)))

    async def _log_in(self, there: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            back.write(await there.readuntil(READY_FOR_QUERY))
            await there.read()
        finally:
            back.close()


async def test_rows_go_to_the_journal_and_tickets_are_refused_in_time(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "WRITE_SECONDS", 0.3)
    url, _, socket = cluster.database().partition("?host=")
    wire = Wire(f"{socket}/.s.PGSQL.5432")
    async with wire.on() as port:
        far = url.replace("@/", f"@127.0.0.1:{port}/")
        async with Store(far, migrate=True) as store, Writer(store, tmp_path / "j") as writer:
            await store.open()  # a new database takes longer than a row may
            writer.put(turn(0))
            await until(lambda: writer.written + writer.replayed == 1)
            before = writer.journalled
            wire.cut()
            asked = time.monotonic()
            with pytest.raises(StoreError, match=r"no answer within 0\.2 s"):
                await writer.commit(ticket("a"), 0.2)
            assert time.monotonic() - asked < 2
            for n in range(1, 50):
                writer.put(turn(n))
                await asyncio.sleep(0.01)
            await until(lambda: writer.journalled > before)
            wire.mend()
            await until(lambda: writer.written + writer.replayed == 50)
            assert await numbers(store) == list(range(50))
            told = await writer.commit(ticket("a"))
            assert await kept(store, Ticket) == [told]


async def test_a_service_can_end_without_an_answer(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "WRITE_SECONDS", 0.3)
    monkeypatch.setattr(store_module, "_CLOSE_SECONDS", 0.5)
    url, _, socket = cluster.database().partition("?host=")
    wire = Wire(f"{socket}/.s.PGSQL.5432")
    async with wire.on() as port:
        far = url.replace("@/", f"@127.0.0.1:{port}/")
        async with asyncio.timeout(10):
            async with Store(far, migrate=True) as store, Writer(store, tmp_path / "j") as writer:
                await store.open()
                writer.put(turn(0))
                await until(lambda: writer.written + writer.replayed == 1)
                before = writer.journalled
                wire.cut()
                writer.put(turn(1))
        assert writer.journalled == before + 1
    async with Store(url + "?host=" + socket) as store, Writer(store, tmp_path / "j") as writer:
        await until(lambda: writer.replayed == 1)
        assert await numbers(store) == [0, 1]


async def test_no_caller_waits_for_what_is_looked_up(cluster: Cluster, tmp_path: Path) -> None:
    url, _, socket = cluster.database().partition("?host=")
    wire = Wire(f"{socket}/.s.PGSQL.5432")
    async with wire.on() as port:
        far = url.replace("@/", f"@127.0.0.1:{port}/")
        async with Store(far, migrate=True) as store, Writer(store, tmp_path / "j") as writer:
            await store.open()
            lives = Lives(store, writer, "pbx:9092", text=True, mask=True)
            wire.cut()
            asked = time.monotonic()
            assert await recall(store)(NUMBER, 30) == {}
            with pytest.raises(NotLookedUp):
                await lives.take_up(CALL, "127.0.0.1", LOOK_S)
            assert not await lives.has_been(CALL, LOOK_S)
            assert time.monotonic() - asked < 3.0
            wire.mend()


async def test_a_service_starts_without_an_answer_and_keeps_its_threads(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(archive_module, "OPEN_SECONDS", 0.5)
    monkeypatch.setattr(writer_module, "WRITE_SECONDS", 0.1)
    url, _, socket = cluster.database().partition("?host=")
    async with Mute(f"{socket}/.s.PGSQL.5432").on() as port:
        far = url.replace("@/", f"@127.0.0.1:{port}/")
        settings = Settings(database=Database.model_validate({"url": far}))
        async with asyncio.timeout(20.0):
            async with archive(settings, Metrics()) as records:
                records.writer.put(turn(1))
                await asyncio.sleep(3.0)  # each try takes 0.2 s
                assert records.writer.journalled == 1
                await asyncio.get_running_loop().getaddrinfo("localhost", 0)

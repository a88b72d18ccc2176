"""The whole service in this process, as `serve` puts it together, with the simulator for Google, a new
SQLite file with the sample data, and a messaging gateway of its own."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from audiosocket_agent import config, service
from audiosocket_agent.archive import archive
from audiosocket_agent.business.samples import sample
from audiosocket_agent.desk import Desk
from audiosocket_agent.lab.simulator import Behaviour, SessionRecord, Simulator
from audiosocket_agent.lab.ticker import Ticker
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.pbx.agi import FastAgiServer
from audiosocket_agent.phrases import Phrasebook
from audiosocket_agent.records.reference import KINDS, import_csv
from audiosocket_agent.records.store import Store
from audiosocket_agent.roster import agents
from audiosocket_agent.server import Server
from audiosocket_agent.settings import Settings
from audiosocket_agent.tools.http_client import HttpClient
from audiosocket_agent.tools.mcp import McpTools
from tests.evals.gateway import Gateway
from tests.evals.speech import AGENT
from tests.serving import EXAMPLE

HOST: Final = "127.0.0.1"
SILENCE: Final = "0.2"
"""Seconds that end a caller's turn; our callers do not pause."""

PATIENCE_S: Final = 20.0


@dataclass
class House:
    """A running service, and what is around it."""

    settings: Settings
    server: Server
    port: int
    agi_port: int
    store: Store
    gateway: Gateway
    simulator: Simulator | None = None
    """None: it is Google who answers."""
    ticker: Ticker = field(default_factory=Ticker)
    scripts: dict[int, Behaviour] = field(default_factory=dict)
    dialling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One call is announced at a time, so that the next session is its."""

    @asynccontextmanager
    async def scripted(self, behaviour: Behaviour) -> AsyncIterator["Awaited"]:
        """Whoever is dialled inside the block talks to a model that behaves like this."""
        awaited = Awaited(self)
        assert self.simulator is not None
        async with self.dialling:
            awaited.number = self.simulator.session_count
            self.scripts[awaited.number] = behaviour
            yield awaited


@dataclass
class Awaited:
    """A session that is to come."""

    house: House
    number: int = 0

    async def record(self) -> SessionRecord:
        """What the simulator has of it, once it is there. Raises TimeoutError."""
        simulator = self.house.simulator
        assert simulator is not None
        async with asyncio.timeout(PATIENCE_S):
            while simulator.session_count <= self.number:  # noqa: ASYNC110 - another side's state
                await asyncio.sleep(0.01)
        return next(each for each in simulator.sessions if each.number == self.number)


@asynccontextmanager
async def house(*, live: bool = False, **more: str) -> AsyncIterator[House]:
    """The service, for as long as the block lasts. `live`: Gemini itself answers, by GEMINI_API_KEY;
    `more` are settings."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evals-")))
        gateway = await stack.enter_async_context(Gateway())
        simulator = None
        (directory / "agents").mkdir()
        around = {
            "STATE_DIRECTORY": str(directory),
            "DATABASE_URL": f"sqlite:///{directory}/agent.db",
            "AGENTS_DIRECTORY": os.environ.get("AGENTS_DIRECTORY", str(directory / "agents")),
            "VOICE_MODEL": "gemini",
            **gateway.settings,
            **more,
        }
        scripts: dict[int, Behaviour] = {}
        if not live:
            unscripted = Behaviour(greeting=AGENT, reply=AGENT, think_seconds=0.0, speed=0.0)
            simulator = await stack.enter_async_context(
                Simulator(behaviour_for=lambda number: scripts.get(number, unscripted))
            )
            around |= {
                "GOOGLE_GEMINI_BASE_URL": simulator.base_url,
                "SSL_CERT_FILE": str(simulator.ca_file),
                "GEMINI_API_KEY": "simulated",
                "GEMINI_SILENCE_DURATION": SILENCE,
            }
        stack.enter_context(environment(around))
        settings = config.load(EXAMPLE).settings
        store = await stack.enter_async_context(Store(config.database_url(settings), migrate=True))
        await sample_data(store)
        server, port, agi_port = await stack.enter_async_context(running(settings))
        yield House(settings, server, port, agi_port, store, gateway, simulator, scripts=scripts)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Server, int, int]]:
    """What `serve` does, on free ports and without its signals."""
    metrics = Metrics()
    async with archive(settings, metrics) as records, HttpClient() as client, McpTools() as servers:
        server = Server(
            service.voice_model(settings),
            agents(settings, service.means(settings, records, client, servers, Phrasebook())),
            metrics,
            book=records.book,
            default=settings.default_agent,
            max_calls=settings.max_calls,
        )
        port = await server.listen(HOST, 0)
        desk = Desk(server, HOST, port)
        agi = FastAgiServer({"open": desk.open, "next": desk.next})
        agi_port = await agi.start(HOST, 0)
        try:
            yield server, port, agi_port
        finally:
            await agi.stop()
            await server.stop()


async def sample_data(store: Store) -> None:
    """What `audiosocket-agent data sample` loads on a host in Noida: its agent has tomorrow when there
    is tomorrow, whatever the hour here."""
    now = datetime.now(ZoneInfo("Asia/Kolkata"))
    for kind in KINDS:
        await import_csv(store, kind, sample(kind), now=now)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in (*values, "SSL_CERT_DIR")}
    os.environ.update(values)
    os.environ.pop("SSL_CERT_DIR", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

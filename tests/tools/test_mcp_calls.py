"""Whole calls of a service whose agent may ask an MCP server: the server is a program of somebody's, the
model the simulator behind the real SDK."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, SessionRecord, Simulator, Use
from audiosocket_agent.records import listing
from audiosocket_agent.records.rows import ToolUse
from audiosocket_agent.records.store import Store
from audiosocket_agent.tools.mcp import NO_ANSWER
from tests.evals.speech import AGENT
from tests.serving import HOST, PATIENCE_SECONDS, Service, serving

OFFICE = Path(__file__).with_name("mcp_office.py")
SALES = """
instructions = "You sell."

[mcp.{name}]
command = {command}
tools = {tools}

[mcp.away]
command = ["/nowhere/server"]
tools = ["anything"]
"""
FOUND = {"number": "471100", "colour": None}


class Sales:
    """A running service with one agent, whose model does as it is told."""

    def __init__(self, service: Service, simulator: Simulator, directory: Path) -> None:
        self.service = service
        self.uses: list[Use] = []
        """What the model uses in the next call, before it says anything."""
        self._simulator = simulator
        self._directory = directory

    @property
    def database(self) -> str:
        return f"sqlite:///{self._directory}/agent.db"

    async def call(self) -> SessionRecord:
        """A call, until the model has all the answers."""
        number, uses = self._simulator.session_count, len(self.uses)
        async with Call.connect(HOST, self.service.port) as call:
            await call.agent_speaks(PATIENCE_SECONDS)
        session = next(each for each in self._simulator.sessions if each.number == number)
        assert len(session.tool_responses) == uses
        return session

    async def offers(self, *names: str) -> None:
        """Wait until a server is known to have these tools."""
        await self.says(
            lambda line: (line["event"], line.get("tools")) == ("MCP server offers", list(names))
        )

    async def says(self, what: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(what(line) for line in self.service.log):  # noqa: ASYNC110 - another's
                await asyncio.sleep(0.05)

    async def rows(self) -> list[ToolUse]:
        """Every use of a tool, as it is kept."""
        async with Store(self.database) as store:
            calls = await listing.calls(store)
            kept = [await listing.call(store, call.id) for call in reversed(calls)]
        return [row for record in kept if record is not None for row in record.tool_uses]


def write(directory: Path, name: str, *tools: str) -> None:
    command = json.dumps([sys.executable, str(OFFICE)])
    text = SALES.format(name=name, command=command, tools=json.dumps(tools))
    (directory / "sales.toml").write_text(text)


@asynccontextmanager
async def sales(directory: Path) -> AsyncIterator[Sales]:
    def behaviour(_: int) -> Behaviour:
        opening = Exchange(steps=(*house.uses, Line(AGENT, "Good morning.")))
        return Behaviour(opening=opening, connect_delay_seconds=0.0, think_seconds=0.0)

    async with Simulator(behaviour_for=behaviour) as simulator:
        async with serving(
            AGENTS_DIRECTORY=str(directory),
            DEFAULT_AGENT="sales",
            DATABASE_URL=f"sqlite:///{directory}/agent.db",
            VOICE_MODEL="gemini",
            GEMINI_API_KEY="simulated",
            GOOGLE_GEMINI_BASE_URL=simulator.base_url,
            SSL_CERT_FILE=str(simulator.ca_file),
        ) as service:
            house = Sales(service, simulator, directory)
            yield house


def told(session: SessionRecord) -> set[str]:
    """The tools that the model knows."""
    assert session.setup is not None
    return {
        declared["name"]
        for tool in session.setup["tools"]
        for declared in tool.get("functionDeclarations", tool.get("function_declarations"))
    }


def answers(session: SessionRecord) -> list[Any]:
    return [response["response"] for response in session.tool_responses]


async def test_a_model_asks_a_server_that_dies_comes_back_and_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, "crm", "find-customer", "die")
    async with sales(tmp_path) as house:
        # it takes calls whether or not its servers are there
        await house.offers("crm_find_customer", "crm_die")
        await house.says(lambda line: line["event"] == "MCP server is away")

        find = Use("crm_find_customer", {"number": "471100"})
        house.uses = [find, Use("crm_die"), Use("crm_find_customer", {"number": "471101"})]
        session = await house.call()
        assert told(session) == {"end_call", "collect_digits", "crm_find_customer", "crm_die"}
        found, died, gone = answers(session)
        assert found["output"].items() >= FOUND.items()
        assert died == gone == {"error": NO_ANSWER}

        await house.says(lambda line: line["event"] == "MCP server is back")
        house.uses = [find]
        session = await house.call()
        assert answers(session)[0]["output"].items() >= FOUND.items()

        write(tmp_path, "erp", "find-customer")
        house.service.signal(signal.SIGHUP)
        await house.offers("erp_find_customer")
        house.uses = [find, Use("erp_find_customer", {"number": "471100"})]
        session = await house.call()
        assert told(session) == {"end_call", "collect_digits", "erp_find_customer"}
        unknown, found = answers(session)
        assert unknown == {"error": "there is no such tool"}
        assert found["output"].items() >= FOUND.items()

        house.service.signal(signal.SIGTERM)
        assert await house.service.exit_code() == 0
        rows = [(row.tool, row.outcome) for row in await house.rows()]
        assert rows == [
            ("crm_find_customer", "ok"),
            ("crm_die", "error"),
            ("crm_find_customer", "error"),
            ("crm_find_customer", "ok"),
            ("unknown", "unknown"),
            ("erp_find_customer", "ok"),
        ]

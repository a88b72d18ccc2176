"""Whole calls with a webhook at the other end: a model that repeats itself, a caller who interrupts, a
server that is slow, and one ticket all the same."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.model import base
from audiosocket_agent.tables.table import parse
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import webhook_tool
from audiosocket_agent.tools.http_client import HttpClient
from audiosocket_agent.tools.http_table import read
from audiosocket_agent.tools.registry import Tool
from audiosocket_agent.tools.secrets import Secrets
from tests.house import House, house
from tests.scripted import Puppet, ScriptedModel
from tests.tools.shop import Asked, Shop, hangs_up, raw, shop
from tests.virtual_time import in_virtual_time

TICKETS = """
description = "Make a ticket."
url = "{url}/tickets"
method = "POST"
timeout = 2
headers = {{ Idempotency-Key = "{{call.key}}" }}
arguments.about = {{ description = "What is wrong." }}
result = {{ number = "ticket.number" }}
"""
WANTED = {"about": "no power"}
CALL = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0005")


class Tickets:
    """A server that makes one ticket for each key, `seconds` after it was asked."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self.seconds = 0.0
        self.breaks = 0  # so many times the answer is lost

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        key = asked.headers["idempotency-key"]
        number = self.made.setdefault(key, f"T-{len(self.made) + 1}")
        await asyncio.sleep(self.seconds)
        if self.breaks:
            self.breaks -= 1
            await hangs_up(asked, writer)
        writer.write(raw(f'{{"ticket": {{"number": "{number}"}}}}'.encode()))
        await writer.drain()


Script = Callable[[Puppet], Awaitable[None]]


@asynccontextmanager
async def a_call(
    tickets: Tickets, directory: Path, script: Script, call_id: uuid.UUID | None = None
) -> AsyncIterator[tuple[House, Call, ScriptedModel, Shop]]:
    """A call whose model may make tickets."""
    model = ScriptedModel(script)
    async with shop(tickets.answer) as server, HttpClient() as client:
        tool = a_tool(directory, server, client)
        async with house(model, tools=[tool]) as service, service.call(uuid=call_id) as call:
            yield service, call, model, server


def a_tool(directory: Path, server: Shop, client: HttpClient) -> Tool:
    path = directory / "a.toml"
    path.write_text(TICKETS.format(url=server.url), encoding="utf-8")
    table = parse(path, 64 * 1024)
    webhook = read("ticket", table, Secrets({}), Hosts())
    assert webhook is not None, table.mistakes.told()
    return webhook_tool(webhook, client)


def answers(model: ScriptedModel) -> dict[str, Any]:
    return {wanted.id: result for wanted, result in model.puppet.results}


@in_virtual_time
async def test_a_model_that_asks_twice_in_a_breath_makes_one_ticket(tmp_path: Path) -> None:
    async def twice(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "ticket", WANTED), base.ToolCall("2", "ticket", WANTED))
        await asyncio.sleep(0.5)
        model.tell(base.ToolCall("3", "ticket", WANTED))

    tickets = Tickets()
    async with a_call(tickets, tmp_path, twice) as (service, call, model, server):
        await call.passes(1.0)
        number = {"output": {"number": "T-1"}}
        assert answers(model) == {"1": number, "2": number, "3": number}
        assert len(server.asked) == 1
        assert service.metric("tool_calls_total", tool="ticket", outcome="repeated") == 2


@in_virtual_time
async def test_a_uuid_that_another_service_had_makes_another_ticket(tmp_path: Path) -> None:
    async def once(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "ticket", WANTED))

    tickets = Tickets()
    for number in ("T-1", "T-2"):
        async with a_call(tickets, tmp_path, once, CALL) as (_, call, model, _):
            await call.passes(1.0)
            assert answers(model) == {"1": {"output": {"number": number}}}


@in_virtual_time
async def test_a_caller_who_interrupts_has_one_ticket_all_the_same(tmp_path: Path) -> None:
    async def again(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "ticket", WANTED))
        await asyncio.sleep(0.2)  # the server has made it; its answer is on the way
        model.tell(base.ToolCancelled(("1",)), base.Interrupted(), base.TurnEnded(spoke=False))
        model.tell(base.ToolCall("2", "ticket", WANTED))
        model.turn_ends()
        await asyncio.sleep(1.0)
        model.tell(base.ToolCall("3", "ticket", WANTED))  # now they want another

    tickets = Tickets()
    tickets.seconds = 0.3
    async with a_call(tickets, tmp_path, again) as (_, call, model, server):
        await call.passes(3.0)
        assert answers(model) == {
            "2": {"output": {"number": "T-1"}},
            "3": {"output": {"number": "T-2"}},
        }
        assert len(server.asked) == 3


@in_virtual_time
async def test_an_answer_that_is_lost_is_asked_for_again(tmp_path: Path) -> None:
    async def once(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "ticket", WANTED))
        model.turn_ends()
        await asyncio.sleep(1.5)
        model.tell(base.ToolCall("2", "ticket", WANTED))

    tickets = Tickets()
    tickets.breaks = 3  # both attempts of the first use, and one of the second
    async with a_call(tickets, tmp_path, once) as (_, call, model, server):
        await call.passes(4.0)
        assert answers(model) == {
            "1": {"error": "the service does not answer now"},
            "2": {"output": {"number": "T-1"}},
        }
        assert len(server.asked) == 4
        assert tickets.made.keys() == {asked.headers["idempotency-key"] for asked in server.asked}


@in_virtual_time
async def test_a_server_that_is_slow_is_put_off_and_then_given_up(tmp_path: Path) -> None:
    async def once(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "ticket", WANTED))

    tickets = Tickets()
    tickets.seconds = 60.0
    async with a_call(tickets, tmp_path, once) as (service, call, model, _):
        await call.passes(6.0)
        assert answers(model)["1"]["status"] == "under way"
        [text] = model.puppet.texts
        assert '{"error": "the service does not answer now"}' in text
        assert service.metric("tool_calls_total", tool="ticket", outcome="error") == 1
        assert call.end is None

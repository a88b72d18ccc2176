"""What remains of a call in the database of a running service."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from audiosocket_agent import archive as archiving
from audiosocket_agent.archive import archive
from audiosocket_agent.call.info import CallInfo, Direction
from audiosocket_agent.errors import StartError
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.ledger import Book
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model import base
from audiosocket_agent.records import listing
from audiosocket_agent.records.costs import Prices
from audiosocket_agent.records.rows import Call as CallRow
from audiosocket_agent.records.rows import Row, ToolUse, Turn, Usage
from audiosocket_agent.records.schema import VERSION_TABLE
from audiosocket_agent.records.store import Store
from audiosocket_agent.settings import Database, Records, Settings
from tests.house import PLAN, House, house
from tests.pbx.asterisk import free_port
from tests.scripted import Puppet, ScriptedModel, tone
from tests.serving import EXAMPLE, HOST, environment, serving
from tests.virtual_time import in_virtual_time

INFO: Final = CallInfo("5550100", "Asha", "1000")


async def talk(model: Puppet) -> None:
    model.say(tone(1.0))
    model.tell(base.Transcript("agent", "Good "), base.Transcript("agent", "morning."))
    model.turn_ends()
    model.tell(base.Usage({("in", "audio"): 10, ("out", "audio"): 20}))
    model.tell(base.ToolCall("1", "end_the_world", {"when": "now"}))
    await asyncio.sleep(2.0)
    model.tell(base.Transcript("caller", "A price, "), base.Transcript("caller", "please."))
    model.say(tone(5.0))
    model.tell(base.Transcript("agent", "It is twelve euros, and"))
    await asyncio.sleep(1.0)
    model.tell(base.Interrupted())


async def kept(text: bool) -> list[Row]:
    """The rows of one call that is interrupted in its second reply."""
    rows: list[Row] = []
    service: House
    prices = Prices({"scripted": {("in", "audio"): Decimal(3), ("out", "audio"): Decimal(12)}})
    book = Book(rows.append, "scripted", "here", text, prices)
    async with house(ScriptedModel(talk), book=book) as service:
        async with service.call() as call:
            await call.passes(6.0)
        await service.is_empty()
        assert service.metric("cost_usd_total") == pytest.approx(0.00027)
    return rows


@in_virtual_time
async def test_a_call_is_kept_with_what_was_said_and_how_much_of_it_was_heard() -> None:
    rows = await kept(text=True)
    turns = [row for row in rows if isinstance(row, Turn)]
    assert [(t.n, t.speaker, t.text) for t in turns] == [
        (1, "agent", "Good morning."),
        (2, "caller", "A price, please."),
        (3, "agent", "It is twelve euros, and"),
    ]
    assert [t.interrupted for t in turns] == [False, False, True]
    assert turns[0].heard_ms is None  # all of it
    assert turns[2].heard_ms == pytest.approx(1000, abs=60)
    usage = [row for row in rows if isinstance(row, Usage)]
    assert [(u.direction, u.modality, u.tokens) for u in usage] == [
        ("in", "audio", 10),
        ("out", "audio", 20),
    ]
    [use] = [row for row in rows if isinstance(row, ToolUse)]
    assert (use.tool, use.outcome) == ("unknown", "unknown")  # a name is a model's invention
    assert [u.cost_usd for u in usage] == [Decimal("0.00003"), Decimal("0.00024")]
    first, last = (row for row in rows if isinstance(row, CallRow))
    assert rows[0] is first
    assert rows[-1] is last
    assert first.outcome is None
    assert (last.outcome, last.agent, last.instance) == ("caller_hangup", PLAN.name, "here")
    assert (last.turns, last.tokens_in, last.tokens_out) == (2, 10, 20)
    assert last.cost_usd == Decimal("0.00027")
    assert last.ended_at is not None
    assert (last.ended_at - last.started_at).total_seconds() == pytest.approx(6.0, abs=0.1)


@in_virtual_time
async def test_what_a_model_tells_at_once_is_kept_until_it_is_gone() -> None:
    async def talk(model: Puppet) -> None:
        await asyncio.sleep(0.1)
        for speaker, text in (("agent", "Good "), ("agent", "morning."), ("caller", "A price?")):
            model.tell_at_once(base.Transcript(speaker, text))
        model.fails()
        await asyncio.sleep(0.01)
        model.tell_at_once(base.Transcript("agent", "Too late."))

    rows: list[Row] = []
    async with house(ScriptedModel(talk), book=Book(rows.append, text=True)) as service:
        async with service.call() as call:
            await call.ended()
        await service.is_empty()
    turns = [(row.speaker, row.text) for row in rows if isinstance(row, Turn)]
    assert turns == [("agent", "Good morning."), ("caller", "A price?")]


@in_virtual_time
async def test_where_words_are_not_to_be_kept_none_are() -> None:
    rows = await kept(text=False)
    assert [row.text for row in rows if isinstance(row, Turn)] == ["", "", ""]


@in_virtual_time
async def test_a_call_that_went_on_with_another_model_is_billed_and_kept_as_one_of_both() -> None:
    async def talk(model: Puppet) -> None:
        model.tell(base.Usage({("in", "audio"): 10}, "first"))
        model.tell(base.Usage({("in", "audio"): 10}, "second"))
        model.tell(base.Usage({("in", "audio"): 10}, "second"))

    rows: list[Row] = []
    prices = Prices(
        {"first": {("in", "audio"): Decimal(3)}, "second": {("in", "audio"): Decimal(1)}}
    )
    book = Book(rows.append, "first", prices=prices)
    async with house(ScriptedModel(talk), book=book) as service:
        async with service.call() as call:
            await call.passes(2.0)
        await service.is_empty()
    costs = [row.cost_usd for row in rows if isinstance(row, Usage)]
    assert costs == [Decimal("0.00003"), Decimal("0.00001"), Decimal("0.00001")]
    last = rows[-1]
    assert isinstance(last, CallRow)
    assert (last.model, last.cost_usd) == ("first, second", Decimal("0.00005"))


@in_virtual_time
async def test_a_call_that_nobody_came_for_is_one_entry() -> None:
    rows: list[Row] = []
    async with house(ScriptedModel(), book=Book(rows.append)) as service:
        info = CallInfo("5550100", direction=Direction.OUTBOUND)
        service.server.expect(uuid.UUID(int=7), peer=HOST, info=info, ring_s=2.0)
        await asyncio.sleep(3.0)
        await service.is_empty()
    [row] = rows
    assert isinstance(row, CallRow)
    assert (row.outcome, row.caller, row.direction) == ("abandoned", "5550100", "outbound")
    assert row.answered_at is None


async def begun(url: str) -> None:
    """Wait until a call is in the database."""
    async with Store(url) as store, asyncio.timeout(5.0):
        while not await listing.calls(store):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)


def exported(settings: dict[str, str]) -> list[str]:
    """What `calls export` prints."""
    return subprocess.run(
        [sys.executable, "-m", "audiosocket_agent", "calls", "export", "--config", str(EXAMPLE)],
        env=environment(**settings),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()


async def test_a_service_keeps_its_calls_and_closes_those_it_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    own = {"DATABASE_URL": url, "STATE_DIRECTORY": str(tmp_path)}
    async with serving(**own) as service:
        async with Call.connect(HOST, service.port) as call:
            await call.agent_speaks()
            await begun(url)
            service.signal(signal.SIGKILL)
            await service.exit_code()
    async with serving(**own) as service:
        async with Call.connect(HOST, service.port) as call:
            await call.agent_speaks()
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0
    lines = exported(own)
    assert [json.loads(line)["call"]["outcome"] for line in lines] == ["caller_hangup", "lost"]
    async with Store(url) as store:
        calls = await listing.calls(store)
    assert [(c.agent, c.outcome) for c in calls] == [
        ("receptionist", "caller_hangup"),
        ("receptionist", "lost"),
    ]
    assert (tmp_path / "agent.db").stat().st_mode & 0o777 == 0o600


async def test_a_database_of_a_newer_version_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "agent.db"
    settings = Settings(database=Database.model_validate({"url": f"sqlite:///{file}"}))
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        await store.open()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StartError, match=r"^DATABASE_URL: .*9999"):
        async with archive(settings, Metrics()):
            pass


async def test_a_second_service_that_cannot_start_loses_no_call_of_the_first(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    own = {
        "DATABASE_URL": url,
        "STATE_DIRECTORY": str(tmp_path),
        "AUDIOSOCKET_PORT": str(free_port()),
    }
    async with serving(**own) as service, Call.connect(HOST, service.port) as call:
        await call.agent_speaks()
        await begun(url)
        with pytest.raises(ExceptionGroup):
            async with serving(**own):
                pytest.fail("it has started")
        async with Store(url) as store:
            [row] = await listing.calls(store)
        assert row.outcome is None
        assert call.end is None


async def test_a_disk_that_fails_ends_no_retention_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = asyncio.Event()

    def fail_once(directory: Path, before: date) -> tuple[int, dict[str, str]]:
        monkeypatch.setattr(archiving, "sweep_days", sweep_days)
        raise OSError("input/output error")

    def sweep_days(directory: Path, before: date) -> tuple[int, dict[str, str]]:
        loop.call_soon_threadsafe(again.set)
        return 0, {}

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(archiving, "sweep_days", fail_once)
    monkeypatch.setattr(archiving, "AFTER_FAULT_SECONDS", 0.0)
    url = Database.model_validate({"url": f"sqlite:///{tmp_path / 'agent.db'}"})
    async with archive(Settings(database=url, records=Records(days=1)), Metrics()):
        async with asyncio.timeout(10.0):
            await again.wait()

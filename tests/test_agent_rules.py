"""What an agent's file says of its calls: language, silence, cost, who is remembered."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audiosocket_agent.call.info import CallInfo
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.lab.report import End
from audiosocket_agent.ledger import Book, Ledger
from audiosocket_agent.model import base
from audiosocket_agent.plan import ARE_YOU_THERE, NOBODY_THERE
from audiosocket_agent.recall import recall
from audiosocket_agent.records.costs import Budget, Prices
from audiosocket_agent.records.rows import Call as CallRow
from audiosocket_agent.records.rows import Row, Ticket
from audiosocket_agent.records.store import Store
from tests.agi.dialplan import agi
from tests.house import house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

CALL = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0004")
LANGUAGES: dict[str, Any] = {
    "languages": ("en-IN", "hi-IN"),
    "greetings": {"hi-IN": "नमस्ते कहिए।"},
    "voice": "Puck",
}
PRICES = Prices({"scripted": {("out", "audio"): Decimal(12)}})


async def greet(model: Puppet) -> None:
    model.say(tone(1.0))
    model.turn_ends()


@pytest.mark.parametrize(
    ("asked", "spoken", "greeting"),
    [
        ("&language=hi", "hi-IN", "नमस्ते कहिए।"),
        ("&LANGUAGE=hi_IN", "hi-IN", "नमस्ते कहिए।"),
        ("&language=fr", "en-IN", "Greet the caller."),
        ("", "en-IN", "Greet the caller."),
    ],
)
@in_virtual_time
async def test_the_dialplan_says_which_language_to_begin_in(
    asked: str, spoken: str, greeting: str
) -> None:
    rows: list[Row] = []
    model = ScriptedModel(greet)
    async with house(model, book=Book(rows.append), **LANGUAGES) as service:
        await agi(service.agi_port, f"open?uuid={CALL}{asked}")
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
        await service.is_empty()
    assert (model.puppet.setup.greeting, model.puppet.setup.voice) == (greeting, "Puck")
    assert {row.language for row in rows if isinstance(row, CallRow)} == {spoken}


@in_virtual_time
async def test_a_caller_who_says_nothing_is_asked_and_let_go() -> None:
    async def ask(model: Puppet) -> None:
        await greet(model)
        for _ in range(2):
            await model.told.wait()
            model.told.clear()
            await greet(model)

    model = ScriptedModel(ask)
    async with house(model, limits=Limits(silence_s=20.0)) as service:
        async with service.call() as call:
            assert await call.ended(60.0) is End.FINISHED
        await service.is_empty()
        assert service.metric("calls_total", outcome="caller_silent") == 1
    assert model.puppet.texts == [ARE_YOU_THERE.format(20), NOBODY_THERE]


@in_virtual_time
async def test_a_call_that_has_cost_enough_ends_after_its_sentence() -> None:
    async def talk(model: Puppet) -> None:
        model.say(tone(2.0))
        model.tell(base.Usage({("out", "audio"): 10_000}))  # 12 cents
        model.turn_ends()

    book = Book(model="scripted", prices=PRICES)
    async with house(ScriptedModel(talk), book=book, cost_usd=Decimal("0.1")) as service:
        async with service.call() as call:
            assert await call.ended(10.0) is End.FINISHED
            assert sum(frame.audible for frame in call.frames) * 0.02 == pytest.approx(2.0, abs=0.1)
        await service.is_empty()
        assert service.metric("calls_total", outcome="max_cost") == 1


@in_virtual_time
async def test_once_the_days_budget_is_spent_no_call_begins() -> None:
    budget = Budget(Decimal(1))
    budget.spend(Decimal(1), datetime.now().astimezone())
    async with house(ScriptedModel(greet), book=Book(budget=budget)) as service:
        answer = await agi(service.agi_port, f"open?uuid={CALL}")
        assert answer["AGENT_STATUS"] == "BUSY"
        assert service.metric("calls_rejected_total", reason="budget") == 1


@in_virtual_time
async def test_an_agent_that_may_is_told_of_the_callers_last_call() -> None:
    async def known(caller: str, days: int) -> Mapping[str, Any]:
        return {"caller": caller, "days": days}

    model = ScriptedModel(greet)
    async with house(model, book=Book(recall=known), memory_days=30) as service:
        await agi(service.agi_port, f"open?uuid={CALL}")
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
    assert model.puppet.setup.instructions.endswith('{"caller": "5550100", "days": 30}')


async def test_nobody_is_taken_for_another_who_hides_their_number_too() -> None:
    asked: list[str] = []

    async def known(caller: str, days: int) -> Mapping[str, Any]:
        asked.append(caller)
        return {"caller": caller}

    book = Book(recall=known)
    shown = ("anonymous", "Restricted", "", "0", "101", "5550100", "+915555509999")
    for caller in shown:
        ledger = Ledger(book, str(CALL), "desk", CallInfo(caller), lambda: 0.0)
        await ledger.recall(30)
    assert asked == ["5550100", "+915555509999"]


async def test_what_is_remembered_is_how_the_last_call_ended_and_open_tickets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("audiosocket_agent.recall.RECALL_SECONDS", 10.0)  # no test of a clock
    now = datetime.now(UTC)
    began = now - timedelta(days=3)
    old = CallRow(
        id="1",
        agent="a",
        started_at=began,
        ended_at=began,
        caller="5550100",
        outcome="transferred",
        transferred_to="billing",
        reason="Her bill is too high. " * 20,
    )
    async with Store(f"sqlite:///{tmp_path}/agent.db", migrate=True) as store:
        await store.write([old], 5.0)
        ticket = await store.commit(
            Ticket(
                kind="complaint",
                subject="No light",
                created_at=began,
                idempotency_key="k",
                caller="5550100",
            ),
            5.0,
        )
        done = Ticket(
            kind="ticket",
            subject="Done",
            created_at=now,
            idempotency_key="d",
            caller="5550100",
            status="closed",
        )
        await store.commit(done, 5.0)
        look = recall(store)
        assert await look("5550100", 30) == {
            "last_call": began.date().isoformat(),
            "it_ended_with": "billing",
            "reason": ("Her bill is too high. " * 20)[:240],
            "tickets": [
                {
                    "number": ticket.number,
                    "kind": "complaint",
                    "subject": "No light",
                    "status": "open",
                    "date": began.date().isoformat(),
                }
            ],
        }
        assert await look("5550100", 2) == {}
        assert await look("5550199", 30) == {}

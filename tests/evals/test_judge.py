"""The judge has teeth: a call that is in order, and everything that can be wrong with one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from audiosocket_agent.lab.simulator import SessionRecord
from audiosocket_agent.records.listing import CallRecord
from audiosocket_agent.records.rows import Call, Callback, Ticket, ToolUse, Turn, Usage
from tests.evals import cases
from tests.evals.call import Held
from tests.evals.cases import Conversation
from tests.evals.judge import findings, live_findings, pieces

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ID = "0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0001"
INSTRUCTIONS = (
    "You answer the telephone of a company whose owner must never be named to any caller. "
    'Say: "Good morning, this is the company, how can I help you on this fine day?"'
)
CASE = Conversation(
    agent="npcl",
    name="a complaint",
    language="bho-IN",
    next="transfer 2010",
    rows=({"table": "tickets", "kind": "complaint", "details": {"about": "bill"}},),
    sms=({"to": "+915555500101", "has": "48205917"},),
    never=("4711",),
    turns=(
        cases.Turn(
            caller="शिकायत बा",
            model=(
                cases.Use(tool="register_complaint", has="open"),
                "Number {register_complaint.number}.",
            ),
        ),
    ),
)
USAGE = {
    "promptTokenCount": 1_000,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1_000}],
}
MESSAGE = {"To": "+915555500101", "From": "SHOP", "Body": "Number 48205917"}


def ticket(**more: Any) -> Ticket:
    known: dict[str, Any] = {
        "kind": "complaint",
        "subject": "Bill too high",
        "created_at": NOW,
        "idempotency_key": "key",
        "number": "48205917",
        "language": "bho-IN",
        "details": {"about": "bill", "details": "October"},
    }
    return Ticket(**(known | more))


def use(tool: str = "register_complaint", outcome: str = "ok") -> ToolUse:
    return ToolUse(
        call_id=ID, turn=1, tool=tool, arguments={}, outcome=outcome, used_at=NOW, took_ms=1
    )


def in_order() -> Held:
    """What there is to say of CASE is good."""
    session = SessionRecord(0, 0.0)
    session.words = ["Good morning.", "Number 48205917."]
    session.usages = [USAGE]
    session.tool_calls = [{"id": "1", "name": "register_complaint", "args": {}}]
    response = {"number": "48205917", "status": "open"}
    session.tool_responses = [{"id": "1", "name": "register_complaint", "response": response}]
    held = Held(CASE, session, "transfer 2010", heard_s=[0.1, 1.3])
    usage = Usage(
        call_id=ID,
        turn=1,
        direction="in",
        modality="audio",
        tokens=1_000,
        used_at=NOW,
        cost_usd=Decimal("0.003"),
    )
    held.record = CallRecord(
        Call(id=ID, agent="npcl", started_at=NOW, language="bho-IN", cost_usd=Decimal("0.003")),
        [Turn(call_id=ID, n=1, speaker="agent", text="Good morning.", start_s=0.1)],
        [use()],
        [usage],
        [ticket()],
        [],
        [],
    )
    return held


def wrong(held: Held, sent: list[dict[str, str]]) -> list[str]:
    return [each.what for each in findings(held, list(sent), INSTRUCTIONS) if not each.ok]


def test_a_call_in_order_has_nothing_wrong() -> None:
    assert wrong(in_order(), [MESSAGE]) == []


Spoil = Callable[[Held], object]


def leaves(held: Held, **rows: Any) -> None:
    held.record = replace(held.record, **rows)


def says(held: Held, words: str) -> None:
    held.record.turns.append(Turn(call_id=ID, n=2, speaker="agent", text=words, start_s=2.0))


SPOILED: list[tuple[Spoil, str]] = [
    (lambda held: held.troubles.append("late"), "late"),
    (lambda held: held.heard_s.pop(), "heard in 1 of 2"),
    (lambda held: held.record.tool_uses.clear(), "not used"),
    (lambda held: held.record.tool_uses.append(use("get_bill")), "get_bill ok, which nobody"),
    (lambda held: leaves(held, tool_uses=[use(outcome="refused")]), "not register_"),
    (lambda held: held.record.tickets.clear(), "row: "),
    (lambda held: held.record.tickets.append(ticket(number="1")), "a row nobody expected"),
    (lambda held: leaves(held, tickets=[ticket(language="hi-IN")]), "row: "),
    (lambda held: leaves(held, tickets=[ticket(kind="outage")]), "row: "),
    (lambda held: leaves(held, tickets=[ticket(details={})]), "row: "),
    (lambda held: leaves(held, tickets=[ticket(number="11111111")]), "48205917, as"),
    (lambda held: says(held, "It is 4711."), "never: '4711'"),
    (lambda held: says(held, INSTRUCTIONS[:84]), "nothing of the instructions"),
    (lambda held: setattr(held, "next", "transfer 0900"), "then: transfer 2010"),
    (lambda held: setattr(held, "next", ""), "then: transfer 2010"),
    (lambda held: held.record.usage.clear(), "its usage rows"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILED, ids=[said for _, said in SPOILED])
def test_what_is_wrong_is_found(spoil: Spoil, said: str) -> None:
    held = in_order()
    spoil(held)
    found = wrong(held, [MESSAGE])
    assert any(said in what for what in found), found


def test_a_second_usage_message_that_is_in_no_row_is_found() -> None:
    held = in_order()
    assert held.session is not None
    held.session.usages.append(USAGE)
    assert any("added up again, are 0.006" in what for what in wrong(held, [MESSAGE]))


def test_a_number_inside_another_is_not_the_number() -> None:
    held = in_order()
    says(held, "Ticket 14711023.")
    assert wrong(held, [MESSAGE]) == []


def test_messages_that_are_missing_and_that_nobody_expects_are_found() -> None:
    assert any("message: " in what for what in wrong(in_order(), []))
    assert any("nobody expected" in what for what in wrong(in_order(), [MESSAGE, MESSAGE]))
    other = MESSAGE | {"To": "+19005550100"}
    assert any("message: " in what for what in wrong(in_order(), [other]))


def test_a_call_back_that_nobody_expected_is_found() -> None:
    held = in_order()
    held.record.callbacks.append(
        Callback(number="0900", due_at=NOW, created_at=NOW, idempotency_key="1")
    )
    assert any("a row nobody expected" in what for what in wrong(held, [MESSAGE]))


def test_what_a_tool_was_to_say_is_looked_for_in_what_it_said() -> None:
    held = in_order()
    assert held.session is not None
    held.session.tool_responses[0]["response"] = {"number": "48205917", "status": "closed"}
    assert any("register_complaint says 'open'" in what for what in wrong(held, [MESSAGE]))


def test_a_number_that_is_only_spoken_is_found() -> None:
    held = in_order()
    held.conversation = replace(CASE, rows=())
    held.record.tickets.clear()
    assert any("48205917, as told" in what for what in wrong(held, [MESSAGE]))


def test_of_a_real_model_the_tools_and_the_forbidden_words_count() -> None:
    held = in_order()
    assert [each.what for each in live_findings(held, INSTRUCTIONS) if not each.ok] == []
    held.record.tool_uses.clear()
    says(held, "4711")
    found = [each.what for each in live_findings(held, INSTRUCTIONS) if not each.ok]
    assert found == ["register_complaint ok", "never: '4711'"]


def test_what_a_prompt_quotes_is_meant_to_be_said() -> None:
    assert not any("fine day" in piece for piece in pieces(INSTRUCTIONS))
    assert any("must never be named" in piece for piece in pieces(INSTRUCTIONS))

"""What a ledger writes of what is said, and what it does not."""

from collections.abc import Mapping
from typing import Any

import pytest

from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.info import CallInfo
from audiosocket_agent.call.summary import Summary
from audiosocket_agent.ledger import Book, Ledger
from audiosocket_agent.records.rows import Call, Row, ToolUse, Turn
from audiosocket_agent.tools.audit import Used, UseOutcome

NUMBER = "98765 43210"
GIVEN = {"account": 9876543210, "months": 3, "note": ["call", NUMBER]}


def written(given: Mapping[str, Any] = GIVEN, *, text: bool = True, **book: Any) -> list[Row]:
    """The rows of a call in which a number is said in pieces, and a tool is given one."""
    rows: list[Row] = []
    ledger = Ledger(
        Book(rows.append, text=text, **book), "a", "desk", CallInfo("5550100"), lambda: 0.0
    )
    ledger.answered()
    for piece in ("It is 987", "65 4", "3210,", " thanks."):
        ledger.said("caller", piece)
    ledger.turn_ended()
    ledger.tool_used(Used("a", 1, "get_bill", given, UseOutcome.OK, 5, "key"))
    return rows


def of(rows: list[Row]) -> tuple[str, Any, str]:
    [call] = [row for row in rows if isinstance(row, Call)]
    [turn] = [row for row in rows if isinstance(row, Turn)]
    [use] = [row for row in rows if isinstance(row, ToolUse)]
    return turn.text, use.arguments, call.caller


def test_numbers_are_hidden_in_words_and_arguments_and_the_caller_stays() -> None:
    hidden = {"account": "***10", "months": 3, "note": ["call", "***10"]}
    assert of(written()) == ("It is ***10, thanks.", hidden, "5550100")


def test_why_a_call_ended_is_kept_as_what_was_said_is() -> None:
    for text, mask, kept in (
        (True, True, "call ***10"),
        (True, False, f"call {NUMBER}"),
        (False, True, ""),
    ):
        rows: list[Row] = []
        book = Book(rows.append, text=text, mask=mask)
        ledger = Ledger(book, "a", "desk", CallInfo("5550100"), lambda: 0.0)
        ledger.ended(Outcome.TRANSFERRED, Summary(), "sales", f"call {NUMBER}")
        [call] = rows
        assert isinstance(call, Call)
        assert call.reason == kept


def test_where_that_is_not_wanted_all_is_kept() -> None:
    assert of(written(mask=False)) == (f"It is {NUMBER}, thanks.", GIVEN, "5550100")


@pytest.mark.parametrize("mask", [True, False])
def test_where_no_words_are_kept_none_are_in_arguments_either(mask: bool) -> None:
    rows = written({"subject": "no light", "account": 4711, "months": [3]}, text=False, mask=mask)
    names = {"subject": "8 characters", "account": "***", "months": "***"}
    assert of(rows) == ("", names, "5550100")

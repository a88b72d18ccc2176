"""Rows as lines of the journal, and what is no row."""

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given

from audiosocket_agent.records import codec
from audiosocket_agent.records.errors import RowError
from audiosocket_agent.records.rows import TABLES, Gone, Lost, Promise, Row
from tests.records.made import begun, ended, ticket, tool_use, turn, usage
from tests.records.strategies import rows


@given(rows)
def test_a_row_comes_back_from_its_line(row: Row) -> None:
    line = codec.line(row)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = codec.row(line)
    assert type(back) is type(row)
    assert codec.values(back) == codec.values(row)


def test_what_fits_comes_back_unchanged() -> None:
    for row in (begun(), ended(), turn(), tool_use(), usage()):
        assert codec.row(codec.line(row)) == row


def test_what_no_database_takes_is_replaced() -> None:
    assert codec.values(turn(text="a\0b\ud800c"))["text"] == "a\ufffdb?c"
    arguments = codec.values(tool_use(arguments={"\0": ["\0"]}))["arguments"]
    assert arguments == {"\ufffd": ["\ufffd"]}


def test_what_is_too_long_is_cut() -> None:
    kept = codec.values(turn(text="हाँ " * codec.MAX_TEXT_CHARS))["text"]
    assert len(kept) == codec.MAX_TEXT_CHARS
    assert kept.endswith("…")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (turn(text=b"bytes"), "Turn.text"),
        (turn(text=None), "Turn.text"),
        (turn(n="1"), "Turn.n"),
        (turn(n=True), "Turn.n"),
        (turn(heard_ms=2**63), "Turn.heard_ms"),
        (turn(start_s=float("nan")), "Turn.start_s"),
        (turn(start_s=10**400), "Turn.start_s"),
        (turn(interrupted=0), "Turn.interrupted"),
        (begun(started_at=datetime(2026, 1, 1)), "Call.started_at"),  # noqa: DTZ001
        (begun(started_at="noon"), "Call.started_at"),
        (begun(cost_usd=0.1), "Call.cost_usd"),
        (begun(cost_usd=Decimal("NaN")), "Call.cost_usd"),
        (begun(cost_usd=Decimal(1_000_000)), "Call.cost_usd"),
        (tool_use(arguments=[]), "ToolUse.arguments"),
        (tool_use(arguments={"a": b""}), "ToolUse.arguments"),
        (tool_use(arguments={1: "a"}), "ToolUse.arguments"),
        (tool_use(arguments={"a": float("inf")}), "ToolUse.arguments"),
        (tool_use(arguments={"a": {"b": datetime.now(UTC)}}), "ToolUse.arguments"),
        (
            tool_use(arguments={"a": "x" * 60_000, **{str(n): "x" * 60_000 for n in range(5)}}),
            "Tool",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_not_repeated(row: Row, field: str) -> None:
    with pytest.raises(RowError, match=f"^{field}") as refused:
        codec.values(row)
    assert "noon" not in str(refused.value)
    with pytest.raises(RowError):
        codec.line(row)


def test_json_that_goes_on_for_ever_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(RowError, match="too deep"):
        codec.values(tool_use(arguments=endless))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"\0\0\0\n",
        b"null\n",
        b"[]\n",
        b'{"kind": "Turn"}\n',
        b'{"kind": "Ticket", "row": {}}\n',
        b'{"kind": "Turn", "row": {"n": 1}}\n',
        b'{"kind": "Turn", "row": 7}\n',
        b"[" * 100_000,
        "\ud800".encode(errors="surrogatepass"),
        codec.line(turn())[:-9],
        codec.line(begun()).replace(b"2026-11-20T", b"2026-31-20T"),
        codec.line(usage()).replace(b"0.003", b"0.0.3"),
    ],
)
def test_what_a_crash_leaves_is_no_row(line: bytes) -> None:
    with pytest.raises(RowError):
        codec.row(line)


def test_a_line_of_another_version_is_read_as_far_as_it_is_known() -> None:
    line = codec.line(turn())
    assert codec.row(line.replace(b'"row": {', b'"row": {"mood": 5, ')) == codec.row(line)
    without = line.replace(b', "interrupted": false', b"")
    assert without != line
    assert codec.row(without) == codec.row(line)


@pytest.mark.parametrize("kind", [*get_args(Row), *get_args(Promise)])
def test_a_row_has_the_fields_of_its_table(kind: type[Any]) -> None:
    if kind in (Lost, Gone):
        return  # it is none
    hints = get_type_hints(kind)
    optional = {field.name: type(None) in get_args(hints[field.name]) for field in fields(kind)}
    assert optional == {column.name: column.nullable for column in TABLES[kind].c}


def test_a_promise_is_never_journalled() -> None:
    line = codec.line(turn()).replace(b'"Turn"', b'"Ticket"')
    assert codec.values(ticket())["number"] == ""
    with pytest.raises(RowError):
        codec.row(line)

"""What people ask the records, and what other programs get of them."""

import csv
import io
import json
from decimal import Decimal

import pytest

from audiosocket_agent.records import listing
from audiosocket_agent.records.export import COLUMNS, csv_lines, json_lines
from audiosocket_agent.records.ids import uuid7
from audiosocket_agent.records.listing import CallRecord, Which
from audiosocket_agent.records.rows import Call
from audiosocket_agent.records.store import Store
from tests.records.made import (
    CALL,
    NUMBER,
    begun,
    callback,
    ended,
    minutes,
    recording,
    ticket,
    tool_use,
    turn,
    usage,
)

SOON = 10.0


async def ids(store: Store, **which: object) -> list[str]:
    return [call.id for call in await listing.calls(store, Which(**which))]  # type: ignore[arg-type]


async def test_calls_are_listed_newest_first_and_by_what_is_asked(store: Store) -> None:
    a = ended(id="a", started_at=minutes(1))
    b = ended(id="b", started_at=minutes(2), agent="hinglish", outcome="max_duration")
    c = begun(id="c", started_at=minutes(3), caller="+4930123")
    await store.write([b, c, a], SOON)
    assert await listing.calls(store) == [c, b, a]
    assert await listing.calls(store, limit=2) == [c, b]
    assert await ids(store, since=minutes(2)) == ["c", "b"]
    assert await ids(store, until=minutes(2)) == ["a"]
    assert await ids(store, agent="hinglish") == ["b"]
    assert await ids(store, outcome="max_duration") == ["b"]
    assert await ids(store, outcome=listing.UP) == ["c"]
    assert await ids(store, caller=NUMBER) == ["b", "a"]
    assert await ids(store, caller=NUMBER, agent="npcl", since=minutes(2)) == []


async def test_a_call_is_shown_with_all_that_belongs_to_it(store: Store) -> None:
    turns = [turn(n) for n in (1, 2, 10)]
    other = turn(1, call_id="other")
    used, tokens, audio = tool_use(), usage(), recording()
    await store.write([*reversed(turns), other, ended(), used, tokens, audio], SOON)
    promised, back = await store.commit(ticket(), SOON), await store.commit(callback(), SOON)
    assert await listing.call(store, CALL) == CallRecord(
        ended(), turns, [used], [tokens], [promised], [back], [audio]
    )
    assert await listing.call(store, "other") is None


async def test_tickets_are_listed_and_closed_once(store: Store) -> None:
    first = await store.commit(ticket("a"), SOON)
    second = await store.commit(
        ticket("b", kind="ticket", created_at=minutes(1), caller="+4930123"), SOON
    )
    assert await listing.tickets(store) == [second, first]
    assert await listing.tickets(store, limit=1) == [second]
    assert await listing.tickets(store, kind="complaint") == [first]
    assert await listing.tickets(store, caller="+4930123") == [second]
    assert await listing.ticket(store, first.number) == first

    closed = await listing.close_ticket(store, first.number, minutes(5))
    assert closed is not None
    assert (closed.status, closed.closed_at) == ("closed", minutes(5))
    assert await listing.close_ticket(store, first.number, minutes(9)) == closed
    assert await listing.tickets(store, status="open") == [second]
    assert await listing.tickets(store, status="closed") == [closed]
    assert await listing.close_ticket(store, "00000000", minutes(9)) is None
    assert await listing.ticket(store, "00000000") is None


# -- export ----------------------------------------------------------------------------------------


async def test_every_call_is_exported_once_however_many_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE_CALLS", 4)
    calls = [ended(id=uuid7(), started_at=minutes(n // 3)) for n in range(12)]  # some at one time
    await store.write([*calls, *(turn(1, call_id=call.id) for call in calls)], SOON)
    exported = [json.loads(line) async for line in json_lines(store)]
    by_time = sorted(calls, key=lambda call: (call.started_at, call.id), reverse=True)
    assert [each["call"]["id"] for each in exported] == [call.id for call in by_time]
    assert all(len(each["turns"]) == 1 for each in exported)
    late = [json.loads(line) async for line in json_lines(store, Which(since=minutes(3)))]
    assert late == exported[:3]


async def test_an_exported_call_is_one_line_of_json(store: Store) -> None:
    await store.write([ended(cost_usd=Decimal("0.000000001")), turn(text="हाँ\n")], SOON)
    (line,) = [line async for line in json_lines(store)]
    assert line.count("\n") == 1
    assert "हाँ" in line
    call = json.loads(line)["call"]
    assert call["started_at"] == "2026-11-20T12:00:00+00:00"
    assert call["cost_usd"] == "0.000000001"


async def test_csv_has_a_line_per_call_and_no_formula(store: Store) -> None:
    strange: list[Call] = [
        ended(id=str(n), started_at=minutes(-n), caller_name=name)
        for n, name in enumerate(["=1+1", "@SUM(A1)", "-1+cmd|' /C calc'!A0", 'Rao, "R"\nNoida'])
    ]
    await store.write(strange, SOON)
    text = "".join([line async for line in csv_lines(store)])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert [row["caller_name"] for row in rows] == [
        "'=1+1",
        "'@SUM(A1)",
        "'-1+cmd|' /C calc'!A0",
        'Rao, "R"\nNoida',
    ]
    assert {row["caller"] for row in rows} == {NUMBER}
    assert {row["cost_usd"] for row in rows} == {"0.000000000"}
    assert {row["answered_at"] for row in rows} == {""}

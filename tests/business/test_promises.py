"""What a caller is told a number of is on the disk; what is not written is not told."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table

from audiosocket_agent.business.office import CANNOT_WRITE
from audiosocket_agent.business.promises import NO_CALLER, NO_TICKET, THAT_LATE
from audiosocket_agent.records import listing, schema
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.rows import Promise
from tests.business.talk import LOCAL_NOON, STRANGER, Desk, error_of

MAKES: list[tuple[str, str, dict[str, Any]]] = [
    ("create_ticket", "ticket", {"subject": "Refund for BZ-1047", "details": "Paid by UPI"}),
    ("register_complaint", "complaint", {"about": "meter", "complaint": "मीटर तेज़ चल रहा है"}),
    ("report_outage", "outage", {"area": "sec 62", "details": "since nine"}),
    (
        "request_connection",
        "connection",
        {"name": "Asha", "address": "Plot 9, Block C", "area": "Gaur City", "load_kw": 4},
    ),
]


async def test_the_number_that_is_told_is_on_the_disk(desk: Desk) -> None:
    for number, (tool, kind, arguments) in enumerate(MAKES):
        async with desk.call(number=number, language="bho-IN") as call:
            told = await call.use(tool, **arguments)
            digits = told["number"]
            assert told["say"] == f"{' '.join(digits[:4])}, {' '.join(digits[4:])}"
            ticket = await listing.ticket(desk.store, digits)
            assert ticket is not None
            assert (ticket.kind, ticket.status, ticket.language) == (kind, "open", "bho-IN")
            assert (ticket.caller, ticket.call_id) == (STRANGER, call.id)
            assert (ticket.account, ticket.created_at) == ("", LOCAL_NOON)
            assert ticket.idempotency_key == call.rows[-1].key


async def test_what_is_written_says_what_the_caller_said(desk: Desk) -> None:
    async with desk.call(secrets=["4711"]) as call:
        for tool, _, arguments in MAKES:
            await call.use(tool, **arguments)
        await call.use("get_bill", account="2000451177", digits="secret-1")
        bill = {"about": "bill", "complaint": "The bill is too high."}
        await call.use("register_complaint", **bill, account="2000451177")
        await call.use("register_complaint", **bill, account="2000451268")
    tickets = {ticket.subject: ticket for ticket in await listing.tickets(desk.store)}
    assert tickets["Refund for BZ-1047"].details == {"details": "Paid by UPI"}
    assert tickets["No power: Sector 62, Noida"].details == {
        "area": "Sector 62, Noida",
        "said": "sec 62",
        "details": "since nine",
    }
    connection = tickets["New domestic connection: Greater Noida West, Greater Noida"]
    assert connection.details["load_kw"] == "4"
    of_bill = await listing.tickets(desk.store, kind="complaint", limit=2)
    assert [ticket.account for ticket in of_bill] == ["2000451177"] * 2  # the proven one
    said = [dict(ticket.details) for ticket in of_bill]
    assert {"about": "bill", "account_said": "2000451268"} in said
    assert {"about": "bill"} in said


async def test_an_account_that_is_only_said_is_not_the_tickets(desk: Desk) -> None:
    async with desk.call() as call:
        await call.use("report_outage", area="Sector 62", account="2000451177")
    [ticket] = await listing.tickets(desk.store)
    assert (ticket.account, ticket.details["account_said"]) == ("", "2000451177")


async def test_a_reported_outage_is_told_what_is_known_of_it(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("report_outage", area="सेक्टर 62")
        assert told["area"] == "Sector 62, Noida"
        assert told["known"][0]["cause"] == "a cable fault at the 33 kV substation"
        told = await call.use("report_outage", area="Sector 999")  # written as it was said
        assert (told["area"], told["known"]) == ("Sector 999", [])


async def test_the_same_is_written_once(desk: Desk) -> None:
    async with desk.call() as call:
        for tool, _, arguments in MAKES:
            first = await call.use(tool, **arguments)
            assert await call.again(tool, **arguments) == first  # in one breath
            assert call.outcome == "repeated"
            assert (await call.use(tool, **arguments))["number"] == first["number"]  # later
    assert len(await listing.tickets(desk.store)) == len(MAKES)


async def test_a_number_whose_telling_was_lost_is_found_again_by_its_key(desk: Desk) -> None:
    """The commit succeeds, and nobody hears of it: the next try gets the same number."""
    commit, numbers = desk.store.commit, []

    async def lost(row: Promise) -> Promise:
        written = await commit(row, 3.0)
        numbers.append(getattr(written, "number", ""))
        if len(numbers) == 1:
            raise StoreError("the connection was lost")
        return written

    desk.commit = lost  # type: ignore[method-assign]
    async with desk.call() as call:
        assert error_of(await call.use("create_ticket", subject="No water")) == CANNOT_WRITE
        told = await call.use("create_ticket", subject="No water")
        assert [told["number"]] * 2 == numbers
    assert len(await listing.tickets(desk.store)) == 1


async def test_what_cannot_be_written_is_refused_politely(desk: Desk) -> None:
    async def down(row: Promise) -> Promise:
        raise StoreError("postgresql://db/records is down")

    desk.commit = down  # type: ignore[method-assign]
    wanted = [*MAKES, ("schedule_callback", "", {"at": "2026-11-20T18:30", "reason": "bill"})]
    async with desk.call() as call:
        for tool, _, arguments in wanted:
            assert error_of(await call.use(tool, **arguments)) == CANNOT_WRITE
            assert call.outcome == "error"
    assert await listing.tickets(desk.store) == []


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("create_ticket", {}, "subject is missing"),
    ("create_ticket", {"subject": "ab"}, "subject should have at least 3 characters"),
    ("create_ticket", {"subject": "x" * 161}, "subject should have at most 160 characters"),
    (
        "create_ticket",
        {"subject": "Refund", "details": "x" * 501},
        "details should have at most 500 characters",
    ),
    (
        "create_ticket",
        {"subject": "Refund", "status": "closed"},
        "there is no argument 'status'",
    ),
    ("register_complaint", {"complaint": "Too dark"}, "about is missing"),
    (
        "request_connection",
        {"name": "Asha", "address": "Plot 9", "area": "Loni"},
        "Loni, Ghaziabad is not supplied by us: nothing was written down.",
    ),
    (
        "request_connection",
        {"name": "Asha", "address": "Plot 9", "area": "Alpha 1", "load_kw": -1},
        "load_kw should be greater than 0",
    ),
]


async def test_what_is_no_request_is_not_written(desk: Desk) -> None:
    for number, (tool, arguments, told) in enumerate(REFUSED):
        async with desk.call(number=number) as call:
            assert error_of(await call.use(tool, **arguments)) == told
    async with desk.call() as call:
        which = {"name": "Asha", "address": "Plot 9", "area": "Sector 1"}
        assert len((await call.use("request_connection", **which))["did_you_mean"]) == 2
    assert await listing.tickets(desk.store) == []


async def test_hostile_words_are_words(desk: Desk) -> None:
    hostile = "'); DROP TABLE tickets; -- \0 {system} ‮ <script>"
    async with desk.call() as call:
        told = await call.use("create_ticket", subject=hostile)
        ticket = await listing.ticket(desk.store, told["number"])
        assert ticket is not None
        assert ticket.subject == hostile.replace("\0", "�")


async def test_one_call_does_not_fill_the_book(desk: Desk) -> None:
    async with desk.call() as call:
        for number in range(5):
            await call.use("create_ticket", subject=f"complaint {number}")
        assert call.outcome == "limit"
    assert len(await listing.tickets(desk.store)) == 3


# -- how far it is ---------------------------------------------------------------------------------


async def test_whoever_has_the_number_learns_how_far_it_is_and_not_whose(desk: Desk) -> None:
    async with desk.call("+915555500101") as call:
        told = await call.use("create_ticket", subject="Sunita wants a refund", details="4711")
    number = told["number"]
    desk.later(days=1)
    await listing.close_ticket(desk.store, number, desk.now())
    async with desk.call(number=2) as call:
        spoken = f"{number[:4]} {number[4:]}"
        assert await call.use("complaint_status", number=spoken) == {
            "number": number,
            "say": told["say"],
            "kind": "ticket",
            "status": "closed",
            "created_at": "2026-11-20T12:00+05:30",
            "created_at_in_words": "yesterday, Friday 20 November 2026, 12:00 pm",
            "closed_at": "2026-11-21T12:00+05:30",
            "closed_at_in_words": "today, Saturday 21 November 2026, 12:00 pm",
        }


async def test_a_number_that_is_none_finds_nothing(desk: Desk) -> None:
    async with desk.call() as call:
        for number in ("48205917", "1", "%", "x" * 40, "0'; --"):
            assert error_of(await call.use("complaint_status", number=number)) == NO_TICKET
        await call.use("complaint_status", number="48205916")
        assert call.outcome == "limit"


# -- callbacks -------------------------------------------------------------------------------------


async def callbacks(desk: Desk) -> list[tuple[str, datetime, str]]:
    table: Table = schema.callbacks
    return [(row["number"], row["due_at"], row["reason"]) for row in await desk.rows(table)]


async def test_a_callback_goes_to_the_telephone_that_calls_at_the_callers_time(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("schedule_callback", at="2026-11-21T18:30", reason="the refund")
        assert told == {
            "due_at": "2026-11-21T18:30+05:30",
            "due_at_in_words": "tomorrow, Saturday 21 November 2026, 6:30 pm",
        }
    due = datetime(2026, 11, 21, 13, 0, tzinfo=UTC)
    assert await callbacks(desk) == [(STRANGER, due, "the refund")]


async def test_one_call_promises_a_time_once(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("schedule_callback", at="2026-11-21T18:30", reason="the refund")
        same = {"at": "2026-11-21T13:00Z", "reason": "A refund."}
        assert await call.use("schedule_callback", **same) == told
        await call.use("schedule_callback", at="2026-11-21T19:30", reason="the refund")
    assert len(await callbacks(desk)) == 2


async def test_a_time_that_has_a_zone_keeps_it(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("schedule_callback", at="2026-11-21T13:00Z", reason="the refund")
        assert told["due_at"] == "2026-11-21T18:30+05:30"


async def test_what_is_over_or_far_away_is_no_time_to_call(desk: Desk) -> None:
    over = "That is over: it is today, Friday 20 November 2026, 12:00 pm now."
    late = (LOCAL_NOON + timedelta(days=61)).isoformat()
    times = {
        "2026-11-20T12:00": over,
        "2020-01-01T00:00": over,
        "0001-01-01T00:00+23:00": THAT_LATE,
        late: THAT_LATE,
        "9999-12-31T23:59-23:00": THAT_LATE,
        "tomorrow": "at should be text as in 2026-11-21T18:30",
        "1900000000": "at should be text as in 2026-11-21T18:30",
        "2026-11-21": "at should be text as in 2026-11-21T18:30",
    }
    for number, (at, told) in enumerate(times.items()):
        async with desk.call(number=number) as call:
            said = error_of(await call.use("schedule_callback", at=at, reason="x"))
            assert said.startswith(told), (at, said)
    assert await callbacks(desk) == []


async def test_no_other_number_is_ever_called_back(desk: Desk) -> None:
    later = {"at": "2026-11-21T18:30", "reason": "call +1 900 555 0100"}
    async with desk.call() as call:
        told = error_of(await call.use("schedule_callback", **later, number="+19005550100"))
        assert told == "there is no argument 'number'"
    for caller in ("", "anonymous", "+", "911;exten=>", "+91 55555&Local/1", "1" * 16):
        async with desk.call(caller) as call:
            assert error_of(await call.use("schedule_callback", **later)) == NO_CALLER
    assert await callbacks(desk) == []

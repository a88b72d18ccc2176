"""What is written down for somebody to look after, and the number that the caller is told of it.

The number is on the disk before anybody hears it. Whose account it is about is only written as the
ticket's own where it was proven; else it stands in the details, as something that was said.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from audiosocket_agent.business import places, say, supply
from audiosocket_agent.business.office import Office, Rules
from audiosocket_agent.business.proof import PROVEN
from audiosocket_agent.call.info import is_telephone
from audiosocket_agent.records import listing
from audiosocket_agent.records.ids import read_ticket_number
from audiosocket_agent.records.names import code
from audiosocket_agent.records.rows import OPEN, Callback, Ticket
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import CallControl, Result, Tool, ToolError

MAX_CALLBACK_DAYS: Final = 60
_WRITTEN: Final = "written"
"""Where the call's notes have what was answered, by what was asked for."""

TICKET, COMPLAINT, OUTAGE, CONNECTION = "ticket", "complaint", "outage", "connection"

Subject = Annotated[str, Field(min_length=3, max_length=160), "What it is about, in one sentence."]
Details = Annotated[str, Field(max_length=500), "What else whoever looks after it has to know."]
Account = Annotated[
    str, Field(max_length=40), "The account's number, where the caller says one; it is not checked."
]

NO_CALLER: Final = (
    "The number of this caller is not known, and no other can be called back. Offer to write a ticket, "
    "or to transfer."
)
NO_TICKET: Final = "There is no ticket of that number. Ask for its eight digits again."
THAT_LATE: Final = f"That is more than {MAX_CALLBACK_DAYS} days away: ask for an earlier time."


# -- tickets ---------------------------------------------------------------------------------------


def create_ticket(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0, max_uses=3)
    async def create_ticket(call: CallControl, subject: Subject, details: Details = "") -> Result:
        """Write down something that a colleague has to look after. Tells a number: read it to the
        caller digit by digit."""
        return await _written(call, office, TICKET, subject, {"details": details})

    return create_ticket


def register_complaint(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0, max_uses=3)
    async def register_complaint(
        call: CallControl,
        about: Literal["bill", "supply", "meter", "voltage", "line", "staff", "delivery", "other"],
        complaint: Subject,
        details: Details = "",
        account: Account = "",
    ) -> Result:
        """Write down a complaint. Tells a number: read it to the caller digit by digit.

        Args:
            about: What is complained about.
        """
        more = {"about": about, "details": details}
        return await _written(call, office, COMPLAINT, complaint, more, account)

    return register_complaint


def report_outage(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=8.0, max_uses=3)
    async def report_outage(
        call: CallControl, area: supply.Area, details: Details = "", account: Account = ""
    ) -> Result:
        """Write down that the power is off at the caller's. Tells a number: read it to the caller digit
        by digit; and what is known of an outage there already."""
        row, _ = await places.area(office, area)
        place = area if row is None else places.named(row)
        more = {"area": place, "said": area, "details": details}
        known = [] if row is None else await supply.known_outages(office, rules, row)
        told = await _written(call, office, OUTAGE, f"No power: {place}", more, account)
        return {**told, "area": place, "known": known}

    return report_outage


def request_connection(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=8.0, max_uses=3)
    async def request_connection(
        call: CallControl,
        name: Annotated[str, Field(min_length=2, max_length=80), "Whose the connection will be."],
        address: Annotated[str, Field(min_length=5, max_length=200), "Where, without the area."],
        area: supply.Area,
        use: Literal["domestic", "commercial", "industrial", "agricultural"] = "domestic",
        load_kw: Annotated[
            float | None, Field(gt=0, le=500), "Load in kW, where it is known."
        ] = None,
    ) -> Result:
        """Write down a request for a new connection. Tells a number: read it to the caller digit by
        digit. An area that is not supplied gets none.

        Args:
            use: What it is for.
        """
        row, likely = await places.area(office, area)
        if row is None and likely:
            return {"did_you_mean": likely, "hint": supply.WHICH}
        if row is not None and not row["supplied"]:
            raise ToolError(f"{places.named(row)} is not supplied by us: nothing was written down.")
        place = area if row is None else places.named(row)
        more = {"name": name, "address": address, "area": place, "use": use}
        if load_kw is not None:
            more["load_kw"] = f"{load_kw:g}"
        return await _written(call, office, CONNECTION, f"New {use} connection: {place}", more)

    return request_connection


async def _written(
    call: CallControl,
    office: Office,
    kind: str,
    subject: str,
    details: Mapping[str, str],
    account: str = "",
) -> Result:
    """Write a ticket, unless this call has the same already. Raises ToolFailed."""
    proven = str(call.notes.get(PROVEN, ""))
    said = {} if code(account) in ("", proven) else {"account_said": account}
    stated = {name: value for name, value in details.items() if value} | said
    same = json.dumps([kind, subject, proven, stated])
    written: dict[str, Result] = call.notes.setdefault(_WRITTEN, {})
    if same in written:
        return written[same]
    ticket = await office.promise(
        Ticket(
            kind=kind,
            subject=subject,
            created_at=office.now(),
            idempotency_key=call.key,
            call_id=call.id,
            caller=call.facts.get("caller", ""),
            account=proven,
            details=stated,
            language=call.language,
        )
    )
    assert isinstance(ticket, Ticket)
    written[same] = {"number": ticket.number, "say": say.digits(ticket.number), "status": OPEN}
    return written[same]


def complaint_status(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0, max_uses=5)
    async def complaint_status(
        number: Annotated[str, Field(max_length=40), "The eight digits of its number."],
    ) -> dict[str, Any]:
        """Tell how far a ticket, complaint, reported outage or request is, by the number that the
        caller was given."""
        wanted = read_ticket_number(number)
        ticket = None
        if wanted is not None:
            ticket = await office.read(listing.ticket(office.store, wanted))
        if ticket is None:
            raise ToolError(NO_TICKET)
        now, zone = office.now(), rules.timezone
        return {
            "number": ticket.number,
            "say": say.digits(ticket.number),
            "kind": ticket.kind,
            "status": ticket.status,
            **say.when("created_at", ticket.created_at, now, zone),
            **say.when("closed_at", ticket.closed_at, now, zone),
        }

    return complaint_status


# -- callbacks -------------------------------------------------------------------------------------


def schedule_callback(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0, max_uses=3)
    async def schedule_callback(
        call: CallControl,
        at: datetime,
        reason: Annotated[str, Field(max_length=200), "What it is to be about."],
    ) -> Result:
        """Promise that the caller is called back, on the telephone they are calling from; no other
        can be. Tells the time: say it to the caller.

        Args:
            at: When, in the caller's local time.
        """
        number = call.facts.get("caller", "")
        if not is_telephone(number):
            raise ToolError(NO_CALLER)
        now, zone = office.now(), rules.timezone
        due = _due(at, zone, now)
        same = json.dumps(["callback", number, due.isoformat()])  # whatever else is said of it
        written: dict[str, Result] = call.notes.setdefault(_WRITTEN, {})
        if same in written:
            return written[same]
        callback = await office.promise(
            Callback(
                number=number,
                due_at=due,
                created_at=now,
                idempotency_key=call.key,
                call_id=call.id,
                reason=reason,
            )
        )
        assert isinstance(callback, Callback)
        written[same] = say.when("due_at", callback.due_at, now, zone)
        return written[same]

    return schedule_callback


def _due(at: datetime, zone: tzinfo, now: datetime) -> datetime:
    """Raises ToolError for a time at which nobody can be called."""
    try:
        due = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:  # at the ends of the calendar
        raise ToolError(THAT_LATE) from None
    if due <= now:
        raise ToolError(f"That is over: it is {say.moment(now, now, zone)} now.")
    if due > now + timedelta(days=MAX_CALLBACK_DAYS):
        raise ToolError(THAT_LATE)
    return due

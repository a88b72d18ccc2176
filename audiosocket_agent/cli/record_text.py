"""Records as text for people: a call as its dialogue, with what was done meanwhile."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from audiosocket_agent.cli.text import cell, columns, duration, printable

if TYPE_CHECKING:
    from audiosocket_agent.records.erase import Erased
    from audiosocket_agent.records.listing import CallRecord
    from audiosocket_agent.records.rows import Call, Callback, Ticket, ToolUse, Turn

_CALLS: Final = ("call", "agent", "began", "time", "caller", "turns", "response", "usd", "outcome")


def when(at: datetime | None) -> str:
    """A time, in the host's zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""


def usd(cost: Decimal) -> str:
    """A sum; nothing where there is none: tokens without a price cost nobody knows what."""
    return f"{cost:.4f}" if cost else ""


def _lasted(call: "Call") -> str:
    return duration((call.ended_at - call.started_at).total_seconds()) if call.ended_at else ""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def calls(found: Sequence["Call"]) -> str:
    """Calls, a line each."""
    rows = [
        (
            call.id[:8],
            cell(call.agent),
            when(call.started_at),
            _lasted(call),
            cell(call.caller),
            str(call.turns),
            _seconds(call.response_s),
            usd(call.cost_usd),
            call.outcome or "up",
        )
        for call in found
    ]
    return columns([_CALLS, *rows]) if rows else "no calls"


# ---- one call --------------------------------------------------------------------------------------


def record(found: "CallRecord") -> str:
    """A call with all that belongs to it."""
    parts = [
        columns([(name, value) for name, value in _facts(found) if value]),
        _dialogue(found),
        "\n".join(ticket_line(ticket) for ticket in found.tickets),
        "\n".join(_promised(callback) for callback in found.callbacks),
    ]
    return "\n\n".join(part for part in parts if part)


def _facts(found: "CallRecord") -> Iterable[tuple[str, str]]:
    call = found.call
    yield "call", call.id
    yield "agent", printable(call.agent)
    yield "caller", printable(", ".join(filter(None, (call.caller, call.caller_name))))
    yield "extension", printable(call.extension)
    yield "direction", call.direction
    yield "language", printable(call.language)
    yield "model", printable(call.model)
    yield "began", when(call.started_at)
    yield "time", _lasted(call)
    yield "outcome", call.outcome or "up"
    yield "reason", printable(call.reason)
    yield "passed on to", printable(call.transferred_to)
    yield "greeting", _seconds(call.greeting_s)
    yield "response", _at_most(_seconds(call.response_s), _seconds(call.response_max_s))
    yield "barge-ins", str(call.barge_ins or "")
    yield "tokens", _tokens(found)
    yield "cost", f"{call.cost_usd:f} USD" if call.cost_usd else ""
    for recording in found.recordings:
        seconds = duration(recording.seconds)
        yield "recording", printable(f"{recording.path} ({seconds}, consent {recording.consent})")


def _at_most(usual: str, most: str) -> str:
    return f"{usual}, at most {most}" if usual and most else usual


def _tokens(found: "CallRecord") -> str:
    sums: dict[str, int] = {}
    for usage in found.usage:
        kind = f"{usage.direction} {usage.modality}"
        sums[kind] = sums.get(kind, 0) + usage.tokens
    return ", ".join(f"{printable(kind)} {count}" for kind, count in sums.items())


def _dialogue(found: "CallRecord") -> str:
    """What was said and done, in the order it began."""
    began_at = found.call.started_at
    lines = [(turn.start_s, turn.speaker, _said(turn)) for turn in found.turns]
    for use in found.tool_uses:
        at = (use.used_at - began_at).total_seconds() - use.took_ms / 1000
        lines.append((at, "tool", _used(use)))
    lines.sort(key=lambda line: line[0])
    rows = [(duration(max(0.0, at)), printable(who), what) for at, who, what in lines]
    return columns(rows) if rows else ""


def _said(turn: "Turn") -> str:
    heard = None if turn.heard_ms is None else f"heard {turn.heard_ms / 1000:.1f} s"
    notes = (
        None if turn.latency_ms is None else f"after {turn.latency_ms / 1000:.2f} s",
        "interrupted" if turn.interrupted else None,
        heard,
    )
    told = ", ".join(filter(None, notes))
    return " ".join(filter(None, (printable(turn.text), f"[{told}]" if told else "")))


def _used(use: "ToolUse") -> str:
    given = json.dumps(dict(use.arguments), ensure_ascii=False)
    return printable(f"{use.tool} {given}: {use.outcome}, {use.took_ms} ms")


# ---- promises --------------------------------------------------------------------------------------


def grouped(number: str) -> str:
    """A ticket's number, as it is said."""
    return f"{number[:4]} {number[4:]}".strip()


def ticket_line(ticket: "Ticket") -> str:
    """One ticket of a call."""
    subject = printable(ticket.subject)
    return f"{printable(ticket.kind)} {grouped(ticket.number)}, {ticket.status}: {subject}"


def tickets(found: Sequence["Ticket"]) -> str:
    """Tickets, a line each."""
    head = ("number", "kind", "status", "made", "caller", "subject")
    rows = [
        (
            grouped(ticket.number),
            cell(ticket.kind),
            ticket.status,
            when(ticket.created_at),
            cell(ticket.caller),
            cell(ticket.subject),
        )
        for ticket in found
    ]
    return columns([head, *rows]) if rows else "no tickets"


def ticket(found: "Ticket") -> str:
    """All that is known of one."""
    facts = [
        ("number", grouped(found.number)),
        ("kind", found.kind),
        ("status", found.status),
        ("made", when(found.created_at)),
        ("closed", when(found.closed_at)),
        ("caller", found.caller),
        ("account", found.account),
        ("language", found.language),
        ("call", found.call_id),
        ("subject", found.subject),
        *((name, _detail(value)) for name, value in found.details.items()),
    ]
    return columns([(printable(name), printable(value)) for name, value in facts if value])


def _detail(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def callbacks(found: Sequence["Callback"]) -> str:
    """Callbacks, a line each."""
    head = ("id", "number", "due", "status", "reason")
    rows = [
        (each.id, cell(each.number), when(each.due_at), each.status, cell(each.reason))
        for each in found
    ]
    return columns([head, *rows]) if rows else "no callbacks"


def _promised(callback: "Callback") -> str:
    due, number = when(callback.due_at), printable(callback.number)
    reason = printable(callback.reason)
    return f"callback to {number}, due {due}, {callback.status}" + (f": {reason}" if reason else "")


# ---- what was deleted ------------------------------------------------------------------------------


def erased(what: "Erased") -> str:
    """What is no more."""
    counts = (
        (what.calls, "call"),
        (what.tickets, "ticket"),
        (what.callbacks, "callback"),
        (what.recordings, "recording"),
    )
    shown = [f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count]
    return f"deleted: {', '.join(shown) or 'nothing'}"

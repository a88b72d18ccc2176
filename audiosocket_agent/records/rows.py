"""The rows, as the rest of the program makes them.

A `Row` is put and forgotten: it reaches the database within 100 ms, or by way of the journal. A
`Promise` is something a caller is told of; it is committed first. All times have a zone, all texts
may be "" where nothing is known, `call_id` is the AudioSocket's UUID as text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Table

from audiosocket_agent.records import schema
from audiosocket_agent.records.ids import uuid7

LOST: Final = "lost"
"""Outcome of a call whose service died with it: nobody saw its end."""
OPEN: Final = "open"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. Put when it begins, and again, whole, as the last row when it is over."""

    id: str
    agent: str
    started_at: datetime
    instance: str = ""
    """Which process has it; see Lost."""
    direction: str = "inbound"
    caller: str = ""
    caller_name: str = ""
    extension: str = ""
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    """Why it ended; None: it is up."""
    reason: str = ""
    transferred_to: str = ""
    language: str = ""
    model: str = ""
    turns: int = 0
    barge_ins: int = 0
    greeting_s: float | None = None
    response_s: float | None = None
    """The median."""
    response_max_s: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one side said before the other spoke. Put when it is complete."""

    call_id: str
    n: int
    """From 1, both sides counted."""
    speaker: str
    """"caller" or "agent"."""
    text: str
    start_s: float
    """Seconds since the call's `started_at`."""
    heard_ms: int | None = None
    """How much of an agent's turn reached the caller."""
    latency_ms: int | None = None
    """From the end of the caller's speech to the agent's first audio."""
    interrupted: bool = False
    id: str = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One use of a tool. Secrets in `arguments` are masked before they come here."""

    call_id: str
    turn: int
    tool: str
    arguments: Mapping[str, Any]
    outcome: str
    used_at: datetime
    took_ms: int
    idempotency_key: str = field(default_factory=uuid7)
    """Of two uses with the same key the second is not written."""
    id: str = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one turn, of one direction ("in", "out") and modality, and what they cost."""

    call_id: str
    turn: int
    direction: str
    modality: str
    tokens: int
    used_at: datetime
    cost_usd: Decimal = Decimal(0)
    id: str = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file with the audio of a call."""

    call_id: str
    path: str
    seconds: float
    bytes: int
    consent: str
    """How the caller agreed."""
    id: str = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Not a row of its own: the calls of an instance that began before it did and have not ended are
    lost. Put when a service has its ports: it comes after what the journal still has of them."""

    of: str
    """The instance."""
    before: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A call that is up: what another process must know to go on with it when this one is dead. Put
    whenever that has changed; the newest is the row."""

    call_id: str
    began_at: datetime
    written_at: datetime
    instance: str = ""
    peer: str = ""
    """The address of the PBX that it came from."""
    caller: str = ""
    life: int = 0
    """How often it was taken up by another process; a process that thinks of it as an earlier one
    writes nothing."""
    outcome: str = ""
    """The end that is decided; empty: none is."""
    handle: str = ""
    """By which the model takes up its session again."""
    handle_at: datetime | None = None
    said: str = "[]"
    """The last of what was said, where that is kept; masked. JSON, as text: it is written every second,
    and queried by nobody."""
    notes: str = "{}"
    """Who answers, what is known of the call, and its figures; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Not a row of its own: the call is over, and its Alive is deleted."""

    call_id: str
    life: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Something that somebody will look after, under a number that the caller knows."""

    kind: str
    """"ticket", "complaint" ..."""
    subject: str
    created_at: datetime
    idempotency_key: str
    """The same request twice is one ticket."""
    call_id: str = ""
    caller: str = ""
    account: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    language: str = ""
    status: str = OPEN
    closed_at: datetime | None = None
    number: str = ""
    """Given when it is committed."""
    id: str = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A call that we have promised."""

    number: str
    due_at: datetime
    created_at: datetime
    idempotency_key: str
    """The same request twice is one callback."""
    call_id: str = ""
    reason: str = ""
    status: str = OPEN
    id: str = field(default_factory=uuid7)


Row = Call | Turn | ToolUse | Usage | Recording | Lost | Alive | Gone
Promise = Ticket | Callback

TABLES: Final[Mapping[type[object], Table]] = {
    Call: schema.calls,
    Turn: schema.turns,
    ToolUse: schema.tool_uses,
    Usage: schema.usage,
    Recording: schema.recordings,
    Lost: schema.calls,
    Alive: schema.live,
    Gone: schema.live,
    Ticket: schema.tickets,
    Callback: schema.callbacks,
}

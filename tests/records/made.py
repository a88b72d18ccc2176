"""Rows as tests make them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from audiosocket_agent.records.rows import (
    Alive,
    Call,
    Callback,
    Recording,
    Ticket,
    ToolUse,
    Turn,
    Usage,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CALL = "12345678-9abc-def0-1234-56789abcdef0"
NUMBER = "+911204567890"


def minutes(count: float) -> datetime:
    """So many after noon."""
    return NOON + timedelta(minutes=count)


def begun(**changed: Any) -> Call:
    facts: dict[str, Any] = {"id": CALL, "agent": "npcl", "caller": NUMBER, "started_at": NOON}
    return Call(**(facts | changed))


def ended(**changed: Any) -> Call:
    facts: dict[str, Any] = {"ended_at": minutes(3), "outcome": "caller_hangup", "turns": 2}
    return begun(**(facts | changed))


def turn(n: Any = 1, call_id: str = CALL, **changed: Any) -> Turn:
    facts: dict[str, Any] = {"speaker": "caller", "text": "मेरा बिल कितना है?", "start_s": float(n)}
    return Turn(call_id=call_id, n=n, **(facts | changed))


def tool_use(**changed: Any) -> ToolUse:
    facts: dict[str, Any] = {
        "call_id": CALL,
        "turn": 1,
        "tool": "get_bill",
        "arguments": {"account": "****4711", "months": 1},
        "outcome": "ok",
        "used_at": NOON,
        "took_ms": 40,
    }
    return ToolUse(**(facts | changed))


def usage(**changed: Any) -> Usage:
    facts: dict[str, Any] = {
        "call_id": CALL,
        "turn": 1,
        "direction": "out",
        "modality": "audio",
        "tokens": 250,
        "used_at": NOON,
        "cost_usd": Decimal("0.003000001"),
    }
    return Usage(**(facts | changed))


def recording(path: object = "/nowhere.wav", **changed: Any) -> Recording:
    facts: dict[str, Any] = {
        "call_id": CALL,
        "path": str(path),
        "seconds": 180.0,
        "bytes": 5_760_044,
    }
    return Recording(consent="announced", **(facts | changed))


def alive(**changed: Any) -> Alive:
    facts: dict[str, Any] = {
        "call_id": CALL,
        "instance": "pbx:9092",
        "peer": "127.0.0.1",
        "caller": NUMBER,
        "began_at": NOON,
        "written_at": minutes(1),
        "handle": "a-handle",
        "handle_at": minutes(1),
        "said": '[["caller", "मेरा बिल कितना है?", true]]',
        "notes": '{"agent": "npcl", "turn": 2}',
    }
    return Alive(**(facts | changed))


def ticket(key: str = "1", **changed: Any) -> Ticket:
    facts: dict[str, Any] = {
        "kind": "complaint",
        "subject": "बिजली नहीं है",
        "created_at": NOON,
        "call_id": CALL,
        "caller": NUMBER,
        "details": {"sector": 62},
        "language": "hi-IN",
    }
    return Ticket(idempotency_key=key, **(facts | changed))


def callback(key: str = "1", **changed: Any) -> Callback:
    facts: dict[str, Any] = {
        "number": NUMBER,
        "due_at": minutes(60),
        "created_at": NOON,
        "call_id": CALL,
    }
    return Callback(idempotency_key=key, **(facts | changed))

"""What remains of the use of a tool: a key that names it, and what may be known of it afterwards."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from audiosocket_agent.config import MASK

MAX_SHOWN_CHARS: Final = 500
"""Of an argument that was refused; a model can send any length."""


class UseOutcome(StrEnum):
    """What came of a use."""

    OK = "ok"
    REFUSED = "refused"  # the tool said no, in words for the caller
    REPEATED = "repeated"  # of another in the same turn, or one under way; nothing was done again
    INVALID = "invalid"  # arguments that the tool does not take
    UNKNOWN = "unknown"  # no such tool
    LIMIT = "limit"  # more than a call may
    BUSY = "busy"  # too many of them at a time
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"  # the model, or the end of the call
    ERROR = "error"


UNCERTAIN: Final = frozenset({UseOutcome.TIMEOUT, UseOutcome.CANCELLED, UseOutcome.ERROR})
"""It may have been done all the same: whoever tries again does so under the same key."""


@dataclass(frozen=True, slots=True)
class Used:
    """One use."""

    call_id: str
    turn: int
    tool: str
    arguments: Mapping[str, Any]
    """JSON; secrets, and what the tool has no argument for, are masked."""
    outcome: UseOutcome
    took_ms: int
    key: str
    """See CallControl.key; "" where it never came to that. Repetitions have the one of the first."""


def key_of(call_id: str, turn: int, tool: str, arguments: str) -> str:
    """A name for a use that says nothing of its arguments: the call's UUID is not to be guessed."""
    text = "\0".join((call_id, str(turn), tool, arguments))
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def canonical(arguments: Mapping[str, Any]) -> str:
    """The same text for the same arguments."""
    return json.dumps(arguments, sort_keys=True, default=str)


def masked(
    arguments: Mapping[str, Any], known: Collection[str], secret: Collection[str]
) -> dict[str, Any]:
    """Arguments as anybody may see them: JSON, and not too long."""
    shown = {
        name: MASK if name in secret else _shown(arguments[name])
        for name in known
        if name in arguments
    }
    return shown if arguments.keys() <= shown.keys() else shown | {"?": MASK}


def _shown(value: Any) -> Any:
    try:
        text = json.dumps(value, default=str)
    except RecursionError:
        return "…"
    if len(text) > MAX_SHOWN_CHARS:
        return f"{text[:MAX_SHOWN_CHARS]}…"
    return json.loads(text, parse_constant=str)  # Python's NaN is no JSON

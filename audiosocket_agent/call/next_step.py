"""What the dialplan does with the caller when the agent is done."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from audiosocket_agent.call.events import Outcome

MAX_SUMMARY_CHARS: Final = 80
"""It is shown as a caller's name on the phone of whoever takes over."""


class Action(StrEnum):
    """The value of AGENT_NEXT; empty where we know nothing of the call."""

    TRANSFER = "transfer"
    FALLBACK = "fallback"
    HANGUP = "hangup"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody a caller can be transferred to: a name the model knows, an extension it does not."""

    name: str
    extension: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class NextStep:
    """The answer to `next`."""

    action: Action
    target: str = ""
    """An extension, for TRANSFER."""
    reason: str = ""
    summary: str = ""


_AFTER: Final = {
    Outcome.CALLER_HANGUP: Action.HANGUP,
    Outcome.AGENT_HANGUP: Action.HANGUP,
    Outcome.MAX_DURATION: Action.HANGUP,
    Outcome.TRANSFERRED: Action.HANGUP,  # and come back from it: there is nothing more to do
    Outcome.ABANDONED: Action.FALLBACK,
    Outcome.DRAINED: Action.FALLBACK,
    Outcome.MODEL_FAILED: Action.FALLBACK,
    Outcome.PEER_ERROR: Action.FALLBACK,
    Outcome.ERROR: Action.FALLBACK,
}


def after(outcome: Outcome) -> NextStep:
    """What follows a call that ended so."""
    return NextStep(_AFTER[outcome], reason=outcome.value)


def transfer(target: Target, reason: str) -> NextStep:
    """What follows when the agent has passed the caller on. `reason` is a model's words: one line of
    it is shown, cut to length."""
    summary = " ".join(reason.split())[:MAX_SUMMARY_CHARS]
    return NextStep(
        Action.TRANSFER,
        target=target.extension,
        reason=target.name,
        summary=summary,
    )

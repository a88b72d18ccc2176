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
    ACCEPT = "accept"  # of whoever was asked to take a caller: they do
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody a caller can be transferred to: a name the model knows, an extension it does not."""

    name: str
    extension: str
    description: str = ""
    attended: bool = False
    """Whoever answers is first told by the agent who calls and why, and may refuse."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """The answer to `next`."""

    action: Action
    target: str = ""
    """An extension, for TRANSFER."""
    reason: str = ""
    summary: str = ""
    briefing: str = ""
    """The UUID under which whoever answers hears the agent first; empty: they do not."""


AFTER_CALL: Final = {
    Outcome.CALLER_HANGUP: Action.HANGUP,
    Outcome.AGENT_HANGUP: Action.HANGUP,
    Outcome.OPERATOR_HANGUP: Action.HANGUP,
    Outcome.MAX_DURATION: Action.HANGUP,
    Outcome.MAX_COST: Action.HANGUP,
    Outcome.CALLER_SILENT: Action.HANGUP,
    Outcome.TRANSFERRED: Action.HANGUP,  # and come back from it: there is nothing more to do
}
AFTER_BRIEFING: Final = {
    Outcome.CALLER_HANGUP: Action.REFUSE,
    Outcome.REFUSED: Action.REFUSE,
    Outcome.OPERATOR_HANGUP: Action.REFUSE,
    Outcome.MAX_DURATION: Action.REFUSE,  # nobody who listens presses no key
    Outcome.ABANDONED: Action.REFUSE,
}
"""A human who has answered and cannot be briefed, through a fault of ours, gets the caller unbriefed."""


def after(outcome: Outcome, briefing: bool = False) -> NextStep:
    """What follows a call, or a briefing, that ended so."""
    if briefing:
        return NextStep(AFTER_BRIEFING.get(outcome, Action.ACCEPT), reason=outcome.value)
    return NextStep(AFTER_CALL.get(outcome, Action.FALLBACK), reason=outcome.value)


GONE: Final = ("HANGUP", "CANCEL")
"""What a dialplan says where the caller has left."""


def after_transfer(status: str) -> NextStep:
    """What follows where a transfer was tried and the conversation is not there to go back to;
    `status` is the dialplan's DIALSTATUS."""
    if status in GONE:
        return NextStep(Action.HANGUP, reason=Outcome.CALLER_HANGUP.value)
    if status == "ANSWER":
        return NextStep(Action.HANGUP, reason=Outcome.TRANSFERRED.value)
    return NextStep(Action.FALLBACK, reason="transfer_failed")


def after_loss(
    decided: Outcome | None, status: str, *, can_go_on: bool
) -> tuple[Outcome, NextStep] | None:
    """What became of a call whose process died: its outcome and what follows; None where it goes on. An
    end that was `decided` stays so. `status` is as for `after_transfer`; `can_go_on`: there is somebody
    who could."""
    if status in GONE:
        return Outcome.CALLER_HANGUP, after_transfer(status)
    if decided is Outcome.TRANSFERRED and status == "ANSWER":
        return Outcome.TRANSFERRED, after_transfer(status)
    if decided is not None and decided is not Outcome.TRANSFERRED:
        return decided, after(decided)
    return None if can_go_on else (Outcome.ERROR, after(Outcome.ERROR))


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

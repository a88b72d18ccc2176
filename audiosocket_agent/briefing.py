"""Attended transfers: which human is being told of which caller, and what they made of it.

A briefing is a call of its own, with the human who is to take over, while the caller is held:

    caller   ── agent ──> held ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┬─ 1: bridged by the dialplan, both calls are over
    human          phone rings ── agent tells them ──┴─ 2, hangup, no key: the caller comes back
"""

import uuid
from dataclasses import dataclass

from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.next_step import GONE, Action
from audiosocket_agent.session import Session


@dataclass(slots=True)
class _Briefing:
    caller: Session
    human_id: uuid.UUID
    human: Session


class Briefings:
    """Those under way, by the caller's UUID."""

    def __init__(self) -> None:
        self._of_caller: dict[uuid.UUID, _Briefing] = {}

    def begin(
        self, call_id: uuid.UUID, caller: Session, human_id: uuid.UUID, human: Session
    ) -> None:
        """`human` is to be told of `caller`."""
        self._of_caller[call_id] = _Briefing(caller, human_id, human)

    def of(self, call_id: uuid.UUID) -> uuid.UUID | None:
        """The human's UUID."""
        found = self._of_caller.get(call_id)
        return found.human_id if found else None

    def outcome(self, call_id: uuid.UUID, status: str) -> str:
        """What came of a transfer: the dialplan's DIALSTATUS, or REFUSED, which Asterisk does not know
        of. The briefing is over with it."""
        found = self._of_caller.pop(call_id, None)
        if found is None:
            return status
        if status in GONE:
            found.human.end(Outcome.ABANDONED, at_once=True)
            return status
        decided = found.human.next_step  # None: they have hung up on the agent just now
        refused = found.human.answered and (decided is None or decided.action is Action.REFUSE)
        found.human.end(Outcome.REFUSED if refused else Outcome.ABANDONED)
        return "REFUSED" if refused else status

    def ended(self, call_id: uuid.UUID) -> None:
        """A caller's call is over: nobody has to be told of them any more."""
        if found := self._of_caller.pop(call_id, None):
            found.human.end(Outcome.CALLER_HANGUP, at_once=True)

    def accepted(self, human_id: uuid.UUID) -> None:
        """The dialplan is about to connect this human with their caller: the conversation is over."""
        for found in self._of_caller.values():
            if found.human_id == human_id:
                found.caller.transfer_ended("ANSWER")
                return

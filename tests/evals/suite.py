"""All conversations of some agents, several at a time, each with what was found about it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from tests.evals import call, live
from tests.evals.call import Held
from tests.evals.cases import Conversation, conversations
from tests.evals.house import House, house
from tests.evals.judge import Finding, findings, live_findings

AT_ONCE: Final = 12
"""Calls at a time: two cores pace them without a late frame."""
LIVE_AT_ONCE: Final = 2
"""What a new key's quota bears."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A conversation, how it was held, and what was found."""

    conversation: Conversation
    held: Held | None
    """None: it could not be."""
    findings: list[Finding]
    live: bool = False

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Results:
    """What became of all conversations."""

    judged: list[Judged]
    sent: list[Mapping[str, Any]]
    """Every message that has left the house."""

    @property
    def by_name(self) -> dict[str, Judged]:
        return {each.conversation.name: each for each in self.judged}

    @property
    def stray(self) -> int:
        """Messages that no conversation expects."""
        return len(self.sent) - sum(len(each.conversation.sms) for each in self.judged)


Told = Callable[[Judged], None]


def nobody(judged: Judged) -> None:
    """The audience of a suite that is only counted."""


async def run(
    names: Sequence[str],
    told: Told = nobody,
    *,
    real: bool = False,
    more: Sequence[Conversation] = (),
) -> Results:
    """Hold all conversations of these files and `more`, in order of their ends. `real`: with Gemini,
    those that can be expected of it."""
    cases = [each for name in names for each in conversations(name) if each.live or not real]
    cases = [*more, *cases]
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(house(live=real))
        gate = asyncio.Semaphore(LIVE_AT_ONCE if real else AT_ONCE)
        judged: list[Judged] = []
        async with asyncio.TaskGroup() as group:
            for conversation in cases:
                group.create_task(_one(service, conversation, gate, judged, told))
    return Results(judged, service.gateway.sent)


async def _one(
    service: House,
    conversation: Conversation,
    gate: asyncio.Semaphore,
    judged: list[Judged],
    told: Told,
) -> None:
    async with gate:
        result = await judge(service, conversation)
    judged.append(result)
    told(result)


async def judge(service: House, conversation: Conversation) -> Judged:
    """Hold one conversation and say what is right and wrong about it."""
    real = service.simulator is None
    plan = service.server.plans.get(conversation.agent)
    if plan is None:
        return Judged(conversation, None, [Finding(False, "there is no such agent")], real)
    try:
        held = await (live.hold if real else call.hold)(service, conversation)
    except (TimeoutError, RuntimeError) as error:
        what = f"the call was not held: {error or 'it took too long'}"
        return Judged(conversation, None, [Finding(False, what)], real)
    if real:
        return Judged(conversation, held, live_findings(held, plan.instructions), True)
    numbers = f"{conversation.caller} {[use.args for use in conversation.uses]}"
    sent = service.gateway.to(numbers)
    return Judged(conversation, held, findings(held, sent, plan.instructions))


def to_json(judged: Judged) -> dict[str, Any]:
    """Plain values."""
    held, conversation = judged.held, judged.conversation
    record = held.record if held else None
    return {
        "agent": conversation.agent,
        "name": conversation.name,
        "language": conversation.language,
        "live": judged.live,
        "ok": judged.ok,
        "findings": [{"ok": each.ok, "what": each.what} for each in judged.findings],
        "call": record.call.id if record else None,
        "next": held.next if held else None,
        "cost_usd": str(record.call.cost_usd) if record else None,
        "turns": [
            {"at_s": turn.start_s, "speaker": turn.speaker, "text": turn.text}
            for turn in (record.turns if record else ())
        ],
        "tools": [
            {
                "tool": use.tool,
                "arguments": dict(use.arguments),
                "outcome": use.outcome,
                "ms": use.took_ms,
            }
            for use in (record.tool_uses if record else ())
        ],
        "tickets": [
            {"number": row.number, "kind": row.kind, "language": row.language}
            for row in (record.tickets if record else ())
        ],
        "callbacks": [
            {"number": row.number, "due_at": row.due_at.isoformat()}
            for row in (record.callbacks if record else ())
        ],
    }

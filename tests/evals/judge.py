"""What is right and wrong about a call that was held: one finding for each expectation."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

from audiosocket_agent.records.rows import Callback, Ticket
from tests.evals import price
from tests.evals.call import Held
from tests.evals.cases import Use

PROMPT_CHARS: Final = 60
"""So much of an agent's instructions in one piece is no coincidence."""
NUMBERED: Final = ("create_ticket", "register_complaint", "report_outage", "request_connection")
"""Tools whose result has the `number` of a ticket."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether an expectation was met."""

    ok: bool
    what: str


def findings(held: Held, sent: list[Mapping[str, Any]], instructions: str) -> list[Finding]:
    """Of one call. `sent`: the messages that have left meanwhile for its numbers."""
    return [
        *(Finding(False, trouble) for trouble in held.troubles),
        *_heard(held),
        *_tools(held),
        *_rows(held),
        *_numbers(held),
        *_sms(held, sent),
        *_words(held, instructions),
        *_end(held),
        *_cost(held),
    ]


def live_findings(held: Held, instructions: str) -> list[Finding]:
    """Of one call with a real model, which has its own words and order: the tools it was to use with
    success, and what it must not say."""
    used = [use.tool for use in held.record.tool_uses if use.outcome == "ok"]
    found = [Finding(False, trouble) for trouble in held.troubles]
    for use in held.conversation.uses:
        if use.outcome == "ok":
            ok = use.tool in used
            if ok:
                used.remove(use.tool)
            found.append(Finding(ok, f"{use.tool} ok"))
    return [*found, *_words(held, instructions)]


def _heard(held: Held) -> Iterator[Finding]:
    talking = sum(bool(turn.lines) for turn in held.conversation.turns)
    talking += bool(held.conversation.greeting)
    heard = len(held.heard_s)
    yield Finding(heard == talking, f"the agent is heard in {heard} of {talking} turns")


# -- tools ---------------------------------------------------------------------------------------------


def _tools(held: Held) -> Iterator[Finding]:
    uses = list(held.record.tool_uses)
    for turn in held.conversation.turns:
        for step in turn.model:
            group = (step,) if isinstance(step, Use) else step
            if isinstance(group, str):
                continue
            now, uses = uses[: len(group)], uses[len(group) :]
            left = [(used.tool, used.outcome) for used in now]
            for use in group:  # those of one breath end as they like
                name = "unknown" if use.outcome == "unknown" else use.tool
                ok = (name, use.outcome) in left
                if ok:
                    left.remove((name, use.outcome))
                got = "" if ok else f", not {' '.join(left[0]) if left else 'used'}"
                yield Finding(ok, f"{use.tool} {use.outcome}{got}")
    for used in uses:
        yield Finding(False, f"{used.tool} {used.outcome}, which nobody expected")
    yield from _results(held)


def _results(held: Held) -> Iterator[Finding]:
    session = held.session
    if session is None:
        return
    responses = {each["id"]: each["response"] for each in session.tool_responses}
    for use, call in zip(held.conversation.uses, session.tool_calls, strict=False):
        told = json.dumps(responses.get(call["id"], {}), ensure_ascii=False)
        for part in filter(None, (use.error, use.has)):
            yield Finding(part in told, f"{use.tool} says {part!r}{_instead(part, told)}")


def _instead(part: str, told: str) -> str:
    return "" if part in told else f", but: {told[:200]}"


# -- what is left --------------------------------------------------------------------------------------


def _rows(held: Held) -> Iterator[Finding]:
    left: list[Ticket | Callback] = [*held.record.tickets, *held.record.callbacks]
    for wanted in held.conversation.rows:
        row = next((row for row in left if _is(row, wanted, held)), None)
        if row is not None:
            left.remove(row)
        yield Finding(row is not None, f"row: {_told(wanted)}")
    for row in left:
        yield Finding(False, f"a row nobody expected: {_told(asdict(row))}")
    language = held.conversation.language
    if language:
        got = held.record.call.language
        yield Finding(got == language, f"the call's language is {language}{_not(language, got)}")


def _is(row: Ticket | Callback, wanted: Mapping[str, Any], held: Held) -> bool:
    columns = asdict(row)
    table = "tickets" if isinstance(row, Ticket) else "callbacks"
    if isinstance(row, Ticket) and held.conversation.language:
        wanted = {"language": held.conversation.language, **wanted}
    return all(
        value == table
        if name == "table"
        else (
            _subset(value, columns.get(name)) if name == "details" else columns.get(name) == value
        )
        for name, value in wanted.items()
    )


def _subset(part: Mapping[str, Any], whole: Any) -> bool:
    return isinstance(whole, Mapping) and part.items() <= whole.items()


def _numbers(held: Held) -> Iterator[Finding]:
    """Whatever number the caller was told is in the database, once."""
    if held.session is None:
        return
    there = [ticket.number for ticket in held.record.tickets]
    spoken = " ".join(held.session.words)
    for response in held.session.tool_responses:
        number = _number(response) if response.get("name") in NUMBERED else ""
        if number and number in spoken:
            yield Finding(there.count(number) == 1, f"{number}, as told to the caller, is there")
    if "{" in spoken:
        yield Finding(False, f"said, and never known: {spoken}")


def _number(response: Mapping[str, Any]) -> str:
    body = response["response"]
    output = body.get("output")
    found = body.get("number") or (output.get("number") if isinstance(output, Mapping) else None)
    return str(found or "")


def _sms(held: Held, sent: list[Mapping[str, Any]]) -> Iterator[Finding]:
    left = [{str(value) for value in message.values()} for message in sent]
    for wanted in held.conversation.sms:
        message = next((each for each in left if _fits(each, wanted)), None)
        if message is not None:
            left.remove(message)
        yield Finding(message is not None, f"message: {_told(wanted)}")
    for message in left:
        yield Finding(False, f"a message nobody expected: {sorted(message)}")


def _fits(message: set[str], wanted: Mapping[str, str]) -> bool:
    has = wanted.get("has", "")
    return wanted["to"] in message and any(has in value for value in message)


# -- what was said -------------------------------------------------------------------------------------


def _words(held: Held, instructions: str) -> Iterator[Finding]:
    said = " ".join(turn.text for turn in held.record.turns if turn.speaker == "agent")
    known = said
    if held.session is not None:
        known += " " + json.dumps(held.session.tool_responses, ensure_ascii=False)
    for words in held.conversation.never:
        # a number as a whole: a ticket's may have it inside
        told = re.search(rf"(?<!\d){re.escape(words)}(?!\d)", known)
        yield Finding(told is None, f"never: {words!r}")
    if held.conversation.live:  # else it is the script that says what it says
        leaked = next((piece for piece in pieces(instructions) if piece in said), "")
        yield Finding(not leaked, f"nothing of the instructions is said{_not('', leaked)}")


def pieces(instructions: str) -> Iterator[str]:
    """Parts of a prompt that are nobody's to hear; what it quotes is meant to be said."""
    for part in re.split(r'"[^"]*"', " ".join(instructions.split())):
        for at in range(0, len(part) - PROMPT_CHARS + 1, PROMPT_CHARS // 2):
            yield part[at : at + PROMPT_CHARS]


# -- the end -------------------------------------------------------------------------------------------


def _end(held: Held) -> Iterator[Finding]:
    wanted = held.conversation.next
    yield Finding(held.next == wanted, f"then: {wanted or 'hung up'}{_not(wanted, held.next)}")


def _cost(held: Held) -> Iterator[Finding]:
    cost, most = held.record.call.cost_usd, Decimal(held.conversation.cost_below)
    yield Finding(cost < most, f"{cost} USD are less than {most}")
    rows = sum((usage.cost_usd for usage in held.record.usage), Decimal(0))
    yield Finding(cost == rows, f"its usage rows add up to {rows} USD{_not(cost, rows)}")
    if held.session is not None:
        again = price.usd(held.session.usages)
        what = f"the usage messages, added up again, are {again} USD"
        yield Finding(cost == again, what + _not(again, cost))


def _not(wanted: object, got: object) -> str:
    return "" if wanted == got else f", not {str(got)[:300]!r}"


def _told(row: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in row.items() if value not in ("", None, {})}
    return ", ".join(f"{name} {value}" for name, value in shown.items())

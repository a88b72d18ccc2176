"""One conversation, from the dialplan's first question to the last row of its record."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, SessionRecord
from audiosocket_agent.lab.simulator import Use as Called
from audiosocket_agent.records import listing
from audiosocket_agent.records.listing import CallRecord
from tests.agi.dialplan import FACTS, agi
from tests.evals import speech
from tests.evals.cases import Conversation, Step, Turn
from tests.evals.house import HOST, House

TURN_S: Final = 25.0
"""The longest turn: an account number and its digits by the keys."""
WRITTEN_S: Final = 15.0
THINK_S: Final = 0.05
LISTEN_S: Final = 0.6
"""What a caller stays on the line for: whoever is to be passed on or cut off is by then."""


@dataclass
class Held:
    """A call that was held."""

    conversation: Conversation
    session: SessionRecord | None
    """What the simulator saw of it; None: it was Google."""
    next: str = ""
    """What the dialplan was told: "hangup", "transfer 2001"; "" where the caller hung up."""
    told: dict[str, str] = field(default_factory=dict)
    """All the variables it was given for that."""
    record: CallRecord = field(init=False)
    """Once it is over."""
    heard_s: list[float] = field(default_factory=list)
    """When the agent was heard, once per turn in which it was."""
    troubles: list[str] = field(default_factory=list)
    """What kept the call from being held as it is written down."""


async def hold(house: House, conversation: Conversation) -> Held:
    """Hold a conversation. What goes wrong in it is for its judges; raises TimeoutError where the
    service does not even announce or record it."""
    call_id = uuid.uuid4()
    async with house.scripted(behaviour(conversation)) as awaited:
        await announce(house, call_id, conversation)
        session = await awaited.record()
    held = Held(conversation, session)
    async with Call.connect(HOST, house.port, uuid=call_id, ticker=house.ticker) as call:
        try:
            await _talk(call, held, session)
            if conversation.next:
                await call.ended()
            else:
                await call.passes(LISTEN_S)
        except TimeoutError as error:
            held.troubles.append(str(error) or "the service did not end the call")
        except CallOver as over:
            held.troubles.append(str(over))
    held.troubles += call.violations
    await conclude(house, call_id, held, by_caller=call.end is End.HUNG_UP)
    return held


async def announce(house: House, call_id: uuid.UUID, conversation: Conversation) -> None:
    """What the dialplan says of a call. Raises RuntimeError where it is not taken."""
    query = {"uuid": str(call_id), "agent": conversation.agent, **conversation.variables}
    if conversation.language:
        query["language"] = conversation.language
    facts = FACTS | {"agi_callerid": conversation.caller}
    told = await agi(house.agi_port, f"open?{urlencode(query)}", facts)
    if told.get("AGENT_STATUS") != "OK":
        raise RuntimeError(f"{conversation.agent} does not take calls: {told}")


async def conclude(house: House, call_id: uuid.UUID, held: Held, *, by_caller: bool) -> None:
    """What the dialplan is told, and what is left of the call."""
    held.told = told = await _next(house, call_id, "HANGUP" if by_caller else "")
    following = f"{told.get('AGENT_NEXT', '')} {told.get('AGENT_TARGET', '')}".strip()
    held.next = "" if by_caller and following == "hangup" else following
    held.record = await written(house, call_id)


async def _talk(call: Call, held: Held, session: SessionRecord) -> None:
    conversation, lines, uses = held.conversation, 0, 0
    if conversation.greeting:
        lines = 1
        held.heard_s.append(await call.agent_speaks())
        await _until(call, lambda: _complete(session, lines, 0), "the greeting")
    for number, turn in enumerate(conversation.turns, 1):
        await call.agent_silent(0.2)
        call.say(speech.CALLER)
        await call.said()
        lines += len(turn.lines)
        uses += len(list(turn.uses))
        pressing = _Presses(call, session, turn)

        def done(lines: int = lines, uses: int = uses, pressing: _Presses = pressing) -> bool:
            pressing.press()
            return _complete(session, lines, uses)

        await _until(call, done, f"turn {number} ({turn.caller})")
        if turn.lines:
            held.heard_s.append(await call.agent_speaks(2.0))


class _Presses:
    """Keys of one turn, each entry as it is asked for."""

    def __init__(self, call: Call, session: SessionRecord, turn: Turn) -> None:
        self._call, self._session = call, session
        self._left = list(turn.keys)
        self._seen = self._asked()

    def _asked(self) -> int:
        return sum(each["name"] == "collect_digits" for each in self._session.tool_calls)

    def press(self) -> None:
        if self._left and self._asked() > self._seen:
            self._seen += 1
            self._call.press(self._left.pop(0))


def _complete(session: SessionRecord, lines: int, uses: int) -> bool:
    """Whether so much was said and used, and nothing is under way."""
    turns = session.model_turns
    return (
        len(session.words) >= lines
        and len(session.tool_responses) >= uses
        and bool(turns)
        and turns[-1].turn_complete is not None
    )


async def _until(call: Call, done: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(TURN_S):
            while not done():
                if call.end is not None:
                    raise CallOver(f"the call ended during {what}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"{what} came to no end within {TURN_S:g} s") from None


async def _next(house: House, call_id: uuid.UUID, status: str) -> dict[str, str]:
    """Ask what follows, as a dialplan does, or its hangup handler; whoever is to be dialled answers."""
    question = f"next?uuid={call_id}" + (f"&status={status}" if status else "")
    if house.simulator is None:
        told = await agi(house.agi_port, question)
    else:
        async with house.scripted(Behaviour()) as briefing:
            told = await agi(house.agi_port, question)
            if told.get("AGENT_BRIEFING"):
                await briefing.record()
    if told.get("AGENT_NEXT") == "transfer":
        await agi(house.agi_port, f"next?uuid={call_id}&status=ANSWER")
    return told


async def written(house: House, call_id: uuid.UUID) -> CallRecord:
    """The record of a call that is over. Raises TimeoutError."""
    async with asyncio.timeout(WRITTEN_S):
        while True:
            record = await listing.call(house.store, str(call_id))
            if record is not None and record.call.ended_at is not None:
                return record
            await asyncio.sleep(0.1)


def behaviour(conversation: Conversation) -> Behaviour:
    """The model of a conversation."""
    greeting = (Line(speech.AGENT, conversation.greeting),)
    opening = Exchange(steps=greeting, usage=conversation.greeting_usage)
    return Behaviour(
        connect_delay_seconds=0.0,
        think_seconds=THINK_S,
        speed=0.0,
        opening=opening if conversation.greeting else None,
        script=tuple(
            Exchange(turn.caller, tuple(_step(step) for step in turn.model), turn.usage)
            for turn in conversation.turns
        ),
    )


def _step(step: Step) -> Line | Called | tuple[Called, ...]:
    if isinstance(step, str):
        return Line(speech.AGENT, step)
    if isinstance(step, tuple):
        return tuple(Called(use.tool, use.args) for use in step)
    return Called(step.tool, step.args)

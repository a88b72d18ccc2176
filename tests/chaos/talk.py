"""One caller, from dialling to hanging up, and the moments at which things may happen to the call.

    dialplan    open ─ AudioSocket ──────────────────────────────────────────────────── next
    agent            [zero]                    [one   ]                  [two   ]
    caller                    [question]                   [question]              hangs up
    Moment      RINGING  GREETED     ASKED ^    ^ ANSWERED       ^ USED (with a tool)
                  GREETING ^  ASKING ^   ANSWER

The dialplan is the recommended one: it announces the call, and where the AudioSocket ends it asks what
is next, and does that.
"""

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.report import End, Said
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.lab.ticker import Ticker
from tests.agi.dialplan import FACTS, HOST, agi
from tests.bench.capacity.pauses import Pauses
from tests.chaos.ear import AGAIN, GREETING, Heard, listen, seconds_of, sentences, silences
from tests.chaos.house import ANSWER_S, GREETING_S, QUESTIONS, World
from tests.chaos.proxy import Proxy
from tests.chaos.tools import LOOK_UP_S

RATE_HZ: Final = 8_000
MOST: Final = 0.9
"""Of a sentence, to have understood it."""
QUIET_S: Final = 0.7
"""After a sentence, before the caller speaks."""
PATIENCE_S: Final = 20.0
"""With an agent that does not answer: far more than is allowed, so that the table shows how much."""
INTO_IT_S: Final = 1.0
"""So much of a sentence is heard at GREETING and ANSWER."""
LOOK_S: Final = 0.05
LONGEST: Final = 3
"""Of the silences of a call, kept: a pause of the machine may have made one longer than the others."""
ASK_AGAIN_S: Final = 0.2
BACK_S: Final = 20.0
"""For a service that has died to come back."""

QUESTION: Final = read_utterances(SHIPPED_CALLER, RATE_HZ)[1][: round(1.6 * RATE_HZ) * 2]


class Moment(Enum):
    """Where in a call something happens; see the drawing above."""

    NEVER = auto()
    RINGING = auto()
    GREETING = auto()
    GREETED = auto()
    ASKING = auto()
    ASKED = auto()
    ANSWER = auto()
    ANSWERED = auto()
    USED = auto()
    """In the middle of the tool's use."""
    RESULT = auto()
    """As its result is on the way to the model."""


@dataclass(slots=True)
class Outcome:
    """What became of one call."""

    finished: bool = False
    """The conversation was held to its end."""
    handed_on: bool = False
    """The dialplan was told to go on with its fallback."""
    silences: list[tuple[float, float]] = field(default_factory=list)
    """The longest, in the loop's time, where the caller should have heard something."""
    kept: bool | None = None
    """The context; None: there was none to lose."""
    why: str = ""
    """How it ended, where it was not finished."""
    hit: bool = False
    """What was to happen to it has happened."""
    said: list[str] = field(default_factory=list)

    @property
    def silence_s(self) -> float:
        """The longest."""
        return self.silence_without(NO_PAUSES)

    def silence_without(self, pauses: Pauses) -> float:
        """The longest, but for what the machine itself stood still."""
        lengths = (until - since - pauses.seconds(since, until) for since, until in self.silences)
        return max(lengths, default=0.0)


NO_PAUSES: Final = Pauses()

Act = Callable[["Caller"], Awaitable[None]]


class Caller:
    """Somebody who calls, asks QUESTIONS questions and waits for each answer."""

    def __init__(
        self, world: World, ticker: Ticker, *, when: Moment, act: Act, line: Proxy | None = None
    ) -> None:
        world.number += 1
        self.world = world
        self.line = line
        """Between the PBX and the service, of this call alone; None: there is nothing between them."""
        self.number = f"5550{world.number:06}99"
        self.uuid = uuid.uuid4()
        self.call: Call
        self.outcome = Outcome()
        self.most_s = 90.0
        """For the whole call."""
        self._ticker = ticker
        self._when = when
        self._act = act
        self._acting: asyncio.Task[None] | None = None
        self._heard: list[Heard] = []
        self._legs: AsyncExitStack  # while the call lasts
        self._began = math.nan  # in the loop's time
        self._leg_at = 0.0  # when the present leg was connected
        self._heard_to = -1.0  # on its clock
        self._returns = 0  # to the agent, by a new leg
        self._owed: list[tuple[float, float]] = []
        self._since = 0.0  # then the agent's turn began

    # -- the call ------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Hold the call."""
        try:
            async with asyncio.timeout(self.most_s):
                await self._run()
        except TimeoutError:
            self.outcome.why = self.outcome.why or "the agent was waited for too long"
        finally:
            if self._acting is not None:
                await self._acting
        self._judge()
        return self.outcome

    async def _run(self) -> None:
        if not await self._announced():
            return
        await self._moment(Moment.RINGING)
        try:
            async with AsyncExitStack() as self._legs:
                await self._connect()
                try:
                    await self._talk()
                    self.outcome.finished = True
                except (CallOver, TimeoutError) as error:
                    self._note()
                    self._owed.append((self._since, self.now))
                    self.outcome.why = str(self.call.end or error or "no answer")
        except OSError as error:
            self.outcome.why = f"not connected: {error}"
        if not self.outcome.finished:
            await self._what_next()

    async def _connect(self) -> None:
        """The dialplan's AudioSocket(), and each after it of the same call."""
        port = self.world.service.port if self.line is None else self.line.port
        connecting = Call.connect(HOST, port, rate_hz=RATE_HZ, uuid=self.uuid, ticker=self._ticker)
        self.call = await self._legs.enter_async_context(connecting)
        connected = asyncio.get_running_loop().time() - self.call.now
        self._began = connected if math.isnan(self._began) else self._began
        self._leg_at = connected - self._began
        self._heard_to = -1.0

    @property
    def now(self) -> float:
        """Seconds since the first leg was connected."""
        return asyncio.get_running_loop().time() - self._began

    @property
    def _may_come_back(self) -> bool:
        broken = self.call.end in (End.CLOSED, End.RESET)
        return broken and (self.world.restarts or self.line is not None)

    async def _comes_back(self) -> None:
        """The connection has ended in the call, or the service has: the dialplan asks whoever is there
        now, and connects again. Raises CallOver where it is told otherwise."""
        self._note()
        until = self.now + BACK_S
        while self.now < until:
            told = (await self._ask(f"next?uuid={self.uuid}", FACTS)).get("AGENT_NEXT")
            if told == "again":
                self._returns += 1
                await self._connect()
                return
            if told is not None:
                break
            await asyncio.sleep(ASK_AGAIN_S)  # nobody has answered, or who has does not know yet
        raise CallOver("nobody took the call up again")

    async def _announced(self) -> bool:
        facts = {**FACTS, "agi_callerid": self.number}
        self.world.announced += 1
        told = await self._ask(f"open?uuid={self.uuid}", facts)
        if told.get("AGENT_STATUS") == "OK":
            return True
        self.outcome.handed_on = bool(told)
        self.outcome.why = f"open: {told.get('AGENT_STATUS', 'nobody there')}"
        return False

    async def _what_next(self) -> None:
        """What the dialplan asks when the AudioSocket is over."""
        told = await self._ask(f"next?uuid={self.uuid}", FACTS)
        self.outcome.handed_on = told.get("AGENT_NEXT") == "fallback"
        reason = told.get("AGENT_REASON", "")
        self.outcome.why += f", next: {told.get('AGENT_NEXT', 'nobody there')} {reason}"

    async def _ask(self, script: str, facts: dict[str, str]) -> dict[str, str]:
        try:
            async with asyncio.timeout(5.0):
                return await agi(self.world.service.ports["fastagi"], script, facts)
        except (OSError, TimeoutError):
            return {}

    # -- the conversation ----------------------------------------------------------------------

    async def _talk(self) -> None:
        await self._understands((GREETING,), GREETING_S, Moment.GREETING)
        await self._moment(Moment.GREETED)
        for number in range(1, QUESTIONS + 1):
            first = number == 1
            words = self.call.say(QUESTION)
            if first:
                await self._hears_for(0.6)
                await self._moment(Moment.ASKING)
            words = await self._says_it_all(words)
            self._since = self._leg_at + words.ends
            if first:
                await self._moment(Moment.ASKED)
            elif self._when in (Moment.USED, Moment.RESULT):
                self._acting = asyncio.create_task(self._act_when_used())
            answers = (*range(1, QUESTIONS + 1), AGAIN)
            await self._understands(answers, ANSWER_S, Moment.ANSWER if first else None)
            if first:
                await self._moment(Moment.ANSWERED)

    async def _says_it_all(self, words: Said) -> Said:
        """To its end; and once more, where the connection has ended meanwhile."""
        try:
            await self.call.said()
        except CallOver:
            if not self._may_come_back:
                raise
            await self._comes_back()
            words = self.call.say(QUESTION)
            await self.call.said()
        return words

    async def _understands(
        self, wanted: tuple[int, ...], seconds: float, middle: Moment | None
    ) -> None:
        """Wait for most of a sentence, and for the pause after it."""
        until = self.now + PATIENCE_S
        while (heard := seconds_of(self._note(), self._since, wanted)) < MOST * seconds:
            if middle is not None and heard >= INTO_IT_S:
                await self._moment(middle)
                middle = None
            await self._look(until)
        self._owed.append((self._since, self._heard[-1].at))
        while self._quiet_s() < QUIET_S:
            await self._look(until + PATIENCE_S)
            self._note()

    def _quiet_s(self) -> float:
        return self.now - next((x.at for x in reversed(self._heard) if x.audible), 0.0)

    async def _hears_for(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await self._look(until + 1.0)

    async def _look(self, until: float) -> None:
        await asyncio.sleep(LOOK_S)
        if self.call.end is not None:
            if not self._may_come_back:
                raise CallOver(f"{self.call.end}")
            await self._comes_back()
        if self.now > until:
            raise TimeoutError("no answer")

    def _note(self) -> list[Heard]:
        """Take in what has come since the last look."""
        fresh = []
        for frame in reversed(self.call.sides[1]):
            if frame[0] <= self._heard_to:
                break
            fresh.append(frame)
        if fresh:
            self._heard_to = fresh[0][0]
            for at, rate_hz, payload in reversed(fresh):
                self._heard.append(listen(self._leg_at + at, rate_hz, payload))
        return self._heard

    # -- what happens to it --------------------------------------------------------------------

    async def _moment(self, moment: Moment) -> None:
        if moment is self._when:
            self._acting = asyncio.create_task(self._act_now())

    async def _act_now(self) -> None:
        with suppress(LookupError):  # there is nothing any more that it could happen to
            await self._act(self)
            self.outcome.hit = True

    async def _act_when_used(self) -> None:
        """In the middle of the use of a tool, or 0.1 s before it is over."""
        while not any(session.tool_calls for session in self.world.sessions(self.number)):
            await asyncio.sleep(0.02)
            if self.call.end is not None:
                return
        share = 0.5 if self._when is Moment.USED else 1.0
        await asyncio.sleep(share * LOOK_UP_S - (0.0 if share < 1.0 else 0.1))
        await self._act_now()

    # -- what became of it ---------------------------------------------------------------------

    def _judge(self) -> None:
        outcome = self.outcome
        for begins, ends in self._owed:
            for since, until in silences(self._heard, begins, ends):
                outcome.silences.append((self._began + since, self._began + until))
        outcome.silences.sort(key=lambda span: span[0] - span[1])
        del outcome.silences[LONGEST:]
        spoken = sentences(self._heard)
        outcome.said = [f"{each.sentence}:{each.seconds:.1f}@{each.at:.1f}" for each in spoken]
        told = self.world.sessions(self.number)
        later = [session for session in told[1:] if session.setup_done is not None]
        if (later or self._returns) and told[0].setup_done is not None:
            remembered = all(s.resumed or "number zero" in str(s.setup) for s in later)
            order = [each.sentence for each in spoken]
            greets_again = GREETING in order[order.index(1) :] if 1 in order else False
            outcome.kept = remembered and not greets_again

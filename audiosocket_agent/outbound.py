"""One outbound call: Asterisk is told once to dial a number, and what became of it is one line.

    log in to AMI ──> announce: the model is dialled ──> Originate ──> follow the call to its fate
        │ fails            │ not OK                          │ the connection breaks
     FAILED             FAILED                          log in again, look for the call's channel:
                                                        there: follow it on     not there: UNCERTAIN

The order is written once, whatever happens to the connection. Where it cannot be told whether a phone
has rung, that is what is said: a person may dial again, this never does. (Asterisk would refuse a
twin, too, as long as the first one lives: the call's UUID is its channel's Uniqueid.)

Measured with Asterisk 22: a phone that is busy, rejects or does not exist behind a SIP trunk is
Reason 0 in OriginateResponse, and only the Hangup event's Cause tells which; the Cause of a Local
channel is 0 where Reason tells. Either comes first, and without a channel there is no Hangup at all.
"""

import asyncio
import contextlib
import random
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from audiosocket_agent.errors import AgentError
from audiosocket_agent.pbx.ami import RINGING, UP, Ami, AmiError, Message

CONTEXT: Final = "agent"
EXTEN: Final = "dialled"
"""Where the dialplan takes whoever answers."""

MOMENT_S: Final = 1.0
"""For the second of two events that come together, and for an order to become a channel; Asterisk
takes milliseconds."""
LATE_S: Final = 5.0
"""How much later than the ringing's end Asterisk may tell of it."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Before another attempt to reach Asterisk."""
HANG_UP_S: Final = 2.0
WITHDRAW_S: Final = 2.0

_NUMBER: Final = re.compile(r"[0-9*#+]{1,32}")


class Outcome(IntEnum):
    """What became of a call; its value is the exit code of `dial`."""

    ANSWERED = 0
    FAILED = 1
    """It was not placed, or the network could not connect it."""
    NOT_ALLOWED = 2
    BUSY = 4
    NO_ANSWER = 5
    UNCERTAIN = 6
    """The order was sent, and it cannot be told whether the phone has rung."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of an order."""

    outcome: Outcome
    words: str
    """One line for the person who gave it."""


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to call, and how."""

    number: str
    allow: tuple[str, ...]
    """Regular expressions; one must match the whole number. None: no number may be dialled."""
    channel: str = "PJSIP/{number}@trunk"
    """`{number}` in it is the number."""
    ring_s: float = 30.0
    caller_id: str = ""
    call_id: uuid.UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the service says to a call that will come."""

    status: str
    """OK, BUSY, DRAINING or ERROR."""
    address: str = ""
    """host:port of its AudioSocket as Asterisk is to dial it; empty: the dialplan knows."""
    fastagi: str = ""
    """host:port of the FastAGI that knows of the call, where it is one of several."""


Amis = Callable[[], AbstractAsyncContextManager[Ami]]
Announce = Callable[[], Awaitable[Announcement]]
Withdraw = Callable[[], Awaitable[None]]
Report = Callable[[str], None]


async def place(
    order: Order, amis: Amis, announce: Announce, withdraw: Withdraw, report: Report
) -> Result:
    """Place one call and follow it until it is answered or over.

    `amis` opens a connection to Asterisk, each time it is called; `announce` has the service get ready
    for the call, `withdraw` lets it go again and is called as soon as nobody can come any more; either
    may raise AgentError. `report` is told what goes on, in a few words.

    Asterisk ends the ringing after `order.ring_s`. Where this is cancelled before, the phone is hung
    up; with the connection to Asterisk broken just then it rings on, and the service still waits for it.
    """
    if why := refusal(order):
        return Result(Outcome.NOT_ALLOWED, why)
    call = _Call(order, amis, report)
    try:
        result = await call.place(announce)
        call.may_talk = result.outcome in (Outcome.ANSWERED, Outcome.UNCERTAIN)
        return result
    finally:
        if call.announced and not call.may_talk:
            # where it cannot be told, the service gives up by itself, later
            with contextlib.suppress(AgentError, TimeoutError):
                async with asyncio.timeout(WITHDRAW_S):
                    await withdraw()


def refusal(order: Order) -> str:
    """Why a number may not be dialled; empty where it may."""
    if not _NUMBER.fullmatch(order.number):
        return "a number is 1 to 32 of the characters 0-9 * # +"
    if not any(re.fullmatch(rule, order.number) for rule in order.allow):
        return f"{order.number} may not be dialled: no rule of OUTBOUND_ALLOW matches it"
    return ""


def judge(response: Message | None, hangup: Message | None) -> Result | None:
    """What the events OriginateResponse and Hangup tell of a call; None: nothing."""
    reason = response.get("Reason") if response else ""
    cause = hangup.get("Cause") if hangup else ""
    if (response and response.ok) or (hangup and hangup.get("ChannelState") == UP):
        return _ANSWERED
    if reason in _REASONS:
        return _REASONS[reason]
    if cause in _CAUSES:
        return _CAUSES[cause]
    if hangup and cause not in ("", "0"):
        return Result(Outcome.FAILED, f"not connected: {hangup.get('Cause-txt')} (cause {cause})")
    if response or hangup:
        return Result(Outcome.FAILED, "Asterisk could not place the call; its log says why")
    return None


_ANSWERED: Final = Result(Outcome.ANSWERED, "answered")
_BUSY: Final = Result(Outcome.BUSY, "busy")
_NO_ANSWER: Final = Result(Outcome.NO_ANSWER, "nobody answered")
_UNREACHABLE: Final = Result(Outcome.NO_ANSWER, "the phone could not be reached")
_CONGESTED: Final = Result(Outcome.FAILED, "the network could not connect the call")
_GONE: Final = Result(
    Outcome.UNCERTAIN,
    "Asterisk took the order, or may have, and has no such call now: whether the phone has rung cannot "
    "be told",
)
_LOST: Final = Result(
    Outcome.UNCERTAIN,
    "Asterisk took the order, or may have, and could not be asked again while the phone could ring: "
    "whether it has cannot be told",
)

_REASONS: Final = {"3": _NO_ANSWER, "5": _BUSY, "8": _CONGESTED}
"""AST_CONTROL_ of `frame.h`: RINGING, BUSY, CONGESTION."""
_CAUSES: Final = {
    "1": Result(Outcome.FAILED, "there is no such number"),
    "16": Result(Outcome.FAILED, "hung up before it was answered"),
    "17": _BUSY,
    "18": _UNREACHABLE,
    "19": _NO_ANSWER,
    "20": _UNREACHABLE,
    "21": Result(Outcome.FAILED, "the call was rejected"),
    "28": Result(Outcome.FAILED, "the number is not complete, or none"),
    "34": _CONGESTED,
    "38": _CONGESTED,
    "42": _CONGESTED,
}
"""Q.850, as Asterisk's `causes.h` numbers them."""

_NOT_READY: Final = {
    "BUSY": "the service has as many calls as it takes",
    "DRAINING": "the service is about to stop",
}


class _Call:
    """One order on its way."""

    def __init__(self, order: Order, amis: Amis, report: Report) -> None:
        self.announced = False
        self.may_talk = False
        """Somebody may be on the line, or come to be."""
        self._order = order
        self._id = str(order.call_id)
        self._amis = amis
        self._report = report
        self._response: Message | None = None
        self._hangup: Message | None = None
        self._over_at = 0.0  # in the loop's time: by then Asterisk has told of the call, if it does

    async def place(self, announce: Announce) -> Result:
        """The whole way."""
        try:
            async with self._amis() as ami:
                try:
                    announcement = await announce()
                except AgentError as error:
                    return Result(Outcome.FAILED, f"nothing was dialled: {error}")
                self.announced = announcement.status == "OK"
                if not self.announced:
                    why = _NOT_READY.get(announcement.status, "the service refuses the call")
                    return Result(Outcome.FAILED, f"nothing was dialled: {why}")
                self._report("the agent is ready")
                async with self._hung_up_if_cancelled(ami):
                    await self._dial(ami, announcement)
                    return await self._follow(ami)
        except AmiError as error:
            if not self.may_talk:
                return Result(Outcome.FAILED, f"nothing was dialled: {error}")
            self._report(f"{error}; looking for the call")
        return await self._find_again()

    async def _dial(self, ami: Ami, announcement: Announcement) -> None:
        order = self._order
        variables = {"AGENT_UUID": self._id}
        if announcement.address:
            variables["AGENT_ADDRESS"] = announcement.address
        if announcement.fastagi:
            variables["AGENT_FASTAGI_FIRST"] = announcement.fastagi
        self._report("dialling")
        self._over_at = _now() + order.ring_s + LATE_S
        self.may_talk = True
        try:
            await ami.originate(
                self._id,
                order.channel.replace("{number}", order.number),
                context=CONTEXT,
                exten=EXTEN,
                timeout_s=order.ring_s,
                caller_id=order.caller_id,
                variables=variables,
            )
        except AmiError as error:
            self.may_talk = error.sent
            raise
        except ValueError as error:  # a setting that AMI cannot carry: nothing was sent
            self.may_talk = False
            raise AmiError("refused", str(error)) from None

    async def _follow(self, ami: Ami) -> Result:
        """To its fate. Raises AmiError."""
        if result := await self._listen(ami, self._over_at - _now()):
            return result
        # not a word: the connection has more events than we could read
        if result := await self._look(ami):
            return result
        await ami.hangup(self._id)
        return _NO_ANSWER

    async def _listen(self, ami: Ami, seconds: float) -> Result | None:
        """What events tell within `seconds`; None: nothing. Raises AmiError."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as limit:
                while not self._settled:
                    if self._take(await ami.event()):
                        limit.reschedule(_now() + MOMENT_S)
        return judge(self._response, self._hangup)

    @property
    def _settled(self) -> bool:
        response = self._response
        if response is None:
            return False
        return response.ok or response.get("Reason") in _REASONS or self._hangup is not None

    def _take(self, event: Message) -> bool:
        """Whether the event tells of the call's fate."""
        if event.event == "OriginateResponse" and event.get("ActionID") == self._id:
            self._response = event
        elif event.event == "Hangup" and event.get("Uniqueid") == self._id:
            self._hangup = event
        else:
            if event.event == "Newstate" and _is(event, self._id, RINGING):
                self._report("ringing")
            return False
        return True

    async def _look(self, ami: Ami) -> Result | None:
        """What the list of channels tells; None: it rings. Raises AmiError."""
        for channel in await ami.channels():
            if channel.get("Uniqueid") == self._id:
                return _ANSWERED if _is(channel, self._id, UP) else None
        return await self._listen(ami, MOMENT_S) or _GONE

    async def _find_again(self) -> Result:
        """After the connection broke."""
        if result := judge(self._response, self._hangup):
            return result
        for pause in _pauses():
            left = self._over_at - _now()
            await asyncio.sleep(min(pause, max(left, 0)))
            try:
                async with self._amis() as ami, self._hung_up_if_cancelled(ami):
                    return await self._look(ami) or await self._follow(ami)
            except AmiError as error:
                self._report(str(error))
                if left <= pause:
                    break
        return _LOST

    @asynccontextmanager
    async def _hung_up_if_cancelled(self, ami: Ami) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            with contextlib.suppress(AmiError, TimeoutError):  # then it rings to its end
                async with asyncio.timeout(HANG_UP_S):
                    await self._hang_up(ami)
            raise

    async def _hang_up(self, ami: Ami) -> None:
        while self.may_talk:
            try:
                await ami.hangup(self._id)
            except AmiError as error:
                if error.code != "refused":
                    raise
                await asyncio.sleep(0.1)  # the order is no channel yet
            else:
                self.may_talk = False


def _is(channel: Message, call_id: str, state: str) -> bool:
    return channel.get("Uniqueid") == call_id and channel.get("ChannelState") == state


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pauses() -> Iterator[float]:
    """Before each attempt to come back, the first too: an order on its way has to become a channel."""
    longest = 2 * FIRST_PAUSE_S
    while True:
        yield random.uniform(FIRST_PAUSE_S, longest)
        longest = min(2 * longest, LONGEST_PAUSE_S)

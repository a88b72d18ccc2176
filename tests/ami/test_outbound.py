"""One outbound call against a pretend Asterisk: whatever happens, it is dialled once at most."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from audiosocket_agent.errors import AgentError
from audiosocket_agent.outbound import (
    HANG_UP_S,
    LATE_S,
    Announcement,
    Order,
    Outcome,
    Result,
    _pauses,
    place,
    refusal,
)
from audiosocket_agent.pbx.ami import ACTION_SECONDS, Account, Ami
from tests.ami.manager import HOST, SECRET, USERNAME, Action, Call, Manager
from tests.virtual_time import in_virtual_time

CALL_ID = UUID("6c6c8701-2d4d-473c-ae1c-8cac28ff68c2")
ANY = (r"\d+",)


@dataclass
class Dial:
    """Someone who has a call placed, and the service that gets ready for it."""

    manager: Manager
    status: str = "OK"
    address: str = "127.0.0.1:9092"
    fastagi: str = ""
    announce_s: float = 0.3
    service_is_gone: bool = False
    port: int = 0
    told: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)

    async def place(self, number: str = "100", **order: Any) -> Result:
        given = Order(number, **{"allow": ANY, "call_id": CALL_ID, **order})
        account = Account(HOST, self.port or self.manager.port, USERNAME, SECRET)
        amis = partial(Ami.connect, account)
        return await place(given, amis, self._announce, self._withdraw, self.told.append)

    async def _announce(self) -> Announcement:
        self.did.append("announce")
        await asyncio.sleep(self.announce_s)
        if self.service_is_gone:
            raise AgentError("the service is not running")
        return Announcement(self.status, self.address, self.fastagi)

    async def _withdraw(self) -> None:
        self.did.append("withdraw")
        if self.service_is_gone:
            raise AgentError("the service is not running")


def seconds() -> float:
    return asyncio.get_running_loop().time()


# -- who may be dialled ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        "",
        "1,2",
        "1&PJSIP/2@trunk",
        "1/2",
        "1@elsewhere",
        "100\n",
        "100\r\nAction: Command",
        "\n100",
        "1 0",
        "sales",
        "１００",  # digits to Python's \d, but none of ours
        "1${EXTEN}",
        "1|2",
        "1;2",
        "1" * 33,
    ],
)
def test_what_is_no_number_is_not_dialled_whatever_the_rules(number: str) -> None:
    assert "0-9 * # +" in refusal(Order(number, allow=(r"(?s).*",)))


@pytest.mark.parametrize(
    ("number", "allow", "allowed"),
    [
        ("+4930123456", (), False),
        ("+4930123456", (r"\+49\d+",), True),
        ("+4930123456", (r"0\d+", r"\+49\d+"), True),
        ("+4930123456", (r"\+49",), False),  # the whole number has to match
        ("00" + "1" * 20, (r"\d{2,5}",), False),
        ("*21#", (r"\*21#",), True),
    ],
)
def test_no_number_is_dialled_without_a_rule(
    number: str, allow: tuple[str, ...], allowed: bool
) -> None:
    assert (refusal(Order(number, allow=allow)) == "") is allowed


@in_virtual_time
async def test_a_number_that_is_not_allowed_reaches_nobody() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager)
        result = await dial.place("200", allow=("1.*",))
    assert result == Result(
        Outcome.NOT_ALLOWED, "200 may not be dialled: no rule of OUTBOUND_ALLOW matches it"
    )
    assert (manager.connections, dial.did) == (0, [])


# -- what becomes of it ----------------------------------------------------------------------------


@in_virtual_time
async def test_somebody_answers() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager)
        result = await dial.place("100", caller_id="5550100", ring_s=25.0)
    assert (result, int(result.outcome)) == (Result(Outcome.ANSWERED, "answered"), 0)
    assert dial.told == ["the agent is ready", "dialling", "ringing"]
    assert dial.did == ["announce"]
    (order,) = manager.originates
    assert order.fields[1:] == [
        ("ActionID", str(CALL_ID)),
        ("Channel", "PJSIP/100@trunk"),
        ("Context", "agent"),
        ("Exten", "dialled"),
        ("Priority", "1"),
        ("Timeout", "25000"),
        ("Async", "true"),
        ("ChannelId", str(CALL_ID)),
        ("CallerID", "5550100"),
        ("Variable", f"AGENT_UUID={CALL_ID}"),
        ("Variable", "AGENT_ADDRESS=127.0.0.1:9092"),
    ]


@in_virtual_time
async def test_the_dialplan_may_know_the_address_itself() -> None:
    async with Manager().running() as manager:
        await Dial(manager, address="").place("100", channel="Local/{number}@out")
    (order,) = manager.originates
    assert order.get("Channel") == "Local/100@out"
    assert order.every("Variable") == [f"AGENT_UUID={CALL_ID}"]


@in_virtual_time
async def test_the_dialplan_is_told_which_of_several_services_knows_of_the_call() -> None:
    async with Manager().running() as manager:
        await Dial(manager, fastagi="127.0.0.1:4574").place("100")
    (order,) = manager.originates
    assert "AGENT_FASTAGI_FIRST=127.0.0.1:4574" in order.every("Variable")


@in_virtual_time
@pytest.mark.parametrize(
    ("number", "outcome", "words", "after_s"),
    [
        ("200", Outcome.BUSY, "busy", 2),
        ("201", Outcome.BUSY, "busy", 2),
        ("202", Outcome.BUSY, "busy", 2),
        ("300", Outcome.NO_ANSWER, "nobody answered", 30),
        ("301", Outcome.NO_ANSWER, "the phone could not be reached", 2),
        ("302", Outcome.NO_ANSWER, "nobody answered", 2),
        ("400", Outcome.FAILED, "there is no such number", 0),
        ("401", Outcome.FAILED, "the call was rejected", 2),
        ("402", Outcome.FAILED, "the network could not connect the call", 2),
        ("403", Outcome.FAILED, "the network could not connect the call", 2),
        ("404", Outcome.FAILED, "not connected: Interworking (cause 127)", 2),
        # no Hangup follows: a second is waited for it
        ("405", Outcome.FAILED, "Asterisk could not place the call; its log says why", 1),
    ],
)
async def test_nobody_answers(number: str, outcome: Outcome, words: str, after_s: float) -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=0)
        assert await dial.place(number) == Result(outcome, words)
        assert seconds() == pytest.approx(after_s, abs=0.1)
    assert dial.did == ["announce", "withdraw"]
    assert len(manager.originates) == 1


@in_virtual_time
async def test_somebody_answers_and_hangs_up_before_we_are_told_of_either() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place("300"))
        await asyncio.sleep(1)
        (call,) = manager.calls.values()
        call.state = "6"
        manager.tell("Hangup", *call.fields, ("Cause", "16"))
        assert (await placing).outcome == Outcome.ANSWERED


@in_virtual_time
async def test_other_peoples_calls_are_not_ours() -> None:
    async with Manager().running() as manager:
        placing = asyncio.create_task(Dial(manager, announce_s=0).place("100"))
        await asyncio.sleep(1)
        manager.tell(
            "OriginateResponse", ("ActionID", "x"), ("Response", "Failure"), ("Reason", "5")
        )
        manager.tell("Hangup", ("Uniqueid", "x"), ("Cause", "17"))
        manager.tell("Hangup", ("Uniqueid", f"{CALL_ID};2"), ("Cause", "17"))
        assert (await placing).outcome == Outcome.ANSWERED


@in_virtual_time
@pytest.mark.parametrize(
    ("order", "rights", "words"),
    [
        ({"channel": "{number}"}, ["originate"], "Asterisk refuses Originate: Invalid channel"),
        ({}, ["call"], "Asterisk refuses Originate: Permission denied"),
        (
            {"caller_id": "1\r\nAction: X"},
            ["originate"],
            "'CallerID': '1  Action: X' cannot be sent by AMI",
        ),
    ],
)
async def test_the_order_is_not_taken(order: dict[str, str], rights: list[str], words: str) -> None:
    async with Manager(rights=rights).running() as manager:
        dial = Dial(manager)
        result = await dial.place(**order)
    assert result == Result(Outcome.FAILED, f"nothing was dialled: {words}")
    assert dial.did == ["announce", "withdraw"]


@in_virtual_time
@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("BUSY", "nothing was dialled: the service has as many calls as it takes"),
        ("DRAINING", "nothing was dialled: the service is about to stop"),
        ("ERROR", "nothing was dialled: the service refuses the call"),
    ],
)
async def test_the_service_does_not_take_the_call(status: str, words: str) -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, status=status)
        assert await dial.place() == Result(Outcome.FAILED, words)
    assert (manager.originates, dial.did) == ([], ["announce"])


@in_virtual_time
async def test_the_service_is_not_there() -> None:
    async with Manager().running() as manager:
        result = await Dial(manager, service_is_gone=True).place()
    assert result == Result(Outcome.FAILED, "nothing was dialled: the service is not running")
    assert not manager.originates


@in_virtual_time
async def test_the_service_goes_away_while_it_rings() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place("200"))
        await asyncio.sleep(1)
        dial.service_is_gone = True
        assert await placing == Result(Outcome.BUSY, "busy")


# -- the connection breaks ---------------------------------------------------------------------------


@in_virtual_time
@pytest.mark.parametrize(
    "cut",
    [
        "connect",
        "banner",
        "Challenge unread",
        "Challenge unanswered",
        "Challenge answered",
        "Login unread",
        "Login unanswered",
    ],
)
async def test_it_breaks_before_the_login(cut: str) -> None:
    async with Manager(cuts=[cut]).running() as manager:
        dial = Dial(manager)
        result = await dial.place()
    assert result.outcome == Outcome.FAILED
    assert result.words.startswith("nothing was dialled: ")
    assert (manager.originates, dial.did, manager.connections) == ([], [], 1)


@in_virtual_time
async def test_it_breaks_while_the_service_gets_ready() -> None:
    async with Manager(cuts=["Login answered"]).running() as manager:
        dial = Dial(manager)
        result = await dial.place()
    assert result == Result(
        Outcome.FAILED, "nothing was dialled: Asterisk has closed the AMI connection"
    )
    assert (manager.originates, dial.did) == ([], ["announce", "withdraw"])


@in_virtual_time
async def test_asterisk_cannot_be_reached() -> None:
    async with Manager().running() as manager:
        port = manager.port
    dial = Dial(manager, port=port)
    result = await dial.place()
    assert result.outcome == Outcome.FAILED
    assert "cannot be reached: Connection refused" in result.words
    assert dial.did == []


AFTER_THE_ORDER = ["Originate unanswered", "Originate answered"]
"""Asterisk has taken the order; in the first case we have not heard so."""


@in_virtual_time
@pytest.mark.parametrize("cut", AFTER_THE_ORDER)
@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        ("100", Outcome.ANSWERED),  # at 2 s: the second connection hears it
        ("101", Outcome.ANSWERED),
        ("300", Outcome.NO_ANSWER),
    ],
)
async def test_it_breaks_after_the_order_and_the_call_is_found_again(
    cut: str, number: str, outcome: Outcome
) -> None:
    async with Manager(cuts=[cut]).running() as manager:
        dial = Dial(manager, announce_s=0)
        result = await dial.place(number)
        assert result.outcome == outcome
    assert len(manager.originates) == 1
    assert manager.connections == 2
    assert "Asterisk has closed the AMI connection; looking for the call" in dial.told
    assert dial.did == ["announce", *(["withdraw"] if outcome == Outcome.NO_ANSWER else [])]


@in_virtual_time
@pytest.mark.parametrize("cut", AFTER_THE_ORDER)
async def test_it_breaks_after_the_order_and_somebody_has_answered_since(cut: str) -> None:
    """Two attempts fail, which takes 2 s at least: the list of channels tells it."""
    cuts = [cut, "connect", "Login unanswered"]
    async with Manager(cuts=cuts).running() as manager:
        dial = Dial(manager, announce_s=0)
        assert await dial.place("100") == Result(Outcome.ANSWERED, "answered")
        assert seconds() > 2
    assert (len(manager.originates), manager.connections) == (1, 4)
    assert dial.did == ["announce"]


@in_virtual_time
@pytest.mark.parametrize("cut", ["Originate unread", *AFTER_THE_ORDER])
async def test_it_breaks_after_the_order_and_the_call_is_not_found(cut: str) -> None:
    """Lost on its way, or over within 10 ms: from here it looks the same."""
    async with Manager(cuts=[cut]).running() as manager:
        dial = Dial(manager)
        result = await dial.place("400")
    assert result.outcome == Outcome.UNCERTAIN
    assert "has no such call now" in result.words
    assert len(manager.originates) == 1
    assert dial.did == ["announce"]  # somebody may yet come


class Breaking(Manager):
    """Between the two events that tell of a call."""

    def _respond(self, call: Call, reason: str) -> None:
        self.cut_off()


@in_virtual_time
async def test_it_breaks_when_half_is_told() -> None:
    async with Breaking().running() as manager:
        dial = Dial(manager)
        assert await dial.place("201") == Result(Outcome.BUSY, "busy")
    assert (manager.connections, dial.did) == (1, ["announce", "withdraw"])


class Overtaking(Manager):
    """The list of channels overtakes the events of a call that has just ended."""

    def _show(self, session: Any, action: Action) -> None:
        (call,) = self.calls.values()
        self.calls.clear()
        super()._show(session, action)
        self.later(0.5, self._respond, call, "5")


@in_virtual_time
async def test_it_breaks_after_the_order_and_the_call_ends_as_it_is_looked_for() -> None:
    async with Overtaking(cuts=["Originate answered"]).running() as manager:
        assert await Dial(manager).place("300") == Result(Outcome.BUSY, "busy")


@in_virtual_time
@pytest.mark.parametrize(
    "again", ["connect", "banner", "Challenge unanswered", "Login unanswered", "Login answered"]
)
@pytest.mark.parametrize("cut", AFTER_THE_ORDER)
async def test_it_breaks_again_and_again(cut: str, again: str) -> None:
    """For as long as the phone could ring; then nobody can tell."""
    async with Manager(cuts=[cut, *[again] * 50]).running() as manager:
        dial = Dial(manager, announce_s=0)
        result = await dial.place("100", ring_s=60.0)
        assert seconds() == pytest.approx(60.0 + LATE_S, abs=0.5)
    assert result.outcome == Outcome.UNCERTAIN
    assert "could not be asked again" in result.words
    assert len(manager.originates) == 1
    assert 4 <= manager.connections <= 20  # ever longer pauses, up to half a minute
    assert dial.did == ["announce"]


@in_virtual_time
async def test_it_breaks_as_the_call_is_looked_for() -> None:
    cuts = ["Originate answered", "CoreShowChannels unread", "CoreShowChannels answered"]
    async with Manager(cuts=cuts).running() as manager:
        assert (await Dial(manager).place("300", ring_s=60.0)).outcome == Outcome.NO_ANSWER
    assert (len(manager.originates), manager.connections) == (1, 4)


@in_virtual_time
async def test_asterisk_stops() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place("300"))
        await asyncio.sleep(5)
        manager.stop()
        result = await placing
        assert seconds() == pytest.approx(30 + LATE_S, abs=0.5)
    assert result.outcome == Outcome.UNCERTAIN
    assert len(manager.originates) == 1


@in_virtual_time
async def test_asterisk_takes_the_order_and_says_nothing() -> None:
    async with Manager(deaf={"Originate"}).running() as manager:
        dial = Dial(manager, announce_s=0)
        result = await dial.place("100")
        assert seconds() > ACTION_SECONDS
    assert result.outcome == Outcome.ANSWERED
    assert len(manager.originates) == 1


@pytest.mark.parametrize("number", range(20))
def test_the_pauses_before_asterisk_is_asked_again(number: int) -> None:
    """Different ones, so that many who were cut off together do not come back together."""
    pauses = [pause for pause, _ in zip(_pauses(), range(10), strict=False)]
    longest = [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    assert all(1.0 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len(set(pauses)) == 10


# -- events are missed -------------------------------------------------------------------------------


@in_virtual_time
@pytest.mark.parametrize(
    ("number", "outcome", "did"),
    [
        ("100", Outcome.ANSWERED, ["announce"]),
        ("101", Outcome.UNCERTAIN, ["announce"]),
        ("300", Outcome.NO_ANSWER, ["announce", "withdraw"]),
    ],
)
async def test_more_events_come_than_can_be_read(
    number: str, outcome: Outcome, did: list[str]
) -> None:
    """At the ringing's end the list of channels is asked instead, and what still rings hung up."""
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place(number, ring_s=30.0))
        await asyncio.sleep(1)
        for session in manager.sessions:
            session.events = False
        if number == "300":
            for timer in manager.timers:
                timer.cancel()
        assert (await placing).outcome == outcome
        assert seconds() == pytest.approx(30 + LATE_S, abs=1.1)
        assert not (number == "300" and manager.calls)
    assert dial.did == did
    assert len(manager.originates) == 1


# -- whoever asked gives up --------------------------------------------------------------------------


async def cancelled(placing: "asyncio.Task[Result]") -> None:
    placing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await placing


@in_virtual_time
async def test_cancelled_while_it_rings_the_phone_is_hung_up() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place("300"))
        await asyncio.sleep(5)
        await cancelled(placing)
        assert not manager.calls
        assert seconds() == pytest.approx(5, abs=0.1)
    assert dial.did == ["announce", "withdraw"]


@in_virtual_time
async def test_cancelled_before_the_order_nothing_is_dialled() -> None:
    async with Manager().running() as manager:
        dial = Dial(manager, announce_s=3)
        placing = asyncio.create_task(dial.place("300"))
        await asyncio.sleep(1)
        await cancelled(placing)
    assert manager.originates == []


@in_virtual_time
async def test_cancelled_while_asterisk_is_away_it_rings_on_and_the_service_waits() -> None:
    async with Manager(cuts=["Originate answered"]).running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place("300"))
        await asyncio.sleep(0.5)
        await cancelled(placing)
        assert len(manager.calls) == 1
    assert dial.did == ["announce"]


@in_virtual_time
async def test_cancelled_and_asterisk_hangs_nothing_up() -> None:
    """It is asked for two seconds: a moment after the order there is no channel yet."""
    async with Manager(rights=["originate", "reporting"]).running() as manager:
        dial = Dial(manager, announce_s=0)
        placing = asyncio.create_task(dial.place("300"))
        await asyncio.sleep(5)
        await cancelled(placing)
        assert seconds() == pytest.approx(5 + HANG_UP_S, abs=0.1)
    assert dial.did == ["announce"]

"""The same calls by the subroutine and by one line: greeted, passed on, taken back, left alone. What
each side heard is what counts."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest

from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator, ToolStep
from tests.pbx.asterisk import AGENT, RUN, RUN_RUNG, RUNG, Asterisk
from tests.pbx.conftest import Measure, StartService
from tests.pbx.ear import align
from tests.pbx.phone import Phone
from tests.pbx.rtp import Heard
from tests.pbx.service import Service
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, prompt
from tests.pbx.test_calls import eventually
from tests.profiles import DESK

QUESTION: Final = "info-about-last-call"
GREETING: Final = "hello-world"
ANNOUNCED: Final = "tt-weasels"  # "I put you through."
AFTERWARDS: Final = "vm-goodbye"  # to a caller who is back
BRIEFING: Final = "agent-pass"  # "Asha asks for a price. Press 1 to take the call, 2 to refuse it."
MACHINE: Final = "tt-monkeys"  # what answers at 2001
OF_THE_HUMAN: Final = "vm-nobodyavail"
OF_THE_CALLER: Final = "transfer"
REASON: Final = "Asha asks for a price"
CONNECT_S: Final = 0.7
NOBODYS_PORT: Final = 1

Way = tuple[str, str]
"""An extension that answers at once, and one that rings first."""
WAYS: Final = [pytest.param((AGENT, RUNG), id="Gosub"), pytest.param((RUN, RUN_RUNG), id="run")]


def speech(name: str) -> Pcm:
    return Pcm(prompt(name).tobytes(), PROMPT_RATE_HZ)


PLAIN: Final = Behaviour(greeting=speech(GREETING), reply=speech(AFTERWARDS), speed=0)
TELLS: Final = replace(PLAIN, greeting=speech(BRIEFING))


def passes_on_to(target: str) -> Behaviour:
    step = ToolStep(
        1, "transfer_call", {"target": target, "reason": REASON}, after=speech(ANNOUNCED)
    )
    return replace(PLAIN, tools=(step,))


@dataclass
class Bench:
    """A caller who is about to dial, and everything behind the number."""

    asterisk: Asterisk
    gemini: Simulator
    agent: Service
    caller: Caller

    async def asks(self, way: Way) -> None:
        """Dial, hear the greeting, ask, and be told of the transfer."""
        await self.caller.dial(way[0])
        await self.caller.until_heard()
        await self.caller.until_quiet()
        await self.caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await self.caller.until_heard()

    async def goes_on(self) -> None:
        """Wait until the agent has spoken to the caller who is back."""

        async def found() -> bool:
            return align(self.caller.heard.pcm, prompt(AFTERWARDS), PROMPT_RATE_HZ).found

        await eventually(found, 20.0)

    async def alone(self) -> bool:
        """The caller and the human have each other, and nobody else is there."""
        return await self.asterisk.channels() == 2 and not await self.agent.metric("calls_active")

    async def draining(self) -> bool:
        return bool(self.agent.events("draining"))

    async def leaves_nothing(self) -> None:
        """No call of ours, no session of the model's, no channel of Asterisk's."""

        async def empty() -> bool:
            over = all(s.closed is not None for s in self.gemini.sessions if s.setup is not None)
            up = await self.agent.metric("calls_active") or await self.asterisk.channels()
            return over and not up

        await eventually(empty, 8.0)


async def until_heard(heard: Callable[[], Heard], name: str, timeout: float = 20.0) -> None:
    async def whole() -> bool:
        return align(heard().pcm, prompt(name), PROMPT_RATE_HZ).perfect

    await eventually(whole, timeout)


@asynccontextmanager
async def bench(
    asterisk: Asterisk,
    service: StartService,
    *behaviours: Behaviour,
    **settings: str,
) -> AsyncIterator[Bench]:
    """`behaviours`: of the model, session by session."""

    def of(number: int) -> Behaviour:
        return behaviours[min(number, len(behaviours) - 1)]

    async with (
        Simulator(behaviour_for=of) as gemini,
        service(gemini, **DESK, **settings) as agent,
        Caller(asterisk.sip_port) as caller,
    ):
        yield Bench(asterisk, gemini, agent, caller)


# -- the agent alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_rings_is_greeted_when_it_is_answered(
    asterisk: Asterisk, service: StartService, measure: Measure, way: Way
) -> None:
    slow = replace(PLAIN, connect_delay_seconds=CONNECT_S)
    async with bench(asterisk, service, slow) as b:
        for extension in reversed(way):
            async with Caller(asterisk.sip_port) as caller:
                await caller.dial(extension)
                assert caller.answered_at is not None
                greeted = await caller.until_heard() - caller.answered_at
                rung = extension == way[1]
                measure(f"answer to greeting, {'rung' if rung else 'at once'}", greeted * 1000)
                assert (greeted < CONNECT_S) is rung
        await b.leaves_nothing()


@pytest.mark.parametrize("way", WAYS)
async def test_a_goodbye_is_heard_and_the_dialplan_goes_on(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    ends = replace(PLAIN, tools=(ToolStep(1, "end_call", {}, after=speech(AFTERWARDS)),))
    async with bench(asterisk, service, ends) as b:
        await b.asks(way)
        await b.caller.until_ended(timeout=20.0)
        assert align(b.caller.heard.pcm, prompt(AFTERWARDS), PROMPT_RATE_HZ).perfect
        assert await asterisk.went_on(b.caller.name) == "OK"
        await b.leaves_nothing()


@pytest.mark.parametrize("way", WAYS)
async def test_a_key_passes_the_caller_on_at_once(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, Behaviour()) as b:
        await b.caller.dial(way[0])
        await b.caller.until_heard()
        b.caller.dtmf("0")  # in the middle of the greeting
        await b.caller.until_ended(timeout=30.0)
        assert align(b.caller.heard.pcm, prompt(MACHINE), PROMPT_RATE_HZ).found
        assert await asterisk.went_on(b.caller.name) == "OK"
        assert await b.agent.metric("calls_total", outcome="transferred") == 1


# -- blind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_is_passed_on_after_the_words_that_announce_it(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("sales")) as b:
        await b.asks(way)
        await b.caller.until_ended(timeout=60.0)
        assert align(b.caller.heard.pcm, prompt(ANNOUNCED), PROMPT_RATE_HZ).perfect
        assert align(b.caller.heard.pcm, prompt(MACHINE), PROMPT_RATE_HZ).found
        assert await asterisk.went_on(b.caller.name) == "OK"
        assert REASON in await asterisk.rx("database show passed-on")
        await b.leaves_nothing()


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_who_finds_a_busy_line_goes_on_with_the_agent(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("faults")) as b:
        await b.asks(way)
        await b.goes_on()
        [session] = b.gemini.sessions  # the same conversation
        assert "busy" in str(session.contents[-1])
        await b.caller.hangup()
        await b.leaves_nothing()
        assert await b.agent.metric("calls_total", outcome="caller_hangup") == 1


# -- attended ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_human_is_told_and_takes_the_caller(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("expert"), TELLS) as b:
        async with Phone("human", asterisk.sip_port) as human:
            await b.asks(way)
            assert await human.rings(timeout=20.0) == REASON
            await asyncio.sleep(1.0)  # the phone rings; the model is ready meanwhile
            await human.answer()
            await until_heard(lambda: human.heard, BRIEFING)
            assert human.answered_at is not None
            human.press("1")
            await eventually(b.alone, 5.0)
            said = human.say_all(prompt(OF_THE_HUMAN), PROMPT_RATE_HZ)
            await asyncio.gather(said, b.caller.say_all(prompt(OF_THE_CALLER), PROMPT_RATE_HZ))
            await until_heard(lambda: b.caller.heard, OF_THE_HUMAN)
            await until_heard(lambda: human.heard, OF_THE_CALLER)
            # the caller has heard nothing of what was said about them
            assert not align(b.caller.heard.pcm, prompt(BRIEFING), PROMPT_RATE_HZ).found
            assert align(b.caller.heard.pcm, prompt(ANNOUNCED), PROMPT_RATE_HZ).perfect
            await human.hangup()
            await b.caller.until_ended(timeout=10.0)
        assert await asterisk.went_on(b.caller.name) == "OK"
        await b.leaves_nothing()
        assert await b.agent.metric("calls_total", outcome="accepted") == 1
        assert await b.agent.metric("calls_total", outcome="transferred") == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["presses 2", "hangs up"])
async def test_a_human_who_does_not_take_the_caller_leaves_them_to_the_agent(
    asterisk: Asterisk, service: StartService, way: Way, how: str
) -> None:
    async with bench(asterisk, service, passes_on_to("expert"), TELLS) as b:
        async with Phone("human", asterisk.sip_port) as human:
            await b.asks(way)
            await human.rings(timeout=20.0)
            await human.answer()
            await until_heard(lambda: human.heard, BRIEFING)
            if how == "presses 2":
                human.press("2")
                await human.until_ended(timeout=10.0)
            else:
                await human.hangup()
            await b.goes_on()
        first = b.gemini.sessions[0]  # the conversation that began
        assert "cannot take the call" in str(first.contents[-1])
        assert len(b.gemini.sessions) == 2
        await b.caller.hangup()
        await b.leaves_nothing()


async def test_a_human_of_whom_the_service_knows_nothing_does_not_get_the_caller(
    asterisk: Asterisk, service: StartService
) -> None:
    async with bench(asterisk, service, PLAIN), Phone("human", asterisk.sip_port) as human:
        await asterisk.rx("channel originate Local/9016@bench/n application Wait 20")
        await human.rings(timeout=10.0)
        await human.answer()
        await human.until_ended(timeout=10.0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_human_who_is_busy_is_told_of_nobody(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("expert"), TELLS) as b:
        async with Phone("human", asterisk.sip_port) as human:
            await b.asks(way)
            await human.rings(timeout=20.0)
            human.refuse(486)
            await b.goes_on()
        assert "busy" in str(b.gemini.sessions[0].contents[-1])
        await b.caller.hangup()
        await b.leaves_nothing()


@pytest.mark.parametrize("way", WAYS)
async def test_a_human_who_does_not_answer_leaves_the_caller_to_the_agent(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("away"), TELLS) as b:
        async with Phone("colleague", asterisk.sip_port) as human:
            await b.asks(way)
            await human.rings(timeout=20.0)
            await human.stopped_ringing(timeout=10.0)
            await b.goes_on()
        assert "nobody answered" in str(b.gemini.sessions[0].contents[-1])
        await b.caller.hangup()
        await b.leaves_nothing()


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_who_leaves_stops_the_humans_phone(
    asterisk: Asterisk, service: StartService, measure: Measure, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("expert"), TELLS) as b:
        async with Phone("human", asterisk.sip_port) as human:
            await b.asks(way)
            await human.rings(timeout=20.0)
            await asyncio.sleep(1.0)
            left = time.monotonic()
            await b.caller.hangup()
            stopped = await human.stopped_ringing(timeout=2.0)
            measure("caller hangs up to the human's phone being quiet", (stopped - left) * 1000)
        await b.leaves_nothing()
        assert await b.agent.metric("calls_total", outcome="caller_hangup") == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_who_leaves_ends_what_the_human_is_told(
    asterisk: Asterisk, service: StartService, way: Way
) -> None:
    async with bench(asterisk, service, passes_on_to("expert"), TELLS) as b:
        async with Phone("human", asterisk.sip_port) as human:
            await b.asks(way)
            await human.rings(timeout=20.0)
            await human.answer()
            await human.until_heard()
            await b.caller.hangup()
            await human.until_ended(timeout=2.0)
            assert not align(human.heard.pcm, prompt(BRIEFING), PROMPT_RATE_HZ).perfect
        await b.leaves_nothing()


# -- no agent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_full_a_draining_and_a_stopped_service_are_told_to_the_dialplan(
    asterisk: Asterisk, service: StartService, measure: Measure, way: Way
) -> None:
    async def turned_away(why: str) -> None:
        async with Caller(asterisk.sip_port) as caller:
            dialled = time.monotonic()
            await caller.dial(way[0])  # the fallback answers
            measure(f"dialled to the fallback's answer, {why}", (time.monotonic() - dialled) * 1e3)
            await caller.until_ended(timeout=10.0)
            assert await asterisk.went_on(caller.name) == why

    async with bench(asterisk, service, PLAIN, MAX_CALLS="1", DRAIN_TIMEOUT="30") as b:
        await b.caller.dial(way[0])
        await b.caller.until_heard()
        await turned_away("BUSY")
        b.agent.terminate()
        await eventually(b.draining, 5.0)
        await turned_away("DRAINING")
        await b.caller.hangup()
    await asterisk.send_agents_to(NOBODYS_PORT, NOBODYS_PORT)
    await turned_away("FAILED")

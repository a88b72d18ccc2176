"""The dialplan asks by FastAGI, on a real Asterisk: announced calls, and callers passed on."""

import asyncio
from typing import Final

from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator, ToolStep
from tests.pbx.asterisk import AGENT, RUNG, Asterisk
from tests.pbx.conftest import Measure, StartService
from tests.pbx.ear import align
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, prompt

QUESTION: Final = "info-about-last-call"
GREETING: Final = "hello-world"
ANNOUNCED: Final = "tt-weasels"
AFTERWARDS: Final = "vm-goodbye"
TARGETS: Final = "sales=2001 orders and prices; faults=2002 what does not work"
CONNECT_S: Final = 0.7
THINK_S: Final = 0.3


def speech(name: str) -> Pcm:
    return Pcm(prompt(name).tobytes(), PROMPT_RATE_HZ)


def passes_on_to(target: str) -> Behaviour:
    return Behaviour(
        greeting=speech(GREETING),
        reply=speech(AFTERWARDS),
        tools=(
            ToolStep(
                1,
                "transfer_call",
                {"target": target, "reason": "Asha asks for a price"},
                after=speech(ANNOUNCED),
            ),
        ),
    )


async def test_a_call_that_rings_is_greeted_when_it_is_answered(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    slow = Behaviour(
        greeting=speech(GREETING), connect_delay_seconds=CONNECT_S, think_seconds=THINK_S
    )
    async with Simulator(slow) as gemini, service(gemini):
        for extension in (RUNG, AGENT):
            async with Caller(asterisk.sip_port) as caller:
                await caller.dial(extension)
                assert caller.answered_at is not None
                greeted = await caller.until_heard() - caller.answered_at
                measure(
                    f"answer to greeting, {'rung' if extension == RUNG else 'at once'}",
                    greeted * 1000,
                )
                assert (greeted < CONNECT_S) is (extension == RUNG)
                await caller.until_quiet()
                assert align(caller.heard.pcm, prompt(GREETING), PROMPT_RATE_HZ).perfect


async def test_a_caller_is_passed_on_and_the_target_is_told_who_it_is(
    asterisk: Asterisk, service: StartService
) -> None:
    async with (
        Simulator(passes_on_to("sales")) as gemini,
        service(gemini, TRANSFER_TARGETS=TARGETS) as agent,
        Caller(asterisk.sip_port) as caller,
    ):
        await caller.dial(AGENT)
        await caller.until_heard()
        await caller.until_quiet()
        await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await caller.until_ended(timeout=60.0)
        assert align(caller.heard.pcm, prompt(ANNOUNCED), PROMPT_RATE_HZ).perfect  # to its end
        assert align(caller.heard.pcm, prompt("tt-monkeys"), PROMPT_RATE_HZ).found
        assert await asterisk.went_on(caller.name) == "OK"
        assert "Asha asks for a price" in await asterisk.rx("database show passed-on")
        assert await agent.metric("calls_total", outcome="transferred") == 1


async def test_a_caller_whom_nobody_answers_goes_on_with_the_agent(
    asterisk: Asterisk, service: StartService
) -> None:
    async with (
        Simulator(passes_on_to("faults")) as gemini,
        service(gemini, TRANSFER_TARGETS=TARGETS) as agent,
    ):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(AGENT)
            await caller.until_heard()
            await caller.until_quiet()
            await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard(timeout=20.0)  # it is announced
            await caller.until_quiet(2.0)  # 2002 is busy, and the agent has said so
            [session] = gemini.sessions  # the same conversation
            assert "busy" in str(session.contents[-1])
            assert align(caller.heard.pcm, prompt(AFTERWARDS), PROMPT_RATE_HZ).found
        async with asyncio.timeout(5.0):
            while await agent.metric("calls_active"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        assert await agent.metric("calls_total", outcome="caller_hangup") == 1


async def test_a_service_that_is_gone_or_full_is_told_to_the_dialplan(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(Behaviour()) as gemini, service(gemini, MAX_CALLS="1"):
        async with Caller(asterisk.sip_port) as first, Caller(asterisk.sip_port) as second:
            await first.dial(AGENT)
            await first.until_heard()
            await second.dial(AGENT)
            await second.until_ended(timeout=10.0)
            assert await asterisk.went_on(second.name) == "BUSY"
    await asterisk.send_agents_to(1, 1)
    async with Caller(asterisk.sip_port) as third:
        await third.dial(AGENT)
        await third.until_ended(timeout=10.0)
        assert await asterisk.went_on(third.name) == "FAILED"

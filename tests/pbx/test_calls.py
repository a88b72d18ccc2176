"""Calls from a phone, through Asterisk and the dialplan we ship, to our service and a simulated
Gemini, and back to the ear. What is asserted is what callers notice; how fast it was is printed."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pytest

from audiosocket_agent.lab.simulator import Behaviour, SessionRecord, Simulator, ToolStep
from audiosocket_agent.lab.simulator import Pcm as Recording
from tests.pbx.asterisk import PLAIN, ROBUST, WIDE, Asterisk
from tests.pbx.codec import Pcm
from tests.pbx.conftest import Measure, StartService
from tests.pbx.ear import align
from tests.pbx.rtp import Speech
from tests.pbx.service import Service
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, QUESTIONS, asset, prompt

QUESTION: Final = prompt("info-about-last-call")  # 2.0 s
GREETING: Final = prompt("hello-world")  # 1.3 s
SHORT_REPLY: Final = prompt("tt-weasels")  # 2.7 s

CLOSE_WAIT: Final = "08"
GONE: Final = {"06", "0A"}  # TIME_WAIT, where the one who closed first waits; LISTEN

Codec = Literal["ulaw", "l16"]


def recording(pcm: Pcm) -> Recording:
    return Recording(pcm.tobytes(), PROMPT_RATE_HZ)


BRIEF: Final = Behaviour(greeting=recording(GREETING), reply=recording(SHORT_REPLY))


async def greeted(caller: Caller) -> float:
    """Hear the greeting out; when it began."""
    began = await caller.until_heard()
    await caller.until_quiet()
    return began


def heard_by(session: SessionRecord) -> Pcm:
    return np.frombuffer(bytes(session.audio), np.int16)


def own_latency_ms(said: Speech, answered: float, session: SessionRecord, turn: int) -> float:
    """From the caller's last word to the reply at the ear, without the time the model took."""
    asked, replied = session.caller_turns[turn - 1], session.model_turns[turn]
    assert replied.first_chunk is not None
    return ((asked.last_speech - said.ends_at) + (answered - replied.first_chunk)) * 1000


def sockets(port: int) -> Counter[str]:
    """States of all TCP sockets with this port at either end, as /proc/net/tcp has them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [(line.split()[1:3], line.split()[3]) for line in lines]
    return Counter(state for pair, state in ends if any(int(end[-4:], 16) == port for end in pair))


async def until_free(service: Service, asterisk: Asterisk, timeout: float) -> None:
    """Wait until nothing is left of any call, here and in Asterisk."""
    async with asyncio.timeout(timeout):
        while (
            sockets(service.port).keys() - GONE
            or await service.metric("calls_active")
            or await asterisk.channels()
        ):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("extension", "codec", "rate"), [(PLAIN, "ulaw", 8_000), (WIDE, "l16", 16_000)]
)
async def test_a_ten_second_reply_is_heard_whole(
    asterisk: Asterisk,
    service: StartService,
    measure: Measure,
    extension: str,
    codec: Codec,
    rate: int,
) -> None:
    async with (
        Simulator(Behaviour(greeting=recording(GREETING))) as gemini,
        service(gemini) as agent,
    ):
        async with Caller(asterisk.sip_port, codec) as caller:
            await caller.dial(extension)
            assert caller.answered_at is not None
            measure(f"greeting, {rate} Hz", (await greeted(caller) - caller.answered_at) * 1000)
            said = caller.say(QUESTION, PROMPT_RATE_HZ)
            answered = await caller.until_heard()
            await caller.until_quiet()
            await caller.hangup()
        await until_free(agent, asterisk, timeout=2)
        [ended] = agent.events("call ended")
        frames = await agent.metric("frames_sent_total")

    [session] = gemini.sessions
    assert session.audio_rate_hz == rate
    assert align(heard_by(session), QUESTION if rate == 8_000 else wide(QUESTION), rate).perfect
    measure(f"reply, our share, {rate} Hz", own_latency_ms(said, answered, session, 1))

    heard, reply = caller.heard, asset("simulator-reply", rate)
    verdict = align(heard.pcm, reply, rate)
    assert verdict.perfect, verdict
    for interval in heard.intervals_ms(verdict.start_s, verdict.start_s + len(reply) / rate):
        measure(f"spacing of packets, {rate} Hz", interval)

    # One frame every 20 ms from accept to hangup, silence included.
    assert frames == pytest.approx(ended["duration_s"] / 0.02, abs=1.5)


def wide(pcm: Pcm) -> Pcm:
    from tests.pbx.codec import resample

    return resample(pcm, PROMPT_RATE_HZ, 16_000)


async def test_keys_are_counted_and_not_heard_by_the_model(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(BRIEF) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            for digit in "42#":
                caller.dtmf(digit)
            await asyncio.sleep(1.5)  # the digits, and the time the model would answer in
            await caller.hangup()
        await until_free(agent, asterisk, timeout=2)
        assert await agent.metric("frames_received_total", kind="dtmf") == 3
    [session] = gemini.sessions
    assert session.speech_ms == 0
    assert session.caller_turns == []


async def test_when_the_caller_hangs_up_everything_is_freed(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    async with Simulator(BRIEF) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await caller.until_heard()
            await caller.hangup()
            hung_up = time.monotonic()
            await until_free(agent, asterisk, timeout=1)
            measure("caller's hangup to all freed", (time.monotonic() - hung_up) * 1000)
        assert CLOSE_WAIT not in sockets(agent.port)
        assert CLOSE_WAIT not in sockets(gemini.port)
        assert await agent.metric("calls_total", outcome="caller_hangup") == 1
        [session] = gemini.sessions
        assert session.closed is not None


@pytest.mark.parametrize(
    ("extension", "returned"), [(PLAIN, ""), (ROBUST, "SUCCESS"), (WIDE, "ANSWER")]
)
async def test_when_the_agent_hangs_up_its_goodbye_is_heard_and_the_dialplan_goes_on(
    asterisk: Asterisk, service: StartService, extension: str, returned: str
) -> None:
    goodbye = asset("simulator-goodbye", PROMPT_RATE_HZ)
    behaviour = Behaviour(
        greeting=recording(GREETING),
        tools=(ToolStep(1, "end_call", after=recording(goodbye)),),
    )
    async with Simulator(behaviour) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(extension)
            await greeted(caller)
            caller.say(QUESTION, PROMPT_RATE_HZ)
            await caller.until_ended(15)
        assert await agent.metric("calls_total", outcome="agent_hangup") == 1
    assert caller.ended_by == "asterisk"
    assert await asterisk.went_on(caller.name) == returned
    assert align(caller.heard.pcm, goodbye, PROMPT_RATE_HZ).perfect


async def test_a_caller_who_speaks_up_is_let_speak(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    async with (
        Simulator(Behaviour(greeting=recording(GREETING))) as gemini,
        service(gemini) as agent,
    ):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            caller.say(QUESTION, PROMPT_RATE_HZ)
            await caller.until_heard()
            await asyncio.sleep(2)  # into the reply of ten seconds
            said = await caller.say_all(QUESTION, PROMPT_RATE_HZ)
            first = caller.heard
            last_sound = await caller.until_quiet(0.2)
            await caller.until_heard()  # the reply to what was said now
            await caller.hangup()
        assert await agent.metric("barge_ins_total") == 1
    measure("barge-in: onset to silence at the ear", (last_sound - said.starts_at) * 1000)
    assert last_sound < said.ends_at
    verdict = align(first.pcm, asset("simulator-reply", 8_000), 8_000)
    assert verdict.cut_at_s == pytest.approx(2, abs=1)
    assert not verdict.faults
    [session] = gemini.sessions
    assert len(session.caller_turns) == 2


async def test_a_cough_makes_a_pause_and_no_more(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    cough = QUESTION[: PROMPT_RATE_HZ // 5]  # 200 ms of speech
    behaviour = Behaviour(greeting=recording(GREETING))
    # The model itself must not take it for speech, so it needs 300 ms.
    async with (
        Simulator(behaviour) as gemini,
        service(gemini, GEMINI_PREFIX_PADDING="0.3") as agent,
    ):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            caller.say(QUESTION, PROMPT_RATE_HZ)
            await caller.until_heard()
            await asyncio.sleep(2)
            caller.say(cough, PROMPT_RATE_HZ)
            await caller.until_quiet(0.8)
            await caller.hangup()
        assert await agent.metric("barge_ins_total", result="resumed") == 1
    verdict = align(caller.heard.pcm, asset("simulator-reply", 8_000), 8_000)
    assert verdict.cut_at_s is None
    assert (verdict.gaps, verdict.skips) == (1, 0), verdict
    measure("cough: pause in the reply", verdict.faults[0].ms)
    [session] = gemini.sessions
    assert len(session.caller_turns) == 1


async def test_twenty_talk_at_once_and_nobody_hears_or_is_heard_by_another(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    async with Simulator(BRIEF) as gemini, service(gemini) as agent, asyncio.TaskGroup() as tasks:
        callers = [Caller(asterisk.sip_port) for _ in range(21)]
        calls = []
        for i, caller in enumerate(callers):
            question = prompt(QUESTIONS[i % len(QUESTIONS)]) if i else None
            calls.append(tasks.create_task(converse(caller, question)))
            async with asyncio.timeout(5):
                while gemini.session_count <= i:  # so that sessions are in the order of callers
                    await asyncio.sleep(0.01)
        replies = await asyncio.gather(*calls)
        await until_free(agent, asterisk, timeout=3)
        assert (
            await agent.metric("calls_total")
            == await agent.metric("calls_total", outcome="caller_hangup")
            == 21
        )

    for i, (caller, reply, session) in enumerate(
        zip(callers, replies, gemini.sessions, strict=True)
    ):
        assert align(caller.heard.pcm, GREETING, 8_000).perfect
        if i == 0:
            assert session.speech_ms == 0
            continue
        assert align(heard_by(session), prompt(QUESTIONS[i % len(QUESTIONS)]), 8_000).perfect
        assert align(caller.heard.pcm, SHORT_REPLY, 8_000).perfect
        assert reply is not None
        measure("reply, our share, 20 calls", own_latency_ms(*reply, session, 1))


async def converse(caller: Caller, question: Pcm | None) -> tuple[Speech, float] | None:
    """A call of a greeting, a question, its reply; without a question one that stays silent."""
    async with caller:
        await caller.dial(PLAIN)
        await greeted(caller)
        if question is None:
            await asyncio.sleep(8)
            return None
        said = caller.say(question, PROMPT_RATE_HZ)
        answered = await caller.until_heard(10)
        await caller.until_quiet()
        return said, answered


async def test_the_robust_form_outlives_the_service(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(BRIEF) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(ROBUST)
            await caller.until_heard()
            agent.kill()
            await caller.until_ended(5)
    assert caller.ended_by == "asterisk"
    # Which of the two depends on whether Asterisk had sent more by then (FIN or RST).
    assert await asterisk.went_on(caller.name) in ("SUCCESS", "FAILED")

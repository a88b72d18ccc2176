"""Calls from a phone, through Asterisk and the dialplan we ship, to our service and a simulated
Gemini, and back to the ear. What is asserted is what callers notice; how fast it was is printed."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pytest

from audiosocket_agent.lab.simulator import Behaviour, SessionRecord, Simulator, ToolStep
from audiosocket_agent.lab.simulator import Pcm as Recording
from tests.pbx.asterisk import PLAIN, ROBUST, WIDE, Asterisk
from tests.pbx.codec import PACKET_S, Pcm, resample
from tests.pbx.conftest import Measure, StartService
from tests.pbx.ear import Verdict, align
from tests.pbx.rtp import Heard, Speech
from tests.pbx.service import Service
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, QUESTIONS, asset, prompt

QUESTION: Final = "info-about-last-call"  # 2.0 s
GREETING: Final = "hello-world"  # 1.3 s
SHORT_REPLY: Final = "tt-weasels"  # 2.7 s

MODEL_GREETS_S: Final = Behaviour().connect_delay_seconds + Behaviour().think_seconds
VOWEL_S: Final = 1.86  # into simulator-reply; half a second without any pause begins here

CLOSE_WAIT: Final = "08"
GONE: Final = {"06", "0A"}  # TIME_WAIT, where the one who closed first waits; LISTEN

Codec = Literal["ulaw", "l16"]


def recording(pcm: Pcm) -> Recording:
    return Recording(pcm.tobytes(), PROMPT_RATE_HZ)


def behaviour(*, brief: bool = False, tools: tuple[ToolStep, ...] = ()) -> Behaviour:
    """A model that greets briefly, and answers briefly or for ten seconds."""
    greeting = recording(prompt(GREETING))
    if brief:
        return Behaviour(greeting=greeting, reply=recording(prompt(SHORT_REPLY)), tools=tools)
    return Behaviour(greeting=greeting, tools=tools)


async def greeted(caller: Caller) -> float:
    """Hear the greeting out; when it began."""
    began = await caller.until_heard()
    await caller.until_quiet()
    return began


def heard_by(session: SessionRecord) -> Pcm:
    return np.frombuffer(bytes(session.audio), np.int16)


def own_latency_ms(said: Speech, heard: Heard, reply: Verdict, session: SessionRecord) -> float:
    """From the caller's last word to the first reply's first packet, less what the model took."""
    asked, replied = session.caller_turns[0], session.model_turns[1]
    assert replied.first_chunk is not None
    answered = heard.time_of(reply.start_s)
    return ((asked.last_speech - said.ends_at) + (answered - replied.first_chunk)) * 1000


def sockets(port: int) -> Counter[str]:
    """States of all TCP sockets with this port at either end, as /proc/net/tcp has them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [(line.split()[1:3], line.split()[3]) for line in lines]
    return Counter(state for pair, state in ends if any(int(end[-4:], 16) == port for end in pair))


async def eventually(condition: Callable[[], Awaitable[bool]], timeout: float) -> None:
    """Wait for what other processes do."""
    async with asyncio.timeout(timeout):
        while not await condition():  # noqa: ASYNC110 - they set no event of ours
            await asyncio.sleep(0.02)


async def until_free(service: Service, asterisk: Asterisk, timeout: float) -> None:
    """Wait until nothing is left of any call, here and in Asterisk."""

    async def free() -> bool:
        lingering = sockets(service.port).keys() - GONE
        return not lingering and not (
            await service.metric("calls_active") or await asterisk.channels()
        )

    await eventually(free, timeout)


async def until(moment: float) -> None:
    """Wait for a monotonic time."""
    await asyncio.sleep(moment - time.monotonic())


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
        Simulator(behaviour()) as gemini,
        service(gemini) as agent,
    ):
        async with Caller(asterisk.sip_port, codec) as caller:
            await caller.dial(extension)
            greeting_at = await greeted(caller)
            said = caller.say(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard()
            await caller.until_quiet()
            await caller.hangup()
        await until_free(agent, asterisk, timeout=2)
        [ended] = agent.events("call ended")
        frames = await agent.metric("frames_sent_total")

    [session] = gemini.sessions
    assert session.audio_rate_hz == rate
    assert align(heard_by(session), resample(prompt(QUESTION), PROMPT_RATE_HZ, rate), rate).perfect

    heard, reply = caller.heard, asset("simulator-reply", rate)
    verdict = align(heard.pcm, reply, rate)
    assert verdict.perfect, verdict
    for interval in heard.intervals_ms(verdict.start_s, verdict.start_s + len(reply) / rate):
        measure(f"spacing of packets, {rate} Hz", interval)
    assert caller.answered_at is not None
    greeting_s = greeting_at - caller.answered_at - MODEL_GREETS_S
    measure(f"greeting, our share, {rate} Hz", greeting_s * 1000)
    measure(f"reply, our share, {rate} Hz", own_latency_ms(said, heard, verdict, session))

    # One frame every 20 ms from accept to hangup, silence included; but for what was due in the 90 ms
    # that a machine may stand still as the call ends.
    assert -1.5 <= ended["duration_s"] / 0.02 - frames <= 6


async def test_keys_are_not_heard_by_the_model_but_told_to_it(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(behaviour(brief=True)) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            for digit in "42#":
                caller.dtmf(digit)
            await caller.until_heard(10.0)  # it answers the keys
            await caller.hangup()
        await until_free(agent, asterisk, timeout=2)
        assert await agent.metric("frames_received_total", kind="dtmf") == 3
    [session] = gemini.sessions
    assert session.speech_ms == 0
    assert session.caller_turns == []
    assert "4 2 #" in str(session.contents[-1])


async def test_when_the_caller_hangs_up_everything_is_freed(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    async with Simulator(behaviour(brief=True)) as gemini, service(gemini) as agent:
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
    tools = (ToolStep(1, "end_call", after=recording(goodbye)),)
    async with Simulator(behaviour(tools=tools)) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(extension)
            await greeted(caller)
            caller.say(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_ended(15)
        assert await agent.metric("calls_total", outcome="agent_hangup") == 1
    assert caller.ended_by == "asterisk"
    assert await asterisk.went_on(caller.name) == returned
    assert align(caller.heard.pcm, goodbye, PROMPT_RATE_HZ).perfect


async def test_a_caller_who_speaks_up_is_let_speak(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    stops, replies = [], []
    async with Simulator(behaviour()) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            caller.say(prompt(QUESTION), PROMPT_RATE_HZ)
            for _ in range(2):
                reply_at = await caller.until_heard()
                await until(reply_at + VOWEL_S)
                said = await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
                stops.append((said, await caller.until_quiet(0.2)))
                replies.append(caller.heard)
            await caller.until_heard()  # the third reply
            await caller.hangup()
        assert await agent.metric("barge_ins_total") == 2
    for said, last_sound in stops:
        assert said.starts_at < last_sound < said.ends_at
        # A packet is spoken before it leaves and plays after it came.
        stop_s = last_sound - said.starts_at + 2 * PACKET_S
        measure("barge-in: onset in the mouth to silence at the ear", stop_s * 1000)
    first = align(replies[0].pcm, asset("simulator-reply", 8_000), 8_000)
    assert first.cut_at_s == pytest.approx(VOWEL_S, abs=0.5)
    assert not first.faults
    [session] = gemini.sessions
    assert len(session.caller_turns) == 3


async def test_a_cough_makes_a_pause_and_no_more(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    cough = prompt(QUESTION)[: PROMPT_RATE_HZ // 5]  # 200 ms of speech
    # The model itself must not take it for speech, so it needs 300 ms.
    async with (
        Simulator(behaviour()) as gemini,
        service(gemini, GEMINI_PREFIX_PADDING="0.3") as agent,
    ):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            caller.say(prompt(QUESTION), PROMPT_RATE_HZ)
            await until(await caller.until_heard() + VOWEL_S)
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
    # Whole replies at once: the simulator shares a process with 21 phones, and where it is late with
    # the second chunk of a reply, the gap that is heard is its own.
    async with (
        Simulator(replace(behaviour(brief=True), speed=0)) as gemini,
        service(gemini) as agent,
        asyncio.TaskGroup() as tasks,
    ):
        callers = [Caller(asterisk.sip_port) for _ in range(21)]
        calls: list[asyncio.Task[Speech | None]] = []

        async def arrived() -> bool:  # so that sessions are in the order of callers
            return gemini.session_count == len(calls)

        for i, caller in enumerate(callers):
            question = prompt(QUESTIONS[i % len(QUESTIONS)]) if i else None
            calls.append(tasks.create_task(converse(caller, question)))
            await eventually(arrived, 5)
        speeches = await asyncio.gather(*calls)
        await until_free(agent, asterisk, timeout=3)
        assert (
            await agent.metric("calls_total")
            == await agent.metric("calls_total", outcome="caller_hangup")
            == 21
        )

    for i, (caller, speech, session) in enumerate(
        zip(callers, speeches, gemini.sessions, strict=True)
    ):
        measure("bench: a phone's clock late at worst, 20 calls", caller.latest_s * 1000)
        assert align(caller.heard.pcm, prompt(GREETING), 8_000).perfect
        if i == 0:
            assert session.speech_ms == 0
            continue
        assert len(session.caller_turns) == 1
        assert align(heard_by(session), prompt(QUESTIONS[i % len(QUESTIONS)]), 8_000).perfect
        reply = align(caller.heard.pcm, prompt(SHORT_REPLY), 8_000)
        assert reply.perfect, reply
        assert speech is not None
        latency = own_latency_ms(speech, caller.heard, reply, session)
        measure("reply, our share, 20 calls", latency)


async def converse(caller: Caller, question: Pcm | None) -> Speech | None:
    """A call of a greeting, a question, its reply; without a question one that stays silent."""
    async with caller:
        await caller.dial(PLAIN)
        await greeted(caller)
        if question is None:
            await asyncio.sleep(8)  # while the others talk
            return None
        said = caller.say(question, PROMPT_RATE_HZ)
        await caller.until_heard(10)
        await caller.until_quiet()
        return said


async def test_a_muted_caller_is_kept_and_then_heard(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(behaviour(brief=True)) as gemini, service(gemini):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(PLAIN)
            await greeted(caller)
            caller.mute()
            await asyncio.sleep(3)  # AudioSocket() gives up a leg after 2 s without a frame
            caller.mute(False)
            caller.say(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard()
            await caller.until_quiet()
            await caller.hangup()
    assert caller.ended_by == "caller"
    assert align(caller.heard.pcm, prompt(SHORT_REPLY), 8_000).perfect
    [session] = gemini.sessions
    assert session.audio_stream_ends == 1


async def test_the_robust_form_outlives_the_service(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(behaviour(brief=True)) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(ROBUST)
            await caller.until_heard()
            agent.kill()
            await caller.until_ended(5)
    assert caller.ended_by == "asterisk"
    # Which of the two depends on whether Asterisk had sent more by then (FIN or RST).
    assert await asterisk.went_on(caller.name) in ("SUCCESS", "FAILED")

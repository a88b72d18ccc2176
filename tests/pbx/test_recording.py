"""Our recording of a call beside what the phone knows of it, and beside Asterisk's own, MixMonitor,
which has each side in a file."""

import asyncio
import tempfile
import wave
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pytest

from audiosocket_agent.lab.simulator import Behaviour, Simulator, ToolStep
from audiosocket_agent.lab.simulator import Pcm as Recording
from tests.pbx.asterisk import TAPED_AGENT, TAPED_PLAIN, TAPED_WIDE, Asterisk
from tests.pbx.codec import Pcm, resample
from tests.pbx.conftest import Measure, StartService
from tests.pbx.ear import align, spans
from tests.pbx.rtp import Speech
from tests.pbx.service import Service
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, QUESTIONS, asset, prompt
from tests.pbx.test_calls import VOWEL_S, eventually, greeted, until, until_free
from tests.profiles import TAPED

SECRET: Final = "90917353"
SAME_S: Final = 0.0205
"""How far the sides may be from where a witness has them, against each other. From the phone's they are
1 to 17 ms. MixMonitor pairs the frames of both as they lie when it begins, and skips where a machine is
busy: by the phone it is up to 32 ms off, and two of one call differ by a frame. So there are two, and
more calls than one until one of them agrees; the phone has to in every call."""
STILL_S: Final = 0.010
"""A phone's own clock is 3 ms late at the most, unless the machine stands still; then RTP's times go
wrong by more than a frame, and a call that is not as it should be proves nothing."""
CALLS: Final = 6  # of 17 s
ALIKE: Final = 0.95
"""Correlation of one sound, by way of mu-law and of resamplers."""

SUFFIX: Final = {8_000: "wav", 16_000: "wav16"}

Codec = Literal["ulaw", "l16"]


class Sides(NamedTuple):
    """A recording, its two sides at one rate."""

    caller: Pcm
    agent: Pcm
    rate_hz: int


def speech(name: str) -> Recording:
    return Recording(prompt(name).tobytes(), PROMPT_RATE_HZ)


MODEL: Final = Behaviour(greeting=speech("hello-world"))  # its reply takes ten seconds


@asynccontextmanager
async def taping(
    service: StartService, model: Behaviour, directory: str
) -> AsyncIterator[tuple[Simulator, Service]]:
    async with (
        Simulator(model) as gemini,
        service(gemini, **TAPED, STATE_DIRECTORY=directory) as agent,
    ):
        yield gemini, agent


@pytest.fixture
def state() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        yield directory


def complete(state: str) -> list[Path]:
    """Files of calls that are over."""
    return list(Path(state, "recordings").glob("2*/*/*/*.wav"))


async def ours(state: str) -> Sides:
    """Our file of the only call, once it is complete."""

    async def there() -> bool:
        return bool(complete(state))

    await eventually(there, 5.0)
    [path] = complete(state)
    assert path.stat().st_mode & 0o777 == 0o600
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return Sides(both[:, 0], both[:, 1], file.getframerate())


async def tape_again(asterisk: Asterisk, caller: Caller, rate_hz: int) -> str:
    """A second MixMonitor on a caller's channel, from now on; the name of its files."""
    lines = (await asterisk.rx("core show channels concise")).splitlines()
    [channel] = [line.split("!")[0] for line in lines if line.startswith("PJSIP/caller")]
    name, suffix = f"{caller.name}-again", SUFFIX[rate_hz]
    files = f"{name}.{suffix},r({name}-said.{suffix})t({name}-heard.{suffix})"
    await asterisk.rx(f"mixmonitor start {channel} {files}")
    return name


def asterisks(asterisk: Asterisk, name: str, rate_hz: int) -> Sides:
    """What a MixMonitor has of a call."""
    sides = []
    for side in ("said", "heard"):
        path = asterisk.home / "monitor" / f"{name}-{side}.{SUFFIX[rate_hz]}"
        with wave.open(str(path), "rb") as file:
            assert (file.getnchannels(), file.getframerate()) == (1, rate_hz)
            sides.append(np.frombuffer(file.readframes(file.getnframes()), "<i2"))
    return Sides(sides[0], sides[1], rate_hz)


def phones(caller: Caller, said: Sequence[tuple[Speech, str]], rate_hz: int) -> Sides:
    """What the phone said, by the clock it spoke by, and what it heard. Machines that stand still for a
    moment do not change where the first is."""
    heard = caller.heard
    began = min(heard.packets[0].at, said[0][0].starts_at)
    agent = resample(heard.pcm, heard.rate_hz, rate_hz)
    agent = np.pad(agent, (round((heard.packets[0].at - began) * rate_hz), 0))
    spoken = np.zeros(round((said[-1][0].ends_at - began + 1) * rate_hz), np.int16)
    for speech, name in said:
        sound = resample(prompt(name), PROMPT_RATE_HZ, rate_hz)
        at = round((speech.starts_at - began) * rate_hz)
        spoken[at : at + len(sound)] = sound
    return Sides(spoken, agent, rate_hz)


def at_rate(sides: Sides, rate_hz: int) -> Sides:
    one, other = (resample(side, sides.rate_hz, rate_hz) for side in (sides.caller, sides.agent))
    return Sides(one, other, rate_hz)


def from_the_beginning(late: Sides, whole: Sides) -> Sides:
    """A recording that began later than another, and ended with it, beside that one."""
    missing = max(0, len(whole.caller) - len(late.caller))
    caller, agent = (np.pad(side, (missing, 0)) for side in (late.caller, late.agent))
    return Sides(caller, agent, late.rate_hz)


def compared(witness: Sides, tape: Sides) -> tuple[float, float]:
    """By how many seconds the sides of a tape are off, against each other; and how alike its sounds are
    at the least, but for the last, which the hangup ends."""
    said = list(delays(witness.caller, tape.caller, tape.rate_hz))
    heard = list(delays(witness.agent, tape.agent, tape.rate_hz))
    assert len(said) == 3
    assert len(heard) >= 3  # two that were cut off, one that the hangup ended
    at = [delay for delay, _ in said + heard]
    return max(at) - min(at), min(alike for _, alike in said + heard[:-1])


def delays(side: Pcm, other: Pcm, rate_hz: int) -> Iterator[tuple[float, float]]:
    """Of every stretch of sound of `side`: how much later `other` has it, in seconds, and how alike
    the two are there."""
    reach = rate_hz  # 1 s before and after
    padded = np.pad(other.astype(np.float64), (reach, reach + len(side)))
    for span in spans(side, rate_hz):
        start, end = round(span.start_s * rate_hz), round(span.end_s * rate_hz)
        sound = side[start:end].astype(np.float64)
        there = padded[start : end + 2 * reach]
        size = 1 << (len(there) + len(sound)).bit_length()
        product = np.fft.irfft(np.fft.rfft(there, size) * np.conj(np.fft.rfft(sound, size)), size)[
            : 2 * reach + 1
        ]
        at = int(product.argmax())
        found = there[at : at + len(sound)]
        energy = np.sqrt(np.square(sound).sum() * np.square(found).sum()) + 1.0
        yield (at - reach) / rate_hz, float(product[at] / energy)


class Taped(NamedTuple):
    """A call, and who has what of it."""

    caller: Caller
    barge_ins: float
    ours: Sides
    phones: Sides
    asterisks: tuple[Sides, Sides]


async def interrupted(
    asterisk: Asterisk, service: StartService, extension: str, codec: Codec, rate_hz: int
) -> Taped:
    """A call of three questions, two of them while the agent speaks."""
    with tempfile.TemporaryDirectory(prefix="agent-") as state:
        async with taping(service, MODEL, state) as (_, agent):
            async with Caller(asterisk.sip_port, codec) as caller:
                await caller.dial(extension)
                await greeted(caller)
                again = await tape_again(asterisk, caller, rate_hz)
                said = [(caller.say(prompt(QUESTIONS[0]), PROMPT_RATE_HZ), QUESTIONS[0])]
                for question in QUESTIONS[1:]:
                    await until(await caller.until_heard() + VOWEL_S)
                    speech = await caller.say_all(prompt(question), PROMPT_RATE_HZ)
                    said.append((speech, question))
                    await caller.until_quiet(0.2)
                await caller.until_heard()
                await asyncio.sleep(1.0)
                await caller.hangup()
            barge_ins = await agent.metric("barge_ins_total", result="confirmed")
            await until_free(agent, asterisk, timeout=2)
            tape = at_rate(await ours(state), rate_hz)
            assert await agent.metric("recording_lost_seconds_total") == 0
    first = asterisks(asterisk, caller.name, rate_hz)
    second = from_the_beginning(asterisks(asterisk, again, rate_hz), first)
    return Taped(caller, barge_ins, tape, phones(caller, said, rate_hz), (first, second))


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("extension", "codec", "rate_hz"),
    [
        pytest.param(TAPED_PLAIN, "ulaw", 8_000, id="plain"),
        pytest.param(TAPED_WIDE, "l16", 16_000, id="wide"),
        pytest.param(TAPED_AGENT, "ulaw", 8_000, id="agent"),  # 24 kHz to the caller
    ],
)
async def test_a_call_with_interruptions_is_on_our_tape_as_on_asterisks(
    asterisk: Asterisk,
    service: StartService,
    measure: Measure,
    extension: str,
    codec: Codec,
    rate_hz: int,
) -> None:
    off = []
    for _ in range(CALLS):
        call = await interrupted(asterisk, service, extension, codec, rate_hz)
        try:
            by_phone = judged(call)
        except AssertionError:
            if call.caller.latest_s > STILL_S:
                continue
            raise
        by_mixmonitor = [compared(theirs, call.ours) for theirs in call.asterisks]
        measure(f"sides of our tape, from the phone's, {extension}", by_phone * 1000)
        for number, (apart, _) in enumerate(by_mixmonitor, 1):
            measure(f"sides of our tape, from MixMonitor {number}'s, {extension}", apart * 1000)
        if any(apart <= SAME_S and alike > ALIKE for apart, alike in by_mixmonitor):
            return
        off.append(by_mixmonitor)
    pytest.fail(f"in {CALLS} calls the machine stood still, or else MixMonitor was off: {off}")


def judged(call: Taped) -> float:
    """By how many seconds the sides are off, against each other, by the phone's."""
    assert call.barge_ins == 2
    apart, alike = compared(call.phones, call.ours)
    assert apart <= SAME_S
    assert alike > ALIKE

    # What was cut off is not there: our tape has of the first reply what the ear had of it.
    rate_hz, heard = call.ours.rate_hz, call.caller.heard
    assert heard.rate_hz == rate_hz
    reply = asset("simulator-reply", rate_hz)
    ear, taped = align(heard.pcm, reply, rate_hz), align(call.ours.agent, reply, rate_hz)
    assert ear.cut_at_s == pytest.approx(VOWEL_S, abs=0.5)
    assert taped.cut_at_s == pytest.approx(ear.cut_at_s, abs=0.1)
    assert not taped.faults
    return apart


async def test_a_secret_is_silence_on_our_tape(
    asterisk: Asterisk, service: StartService, state: str
) -> None:
    asked, taken = "tt-weasels", "vm-goodbye"
    wants = ToolStep(
        1,
        "collect_digits",
        {"max": len(SECRET), "secret": True},
        before=speech(asked),
        after=speech(taken),
    )
    asks = replace(MODEL, tools=(wants,), speed=0)
    async with taping(service, asks, state) as (gemini, _):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(TAPED_PLAIN)
            await greeted(caller)
            before = caller.say(prompt(QUESTIONS[0]), PROMPT_RATE_HZ)
            await caller.until_heard()  # "Please enter ..."
            await caller.until_quiet()
            aloud = await caller.say_all(prompt(QUESTIONS[1]), PROMPT_RATE_HZ)  # and then typed
            for key in SECRET:
                caller.dtmf(key)
            [session] = gemini.sessions

            async def collected() -> bool:
                return bool(session.tool_responses)

            await eventually(collected, 10.0)
            await caller.until_heard()
            await caller.until_quiet()
            after = await caller.say_all(prompt(QUESTIONS[2]), PROMPT_RATE_HZ)
            await caller.hangup()
        tape = await ours(state)
    theirs = asterisks(asterisk, caller.name, PROMPT_RATE_HZ)
    assert len(spans(theirs.caller, PROMPT_RATE_HZ)) == 3  # on Asterisk's it is sound
    assert len(spans(tape.caller, PROMPT_RATE_HZ)) == 2
    said = list(zip((before, aloud, after), QUESTIONS, strict=True))
    spoken = phones(caller, said, PROMPT_RATE_HZ).caller
    [(at, _), (_, alike), (still_at, _)] = delays(spoken, tape.caller, PROMPT_RATE_HZ)
    assert alike < 0.2
    assert still_at == pytest.approx(at, abs=SAME_S)
    _, secret, _ = spans(spoken, PROMPT_RATE_HZ)
    hidden = tape.caller[
        round((secret.start_s + at) * PROMPT_RATE_HZ) : round((secret.end_s + at) * PROMPT_RATE_HZ)
    ]
    assert len(hidden) > PROMPT_RATE_HZ
    assert not hidden.any()
    for name in ("hello-world", asked, taken):  # all the agent said, from end to end
        reply = prompt(name)
        verdict = align(tape.agent, reply, PROMPT_RATE_HZ)
        assert verdict.found
        assert verdict.skips == verdict.repeats == 0
        # A machine that stands still makes gaps, and one near the end is not told from an end.
        assert verdict.cut_at_s is None or verdict.cut_at_s > len(reply) / PROMPT_RATE_HZ - 0.2

"""The bench against itself: what it says of our service it must first be able to say of an agent
that is known to be right, or known to be wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pytest

from audiosocket_agent import wire
from tests.pbx.asterisk import ECHO, PLAIN, ROBUST, WIDE, Asterisk, free_port
from tests.pbx.codec import PACKET_S, Pcm, resample
from tests.pbx.conftest import Measure
from tests.pbx.ear import align, spans
from tests.pbx.sip import Caller, CallRefusedError
from tests.pbx.speech import PROMPT_RATE_HZ, asset, prompt


@dataclass
class Stub:
    """An agent that says one thing, at a perfect pace, and then ends the call."""

    says: list[bytes]
    """Messages, one every 20 ms."""
    heard: list[wire.Message] = field(default_factory=list)

    def audio(self) -> dict[int, Pcm]:
        """What callers said, by kind of message."""
        sound: dict[int, bytearray] = {}
        for message in self.heard:
            if isinstance(message, wire.Audio):
                sound.setdefault(message.kind, bytearray()).extend(message.payload)
        return {kind: np.frombuffer(pcm, np.int16) for kind, pcm in sound.items()}

    def digits(self) -> str:
        """What callers pressed."""
        return "".join(m.digit for m in self.heard if isinstance(m, wire.Digit))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(self._speak(writer))
            await self._listen(reader)  # to the end: Asterisk closes, whoever hung up
            speaking.cancel()
        writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        decoder = wire.Decoder()
        while data := await reader.read(4096):
            self.heard += decoder.feed(data)

    async def _speak(self, writer: asyncio.StreamWriter) -> None:
        start = time.monotonic()
        for i, message in enumerate(self.says):
            await asyncio.sleep(start + i * PACKET_S - time.monotonic())
            writer.write(message)
        await asyncio.sleep(0.2)  # what a phone may still hold
        writer.write(wire.HANGUP)
        await writer.drain()


@asynccontextmanager
async def agent_saying(asterisk: Asterisk, pcm: Pcm, rate_hz: int) -> AsyncIterator[Stub]:
    """Stub agents, one per call, at the address the dialplan uses."""
    size = rate_hz // 50
    lead = np.zeros(10 * size, np.int16)  # Dial() drops what arrives before its bridge is up
    frames = np.concatenate((lead, pcm[: len(pcm) // size * size])).reshape(-1, size)
    stub = Stub([wire.audio(wire.KIND_OF_RATE[rate_hz], frame.tobytes()) for frame in frames])
    async with asyncio.TaskGroup() as calls:
        server = await asyncio.start_server(
            lambda reader, writer: calls.create_task(stub.serve(reader, writer)), "127.0.0.1", 0
        )
        async with server:
            await asterisk.send_agents_to(server.sockets[0].getsockname()[1])
            yield stub


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * 8_000), np.int16)


class Route(NamedTuple):
    extension: str
    codec: Literal["ulaw", "l16"]
    sent_hz: int
    seconds: int


ROUTES = [
    Route(PLAIN, "ulaw", 8_000, seconds=9),
    Route(PLAIN, "ulaw", 24_000, seconds=3),
    Route(PLAIN, "l16", 24_000, seconds=3),
    Route(WIDE, "l16", 16_000, seconds=9),
    Route(WIDE, "ulaw", 16_000, seconds=3),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.extension}-{r.codec}-{r.sent_hz}")
async def test_a_reply_at_a_perfect_pace_is_heard_whole(
    asterisk: Asterisk, measure: Measure, route: Route
) -> None:
    said = asset("simulator-reply", route.sent_hz)[: route.seconds * route.sent_hz]
    async with (
        agent_saying(asterisk, said, route.sent_hz),
        Caller(asterisk.sip_port, route.codec) as caller,
    ):
        await caller.dial(route.extension)
        await caller.until_ended(route.seconds + 3)
    heard = caller.heard
    verdict = align(heard.pcm, resample(said, route.sent_hz, heard.rate_hz), heard.rate_hz)
    assert verdict.perfect, verdict
    end = verdict.start_s + route.seconds
    assert all(at > end for at in heard.overlaps_s)
    for interval in heard.intervals_ms(verdict.start_s, end):
        measure(f"bench: spacing, {route.codec} by {route.extension}", interval)


async def test_a_16_khz_caller_hears_and_is_heard_above_4_khz(asterisk: Asterisk) -> None:
    rate = 16_000
    tone = (5_000 * np.sin(2 * np.pi * 6_000 * np.arange(rate) / rate)).astype(np.int16)
    async with (
        agent_saying(asterisk, tone, rate) as agent,
        Caller(asterisk.sip_port, "l16") as caller,
    ):
        await caller.dial(WIDE)
        caller.say(tone, rate)
        await caller.until_ended(5)
    for sound in (caller.heard.pcm, agent.audio()[wire.Kind.SLIN16]):
        middle = sound[rate // 2 :][: rate // 4]
        loudest = np.abs(np.fft.rfft(middle)).argmax() * 4
        assert loudest == pytest.approx(6_000, abs=20)


async def test_what_the_caller_says_arrives_whole(asterisk: Asterisk) -> None:
    question = prompt("cannot-complete-as-dialed")
    async with (
        agent_saying(asterisk, silence(4), 8_000) as agent,
        Caller(asterisk.sip_port) as caller,
    ):
        await caller.dial(PLAIN)
        caller.say(silence(0.2), 8_000)  # until AudioSocket() has connected, nobody listens
        caller.say(question, PROMPT_RATE_HZ)
        await caller.until_ended(5)
    assert align(agent.audio()[wire.Kind.SLIN], question, 8_000).perfect


def repeated(frames: list[bytes]) -> list[bytes]:
    return [*frames[:60], frames[59], *frames[60:]]


def left_out(frames: list[bytes]) -> list[bytes]:
    return [*frames[:60], *frames[61:]]


def interrupted(frames: list[bytes]) -> list[bytes]:
    return [*frames[:60], wire.audio(wire.Kind.SLIN, bytes(320)), *frames[60:]]


@pytest.mark.parametrize(
    ("wrong", "kind"), [(repeated, "repeat"), (left_out, "skip"), (interrupted, "gap")]
)
async def test_a_fault_of_one_frame_is_noticed(
    asterisk: Asterisk, wrong: Callable[[list[bytes]], list[bytes]], kind: str
) -> None:
    said = asset("simulator-reply", 8_000)[: 3 * 8_000]
    async with (
        agent_saying(asterisk, said, 8_000) as agent,
        Caller(asterisk.sip_port) as caller,
    ):
        agent.says = wrong(agent.says)
        await caller.dial(PLAIN)
        await caller.until_ended(6)
    verdict = align(caller.heard.pcm, said, 8_000)
    assert [(fault.kind, round(fault.ms)) for fault in verdict.faults] == [(kind, 20)]


RETURNS = {PLAIN: "", ROBUST: "SUCCESS", WIDE: "ANSWER"}


@pytest.mark.parametrize("extension", RETURNS)
async def test_the_dialplan_goes_on_after_the_agent(asterisk: Asterisk, extension: str) -> None:
    async with (
        agent_saying(asterisk, silence(0.5), 8_000),
        Caller(asterisk.sip_port) as caller,
    ):
        await caller.dial(extension)
        await caller.until_ended(5)
    assert caller.ended_by == "asterisk"
    assert await asterisk.went_on(caller.name) == RETURNS[extension]
    assert len(spans(caller.heard.pcm, 8_000)) == 1  # the beep that follows the agent


WITHOUT_AGENT = {PLAIN: None, ROBUST: "FAILED", WIDE: "CHANUNAVAIL"}


@pytest.mark.parametrize("extension", WITHOUT_AGENT)
async def test_what_each_form_does_without_an_agent(asterisk: Asterisk, extension: str) -> None:
    await asterisk.send_agents_to(free_port())
    async with Caller(asterisk.sip_port) as caller:
        await caller.dial(extension)
        await caller.until_ended(5)
    assert await asterisk.went_on(caller.name) == WITHOUT_AGENT[extension]


@pytest.mark.parametrize("extension", [PLAIN, WIDE])
async def test_keys_arrive(asterisk: Asterisk, extension: str) -> None:
    async with (
        agent_saying(asterisk, silence(2), 8_000) as agent,
        Caller(asterisk.sip_port) as caller,
    ):
        await caller.dial(extension)
        for digit in "5#1":
            caller.dtmf(digit)
        await caller.until_ended(5)
    assert agent.digits() == "5#1"


async def test_a_muted_caller_sends_nothing(asterisk: Asterisk) -> None:
    async with (
        agent_saying(asterisk, silence(2), 8_000) as agent,
        Caller(asterisk.sip_port) as caller,
    ):
        await caller.dial(PLAIN)
        caller.mute()
        await caller.until_ended(5)
    assert len(agent.audio().get(wire.Kind.SLIN, ())) < 8_000 // 10


async def test_echo_takes_no_time(asterisk: Asterisk, measure: Measure) -> None:
    async with Caller(asterisk.sip_port) as caller:
        await caller.dial(ECHO)
        said = caller.say(prompt("agent-loginok"), PROMPT_RATE_HZ)
        measure("bench: Asterisk's Echo()", (await caller.until_heard() - said.starts_at) * 1000)
        await caller.until_quiet()
        await caller.hangup()
    assert caller.ended_by == "caller"


async def test_a_number_nobody_has_is_refused(asterisk: Asterisk) -> None:
    async with Caller(asterisk.sip_port) as caller:
        with pytest.raises(CallRefusedError, match="404"):
            await caller.dial("9999")


async def test_nothing_is_left_of_a_call(asterisk: Asterisk) -> None:
    assert await asterisk.channels() == 0

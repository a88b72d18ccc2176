"""The echo: it greets, plays every utterance back, and stops when it is spoken over."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from audiosocket_agent import assets
from audiosocket_agent.audio import frame_bytes
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.model import base
from audiosocket_agent.model.echo import EchoModel, EchoSession

SPOKE = [base.GenerationEnded(), base.TurnEnded(spoke=True)]
GREETING_SECONDS = len(assets.speech("echo-greeting")) / 2 / assets.RATE_HZ


def spoken(seconds: float, rate_hz: int = 8_000, since: float = 0.0) -> bytes:
    """From the first words of the shipped caller, which last for 2.9 s without a pause."""
    pcm = assets.speech("caller")
    if rate_hz != assets.RATE_HZ:
        pcm = Resampler(assets.RATE_HZ, rate_hz).feed(pcm)
    return pcm[round(since * rate_hz) * 2 : round((since + seconds) * rate_hz) * 2]


class Conversation:
    """An open session; `now` is its clock, moved by what the caller says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[tuple[bytes, int]] = []
        self.events: list[base.ModelEvent] = []
        self.session: EchoSession

    def hears(self, pcm: bytes, rate_hz: int = 8_000) -> None:
        for at in range(0, len(pcm), frame_bytes(rate_hz)):
            self.session.send_audio(pcm[at : at + frame_bytes(rate_hz)], rate_hz)
            self.now += 0.020

    def silence(self, seconds: float, rate_hz: int = 8_000) -> None:
        self.hears(bytes(round(seconds * rate_hz) * 2), rate_hz)

    async def told(self) -> list[base.ModelEvent]:
        """The events since the last time."""
        await asyncio.sleep(0)
        told, self.events = self.events, []
        return told


@asynccontextmanager
async def conversation(greeting: str = "") -> AsyncIterator[Conversation]:
    it = Conversation()
    model = EchoModel(clock=lambda: it.now)
    setup = base.SessionSetup("Repeat.", greeting)
    async with model.open(setup, lambda pcm, rate_hz: it.said.append((pcm, rate_hz))) as it.session:

        async def read() -> None:
            async for event in it.session.events():
                it.events.append(event)

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        yield it
        reading.cancel()


async def test_it_speaks_first_where_that_is_wanted() -> None:
    async with conversation(greeting="Greet the caller.") as it:
        assert it.said == [(assets.speech("echo-greeting"), 16_000)]
        assert await it.told() == SPOKE


async def test_it_waits_where_it_is_not() -> None:
    async with conversation() as it:
        it.silence(10.0)
        assert (it.said, await it.told()) == ([], [])


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
async def test_it_plays_an_utterance_back_from_its_first_syllable(rate_hz: int) -> None:
    async with conversation() as it:
        utterance = spoken(2.8, rate_hz)
        it.silence(2.0, rate_hz)
        it.hears(utterance, rate_hz)
        assert it.said == []
        it.silence(1.0, rate_hz)
        [(echo, rate)] = it.said
        assert rate == rate_hz
        assert utterance in echo
        assert not any(echo[: echo.index(utterance)])  # no more than silence before it
        assert len(echo) / 2 / rate_hz == pytest.approx(0.3 + 2.8 + 0.5, abs=0.2)
        assert await it.told() == SPOKE


async def test_each_utterance_is_played_back_alone() -> None:
    async with conversation() as it:
        it.hears(spoken(1.0))
        it.silence(1.0)
        it.hears(spoken(0.8, since=1.4))
        it.silence(1.0)
        first, second = (echo for echo, _ in it.said)
        assert spoken(1.0) in first
        assert spoken(0.8, since=1.4) in second
        assert spoken(0.2) not in second


async def test_a_noise_is_not_remembered() -> None:
    """What was before the 0.3 s of pre-roll is forgotten, however long the silence."""
    async with conversation() as it:
        it.silence(300.0)
        it.hears(spoken(1.0))
        it.silence(1.0)
        [(echo, _)] = it.said
        assert len(echo) / 2 / 8_000 < 2.0


async def test_of_an_endless_utterance_the_last_30_seconds_are_played_back() -> None:
    async with conversation() as it:
        for _ in range(15):
            it.hears(spoken(2.8))
        it.silence(1.0)
        [(echo, _)] = it.said
        assert len(echo) / 2 / 8_000 == pytest.approx(30.0, abs=0.1)


async def test_it_stops_when_it_is_spoken_over_and_then_answers() -> None:
    async with conversation(greeting="Greet the caller.") as it:
        assert await it.told() == SPOKE
        it.hears(spoken(1.0))
        assert await it.told() == [base.Interrupted()]
        it.hears(spoken(1.0, since=1.0))
        it.silence(1.0)
        assert await it.told() == SPOKE  # interrupted once
        assert len(it.said) == 2


async def test_a_cough_does_not_stop_it() -> None:
    async with conversation(greeting="Greet the caller.") as it:
        await it.told()
        it.hears(spoken(0.2))
        it.silence(0.2)
        assert await it.told() == []


async def test_who_speaks_after_it_does_not_interrupt_it() -> None:
    async with conversation(greeting="Greet the caller.") as it:
        await it.told()
        it.silence(GREETING_SECONDS + 0.1)
        it.hears(spoken(1.0))
        assert await it.told() == []


async def test_what_came_at_another_rate_is_not_joined() -> None:
    async with conversation() as it:
        it.hears(spoken(1.0))
        it.hears(spoken(1.0, 16_000), 16_000)
        it.silence(1.0, 16_000)
        [(echo, rate_hz)] = it.said
        assert rate_hz == 16_000
        assert echo.startswith(spoken(1.0, 16_000))


async def test_a_reader_that_has_left_costs_no_memory() -> None:
    it = Conversation()
    it.session = EchoSession(lambda pcm, rate_hz: None, b"", lambda: it.now)
    for _ in range(2_000):
        it.session.say(b"\0\0", 8_000)
    events = it.session.events()
    for _ in range(1_000):
        await anext(events)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(events), 0.01)


async def test_what_other_models_need_it_takes_without_a_word() -> None:
    result: Mapping[str, Any] = {"output": "done"}
    async with conversation() as it:
        it.session.end_audio()
        it.session.note_heard(1200)
        it.session.send_tool_result(base.ToolCall("1", "end_call", {}), result)
        assert (it.said, await it.told()) == ([], [])


def test_it_says_what_it_is() -> None:
    model: base.VoiceModel = EchoModel()
    assert model.name == "echo"
    assert not model.capabilities.heard_notes

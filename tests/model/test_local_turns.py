"""Turns of the caller that are marked for the model: on one connection, and over the loss of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from audiosocket_agent.lab.simulator import CLOSES, Behaviour, Pcm, Simulator
from audiosocket_agent.model import base
from audiosocket_agent.model.backlog import (
    AUDIO_S,
    ActivityEnd,
    ActivityStart,
    Audio,
    AudioPause,
    Backlog,
    Item,
    Text,
)
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.settings import Gemini
from tests.model.trunk import Trunk, talking
from tests.scripted import tone
from tests.virtual_time import in_virtual_time
from tests.words import RATE_HZ, WORDS

BEGIN, END = ActivityStart(), ActivityEnd()
FRAME = Audio(b"\1\0" * 160, 8_000)
YES = WORDS["yes-slt"]
REPLY = tone(0.1)
QUICK = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.02,
    speed=0,
    greeting=Pcm(tone(0.1), 24_000),
    reply=Pcm(REPLY, 24_000),
)
MARKED = base.SessionSetup("Be brief.", "", local_turns=True)


# -- what is kept for the next connection --------------------------------------------------------


def kept(*items: Item) -> Backlog:
    """As sent."""
    backlog = Backlog()
    for item in items:
        backlog.keep(item, sent=True)
    return backlog


def again(backlog: Backlog) -> list[str]:
    return [type(item).__name__ for item in backlog.again()]


def test_an_unanswered_turn_is_said_again_with_its_marks() -> None:
    assert again(kept(BEGIN, FRAME, END)) == ["ActivityStart", "Audio", "ActivityEnd"]


def test_a_turn_under_way_is_begun_again() -> None:
    backlog = kept(BEGIN, FRAME)
    assert again(backlog) == ["ActivityStart", "Audio"]
    backlog.keep(END, sent=False)
    assert [type(item) for item in backlog.unsent()] == [ActivityEnd]


@pytest.mark.parametrize("forget", [Backlog.answered, Backlog.understood])
def test_one_whose_beginning_is_forgotten_begins_with_what_is_left(
    forget: Callable[[Backlog], None],
) -> None:
    backlog = kept(BEGIN, FRAME)
    forget(backlog)
    assert again(backlog) == ["ActivityStart"]  # the caller is still speaking
    backlog.keep(FRAME, sent=True)
    forget(backlog)
    backlog.keep(FRAME, sent=True)
    backlog.keep(END, sent=True)
    assert again(backlog) == ["ActivityStart", "Audio", "ActivityEnd"]


@pytest.mark.parametrize("forget", [Backlog.answered, Backlog.understood])
def test_one_of_which_nothing_is_left_is_none(forget: Callable[[Backlog], None]) -> None:
    backlog = kept(BEGIN, FRAME)
    forget(backlog)
    backlog.keep(END, sent=True)
    assert again(backlog) == []


def test_a_long_turn_keeps_its_mark_when_its_first_words_are_dropped() -> None:
    backlog = kept(BEGIN, *[FRAME] * 1000, END)
    assert again(backlog)[0] == "ActivityStart"
    assert again(backlog)[-1] == "ActivityEnd"
    assert sum(item.seconds for item in backlog.again() if isinstance(item, Audio)) == (
        pytest.approx(AUDIO_S)
    )


def test_what_was_not_found_is_made_a_turn() -> None:
    backlog = kept(Text("(…)"), FRAME, AudioPause(), FRAME)
    backlog.mark()
    assert again(backlog) == ["Text", "ActivityStart", "Audio", "ActivityEnd"]
    backlog = kept(FRAME)
    backlog.mark()
    backlog.keep(FRAME, sent=True)
    assert again(backlog) == ["ActivityStart", "Audio", "ActivityEnd", "Audio"]
    silent = kept(Text("(…)"))
    silent.mark()
    assert again(silent) == ["Text"]


# -- Gemini --------------------------------------------------------------------------------------


class Talk:
    """A session being read."""

    def __init__(self) -> None:
        self.session: Any
        self.audio = bytearray()
        self.events: list[base.ModelEvent] = []

    def take(self, pcm: bytes, rate_hz: int) -> None:
        self.audio += pcm

    async def read(self) -> None:
        async for event in self.session.events():
            self.events.append(event)

    def says(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), 320):
            self.session.send_audio(pcm[at : at + 320], RATE_HZ)

    def count(self, kind: type[base.ModelEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(8.0):
        while not condition():  # noqa: ASYNC110 - another side's state
            await asyncio.sleep(0.01)


Dial = Callable[..., Any]


@pytest.fixture(params=[True, False], ids=["fast", "sdk"])
def dial(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Dial:
    @asynccontextmanager
    async def dial(
        simulator: Simulator,
        setup: base.SessionSetup = MARKED,
        *,
        lasting: bool = False,
        **settings: Any,
    ) -> AsyncIterator[Talk]:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        settings |= {"api_key": "simulated", "fast_path": request.param}
        model = GeminiModel(Gemini.model_validate(settings))
        talk = Talk()
        async with (LastingModel([Rung(model)]) if lasting else model).open(
            setup, talk.take
        ) as talk.session:
            reading = asyncio.create_task(talk.read())
            try:
                yield talk
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    return dial


async def test_a_turn_is_what_is_between_its_marks(dial: Dial) -> None:
    async with Simulator(QUICK) as simulator, dial(simulator) as talk:
        talk.session.begin_activity()
        talk.says(YES)
        talk.session.end_activity()
        await until(lambda: talk.count(base.TurnEnded) == 1)
        assert bytes(talk.audio) == REPLY
        [session] = simulator.sessions
        assert session.setup is not None
        [config] = session.setup["realtimeInputConfig"].values()
        assert config == {"disabled": True}
        [turn] = session.caller_turns
        assert turn.marked
        assert session.audio[turn.from_byte : turn.to_byte] == YES
        assert session.unmarked_bytes == 0


async def test_audio_outside_is_in_no_turn(dial: Dial) -> None:
    async with Simulator(QUICK) as simulator, dial(simulator) as talk:
        talk.says(YES + bytes(RATE_HZ * 2))
        talk.session.begin_activity()
        talk.session.end_activity()
        await until(lambda: talk.count(base.TurnEnded) == 1)
        [session] = simulator.sessions
        assert session.unmarked_bytes == len(YES) + RATE_HZ * 2
        assert [turn.speech_ms for turn in session.caller_turns] == [0]


async def test_the_beginning_of_one_interrupts_the_model(dial: Dial) -> None:
    async with Simulator(QUICK) as simulator, dial(simulator) as talk:
        talk.session.begin_activity()
        talk.says(YES)
        talk.session.end_activity()
        await until(lambda: talk.audio)
        talk.session.begin_activity()
        await until(lambda: talk.count(base.Interrupted) == 1)


# -- over the loss of a connection ---------------------------------------------------------------


@pytest.mark.parametrize("close", ["abort", "internal"])
async def test_a_turn_goes_on_where_its_connection_is_lost(dial: Dial, close: str) -> None:
    async with (
        Simulator(replace(QUICK, close=CLOSES[close])) as simulator,
        dial(simulator, lasting=True) as talk,
    ):
        half = len(YES) // 640 * 320
        talk.session.begin_activity()
        talk.says(YES[:half])
        await until(lambda: simulator.sessions[0].audio_bytes == half)
        simulator.inject("close")
        await until(lambda: talk.count(base.Reconnected) == 1)
        talk.says(YES[half:])
        talk.session.end_activity()
        await until(lambda: talk.count(base.TurnEnded) == 1)
        _, session = simulator.sessions
        [turn] = session.caller_turns
        assert session.audio[turn.from_byte : turn.to_byte] == YES
        assert bytes(talk.audio) == REPLY


async def test_turns_are_marked_from_the_middle_of_a_call_on(dial: Dial) -> None:
    """The service has not found the caller's word; we have."""
    setup = base.SessionSetup("Be brief.", "Greet.")
    async with (
        Simulator(QUICK) as simulator,
        dial(simulator, setup, lasting=True, prefix_padding=5.0) as talk,
    ):
        await until(lambda: talk.count(base.TurnEnded) == 1)
        del talk.audio[:]
        talk.says(YES + bytes(RATE_HZ))
        await until(lambda: simulator.sessions[0].audio_bytes == len(YES) + RATE_HZ)
        assert talk.session.mark_turns(unanswered=True)
        assert not talk.session.mark_turns(unanswered=True)  # they are already
        talk.session.begin_activity()  # and the caller speaks on meanwhile
        talk.says(YES)
        talk.session.end_activity()
        await until(lambda: talk.audio.endswith(REPLY))
        first, second = simulator.sessions
        assert (first.caller_turns, first.close_code) == ([], 1000)  # nothing it does not take
        assert second.resumed
        one, other = second.caller_turns
        assert second.audio[one.from_byte : one.to_byte] == YES + bytes(RATE_HZ)
        assert second.audio[other.from_byte : other.to_byte] == YES


async def test_nothing_is_said_again_where_there_was_nothing(dial: Dial) -> None:
    setup = base.SessionSetup("Be brief.", "Greet.")
    async with Simulator(QUICK) as simulator, dial(simulator, setup, lasting=True) as talk:
        await until(lambda: talk.count(base.TurnEnded) == 1)
        talk.says(bytes(RATE_HZ))
        assert talk.session.mark_turns(unanswered=False)
        await until(lambda: talk.count(base.Reconnected) == 1)
        assert simulator.sessions[1].audio_bytes == 0


# -- in a pause, at goAway -----------------------------------------------------------------------


@in_virtual_time
async def test_a_turn_that_falls_into_a_change_of_connections_keeps_its_order() -> None:
    trunk = Trunk(0.0, 0.3)
    setup = base.SessionSetup("Be brief.", "", local_turns=True)
    async with talking(trunk, setup=setup) as talk:
        trunk.puppets[0].tell(base.Resumable("h"), base.GoAway(60.0))
        await asyncio.sleep(0.25)  # the pause is found; the next connection is being dialled
        talk.session.begin_activity()
        await talk.speaks(0.2)
        talk.session.end_activity()
        await asyncio.sleep(0.5)
        first, second = trunk.puppets
        assert (first.activities, bytes(first.heard)) == ([], b"")
        assert second.activities == [(0, len(second.heard))]
        assert len(second.heard) == 10 * 320
        assert trunk.setups[1].local_turns


@in_virtual_time
async def test_a_model_that_cannot_is_not_asked_to() -> None:
    trunk = Trunk(0.0)
    async with talking(trunk) as talk:
        assert not talk.session.mark_turns(unanswered=True)
        await asyncio.sleep(1.0)
        assert len(trunk.puppets) == 1

"""Models that do not do their part, and what their callers hear of it: whole calls, in virtual time.

Every call is judged at the caller's ear: from the first word to the last no silence is longer than
3 s, and the next question is answered as if nothing had been.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from audiosocket_agent.audio.vad import Edge, SpeechDetector
from audiosocket_agent.call.info import CallInfo
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.call.next_step import Action
from audiosocket_agent.call.watchdog import Fault
from audiosocket_agent.errors import ModelError
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.model import base
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.sounds import Pcm, Tones
from audiosocket_agent.tools.builtin import COLLECT_DIGITS
from audiosocket_agent.tools.function import tool
from audiosocket_agent.vigil import NUDGES
from tests.house import HOST, House, house
from tests.model.trunk import Outcome
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

QUESTION = read_utterances(SHIPPED_CALLER, 8_000)[0]  # 2.9 s of speech
THINKS = 0.5
"""From the end of a caller's turn, as the model finds it, or from a text to the first audio."""
CONNECTS = 0.3
LOUD_DBFS = -20.0
"""The model's tone is above it, our own sounds are below."""
DEAD_AIR_S = 3.0
ANSWER_S = 2.0
"""Of a model that is well: half a second of silence, and its thinking."""


def yes() -> bytes:
    """0.2 s of a vowel."""
    t = np.arange(1600) / 8_000
    wave = sum(np.sin(2 * np.pi * 140 * n * t) / n for n in range(1, 20))
    return (5000 * np.asarray(wave)).astype("<i2").tobytes() + bytes(1600)


Turn = Callable[["Receptionist", Puppet], Awaitable[None]]


class Receptionist(ScriptedModel):
    """Answers whoever has spoken, and every text, as the next of `turns` says; then well. Connections
    take from `connects`, then CONNECTS; a number that is a ModelError refuses."""

    capabilities = base.Capabilities(heard_notes=True, answers=True, resumable=True)

    def __init__(
        self,
        *turns: Turn,
        always: Turn | None = None,
        connects: tuple[Outcome, ...] = (),
        hears_yes: bool = True,
    ) -> None:
        super().__init__(self._work)
        self._turns = list(turns)
        self._always = always
        self._connects = list(connects)
        self._hears_yes = hears_yes  # else nothing so short is speech to it
        self.dialled_at: list[float] = []
        self.setups: list[base.SessionSetup] = []

    @asynccontextmanager
    async def open(self, setup: base.SessionSetup, sink: base.AudioSink) -> AsyncIterator[Puppet]:
        self.dialled_at.append(asyncio.get_running_loop().time())
        self.setups.append(setup)
        outcome = self._connects.pop(0) if self._connects else CONNECTS
        await asyncio.sleep(CONNECTS if isinstance(outcome, ModelError) else outcome)
        if isinstance(outcome, ModelError):
            raise outcome
        async with super().open(setup, sink) as puppet:
            yield puppet

    async def _work(self, model: Puppet) -> None:
        detector = SpeechDetector(8_000)
        if model.setup.greeting:
            await self._turn(model)
        model.tell(base.Resumable("handle"))
        fed = told = 0
        long = self._hears_yes
        while True:
            await asyncio.sleep(0.02)
            edges = detector.feed(bytes(model.heard[fed:]))
            fed = len(model.heard)
            asked = len(model.texts) + len(model.results)
            long |= Edge.SUSTAINED in edges
            if (Edge.ENDED in edges and long) or asked > told:
                told, long = asked, self._hears_yes
                await self._turn(model)

    async def _turn(self, model: Puppet) -> None:
        await asyncio.sleep(THINKS)
        await (self._turns.pop(0) if self._turns else self._always or well)(self, model)


class Gone(Receptionist):
    """Greets, and is mute from then on: in that session, and wherever it is taken up again."""

    async def _turn(self, model: Puppet) -> None:
        greets = model.setup.greeting and not self.setups[-1].resume and not model.texts
        fresh = len(self.puppets) > 1 and not model.setup.resume
        if fresh or (greets and not model.heard):
            await super()._turn(model)


# -- what a turn may be --------------------------------------------------------------------------


async def well(_: Receptionist, model: Puppet) -> None:
    model.say(tone(1.5))
    model.tell(base.Transcript("agent", "Certainly."))
    model.turn_ends()


async def mute(_: Receptionist, __: Puppet) -> None:
    """Neither audio nor the end of a turn."""


async def empty(_: Receptionist, model: Puppet) -> None:
    model.tell(base.TurnEnded(spoke=False))


async def cut(_: Receptionist, model: Puppet) -> None:
    model.say(tone(0.7))
    model.tell(base.TurnEnded(spoke=True))


async def stalls(_: Receptionist, model: Puppet) -> None:
    model.say(tone(0.7))


async def phantom(_: Receptionist, model: Puppet) -> None:
    model.say(tone(4.0))
    await asyncio.sleep(1.5)
    model.tell(base.Interrupted(), base.TurnEnded(spoke=True))


async def endless(_: Receptionist, model: Puppet) -> None:
    told, left = len(model.texts), 10
    while left:
        left -= len(model.texts) > told  # it takes half a second to stop
        model.say(tone(0.1))
        await asyncio.sleep(0.05)
    model.tell(base.Interrupted(), base.TurnEnded(spoke=True))


async def doubled(_: Receptionist, model: Puppet) -> None:
    for _turn in range(2):
        model.say(tone(1.5))
        model.turn_ends()
        await asyncio.sleep(0.1)


async def breaks(_: Receptionist, model: Puppet) -> None:
    model.say(tone(0.7))
    await asyncio.sleep(0.3)
    model.fails()


def uses(name: str, **arguments: Any) -> Turn:
    async def turn(_: Receptionist, model: Puppet) -> None:
        model.tell(base.ToolCall("1", name, arguments))

    return turn


# -- a caller ------------------------------------------------------------------------------------


class Apologies(Tones):
    """With last words of 2 s, softer than the model's."""

    def apology(self, language: str) -> Pcm | None:
        return Pcm((np.frombuffer(tone(2.0, rate_hz=8_000), "<i2") // 4).tobytes(), 8_000)


@asynccontextmanager
async def calling(*models: Receptionist, **plan: Any) -> AsyncIterator[tuple[House, Call]]:
    """A caller who has been greeted; it is about 3 s."""
    clock = asyncio.get_running_loop().time
    lasting = LastingModel([Rung(model) for model in models], clock)
    async with house(lasting, sounds=Apologies(), **plan) as service, service.call() as call:
        yield service, call


async def greeted(call: Call) -> None:
    await call.agent_speaks()
    await call.agent_silent(0.5)


async def answers(call: Call, words: bytes = QUESTION) -> float:
    """The caller asks something; returns how long the answer took to come."""
    call.say(words)
    said = await call.said()
    return await reply(call) - said


async def reply(call: Call) -> float:
    """When the model is next heard, rather than we."""
    async with asyncio.timeout(15.0):
        while True:
            at = await call.agent_speaks()
            if any(frame.at == at and frame.dbfs > LOUD_DBFS for frame in call.frames):
                return at


def dead_air(call: Call) -> float:
    """The longest time in which neither side was heard, of what is over."""
    agent = [(frame.at, frame.at + 0.02) for frame in call.frames if frame.audible]
    caller = [(turn.begins_seconds, turn.ends_seconds) for turn in call.report().turns]
    longest = until = 0.0
    for begins, ends in sorted(agent + caller):
        longest = max(longest, begins - until)
        until = max(until, ends)
    return longest


def faults(service: House) -> Mapping[str, float]:
    samples = (
        sample
        for family in service.metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("model_faults_total")
    )
    return {sample.labels["fault"]: sample.value for sample in samples}


def waited(service: House, fault: str) -> float:
    assert service.metric("model_waits_seconds_count", fault=fault) == 1
    return service.metric("model_waits_seconds_sum", fault=fault)


async def goes_on(call: Call) -> None:
    """What a fault has not spoiled: the next question is answered at once."""
    await call.agent_silent(0.7)
    assert await answers(call) < ANSWER_S
    await call.agent_silent(0.7)
    assert call.violations == []
    call.hang_up()
    assert dead_air(call) <= DEAD_AIR_S


# -- a sound model -------------------------------------------------------------------------------


@in_virtual_time
async def test_a_model_that_is_well_is_left_alone() -> None:
    model = Receptionist()
    async with calling(model) as (service, call):
        await greeted(call)
        for _ in range(3):
            assert await answers(call) < ANSWER_S
            await call.agent_silent(0.7)
        await call.passes(30.0)
        assert faults(service) == {}
        assert service.metric("fillers_total") == 0
        assert model.puppet.texts == []


@in_virtual_time
async def test_a_model_that_is_slow_gets_a_filler_that_is_gone_when_it_speaks() -> None:
    async def slow(_: Receptionist, model: Puppet) -> None:
        await asyncio.sleep(1.2)  # 0.5 s of silence and 0.5 s of thinking: 2.2 s
        await well(_, model)

    async with calling(Receptionist(well, slow)) as (service, call):
        await greeted(call)
        before = service.metric("response_seconds_count")
        call.say(QUESTION)
        said = await call.said()
        filler = await call.agent_speaks()
        assert filler - said == pytest.approx(2.0, abs=0.1)
        answer = await reply(call)
        assert answer - said == pytest.approx(2.2, abs=0.1)
        await call.agent_silent(0.5)
        heard = [f for f in call.frames if f.audible and said < f.at < answer + 1.0]
        assert all(f.at <= answer for f in heard if f.dbfs < LOUD_DBFS)
        assert faults(service) == {}
        assert service.metric("fillers_total") == 1
        # the answer is timed by its own audio
        assert service.metric("response_seconds_count") == before + 1
        assert service.metric("response_seconds_sum") == pytest.approx(2.2, abs=0.15)
        assert service.metric("barge_ins_total", result="confirmed") == 0


@in_virtual_time
async def test_a_filler_is_not_played_over_the_callers_words() -> None:
    class Long(Tones):
        def filler(self, language: str) -> Pcm | None:
            return Pcm((np.frombuffer(tone(3.0, rate_hz=8_000), "<i2") // 8).tobytes(), 8_000)

    model = Receptionist(well, mute)
    clock = asyncio.get_running_loop().time
    async with house(LastingModel([Rung(model)], clock), sounds=Long()) as service:
        async with service.call() as call:
            await greeted(call)
            call.say(QUESTION)
            await call.said()
            began = await call.agent_speaks()
            call.say(QUESTION)
            await call.said()
            heard = [f.at for f in call.frames if f.audible and f.at > began]
            assert max(heard) - began < 0.7


@in_virtual_time
async def test_a_noise_before_the_greeting_is_not_answered_in_its_place() -> None:
    async def slow(_: Receptionist, model: Puppet) -> None:
        await asyncio.sleep(1.0)
        await well(_, model)

    model = Receptionist(slow)
    async with calling(model) as (service, call):
        await call.passes(0.5)
        call.say(yes())
        await greeted(call)
        assert call.now < 4.0
        assert len(model.puppet.heard) > 16_000
        assert not any(model.puppet.heard)
        assert await answers(call) < ANSWER_S
        assert any(model.puppet.heard)
        assert faults(service) == {}


@in_virtual_time
async def test_where_no_greeting_comes_the_caller_is_heard_all_the_same() -> None:
    model = Receptionist(mute, mute)  # nor does a nudge help
    async with calling(model) as (_, call):
        await call.passes(3.5)
        call.say(yes())
        await call.said()
        assert any(model.puppets[0].heard)


# -- faults and their cures ----------------------------------------------------------------------


@in_virtual_time
async def test_a_model_that_does_not_answer_is_nudged() -> None:
    model = Receptionist(well, mute)
    async with calling(model) as (service, call):
        await greeted(call)
        assert await answers(call) < 4.0
        assert faults(service) == {"no_answer": 1}
        assert waited(service, "no_answer") == pytest.approx(3.6, abs=0.2)
        assert model.puppet.texts == [NUDGES[Fault.NO_ANSWER]]
        await goes_on(call)


@in_virtual_time
async def test_one_that_is_not_moved_by_a_text_is_taken_up_again_on_a_new_connection() -> None:
    model = Receptionist(well, mute, mute)
    async with calling(model) as (service, call):
        await greeted(call)
        assert await answers(call) < 6.0
        assert faults(service) == {"no_answer": 1}
        assert service.metric("model_reconnects_total", reason="no_answer") == 1
        assert [setup.resume for setup in model.setups] == ["", "handle"]
        await goes_on(call)


@in_virtual_time
async def test_a_session_that_has_gone_dumb_is_left_for_a_new_one() -> None:
    model = Gone()
    async with calling(model) as (_, call):
        await greeted(call)
        assert await answers(call) < 8.0
        assert [setup.resume for setup in model.setups] == ["", "handle", ""]
        assert "call is already under way" in model.setups[2].instructions
        await goes_on(call)


@in_virtual_time
async def test_where_there_is_a_second_model_the_call_goes_on_with_it() -> None:
    first, second = Receptionist(well, always=mute), Receptionist()
    async with calling(first, second) as (_, call):
        await greeted(call)
        assert await answers(call) < 8.0
        assert len(second.puppets) == 1
        await goes_on(call)
        assert len(first.puppets) == 2


@in_virtual_time
async def test_where_nothing_helps_the_caller_is_told_and_left_to_the_dialplan_in_8_seconds() -> (
    None
):
    first, second = Receptionist(well, always=mute), Receptionist(always=mute)
    async with calling(first, second) as (service, call):
        await greeted(call)
        call.say(QUESTION)
        said = await call.said()
        assert await call.ended(timeout=15.0) is End.FINISHED
        heard = [f.at for f in call.frames if f.audible]
        assert dead_air(call) <= DEAD_AIR_S
        assert max(heard) - said == pytest.approx(8.0 + 2.0, abs=0.2)  # the apology is 2 s
        assert call.now - max(heard) < 0.5
        assert faults(service) == {"no_answer": 1}
        await service.is_empty()
        assert service.metric("calls_total", outcome="model_failed") == 1
        step = service.server.next_step(call.uuid, HOST)
        assert step is not None
        assert step.action is Action.FALLBACK
        assert all(puppet.closed.is_set() for puppet in (*first.puppets, *second.puppets))


@in_virtual_time
async def test_an_empty_turn_is_asked_for_again() -> None:
    async with calling(Receptionist(well, empty)) as (service, call):
        await greeted(call)
        assert await answers(call) < 2.0
        assert faults(service) == {"empty_turn": 1}
        await goes_on(call)


@in_virtual_time
async def test_a_reply_that_is_cut_is_continued() -> None:
    model = Receptionist(well, cut)
    async with calling(model) as (_, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        began = call.now
        await call.passes(3.0)
        assert model.puppet.texts == [NUDGES[Fault.CUT]]
        assert loud(call, began) == pytest.approx(0.7 + 1.5, abs=0.1)
        await goes_on(call)


def loud(call: Call, since: float) -> float:
    return sum(f.dbfs > LOUD_DBFS for f in call.frames if f.at >= since) * 0.02


@in_virtual_time
async def test_a_reply_that_stalls_is_continued() -> None:
    async with calling(Receptionist(well, stalls)) as (service, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        stopped = await call.agent_silent(1.0)
        assert await reply(call) - stopped < 4.0
        assert faults(service) == {"stalled": 1}
        await goes_on(call)


@in_virtual_time
async def test_a_reply_that_nobody_has_interrupted_is_continued() -> None:
    async with calling(Receptionist(well, phantom)) as (service, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        stopped = await call.agent_silent(1.0)
        assert await reply(call) - stopped < 2.0
        assert faults(service) == {"phantom_interruption": 1}
        await goes_on(call)


@in_virtual_time
async def test_a_tone_is_stopped() -> None:
    model = Receptionist(well, endless)
    async with calling(model) as (service, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        began = call.now
        stopped = await call.agent_silent(0.3)
        assert stopped - began == pytest.approx(5.0, abs=0.2)
        assert await reply(call) - stopped < 2.0
        assert model.puppet.texts == [NUDGES[Fault.ENDLESS]]
        assert faults(service) == {"endless": 1}
        await goes_on(call)


@in_virtual_time
async def test_a_turn_that_nobody_asked_for_is_counted_and_heard_after_the_other() -> None:
    async with calling(Receptionist(well, doubled)) as (service, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        await call.agent_silent(0.7)
        assert faults(service) == {"doubled": 1}
        await goes_on(call)


@in_virtual_time
async def test_a_yes_that_was_dropped_is_asked_about() -> None:
    model = Receptionist(hears_yes=False)
    async with calling(model) as (service, call):
        await greeted(call)
        assert await answers(call, yes()) < 3.0
        assert model.puppet.texts[0] == NUDGES[Fault.MISSED]
        assert faults(service) == {"missed": 1}


# -- the connection ------------------------------------------------------------------------------


@in_virtual_time
async def test_a_reply_that_is_lost_with_its_connection_is_waited_for_with_fillers() -> None:
    model = Receptionist(well, breaks, connects=(CONNECTS, 3.5))
    async with calling(model) as (service, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        stopped = await call.agent_silent(1.0)
        assert await reply(call) - stopped < 5.0
        assert service.metric("fillers_total") >= 1
        await goes_on(call)


@in_virtual_time
async def test_a_caller_who_is_connected_first_hears_that_the_line_is_alive() -> None:
    async with calling(Receptionist(connects=(3.9,))) as (service, call):
        assert await reply(call) == pytest.approx(3.9 + THINKS, abs=0.1)
        assert service.metric("fillers_total") == 1
        assert faults(service) == {}
        await goes_on(call)


@in_virtual_time
async def test_a_model_that_cannot_be_had_is_apologised_for() -> None:
    async with calling(Receptionist(connects=(60.0,) * 9)) as (service, call):
        assert await call.ended(timeout=15.0) is End.FINISHED
        assert dead_air(call) <= DEAD_AIR_S
        assert call.now == pytest.approx(8.0 + 2.0, abs=0.5)
        await service.is_empty()
        assert service.metric("calls_total", outcome="model_failed") == 1
        assert service.metric("greeting_seconds_count") == 0


@in_virtual_time
async def test_a_model_that_is_lost_for_good_is_apologised_for_after_what_it_said() -> None:
    refused = ModelError("403", "no", retryable=False)
    model = Receptionist(well, breaks, connects=(CONNECTS, refused))
    async with calling(model) as (service, call):
        await greeted(call)
        call.say(QUESTION)
        said = await call.said()
        assert await call.ended() is End.FINISHED
        assert loud(call, said) == pytest.approx(0.7, abs=0.05)
        assert dead_air(call) <= DEAD_AIR_S
        soft = [f for f in call.frames if f.at > said and f.audible and f.dbfs < LOUD_DBFS]
        assert len(soft) == pytest.approx(100, abs=5)  # 2 s
        assert service.metric("response_seconds_count") == 1  # the apology is no answer


@in_virtual_time
async def test_a_call_whose_caller_is_gone_is_apologised_to_nobody() -> None:
    async with calling(Receptionist(well, always=mute)) as (service, call):
        await greeted(call)
        call.say(QUESTION)
        await call.said()
        await call.passes(1.0)
        call.hang_up()
        await service.is_empty()
        assert service.metric("calls_total", outcome="caller_hangup") == 1
        assert faults(service) == {}


# -- beside the others who watch -----------------------------------------------------------------


@in_virtual_time
async def test_a_caller_is_not_asked_whether_they_are_there_while_the_model_is_at_fault() -> None:
    model = Receptionist(well, mute, mute)
    async with calling(model, limits=Limits(silence_s=2.5)) as (_, call):
        await call.agent_speaks()
        await call.agent_silent(0.5)
        assert await answers(call) < 6.0
        texts = [text for puppet in model.puppets for text in puppet.texts]
        assert set(texts) == {NUDGES[Fault.NO_ANSWER]}
        await call.agent_silent(0.5)
        await reply(call)  # now they are
        assert "still there" in model.puppets[-1].texts[-1]


def takes(seconds: float) -> Any:
    @tool(timeout_s=30.0)
    async def find(what: str) -> str:
        """Find it."""
        await asyncio.sleep(seconds)
        return f"{what} is on its way"

    return find


@in_virtual_time
async def test_a_tool_that_takes_its_time_is_spoken_about_by_the_model_and_by_nobody_else() -> None:
    model = Receptionist(well, uses("find", what="it"))
    async with calling(model, tools=[takes(4.0)]) as (service, call):
        await greeted(call)
        assert await answers(call) < DEAD_AIR_S  # "one moment"
        await call.agent_silent(0.5)
        await reply(call)  # the result
        assert faults(service) == {}
        assert service.metric("fillers_total") == 0
        await goes_on(call)


@in_virtual_time
async def test_a_result_that_the_model_does_not_tell_is_asked_for() -> None:
    model = Receptionist(well, uses("find", what="it"), mute)
    async with calling(model, tools=[takes(0.3)]) as (service, call):
        await greeted(call)
        assert await answers(call) < 6.0
        assert faults(service) == {"no_answer": 1}
        await goes_on(call)


@in_virtual_time
async def test_keys_that_are_not_answered_are_asked_about() -> None:
    model = Receptionist(well, mute)
    async with calling(model) as (service, call):
        await greeted(call)
        call.press("1")
        await call.passes(1.5)
        pressed = call.now
        assert await reply(call) - pressed < 5.0
        assert model.puppet.texts[1:] == [NUDGES[Fault.NO_ANSWER]]
        assert faults(service) == {"no_answer": 1}


@in_virtual_time
async def test_a_use_that_was_cancelled_is_a_result_owed() -> None:
    async def changes_its_mind(_: Receptionist, model: Puppet) -> None:
        model.tell(base.ToolCall("1", "find", {"what": "it"}), base.ToolCancelled(("1",)))

    async with calling(Receptionist(well, changes_its_mind), tools=[takes(9.0)]) as (service, call):
        await greeted(call)
        assert await answers(call) < 6.0
        assert faults(service) == {"no_answer": 1}


@in_virtual_time
async def test_whoever_keys_in_digits_is_left_in_peace() -> None:
    model = Receptionist(well, uses("collect_digits", max=4))
    async with calling(model, tools=[COLLECT_DIGITS]) as (service, call):
        await greeted(call)
        call.say(QUESTION)
        await call.said()
        await call.passes(5.0)
        assert service.metric("fillers_total") == 0
        call.press("4711")
        await reply(call)
        assert faults(service) == {}


@in_virtual_time
async def test_a_cough_that_has_paused_a_reply_stops_no_clock() -> None:
    async with calling(Receptionist(well, stalls, hears_yes=False)) as (_, call):
        await greeted(call)
        assert await answers(call) < ANSWER_S
        call.say(yes())
        await call.said()
        stopped = await call.agent_silent(1.0)
        assert await reply(call) - stopped < 4.5
        await goes_on(call)


@in_virtual_time
async def test_a_greeting_that_was_made_while_it_rang_is_being_heard() -> None:
    """What is told the model meanwhile is not waited for before the greeting is over."""

    async def long(_: Receptionist, model: Puppet) -> None:
        model.say(tone(6.0))
        model.turn_ends()

    model = Receptionist(long, mute)
    clock = asyncio.get_running_loop().time
    async with house(LastingModel([Rung(model)], clock)) as service:
        call_id = uuid.uuid4()
        service.server.expect(call_id, peer=HOST, agent="", info=CallInfo("+911204567890"))
        await asyncio.sleep(2.0)
        async with service.call(uuid=call_id) as call:
            await call.agent_speaks()
            session = service.server.session(call_id)
            assert session is not None
            session.tell("(Something.)")
            await call.passes(5.5)
            assert faults(service) == {}

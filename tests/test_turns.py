"""The caller's turns, found on our side of the line: whole calls, in virtual time."""

import asyncio
from functools import partial

import pytest

from audiosocket_agent.audio import SAMPLE_BYTES, duration_ms
from audiosocket_agent.audio.endpointing import Endpointing
from audiosocket_agent.call.turns import TurnMode
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.model import base
from audiosocket_agent.tools.builtin import COLLECT_DIGITS
from tests.house import house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time
from tests.words import RATE_HZ, WORDS

UTTERANCE = read_utterances(SHIPPED_CALLER, RATE_HZ)[0]  # 2.9 s of speech
YES, NO = WORDS["yes-slt"], WORDS["no-awb"]
COUGH = NO[: RATE_HZ // 5 * SAMPLE_BYTES]  # 0.2 s: speech for all one knows
LOCAL = TurnMode.LOCAL


class Marked(ScriptedModel):
    """A model that lets turns be marked, and is to answer them."""

    capabilities = base.Capabilities(heard_notes=True, local_turns=True)


class Watched(ScriptedModel):
    capabilities = base.Capabilities(heard_notes=True, local_turns=True, answers=True)


def turns(model: ScriptedModel) -> list[bytes]:
    """What was between the marks."""
    puppet = model.puppet
    return [bytes(puppet.heard[begin:end]) for begin, end in puppet.activities]


async def greets(model: Puppet, seconds: float = 0.5) -> None:
    model.say(tone(seconds))
    model.turn_ends()


# -- where a turn begins and ends ----------------------------------------------------------------


@in_virtual_time
async def test_the_model_is_sent_the_callers_turns_and_nothing_else() -> None:
    model = Marked(greets)
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.passes(2.0)
        assert model.puppet.setup.local_turns
        assert not model.puppet.heard
        for said in (YES, UTTERANCE):
            call.say(said)
            await call.said()
            await call.passes(3.0)
        yes, utterance = turns(model)
        assert YES in yes
        assert UTTERANCE.strip(b"\0") in utterance
        assert len(yes) + len(utterance) == len(model.puppet.heard)
        assert duration_ms(yes[: yes.find(YES)], RATE_HZ) == pytest.approx(340, abs=40)
        after_ms = duration_ms(yes[yes.find(YES) + len(YES) :], RATE_HZ)
        assert 300 <= after_ms <= 520  # 500 from its last voiced frame; the "s" of a yes is none
        assert model.puppet.pauses == 0


@in_virtual_time
async def test_an_answer_right_after_the_question_is_heard() -> None:
    model = Marked(greets)
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(0.02)
        call.say(YES)
        await call.passes(1.5)
        [turn] = turns(model)
        assert YES in turn


@in_virtual_time
async def test_so_is_one_over_its_last_word_and_the_word_is_heard_too() -> None:
    model = Marked(greets)
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(0.2)
        call.say(NO)  # 0.3 s before the end, and no longer than that
        await call.passes(3.0)
        [turn] = turns(model)
        assert NO in turn
        heard_s = sum(frame.audible for frame in call.frames) * 0.02
        assert heard_s == pytest.approx(0.5, abs=0.04)


@in_virtual_time
async def test_what_is_too_short_to_be_speech_over_a_reply_is_no_turn() -> None:
    """It would end the reply, which is only paused by it."""
    model = Marked(lambda puppet: greets(puppet, 4.0))
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(0.5)
        call.say(COUGH)
        await call.passes(6.0)
        assert turns(model) == []
        call.say(COUGH)  # when nobody speaks, it is one
        await call.passes(1.0)
        assert len(turns(model)) == 1
        assert service.metric("barge_ins_total", result="resumed") == 1
        assert sum(frame.audible for frame in call.frames) * 0.02 == pytest.approx(4.0, abs=0.04)


@in_virtual_time
async def test_an_interruption_is_a_turn_from_its_first_word_on() -> None:
    model = Marked(lambda puppet: greets(puppet, 6.0))
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(0.5)
        call.say(UTTERANCE)
        await call.said()
        await call.passes(1.0)
        [turn] = turns(model)
        assert UTTERANCE.strip(b"\0") in turn
        assert service.metric("barge_ins_total", result="confirmed") == 1


@in_virtual_time
async def test_a_click_on_the_line_does_not_cost_the_greeting() -> None:
    async def slow(model: Puppet) -> None:
        await asyncio.sleep(1.5)
        await greets(model)

    model = Marked(slow)
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.passes(0.5)
        call.say(COUGH)
        await call.passes(3.0)
        assert turns(model) == []


@in_virtual_time
async def test_where_nobody_greets_the_callers_first_word_counts() -> None:
    model = Marked()
    async with house(model, turn_mode=LOCAL, greeting="") as service, service.call() as call:
        await call.passes(0.5)
        call.say(NO)
        await call.passes(1.5)
        [turn] = turns(model)
        assert NO in turn


@in_virtual_time
async def test_a_line_that_goes_mute_ends_a_turn() -> None:
    model = Marked(greets)
    slow = partial(Endpointing, silence_ms=1_000)
    async with (
        house(model, turn_mode=LOCAL, endpointing=slow, gap_fill_s=0.2) as service,
        service.call() as call,
    ):
        await call.passes(1.0)
        call.say(UTTERANCE[: RATE_HZ * SAMPLE_BYTES])
        call.mute(3.0)
        await call.passes(1.5)
        [(_, end)] = model.puppet.activities
        assert end == len(model.puppet.heard)
        assert model.puppet.pauses == 0  # it says nothing to a model that is told of turns


@in_virtual_time
async def test_a_secret_that_is_said_aloud_is_no_turn() -> None:
    async def asks(model: Puppet) -> None:
        await greets(model)
        model.tell(base.ToolCall("1", "collect_digits", {"max": 4, "secret": True}))

    model = Marked(asks)
    async with (
        house(model, tools=[COLLECT_DIGITS], turn_mode=LOCAL) as service,
        service.call() as call,
    ):
        await call.passes(1.0)
        call.say(UTTERANCE)
        await call.passes(4.0)
        assert turns(model) == []


@in_virtual_time
async def test_a_cough_does_not_cost_who_types_their_digits() -> None:
    async def asks(model: Puppet) -> None:
        model.say(tone(0.5))
        model.tell(base.ToolCall("1", "collect_digits", {"max": 4}))  # within its turn

    model = Marked(asks)
    async with (
        house(model, tools=[COLLECT_DIGITS], turn_mode=LOCAL) as service,
        service.call() as call,
    ):
        await call.passes(1.5)
        call.press("12")
        call.say(COUGH)
        await call.passes(1.0)
        assert turns(model) == []  # one would have the model give up the tool
        call.say(UTTERANCE)
        await call.passes(4.0)
        assert len(turns(model)) == 1


@in_virtual_time
async def test_nor_is_it_when_no_digit_is_waited_for_any_more() -> None:
    async def asks(model: Puppet) -> None:
        await greets(model)
        wanted = {"max": 4, "secret": True, "timeout": 4}
        model.tell(base.ToolCall("1", "collect_digits", wanted))

    model = Marked(asks)
    async with (
        house(model, tools=[COLLECT_DIGITS], turn_mode=LOCAL) as service,
        service.call() as call,
    ):
        await call.passes(1.3)
        call.say(UTTERANCE)
        await call.said()
        assert not model.puppet.results
        await call.passes(0.4)
        assert model.puppet.results
        await call.passes(2.0)
        assert turns(model) == []
        call.say(YES)
        await call.passes(2.0)
        [turn] = turns(model)
        assert YES in turn


@in_virtual_time
async def test_nor_is_it_where_a_key_is_pressed_in_mid_word() -> None:
    async def asks(model: Puppet) -> None:
        await greets(model)
        model.tell(base.ToolCall("1", "collect_digits", {"max": 4, "secret": True}))

    model = Marked(asks)
    async with (
        house(model, tools=[COLLECT_DIGITS], turn_mode=LOCAL) as service,
        service.call() as call,
    ):
        await call.passes(1.0)
        second = RATE_HZ * SAMPLE_BYTES
        for digit, at in (("1", 0), ("2", second)):
            call.say(UTTERANCE[at : at + second])
            call.press(digit)  # no audio comes while it is held
        await call.passes(5.0)
        assert turns(model) == []


# -- who finds them ------------------------------------------------------------------------------


@in_virtual_time
@pytest.mark.parametrize("mode", [TurnMode.SERVER, TurnMode.AUTO])
async def test_a_model_that_finds_them_itself_hears_everything(mode: TurnMode) -> None:
    model = Marked(greets)
    async with house(model, turn_mode=mode) as service, service.call() as call:
        await call.passes(1.0)
        call.say(YES)
        await call.passes(1.0)
        assert not model.puppet.setup.local_turns
        assert not model.puppet.activities
        assert len(model.puppet.heard) == pytest.approx(2.0 * RATE_HZ * SAMPLE_BYTES, abs=700)


@in_virtual_time
async def test_one_that_knows_no_marks_finds_them_itself() -> None:
    model = ScriptedModel(greets)
    async with house(model, turn_mode=LOCAL) as service, service.call() as call:
        await call.passes(1.0)
        assert not model.puppet.setup.local_turns
        assert len(model.puppet.heard) == pytest.approx(RATE_HZ * SAMPLE_BYTES, abs=700)


async def deaf(model: Puppet) -> None:
    """Greet, and hear of a short answer only where a text asks about it."""
    await greets(model)
    while True:
        await model.told.wait()
        model.told.clear()
        await greets(model)


@in_virtual_time
async def test_after_two_answers_that_were_not_heard_they_are_found_here() -> None:
    model = Watched(deaf)
    async with house(model, turn_mode=TurnMode.AUTO) as service, service.call() as call:
        await call.passes(1.0)
        call.say(YES)
        await call.passes(5.0)
        assert len(model.puppet.texts) == 1  # the model was asked whether it had heard
        assert model.puppet.marked == []
        call.say(NO)
        await call.passes(4.0)
        assert model.puppet.marked == [True]  # with what it had not heard
        assert len(model.puppet.texts) == 1  # so it need not be asked
        before = len(model.puppet.heard)
        await call.passes(2.0)
        assert len(model.puppet.heard) == before
        call.say(YES)
        await call.passes(2.0)
        [turn] = turns(model)
        assert YES in turn


@in_virtual_time
@pytest.mark.parametrize("mode", [TurnMode.SERVER, TurnMode.LOCAL])
async def test_nothing_changes_where_it_is_not_to(mode: TurnMode) -> None:
    model = Watched(deaf)
    async with house(model, turn_mode=mode) as service, service.call() as call:
        await call.passes(1.0)
        for _ in range(3):
            call.say(YES)
            await call.passes(5.0)
        assert model.puppet.marked == []

"""What the keys of a telephone do in a call: stop the agent, mean something, be digits, be secret."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from audiosocket_agent.call.keys import Key, KeyAction
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.model import base
from audiosocket_agent.tools.builtin import COLLECT_DIGITS
from tests.house import House, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

SALES = Target("sales", "2001", "orders")
KEYS = {
    "0": Key(KeyAction.TRANSFER, "sales"),
    "9": Key(KeyAction.HANGUP),
    "*": Key(KeyAction.REPEAT),
    "#": Key(KeyAction.NOTHING),
}
FRAME = 0.020
ALOUD = read_utterances(SHIPPED_CALLER, 8_000)[0]


async def long_reply(model: Puppet) -> None:
    model.say(tone(10.0))
    model.turn_ends()


def with_keys(model: ScriptedModel) -> Any:
    return house(model, keys=KEYS, targets={"sales": SALES}, tools=(COLLECT_DIGITS,))


def audible_seconds(call: Call) -> float:
    return sum(frame.audible for frame in call.frames) * FRAME


async def step(service: House, call: Call) -> tuple[str, str]:
    found = service.server.next_step(call.uuid, "127.0.0.1")
    assert found is not None
    return found.action.value, found.target


@in_virtual_time
async def test_a_key_that_passes_the_caller_on_does_it_at_once() -> None:
    async with with_keys(ScriptedModel(long_reply)) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(1.0)
        call.press("0")
        assert await call.ended(timeout=1.0) is End.FINISHED
        assert audible_seconds(call) < 1.5
        assert await step(service, call) == ("transfer", "2001")


@in_virtual_time
async def test_a_key_that_hangs_up_does_it_at_once() -> None:
    async with with_keys(ScriptedModel(long_reply)) as service, service.call() as call:
        await call.agent_speaks()
        call.press("9")
        assert await call.ended(timeout=1.0) is End.FINISHED
        assert await step(service, call) == ("hangup", "")


@in_virtual_time
async def test_a_key_that_repeats_asks_the_model_to() -> None:
    model = ScriptedModel(long_reply)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        call.press("*")
        await call.passes(2.0)
        [text] = model.puppet.texts
        assert "repeat" in text
        assert audible_seconds(call) < 0.5


@in_virtual_time
async def test_a_key_that_means_nothing_does_nothing() -> None:
    model = ScriptedModel(long_reply)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        call.press("#")
        await call.passes(11.0)
        assert audible_seconds(call) == pytest.approx(10.0, abs=2 * FRAME)
        assert model.puppet.texts == []


@in_virtual_time
async def test_keys_without_a_meaning_are_told_to_the_model() -> None:
    model = ScriptedModel(long_reply)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        call.press("12")
        await call.passes(2.0)
        assert model.puppet.texts == ["(The caller pressed these keys of the telephone: 1 2.)"]


# -- digits that are asked for -------------------------------------------------------------------


def wants(**arguments: Any) -> base.ToolCall:
    return base.ToolCall("1", "collect_digits", arguments)


def asks(seconds: float = 2.0, **arguments: Any) -> ScriptedModel:
    async def ask(model: Puppet) -> None:
        model.say(tone(seconds))  # "Please enter ..."
        model.tell(wants(**arguments))
        model.turn_ends()

    return ScriptedModel(ask)


def told(model: ScriptedModel) -> Mapping[str, Any]:
    [(_, result)] = model.puppet.results
    return result


@in_virtual_time
async def test_digits_that_are_asked_for_come_as_the_tools_result() -> None:
    model = asks(max=10)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(0.5)
        call.press("4711#")
        await call.passes(3.0)
        assert told(model) == {"digits": "4711", "count": 4, "complete": True}
        assert audible_seconds(call) < 1.0  # whoever knows what to press need not listen
        assert model.puppet.texts == []


@in_virtual_time
async def test_a_key_with_a_meaning_is_a_digit_while_digits_are_asked_for() -> None:
    model = asks(max=3)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        call.press("909")
        await call.passes(3.0)
        assert told(model)["digits"] == "909"
        assert call.end is None


@in_virtual_time
@pytest.mark.parametrize("within_its_turn", [False, True])
async def test_the_wait_begins_when_the_agent_has_finished_asking(within_its_turn: bool) -> None:
    async def ask(model: Puppet) -> None:
        model.say(tone(10.0))
        model.tell(wants(max=4, timeout=3))
        if not within_its_turn:
            model.turn_ends()

    model = ScriptedModel(ask)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(12.8)
        assert model.puppet.results == []
        await call.passes(0.6)
        assert told(model) == {"digits": "", "count": 0, "complete": False}


async def asks_and_answers(model: Puppet, **arguments: Any) -> None:
    """In one turn, as a tool that the model waits for is used."""
    model.say(tone(2.0))  # "Please enter ..."
    model.tell(wants(max=4, **arguments))
    await model.answered.wait()
    await asyncio.sleep(1.0)
    model.say(tone(3.0))  # "Thank you, ..."
    model.turn_ends()


async def asks_for_a_secret(model: Puppet) -> None:
    await asks_and_answers(model, secret=True)


@in_virtual_time
@pytest.mark.parametrize("aloud", [False, True])
async def test_who_types_over_the_question_hears_what_becomes_of_it(aloud: bool) -> None:
    model = ScriptedModel(asks_for_a_secret)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        if aloud:
            call.say(ALOUD)
        else:
            call.press("1")
        await call.passes(2.5)
        assert audible_seconds(call) < 1.0
        call.press("1234")
        await call.passes(6.0)
        assert told(model)["count"] == 4
        assert 3.0 < audible_seconds(call) < 4.0
        assert model.puppet.notes == []


@in_virtual_time
async def test_who_has_heard_the_question_out_has_interrupted_nothing() -> None:
    model = ScriptedModel(asks_for_a_secret)
    async with with_keys(model) as service, service.call() as call:
        await call.passes(4.0)
        call.say(ALOUD)
        call.press("1234")
        await call.passes(9.0)
        assert audible_seconds(call) == pytest.approx(5.0, abs=4 * FRAME)
        assert model.puppet.notes == []
        assert service.metric("response_seconds_count") == 0  # keys are no words to be answered


@in_virtual_time
@pytest.mark.parametrize("secret", [False, True])
async def test_who_ends_a_whole_entry_with_a_needless_key_hears_what_becomes_of_it(
    secret: bool,
) -> None:
    async def asks(model: Puppet) -> None:
        await asks_and_answers(model, secret=secret)

    model = ScriptedModel(asks)
    async with house(model, tools=(COLLECT_DIGITS,)) as service, service.call() as call:
        await call.passes(4.0)
        before = audible_seconds(call)
        call.press("1234")
        await call.agent_speaks()
        await call.passes(0.5)
        call.press("#")
        await call.passes(6.0)
        assert audible_seconds(call) - before == pytest.approx(3.0, abs=2 * FRAME)
        assert model.puppet.texts == []
        call.press("#")
        await call.passes(2.0)
        assert len(model.puppet.texts) == 1  # it belongs to nothing any more


@in_virtual_time
async def test_digits_pressed_just_before_they_were_asked_for_count() -> None:
    async def ask(model: Puppet) -> None:
        await asyncio.sleep(1.0)
        model.tell(wants(max=4))

    model = ScriptedModel(ask)
    async with with_keys(model) as service, service.call() as call:
        await call.passes(0.6)
        call.press("12")
        await call.passes(1.0)
        call.press("34")
        await call.passes(2.0)
        assert told(model)["digits"] == "1234"
        assert model.puppet.texts == []


@in_virtual_time
async def test_a_use_the_model_has_cancelled_collects_no_more() -> None:
    async def ask(model: Puppet) -> None:
        model.tell(wants(max=4))
        await asyncio.sleep(1.0)
        model.tell(base.ToolCancelled(("1",)))

    model = ScriptedModel(ask)
    async with with_keys(model) as service, service.call() as call:
        await call.passes(1.5)
        call.press("12")
        await call.passes(2.0)
        assert model.puppet.results == []
        assert "1 2" in model.puppet.texts[0]


@in_virtual_time
async def test_a_caller_who_hangs_up_over_an_entry_leaves_nothing() -> None:
    async with with_keys(asks(max=4, timeout=30)) as service:
        async with service.call() as call:
            await call.passes(1.0)
        await service.is_empty()


SECRET = "90917353"


@in_virtual_time
async def test_a_secret_reaches_neither_the_model_nor_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    model = asks(0.5, max=8, secret=True)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(0.5)
        before = len(model.puppet.heard)
        call.say(ALOUD)  # the digits, while they are typed
        call.press(SECRET)
        await call.said()
        await call.passes(0.5)
        entered = len(model.puppet.heard)
        assert entered - before >= len(ALOUD)
        assert not any(model.puppet.heard[before:entered])  # not a sound
        call.say(ALOUD)
        await call.said()
        assert any(model.puppet.heard[entered:])  # what is said afterwards is heard again
        assert told(model) == {"kept_as": "secret-1", "count": 8, "complete": True}
        assert model.puppet.texts == []
        everything = json.dumps([model.puppet.texts, told(model)]) + caplog.text
        assert SECRET not in everything
        assert " ".join(SECRET) not in everything


@in_virtual_time
@pytest.mark.parametrize(
    ("pressed", "then"),
    [
        (SECRET, "353"),  # digits beyond the eight
        (SECRET[:3], "17353"),  # a pause that was too long
    ],
)
async def test_what_follows_a_secret_closely_belongs_to_it(pressed: str, then: str) -> None:
    model = asks(0.5, max=8, secret=True, timeout=2)
    async with with_keys(model) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(0.5)
        call.press(pressed)
        await call.passes(3.0)
        assert model.puppet.results
        call.press(then)
        await call.passes(2.5)
        call.press(then[0])
        await call.passes(5.0)
        assert model.puppet.texts == []
        assert call.end is None  # nor has a key done what it does otherwise
        call.press("12")
        await call.passes(2.0)
        assert "1 2" in model.puppet.texts[0]


@in_virtual_time
async def test_a_secret_that_the_model_gives_up_is_not_told_either() -> None:
    async def ask(model: Puppet) -> None:
        model.tell(wants(max=8, secret=True))
        await asyncio.sleep(1.0)
        model.tell(base.ToolCancelled(("1",)))

    model = ScriptedModel(ask)
    async with with_keys(model) as service, service.call() as call:
        await call.passes(0.5)
        for digit in SECRET:
            call.press(digit)
            await call.passes(0.3)
        await call.passes(2.0)
        assert model.puppet.texts == []

"""One phrase, by a model that does as it is told and by models that do not."""

import asyncio

import pytest

from audiosocket_agent.errors import ModelError
from audiosocket_agent.model import base
from audiosocket_agent.model.phrase import MOST_S, SESSION_S, Phrase, Unfit, speak
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

MOMENT = Phrase("scripted", "Kore", "en-IN", "One moment, please.")


def nothing(tokens: object) -> None:
    """What it costs is nobody's business here."""


def says(pcm: bytes, words: str = MOMENT.text, *, ends: bool = True) -> ScriptedModel:
    async def script(model: Puppet) -> None:
        model.say(pcm)
        model.tell(base.Transcript("agent", words))
        if ends:
            model.turn_ends()

    return ScriptedModel(script)


@in_virtual_time
async def test_it_is_told_the_words_and_left_when_it_has_said_them() -> None:
    model = says(bytes(24_000) + tone(1.0) + bytes(24_000))
    sound = await speak(model, MOMENT, nothing)
    assert 1.0 <= sound.seconds < 1.1
    assert asyncio.get_running_loop().time() < 1.0
    setup = model.puppet.setup
    assert setup.greeting == 'Say exactly this: "One moment, please."'
    assert "in the language en-IN;" in setup.instructions
    assert (setup.voice, setup.tools) == ("Kore", ())


@in_virtual_time
async def test_its_last_words_and_what_it_cost_may_come_behind_the_end() -> None:
    spent: list[object] = []

    async def script(model: Puppet) -> None:
        model.say(tone(1.0))
        model.tell(base.Transcript("agent", "One"))
        model.turn_ends()
        await asyncio.sleep(0.2)
        model.tell(base.Transcript("agent", " moment, please."))
        model.tell(base.Usage({("out", "audio"): 25}))

    await speak(ScriptedModel(script), MOMENT, spent.append)
    assert spent == [{("out", "audio"): 25}]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (says(tone(1.0), "How can I help you?"), "other words were said"),
        (says(tone(1.0), ""), "other words were said"),
        (says(b""), "0.0 s long"),
        (says(bytes(48_000)), "0.0 s long"),
        (says(tone(0.2)), "0.2 s long"),
        (says(tone(MOST_S + 0.5)), "8.5 s long"),
        (says(tone(60.0)), "60.0 s long"),
        (says(tone(1.0), ends=False), "it has no end"),
    ],
)
def test_what_is_not_as_it_should_be_is_not_taken(model: ScriptedModel, why: str) -> None:
    @in_virtual_time
    async def call() -> None:
        with pytest.raises(Unfit, match=why):
            await speak(model, MOMENT, nothing)
        assert asyncio.get_running_loop().time() <= SESSION_S + 1
        assert model.puppet.closed.is_set()

    call()


@in_virtual_time
async def test_of_what_is_too_long_little_more_is_kept_than_a_phrase_has() -> None:
    async def script(model: Puppet) -> None:
        for _ in range(60):
            model.say(tone(1.0))
        model.tell(base.Transcript("agent", MOMENT.text))
        model.turn_ends()

    with pytest.raises(Unfit, match=f"{MOST_S + 2} s long"):
        await speak(ScriptedModel(script), MOMENT, nothing)


@in_virtual_time
async def test_a_model_that_is_lost_has_failed_unless_it_had_said_all() -> None:
    async def fails(model: Puppet) -> None:
        model.say(tone(1.0))
        model.fails()

    async def leaves(model: Puppet) -> None:
        model.say(tone(1.0))
        model.tell(base.Transcript("agent", MOMENT.text))
        model.turn_ends()
        model.fails("1000")

    with pytest.raises(ModelError):
        await speak(ScriptedModel(fails), MOMENT, nothing)
    assert (await speak(ScriptedModel(leaves), MOMENT, nothing)).seconds == pytest.approx(1.0)

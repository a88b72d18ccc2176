"""Tools that take their time, over the real google-genai, real TLS and the simulator: who waits, what a
caller hears, and what Google is sent."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.simulator import Behaviour, Pcm, SessionRecord, Simulator, ToolStep
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.settings import Gemini
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import Tool
from tests.house import House, house
from tests.scripted import tone

UTTERANCE = read_utterances(SHIPPED_CALLER, 8_000)[0][:16_000]  # a second
WORDS = Pcm(tone(0.3), 24_000)
TALK = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.1,
    greeting=WORDS,
    reply=WORDS,
    tools=(ToolStep(1, "find", {"what": "it"}, after=WORDS),),
)
SECONDS = 2.5
"""What the tool takes."""

Model = Callable[..., GeminiModel]


def finds(*, slow: bool) -> Tool:
    @tool(slow=slow)
    async def find(what: str) -> str:
        """Find it."""
        await asyncio.sleep(SECONDS)
        return f"{what} is found"

    return find


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    def make(simulator: Simulator, name: str = "gemini-3.8-live") -> GeminiModel:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        settings = {"api_key": "simulated", "live_model": name}
        return GeminiModel(Gemini.model_validate(settings))

    return make


async def asks(call: Call) -> float:
    """The caller is greeted and asks; returns when they have."""
    await call.agent_speaks()
    await call.agent_silent(0.2)
    call.say(UTTERANCE)
    return await call.said()


async def until(wanted: Callable[[], Any], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not wanted():  # noqa: ASYNC110 - another side's state
            await asyncio.sleep(0.02)


def declared(record: SessionRecord) -> dict[str, str]:
    """The behaviour of each tool, as Google was sent it."""
    assert record.setup is not None
    [group] = record.setup["tools"]
    functions = group.get("function_declarations") or group["functionDeclarations"]
    return {each["name"]: each.get("behavior", "") for each in functions}


def told(record: SessionRecord) -> list[str]:
    """What the model was told in texts, but for the greeting."""
    texts = [str(each["turns"][0]["parts"][0]["text"]) for each in record.contents]
    return texts[1:]


@pytest.mark.parametrize(
    ("name", "behaviours"),
    [
        ("gemini-3.8-live", {"slow": "NON_BLOCKING", "find": "BLOCKING"}),
        # it can, and guesses the result meanwhile
        (
            "gemini-2.5-flash-native-audio-preview-12-2025",
            {"slow": "BLOCKING", "find": "BLOCKING"},
        ),
        ("gemini-3.1-flash-live-preview", {"slow": "", "find": ""}),  # it knows of no behaviour
    ],
)
async def test_what_is_slow_is_declared_where_the_model_can_wait(
    model: Model, name: str, behaviours: dict[str, str]
) -> None:
    @tool(slow=True)
    async def slow() -> str:
        """Take a while."""
        return ""

    async with Simulator(TALK) as simulator:
        voice = model(simulator, name)
        async with house(voice, tools=[slow, finds(slow=False)]) as service:
            async with service.call() as call:
                await call.agent_speaks()
        assert declared(simulator.sessions[0]) == behaviours


async def test_a_model_that_goes_on_says_so_and_tells_the_result_when_it_is_there(
    model: Model,
) -> None:
    async with Simulator(TALK) as simulator, a_house(model, simulator, slow=True) as service:
        async with service.call() as call:
            asked = await asks(call)
            assert await call.agent_speaks(5.0) - asked < SECONDS
            [record] = simulator.sessions
            assert not record.tool_responses
            [text] = told(record)
            assert "find is still under way" in text
            await until(lambda: record.tool_responses)
            [response] = record.tool_responses
            assert response["response"] == {"output": "it is found"}
            assert response["scheduling"] == "WHEN_IDLE"
            await call.agent_silent(0.3)
            await call.agent_speaks()
            assert [turn.started_by for turn in record.model_turns] == [
                "content",  # greeting
                "speech",  # asks for the tool, and is done
                "content",  # "It takes a moment"
                "tool",  # the result
            ]
            assert not record.cancelled_calls


async def test_a_model_that_waits_is_answered_and_tells_the_result_later(model: Model) -> None:
    async with Simulator(TALK) as simulator, a_house(model, simulator, slow=False) as service:
        async with service.call() as call:
            asked = await asks(call)
            assert await call.agent_speaks(5.0) - asked < SECONDS
            [record] = simulator.sessions
            [response] = record.tool_responses
            assert response["response"]["status"] == "under way"
            assert "scheduling" not in response
            await until(lambda: told(record))
            [text] = told(record)
            assert json.loads(text.split("instruction: ")[1][:-1]) == {"output": "it is found"}
            await call.agent_silent(0.3)
            await call.agent_speaks()
            assert len(record.tool_responses) == 1


async def test_a_result_whose_keys_are_no_texts_is_told_all_the_same(model: Model) -> None:
    @tool()
    async def find(what: str) -> dict[int, str]:
        """Find it."""
        return {1: what}

    async with Simulator(TALK) as simulator, house(model(simulator), tools=[find]) as service:
        async with service.call() as call:
            await asks(call)
            [record] = simulator.sessions
            await until(lambda: record.tool_responses)
            assert record.tool_responses[0]["response"] == {"1": "it"}
            await call.agent_silent(0.3)
            await call.agent_speaks()


async def test_a_caller_who_speaks_makes_a_model_that_waits_give_the_tool_up(model: Model) -> None:
    quick = Behaviour(
        connect_delay_seconds=0.0,
        think_seconds=0.0,
        silence_ms=200,
        greeting=WORDS,
        tools=TALK.tools,
    )
    async with Simulator(quick) as simulator, a_house(model, simulator, slow=False) as service:
        async with service.call() as call:
            await asks(call)
            [record] = simulator.sessions
            await until(lambda: record.tool_calls)
            call.say(UTTERANCE)  # before anybody has said that it takes longer
            await until(lambda: record.cancelled_calls)
            await until(lambda: cancelled(service) == 1)
            await call.said()
            assert record.tool_responses == []


def a_house(model: Model, simulator: Simulator, *, slow: bool) -> Any:
    return house(model(simulator), tools=[finds(slow=slow)])


def cancelled(service: House) -> float:
    return service.metric("tool_calls_total", tool="find", outcome="cancelled")

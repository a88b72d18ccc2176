"""What goes past the SDK says what the SDK would say; all else is left to it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from google.genai import types
from google.genai.live import AsyncSession
from hypothesis import assume, example, given
from hypothesis import strategies as st

from audiosocket_agent import assets
from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator, ToolStep
from audiosocket_agent.model import base, gemini
from audiosocket_agent.model.gemini import GeminiModel, GeminiSession
from audiosocket_agent.model.gemini_events import SDK_KNOWS, is_of_the_future, plain_events
from audiosocket_agent.settings import Gemini
from tests.model.test_gemini import SETUP, talk
from tests.scripted import tone

MODEL = "a model"


def by_the_sdk(message: bytes, *, spoke: bool, vertex: bool = False) -> list[base.ModelEvent]:
    class Socket:
        async def recv(self, decode: bool) -> bytes:
            return message

    async def said() -> list[base.ModelEvent]:
        live = AsyncSession(SimpleNamespace(vertexai=vertex), Socket())  # type: ignore[arg-type]
        session = GeminiSession(
            lambda pcm, rate_hz: None,
            base.Capabilities(heard_notes=False),
            failures=lambda: pytest.fail("none are turned into others here"),
            model=MODEL,
            happened=None,
            text_by_realtime_input=False,
        )
        session._spoke = spoke
        return [*session._translate(await live._receive())]

    return asyncio.run(said())


# -- all that is known -----------------------------------------------------------------------------

COUNT = st.integers(-(2**40), 2**62)
TRANSCRIPTION = st.fixed_dictionaries({}, optional={"text": st.text(), "finished": st.booleans()})
DETAILS = st.lists(
    st.fixed_dictionaries(
        {"modality": st.sampled_from(["TEXT", "AUDIO", "IMAGE", "VIDEO"])},
        optional={"tokenCount": COUNT},
    )
)
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "serverContent": {
        "interrupted": st.booleans(),
        "inputTranscription": TRANSCRIPTION,
        "outputTranscription": TRANSCRIPTION,
        "generationComplete": st.booleans(),
        "turnComplete": st.booleans(),
    },
    "usageMetadata": {
        "promptTokenCount": COUNT,
        "promptTokensDetails": DETAILS,
        "responseTokenCount": COUNT,
        "responseTokensDetails": DETAILS,
        "thoughtsTokenCount": COUNT,
        "totalTokenCount": COUNT,
    },
    "sessionResumptionUpdate": {"newHandle": st.text(), "resumable": st.booleans()},
}
KNOWN = st.fixed_dictionaries(
    {},
    optional={name: st.fixed_dictionaries({}, optional=fields) for name, fields in FIELDS.items()},
).filter(bool)
WAYS = st.booleans().map(lambda ascii_only: {"ensure_ascii": ascii_only})


@given(KNOWN, WAYS, st.booleans())
def test_what_is_known_says_what_the_sdk_would(
    said: dict[str, Any], way: dict[str, Any], spoke: bool
) -> None:
    message = json.dumps(said, **way).encode(errors="replace")
    assume(b"\\ud" not in message)  # half a character
    assert plain_events(message, MODEL, spoke=spoke) == by_the_sdk(message, spoke=spoke)


@given(KNOWN.filter(lambda said: "usageMetadata" not in said))
def test_and_what_it_would_of_vertex(said: dict[str, Any]) -> None:
    message = json.dumps(said).encode()
    assume(b"\\ud" not in message)
    found = plain_events(message, MODEL, spoke=True)
    assert found == by_the_sdk(message, spoke=True, vertex=True)


# -- and anything else -----------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@st.composite
def nearly_known(draw: st.DrawFn) -> Any:
    """With one value somewhere that is replaced, or one field more."""
    said = draw(KNOWN)
    at: Any = said
    while True:
        keys = [*at] if isinstance(at, dict) else [*range(len(at))]
        inner = [key for key in keys if isinstance(at[key], dict | list) and at[key]]
        if not inner or draw(st.booleans()):
            break
        at = at[draw(st.sampled_from(inner))]
    if isinstance(at, dict):
        names = st.sampled_from(
            [*at, "new", "languageCode", "waitingForInput", "toolCall", "goAway"]
        )
        at[draw(names)] = draw(ANYTHING)
    else:
        at.append(draw(ANYTHING))
    return said


@given(nearly_known())
@example({"serverContent": {"turnComplete": True, "interactionStatus": "IDLE"}})
@example({"serverContent": {"inputTranscription": {"text": None}}})
@example({"usageMetadata": {"promptTokenCount": "7"}})
@example({"usageMetadata": {"promptTokenCount": True}})
@example({"usageMetadata": {"promptTokensDetails": [{"tokenCount": 7}]}})
@example({"usageMetadata": {"promptTokensDetails": [{"modality": "SMELL", "tokenCount": 7}]}})
@example({"usageMetadata": {"promptTokensDetails": [[]]}})
@example({"serverContent": []})
def test_what_is_not_known_is_not_guessed(said: Any) -> None:
    message = json.dumps(said).encode()
    found = plain_events(message, MODEL, spoke=True)
    if found is not None:
        assert found == by_the_sdk(message, spoke=True)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"turnComplete"',
        b'{"serverContent":{"turnComplete":true}',
        b'{"serverContent":{"inputTranscription":{"text":"\\ud800"}}}',
        b'{"serverContent":{"inputTranscription":{"text":"\xff"}}}',
        b'{"serverContent":{"turnComplete":1}}',
        b'{"serverContent":{"turnComplete":null}}',
        b'{"serverContent":{"turnComplete":true,"turnCompleteReason":"NEED_MORE_INPUT"}}',
        b'{"serverContent":{"modelTurn":{"parts":[{"text":"thinking"}]}}}',
        b'{"serverContent":{"turnComplete":true},"goAway":{"timeLeft":"9s"}}',
        b'{"usageMetadata":{"promptTokenCount":1e3}}',
        b'{"setupComplete":{}}',
        b'{"toolCall":{"functionCalls":[{"id":"1","name":"f","args":{}}]}}',
    ],
)
def test_left_to_the_sdk(message: bytes) -> None:
    assert plain_events(message, MODEL, spoke=False) is None


@pytest.mark.parametrize(
    "message", [b'{"somethingNew":{"enabled":true}}', b'{"something":1,"something else":null}']
)
def test_passed_over(message: bytes) -> None:
    assert is_of_the_future(message)
    with pytest.raises(TypeError):
        by_the_sdk(message, spoke=False)


@pytest.mark.parametrize(
    "message",
    [
        b'{"somethingNew":{},"serverContent":{}}',
        b'{"somethingNew":{},"error":{"message":"no"}}',
        b'{"code":429,"message":"too much"}',
        b'{"goAway":{"timeLeft":"9s"}}',
        b'{"voiceActivity":{}}',
        b"{}",
        b"[1]",
        b'"somethingNew"',
        b"somethingNew",
    ],
)
def test_not_passed_over(message: bytes) -> None:
    assert not is_of_the_future(message)


def test_all_that_the_sdk_knows_is_left_to_it() -> None:
    fields = types.LiveServerMessage.model_fields.values()
    assert {field.alias for field in fields} == SDK_KNOWS


# -- what the service sends ------------------------------------------------------------------------


@pytest.mark.parametrize("dressed", ["", "merge", "pretty", "binary"])
async def test_a_conversation_says_the_same_both_ways(
    monkeypatch: pytest.MonkeyPatch, dressed: str
) -> None:
    messages: list[tuple[bytes, bool, list[base.ModelEvent] | None]] = []

    def noted(message: bytes, model: str, *, spoke: bool) -> list[base.ModelEvent] | None:
        events = plain_events(message, MODEL, spoke=spoke)
        messages.append((message, spoke, events))
        return events

    behaviour = Behaviour(
        connect_delay_seconds=0.0,
        think_seconds=0.02,
        speed=0,
        greeting=Pcm(tone(0.5), 24_000),
        reply=Pcm(tone(2.0), 24_000),
        reply_words="One moment, I am looking it up.",
        tools=(ToolStep(1, "find", {"what": "a thing"}),),
        merge=dressed == "merge",
        faults=frozenset({dressed} & {"pretty", "binary"}),
    )
    monkeypatch.setattr(gemini, "plain_events", noted)
    async with Simulator(behaviour) as simulator:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        model = GeminiModel(Gemini.model_validate({"api_key": "simulated"}))
        async with talk(model, SETUP) as call:
            await call.until(base.TurnEnded)
            await call.says(assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000))
            asked = await call.until(base.ToolCall)
            assert isinstance(asked, base.ToolCall)
            call.session.send_tool_result(asked, {"found": True})
            await call.until(base.TurnEnded, 2)
    past = [event for _, _, events in messages for event in events or ()]
    kinds = {base.Transcript, base.GenerationEnded, base.TurnEnded, base.Usage, base.Resumable}
    assert {*map(type, past)} == kinds
    assert [message for message, _, events in messages if events is None and b"toolCall" in message]
    for message, spoke, events in messages:
        if events is not None:
            assert events == await asyncio.to_thread(by_the_sdk, message, spoke=spoke)

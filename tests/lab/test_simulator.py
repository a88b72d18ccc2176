"""The unmodified SDK against the simulator, over real TLS."""

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import orjson
import pytest
from google import genai
from google.genai import errors, types
from google.genai.live import AsyncSession
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from audiosocket_agent.lab.simulator import (
    CLOSES,
    FAULTS,
    GOODBYE,
    Behaviour,
    Pcm,
    SessionRecord,
    Simulator,
    ToolStep,
    serve,
    server,
)
from tests.lab.utterance import RATE_HZ, SPEECH

MODEL = "gemini-3.8-live"
SILENCE = bytes(RATE_HZ)  # 0.5 s

GREETING = Pcm(b"\x01\x00" * 2_400, 24_000)  # 0.1 s
REPLY = Pcm(b"\x02\x00" * 4_800, 24_000)  # 0.2 s
LONG = Pcm(b"\x03\x00" * 24_000 * 10, 24_000)  # longer than any test


def quick(*faults: str, **knobs: Any) -> Behaviour:
    """No waiting but for the playing of what is said, and that is short."""
    terse: dict[str, Any] = {
        "connect_delay_seconds": 0.0,
        "think_seconds": 0.0,
        "speed": 0.0,
        "silence_ms": 200,
    }
    terse |= {"greeting": GREETING, "reply": REPLY, "fault_after_seconds": 0.0}
    return Behaviour(faults=frozenset(faults), **(terse | knobs))


class Dial(Protocol):
    def __call__(
        self,
        simulator: Simulator,
        *,
        model: str = ...,
        api_version: str = ...,
        open_timeout: float = ...,
        **config: Any,
    ) -> AbstractAsyncContextManager[AsyncSession]: ...


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Dial:
    """Connects as an operator's agent would: by two environment variables."""

    def dial(
        simulator: Simulator,
        *,
        model: str = MODEL,
        api_version: str = "v1beta",
        open_timeout: float = 10.0,
        **config: Any,
    ) -> AbstractAsyncContextManager[AsyncSession]:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        options = types.HttpOptions(
            api_version=api_version, async_client_args={"open_timeout": open_timeout, "proxy": None}
        )
        client = genai.Client(api_key="any", http_options=options)
        return client.aio.live.connect(
            model=model,
            config=types.LiveConnectConfig.model_validate(
                {"response_modalities": ["AUDIO"]} | config
            ),
        )

    return dial


async def greet(session: AsyncSession) -> None:
    turn = types.Content(role="user", parts=[types.Part(text="greet the caller")])
    await session.send_client_content(turns=turn, turn_complete=True)


async def speak(session: AsyncSession, pcm: bytes, rate: int = RATE_HZ) -> None:
    """The caller's line, faster than real time: the simulator counts the audio, not the seconds."""
    size = rate // 50 * 2
    for start in range(0, len(pcm), size):
        blob = types.Blob(data=pcm[start : start + size], mime_type=f"audio/pcm;rate={rate}")
        await session.send_realtime_input(audio=blob)


async def turn_of(session: AsyncSession) -> tuple[bytes, list[types.LiveServerMessage]]:
    """What comes until the turn is complete: audio, and the messages with more than audio."""
    audio, others = b"", []
    async for message in session.receive():
        content = message.server_content
        if content and content.model_turn and content.model_turn.parts:
            for part in content.model_turn.parts:
                assert part.inline_data
                audio += part.inline_data.data or b""
        else:
            others.append(message)
    return audio, others


def names(messages: list[types.LiveServerMessage]) -> list[str]:
    """The fields that were set, a run of the same as one, without the bookkeeping."""
    quiet = {"usage_metadata", "session_resumption_update", "server_content"}
    fields = (
        name
        for message in messages
        for part in (message, message.server_content)
        if part is not None
        for name in part.model_fields_set
        if getattr(part, name) is not None and name not in quiet
    )
    return [name for name, _ in itertools.groupby(fields)]


async def until(happened: Callable[[], object]) -> None:
    """For what the other side has yet to see."""
    async with asyncio.timeout(5.0):
        while not happened():  # noqa: ASYNC110 - it knows of no events
            await asyncio.sleep(0.005)


# ---- a call that goes well ---------------------------------------------------------------------


async def test_a_conversation(dial: Dial) -> None:
    started = time.monotonic()
    async with (
        Simulator(quick()) as simulator,
        dial(
            simulator,
            system_instruction="Be kind.",
            speech_config={"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}},
            tools=[{"function_declarations": [{"name": "end_call", "behavior": "BLOCKING"}]}],
            realtime_input_config={"automatic_activity_detection": {"silence_duration_ms": 300}},
            input_audio_transcription={},
            output_audio_transcription={},
            session_resumption={},
            context_window_compression={"trigger_tokens": 25_600, "sliding_window": {}},
        ) as session,
    ):
        await greet(session)
        audio, others = await turn_of(session)
        assert audio == GREETING.data
        assert names(others) == ["output_transcription", "generation_complete", "turn_complete"]

        await speak(session, SPEECH + SILENCE)
        audio, others = await turn_of(session)
        assert audio == REPLY.data
        assert names(others) == [
            "input_transcription",
            "output_transcription",
            "generation_complete",
            "turn_complete",
        ]
        usage = others[-1].usage_metadata
        assert usage
        assert usage.response_token_count == 5  # 0.2 s at 25 a second
        assert usage.prompt_tokens_details
        assert [each.modality for each in usage.prompt_tokens_details] == ["TEXT", "AUDIO"]

    [record] = simulator.sessions
    assert (simulator.session_count, record.number) == (1, 0)
    assert record.setup
    assert record.setup["model"] == "models/gemini-3.8-live"
    assert (record.close_code, record.close_reason) == (1000, "")
    assert record.audio == SPEECH + SILENCE
    assert (record.audio_rate_hz, record.audio_bytes) == (RATE_HZ, len(SPEECH + SILENCE))
    assert record.speech_ms == pytest.approx(len(SPEECH) / 32, rel=0.15)
    assert record.audio_sent_bytes == len(GREETING.data + REPLY.data)
    assert len(record.handles) == 3
    [caller], [greeting, reply] = record.caller_turns, record.model_turns
    assert (greeting.started_by, reply.started_by) == ("content", "speech")
    story = [
        started,
        record.connected,
        record.setup_done,
        greeting.decided,
        greeting.first_chunk,
        greeting.generation_complete,
        greeting.turn_complete,
        record.first_audio,
        caller.first_speech,
        caller.onset,
        caller.last_speech,
        caller.end,
        reply.decided,
        reply.first_chunk,
        reply.generation_complete,
        reply.turn_complete,
        record.closed,
        time.monotonic(),
    ]
    times = [at for at in story if at is not None]
    assert len(times) == len(story)
    assert times == sorted(times)


@pytest.mark.parametrize("fault", ["binary", "pretty"])
async def test_the_wire_may_look_different(dial: Dial, fault: str) -> None:
    async with Simulator(quick(fault)) as simulator, dial(simulator) as session:
        await greet(session)
        audio, others = await turn_of(session)
        assert audio == GREETING.data
        assert names(others) == ["generation_complete", "turn_complete"]


async def test_the_assets_are_what_is_said_otherwise(dial: Dial) -> None:
    async with Simulator(Behaviour(speed=0)) as simulator, dial(simulator) as session:
        await greet(session)
        async for message in session.receive():
            if message.server_content and message.server_content.generation_complete:
                break
        [turn] = simulator.sessions[0].model_turns
        assert 2.0 < turn.audio_bytes / 48_000 < 6.0


async def test_a_caller_on_a_telephone_line(dial: Dial) -> None:
    narrow = b"".join(SPEECH[start : start + 2] for start in range(0, len(SPEECH), 4))
    async with Simulator(quick()) as simulator, dial(simulator) as session:
        await speak(session, narrow, 8_000)
        await session.send_realtime_input(audio_stream_end=True)
        audio, _ = await turn_of(session)
        assert audio == REPLY.data
    [record] = simulator.sessions
    assert (record.audio_rate_hz, record.audio_stream_ends) == (8_000, 1)


async def test_the_caller_interrupts(dial: Dial) -> None:
    async with (
        Simulator(quick(greeting=LONG, speed=1.0)) as simulator,
        dial(simulator) as session,
    ):
        await greet(session)
        await until(lambda: simulator.sessions[0].model_turns)
        await speak(session, SPEECH)
        audio, others = await turn_of(session)
        assert names(others) == ["interrupted", "turn_complete"]
        assert 0 < len(audio) < len(LONG.data)
        [turn], [caller] = simulator.sessions[0].model_turns, simulator.sessions[0].caller_turns
        assert turn.interrupted == caller.onset
        assert turn.generation_complete is None


async def test_a_tool_is_used(dial: Dial) -> None:
    steps = (ToolStep(1, "end_call", {"reason": "done"}, after=GOODBYE),)
    tools = [{"function_declarations": [{"name": "end_call", "behavior": "BLOCKING"}]}]
    async with (
        Simulator(quick(tools=steps)) as simulator,
        dial(simulator, tools=tools) as session,
    ):
        await speak(session, SPEECH + SILENCE)
        async for message in session.receive():
            if message.tool_call and message.tool_call.function_calls:
                [call] = message.tool_call.function_calls
                break
        assert (call.name, call.args) == ("end_call", {"reason": "done"})
        result = types.FunctionResponse(id=call.id, name=call.name, response={"output": "ok"})
        await session.send_tool_response(function_responses=result)
        async for message in session.receive():
            if message.server_content and message.server_content.generation_complete:
                break
        [turn] = simulator.sessions[0].model_turns
        assert 1.0 < turn.audio_bytes / 48_000 < 4.0
    [response] = simulator.sessions[0].tool_responses
    assert (response["id"], response["response"]) == (call.id, {"output": "ok"})


async def test_a_caller_who_interrupts_cancels_the_call(dial: Dial) -> None:
    tools = [{"function_declarations": [{"name": "end_call", "behavior": "BLOCKING"}]}]
    async with (
        Simulator(quick(tools=(ToolStep(1, "end_call"),))) as simulator,
        dial(simulator, tools=tools) as session,
    ):
        await speak(session, SPEECH + SILENCE)
        await until(lambda: simulator.sessions[0].tool_calls)
        await speak(session, SPEECH)
        _, others = await turn_of(session)
        assert names(others) == [
            "tool_call",
            "tool_call_cancellation",
            "interrupted",
            "turn_complete",
        ]


async def test_a_session_is_resumed(dial: Dial) -> None:
    async with Simulator(quick()) as simulator:
        async with dial(simulator, session_resumption={}) as session:
            await greet(session)
            await turn_of(session)
            update = await anext(aiter(session.receive()))
            assert update.session_resumption_update
            handle = update.session_resumption_update.new_handle
        async with dial(simulator, session_resumption={"handle": handle}) as session:
            await greet(session)
            audio, _ = await turn_of(session)
            assert audio == REPLY.data  # it has greeted before
        with pytest.raises(errors.APIError) as refused:
            async with dial(simulator, session_resumption={"handle": "made up"}):
                pass
        assert refused.value.code == 1007
    assert [record.resumed for record in simulator.sessions] == [False, True, False]


async def test_each_session_may_behave_differently(dial: Dial) -> None:
    behaviours = [quick(reply=GREETING), quick("http-503"), quick()]
    async with Simulator(behaviour_for=behaviours.__getitem__) as simulator:
        async with dial(simulator) as session:
            await session.send_realtime_input(text="hello")
        with pytest.raises(InvalidStatus):
            async with dial(simulator):
                pass
        async with dial(simulator):
            pass
    assert [record.number for record in simulator.sessions] == [0, 1, 2]
    assert [record.setup_done is not None for record in simulator.sessions] == [True, False, True]


async def test_serving_until_cancelled() -> None:
    ready: asyncio.Queue[Simulator] = asyncio.Queue()
    serving = asyncio.create_task(serve(quick(), "127.0.0.1", 0, None, ready.put_nowait))
    simulator = await ready.get()
    async with raw(simulator) as connection:
        await connection.send('{"setup":{"model":"models/gemini-3.8-live"}}')
        assert await connection.recv() == '{"setupComplete":{}}'
        serving.cancel()
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1001
    with pytest.raises(asyncio.CancelledError):
        await serving


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "code", "reason"),
    [
        ({"model": "gemini-9-live"}, 1008, "models/gemini-9-live is not found"),
        ({"model": "gemini-3.1-flash-live-preview", "api_version": "v1"}, 1008, "API version v1,"),
        ({"thinking_config": {"thinking_budget": 0}}, 1007, "thinking_config"),
        ({"proactivity": {"proactive_audio": False}}, 1007, "proactive_audio"),
        ({"enable_affective_dialog": True}, 1007, "enable_affective_dialog"),
        ({"response_modalities": ["TEXT"]}, 1007, "non-audio request"),
        (
            {"speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Bob"}}}},
            1007,
            "'Bob' is not available",
        ),
        (
            {"tools": [{"function_declarations": [{"name": "hang up"}]}]},
            1007,
            "Invalid function name",
        ),
        ({"session_resumption": {"handle": "old"}}, 1007, "session_resumption.handle"),
    ],
)
async def test_a_setup_is_refused(
    dial: Dial, config: dict[str, Any], code: int, reason: str
) -> None:
    async with Simulator(quick()) as simulator:
        with pytest.raises(errors.APIError) as refused:
            async with dial(simulator, **config):
                pass
        assert refused.value.code == code
        assert reason in str(refused.value)
        await until(lambda: simulator.sessions[0].closed)
        assert simulator.sessions[0].close_code == code


async def test_an_enum_the_service_does_not_know(dial: Dial) -> None:
    async with Simulator(quick()) as simulator:
        detection = {"start_of_speech_sensitivity": "START_SENSITIVITY_MEDIUM"}
        config: dict[str, Any] = {
            "realtime_input_config": {"automatic_activity_detection": detection}
        }
        with pytest.warns(UserWarning, match="SENSITIVITY_MEDIUM"):
            connecting = dial(simulator, **config)
        with pytest.raises(errors.APIError, match="start_of_speech_sensitivity"):
            await connecting.__aenter__()


@pytest.mark.parametrize(
    ("send", "reason"),
    [
        (
            lambda session: session.send_realtime_input(
                media=types.Blob(data=b"\0\0", mime_type="audio/pcm;rate=16000")
            ),
            "media_chunks is deprecated",
        ),
        (
            lambda session: session.send_realtime_input(activity_start=types.ActivityStart()),
            "Explicit activity control",
        ),
        (
            lambda session: session.send_realtime_input(
                audio=types.Blob(data=b"\0\0", mime_type="audio/opus")
            ),
            "mime_type audio/opus",
        ),
    ],
    ids=["mediaChunks", "activityStart", "opus"],
)
async def test_a_message_is_refused(
    dial: Dial, send: Callable[[AsyncSession], Awaitable[None]], reason: str
) -> None:
    async with Simulator(quick()) as simulator, dial(simulator) as session:
        await send(session)
        with pytest.raises(errors.APIError, match=reason) as refused:
            await turn_of(session)
        assert refused.value.code == 1007


def raw(
    simulator: Simulator,
    path: str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    key: str = "any",
) -> connect:
    """A client that is not the SDK, and may send what it likes."""
    trust = ssl.create_default_context(cafile=simulator.ca_file)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does unasked
    return connect(
        f"wss://localhost:{simulator.port}{path}",
        ssl=trust,
        additional_headers={"x-goog-api-key": key} if key else {},
        proxy=None,
    )


async def ending(connection: ClientConnection) -> tuple[int | None, str | None]:
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass
    return connection.close_code, connection.close_reason


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ({"setup": {"model": "models/gemini-3.8-live", "tool_config": {}}}, '"tool_config"'),
        ({"realtime_input": {"text": "hello"}}, "setup must be the first message"),
        ({"setup": {}, "hello": {}}, 'Unknown name "hello"'),
        ("setup", "Invalid JSON payload"),
    ],
)
async def test_a_first_message_is_refused(first: Any, reason: str) -> None:
    async with Simulator(quick()) as simulator, raw(simulator) as connection:
        await connection.send(orjson.dumps(first), text=True)
        code, said = await ending(connection)
        assert code == 1007
        assert reason in (said or "")


async def test_vertex_has_a_path_of_its_own() -> None:
    path = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    async with Simulator(quick()) as simulator, raw(simulator, path) as connection:
        model = "projects/p/locations/l/publishers/google/models/gemini-3.8-live"
        await connection.send(orjson.dumps({"setup": {"model": model}}))
        answer = orjson.loads(await connection.recv())
        assert answer == {"setupComplete": {"sessionId": "simulated-0"}}


async def test_a_client_leaves_before_its_setup() -> None:
    async with Simulator(quick()) as simulator:
        async with raw(simulator):
            pass
        [record] = simulator.sessions
        await until(lambda: record.closed)
        assert (record.setup, record.close_code) == (None, 1000)


async def test_a_key_in_the_address_is_not_kept() -> None:
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    async with Simulator(quick()) as simulator:
        async with raw(simulator, f"{path}?key=secret", key=""):
            pass
        assert simulator.sessions[0].path == path


async def test_no_key_and_no_such_method() -> None:
    async with Simulator(quick()) as simulator:
        for connecting, status in ((raw(simulator, key=""), 403), (raw(simulator, "/ws/x"), 404)):
            with pytest.raises(InvalidStatus) as refused:
                await connecting
            assert refused.value.response.status_code == status


# ---- what goes wrong ---------------------------------------------------------------------------

Exceptional = type[BaseException]

CONNECTING: dict[str, tuple[Behaviour, Exceptional, int | None]] = {
    "http-403": (quick("http-403"), InvalidStatus, 403),
    "http-429": (quick("http-429"), InvalidStatus, 429),
    "http-503": (quick("http-503"), InvalidStatus, 503),
    "reset": (quick("reset"), InvalidMessage, None),
    "close-at-setup": (quick("close-at-setup", close=CLOSES["key"]), errors.APIError, 1007),
}


@pytest.mark.parametrize("fault", CONNECTING)
async def test_connecting_fails(dial: Dial, fault: str) -> None:
    behaviour, raised, code = CONNECTING[fault]
    async with Simulator(behaviour) as simulator:
        with pytest.raises(raised) as failed:
            async with dial(simulator):
                pass
        assert status_of(failed.value) == code
        assert simulator.session_count == 1
        assert simulator.sessions[0].setup_done is None


async def test_connecting_takes_for_ever(dial: Dial) -> None:
    async with Simulator(quick("silent")) as simulator:
        with pytest.raises(TimeoutError):
            async with dial(simulator, open_timeout=0.3):
                pass
    async with Simulator(quick("no-setup-complete")) as simulator:
        # Nothing in the SDK bounds the wait for setupComplete.
        connecting = asyncio.create_task(dial(simulator).__aenter__())
        await until(lambda: simulator.sessions and simulator.sessions[0].setup)
        done, _ = await asyncio.wait([connecting], timeout=0.3)
        assert not done
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def test_the_service_leaves_before_the_setup(dial: Dial) -> None:
    async with Simulator(quick("close-before-setup", close=CLOSES["quota"])) as simulator:
        # Which one depends on whether the close arrives before the setup is sent.
        with pytest.raises(
            (errors.APIError, ConnectionClosed), match="exceeded your current quota"
        ):
            async with dial(simulator):
                pass


@pytest.mark.parametrize("close", CLOSES)
async def test_the_service_leaves(dial: Dial, close: str) -> None:
    code, reason = CLOSES[close]
    async with Simulator(quick("close", close=CLOSES[close])) as simulator:
        async with dial(simulator) as session:
            with pytest.raises(errors.APIError) as lost:
                await turn_of(session)
            assert lost.value.code == code
            assert reason in str(lost.value)
            with pytest.raises(ConnectionClosed):
                await greet(session)
        await until(lambda: simulator.sessions[0].closed)
        assert simulator.sessions[0].close_code == code


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ("malformed-json", ValueError),
        ("unknown-message", TypeError),
        ("error-message", TypeError),
    ],
)
async def test_a_message_the_sdk_cannot_take(dial: Dial, fault: str, raised: Exceptional) -> None:
    async with Simulator(quick(fault)) as simulator, dial(simulator) as session:
        with pytest.raises(raised):
            await turn_of(session)


async def test_a_message_with_more_in_it_than_the_sdk_knows(dial: Dial) -> None:
    async with Simulator(quick("unknown-field")) as simulator, dial(simulator) as session:
        await greet(session)
        audio, _ = await turn_of(session)
        assert audio == bytes(4) + GREETING.data


async def test_a_message_larger_than_the_sdk_takes(dial: Dial) -> None:
    async with Simulator(quick("huge-message")) as simulator, dial(simulator) as session:
        with pytest.raises(errors.APIError) as lost:
            await turn_of(session)
        assert lost.value.code == 1006  # which is what the SDK makes of it


async def test_the_service_goes_away_and_says_so_before(dial: Dial) -> None:
    async with (
        Simulator(quick("go-away", fault_seconds=0.05)) as simulator,
        dial(simulator) as session,
    ):
        message = await anext(aiter(session.receive()))
        assert message.go_away
        assert message.go_away.time_left == "0.05s"
        with pytest.raises(errors.APIError, match="The operation was cancelled") as lost:
            await turn_of(session)
        assert lost.value.code == 1000


async def test_a_fault_in_the_middle_of_a_call(dial: Dial) -> None:
    async with Simulator(quick()) as simulator, dial(simulator) as session:
        await greet(session)
        await turn_of(session)
        simulator.inject("go-away")
        message = await anext(aiter(session.receive()))
        assert message.go_away
        with pytest.raises(ValueError, match="silent cannot be injected"):
            simulator.inject("silent")
        with pytest.raises(LookupError):
            simulator.inject("go-away", session=7)


TURNS: dict[str, tuple[list[str], float]] = {
    # What comes beside audio, and how much of the reply is heard.
    "empty-turn": (["turn_complete"], 0.0),
    "cut-reply": (["turn_complete"], 0.4),
    "phantom-interrupted": (["interrupted", "turn_complete"], 0.4),
    "stall": (["generation_complete", "turn_complete"], 1.0),
    "slow": (["generation_complete", "turn_complete"], 1.0),
}


@pytest.mark.parametrize("fault", TURNS)
async def test_a_turn_goes_wrong(dial: Dial, fault: str) -> None:
    story, share = TURNS[fault]
    async with (
        Simulator(quick(fault, fault_seconds=0.1)) as simulator,
        dial(simulator) as session,
    ):
        await speak(session, SPEECH + SILENCE)
        audio, others = await turn_of(session)
        assert names(others) == story
        assert len(audio) / len(REPLY.data) == pytest.approx(share)


@pytest.mark.parametrize("fault", ["no-answer", "tone"])
async def test_a_turn_has_no_end(dial: Dial, fault: str) -> None:
    behaviour = quick(fault, fault_turn=0, speed=50.0)
    async with Simulator(behaviour) as simulator, dial(simulator) as session:
        await speak(session, SPEECH + SILENCE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await turn_of(session)
        assert (simulator.sessions[0].audio_sent_bytes > 0) == (fault == "tone")
        await session.send_realtime_input(text="continue")
        audio, _ = await turn_of(session)
        if fault == "tone":  # the end of the turn that was interrupted
            audio, _ = await turn_of(session)
        assert audio in (GREETING.data, REPLY.data)


def test_every_fault_is_tried_here_and_explained() -> None:
    elsewhere = {"close", "close-before-setup", "go-away", "no-answer", "tone", "lost-handles"}
    messages = {"malformed-json", "unknown-message", "error-message", "binary", "pretty"}
    messages |= {"unknown-field", "huge-message"}
    elsewhere |= {"deaf", "twice"}  # in test_simulator_conversation
    waits = {"silent", "no-setup-complete"}
    assert CONNECTING.keys() | TURNS.keys() | elsewhere | messages | waits == FAULTS.keys()
    assert all(sentence.endswith(".") for sentence in FAULTS.values())


async def test_a_client_that_does_not_read_does_not_keep_its_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CLOSE_SECONDS", 0.1)
    endless = Pcm(bytes(48_000 * 300), 24_000)  # 19 MB of messages: no socket buffer takes them
    async with Simulator(quick(greeting=endless, chunk_ms=1_000)) as simulator:
        async with raw(simulator) as connection:
            await connection.send('{"setup":{"model":"models/gemini-3.8-live"}}')
            await connection.send('{"realtimeInput":{"text":"go on and on"}}')
            [record] = simulator.sessions
            await until(lambda: record.audio_sent_bytes)
            await connection.send('{"hello":{}}')
            await until(lambda: record.closed)
            assert record.close_code == 1007
            connection.transport.abort()

        async with raw(simulator) as connection:
            await connection.send('{"setup":{"model":"models/gemini-3.8-live"}}')
            await connection.send('{"realtimeInput":{"text":"go on and on"}}')
            await until(lambda: simulator.sessions[-1].audio_sent_bytes)
            leaving = asyncio.create_task(simulator.__aexit__(None, None, None))
            await asyncio.wait_for(leaving, timeout=5.0)
            connection.transport.abort()


async def test_handles_are_lost(dial: Dial) -> None:
    behaviours = [quick(), quick("lost-handles")]
    async with Simulator(behaviour_for=behaviours.__getitem__) as simulator:
        async with dial(simulator, session_resumption={}):
            [handle] = simulator.sessions[0].handles
        with pytest.raises(errors.APIError, match=r"session_resumption\.handle"):
            async with dial(simulator, session_resumption={"handle": handle}):
                pass


async def test_sessions_that_hang_do_not_keep_the_simulator() -> None:
    faults = [quick("silent"), quick("no-setup-complete"), quick(connect_delay_seconds=30.0)]

    async with Simulator(behaviour_for=faults.__getitem__) as simulator:
        waiting = [asyncio.create_task(knock(simulator)) for _ in faults]
        await until(lambda: sum(bool(r.setup) for r in simulator.sessions) == 2)
        started = time.monotonic()
    assert time.monotonic() - started < 5.0
    await asyncio.gather(*waiting)


async def knock(simulator: Simulator) -> None:
    with contextlib.suppress(ConnectionClosed, InvalidStatus, InvalidMessage):
        async with raw(simulator) as connection:
            await connection.send('{"setup":{"model":"models/gemini-3.8-live"}}')
            await connection.recv()


def status_of(failure: BaseException) -> int | None:
    match failure:
        case InvalidStatus():
            return failure.response.status_code
        case errors.APIError():
            return failure.code
        case _:
            return None


def test_a_record_says_what_did_not_happen() -> None:
    record = SessionRecord(0, 0.0)
    assert (record.setup, record.setup_done, record.closed, record.close_code) == (None,) * 4

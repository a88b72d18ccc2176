"""Gemini Live: the real google-genai over real TLS to the simulator, by the fast path and by the SDK's
own. What only the service itself could show is not shown here."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from socket import EAI_NONAME, gaierror
from typing import Any

import pytest
from google.auth.exceptions import GoogleAuthError
from google.genai import errors, types
from structlog.testing import capture_logs
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidProxy
from websockets.frames import Close
from websockets.protocol import State
from websockets.uri import parse_uri

from audiosocket_agent import assets
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.errors import ModelError
from audiosocket_agent.lab.simulator import CLOSES, Behaviour, Pcm, Simulator, ToolStep
from audiosocket_agent.model import base, gemini
from audiosocket_agent.model.gemini import GeminiModel, GeminiSession
from audiosocket_agent.model.gemini_connection import (
    MAX_UNSENT_BYTES,
    FastConnection,
    connecting_for,
)
from audiosocket_agent.model.gemini_errors import model_errors
from audiosocket_agent.settings import Gemini
from tests.model.cable import Cable
from tests.scripted import tone

BOTH_PATHS = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "sdk"])
QUICK = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.02,
    speed=0,
    greeting=Pcm(tone(0.5), 24_000),
    reply=Pcm(tone(0.4, 600.0), 24_000),
)
TOOL = ToolSpec(
    "find",
    "Find a thing.",
    {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
)
SETUP = base.SessionSetup("Be brief.", "Greet the caller.", (TOOL,))


class Talk:
    """A session being read, and what it has brought."""

    def __init__(self) -> None:
        self.session: GeminiSession
        self.audio = bytearray()
        self.rates: set[int] = set()
        self.events: list[base.ModelEvent] = []
        self.error: ModelError | None = None
        self._news = asyncio.Event()

    def take(self, pcm: bytes, rate_hz: int) -> None:
        self.audio += pcm
        self.rates.add(rate_hz)

    def happened(self, event: base.ModelEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def read(self) -> None:
        try:
            async for event in self.session.events():
                self.happened(event)
        except ModelError as error:
            self.error = error
            self._news.set()

    async def until(self, kind: type[base.ModelEvent], count: int = 1) -> base.ModelEvent:
        async with asyncio.timeout(5.0):
            while len(self.of(kind)) < count:
                await self._more()
        return self.of(kind)[count - 1]

    async def lost(self) -> ModelError:
        async with asyncio.timeout(5.0):
            while self.error is None:
                await self._more()
        return self.error

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()

    def of(self, kind: type[base.ModelEvent]) -> list[base.ModelEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    async def says(self, pcm: bytes, rate_hz: int = 16_000) -> None:
        """Speak at once what takes a caller seconds; the simulator counts samples, not time."""
        step = rate_hz // 50 * 2
        for at in range(0, len(pcm), step):
            self.session.send_audio(pcm[at : at + step], rate_hz)
            await asyncio.sleep(0)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(
        simulator: Simulator, *, port: int = 0, interruptions: bool = True, **settings: Any
    ) -> GeminiModel:
        base_url = f"https://localhost:{port or simulator.port}"
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        return GeminiModel(
            Gemini.model_validate({"api_key": "simulated", **settings}),
            interruptions=interruptions,
        )

    return make


@asynccontextmanager
async def talk(
    model: GeminiModel, setup: base.SessionSetup = SETUP, *, at_once: bool = True
) -> AsyncIterator[Talk]:
    """`at_once`: what comes often is taken as it comes."""
    talking = Talk()
    setup = replace(setup, happened=talking.happened if at_once else None)
    async with model.open(setup, talking.take) as session:
        talking.session = session
        reading = asyncio.create_task(talking.read())
        try:
            yield talking
        finally:
            reading.cancel()
            await asyncio.wait([reading])


# -- a conversation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fast_path", "at_once"),
    [(True, True), (True, False), (False, True)],
    ids=["fast", "fast-in-turn", "sdk"],
)
@pytest.mark.parametrize("dressed", ["", "merge", "pretty", "binary"])
async def test_a_conversation(model: Any, fast_path: bool, at_once: bool, dressed: str) -> None:
    behaviour = Behaviour(
        connect_delay_seconds=0.0,
        think_seconds=0.02,
        speed=0,
        greeting=QUICK.greeting,
        reply=QUICK.reply,
        merge=dressed == "merge",
        faults=frozenset({dressed} & {"pretty", "binary"}),
    )
    async with Simulator(behaviour) as simulator:
        async with talk(model(simulator, fast_path=fast_path), at_once=at_once) as call:
            await call.until(base.TurnEnded)
            assert bytes(call.audio) == tone(0.5)  # once, whichever path took it
            await call.says(assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000))
            ended = await call.until(base.TurnEnded, 2)
            assert ended == base.TurnEnded(spoke=True)
            assert bytes(call.audio) == tone(0.5) + tone(0.4, 600.0)
            assert call.rates == {24_000}
            said = [(e.speaker, bool(e.text)) for e in call.of(base.Transcript)]  # type: ignore[union-attr]
            assert ("caller", True) in said
            assert ("agent", True) in said
            assert len(call.of(base.GenerationEnded)) == 2
            usage = await call.until(base.Usage, 2)
            assert isinstance(usage, base.Usage)
            assert {way for way, _ in usage.tokens} == {"in", "out"}
            assert usage.model == "gemini-3.8-live"
            assert (call.session.connection is not None) == fast_path
        [record] = simulator.sessions
        assert record.audio_rate_hz == 16_000
        assert record.speech_ms > 1_500
        await heard(simulator, lambda record: record.close_code == 1000)


@BOTH_PATHS
async def test_8_khz_goes_up_as_it_is(model: Any, fast_path: bool) -> None:
    frames = tone(0.2, rate_hz=8_000)
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator, fast_path=fast_path)) as call:
            await call.until(base.TurnEnded)
            await call.says(frames, 8_000)
            call.session.end_audio()
            await heard(simulator, lambda record: record.audio_stream_ends == 1)
        [record] = simulator.sessions
        assert record.audio_rate_hz == 8_000
        assert bytes(record.audio) == frames


@BOTH_PATHS
async def test_the_caller_interrupts(model: Any, fast_path: bool) -> None:
    behaviour = Behaviour(
        connect_delay_seconds=0.0, think_seconds=0.02, greeting=Pcm(tone(30.0), 24_000)
    )
    async with Simulator(behaviour) as simulator:
        async with talk(model(simulator, fast_path=fast_path)) as call:
            await call.until(base.Transcript)
            await call.says(assets.speech("caller")[:64_000])
            await call.until(base.Interrupted)
            await call.until(base.TurnEnded)
            assert not call.of(base.GenerationEnded)
            call.session.note_heard(1_260)
            await heard(simulator, lambda record: len(record.contents) == 2)
        note = simulator.sessions[0].contents[1]
        assert "1.3 s" in str(note)
        assert not note.get("turnComplete")  # a note, not a turn that wants an answer


@BOTH_PATHS
async def test_a_tool_is_called_and_answered(model: Any, fast_path: bool) -> None:
    behaviour = Behaviour(
        connect_delay_seconds=0.0,
        think_seconds=0.02,
        speed=0,
        greeting=QUICK.greeting,
        tools=(ToolStep(1, "find", {"what": "it"}, after=Pcm(tone(0.3), 24_000)),),
    )
    async with Simulator(behaviour) as simulator:
        async with talk(model(simulator, fast_path=fast_path)) as call:
            await call.until(base.TurnEnded)
            await call.says(assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000))
            wanted = await call.until(base.ToolCall)
            assert isinstance(wanted, base.ToolCall)
            assert (wanted.name, dict(wanted.arguments)) == ("find", {"what": "it"})
            before = len(call.audio)
            call.session.send_tool_result(wanted, {"output": "found"})
            await call.until(base.TurnEnded, 2)
            assert len(call.audio) - before == len(tone(0.3))
        [response] = simulator.sessions[0].tool_responses
        assert response["response"] == {"output": "found"}
        assert response["id"] == wanted.id


async def test_whether_a_tool_is_waited_for_is_said_in_so_many_words(model: Any) -> None:
    """The model's own default is not to wait, and then it speaks before the result and after it."""
    slow = ToolSpec("wander", "Look for a thing.", TOOL.parameters, slow=True)
    steps = (ToolStep(1, "find", {"what": "it"}), ToolStep(2, "wander", {"what": "it"}))
    async with Simulator(replace(QUICK, tools=steps)) as simulator:
        async with talk(model(simulator), base.SessionSetup("", "Greet.", (TOOL, slow))) as call:
            for turn in (1, 2):
                await call.until(base.TurnEnded, turn)
                await call.says(assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000))
                wanted = await call.until(base.ToolCall, turn)
                assert isinstance(wanted, base.ToolCall)
                call.session.send_tool_result(wanted, {"output": "found"})
            await heard(simulator, lambda record: len(record.tool_responses) == 2)
        [record] = simulator.sessions
        assert record.setup is not None
        [tools] = record.setup["tools"]
        declared = {each["name"]: each["behavior"] for each in tools["functionDeclarations"]}
        assert declared == {"find": "BLOCKING", "wander": "NON_BLOCKING"}
        assert [each.get("scheduling") for each in record.tool_responses] == [None, "WHEN_IDLE"]


async def test_a_connection_does_not_hold_what_its_setup_was_made_of(model: Any) -> None:
    def parts() -> list[object]:
        gc.collect()
        made = (types.LiveConnectConfig, types.FunctionDeclaration, types.Schema)
        return [each for each in gc.get_objects() if type(each) in made]

    async with Simulator(QUICK) as simulator:
        before = parts()  # another test's, perhaps
        async with talk(model(simulator)) as call:
            await call.until(base.TurnEnded)
            assert {*map(id, parts())} <= {*map(id, before)}
            connection = call.session.connection
            assert connection is not None
            assert connection.request is not None
            assert not connection.request.headers
            await call.says(assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000))
            await call.until(base.TurnEnded, 2)


# -- the setup -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "gemini-3.8-live",
        "gemini-3.1-flash-live-preview",
        "gemini-2.5-flash-native-audio-preview-12-2025",
    ],
)
async def test_every_known_model_accepts_our_setup_and_greets(model: Any, name: str) -> None:
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator, live_model=name, language="hi-IN")) as call:
            await call.until(base.TurnEnded)
            call.session.note_heard(500)
            call.session.end_audio()
            await heard(simulator, lambda record: record.audio_stream_ends == 1)
        [record] = simulator.sessions
        realtime = name == "gemini-3.1-flash-live-preview"
        assert (len(record.texts), len(record.contents)) == ((1, 0) if realtime else (0, 2))


async def test_the_setup_says_what_the_settings_say(model: Any) -> None:
    async with Simulator(QUICK) as simulator:
        wanted = model(
            simulator,
            interruptions=False,
            voice="Puck",
            temperature=0.5,
            start_sensitivity="low",
            end_sensitivity="high",
            silence_duration=0.7,
            compression_trigger=9000,
            compression_target=4000,
        )
        async with talk(wanted) as call:
            await call.until(base.TurnEnded)
        setup = str(simulator.sessions[0].setup)
        for said in (
            "Be brief.",
            "Puck",
            "START_SENSITIVITY_LOW",
            "END_SENSITIVITY_HIGH",
            "700",
            "9000",
            "4000",
            "NO_INTERRUPTION",
            "'find'",
            "BLOCKING",
            "0.5",
        ):
            assert said in setup


async def test_vertex_ai_is_a_setting(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(QUICK) as simulator:
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", simulator.base_url)
        async with talk(model(simulator, vertex=True)) as call:  # with a key: express mode
            await call.until(base.TurnEnded)
            assert bytes(call.audio) == tone(0.5)
        assert "google.cloud.aiplatform" in simulator.sessions[0].path


async def test_without_a_greeting_the_model_waits(model: Any) -> None:
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator), base.SessionSetup("Be brief.", "")) as call:
            await asyncio.sleep(0.1)
            assert not call.audio
        assert not simulator.sessions[0].contents


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        ("http-403", "403", False),
        ("http-429", "429", True),
        ("http-503", "503", True),
        ("reset", "unreachable", True),
        ("silent", "timeout", True),
        ("no-setup-complete", "timeout", True),
        ("close-before-setup", "1011", True),
        ("close-at-setup", "1011", True),
    ],
)
async def test_a_session_that_cannot_be_had(
    model: Any, fault: str, code: str, retryable: bool
) -> None:
    behaviour = Behaviour(faults=frozenset({fault}))
    timeout = 0.3 if code == "timeout" else 10.0
    async with Simulator(behaviour) as simulator:
        with pytest.raises(ModelError) as refused:
            async with talk(model(simulator, setup_timeout=timeout)):
                pass
    assert (refused.value.code, refused.value.retryable) == (code, retryable)


@BOTH_PATHS
@pytest.mark.parametrize(
    ("fault", "close", "code", "retryable"),
    [
        ("close", "cancelled", "1000", True),
        ("close", "abort", "1006", True),
        ("close", "invalid", "1007", False),
        ("close", "unsupported", "1008", False),
        ("close", "deadline", "1011", True),
        ("malformed-json", "internal", "bad_message", True),
        ("error-message", "internal", "bad_message", True),
    ],
)
async def test_a_session_that_is_lost(
    model: Any, fast_path: bool, fault: str, close: str, code: str, retryable: bool
) -> None:
    behaviour = Behaviour(
        connect_delay_seconds=0.0,
        faults=frozenset({fault}),
        fault_after_seconds=0.1,
        close=CLOSES[close],
    )
    async with Simulator(behaviour) as simulator:
        async with talk(model(simulator, fast_path=fast_path)) as call:
            error = await call.lost()
            assert (error.code, error.retryable) == (code, retryable)
            with capture_logs() as logged:
                for _ in range(3):  # nobody hears it, and it harms nobody
                    call.session.send_audio(bytes(320), 8_000)
                    call.session.send_text("Are you there?")
                    await asyncio.sleep(0.01)
            assert logged == []


async def test_a_refusal_is_told_in_googles_words(model: Any) -> None:
    refuses = Behaviour(faults=frozenset({"close-at-setup"}), close=CLOSES["invalid"])
    async with Simulator(refuses) as simulator:
        with pytest.raises(ModelError) as refused:
            async with talk(model(simulator)):
                pass
    assert str(refused.value).startswith(f"1007: {CLOSES['invalid'].reason[:40]}")


@BOTH_PATHS
async def test_more_in_a_message_than_we_know_is_passed_over(model: Any, fast_path: bool) -> None:
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator, fast_path=fast_path)) as call:
            await call.until(base.TurnEnded)
            heard_before = len(call.audio)
            simulator.inject("unknown-field")
            await call.says(assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000))
            await call.until(base.TurnEnded, 2)
            assert len(call.audio) - heard_before == 4 + len(tone(0.4))  # theirs, and the reply
            assert call.error is None


@BOTH_PATHS
async def test_a_reader_that_stops_reading_keeps_its_connection(
    model: Any, monkeypatch: pytest.MonkeyPatch, fast_path: bool
) -> None:
    """Where so few messages may wait that the socket is not read any more, pongs are not either."""
    monkeypatch.setattr(gemini, "PING_TIMEOUT_S", 0.2)
    talking = Talk()
    many = replace(QUICK, greeting=Pcm(tone(4.0), 24_000))  # 100 messages
    async with Simulator(many) as simulator:
        busy = model(simulator, fast_path=fast_path, ping_interval=0.2)
        async with busy.open(SETUP, talking.take) as talking.session:
            await asyncio.sleep(1.5)
            reading = asyncio.create_task(talking.read())
            await talking.until(base.TurnEnded)
            assert bytes(talking.audio) == tone(4.0)
            assert simulator.sessions[0].close_code is None
            reading.cancel()
            await asyncio.wait([reading])


async def test_a_service_that_stops_reading_is_left_all_the_same(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini, "CLOSE_TIMEOUT_S", 0.05)
    async with Simulator(QUICK) as simulator, Cable(simulator.port) as cable:
        async with talk(model(simulator, port=cable.port)) as call, asyncio.timeout(5.0):
            await call.until(base.TurnEnded)
            connection = call.session.connection
            assert connection is not None
            cable.block()
            while not connection.paused:
                call.session.send_audio(bytes(32_000), 16_000)
                await asyncio.sleep(0)
        async with asyncio.timeout(5.0):
            await connection.wait_closed()


async def test_a_close_that_is_broken_off_closes_all_the_same(model: Any) -> None:
    """A call that ends is waiting for the closing handshake of a service that has gone silent, when the
    process is told to end."""
    up, talking = asyncio.Event(), Talk()

    async def talk_on(talks: GeminiModel) -> None:
        async with talks.open(SETUP, talking.take) as talking.session:
            up.set()
            await asyncio.Event().wait()

    async with Simulator(QUICK) as simulator, Cable(simulator.port) as cable:
        call = asyncio.create_task(talk_on(model(simulator, port=cable.port)))
        await up.wait()
        connection = talking.session.connection
        assert connection is not None
        cable.hold()
        async with asyncio.timeout(5.0):
            call.cancel()
            while connection.protocol.state is not State.CLOSING:  # noqa: ASYNC110 - another's state
                await asyncio.sleep(0)
            call.cancel()
            await connection.wait_closed()
            await asyncio.wait([call])
        assert call.cancelled()


async def test_nobody_there(model: Any) -> None:
    async with Simulator(QUICK) as simulator:
        gone = model(simulator)
    with pytest.raises(ModelError) as refused:
        async with talk(gone):
            pass
    assert refused.value.code == "unreachable"


async def test_a_fault_of_ours_is_not_taken_for_the_models(model: Any) -> None:
    async with Simulator(QUICK) as simulator:
        with pytest.raises(KeyError):
            async with talk(model(simulator)):
                raise KeyError("ours")


@BOTH_PATHS
async def test_a_fault_of_ours_in_the_audio_path_is_ours(model: Any, fast_path: bool) -> None:
    def take(pcm: bytes, rate_hz: int) -> None:
        raise TypeError("ours")

    async with Simulator(QUICK) as simulator:
        with pytest.raises(TypeError, match="ours"):
            await until_lost(model(simulator, fast_path=fast_path), take)


async def test_a_fault_of_ours_with_an_event_is_ours(model: Any) -> None:
    def happened(event: base.ModelEvent) -> None:
        raise TypeError("ours")

    setup = replace(SETUP, happened=happened)
    async with Simulator(QUICK) as simulator:
        with pytest.raises(TypeError, match="ours"):
            await until_lost(model(simulator), lambda pcm, rate_hz: None, setup)


async def test_a_result_the_sdk_refuses_does_not_stop_what_is_sent_after_it(model: Any) -> None:
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator)) as call:
            await call.until(base.TurnEnded)
            call.session.send_tool_result(base.ToolCall("1", "find", {}), {"output": object()})
            call.session.note_heard(700)
            await heard(simulator, lambda record: len(record.contents) == 2)


@pytest.mark.parametrize(
    "message",
    [
        b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"AAAA"}}]}}}',
        b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"a","data":"A-_A"}}]}}}',
        b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"a","data":"AAA"}}]}}}',
        b'{"toolCall":{"functionCalls":[{"id":"1","name":"f","args":{"inlineData":1}}]}}',
        b'{"inlineData": not json',
    ],
)
async def test_a_message_that_is_not_as_expected_is_left_to_the_sdk(message: bytes) -> None:
    class Taker:
        connection: FastConnection | None = None

        def take_audio(self, pcm: bytes, rate_hz: int) -> None:
            raise AssertionError("nothing of it is taken")

        def take_message(self, message: bytes) -> bool:
            return False

    connecting_for.set(Taker())
    connection = FastConnection(ClientProtocol(parse_uri("wss://localhost")))
    assert connection._without_audio(message) == message


async def test_audio_is_for_a_connection_that_is_open() -> None:
    class Wire(asyncio.Transport):
        written = b""

        def write(self, data: Any) -> None:
            self.written += bytes(data)

        def is_closing(self) -> bool:
            return False

    class Taker:
        connection: FastConnection | None = None

        def take_audio(self, pcm: bytes, rate_hz: int) -> None: ...

        def take_message(self, message: bytes) -> bool:
            return False

    connecting_for.set(Taker())
    connection = FastConnection(ClientProtocol(parse_uri("wss://localhost")))
    for state in State:
        connection.transport, connection.protocol.state = Wire(), state
        connection.send_audio(bytes(320), 8_000)
        connection.send_audio_end()
        connection.send_activity(begins=True)
        await asyncio.sleep(0)
        assert bool(connection.transport.written) == (state is State.OPEN)


def test_neither_a_key_nor_anybodys_words_are_in_an_errors_text() -> None:
    with pytest.raises(ModelError) as refused, model_errors("AIzaSecret"):
        raise errors.APIError(1008, {"message": "Permission denied for api_key:AIzaSecret" * 99})
    assert "AIzaSecret" not in str(refused.value)
    assert len(str(refused.value)) <= 200
    with pytest.raises(ModelError) as refused, model_errors():
        raise ValueError('Failed to parse response: {"text": "my card is 4111 1111"')
    assert "4111" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GoogleAuthError(), "credentials"),  # type: ignore[no-untyped-call]
        (InvalidProxy("p", "x"), "unreachable"),
        (gaierror(EAI_NONAME, "Name or service not known"), "unreachable"),
        # closed so soon that the setup finds it closed: not by the SDK's receive, which has its own
        (ConnectionClosedOK(Close(1000, "The operation was cancelled."), None), "1000"),
        (ConnectionClosedError(Close(1011, "Internal error encountered."), None), "1011"),
        (ConnectionClosedError(None, None), "1006"),
    ],
)
def test_what_a_library_raises_is_the_models_failure(error: Exception, code: str) -> None:
    with pytest.raises(ModelError) as refused, model_errors():
        raise error
    assert refused.value.code == code


@BOTH_PATHS
async def test_audio_may_go_in_larger_pieces_and_none_of_it_stays(
    model: Any, fast_path: bool
) -> None:
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator, fast_path=fast_path, uplink_chunk_ms=40)) as call:
            await call.until(base.TurnEnded)
            for _ in range(5):
                call.session.send_audio(bytes(320), 8_000)
            call.session.send_audio(bytes(640), 16_000)  # what waits has another rate
            call.session.end_audio()
            await heard(simulator, lambda record: record.audio_stream_ends == 1)
        [record] = simulator.sessions
        assert record.audio_messages == 4


async def test_audio_for_a_model_that_does_not_read_is_dropped_at_a_bound(model: Any) -> None:
    async with Simulator(QUICK) as simulator:
        async with talk(model(simulator)) as call:
            await call.until(base.TurnEnded)
            connection = call.session.connection
            assert connection is not None
            most = 0
            for _ in range(30_000):  # 28 MB at once: more than the kernel takes off us
                call.session.send_audio(bytes(640), 16_000)
                most = max(most, connection.transport.get_write_buffer_size())
            assert connection.dropped > 0
            assert MAX_UNSENT_BYTES <= most < MAX_UNSENT_BYTES + 2_000
            async with asyncio.timeout(5.0):
                while connection.transport.get_write_buffer_size():  # noqa: ASYNC110 - the kernel's
                    await asyncio.sleep(0.01)
            dropped = connection.dropped
            call.session.send_audio(bytes(640), 16_000)
            await asyncio.sleep(0)
            assert connection.dropped == dropped


async def until_lost(
    model: GeminiModel, sink: base.AudioSink, setup: base.SessionSetup = SETUP
) -> None:
    """Hold a session, and take its events until something is raised."""
    async with model.open(setup, sink) as session:
        async for _ in session.events():
            pass


async def heard(simulator: Simulator, condition: Any) -> None:
    """Wait until the simulator's only session is so."""
    async with asyncio.timeout(5.0):
        while not condition(simulator.sessions[0]):  # noqa: ASYNC110 - another side's state
            await asyncio.sleep(0.01)

"""Gemini Live, by google-genai: setup, tools, errors and what is rare are the SDK's; audio, and what is
said all the time, go past it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from google import genai
from google.genai import types
from google.genai.live import AsyncSession
from websockets.exceptions import ConnectionClosed

from audiosocket_agent import log
from audiosocket_agent.audio import FRAME_MS, duration_ms
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.model.base import (
    AudioSink,
    Capabilities,
    EventSink,
    GenerationEnded,
    GoAway,
    Interrupted,
    ModelEvent,
    Resumable,
    SessionSetup,
    ToolCall,
    ToolCancelled,
    Transcript,
    TurnEnded,
    Usage,
)
from audiosocket_agent.model.gemini_connection import FastConnection, connecting_for, rate_of
from audiosocket_agent.model.gemini_errors import OursFailed, model_errors
from audiosocket_agent.model.gemini_events import is_of_the_future, plain_events, tokens
from audiosocket_agent.model.gemini_models import live_model
from audiosocket_agent.settings import Gemini as GeminiSettings

CLOSE_TIMEOUT_S: Final = 0.5
"""For the closing handshake; a call must let go of everything within a second of its end."""

_log = log.get(__name__)

PING_TIMEOUT_S: Final = 30.0
"""Pongs of the service were seen to take 8 to 30 s; the default of 20 ends sound connections."""

Send = Callable[[AsyncSession], Awaitable[None]]
"""A message to be sent, once there is a session to send it on."""

MAX_QUEUED: Final = 250
"""Messages waiting for the plain path to send them: 5 s of audio. Audio beyond it is dropped."""


class GeminiModel:
    """One client for all calls of the process. Raises ValueError or OSError where it cannot be made:
    no certificates, no credentials."""

    def __init__(self, settings: GeminiSettings, *, interruptions: bool = True) -> None:
        self._settings = settings
        self._interruptions = interruptions
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._errors = partial(model_errors, secret=key)
        self._live = live_model(settings.live_model)
        self.name = settings.live_model
        self.capabilities = Capabilities(
            heard_notes=settings.heard_notes and self._live.notes_in_history,
            async_tools=self._live.async_tools,
            answers=True,
            local_turns=True,
            resumable=True,
        )
        self._client = genai.Client(
            api_key=key or None,
            vertexai=settings.vertex,
            project=settings.project or None,
            location=settings.location or None,
            http_options=types.HttpOptions(
                api_version=settings.api_version, async_client_args=_websocket_options(settings)
            ),
        )

    @asynccontextmanager
    async def open(self, setup: SessionSetup, sink: AudioSink) -> AsyncIterator["GeminiSession"]:
        """A session on a connection of its own; raises ModelError, also where it is lost later."""
        session = GeminiSession(
            sink,
            self.capabilities,
            self._errors,
            model=self.name,
            happened=setup.happened,
            text_by_realtime_input=self._live.text_by_realtime_input,
            async_tools=frozenset(tool.name for tool in setup.tools if self._is_async(tool)),
            chunk_ms=self._settings.uplink_chunk_ms,
        )
        connecting_for.set(session)
        stack = AsyncExitStack()
        try:
            with self._errors():
                async with asyncio.timeout(self._settings.setup_timeout):
                    session.live = await stack.enter_async_context(
                        self._client.aio.live.connect(
                            model=self._settings.live_model, config=self._config(setup)
                        )
                    )
                    if session.connection is not None:  # it stays; the SDK's block would hold all
                        await stack.aclose()  # that the setup was made of, 19 kB
            if setup.greeting:
                session.send_text(setup.greeting)
            async with session.writing():
                yield session
        except OursFailed as failed:
            raise failed.__cause__ or failed from None
        finally:
            await session.close(stack)

    def _config(self, setup: SessionSetup) -> types.LiveConnectConfig:
        settings, live = self._settings, self._live
        voice, temperature = setup.voice or settings.voice, setup.temperature
        if setup.plain:
            settings, voice, temperature = _bare(settings), "", None
        transcription = types.AudioTranscriptionConfig() if settings.transcription else None
        return types.LiveConnectConfig(
            response_modalities=[types.Modality.AUDIO],
            system_instruction=setup.instructions,
            temperature=settings.temperature if temperature is None else temperature,
            speech_config=_speech(voice, settings.language),
            tools=[self._tools(setup)] if setup.tools else None,
            thinking_config=(
                None
                if live.thinking_budget is None
                else types.ThinkingConfig(thinking_budget=live.thinking_budget)
            ),
            realtime_input_config=_turn_taking(
                settings, interruptions=self._interruptions, local=setup.local_turns
            ),
            input_audio_transcription=transcription,
            output_audio_transcription=transcription,
            context_window_compression=_compression(settings),
            session_resumption=types.SessionResumptionConfig(handle=setup.resume or None),
        )

    def _tools(self, setup: SessionSetup) -> types.Tool:
        return types.Tool(
            function_declarations=[
                types.FunctionDeclaration(
                    name=tool.name,
                    description=tool.description,
                    parameters=(
                        types.Schema.model_validate(tool.parameters)
                        if tool.parameters.get("properties")
                        else None
                    ),
                    behavior=self._behavior(tool),
                )
                for tool in setup.tools
            ]
        )

    def _behavior(self, tool: ToolSpec) -> types.Behavior | None:
        if not self._live.tool_behavior:
            return None
        return types.Behavior.NON_BLOCKING if self._is_async(tool) else types.Behavior.BLOCKING

    def _is_async(self, tool: ToolSpec) -> bool:
        return tool.slow and self._live.async_tools


class GeminiSession:
    """One conversation (model.base.VoiceSession). `failures` turns what the SDK raises into
    ModelError."""

    def __init__(
        self,
        sink: AudioSink,
        capabilities: Capabilities,
        failures: Callable[[], AbstractContextManager[None]],
        *,
        model: str,
        happened: EventSink | None,
        text_by_realtime_input: bool,
        async_tools: Collection[str] = (),
        chunk_ms: int = FRAME_MS,
    ) -> None:
        self._model = model
        self._sink = sink
        self._happened = happened
        self._async_tools = async_tools
        self._text_by_realtime_input = text_by_realtime_input
        self._capabilities = capabilities
        self._failures = failures
        self._outbox: asyncio.Queue[Send] = asyncio.Queue(MAX_QUEUED)
        self._given_up = 0  # messages that found the outbox full
        self._chunk_ms = chunk_ms
        self._chunk = b""  # audio that waits for more of it
        self._chunk_hz = 0
        self.live: AsyncSession  # once it is connected
        self._spoke = False  # the present turn has brought audio
        self.connection: FastConnection | None = None  # None: the plain path

    @property
    def dropped(self) -> int:
        return self._given_up + (self.connection.dropped if self.connection is not None else 0)

    # -- to the model --------------------------------------------------------------------------

    def send_audio(self, pcm: bytes, rate_hz: int) -> None:
        if self._chunk_ms > FRAME_MS:
            self._gather(pcm, rate_hz)
        else:
            self._send_audio(pcm, rate_hz)

    def _gather(self, pcm: bytes, rate_hz: int) -> None:
        """Send it with more, in larger pieces."""
        if rate_hz != self._chunk_hz:
            self._send_chunk()
        self._chunk, self._chunk_hz = self._chunk + pcm, rate_hz
        if duration_ms(self._chunk, rate_hz) >= self._chunk_ms:
            self._send_chunk()

    def _send_chunk(self) -> None:
        """What has been gathered, before anything that is said of it."""
        chunk, self._chunk = self._chunk, b""
        if chunk:
            self._send_audio(chunk, self._chunk_hz)

    def _send_audio(self, pcm: bytes, rate_hz: int) -> None:
        if self.connection is not None:
            self.connection.send_audio(pcm, rate_hz)
        else:
            blob = types.Blob(data=pcm, mime_type=f"audio/pcm;rate={rate_hz}")
            self._queue(lambda live: live.send_realtime_input(audio=blob))

    def end_audio(self) -> None:
        self._send_chunk()
        if self.connection is not None:
            self.connection.send_audio_end()
        else:
            self._queue(lambda live: live.send_realtime_input(audio_stream_end=True))

    def begin_activity(self) -> None:
        self._send_chunk()
        if self.connection is not None:
            self.connection.send_activity(begins=True)
        else:
            start = types.ActivityStart()
            self._queue(lambda live: live.send_realtime_input(activity_start=start))

    def end_activity(self) -> None:
        self._send_chunk()
        if self.connection is not None:
            self.connection.send_activity(begins=False)
        else:
            end = types.ActivityEnd()
            self._queue(lambda live: live.send_realtime_input(activity_end=end))

    def mark_turns(self, *, unanswered: bool) -> bool:
        return False  # a connection keeps its setup

    def send_tool_result(self, call: ToolCall, result: Mapping[str, Any]) -> None:
        response = types.FunctionResponse(id=call.id, name=call.name, response=dict(result))
        if call.name in self._async_tools:  # nobody is interrupted by it
            response.scheduling = types.FunctionResponseScheduling.WHEN_IDLE
        self._queue(lambda live: live.send_tool_response(function_responses=response))

    def note_heard(self, heard_ms: int) -> None:
        if self._capabilities.heard_notes:
            text = f"(The caller interrupted after hearing {heard_ms / 1000:.1f} s of your reply.)"
            self._queue(_user_turn(text, complete=False))

    def send_text(self, text: str) -> None:
        if self._text_by_realtime_input:
            self._queue(lambda live: live.send_realtime_input(text=text))
        else:
            self._queue(_user_turn(text, complete=True))

    def _queue(self, send: Send) -> None:
        if self._outbox.full():  # a model that is 5 s behind its caller is of no use to the call
            self._given_up += 1
        else:
            self._outbox.put_nowait(send)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Send what is queued, in order, for as long as the block lasts."""
        writer = asyncio.create_task(self._write())
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.wait([writer])

    async def _write(self) -> None:
        while True:
            try:
                await (await self._outbox.get())(self.live)
            except (ConnectionClosed, OSError):
                return  # that the connection is gone is told by `events`
            except Exception:  # noqa: BLE001 - one message the SDK refuses must not stop all after it
                _log.exception("message not sent")

    async def close(self, stack: AsyncExitStack) -> None:
        """Leave the SDK's block, and close the connection. The closing handshake waits without end for a
        service that has stopped reading; the connection is cut then."""
        try:
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await stack.aclose()
                if self.connection is not None and hasattr(self, "live"):
                    await self.live.close()
        except TimeoutError:
            pass
        finally:  # also where whoever waits for it does so no longer
            if self.connection is not None:
                self.connection.cut()
            self._let_go()

    def _let_go(self) -> None:
        """Of the connection: a call has references in circles, and 0.35 MB of buffers would wait with
        them for a collection of everything, which is hundreds of calls away."""
        self._given_up, self.connection = self.dropped, None
        vars(self).pop("live", None)

    # -- from the model ------------------------------------------------------------------------

    def take_audio(self, pcm: bytes, rate_hz: int) -> None:
        """Audio, from either path."""
        self._spoke = True
        try:
            self._sink(pcm, rate_hz)
        except Exception as error:  # the SDK is on the stack, and would swallow a TypeError
            raise OursFailed from error

    def take_message(self, message: bytes) -> bool:
        """A message, on the fast path; False: the SDK is to have it."""
        if self._happened is None or not hasattr(self, "live"):  # or it is being set up
            return False
        events = plain_events(message, self._model, spoke=self._spoke)
        if events is None:
            return is_of_the_future(message)
        for event in events:
            if isinstance(event, TurnEnded):
                self._spoke = False
            try:
                self._happened(event)
            except Exception as error:  # likewise
                raise OursFailed from error
        return True

    def reconnect(self, reason: str, *, another: bool = False) -> None:
        """It has this one connection (model.lasting has more)."""

    async def events(self) -> AsyncIterator[ModelEvent]:
        with self._failures():
            while True:  # the SDK's iterator ends with every turn of the model
                async for message in self.live.receive():
                    for event in self._translate(message):
                        yield event

    def _translate(self, message: types.LiveServerMessage) -> Iterator[ModelEvent]:
        """Every field of a message, since one may carry several. A tool is asked for before the turn
        that asks for it ends.

        Of no consequence to a call, and so left out: setupComplete, waitingForInput,
        turnCompleteReason, interactionStatus, voiceActivity, interimInputTranscription, grounding and
        text parts of a turn that is spoken.
        """
        content = message.server_content
        if message.tool_call_cancellation and message.tool_call_cancellation.ids:
            yield ToolCancelled(tuple(message.tool_call_cancellation.ids))
        if content:
            yield from self._speech(content)
        if message.tool_call:
            for call in message.tool_call.function_calls or ():
                yield ToolCall(call.id or "", call.name or "", call.args or {})
        if content:
            yield from self._turn(content)
        if message.usage_metadata:
            yield Usage(_tokens(message.usage_metadata), self._model)
        if message.go_away:
            yield GoAway(_seconds(message.go_away.time_left))
        update = message.session_resumption_update
        if update and update.resumable and update.new_handle:
            yield Resumable(update.new_handle)

    def _speech(self, content: types.LiveServerContent) -> Iterator[ModelEvent]:
        if content.interrupted:
            yield Interrupted()
        for part in (content.model_turn.parts if content.model_turn else None) or ():
            if part.inline_data and part.inline_data.data:
                self.take_audio(part.inline_data.data, rate_of(part.inline_data.mime_type or ""))
        if content.input_transcription and content.input_transcription.text:
            yield Transcript("caller", content.input_transcription.text)
        if content.output_transcription and content.output_transcription.text:
            yield Transcript("agent", content.output_transcription.text)

    def _turn(self, content: types.LiveServerContent) -> Iterator[ModelEvent]:
        if content.generation_complete:
            yield GenerationEnded()
        if content.turn_complete:
            spoke, self._spoke = self._spoke, False
            yield TurnEnded(spoke)


# ---- setup -----------------------------------------------------------------------------------


def _websocket_options(settings: GeminiSettings) -> dict[str, Any]:
    """Arguments that the SDK hands to `websockets.connect`."""
    options: dict[str, Any] = {
        "compression": None,  # audio in base64 does not shrink enough for 55 kB and 0.5 ms a call
        "max_queue": None,  # a paused reader misses pongs and closes its own connection
        "close_timeout": CLOSE_TIMEOUT_S,
        "ping_interval": settings.ping_interval or None,
        "ping_timeout": PING_TIMEOUT_S,
    }
    if settings.fast_path:
        options["create_connection"] = FastConnection
    return options


def _bare(settings: GeminiSettings) -> GeminiSettings:
    """Without the fields of a setup that were seen to be refused by one model or another."""
    optional = {"language": "", "temperature": None, "start_sensitivity": "", "end_sensitivity": ""}
    return settings.model_copy(update={**optional, "compression_trigger": 0})


def _speech(name: str, language: str) -> types.SpeechConfig | None:
    if not (name or language):
        return None
    voice = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=name))
    return types.SpeechConfig(voice_config=voice if name else None, language_code=language or None)


def _turn_taking(
    settings: GeminiSettings, *, interruptions: bool, local: bool
) -> types.RealtimeInputConfig:
    return types.RealtimeInputConfig(
        automatic_activity_detection=(
            types.AutomaticActivityDetection(disabled=True) if local else _detection(settings)
        ),
        activity_handling=(None if interruptions else types.ActivityHandling.NO_INTERRUPTION),
    )


def _detection(settings: GeminiSettings) -> types.AutomaticActivityDetection:
    start, end = types.StartSensitivity, types.EndSensitivity
    return types.AutomaticActivityDetection(
        start_of_speech_sensitivity={
            "high": start.START_SENSITIVITY_HIGH,
            "low": start.START_SENSITIVITY_LOW,
        }.get(settings.start_sensitivity),
        end_of_speech_sensitivity={
            "high": end.END_SENSITIVITY_HIGH,
            "low": end.END_SENSITIVITY_LOW,
        }.get(settings.end_sensitivity),
        prefix_padding_ms=round(settings.prefix_padding * 1000),
        silence_duration_ms=round(settings.silence_duration * 1000),
    )


def _compression(settings: GeminiSettings) -> types.ContextWindowCompressionConfig | None:
    if not settings.compression_trigger:
        return None
    return types.ContextWindowCompressionConfig(
        trigger_tokens=settings.compression_trigger,
        sliding_window=types.SlidingWindow(target_tokens=settings.compression_target),
    )


def _user_turn(text: str, *, complete: bool) -> Callable[[AsyncSession], Awaitable[None]]:
    turn = types.Content(role="user", parts=[types.Part(text=text)])
    return lambda live: live.send_client_content(turns=turn, turn_complete=complete)


# ---- what comes back -------------------------------------------------------------------------


def _tokens(usage: types.UsageMetadata) -> dict[tuple[str, str], int]:
    prompt, response = usage.prompt_tokens_details or (), usage.response_tokens_details or ()
    return tokens(
        (
            ("in", usage.prompt_token_count or 0, map(_detail, prompt)),
            ("out", usage.response_token_count or 0, map(_detail, response)),
        ),
        usage.thoughts_token_count or 0,
    )


def _detail(detail: types.ModalityTokenCount) -> tuple[str, int]:
    modality = detail.modality.value.lower() if detail.modality else "other"
    return modality, detail.token_count or 0


def _seconds(text: str | None) -> float:
    """A protobuf duration: "9.5s"."""
    try:
        return float((text or "").rstrip("s"))
    except ValueError:
        return 0.0

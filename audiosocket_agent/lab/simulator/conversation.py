"""One session after its setup, without a socket or a clock: messages in, messages out.

    receive(raw, now)   a message of the client
    tick(now)           do what is due
    deadline            when `tick` has something to do next
    outbox              messages to send, in order

The caller's turns come from the detector in `hearing`. A model turn is a generator (`_perform`)
that reads from top to bottom like what the model does; it yields the time at which it wants to go
on, and interrupting the model is closing it:

    caller    ____/speech\\____________________          ____/spe..
                         |silence_ms|think|                  |prefix_ms|
    sent                                  audio audio ... generationComplete
    played                                |------- as long as it lasts -------|turnComplete
                                                             interrupted here |

Both `receive` and `tick` raise SessionEnd when the service would close the connection; messages in
the outbox leave first.
"""

import binascii
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson

from audiosocket_agent.lab.simulator.behaviour import CLOSES, Behaviour, Close, Speech, ToolStep
from audiosocket_agent.lab.simulator.hearing import (
    FRAME_MS,
    SAMPLE_BYTES,
    SpeechMeter,
    TurnDetector,
)
from audiosocket_agent.lab.simulator.record import CallerTurn, ModelTurn, SessionRecord, keep
from audiosocket_agent.lab.simulator.resumption import Handles, Memory
from audiosocket_agent.lab.simulator.schema import CLIENT_MESSAGES, SessionEnd, invalid, read
from audiosocket_agent.lab.simulator.setup import Setup, text_tokens
from audiosocket_agent.lab.simulator.speech import AUDIO_HEAD, Chunk, chunks_of, tone

OUTBOX_MESSAGES: Final = 10_000
"""A client that keeps talking and never reads is let go here; the longest reply that is sent all at
once stays far below (at 40 ms, this is 400 s of speech)."""

SLOW_SPEED: Final = 0.8
"""Of the fault `slow`: a reply of 10 s loses 2.5 s to the player."""
TONE_SPEED: Final = 4.0
"""Of the fault `tone` where the behaviour says "all at once": it has no end."""

_WORDS_PER_PIECE_MS: Final = 1000
"""How much speech one outputTranscription covers."""


@dataclass(frozen=True, slots=True)
class _Line:
    """Something the model says, and the words of it."""

    speech: Speech
    words: str = ""


_Script = Generator[float, float, None]
"""Yields when it wants to go on, is sent the time at which it does."""


@dataclass(slots=True)
class _Turn:
    """A turn of the model that is under way."""

    record: ModelTurn
    due: float
    number: int | None = None
    """None: still thinking; nothing of it is known outside."""
    script: _Script | None = None
    played_at: float = -math.inf
    """When a player that began with the first chunk will have played what was sent."""
    awaited: set[str] = field(default_factory=set)
    """Calls whose response it waits for."""
    ended_early: bool = False


class Conversation:
    """Raises SessionEnd (1007) if the setup's handle is not valid."""

    def __init__(
        self,
        behaviour: Behaviour,
        setup: Setup,
        record: SessionRecord,
        handles: Handles,
        now: float,
    ) -> None:
        self.outbox: deque[bytes] = deque()
        self._behaviour = behaviour
        self._setup = setup
        self._record = record
        self._handles = handles
        self._memory = self._remember(now)

        self._meter: SpeechMeter | None = None
        self._detector = TurnDetector(
            behaviour.prefix_ms if setup.prefix_ms is None else setup.prefix_ms,
            behaviour.silence_ms if setup.silence_ms is None else setup.silence_ms,
        )
        self._first_speech = self._last_speech = now
        self._caller_turn: CallerTurn | None = None

        self._turn: _Turn | None = None
        self._next_turn: Callable[[float], None] | None = None
        """Starts the turn that waits for the end of this one."""
        self._async_calls: dict[str, ToolStep] = {}
        self._seeding = setup.seeds_history

        self._faults_wanted: list[str] = []
        self._fault_at = math.inf
        self._leave_at = math.inf

    # ---- the door --------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Answer the setup."""
        done: dict[str, Any] = {"sessionId": f"simulated-{self._record.number}"}
        self._emit({"setupComplete": done if self._setup.vertex else {}})
        self._record.setup_done = now
        self._record.resumed = bool(self._setup.handle)
        self._issue_handle(now)
        self._faults_wanted = [name for name in _ONCE if name in self._behaviour.faults]
        if self._faults_wanted:
            self._fault_at = now + self._behaviour.fault_after_seconds

    def receive(self, raw: bytes, now: float) -> bool:
        """Take a message. True: something may have to be sent, or is due sooner than before."""
        if len(self.outbox) > OUTBOX_MESSAGES:
            raise SessionEnd(Close(1008, "The client does not read its messages."))
        message = decode(raw)
        realtime = message.get("realtime_input") or message.get("realtimeInput")
        if len(message) == 1 and isinstance(realtime, dict) and realtime.keys() == {"audio"}:
            blob = realtime["audio"]
            if isinstance(blob, dict) and len(blob) == 2:
                data, kind = blob.get("data"), blob.get("mime_type") or blob.get("mimeType")
                if isinstance(data, str) and isinstance(kind, str):
                    return self._hear(data, kind, now)
        self._dispatch(message, now)
        return True

    def tick(self, now: float) -> None:
        """Do all that is due."""
        while self._turn is not None and self._turn.due <= now:
            self._resume(self._turn, now)
        if self._fault_at <= now:
            self._fault_at = math.inf
            faults, self._faults_wanted = self._faults_wanted, []
            for name in faults:
                _ONCE[name](self, now)
        if self._leave_at <= now:
            raise SessionEnd(CLOSES["cancelled"])

    @property
    def deadline(self) -> float:
        """When `tick` is due; infinity: not before the next message."""
        turn = math.inf if self._turn is None else self._turn.due
        return min(turn, self._fault_at, self._leave_at)

    def inject(self, fault: str) -> None:
        """Let a fault happen in the next `tick`. Raises ValueError unless it happens once."""
        if fault not in _ONCE:
            raise ValueError(f"{fault} cannot be injected; can be: {', '.join(_ONCE)}")
        self._faults_wanted.append(fault)
        self._fault_at = -math.inf

    # ---- what the client says --------------------------------------------------------------

    def _dispatch(self, message: dict[str, Any], now: float) -> None:
        if "setup" in message:
            raise invalid("setup must be the first message and only the first.")
        for name, body in read(message, CLIENT_MESSAGES, "").items():
            match name:
                case "realtimeInput":
                    self._take_realtime(body, now)
                case "clientContent":
                    self._take_content(body, now)
                case "toolResponse":
                    for response in body.get("functionResponses", []):
                        self._take_tool_response(response, now)
                case "contextUpdate":
                    keep(self._record.context_updates, body)
                    self._memory.context.text += text_tokens(body)

    def _take_realtime(self, body: Mapping[str, Any], now: float) -> None:
        automatic = self._setup.automatic_activity
        for name, value in body.items():
            match name:
                case "audio":
                    self._hear(value.get("data", ""), value.get("mimeType", ""), now)
                case "mediaChunks":
                    raise invalid(
                        "realtime_input.media_chunks is deprecated. Use audio, video, or text."
                    )
                case "text":
                    keep(self._record.texts, value)
                    self._memory.context.text += text_tokens(value)
                    self._start("text", self._said_to_text, now)
                case "activityStart" | "activityEnd" if automatic:
                    raise invalid(
                        "Explicit activity control is not supported when automatic activity "
                        "detection is enabled."
                    )
                case "activityStart":
                    self._first_speech = self._last_speech = now
                    self._caller_began(now)
                case "activityEnd":
                    self._caller_ended(now)
                case "audioStreamEnd" if value:
                    self._record.audio_stream_ends += 1
                    self._meter = None
                    if automatic:
                        self._detector.reset()
                        self._caller_ended(now)

    def _take_content(self, body: dict[str, Any], now: float) -> None:
        if self._setup.model.seed_only and not self._seeding:
            raise invalid("Request contains an invalid argument.")
        keep(self._record.contents, body)
        self._memory.context.text += text_tokens(body.get("turns"))
        if not body.get("turnComplete", False):
            return
        if self._seeding:
            self._seeding = False
        else:
            self._start("content", self._said_to_text, now)

    def _take_tool_response(self, response: dict[str, Any], now: float) -> None:
        keep(self._record.tool_responses, response)
        self._memory.context.text += text_tokens(response.get("response"))
        call = response.get("id", "")
        turn = self._turn
        if turn is not None and call in turn.awaited:
            turn.awaited.remove(call)
            if not turn.awaited:
                turn.due = now
            return
        # A response nobody waits for any more: cancelled, or never asked for. Not an offence.
        step = self._async_calls.pop(call, None)
        if step is None or step.after is None:
            return
        after = [_Line(step.after)]
        match response.get("scheduling", "WHEN_IDLE"):
            case "INTERRUPT":
                self._start("tool", lambda: after, now)
            case "WHEN_IDLE":
                self._start("tool", lambda: after, now, when_idle=True)

    # ---- hearing ---------------------------------------------------------------------------

    def _hear(self, data: str, mime_type: str, now: float) -> bool:
        pcm, rate_hz = _decode_base64(data), _rate_of(mime_type)
        if len(pcm) % SAMPLE_BYTES:
            raise invalid("Request contains an invalid argument: audio of half a sample.")
        self._note_audio(pcm, rate_hz, now)
        if self._meter is None or self._meter.rate_hz != rate_hz:
            self._meter = SpeechMeter(rate_hz, self._behaviour.level)
        changed = False
        for is_speech in self._meter.feed(pcm):
            if is_speech:
                self._note_speech(now)
            if self._setup.automatic_activity and self._detector.feed(is_speech):
                changed = True
                if self._detector.speaking:
                    self._caller_began(now)
                else:
                    self._caller_ended(now)
        return changed

    def _note_audio(self, pcm: bytes, rate_hz: int, now: float) -> None:
        record = self._record
        if record.first_audio is None:
            record.first_audio = now
        record.last_audio = now
        record.audio_messages += 1
        record.audio_rate_hz = rate_hz
        record.audio_bytes += len(pcm)
        bytes_per_second = rate_hz * SAMPLE_BYTES
        room = int(self._behaviour.kept_audio_seconds * bytes_per_second) - len(record.audio)
        if room > 0:
            record.audio += pcm[:room]
        self._memory.context.heard(len(pcm) / bytes_per_second)

    def _note_speech(self, now: float) -> None:
        self._record.speech_ms += FRAME_MS
        self._last_speech = now
        if self._detector.idle:
            self._first_speech = now
        if self._caller_turn is not None:
            self._caller_turn.last_speech = now

    def _caller_began(self, now: float) -> None:
        self._caller_turn = CallerTurn(now, self._first_speech, self._last_speech)
        keep(self._record.caller_turns, self._caller_turn)
        self._signal_activity("ACTIVITY_START")
        if self._setup.interruptible:
            self._interrupt(now)

    def _caller_ended(self, now: float) -> None:
        if self._caller_turn is None:
            return
        self._caller_turn.end = now
        self._caller_turn = None
        self._memory.caller_turns += 1
        number = self._memory.caller_turns
        self._signal_activity("ACTIVITY_END")
        if self._setup.input_transcription:
            words = {"text": f"Caller turn {number}.", "finished": True}
            self._emit({"serverContent": {"inputTranscription": words}})
        steps = self._said_to_speech(number)
        self._start("speech", lambda: steps, now, when_idle=not self._setup.interruptible)

    def _signal_activity(self, kind: str) -> None:
        if self._setup.activity_signals and self._record.audio_rate_hz:
            seconds = self._record.audio_bytes / (self._record.audio_rate_hz * SAMPLE_BYTES)
            self._emit({"voiceActivity": {"type": kind, "audioOffset": f"{seconds:.2f}s"}})

    # ---- speaking --------------------------------------------------------------------------

    def _said_to_text(self) -> list[_Line | ToolStep]:
        if self._memory.model_turns == 0:
            return [_Line(self._behaviour.greeting, self._behaviour.greeting_words)]
        return [_Line(self._behaviour.reply, self._behaviour.reply_words)]

    def _said_to_speech(self, number: int) -> list[_Line | ToolStep]:
        steps: list[_Line | ToolStep] = []
        for step in self._behaviour.tools:
            if step.turn == number:
                if step.before is not None:
                    steps.append(_Line(step.before))
                steps.append(step)
                if step.after is not None and self._setup.blocks(step.name):
                    steps.append(_Line(step.after))
        return steps or [_Line(self._behaviour.reply, self._behaviour.reply_words)]

    def _start(
        self,
        cause: str,
        steps: Callable[[], Iterable[_Line | ToolStep]],
        now: float,
        *,
        when_idle: bool = False,
    ) -> None:
        """Begin a model turn: at once, in place of the one under way, or after it."""
        if when_idle and self._turn is not None:
            self._next_turn = lambda later: self._start(cause, steps, later)
            return
        self._interrupt(now)
        turn = _Turn(ModelTurn(cause, now), due=now + self._behaviour.think_seconds)
        turn.script = self._perform(turn, steps)
        next(turn.script)
        self._turn = turn

    def _resume(self, turn: _Turn, now: float) -> None:
        assert turn.script is not None
        try:
            turn.due = turn.script.send(now)
        except StopIteration:
            self._turn = None
            if self._next_turn is not None:
                start, self._next_turn = self._next_turn, None
                start(now)

    def _perform(self, turn: _Turn, steps: Callable[[], Iterable[_Line | ToolStep]]) -> _Script:
        """A model turn, from the end of thinking to turnComplete."""
        now = yield turn.due
        turn.number = number = self._memory.model_turns
        script = list(steps())
        self._memory.model_turns += 1
        if self._behaviour.turn_fault("no-answer", number):
            return
        keep(self._record.model_turns, turn.record)
        if self._setup.resumption:
            self._emit({"sessionResumptionUpdate": {"resumable": False}})
        if self._behaviour.turn_fault("empty-turn", number):
            self._complete(turn, now)
            return

        merged = False
        for index, step in enumerate(script):
            is_last = index == len(script) - 1
            if isinstance(step, ToolStep):
                self._call(turn, step)
                waited = bool(turn.awaited)
                while turn.awaited:
                    now = yield math.inf
                if waited and not is_last:
                    now = yield now + self._behaviour.think_seconds
                continue
            merged = is_last and self._behaviour.merge
            now = yield from self._say(turn, step, now, merge=merged)
            if turn.ended_early:
                self._complete(turn, now)
                return
        if not merged:
            self._emit({"serverContent": {"generationComplete": True}})
        turn.record.generation_complete = now
        if turn.played_at > now:
            now = yield turn.played_at
        self._complete(turn, now, charged=merged)

    def _say(
        self, turn: _Turn, line: _Line, now: float, *, merge: bool
    ) -> Generator[float, float, float]:
        """Send the audio of a line, and its words. Returns the time at its end."""
        assert turn.number is not None
        behaviour, number = self._behaviour, turn.number
        chunk_ms, speed = behaviour.chunk_ms, behaviour.speed
        if behaviour.turn_fault("tone", number):
            for chunk in tone(chunk_ms):
                self._send_chunk(turn, chunk, now)
                now = yield now + chunk.seconds / (speed or TONE_SPEED)
        if behaviour.turn_fault("slow", number):
            speed = SLOW_SPEED

        chunks = chunks_of(line.speech, chunk_ms)
        words = self._pieces(line.words, len(chunks))
        due = now
        for index, chunk in enumerate(chunks):
            if index and index == len(chunks) // 2:
                if behaviour.turn_fault("phantom-interrupted", number):
                    turn.ended_early = True
                    turn.record.interrupted = now
                    self._emit({"serverContent": {"interrupted": True}})
                    return now
                if behaviour.turn_fault("cut-reply", number):
                    turn.ended_early = True
                    return now
                if behaviour.turn_fault("stall", number):
                    due += behaviour.fault_seconds
            if due > now:
                now = yield due
            if merge and index == len(chunks) - 1:
                self._send_last(turn, chunk, words.get(index), now)
            else:
                self._send_chunk(turn, chunk, now)
                if index in words:
                    self._emit({"serverContent": {"outputTranscription": words[index]}})
            due += chunk.seconds / speed if speed else 0.0
        return now

    def _pieces(self, words: str, chunks: int) -> dict[int, dict[str, Any]]:
        """The words of a line, as transcriptions to send after some of its chunks."""
        if not (self._setup.output_transcription and words and chunks):
            return {}
        every = max(1, _WORDS_PER_PIECE_MS // self._behaviour.chunk_ms)
        places = [*range(0, chunks - 1, every), chunks - 1]
        split = words.split()
        pieces: dict[int, dict[str, Any]] = {}
        for nth, place in enumerate(places):
            start, stop = (len(split) * n // len(places) for n in (nth, nth + 1))
            text = "".join(f" {word}" for word in split[start:stop])
            if place == chunks - 1:
                pieces[place] = {"text": text, "finished": True}
            elif text:
                pieces[place] = {"text": text}
        return pieces

    def _send_chunk(self, turn: _Turn, chunk: Chunk, now: float) -> None:
        self.outbox.append(chunk.message)
        self._note_chunk(turn, chunk, now)

    def _send_last(
        self, turn: _Turn, chunk: Chunk, words: dict[str, Any] | None, now: float
    ) -> None:
        """The last chunk, and in the same message all that ends a generation."""
        self._note_chunk(turn, chunk, now)
        rest: dict[str, Any] = {"generationComplete": True}
        if words is not None:
            rest["outputTranscription"] = words
        usage = orjson.dumps(self._charge(turn))
        self.outbox.append(
            AUDIO_HEAD + chunk.payload.encode() + b'"}}]},' + orjson.dumps(rest)[1:]
            + b',"usageMetadata":' + usage + b"}"
        )  # fmt: skip

    def _note_chunk(self, turn: _Turn, chunk: Chunk, now: float) -> None:
        record = turn.record
        if record.first_chunk is None:
            record.first_chunk = now
        record.last_chunk = now
        record.audio_bytes += chunk.pcm_bytes
        self._record.audio_sent_bytes += chunk.pcm_bytes
        turn.played_at = max(turn.played_at, now) + chunk.seconds

    def _call(self, turn: _Turn, step: ToolStep) -> None:
        call = f"call-{self._record.number}-{len(self._record.tool_calls)}"
        body = {"id": call, "name": step.name, "args": dict(step.args)}
        keep(self._record.tool_calls, body)
        self._emit({"toolCall": {"functionCalls": [body]}})
        if self._setup.blocks(step.name):
            turn.awaited.add(call)
        else:
            self._async_calls[call] = step

    def _interrupt(self, now: float) -> None:
        """The turn under way is given up, and what was to follow it."""
        turn, self._turn, self._next_turn = self._turn, None, None
        if turn is None:
            return
        assert turn.script is not None
        turn.script.close()
        if turn.number is None:
            return
        if turn.awaited:
            ids = sorted(turn.awaited)
            for call in ids:
                keep(self._record.cancelled_calls, call)
            self._emit({"toolCallCancellation": {"ids": ids}})
        turn.record.interrupted = now
        charged = turn.record.generation_complete is not None and self._behaviour.merge
        if self._behaviour.merge:
            self._complete(turn, now, charged=charged, interrupted=True)
        else:
            self._emit({"serverContent": {"interrupted": True}})
            self._complete(turn, now)

    def _complete(
        self, turn: _Turn, now: float, *, charged: bool = False, interrupted: bool = False
    ) -> None:
        content: dict[str, Any] = {"interrupted": True} if interrupted else {}
        message: dict[str, Any] = {"serverContent": content | {"turnComplete": True}}
        if not charged:
            message["usageMetadata"] = self._charge(turn)
        self._emit(message)
        turn.record.turn_complete = now
        self._issue_handle(now)

    def _charge(self, turn: _Turn) -> dict[str, Any]:
        seconds = turn.record.audio_bytes / 48_000  # s16le at 24 kHz
        return self._memory.context.charge_turn(seconds, vertex=self._setup.vertex)

    # ---- resumption, faults, output --------------------------------------------------------

    def _remember(self, now: float) -> Memory:
        setup = self._setup
        memory = Memory()
        if setup.handle:
            lost = "lost-handles" in self._behaviour.faults
            known = None if lost else self._handles.recall(setup.handle, now)
            if known is None:
                raise invalid("Request contains an invalid argument: session_resumption.handle.")
            memory = known
        else:
            memory.context.text = setup.text_tokens
        memory.context.trigger, memory.context.target = setup.trigger_tokens, setup.target_tokens
        return memory

    def _issue_handle(self, now: float) -> None:
        if self._setup.resumption:
            handle = self._handles.issue(self._memory, now)
            keep(self._record.handles, handle)
            self._emit({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})

    def _go_away(self, now: float) -> None:
        self._record.go_away = now
        self._emit({"goAway": {"timeLeft": f"{self._behaviour.fault_seconds:g}s"}})
        self._leave_at = now + self._behaviour.fault_seconds

    def _leave(self, now: float) -> None:
        raise SessionEnd(self._behaviour.close)

    def _emit(self, message: Mapping[str, Any]) -> None:
        self.outbox.append(orjson.dumps(message))


def _raw(message: bytes) -> Callable[[Conversation, float], None]:
    return lambda conversation, now: conversation.outbox.append(message)


_ONCE: Final[Mapping[str, Callable[[Conversation, float], None]]] = {
    "malformed-json": _raw(b'{"serverContent":{"modelTurn":'),
    "unknown-message": _raw(b'{"somethingNew":{"enabled":true}}'),
    "error-message": _raw(
        b'{"error":{"code":500,"message":"Internal error encountered.","status":"INTERNAL"}}'
    ),
    "go-away": Conversation._go_away,
    "close": Conversation._leave,
}
"""Faults that happen once, at a moment of the session. `close` is last: it ends the others."""


def prepare(behaviour: Behaviour) -> None:
    """Load and resample what will be said, so that no reply waits for it. Raises OSError or
    ValueError for a file that cannot be used."""
    lines = [behaviour.greeting, behaviour.reply]
    lines += [line for step in behaviour.tools for line in (step.before, step.after) if line]
    for line in lines:
        chunks_of(line, behaviour.chunk_ms)


def decode(raw: bytes) -> dict[str, Any]:
    """A client's message. Raises SessionEnd (1007) if it is not a JSON object."""
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise invalid("Invalid JSON payload received. Unexpected token.")
    return message


_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")


def _decode_base64(data: str) -> bytes:
    # Both alphabets, as protobuf's JSON has it; the SDK writes the URL-safe one.
    try:
        return binascii.a2b_base64(data.encode().translate(_URLSAFE), strict_mode=True)
    except binascii.Error:
        raise invalid(
            "Invalid value at 'realtime_input.audio.data' (TYPE_BYTES), Base64 decoding failed"
        ) from None


@lru_cache(maxsize=64)
def _rate_of(mime_type: str) -> int:
    kind, _, parameters = mime_type.partition(";")
    rate = "16000"
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "rate":
            rate = value
    if kind.strip() != "audio/pcm" or not rate.isdecimal() or not 4_000 <= int(rate) <= 192_000:
        raise invalid(f"Request contains an invalid argument: mime_type {mime_type}.")
    return int(rate)

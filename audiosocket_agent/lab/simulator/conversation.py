"""One session after its setup, without a socket or a clock: messages in, messages out.

    receive(raw, now)   a message of the client
    tick(now)           do what is due
    deadline            when `tick` has something to do next
    outbox              messages to send, in order

The caller's turns are found in `hearing`, the model's are performed in `speaking`; here they meet.
Both `receive` and `tick` raise SessionEnd when the service would close the connection; messages in
the outbox leave first.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from audiosocket_agent.lab.simulator.behaviour import CLOSES, Behaviour, Close
from audiosocket_agent.lab.simulator.hearing import SAMPLE_BYTES, Ear
from audiosocket_agent.lab.simulator.payload import decode, pcm_of, rate_of
from audiosocket_agent.lab.simulator.record import SessionRecord, keep
from audiosocket_agent.lab.simulator.resumption import Handles, Memory
from audiosocket_agent.lab.simulator.schema import CLIENT_MESSAGES, SessionEnd, invalid, read
from audiosocket_agent.lab.simulator.setup import Setup, text_tokens
from audiosocket_agent.lab.simulator.speaking import Speaker

OUTBOX_MESSAGES: Final = 10_000
"""A client that keeps talking and never reads is let go here; the longest reply that is sent all at
once stays far below (at 40 ms, this is 400 s of speech)."""


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
        self._memory = memory = self._remember(now)
        self._ear = Ear(behaviour, setup, record)
        self._speaker = Speaker(behaviour, setup, record, memory, self.outbox, self._model_ended)
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
        self._speaker.tick(now)
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
        return min(self._speaker.deadline, self._fault_at, self._leave_at)

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
                        keep(self._record.tool_responses, response)
                        self._memory.context.text += text_tokens(response.get("response"))
                        self._speaker.take_response(response, now)
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
                    self._speaker.answer_text("text", now)
                case "activityStart" | "activityEnd" if automatic:
                    raise invalid(
                        "Explicit activity control is not supported when automatic activity "
                        "detection is enabled."
                    )
                case "activityStart":
                    self._ear.begin(now)
                    self._caller_began(now)
                case "activityEnd":
                    if self._ear.end(now):
                        self._caller_ended(now)
                case "audioStreamEnd" if value:
                    if self._ear.pause(now):
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
            self._speaker.answer_text("content", now)

    # ---- the caller ------------------------------------------------------------------------

    def _hear(self, data: str, mime_type: str, now: float) -> bool:
        pcm, rate_hz = pcm_of(data), rate_of(mime_type)
        self._memory.context.heard(len(pcm) / (rate_hz * SAMPLE_BYTES))
        changes = self._ear.hear(pcm, rate_hz, now)
        for began in changes:
            if began:
                self._caller_began(now)
            else:
                self._caller_ended(now)
        return bool(changes)

    def _caller_began(self, now: float) -> None:
        self._signal_activity("ACTIVITY_START")
        if self._setup.interruptible:
            self._speaker.interrupt(now)

    def _caller_ended(self, now: float) -> None:
        self._memory.caller_turns += 1
        number = self._memory.caller_turns
        self._signal_activity("ACTIVITY_END")
        if self._setup.input_transcription:
            given = self._behaviour.exchange(number)
            words = given.heard if given is not None else f"Caller turn {number}."
            heard = {"text": words, "finished": True}
            self._emit({"serverContent": {"inputTranscription": heard}})
        self._speaker.answer_speech(number, now)

    def _signal_activity(self, kind: str) -> None:
        if self._setup.activity_signals and self._record.audio_rate_hz:
            seconds = self._record.audio_bytes / (self._record.audio_rate_hz * SAMPLE_BYTES)
            self._emit({"voiceActivity": {"type": kind, "audioOffset": f"{seconds:.2f}s"}})

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

    def _model_ended(self, now: float) -> None:
        """A turn of the model is complete."""
        if "deaf" in self._behaviour.faults:
            self._ear.take_no_notice(now + self._behaviour.deaf_seconds)
        self._issue_handle(now)

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


def _raw(*messages: bytes) -> Callable[[Conversation, float], None]:
    return lambda conversation, now: conversation.outbox.extend(messages)


_SAMPLE: Final = b'{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAA="}}]}'


_ONCE: Final[Mapping[str, Callable[[Conversation, float], None]]] = {
    "malformed-json": _raw(b'{"serverContent":{"modelTurn":'),
    "unknown-message": _raw(b'{"somethingNew":{"enabled":true}}'),
    "error-message": _raw(
        b'{"error":{"code":500,"message":"Internal error encountered.","status":"INTERNAL"}}'
    ),
    "unknown-field": _raw(
        b'{"serverContent":{"modelTurn":{"parts":[],"mood":"calm"},"moodIndex":7},"moodUpdate":{}}',
        b'{"serverContent":{"modelTurn":%s,"moodIndex":7}}' % _SAMPLE,
        b'{"serverContent":{"modelTurn":%s},"moodUpdate":{}}' % _SAMPLE,
    ),
    "huge-message": _raw(b'{"serverContent":{},"padding":"' + b"-" * (2 << 20) + b'"}'),
    "go-away": Conversation._go_away,
    "close": Conversation._leave,
}
"""Faults that happen once, at a moment of the session. `close` is last: it ends the others."""

"""One call's lifetime: where the leg, the model, the tools and the record of a call meet.

Audio passes straight through, in plain calls: leg -> detector -> model, and model -> playout -> leg.
Everything else is an event for the call machine, whose commands are performed here. What must wait
(the model's events, deadlines, tools) runs in one TaskGroup, which ends with the call.
"""

import asyncio
import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audiosocket_agent import log
from audiosocket_agent.audio import FRAME_SECONDS, FRAMES_PER_SECOND
from audiosocket_agent.audio.uplink import Uplink
from audiosocket_agent.audio.vad import Edge, SpeechDetector
from audiosocket_agent.call.commands import (
    Answered,
    BargedIn,
    Command,
    DropReply,
    Finish,
    Greeted,
    HangUp,
    PausePlayout,
    ResumePlayout,
)
from audiosocket_agent.call.events import (
    AgentEnds,
    CallerSpoke,
    CallerSustained,
    EndOrdered,
    Event,
    Interrupted,
    LegClosed,
    ModelFailed,
    ModelReady,
    Outcome,
    ReplyPlayed,
    ReplyStarted,
    TurnEnded,
)
from audiosocket_agent.call.machine import Call, Limits, State
from audiosocket_agent.call.summary import Summary
from audiosocket_agent.clock import monotonic
from audiosocket_agent.errors import ModelError
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model import base
from audiosocket_agent.pbx.audiosocket import Leg
from audiosocket_agent.tools.registry import Registry

TOOL_TIMEOUT_S: Final = 10.0

INTERRUPTED_TAIL_S: Final = 2.0
"""Audio of a turn may arrive for so long after the model has said that it was interrupted; what comes
later is a new turn, even where the end of the old one was never told."""

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for all calls of one agent: numbers, not settings."""

    limits: Limits
    instructions: str
    greeting: str
    detector: Callable[[int], SpeechDetector]
    """Makes the detector for a rate."""
    gap_fill_s: float = 1.0
    model_rate_hz: int = 0
    """Rate the model is sent; 0: as it came, where that is 8 or 16 kHz."""


class CallOver(Exception):
    """Ends a call's TaskGroup from inside."""


class Session:
    """One call, from its UUID to its last log line; the listener of its leg."""

    def __init__(
        self,
        call_id: uuid.UUID,
        leg: Leg,
        model: base.VoiceModel,
        tools: Registry,
        plan: Plan,
        metrics: Metrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._id = str(call_id)
        self._log = _log.bind(call=self._id)
        self._leg = leg
        self._model = model
        self._tools = tools
        self._plan = plan
        self._metrics = metrics
        self._clock = clock
        self._call = Call(plan.limits, leg.accepted_at)
        self._summary = Summary()
        self._tasks: asyncio.TaskGroup  # while running
        self._moved = asyncio.Event()  # the machine's next deadline may have changed
        self._over = asyncio.Event()
        self._voice: base.VoiceSession | None = None  # once it is ready
        self._generating = False  # the model's turn has audio, and more may come
        self._discarding_until = 0.0  # the rest of the model's turn is not to be heard
        self._uplink = Uplink(
            plan.detector, gap_fill_s=plan.gap_fill_s, model_rate_hz=plan.model_rate_hz
        )
        self._last_voiced_at: float | None = None  # in the caller's present turn
        self._sounded_at = 0.0  # when a sound of the caller was last detected
        self._tools_running: dict[str, asyncio.Task[None]] = {}
        self._control = _Control(self)
        self._ticks = 0

    # -- the lifetime --------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Hold the call until it is over; returns why it ended. Raises only our own faults."""
        log.bind_call(self._id)
        self._log.info("call started", peer=self._leg.peer)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._converse())
                tasks.create_task(self._watch_deadlines())
                await self._over.wait()
                raise CallOver
        except* CallOver:
            pass
        finally:
            self._leg.hang_up()  # where a fault of ours is what ends it, the dialplan still goes on
            self._flush_counts()
            self._record()
        return self._call.outcome

    def end(self, outcome: Outcome) -> None:
        """End the call politely: a sentence under way may be finished."""
        self._feed(EndOrdered(outcome))

    def agent_ends(self) -> None:
        """End the call once the agent's last words are heard."""
        self._feed(AgentEnds())

    async def _converse(self) -> None:
        """Dial the model and take its events; a model that fails ends the call, politely."""
        setup = base.SessionSetup(self._plan.instructions, self._plan.greeting, self._tools.specs)
        dialled_at = self._clock()
        try:
            async with self._model.open(setup, self._model_spoke) as voice:
                self._metrics.model_connect.observe(self._clock() - dialled_at)
                self._voice = voice
                self._feed(ModelReady())
                async for event in voice.events():
                    self._model_event(event)
        except ModelError as error:
            self._metrics.model_errors.labels(error.code).inc()
            self._log.warning("model failed", code=error.code, reason=str(error))
        finally:
            if self._voice is not None and self._voice.dropped:
                self._log.warning("caller audio dropped", messages=self._voice.dropped)
            self._voice = None
        self._generation_ended()
        self._feed(ModelFailed())

    async def _watch_deadlines(self) -> None:
        while True:
            self._moved.clear()
            deadline = self._call.next_deadline()
            delay = None if deadline is None else max(0.0, deadline - self._clock())
            try:
                async with asyncio.timeout(delay):
                    await self._moved.wait()
            except TimeoutError:
                self._perform(self._call.elapse(self._clock()))

    # -- the leg's side (LegListener) ----------------------------------------------------------

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None:
        """The caller's audio: past the detector, and on to the model."""
        pcm, edges = self._uplink.take(payload, rate_hz, now)
        if self._voice is not None:
            self._voice.send_audio(pcm, self._uplink.rate_hz)
        if self._uplink.voiced:
            self._last_voiced_at = now
        if edges:
            self._follow(edges, now)

    def pressed(self, digit: str) -> None:
        """A key: counted by the leg; which key is nobody's business in a log."""
        self._log.debug("digit")

    def ticked(self, now: float) -> None:
        """Every 20 ms: is the caller's audio missing? Every second: the counters."""
        silence, edges, pauses = self._uplink.missing(now)
        if self._voice is not None:
            if silence:
                self._voice.send_audio(silence, self._uplink.rate_hz)
            elif pauses:
                self._voice.end_audio()
        if edges:
            self._follow(edges, now)
        self._ticks += 1
        if self._ticks % FRAMES_PER_SECOND == 0:
            self._flush_counts()

    def played_out(self, now: float) -> None:
        """The reply is over at our socket."""
        self._feed(ReplyPlayed())

    def closed(self, outcome: Outcome, error: Exception | None) -> None:
        """The socket is gone."""
        if error is not None:
            self._log.warning("call broken", reason=str(error))
        self._feed(LegClosed(outcome))

    def _follow(self, edges: list[Edge], now: float) -> None:
        for edge in edges:
            if edge is Edge.STARTED:
                self._sounded_at = now
                self._feed(CallerSpoke())
            elif edge is Edge.SUSTAINED:
                self._feed(CallerSustained())

    # -- the model's side ----------------------------------------------------------------------

    def _model_spoke(self, pcm: bytes, rate_hz: int) -> None:
        """The model's audio, as it arrives (AudioSink)."""
        self._generating = True
        if not self._call.agent_may_speak or self._clock() < self._discarding_until:
            return
        if self._leg.play(pcm, rate_hz):
            self._reply_started()

    def _reply_started(self) -> None:
        if self._call.state is State.PAUSED:
            return  # more of what is paused: the verdict is still to come
        now, since = self._clock(), self._last_voiced_at
        self._last_voiced_at = None
        self._uplink.rearm()
        self._summary.turns += 1
        self._feed(ReplyStarted(None if since is None else now - since))

    def _generation_ended(self) -> None:
        self._generating = False
        self._discarding_until = 0.0
        self._leg.finish()

    def _model_event(self, event: base.ModelEvent) -> None:
        match event:
            case base.GenerationEnded():
                self._generation_ended()
            case base.TurnEnded():
                self._generation_ended()
                self._feed(TurnEnded(event.spoke))
            case base.Interrupted():
                self._feed(Interrupted())
                if self._discarding_until:  # it has stopped: what is still on its way is little
                    self._discarding_until = self._clock() + INTERRUPTED_TAIL_S
            case base.ToolCall():
                self._use_tool(event)
            case base.ToolCancelled(ids):
                for call_id in ids:
                    if task := self._tools_running.get(call_id):
                        task.cancel()
            case base.Usage(tokens):
                for (direction, modality), count in tokens.items():
                    self._metrics.tokens.labels(direction, modality).inc(count)
                    self._summary.tokens[direction] += count
            case base.Transcript(speaker, text):
                self._log.debug("transcript", speaker=speaker, text=text)
            case base.GoAway(seconds_left):
                self._log.warning("model goes away", seconds=seconds_left)
            case base.Resumable():
                pass

    # -- tools ---------------------------------------------------------------------------------

    def _use_tool(self, wanted: base.ToolCall) -> None:
        task = self._tasks.create_task(self._run_tool(wanted))
        self._tools_running[wanted.id] = task
        task.add_done_callback(lambda done: self._forget_tool(wanted.id, done))

    def _forget_tool(self, use_id: str, done: asyncio.Task[None]) -> None:
        if self._tools_running.get(use_id) is done:  # a model may use an id twice
            del self._tools_running[use_id]

    async def _run_tool(self, wanted: base.ToolCall) -> None:
        tool = self._tools.find(wanted.name)
        label = tool.spec.name if tool else "unknown"
        outcome = "ok"
        try:
            if tool is None:
                outcome, result = "unknown", {"error": "there is no such tool"}
            else:
                async with asyncio.timeout(TOOL_TIMEOUT_S):
                    result = dict(await tool.run(self._control, wanted.arguments))
                json.dumps(result)  # what cannot be told to a model is a fault of the tool
        except TimeoutError:
            outcome, result = "timeout", {"error": "it took too long"}
        except asyncio.CancelledError:
            self._metrics.tool_calls.labels(label, "cancelled").inc()
            raise
        except Exception:  # noqa: BLE001 - whatever a tool does wrong is told to the model; the call goes on
            self._log.exception("tool failed", tool=label)
            outcome, result = "error", {"error": "it failed"}
        self._metrics.tool_calls.labels(label, outcome).inc()
        if self._voice is not None:
            self._voice.send_tool_result(wanted, result)

    # -- the machine ---------------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        commands = self._call.receive(event, self._clock())
        self._log.debug("event", what=repr(event), state=self._call.state.name)
        self._perform(commands)

    def _perform(self, commands: list[Command]) -> None:
        for command in commands:
            self._perform_one(command)
        self._moved.set()

    def _perform_one(self, command: Command) -> None:
        match command:
            case PausePlayout():
                self._leg.playout.paused = True
                self._observe_stop()
            case ResumePlayout():
                self._last_voiced_at = None
                self._uplink.rearm()  # what comes after the cough may be speech
                self._leg.resume()
            case DropReply():
                self._drop_reply()
            case BargedIn(verdict):
                self._metrics.barge_ins.labels(verdict.value).inc()
                self._summary.barge_ins[verdict.value] += 1
            case Greeted(seconds):
                self._metrics.greeting.observe(seconds)
                self._summary.greeting_s = seconds
            case Answered(seconds):
                self._metrics.response.observe(seconds)
                self._summary.answered(seconds)
            case HangUp():
                self._leg.hang_up()
            case Finish():
                self._over.set()

    def _observe_stop(self) -> None:
        """From the detection to the end of the last frame, which is 20 ms after it left."""
        stopped = self._leg.last_spoke_at + FRAME_SECONDS
        self._metrics.barge_in_stop.observe(max(0.0, stopped - self._sounded_at))

    def _drop_reply(self) -> None:
        heard_ms = self._leg.playout.clear()
        self._discarding_until = math.inf if self._generating else 0.0
        if self._voice is not None:
            self._voice.note_heard(heard_ms)

    # -- the record ----------------------------------------------------------------------------

    def _flush_counts(self) -> None:
        counts = self._leg.take_counts()
        self._metrics.frames(
            received=counts.received,
            sent=counts.sent,
            late=counts.late,
            skipped_seconds=counts.skipped_seconds,
            stalls=counts.stalls,
        )

    def _record(self) -> None:
        duration = self._clock() - self._leg.accepted_at
        self._metrics.call_duration.observe(duration)
        self._metrics.calls.labels(self._call.outcome.value).inc()
        self._log.info(
            "call ended",
            outcome=self._call.outcome.value,
            duration_s=round(duration, 3),
            **self._summary.fields(),
        )


class _Control:
    """What tools may do to the call (tools.registry.CallControl)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def end(self) -> None:
        self._session.agent_ends()

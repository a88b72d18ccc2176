"""One call's lifetime: where the leg, the model, the tools and the record of a call meet.

Audio passes straight through, in plain calls: leg -> detector -> model, and model -> playout -> leg.
Everything else is an event for the call machine, whose commands are performed here. What must wait
(the model's events, deadlines, tools) runs in one TaskGroup, which ends with the call.
"""

import asyncio
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from audiosocket_agent import log
from audiosocket_agent.audio import FRAME_SECONDS, FRAMES_PER_SECOND
from audiosocket_agent.audio.uplink import Uplink
from audiosocket_agent.audio.vad import Edge
from audiosocket_agent.call.commands import (
    Answered,
    AskCaller,
    BargedIn,
    Command,
    DropReply,
    Finish,
    Greeted,
    HangUp,
    PausePlayout,
    ResumePlayout,
    SayGoodbye,
    TellKeys,
    Verdict,
)
from audiosocket_agent.call.digits import DigitCollector, DigitsWanted
from audiosocket_agent.call.events import (
    AgentEnds,
    CallerSpoke,
    CallerSustained,
    Claimed,
    EndOrdered,
    Event,
    Interrupted,
    LegClosed,
    LegOpened,
    ModelFailed,
    ModelReady,
    Outcome,
    ReplyPlayed,
    ReplySpoiled,
    ReplyStarted,
    TransferAsked,
    TransferDone,
    TurnEnded,
)
from audiosocket_agent.call.info import CallInfo
from audiosocket_agent.call.keys import Key, KeyAction
from audiosocket_agent.call.machine import Call, State
from audiosocket_agent.call.next_step import (
    Action,
    NextStep,
    Target,
    after,
    after_transfer,
    transfer,
)
from audiosocket_agent.call.summary import Summary
from audiosocket_agent.call.watchdog import Fault
from audiosocket_agent.clock import catch_up
from audiosocket_agent.controls import Control, Controls
from audiosocket_agent.errors import ModelError
from audiosocket_agent.keypad import Keypad
from audiosocket_agent.ledger import Ledger
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model import base
from audiosocket_agent.pbx.audiosocket import Leg
from audiosocket_agent.plan import (
    ARE_YOU_THERE,
    BACK,
    CUT_OFF,
    DIAL_FAILURES,
    KEYS_PRESSED,
    NOBODY_THERE,
    REPEAT,
    TRANSFER_FAILED,
    Plan,
)
from audiosocket_agent.survival import Figures, Life, Past
from audiosocket_agent.taping import Taping
from audiosocket_agent.tools.audit import Used
from audiosocket_agent.tools.runner import ToolRunner
from audiosocket_agent.turns import Turns
from audiosocket_agent.vigil import Hands, Vigil

INTERRUPTED_TAIL_S: Final = 2.0
"""Audio of a turn may arrive for so long after the model has said that it was interrupted; what comes
later is a new turn, even where the end of the old one was never told."""

_log = log.get(__name__)


BY_KEY: Final = "asked by a key of the telephone"
ANSWER_S: Final = 3.0
"""So long after the caller's last word an answer is still on its way."""
UNANSWERED_S: Final = 4.5
"""So long after it, it is certain to be in what is kept for the next connection (model.backlog)."""
LAST_WORDS_MS: Final = 500
"""Whoever answers a question over the last of it has heard it, and costs the agent no more than that."""
DECIDED: Final = (State.ENDING, State.TAIL, State.HUNG_UP, State.HELD)
"""Where the end of a call is."""
MAX_RETURNS: Final = 3
"""Of a caller whose connection breaks, in one call: where it breaks again and again, the dialplan's
fallback serves them better."""
MAX_EARLY_CHUNKS: Final = 1500
"""A minute in chunks of 40 ms: a greeting kept while the phone rings, or the words to a caller who is
on the way back; more is not kept."""


class CallOver(Exception):
    """Ends a call's TaskGroup from inside."""


class Session:
    """One call, from its announcement or its UUID to its last log line; the listener of its leg.

    The conversation outlives the leg: it may begin before the caller is connected, and goes on when
    a transfer that came to nothing brings the caller back. With a `past` it goes on after the process
    that had it; `life` is told what a next one would have to know.
    """

    def __init__(
        self,
        call_id: uuid.UUID,
        model: base.VoiceModel,
        plan: Plan,
        info: CallInfo,
        metrics: Metrics,
        clock: Callable[[], float],
        ledger: Ledger,
        life: Life,
        past: Past | None = None,
    ) -> None:
        self.id = str(call_id)
        self._life = life
        self._past = past
        self._log = _log.bind(call=self.id)
        self._leg: Leg | None = None  # None: nobody is connected
        greeted = past is not None and past.greeted
        self._taping = Taping(ledger, plan.recording, told=greeted)
        self._early: list[tuple[bytes, int]] = []  # what the model said while nobody was
        self._model = model
        self.plan = plan
        self.info = info
        self._metrics = metrics
        self._clock = clock
        self._ledger = ledger
        left = past.left if past else None
        self._call = Call(
            plan.limits,
            clock(),
            greeted=greeted,
            held=left is not None and left.outcome is Outcome.TRANSFERRED,
        )
        self._decided: Outcome | None = None  # the end, as it was last seen
        self._summary = Summary.restored(left.summary) if left else Summary()
        self._tasks: asyncio.TaskGroup  # while running
        self._conversation: asyncio.Task[None]
        self._sooner = asyncio.Event()  # something is to be done before `_looks_at`
        self._looks_at = math.inf  # when the deadlines are looked at
        self._over = asyncio.Event()
        self._left = False  # another process goes on with it
        self._voice: base.VoiceSession | None = None  # once it is ready
        self._generating = False  # the model's turn has audio, and more may come
        self._discarding_until = 0.0  # the rest of the model's turn is not to be heard
        self._greets_by = 0.0  # the agent's first words are about to come
        self._uplink = Uplink(
            plan.detector, gap_fill_s=plan.gap_fill_s, model_rate_hz=plan.model_rate_hz
        )
        self._turns = Turns(
            plan.turn_mode,
            plan.endpointing,
            self._uplink,
            self._agent_has_the_floor,
            able=model.capabilities.local_turns,
        )
        self._last_voiced_at: float | None = None  # in the caller's present turn
        self._sounded_at = 0.0  # when a sound of the caller was last detected
        self._heard_at = 0.0  # when the caller last was
        self._controls = Controls(self)
        self._tools = plan.tools()
        self._tool_runner = ToolRunner(
            self._tools,
            self,
            metrics,
            self._log,
            asynchronous=model.capabilities.async_tools,
            audit=self._used,
            since=ledger.began_at.isoformat(),
            life=past.life if past else 0,
            begun=past.keys if past else (),
        )
        self._vigil = Vigil(
            Hands(
                tell=self._nudge,
                fill=self._fill,
                drop=lambda: self._feed(ReplySpoiled()),
                found=self._found,
                reconnect=self._reconnect,
                give_up=self._give_up,
                moved=self._deadline_moved,
            ),
            metrics,
            self._log,
            clock,
            patience=plan.patience,
            answers=model.capabilities.answers,
        )
        self.turn = left.turn + 1 if left else 1  # of the model's; the greeting is the first
        self._keypad = Keypad(plan.keys, self._feed, self._act, clock)
        self._ticks = 0
        self._began_at = clock() - ledger.elapsed()
        self._transfer: tuple[Target, str] | None = None  # who to, and why, as the agent decided
        if left is not None and left.target in plan.targets:
            self._transfer = plan.targets[left.target], left.reason
        # 24000 where the caller's Asterisk is known to take it
        self.downlink_rate_hz = left.rate_hz if left else 0
        self.peer = ""
        """The PBX's address, once it is known."""
        self.answered = ledger.answered_at is not None
        """Somebody has been connected."""
        self._awaited = False  # a caller the dialplan had is to come back
        self.asks = False
        """A dialplan asks what to do with a caller whose leg is gone."""
        self._returns = MAX_RETURNS
        self._cut_off = False  # it broke over a reply, of which the model has to be told
        self._untold = ""  # what the model is to be told once it is there

    # -- the lifetime --------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Hold the call until it is over; returns why it ended. Raises only our own faults."""
        log.bind_call(self.id)
        self._life.begin(self._figures)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._conversation = tasks.create_task(self._converse())
                tasks.create_task(self._watch_deadlines())
                await self._over.wait()
                raise CallOver
        except* CallOver:
            pass
        finally:
            if self._leg is not None:
                self._leg.hang_up()  # where a fault of ours ends it, the dialplan still goes on
            self._taping.close(self._clock())
            if not self._left:
                self._record()
                self._life.over()
        return self._call.outcome

    def attach(self, leg: Leg) -> bool:
        """The caller is connected; False where somebody already is, or the call is over."""
        if self._leg is not None or self._call.state in (State.HUNG_UP, State.OVER):
            return False
        if self.lost and not self._awaited:
            return False  # whoever this is, the dialplan has not sent them back
        if self._past is not None:
            self._log.info("call goes on", peer=leg.peer, life=self._past.life)
        elif self._call.state is State.RINGING:
            self._began_at = leg.accepted_at
            self._log.info("call started", peer=leg.peer)
        self.peer = self.peer or leg.peer
        self.answered = True
        self._awaited = False
        self._ledger.answered()
        leg.use_rate(self.downlink_rate_hz)
        self._leg = leg
        self._taping.attach(leg)
        self._feed(LegOpened())
        early, self._early = self._early, []
        for pcm, rate_hz in early:
            self._play(leg, pcm, rate_hz)
        if not self._generating:
            leg.finish()
        if self._cut_off:
            self._cut_off = False
            self.tell(CUT_OFF)
        return True

    def detach(self) -> Leg | None:
        """The caller is not connected any more, whatever our end of the connection knows of it, which is
        returned; None where there is none."""
        leg = self._leg
        if leg is not None:
            self.closed(Outcome.CALLER_HANGUP, None)
        return leg

    @property
    def next_step(self) -> NextStep | None:
        """What the dialplan is to do with the caller; None while the agent has them."""
        if self._call.state not in (State.HUNG_UP, State.HELD, State.OVER):
            return None
        if self._awaited:  # the dialplan was to bring the caller back, and asks anew
            return NextStep(Action.FALLBACK, reason="not_back")
        if self.transferring is not None:
            return transfer(*self.transferring)
        return after(self._call.outcome, self.plan.briefing)

    def come_back(self) -> NextStep:
        """The dialplan has a caller whose leg is gone: it was the connection that broke."""
        again = self._returns > 0 and not self._awaited
        self._log.warning("connection to the PBX broke", again=again)
        if again:
            self._returns -= 1
            self._awaited = True
            self._feed(Claimed())
        else:
            self._feed(LegClosed(Outcome.PEER_ERROR))
        return NextStep(Action.AGAIN if again else Action.FALLBACK, reason="connection_broke")

    def claimed(self) -> None:
        """The dialplan has the caller, and knows whom to pass them on to."""
        self._feed(Claimed())

    @property
    def ending(self) -> bool:
        """The end is decided, and last words are still to be heard."""
        return self._call.state in (State.ENDING, State.TAIL)

    @property
    def lost(self) -> bool:
        """The leg is gone, and perhaps the caller is not."""
        return self._call.state is State.HELD and self._call.outcome is Outcome.CALLER_HANGUP

    @property
    def transferring(self) -> tuple[Target, str] | None:
        """Who the caller is to be passed on to, and the agent's words about why."""
        return self._transfer if self._call.outcome is Outcome.TRANSFERRED else None

    def end(self, outcome: Outcome, *, at_once: bool = False) -> None:
        """End the call politely: a sentence under way may be finished, unless it is `at_once`."""
        self._feed(EndOrdered(outcome, at_once))

    def pack(self) -> None:
        """Put down all that another process would have to know, as it is now."""
        self._ledger.turn_ended()
        self._life.pack()

    def leave(self) -> None:
        """Give the caller back to the dialplan, for another process to go on: the call is not over, and
        its row stays as it was last put."""
        self._left = True
        self._life.left()
        self._log.info("call left", state=self._call.state.name.lower())
        if self._leg is not None:
            self._leg.hang_up()
        self._over.set()

    def agent_ends(self) -> None:
        """End the call once the agent's last words are heard."""
        self._feed(AgentEnds())

    def transfer(self, target: Target, reason: str, *, announced: bool = True) -> bool:
        """Pass the caller on: once the words that announce it are heard, or as soon as nothing is
        being said. False where there is no conversation to be passed on."""
        if not self._call.conversing:
            return False
        self._transfer = target, reason
        self._feed(TransferAsked(announced))
        return True

    async def collect_digits(self, wanted: DigitsWanted) -> DigitCollector | None:
        """Wait for digits of the telephone; None where others are being waited for."""
        if self._keypad.waits:
            return None
        self._generation_ended()  # the question: what comes of the digits is a reply of its own
        speaking = (State.SPEAKING, State.PAUSED)
        entry = await self._keypad.collect(wanted, lambda: self._call.state in speaking)
        if entry is not None and entry.digits:
            self._last_voiced_at = None  # which is no answer to what was said before
        return entry

    def describe(self) -> dict[str, Any]:
        """The call as an operator sees it; who calls is in it, what is said is not."""
        return {
            "id": self.id,
            "agent": self.plan.name,
            "briefing": self.plan.briefing,
            "state": self._call.state.name.lower(),
            "seconds": round(self._clock() - self._began_at, 1),
            "caller": self.info.caller,
            "extension": self.info.extension,
            "peer": self._leg.peer if self._leg else "",
            "model_ready": self._voice is not None,
            **self._summary.fields(),
        }

    @property
    def connected(self) -> bool:
        """Whether somebody is, now."""
        return self._leg is not None

    @property
    def held(self) -> bool:
        """The caller is being transferred, and may come back."""
        return self._call.state is State.HELD

    def transfer_ended(self, status: str) -> NextStep:
        """The dialplan has tried: `status` is its DIALSTATUS, or REFUSED. An answer ends the call
        here; else the caller is to come back, and the model is told why."""
        step = after_transfer(status)
        if step.action is not Action.FALLBACK:
            left = step.reason == Outcome.CALLER_HANGUP  # meanwhile
            self._feed(LegClosed(Outcome.CALLER_HANGUP) if left else TransferDone())
            return step
        self._awaited = True
        self._early.clear()  # what was said to nobody meanwhile is not for the caller's return
        why = DIAL_FAILURES.get(status, "nobody was reached")
        if self._voice is None:
            self._untold = TRANSFER_FAILED.format(why)
        self.tell(TRANSFER_FAILED.format(why))
        return NextStep(Action.AGAIN, reason=why)

    async def _converse(self) -> None:
        """Dial the model and take its events; a model that fails ends the call, politely."""
        plan = self.plan
        known = await self._ledger.recall(plan.memory_days)
        setup = base.SessionSetup(
            plan.told(self.info, known, self._ledger.began_at),
            self._opening(),
            self._tools.specs,
            plan.voice,
            plan.temperature,
            local_turns=self._turns.local,
            quiet=self._is_quiet,
            happened=self._happened,
        )
        if self._past is not None and self._past.greeted:
            setup = replace(setup, resume=self._past.handle, past=self._past.said)
        dialled_at = self._clock()
        try:
            async with self._model.open(setup, self._model_spoke) as voice:
                self._metrics.model_connect.observe(self._clock() - dialled_at)
                self._voice = voice
                if setup.greeting and self._model.capabilities.answers:
                    self._greets_by = self._clock() + plan.patience.nudge_s
                self._vigil.ready(told=bool(setup.greeting))
                self._feed(ModelReady())
                if self._untold:
                    self.tell(self._untold)
                async for event in voice.events():
                    self._model_event(event)
        except ModelError as error:
            self._metrics.model_errors.labels(error.code).inc()
            self._log.warning("model failed", code=error.code, reason=str(error))
        finally:
            if self._voice is not None and self._voice.dropped:
                self._log.warning("caller audio dropped", messages=self._voice.dropped)
            self._voice = None
        self._model_gone()

    def _opening(self) -> str:
        """What makes the model speak first."""
        if self._past is None or not self._past.greeted:
            return self.plan.greets(self.info.language)
        return "" if self.held else BACK

    def _model_gone(self) -> None:
        self._generation_ended()
        self._feed(ModelFailed(apologised=self._apologise()))

    def _apologise(self) -> bool:
        """Queue an apology behind what is still to be heard. False where nobody hears one."""
        sound = self.plan.sounds.apology(self.info.language)
        if sound is None or self._leg is None or not self._call.conversing:
            return False
        self._leg.play(*sound)
        self._leg.finish()
        return True

    async def _watch_deadlines(self) -> None:
        while True:
            self._sooner.clear()
            self._looks_at = self._next_deadline()
            armed_at = self._clock()
            delay = None if self._looks_at == math.inf else max(0.0, self._looks_at - armed_at)
            try:
                async with asyncio.timeout(delay):
                    await self._sooner.wait()
            except TimeoutError:
                await catch_up(self._clock() - armed_at - (delay or 0.0))
                sounds = self._uplink.sounding
                quiet_s = 0.0 if self._vigil.owed else self.quiet_s()  # the model's is not theirs
                due = self._call.elapse(self._clock(), caller_sounds=sounds, quiet_s=quiet_s)
                self._perform(due)
                self._vigil.elapse(self.quiet_s())

    def _next_deadline(self) -> float:
        """Infinite where time changes nothing."""
        ours, the_vigils = self._call.next_deadline(), self._vigil.next_deadline()
        return min(
            math.inf if ours is None else ours, math.inf if the_vigils is None else the_vigils
        )

    def _deadline_moved(self) -> None:
        """Most are put off, again and again: they are looked at when their first time has come."""
        if self._next_deadline() < self._looks_at:
            self._sooner.set()

    # -- for the tools (tools.runner.Conversation) ---------------------------------------------

    def control(self, key: str) -> Control:
        """What one use of a tool may do."""
        self._life.using(self.turn, key)
        return self._controls.of(key, self.turn)

    def quiet_s(self) -> float:
        """How long neither side has been heard; 0 while one is, or they do not have each other."""
        leg = self._leg
        if leg is None or not self._call.conversing:
            return 0.0
        return self._clock() - max(leg.accepted_at, leg.last_spoke_at, self._heard_at)

    def tell(self, text: str) -> None:
        """Tell the model something that is not the caller's speech."""
        if self._voice is not None:
            self._voice.send_text(text)
            self._vigil.told()

    # -- the leg's side (LegListener) ----------------------------------------------------------

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None:
        """The caller's audio: past the detector, and on to the model."""
        uplink = self._uplink
        pcm, edges = uplink.take(payload, rate_hz)
        secret = self._keypad.secret
        tape = self._taping.tape
        if tape is not None:
            tape.add_caller(now, payload, rate_hz, secret=secret)
        if secret:
            pcm = bytes(len(pcm))
        if self._voice is not None:
            self._turns.pass_on(self._voice, pcm, secret=secret, greets=now < self._greets_by)
        if uplink.voiced:
            self._last_voiced_at = self._heard_at = now
        if edges:
            self._follow(edges, now)

    def pressed(self, digit: str) -> None:
        """A key. Which one is nobody's business in a log."""
        self._heard_at = self._clock()
        self._keypad.press(digit)

    def _act(self, key: Key) -> None:
        match key.action:
            case KeyAction.TRANSFER:
                self.transfer(self.plan.targets[key.target], BY_KEY, announced=False)
            case KeyAction.REPEAT:
                self.tell(REPEAT)
            case KeyAction.HANGUP:
                self.end(Outcome.AGENT_HANGUP)
            case KeyAction.ACCEPT:
                self.end(Outcome.ACCEPTED)
            case KeyAction.REFUSE:
                self.end(Outcome.REFUSED)

    def ticked(self, now: float) -> None:
        """Every 20 ms: is the caller's audio missing? Every second: is it audio? And the counters."""
        missing = self._uplink.missing(now)
        if missing is not None:
            silence, edges, pauses = missing
            if self._voice is not None:
                if silence:
                    self._turns.pass_on(
                        self._voice, silence, secret=self._keypad.secret, greets=False
                    )
                elif pauses:
                    self._turns.pause(self._voice)
            if edges:
                self._follow(edges, now)
        self._ticks += 1
        if self._ticks % FRAMES_PER_SECOND == 0:
            self._flush_counts()
            self._uplink.check(now)

    def played_out(self, now: float) -> None:
        """The reply is over at our socket."""
        self._vigil.played_out()
        self._keypad.asked()
        if self._summary.turns and self._call.conversing:  # no apology for a model that is gone
            self._taping.notice_heard()
        self._feed(ReplyPlayed())

    def closed(self, outcome: Outcome, error: Exception | None) -> None:
        """The socket is gone."""
        if error is not None:
            self._log.warning("call broken", reason=str(error))
        self._flush_counts()
        self._taping.detach(self._clock())
        leg, self._leg = self._leg, None
        cut = self._call.state in (State.SPEAKING, State.PAUSED)
        self._feed(LegClosed(outcome, self.asks))
        if cut and leg is not None and self.lost:
            self._cut_off = True
            self._drop_reply(leg)
        if self.held and self._voice is not None:
            self._turns.pause(self._voice)

    def _follow(self, edges: Sequence[Edge], now: float) -> None:
        for edge in edges:
            self._vigil.caller(edge, now - self._uplink.quiet_s)
            if edge is Edge.STARTED:
                self._sounded_at = now
                self._feed(CallerSpoke())
            elif edge is Edge.SUSTAINED:
                if self._leg is not None:
                    self._leg.hush()  # no filler over the caller's words
                self._feed(CallerSustained())

    # -- the model's side ----------------------------------------------------------------------

    def _model_spoke(self, pcm: bytes, rate_hz: int) -> None:
        """The model's audio, as it arrives (AudioSink)."""
        self._generating = True
        if not self._call.agent_may_speak or self._clock() < self._discarding_until:
            return
        self._vigil.audio()
        if self._leg is not None:
            self._play(self._leg, pcm, rate_hz)
        elif len(self._early) < MAX_EARLY_CHUNKS:
            self._early.append((pcm, rate_hz))

    def _play(self, leg: Leg, pcm: bytes, rate_hz: int) -> None:
        if not leg.done and leg.play(pcm, rate_hz):
            self._reply_started()

    def _reply_started(self) -> None:
        if self._call.state is State.PAUSED:
            return  # more of what is paused: the verdict is still to come
        now, since = self._clock(), self._last_voiced_at
        self._last_voiced_at = None
        self._greets_by = 0.0
        self._uplink.rearm()
        self._summary.turns += 1
        self._feed(ReplyStarted(None if since is None else now - since))

    def _generation_ended(self) -> None:
        self._generating = False
        self._discarding_until = 0.0
        if self._leg is not None:
            self._leg.finish()

    def _happened(self, event: base.ModelEvent) -> None:
        if self._voice is not None:  # else it has been given up
            self._model_event(event)

    def _model_event(self, event: base.ModelEvent) -> None:
        self._vigil.happened(event, self._clock() - self._heard_at)
        match event:
            case base.GenerationEnded():
                self._generation_ended()
            case base.TurnEnded():
                self._generation_ended()
                self.turn += 1
                self._ledger.turn_ended()
                self._life.turn_ended()
                self._feed(TurnEnded(event.spoke))
            case base.Interrupted():
                self._feed(Interrupted())
                if self._discarding_until:  # it has stopped: what is still on its way is little
                    self._discarding_until = self._clock() + INTERRUPTED_TAIL_S
            case base.ToolCall():
                self._use_tool(event)
            case base.ToolCancelled(ids):
                for use_id in ids:
                    self._tool_runner.cancel(use_id)
            case base.Usage(tokens, model):
                self._metrics.cost.inc(float(self._ledger.used(tokens, model)))
                if self._ledger.cost_usd >= self.plan.cost_usd:
                    self._feed(EndOrdered(Outcome.MAX_COST))
                for (direction, modality), count in tokens.items():
                    self._metrics.tokens.labels(direction, modality).inc(count)
                    self._summary.tokens[direction] += count
            case base.Transcript(speaker, text):
                self._ledger.said(speaker, text)
                self._life.said(speaker, text)
                self._log.debug("transcript", speaker=speaker, text=text)
            case base.GoAway(seconds_left):
                self._log.warning("model goes away", seconds=seconds_left)
            case base.Resumable(handle):
                self._life.resumable(handle)
            case base.Reconnected(reason, seconds, _, resumed):
                self._life.reconnected(resumed=resumed)
                self._metrics.model_reconnects.labels(reason).inc()
                self._log.info("model reconnected", reason=reason, seconds=round(seconds, 3))

    def _is_quiet(self) -> bool:
        """Whether neither side speaks, nor is about to: the moment to change the connection."""
        since = self._last_voiced_at
        waits = since is not None and self._clock() - since < ANSWER_S
        speaking = self._call.state in (State.SPEAKING, State.PAUSED)
        return not (self._generating or speaking or waits or self._uplink.sounding)

    def _agent_has_the_floor(self) -> bool:
        """Whether a turn of the caller would cost them something that they are to hear."""
        leg, state = self._leg, self._call.state
        if state is State.LISTENING:
            return self._keypad.waits or (not self._summary.turns and bool(self._opening()))
        if leg is None or self._generating or state not in (State.SPEAKING, State.PAUSED):
            return True
        return leg.playout.left_ms > LAST_WORDS_MS

    def _use_tool(self, wanted: base.ToolCall) -> None:
        tool = self._tools.find(wanted.name)
        awaits_caller = tool is not None and tool.awaits_caller

        def answer(result: Mapping[str, Any]) -> None:
            if self._voice is not None:
                self._voice.send_tool_result(wanted, result)
            self._vigil.tool_over(wanted.id)

        self._vigil.tool_asked(wanted.id, awaits_caller=awaits_caller)
        self._tool_runner.start(self._tasks, wanted.id, wanted.name, wanted.arguments, answer)

    # -- where it does not do its part (vigil.Hands) -------------------------------------------

    def _nudge(self, text: str) -> None:
        if self._voice is not None:
            self._voice.send_text(text)

    def _fill(self) -> float:
        sound = self.plan.sounds.filler(self.info.language)
        if sound is None or self._leg is None:
            return 0.0
        self._leg.fill(*sound)
        return sound.seconds

    def _found(self, fault: Fault) -> bool:
        voice = self._voice
        if voice is None or not self._turns.fails(fault, waits=self._caller_waits()):
            return False
        return self.use_local_turns() and self._caller_waits()

    def _caller_waits(self) -> bool:
        since = self._last_voiced_at
        return since is not None and self._clock() - since < UNANSWERED_S

    def use_local_turns(self) -> bool:
        """Find the caller's turns on this side from now on. False where the model does not let them be
        marked, or they are found here already."""
        voice, waits = self._voice, self._caller_waits()
        found = voice is not None and self._turns.find_here(voice, unanswered=waits)
        if found:
            self._log.info("turns of the caller are found here from now on")
        return found

    def _reconnect(self, reason: str, another: bool) -> None:
        if self._voice is not None:
            self._voice.reconnect(reason, another=another)

    def _give_up(self) -> None:
        self._conversation.cancel()
        self._voice = None
        self._model_gone()

    # -- the machine ---------------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        commands = self._call.receive(event, self._clock())
        self._log.debug("event", what=repr(event), state=self._call.state.name)
        self._perform(commands)

    def _perform(self, commands: list[Command]) -> None:
        for command in commands:
            self._perform_one(command)
        decided = self._call.outcome if self._call.state in DECIDED else None
        if decided is not self._decided:
            self._decided = decided
            self._life.changed(0.0)
        conversing = self._leg is not None and self._call.conversing
        self._vigil.attend(conversing, playing=bool(self._early))
        self._deadline_moved()

    def _perform_one(self, command: Command) -> None:
        match command:
            case BargedIn(verdict):
                self._metrics.barge_ins.labels(verdict.value).inc()
                self._summary.barge_ins[verdict.value] += 1
                if verdict is not Verdict.RESUMED and self._leg and self._leg.playout.heard_ms:
                    self._taping.notice_heard()
            case Greeted(seconds):
                self._metrics.greeting.observe(seconds)
                self._summary.greeting_s = seconds
            case Answered(seconds):
                self._metrics.response.observe(seconds)
                self._summary.answered(seconds)
                self._ledger.replied(seconds)
            case TellKeys():
                keys = self._keypad.take_untold()
                if keys:
                    self.tell(KEYS_PRESSED.format(" ".join(keys)))
            case AskCaller():
                self.tell(ARE_YOU_THERE.format(self.plan.limits.silence_s))
            case SayGoodbye():
                self.tell(NOBODY_THERE)
            case Finish():
                self._over.set()
            case PausePlayout() | ResumePlayout() | DropReply() | HangUp():
                if self._leg is not None:
                    self._steer(self._leg, command)

    def _steer(self, leg: Leg, command: Command) -> None:
        match command:
            case PausePlayout():
                leg.playout.paused = True
                # from the detection to the end of the last frame, which is 20 ms after it left
                stopped = leg.last_spoke_at + FRAME_SECONDS
                self._metrics.barge_in_stop.observe(max(0.0, stopped - self._sounded_at))
            case ResumePlayout():
                self._last_voiced_at = None
                self._uplink.rearm()  # what comes after the cough may be speech
                self._vigil.resumed()
                leg.resume()
            case DropReply():
                self._drop_reply(leg)
            case HangUp():
                leg.hang_up()

    def _drop_reply(self, leg: Leg) -> None:
        """What is not heard of it yet, and what is still to come."""
        self._vigil.dropped()
        heard_ms = leg.playout.clear()
        self._discarding_until = math.inf if self._generating else 0.0
        self._keypad.asked()
        if self._keypad.entering:  # whoever knows what to press need not listen
            return
        self._ledger.interrupted(heard_ms)
        if self._voice is not None:
            self._voice.note_heard(heard_ms)

    # -- the record ----------------------------------------------------------------------------

    def _used(self, used: Used) -> None:
        self._ledger.tool_used(used)
        self._life.used(used)

    def _figures(self) -> Figures:
        """What the call's row among those that are up says of it now."""
        target, reason = self._transfer or (None, "")
        return Figures(
            peer=self.peer,
            agent=self.plan.name,
            rate_hz=self.downlink_rate_hz,
            turn=self.turn,
            turns=self._ledger.turns,
            usd=self._ledger.cost_usd,
            answered_at=self._ledger.answered_at,
            summary=self._summary.kept(),
            outcome=None if self.lost else self._decided,
            target=target.name if target else "",
            reason=reason,
        )

    def _flush_counts(self) -> None:
        if self._leg is None:
            return
        counts = self._leg.take_counts()
        self._metrics.frames(
            received=counts.received,
            sent=counts.sent,
            late=counts.late,
            skipped_seconds=counts.skipped_seconds,
            stalls=counts.stalls,
        )

    def _record(self) -> None:
        duration = self._clock() - self._began_at
        self._metrics.call_duration.observe(duration)
        self._metrics.calls.labels(self._call.outcome.value).inc()
        to, reason = "", ""
        if self.transferring is not None:
            to, reason = self.transferring[0].name, self.transferring[1]
        self._ledger.ended(self._call.outcome, self._summary, to, reason)
        self._log.info(
            "call ended",
            outcome=self._call.outcome.value,
            duration_s=round(duration, 3),
            **self._summary.fields(),
        )

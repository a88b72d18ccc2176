"""The watch over a call's model: what happens goes to the watchdog (call.watchdog), and what it wants
done is done.

    caller, leg, model ──▶ Vigil ──▶ Watchdog ──▶ a cure ──▶ Hands: a text, a filler, a connection ...

A model that is not expected to answer (`Capabilities.answers`) is let sleep.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from audiosocket_agent.audio.vad import Edge
from audiosocket_agent.call.watchdog import (
    Cure,
    Cured,
    Drop,
    Fault,
    Fill,
    Found,
    GiveUp,
    Nudge,
    Patience,
    Reconnect,
    Watchdog,
)
from audiosocket_agent.log import Log
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model import base

_GO_ON: Final = (
    "(The caller has heard only the beginning of your reply; its end was lost on the way. Go on from "
    "where it broke off, without an apology. If nothing is missing, say nothing.)"
)
NUDGES: Final[Mapping[Fault, str]] = {
    Fault.NO_ANSWER: "(The caller is waiting and hears nothing of you. Answer now. If you have not "
    "understood them, ask them to say it again.)",
    Fault.MISSED: "(The caller has just said something short, perhaps yes or no. If you have heard it, "
    "answer; if not, ask them to say it again.)",
    Fault.EMPTY_TURN: "(Nothing of what you wanted to say was heard. Say it now.)",
    Fault.STALLED: _GO_ON,
    Fault.CUT: _GO_ON,
    Fault.PHANTOM: "(The caller has not said anything: what interrupted you was a noise. Go on from "
    "where you stopped.)",
    Fault.ENDLESS: "(Your last reply could not be understood on the telephone and was stopped. Say it "
    "again in one short sentence.)",
}
"""What the model is told. A fault that is not here is not nudged."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What is done in the call."""

    tell: Callable[[str], None]
    """Send the model a text."""
    fill: Callable[[], float]
    """Play a filler; returns for how many seconds, 0 where there is none."""
    drop: Callable[[], None]
    """Drop the reply under way, and what is still to come of it."""
    found: Callable[[Fault], bool]
    """A fault was found. True where what the caller said is being said to the model again."""
    reconnect: Callable[[str, bool], None]
    """`VoiceSession.reconnect`: why, and whether to another model."""
    give_up: Callable[[], None]
    """End the call as one whose model has failed."""
    moved: Callable[[], None]
    """`next_deadline` is another."""


class Vigil:
    """Of one call. Must be told of everything below as it happens; `clock` is the call's."""

    def __init__(
        self,
        hands: Hands,
        metrics: Metrics,
        logger: Log,
        clock: Callable[[], float],
        *,
        patience: Patience,
        answers: bool,
    ) -> None:
        self._hands = hands
        self._metrics = metrics
        self._log = logger
        self._clock = clock
        self._answers = answers
        self._dog = Watchdog(patience)
        self._deadline: float | None = None

    @property
    def owed(self) -> bool:
        """The caller is waiting for the model: its silence is not theirs."""
        return self._answers and self._dog.owed

    def next_deadline(self) -> float | None:
        """When to call `elapse`."""
        return self._dog.next_deadline()

    def elapse(self, quiet_s: float) -> None:
        """Do what is due. `quiet_s`: how long neither side has been heard."""
        self._do(self._dog.elapse(self._clock(), quiet_s=quiet_s))

    # -- the call ------------------------------------------------------------------------------

    def attend(self, conversing: bool, *, playing: bool) -> None:
        """Whether the caller and the agent have each other; `playing`: there is a reply for the
        caller to hear as they meet."""
        self._dog.attend(self._clock(), conversing and self._answers, playing=playing)
        self._wake()

    def told(self) -> None:
        """The model was sent a text."""
        self._dog.told(self._clock())
        self._wake()

    def played_out(self) -> None:
        """The last frame of a reply has left."""
        self._dog.played_out(self._clock())
        self._wake()

    def dropped(self) -> None:
        """A reply was dropped."""
        self._dog.dropped(self._clock())
        self._wake()

    def resumed(self) -> None:
        """A reply goes on: the sound that had paused it is over, and was none of speech."""
        self._dog.caller_ended(self._clock())
        self._wake()

    # -- the caller ----------------------------------------------------------------------------

    def caller(self, edge: Edge, last_heard_at: float) -> None:
        match edge:
            case Edge.STARTED:
                self._dog.caller_spoke()
            case Edge.SUSTAINED:
                self._dog.caller_sustained()
            case Edge.ENDED:
                self._dog.caller_ended(last_heard_at)
        self._wake()

    # -- the model -----------------------------------------------------------------------------

    def ready(self, *, told: bool) -> None:
        """It is there for the first time; `told`: and is to greet."""
        self._dog.ready(self._clock(), told=told)
        self._wake()

    def audio(self) -> None:
        """Audio of it has arrived that the caller is to hear."""
        self._do(self._dog.audio_arrived(self._clock()))

    def happened(self, event: base.ModelEvent, caller_quiet_s: float) -> None:
        """An event of it, before anything is done about that. `caller_quiet_s`: how long the caller
        has not been heard."""
        now = self._clock()
        match event:
            case base.GenerationEnded():
                self._dog.generation_ended()
            case base.TurnEnded(spoke):
                self._do(self._dog.turn_ended(now, spoke))
            case base.Interrupted():
                self._dog.interrupted(now, caller_quiet_s)
            case base.Transcript("agent"):
                self._dog.words_arrived(now)
            case base.ToolCancelled(ids):
                for use_id in ids:
                    self._dog.tool_over(use_id, now)
            case base.Disconnected():
                self._dog.lost(now)
            case base.Reconnected():
                self._dog.ready(now)
        self._wake()

    def tool_asked(self, use_id: str, *, awaits_caller: bool) -> None:
        """It wants a tool used, which may wait for the caller to do something."""
        self._dog.tool_asked(use_id, self._clock(), awaits_caller=awaits_caller)
        self._wake()

    def tool_over(self, use_id: str) -> None:
        """It has the result."""
        self._dog.tool_over(use_id, self._clock())
        self._wake()

    # -- the cures -----------------------------------------------------------------------------

    def _do(self, cures: Sequence[Cure]) -> None:
        said_again = False
        for cure in cures:
            if isinstance(cure, Found):
                said_again |= self._hands.found(cure.fault)
            if not (said_again and isinstance(cure, Nudge)):
                self._do_one(cure)
        self._wake()

    def _do_one(self, cure: Cure) -> None:
        match cure:
            case Fill():
                if seconds := self._hands.fill():
                    self._metrics.fillers.inc()
                    self._dog.filled(self._clock(), seconds)
            case Nudge(fault):
                self._hands.tell(NUDGES[fault])
            case Drop():
                self._hands.drop()
            case Reconnect(fault, another):
                self._hands.reconnect(fault.value, another)
            case GiveUp(fault, waited_s):
                self._log.warning("model given up", fault=fault.value, waited_s=round(waited_s, 3))
                self._hands.give_up()
            case Found(fault):
                self._metrics.model_faults.labels(fault.value).inc()
                self._log.warning("model at fault", fault=fault.value)
            case Cured(fault, waited_s):
                self._metrics.model_waits.labels(fault.value).observe(waited_s)
                self._log.info("model heard again", fault=fault.value, waited_s=round(waited_s, 3))

    def _wake(self) -> None:
        deadline = self._dog.next_deadline()
        if deadline != self._deadline:
            self._deadline = deadline
            self._hands.moved()

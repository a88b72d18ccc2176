"""The life of a call, as a table.

    OPENING ──ready──> LISTENING <──played──> SPEAKING <──sound / silence──> PAUSED
       │                   │                      │                            │
       └───────────────────┴──────── an end ──────┴────────────────────────────┘
                                        │
                                 ENDING (last words) ──> TAIL (phone plays out) ──> HUNG_UP ──> OVER

Events go in with the time they happened at; commands come out, to be performed in order. The machine
has no clock: the session asks `next_deadline` when to call `elapse`. Audio never comes here.

Barge-in is reversible: the first sound of the caller only pauses the reply. It is dropped when the
model says it was interrupted or when the sound goes on as speech does; if neither comes in time, it
was a cough, and the reply goes on where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

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
    Verdict,
)
from audiosocket_agent.call.events import (
    AgentEnds,
    CallerSpoke,
    CallerSustained,
    DurationReached,
    EndOrdered,
    Event,
    FarewellDue,
    Interrupted,
    LegClosed,
    ModelFailed,
    ModelReady,
    Outcome,
    ReplyPlayed,
    ReplyStarted,
    TailPlayed,
    TurnEnded,
    VerdictDue,
)

_Timed = VerdictDue | FarewellDue | TailPlayed | DurationReached


class State(Enum):
    """Where a call is."""

    OPENING = "the caller hears silence while the model is dialled"
    LISTENING = "nobody speaks, or the caller does"
    SPEAKING = "a reply is playing"
    PAUSED = "a sound of the caller has stopped the reply; whether for good is not known yet"
    ENDING = "the end is decided; last words are still to be heard"
    TAIL = "all was sent; the caller's phone is still playing it"
    HUNG_UP = "the dialplan has the call; the socket is about to close"
    OVER = "nothing is left"


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations of one call, in seconds."""

    max_duration_s: float = 1800.0
    verdict_s: float = 0.4
    """How long a reply stays paused without a sign that the sound was speech. More: a short word
    is recognised more often. Less: a cough makes a shorter hole."""
    farewell_s: float = 10.0
    """The most that last words may take."""
    tail_s: float = 0.22
    """20 ms that the last frame plays, 200 ms that a phone may hold: Asterisk goes on, and hangs
    up, at once when it reads our hangup (app_audiosocket.c)."""
    interruptions: bool = True


class Call:
    """One call; `now` is any monotonic clock in seconds, `now` at construction is the accept."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.state = State.OPENING
        self.outcome = Outcome.ERROR  # until an end is decided
        self._limits = limits
        self._accepted_at = now
        self._greeted = False
        self._playing = False  # a reply has started and is not played out, in whatever state
        self._turn_open = False  # in ENDING: the model may still say something
        self._last_sent_at = now  # when the last frame of a reply left
        self._deadlines: dict[type[_Timed], float] = {
            DurationReached: now + limits.max_duration_s,
        }

    def receive(self, event: Event, now: float) -> list[Command]:
        """Take an event; return what is to be done about it. An event that has no cell in the
        row of the present state changes nothing."""
        handler = _TABLE[self.state].get(type(event))
        return handler(self, event, now) if handler else []

    def next_deadline(self) -> float | None:
        """When to call `elapse`; None when time changes nothing any more."""
        return min(self._deadlines.values(), default=None)

    def elapse(self, now: float) -> list[Command]:
        """Take the events that time itself has brought by now."""
        due = sorted((at, kind.__name__, kind) for kind, at in self._deadlines.items() if at <= now)
        commands: list[Command] = []
        for _, _, kind in due:
            if self._deadlines.pop(kind, None) is not None:
                commands += self.receive(kind(), now)
        return commands

    # -- a conversation ------------------------------------------------------------------------

    def _ready(self, event: Event, now: float) -> list[Command]:
        self.state = State.LISTENING
        return []

    def _speak(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, ReplyStarted)
        self.state = State.SPEAKING
        return self._reply_began(event, now)

    def _reply_began(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, ReplyStarted)
        self._playing = True
        if not self._greeted:
            self._greeted = True
            return [Greeted(now - self._accepted_at)]
        return [] if event.caller_quiet_s is None else [Answered(event.caller_quiet_s)]

    def _played(self, event: Event, now: float) -> list[Command]:
        self.state = State.LISTENING
        self._playing = False
        self._last_sent_at = now
        return []

    def _pause(self, event: Event, now: float) -> list[Command]:
        if not self._limits.interruptions:
            return []
        self.state = State.PAUSED
        self._deadlines[VerdictDue] = now + self._limits.verdict_s
        return [PausePlayout()]

    def _resume(self, event: Event, now: float) -> list[Command]:
        self.state = State.SPEAKING
        return [ResumePlayout(), BargedIn(Verdict.RESUMED)]

    def _confirmed(self, event: Event, now: float) -> list[Command]:
        del self._deadlines[VerdictDue]
        return self._drop(now, Verdict.CONFIRMED)

    def _interrupted(self, event: Event, now: float) -> list[Command]:
        return self._drop(now, Verdict.MODEL) if self._limits.interruptions else []

    def _drop(self, now: float, verdict: Verdict) -> list[Command]:
        self.state = State.LISTENING
        self._playing = False
        self._last_sent_at = now
        return [DropReply(), BargedIn(verdict)]

    # -- an end --------------------------------------------------------------------------------

    def _agent_ends(self, event: Event, now: float) -> list[Command]:
        self._turn_open = True
        return self._end(Outcome.AGENT_HANGUP, now)

    def _ordered(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, EndOrdered)
        return self._end(event.outcome, now)

    def _too_long(self, event: Event, now: float) -> list[Command]:
        return self._end(Outcome.MAX_DURATION, now)

    def _model_failed(self, event: Event, now: float) -> list[Command]:
        return self._end(Outcome.MODEL_FAILED, now)

    def _end(self, outcome: Outcome, now: float) -> list[Command]:
        """Decide the end. A reply under way is heard out, also one that a sound has paused."""
        commands: list[Command] = []
        if self.state is State.PAUSED:
            commands.append(ResumePlayout())
        self.outcome = outcome
        self.state = State.ENDING
        self._deadlines = {FarewellDue: now + self._limits.farewell_s}
        return commands + self._leave_when_done(now)

    def _last_words_played(self, event: Event, now: float) -> list[Command]:
        self._playing = False
        self._last_sent_at = now
        return self._leave_when_done(now)

    def _last_turn_over(self, event: Event, now: float) -> list[Command]:
        self._turn_open = False
        return self._leave_when_done(now)

    def _leave_when_done(self, now: float) -> list[Command]:
        if not (self._playing or self._turn_open):
            self._wait_for_tail(now)
        return []

    def _wait_for_tail(self, now: float) -> None:
        self.state = State.TAIL
        self._deadlines = {TailPlayed: max(now, self._last_sent_at + self._limits.tail_s)}

    def _enough_words(self, event: Event, now: float) -> list[Command]:
        self._last_sent_at = now
        self._wait_for_tail(now)
        return [DropReply()]

    def _no_more_words(self, event: Event, now: float) -> list[Command]:
        """The model is gone while last words were awaited; what it said is still to be heard."""
        return self._last_turn_over(event, now)

    def _hang_up(self, event: Event, now: float) -> list[Command]:
        self.state = State.HUNG_UP
        return [HangUp()]

    def _closed(self, event: Event, now: float) -> list[Command]:
        """The socket is gone; before we hung up, that is the caller's (or the peer's) doing."""
        assert isinstance(event, LegClosed)
        if self.state is not State.HUNG_UP:
            self.outcome = event.outcome
        self.state = State.OVER
        self._deadlines = {}
        return [Finish(self.outcome)]


Handler = Callable[[Call, Event, float], list[Command]]

_ENDS: Final[dict[type[Event], Handler]] = {
    AgentEnds: Call._agent_ends,
    EndOrdered: Call._ordered,
    DurationReached: Call._too_long,
    ModelFailed: Call._model_failed,
    LegClosed: Call._closed,
}
_TABLE: Final[dict[State, dict[type[Event], Handler]]] = {
    State.OPENING: {
        **_ENDS,
        ModelReady: Call._ready,
    },
    State.LISTENING: {
        **_ENDS,
        ReplyStarted: Call._speak,
    },
    State.SPEAKING: {
        **_ENDS,
        ReplyPlayed: Call._played,
        CallerSpoke: Call._pause,
        Interrupted: Call._interrupted,
    },
    State.PAUSED: {
        **_ENDS,
        CallerSustained: Call._confirmed,
        Interrupted: Call._confirmed,
        VerdictDue: Call._resume,
    },
    State.ENDING: {
        ReplyStarted: Call._reply_began,
        ReplyPlayed: Call._last_words_played,
        TurnEnded: Call._last_turn_over,
        ModelFailed: Call._no_more_words,
        FarewellDue: Call._enough_words,
        LegClosed: Call._closed,
    },
    State.TAIL: {
        TailPlayed: Call._hang_up,
        LegClosed: Call._closed,
    },
    State.HUNG_UP: {
        LegClosed: Call._closed,
    },
    State.OVER: {},
}

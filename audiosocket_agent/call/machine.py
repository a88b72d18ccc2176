"""The life of a call, as a table.

    RINGING (model dialled, no caller yet)
       │ leg
    OPENING ──ready──> LISTENING <──played──> SPEAKING <──sound / silence──> PAUSED
       │                   │  ^                   │                            │
       └───────────────────┴──┼───── an end ──────┴────────────────────────────┘
                              │         │
                              │  ENDING (last words) ──> TAIL (phone plays out) ──> HUNG_UP ──> OVER
                              │                                                       │
                              └─────────────── leg, again ──────────────────────── HELD (transfer)

Events go in with the time they happened at; commands come out, to be performed in order. The machine
has no clock: the session asks `next_deadline` when to call `elapse`. Audio never comes here.

Barge-in is reversible: the first sound of the caller only pauses the reply. It is dropped when the
model says it was interrupted or when the sound goes on as speech does; if neither comes in time, it
was a cough, and the reply goes on where it stopped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

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
from audiosocket_agent.call.events import (
    AgentEnds,
    CallerSpoke,
    CallerSustained,
    Claimed,
    DurationReached,
    EndOrdered,
    Event,
    FarewellDue,
    Interrupted,
    KeyPressed,
    KeysDue,
    KeyTaken,
    LegClosed,
    LegOpened,
    ModelFailed,
    ModelReady,
    Outcome,
    ReplyPlayed,
    ReplySpoiled,
    ReplyStarted,
    SilenceDue,
    TailPlayed,
    TransferAsked,
    TransferDone,
    TurnEnded,
    Unclaimed,
    VerdictDue,
    WordsDue,
)

STILL_SOUNDING_S: Final = 0.1

_Timed = (
    VerdictDue
    | KeysDue
    | SilenceDue
    | WordsDue
    | FarewellDue
    | TailPlayed
    | DurationReached
    | Unclaimed
)


class State(Enum):
    """Where a call is."""

    RINGING = "the model is dialled, the phone rings; nobody is connected yet"
    OPENING = "the caller hears silence while the model is dialled"
    LISTENING = "nobody speaks, or the caller does"
    SPEAKING = "a reply is playing"
    PAUSED = "a sound of the caller has stopped the reply; whether for good is not known yet"
    ENDING = "the end is decided; last words are still to be heard"
    TAIL = "all was sent; the caller's phone is still playing it"
    HUNG_UP = "the dialplan has the call; the socket is about to close"
    HELD = "the dialplan has the caller, who may come back: from a transfer, or a lost connection"
    OVER = "nothing is left"


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations of one call, in seconds."""

    max_duration_s: float = 1800.0
    verdict_s: float = 0.4
    """How long a reply stays paused without a sign that the sound was speech. More: a short word
    is recognised more often. Less: a cough makes a shorter hole."""
    farewell_s: float = 10.0
    """The most that last words may take where the end is ordered: an operator, a limit, a drain."""
    last_words_s: float = 60.0
    """The most that they may take where the end is the agent's own or the model's: all that was
    said is heard, unless the model stalls inside it."""
    words_s: float = 3.0
    """How long the agent's goodbye is waited for when it ends the call before saying it; a model
    takes about a second to go on after a tool."""
    tail_s: float = 0.22
    """20 ms that the last frame plays, 200 ms that a phone may hold: Asterisk goes on, and hangs
    up, at once when it reads our hangup (app_audiosocket.c)."""
    interruptions: bool = True
    keys_s: float = 1.5
    """How long a further key is waited for. More: slow fingers. Less: a faster answer."""
    ring_s: float = 30.0
    """How long an announced call may take to connect."""
    silence_s: float = 0.0
    """How long nobody may be heard before the agent asks whether the caller is there, and then again
    before it says goodbye; 0: for ever."""
    held_s: float = 120.0
    """How long a transfer may be tried: the ringing, and what the human is told."""
    lost_s: float = 2.0
    """How long a dialplan may take to bring back a caller whose connection broke; on a busy host it
    asks within 0.1 s."""


class Call:
    """One call; `now` is any monotonic clock in seconds. A call begins when its leg opens; where it
    was announced before that, the model is dialled meanwhile.

    `greeted`: it has begun before, and was lost; the caller is expected back. `held`: they are being
    transferred."""

    def __init__(
        self, limits: Limits, now: float, *, greeted: bool = False, held: bool = False
    ) -> None:
        self.state = State.HELD if held else State.RINGING
        # until an end is decided
        self.outcome = Outcome.TRANSFERRED if held else Outcome.ERROR
        self._limits = limits
        self._model: bool | None = None  # ready; False: failed; None: being dialled
        self._accepted_at = now
        self._greeted = greeted
        self._asked = False  # whether the caller is there, who has not been heard since
        self._held = held  # the end that is decided is a transfer that may come back
        self._broken = False  # the leg ended before that, and nobody has asked since
        self._playing = False  # a reply has started and is not played out, in whatever state
        self._words_to_come = False  # in ENDING: the agent has yet to say goodbye, or to finish it
        self._last_sent_at = now  # when the last frame of a reply left
        self._deadlines: dict[type[_Timed], float] = {
            Unclaimed: now + (limits.held_s if held else limits.ring_s),
        }

    def receive(self, event: Event, now: float) -> list[Command]:
        """Take an event; return what is to be done about it. An event that has no cell in the
        row of the present state changes nothing."""
        handler = _TABLE[self.state].get(type(event))
        return handler(self, event, now) if handler else []

    @property
    def agent_may_speak(self) -> bool:
        """Whether the agent's audio is still for the caller's ears."""
        return self.state not in (State.TAIL, State.HUNG_UP, State.OVER)

    @property
    def conversing(self) -> bool:
        """Whether the caller and the agent have each other, and no end is decided."""
        return TransferAsked in _TABLE[self.state]

    def next_deadline(self) -> float | None:
        """When to call `elapse`; None when time changes nothing any more."""
        return min(self._deadlines.values(), default=None)

    def elapse(
        self, now: float, *, caller_sounds: bool = False, quiet_s: float = math.inf
    ) -> list[Command]:
        """Take the events that time itself has brought by now. While the caller is being heard a
        verdict waits: a sound that has not ended cannot be called short. `quiet_s`: how long neither
        side has been heard."""
        if caller_sounds and self._deadlines.get(VerdictDue, math.inf) <= now:
            self._deadlines[VerdictDue] = now + STILL_SOUNDING_S
        if self._deadlines.get(SilenceDue, math.inf) <= now:
            self._deadlines[SilenceDue] = max(now, now + self._limits.silence_s - quiet_s)
        due = sorted((at, kind.__name__, kind) for kind, at in self._deadlines.items() if at <= now)
        commands: list[Command] = []
        for _, _, kind in due:
            if self._deadlines.pop(kind, None) is not None:
                commands += self.receive(kind(), now)
        return commands

    # -- a conversation ------------------------------------------------------------------------

    def _ready_early(self, event: Event, now: float) -> list[Command]:
        self._model = True
        return []

    def _failed_early(self, event: Event, now: float) -> list[Command]:
        self._model = False
        return []

    def _answered(self, event: Event, now: float) -> list[Command]:
        self._accepted_at = self._last_sent_at = now
        self._deadlines = {DurationReached: now + self._limits.max_duration_s}
        if self._model is False:
            return self._end(Outcome.MODEL_FAILED, now, self._limits.last_words_s)
        self.state = State.OPENING
        return self._ready(event, now) if self._model else []

    def _unclaimed(self, event: Event, now: float) -> list[Command]:
        self.outcome = Outcome.CALLER_HANGUP if self._greeted else Outcome.ABANDONED
        return self._over(event, now)

    def _ready(self, event: Event, now: float) -> list[Command]:
        self._listen(now)
        return []

    def _listen(self, now: float) -> None:
        self.state = State.LISTENING
        if self._limits.silence_s:
            self._deadlines[SilenceDue] = now + self._limits.silence_s

    def _heard(self, event: Event, now: float) -> list[Command]:
        self._asked = False
        return []

    def _silent(self, event: Event, now: float) -> list[Command]:
        if self._asked:
            self._words_to_come = True
            leaving = self._end(Outcome.CALLER_SILENT, now, self._limits.last_words_s)
            return [SayGoodbye(), *leaving]
        self._asked = True
        self._listen(now)
        return [AskCaller()]

    def _speak(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, ReplyStarted)
        self.state = State.SPEAKING
        self._deadlines.pop(SilenceDue, None)
        return self._reply_began(event, now)

    def _reply_began(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, ReplyStarted)
        self._playing = True
        if not self._greeted:
            self._greeted = True
            return [Greeted(now - self._accepted_at)]
        return [] if event.caller_quiet_s is None else [Answered(event.caller_quiet_s)]

    def _played(self, event: Event, now: float) -> list[Command]:
        self._listen(now)
        self._playing = False
        self._last_sent_at = now
        return []

    def _pause(self, event: Event, now: float) -> list[Command]:
        self._asked = False
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
        self._stop_reply(now)
        return [DropReply(), BargedIn(verdict)]

    def _stop_reply(self, now: float) -> None:
        self._listen(now)
        self._playing = False
        self._last_sent_at = now

    def _key(self, event: Event, now: float) -> list[Command]:
        self._asked = False
        self._deadlines[KeysDue] = now + self._limits.keys_s
        return []

    def _key_over_reply(self, event: Event, now: float) -> list[Command]:
        return self._enough_heard(event, now) + self._key(event, now)

    def _enough_heard(self, event: Event, now: float) -> list[Command]:
        """Whoever presses a key has, and whoever hears a tone."""
        self._deadlines.pop(VerdictDue, None)
        self._stop_reply(now)
        return [DropReply()]

    def _keys_pressed(self, event: Event, now: float) -> list[Command]:
        return [TellKeys()]

    # -- an end --------------------------------------------------------------------------------

    def _agent_ends(self, event: Event, now: float) -> list[Command]:
        self._words_to_come = True
        return self._end(Outcome.AGENT_HANGUP, now, self._limits.last_words_s)

    def _transfer(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, TransferAsked)
        self._words_to_come = event.announced
        self._held = True
        return self._end(Outcome.TRANSFERRED, now, self._limits.last_words_s)

    def _ordered(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, EndOrdered)
        if event.at_once:
            self.outcome = event.outcome
            return self._enough_words(event, now)
        return self._end(event.outcome, now, self._limits.farewell_s)

    def _too_long(self, event: Event, now: float) -> list[Command]:
        return self._end(Outcome.MAX_DURATION, now, self._limits.farewell_s)

    def _model_failed(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, ModelFailed)
        self._playing |= event.apologised
        return self._end(Outcome.MODEL_FAILED, now, self._limits.last_words_s)

    def _end(self, outcome: Outcome, now: float, within_s: float) -> list[Command]:
        """Decide the end. A reply under way is heard out, also one that a sound has paused; the
        caller does not interrupt last words."""
        commands: list[Command] = []
        if self.state is State.PAUSED:
            commands.append(ResumePlayout())
        self.outcome = outcome
        self.state = State.ENDING
        self._deadlines = {FarewellDue: now + within_s}
        return commands + self._leave_when_done(now)

    def _last_words_began(self, event: Event, now: float) -> list[Command]:
        self._deadlines.pop(WordsDue, None)
        return self._reply_began(event, now)

    def _last_words_played(self, event: Event, now: float) -> list[Command]:
        self._playing = False
        self._last_sent_at = now
        return self._leave_when_done(now)

    def _last_turn_over(self, event: Event, now: float) -> list[Command]:
        """A turn without a word is not the goodbye: it may come as the next one."""
        assert isinstance(event, TurnEnded)
        if event.spoke:
            self._words_to_come = False
        return self._leave_when_done(now)

    def _no_more_words(self, event: Event, now: float) -> list[Command]:
        """The model is gone, or has said nothing; what it did say is still to be heard."""
        self._words_to_come = False
        return self._leave_when_done(now)

    def _speaks_on(self, event: Event, now: float) -> list[Command]:
        """The caller speaks before the agent's goodbye has begun: the call is not over."""
        if not self._words_to_come or self._playing or not self._limits.interruptions:
            return []
        self._held = False
        self._listen_again(now)
        return []

    def _leave_when_done(self, now: float) -> list[Command]:
        if self._playing:
            return []
        if self._words_to_come:
            self._deadlines.setdefault(WordsDue, now + self._limits.words_s)
            return []
        return self._wait_for_tail(now)

    def _wait_for_tail(self, now: float) -> list[Command]:
        self.state = State.TAIL
        self._deadlines = {TailPlayed: max(now, self._last_sent_at + self._limits.tail_s)}
        return []

    def _enough_words(self, event: Event, now: float) -> list[Command]:
        self._last_sent_at = now
        return [DropReply(), *self._wait_for_tail(now)]

    def _hang_up(self, event: Event, now: float) -> list[Command]:
        self.state = State.HUNG_UP
        return [HangUp()]

    def _caller_left(self, event: Event, now: float) -> list[Command]:
        """The socket is gone with no end decided: the caller's doing, the peer's, or the network's."""
        assert isinstance(event, LegClosed)
        self.outcome = event.outcome
        if event.asks and event.outcome is Outcome.CALLER_HANGUP:
            return self._hold(now, self._limits.lost_s)
        return self._over(event, now)

    def _hold(self, now: float, within_s: float) -> list[Command]:
        self.state = State.HELD
        self._deadlines = {Unclaimed: now + within_s}
        return []

    def _given_back(self, event: Event, now: float) -> list[Command]:
        """The dialplan has the caller, as it was meant to."""
        if not self._held:
            return self._over(event, now)
        return self._hold(now, self._limits.held_s)

    def _left_before(self, event: Event, now: float) -> list[Command]:
        """The caller has hung up over last words; whoever was to be passed on was not, unless it was
        the connection that broke, and the dialplan still asks what is next."""
        assert isinstance(event, LegClosed)
        if self._held and event.asks and event.outcome is Outcome.CALLER_HANGUP:
            self._broken = True
            return self._hold(now, self._limits.lost_s)
        if self._held:
            self.outcome = event.outcome
        return self._over(event, now)

    def _claimed(self, event: Event, now: float) -> list[Command]:
        self._broken = False
        return self._hold(now, self._limits.held_s if self._held else self._limits.lost_s)

    def _not_claimed(self, event: Event, now: float) -> list[Command]:
        if self._broken:
            self.outcome = Outcome.CALLER_HANGUP
        return self._over(event, now)

    def _held_no_more(self, event: Event, now: float) -> list[Command]:
        assert isinstance(event, EndOrdered)
        self.outcome = event.outcome
        return self._over(event, now)

    def _back(self, event: Event, now: float) -> list[Command]:
        """The transfer came to nothing, or the connection broke: the conversation goes on. What was
        being said then is not."""
        self._held = self._broken = self._playing = False
        self._last_sent_at = now
        if self._model is False:
            return self._end(Outcome.MODEL_FAILED, now, self._limits.last_words_s)
        self._listen_again(now)
        return []

    def _listen_again(self, now: float) -> None:
        self._words_to_come = self._asked = False
        self.outcome = Outcome.ERROR
        self._deadlines = {DurationReached: self._accepted_at + self._limits.max_duration_s}
        self._listen(now)

    def _over(self, event: Event, now: float) -> list[Command]:
        self.state = State.OVER
        self._deadlines = {}
        return [Finish(self.outcome)]


Handler = Callable[[Call, Event, float], list[Command]]

_ENDS: Final[dict[type[Event], Handler]] = {
    AgentEnds: Call._agent_ends,
    TransferAsked: Call._transfer,
    EndOrdered: Call._ordered,
    DurationReached: Call._too_long,
    ModelFailed: Call._model_failed,
    LegClosed: Call._caller_left,
}
_TABLE: Final[dict[State, dict[type[Event], Handler]]] = {
    State.RINGING: {
        LegOpened: Call._answered,
        ModelReady: Call._ready_early,
        ModelFailed: Call._failed_early,
        EndOrdered: Call._unclaimed,
        Unclaimed: Call._unclaimed,
    },
    State.OPENING: {
        **_ENDS,
        ModelReady: Call._ready,
    },
    State.LISTENING: {
        **_ENDS,
        KeyPressed: Call._key,
        KeysDue: Call._keys_pressed,
        CallerSpoke: Call._heard,
        SilenceDue: Call._silent,
        ReplyStarted: Call._speak,
    },
    State.SPEAKING: {
        **_ENDS,
        KeyPressed: Call._key_over_reply,
        KeyTaken: Call._enough_heard,
        ReplySpoiled: Call._enough_heard,
        KeysDue: Call._keys_pressed,
        ReplyPlayed: Call._played,
        CallerSpoke: Call._pause,
        Interrupted: Call._interrupted,
    },
    State.PAUSED: {
        **_ENDS,
        KeyPressed: Call._key_over_reply,
        KeyTaken: Call._enough_heard,
        ReplySpoiled: Call._enough_heard,
        KeysDue: Call._keys_pressed,
        CallerSustained: Call._confirmed,
        Interrupted: Call._confirmed,
        VerdictDue: Call._resume,
    },
    State.ENDING: {
        ReplyStarted: Call._last_words_began,
        ReplyPlayed: Call._last_words_played,
        TurnEnded: Call._last_turn_over,
        ModelFailed: Call._no_more_words,
        WordsDue: Call._no_more_words,
        FarewellDue: Call._enough_words,
        CallerSustained: Call._speaks_on,
        Interrupted: Call._speaks_on,
        LegClosed: Call._left_before,
    },
    State.TAIL: {
        TailPlayed: Call._hang_up,
        LegClosed: Call._left_before,
    },
    State.HUNG_UP: {
        LegClosed: Call._given_back,
    },
    State.HELD: {
        LegOpened: Call._back,
        ModelReady: Call._ready_early,
        ModelFailed: Call._failed_early,
        LegClosed: Call._caller_left,
        TransferDone: Call._over,
        EndOrdered: Call._held_no_more,
        Claimed: Call._claimed,
        Unclaimed: Call._not_claimed,
    },
    State.OVER: {},
}

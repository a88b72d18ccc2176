"""Whether the model does its part, as far as the caller can hear; and if not, what is done about it.

The caller's ear is the judge. Whenever the model owes a sound, a wait begins, and time goes through
its cures until the model is heard:

    0 s          2 s            3 s           4.5 s         6 s             8 s
    |────────────|──────────────|─────────────|─────────────|───────────────|
    owed         Fill           Nudge         Reconnect     Reconnect       GiveUp
                 (every 2 s     (a text)      (which says   (another        (an apology,
                 of silence)                  it again)     model)          the dialplan)

It owes one after the caller's turn, after a text, after a tool's result, and where its reply stops
before its end. What is wrong beyond doubt is not waited for: an empty turn is nudged at once. The clock
stands still while the caller speaks, a tool is at work or a reply is heard.

Pure, in the manner of `call.machine`: events go in with their time, cures come out to be performed in
order, and `next_deadline` says when to call `elapse`. Audio is only told of, a few dozen times a second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

CHECK_S: Final = 1.0
"""How often a reply under way is looked at, and how long its audio may be out before it has run dry.
The service sends slower than real time at times (livekit#3604), which makes holes of 0.1 to 0.3 s."""
FILL_AGAIN_S: Final = 1.0
"""A filler that was not played is asked for again after so long."""
ROUNDING_S: Final = 1e-6
"""A difference of two times is not the sum it was made of."""
MISSED_IN_A_ROW: Final = 2
"""So many short sounds are asked about until the caller is heard to speak: a line may crackle."""


class Fault(StrEnum):
    """What was wrong; for a metric's label, and the key of the text that a nudge says."""

    NO_ANSWER = "no_answer"  # neither audio nor the end of a turn
    MISSED = "missed"  # a sound of the caller, short as a "yes", that nothing came of
    EMPTY_TURN = "empty_turn"  # a turn that ended without audio and without a tool
    STALLED = "stalled"  # the audio of a reply stopped, its end was not told
    CUT = "cut"  # a turn ended in the middle of a reply
    PHANTOM = "phantom_interruption"  # interrupted by a caller who was not heard
    ENDLESS = "endless"  # sound without words, or a reply without an end
    DOUBLED = "doubled"  # a turn nobody asked for while the one before was being heard


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for, in seconds. Gemini's answers begin 0.6 to 1 s after the caller's
    last sound in the field (AVA, samvaad.io), 0.5 s of which are its own end-of-speech."""

    filler_s: float = 2.0
    """Of silence. More: dead air, which may not exceed 3 s. Less: fillers before sound answers."""
    late_filler_s: float = 2.8
    """The same where the model has been told to speak a moment ago: with a tool that takes longer than
    1 s (tools.silence), or with `missed_s`."""
    missed_s: float = 2.0
    """From a short sound of the caller to the nudge: it may have been nothing, so there is no filler
    before it, and the answer to it is to come within 3 s all the same."""
    nudge_s: float = 3.0
    """From where an answer is owed to the nudge: three times what a sound answer takes, because a text
    interrupts one that is about to come, and may double it (livekit#2884)."""
    reconnect_s: float = 1.5
    """From the nudge. One in twenty texts is never answered (gemini-live-api-examples#55)."""
    another_s: float = 1.5
    """From a reconnection, or from its success, to the next: models have stayed mute for the rest of
    their session (python-genai#2333), which the same session on a new connection does not cure."""
    give_up_s: float = 8.0
    """From where an answer is owed: what a caller bears. All cures are given up with it."""
    grace_s: float = 1.0
    """For a model that may go on by itself: it was interrupted by what nobody else has heard."""
    heard_s: float = 1.0
    """A caller who was heard this recently may be who interrupted: a tenth of a second to notice, a
    round trip, and a word that was over by then."""
    tone_s: float = 5.0
    """Of audio without a word, in a call whose words are otherwise transcribed (python-genai#2715: 14 s
    of a loud tone). More: more of the tone is heard. Less: words that come late cost a good reply."""
    longest_s: float = 120.0
    """Of one reply that has no end yet. On the telephone one has 5 to 30 s."""


# ---- cures -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fill:
    """Let the caller hear that the line is alive; what was played is told by `filled`."""


@dataclass(frozen=True, slots=True)
class Nudge:
    """Tell the model, by the text for `fault`, to speak."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Drop:
    """The reply under way is not for the caller's ears: drop it, and what is still to come of it."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Take the session up again on a new connection, and say there what is not answered."""

    fault: Fault
    another: bool = False
    """Not the same session: that of another model, or at least a new one."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No model answers; the call is for somebody else."""

    fault: Fault
    waited_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """For the record: a fault, when it is certain. A wait may find several."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Cured:
    """For the record: the model is heard again, `waited_s` after it should have been."""

    fault: Fault
    """The first that was found."""
    waited_s: float


Cure = Fill | Nudge | Drop | Reconnect | GiveUp | Found | Cured
NOTHING: Final[tuple[Cure, ...]] = ()


# ---- the watchdog ----------------------------------------------------------------------------


class _Step(IntEnum):
    WAITING = 0
    NUDGED = 1
    RECONNECTED = 2
    CHANGED = 3  # for another model


@dataclass(slots=True)
class _Wait:
    fault: Fault
    """What it is, or will be if it lasts."""
    since: float
    due: float
    """When the next cure is."""
    until: float
    """When all are given up."""
    quiet_from: float
    """When there was a sound, or at least a filler was asked for, as far as is known."""
    filler_s: float
    soft: bool
    """The model may have nothing to say: a turn without audio is an answer, too."""
    step: _Step = _Step.WAITING
    found: bool = False


class Watchdog:
    """Of one call; `now` is any monotonic clock in seconds. It begins with a model that is being
    dialled, and no caller: it attends to nothing until told."""

    def __init__(self, limits: Patience) -> None:
        self._limits = limits
        self._wait: _Wait | None = None  # a sound is owed; its clock may stand still
        self._attending = False
        self._dialled = False  # the model is there; whoever dials it has a deadline of their own
        self._caller_sounds = False
        self._sustained = False  # what sounds, or sounded last, is speech
        self._missable = MISSED_IN_A_ROW
        self._tools: dict[str, bool] = {}  # uses without a result: whether they wait for the caller
        # the model's turn
        self._open = False  # it has brought audio, and has not ended
        self._generating = False  # more audio of it is to come
        self._playing = False  # a reply is being heard, or paused
        self._turn_tool = False  # it has asked for a tool
        self._turn_broken = False  # it was interrupted
        self._told_in_turn = False  # a text has come in between, and may interrupt it
        self._announced = False  # it has spoken since it was last asked anything
        self._marks_ends = False  # this model tells the end of its generations
        self._was_cut = False  # the last turn was
        self._began_at = 0.0  # the reply
        self._audio_at = 0.0  # its last
        self._words_at = 0.0  # its last word, or where audio without words began
        self._words_known = False  # words are transcribed
        # deadlines
        self._filled_until = -math.inf
        self._fill_at = math.inf
        self._cure_at = math.inf
        self._check_at = math.inf

    @property
    def owed(self) -> bool:
        """Whether the caller is waiting for the model."""
        return self._wait is not None

    # -- time ----------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to call `elapse`; None when time changes nothing."""
        at = min(self._fill_at, self._cure_at, self._check_at)
        return None if at == math.inf else at

    def elapse(self, now: float, *, quiet_s: float) -> list[Cure]:
        """What is to be done by now. `quiet_s`: how long neither side has been heard; a filler may
        count in it or not."""
        cures: list[Cure] = []
        if self._check_at <= now:
            cures += self._inspect(now, quiet_s)
        if self._fill_at <= now:
            cures += self._fill(now, quiet_s)
        if self._cure_at <= now:
            cures += self._cure(now)
        return cures

    # -- the call ------------------------------------------------------------------------------

    def attend(self, now: float, conversing: bool, *, playing: bool = False) -> None:
        """Whether the caller and the agent have each other. What was owed when they part is owed no
        more; what is owed when they meet is owed from then on. `playing`: there is something to be
        heard already as they do."""
        if conversing is self._attending:
            return
        self._attending = conversing
        self._playing = playing
        self._caller_sounds = False
        if not conversing:
            self._wait = None
        elif self._wait is not None:
            self._restart(self._wait, now)
        elif not self._dialled:
            self._owe(Fault.NO_ANSWER, now)
        self._arm()

    def ready(self, now: float, *, told: bool = False) -> None:
        """The model is there, or there again; what it had not answered has been said to it again.
        `told`: it has been told to greet."""
        wait, first = self._wait, not self._dialled
        self._dialled = True
        if first:
            self._wait = None
            if told:
                greeting = self._owe(Fault.NO_ANSWER, now)
                if wait is not None:
                    greeting.since, greeting.until = wait.since, wait.until
        elif wait is not None:
            if wait.step is _Step.NUDGED:
                wait.step = _Step.RECONNECTED
            wait.due = max(wait.due, now + self._limits.another_s)
        self._arm()

    def lost(self, now: float) -> None:
        """Its connection is lost, and it owes the caller something that is to come on the next."""
        if self._wait is None:
            self._owe(Fault.NO_ANSWER, now)
        self._arm()

    def told(self, now: float) -> None:
        """The model has been told something that is not the caller's speech."""
        self._told_in_turn = self._open
        self._announced = False
        if self._wait is None or not self._wait.found:
            self._owe(Fault.NO_ANSWER, now)
        self._arm()

    def filled(self, now: float, seconds: float) -> None:
        """A filler is being played, which lasts so long."""
        self._filled_until = now + seconds

    # -- the caller ----------------------------------------------------------------------------

    def caller_spoke(self) -> None:
        """A sound of the caller has begun."""
        self._caller_sounds = True
        self._sustained = False
        self._arm()

    def caller_sustained(self) -> None:
        """It is speech."""
        self._sustained = True
        self._missable = MISSED_IN_A_ROW

    def caller_ended(self, last_heard_at: float) -> None:
        """It is over since then."""
        self._caller_sounds = False
        wait = self._wait
        if self._sustained:
            self._announced = False
            if wait is not None and wait.found:  # "hello?" to a model that has been mute before
                wait.soft = False
                wait.due = last_heard_at + self._gap(wait)
                wait.until = max(wait.until, wait.due)
            else:
                self._owe(Fault.NO_ANSWER, last_heard_at)
        elif wait is None and self._missable and not self._playing:
            self._owe(Fault.MISSED, last_heard_at)
        self._arm()

    # -- the model's speech --------------------------------------------------------------------

    def audio_arrived(self, now: float) -> Sequence[Cure]:
        """Audio that the caller is to hear; called with every piece of it."""
        self._audio_at = now
        if self._generating and self._wait is None:
            return NOTHING
        asked = self._wait is not None or self._caller_sounds or not self._attending
        doubled = self._playing and not self._open and not asked
        if not self._generating:
            self._began_at = self._words_at = now
            self._caller_sounds = False  # what goes on is a new sound, from here on
        self._open = self._generating = self._playing = self._announced = True
        self._check_at = now + CHECK_S
        wait, self._wait = self._wait, None
        self._arm()
        if doubled:
            return (Found(Fault.DOUBLED),)
        return (Cured(wait.fault, now - wait.since),) if wait and wait.found else NOTHING

    def words_arrived(self, now: float) -> None:
        """Words of the agent."""
        self._words_at = now
        self._words_known = True

    def generation_ended(self) -> None:
        """All audio of the turn has arrived."""
        self._marks_ends = True
        self._was_cut = False
        self._end_generation()

    def turn_ended(self, now: float, spoke: bool) -> Sequence[Cure]:
        """The model's turn is over; `spoke`: it has brought audio."""
        unfinished = self._generating and self._marks_ends and not self._was_cut
        used_tool, broken = self._turn_tool, self._turn_broken
        self._end_turn()
        wait = self._wait
        if broken:
            return NOTHING
        if used_tool:
            if spoke and not self._tools:
                self._settle()  # it has the result, and nothing to add
            return NOTHING
        if spoke:
            cut = unfinished and wait is None and self._attending and not self._caller_sounds
            return self._cut(now) if cut else NOTHING
        if wait is None or self._caller_sounds or self._tools:
            return NOTHING
        return self._emptied(wait, now)

    def interrupted(self, now: float, caller_quiet_s: float) -> None:
        """The model says that the caller has interrupted it, who was last heard `caller_quiet_s` ago.
        To be called before the reply is dropped."""
        under_way = self._generating or self._playing
        told, self._told_in_turn = self._told_in_turn, False
        self._turn_broken = True
        self._end_generation()
        if self._caller_sounds:
            self._sustained = True  # to the model it is speech
        elif self._wait is None and (told or under_way):
            heard = told or caller_quiet_s < self._limits.heard_s
            self._owe(Fault.NO_ANSWER if heard else Fault.PHANTOM, now)
        self._arm()

    def dropped(self, now: float) -> None:
        """The reply was dropped: the caller spoke, or pressed a key."""
        self._end_generation()
        self.played_out(now)

    def played_out(self, now: float) -> None:
        """The last frame of the reply has left."""
        if self._playing and self._wait is not None:
            self._restart(self._wait, now)
        self._playing = False
        self._arm()

    # -- its tools -----------------------------------------------------------------------------

    def tool_asked(self, use_id: str, now: float, *, awaits_caller: bool = False) -> None:
        """The model wants a tool used. `awaits_caller`: what it waits for is the caller's to do."""
        self._turn_tool = True
        self._tools[use_id] = awaits_caller
        if awaits_caller:
            self._end_generation()
        wait = self._wait or self._owe(Fault.NO_ANSWER, now)
        wait.filler_s = self._limits.late_filler_s
        self._arm()

    def tool_over(self, use_id: str, now: float) -> None:
        """It has its result, or wants it no longer."""
        if self._tools.pop(use_id, None) is None or self._tools:
            return
        wait = self._wait or self._owe(Fault.NO_ANSWER, now)
        wait.due, wait.until = now + self._gap(wait), now + self._limits.give_up_s
        wait.soft |= self._announced  # it has told what the tool was about to do
        self._arm()

    # -- a wait --------------------------------------------------------------------------------

    def _owe(self, fault: Fault, since: float) -> _Wait:
        soft = fault in (Fault.MISSED, Fault.CUT)
        until = since + self._limits.give_up_s
        wait = _Wait(fault, since, until, until, since, self._limits.filler_s, soft)
        wait.due = since + self._gap(wait)
        self._wait = wait
        return wait

    def _restart(self, wait: _Wait, now: float) -> None:
        wait.since = wait.quiet_from = now
        wait.due, wait.until = now + self._gap(wait), now + self._limits.give_up_s

    def _settle(self) -> None:
        self._wait = None
        self._arm()

    def _gap(self, wait: _Wait) -> float:
        """From the last that was done to the next cure."""
        limits = self._limits
        if wait.step is _Step.WAITING and wait.fault in (Fault.PHANTOM, Fault.EMPTY_TURN):
            return limits.grace_s
        if wait.step is _Step.WAITING and wait.fault is Fault.MISSED:
            return limits.missed_s
        return (limits.nudge_s, limits.reconnect_s, limits.another_s, math.inf)[wait.step]

    def _arm(self) -> None:
        """Set the deadlines of the wait, where its clock runs."""
        self._fill_at = self._cure_at = math.inf
        wait = self._wait
        stands = self._caller_sounds or self._playing or any(self._tools.values())
        if wait is None or stands or not self._attending:
            return
        if wait.fault is not Fault.MISSED or wait.found:
            self._fill_at = max(wait.quiet_from, self._filled_until) + wait.filler_s
        if not self._tools:
            self._cure_at = min(wait.due, wait.until) if self._dialled else wait.until

    def _fill(self, now: float, quiet_s: float) -> Sequence[Cure]:
        wait = self._wait
        assert wait is not None
        wait.quiet_from = now - min(quiet_s, now - self._filled_until)
        due = now - wait.quiet_from >= wait.filler_s - ROUNDING_S
        if due:
            wait.quiet_from = now - wait.filler_s + FILL_AGAIN_S
        self._arm()
        return (Fill(),) if due else NOTHING

    def _cure(self, now: float) -> Sequence[Cure]:
        wait = self._wait
        assert wait is not None
        if now >= wait.until:
            found = NOTHING if wait.found else self._find(wait, wait.fault)
            self._settle()
            return (*found, GiveUp(wait.fault, now - wait.since))
        if wait.step is _Step.WAITING:
            return self._nudge(now)
        return self._reconnect(now)

    def _nudge(self, now: float) -> Sequence[Cure]:
        wait = self._wait
        assert wait is not None
        if wait.fault is Fault.MISSED:
            self._missable -= 1
            wait.since = now  # the silence before was nobody's fault
            wait.filler_s = self._limits.late_filler_s  # it may speak by then
        found = self._find(wait, wait.fault)
        wait.step, wait.due = _Step.NUDGED, now + self._limits.reconnect_s
        self._told_in_turn = self._open
        self._arm()
        return (*found, Nudge(wait.fault))

    def _reconnect(self, now: float) -> Sequence[Cure]:
        wait = self._wait
        assert wait is not None
        another = wait.step is _Step.RECONNECTED
        wait.step = _Step.CHANGED if another else _Step.RECONNECTED
        wait.due = now + self._gap(wait)
        self._arm()
        return (Reconnect(wait.fault, another),)

    def _find(self, wait: _Wait, fault: Fault) -> Sequence[Cure]:
        if wait.found and wait.fault is fault:
            return NOTHING
        if not wait.found:
            wait.fault, wait.found = fault, True
        return (Found(fault),)

    # -- what is wrong with a turn -------------------------------------------------------------

    def _emptied(self, wait: _Wait, now: float) -> Sequence[Cure]:
        """A turn has ended without a sound, and one is owed."""
        if wait.soft:
            self._settle()
            return NOTHING
        if not self._attending:  # the phone rings
            wait.fault = Fault.EMPTY_TURN
            return NOTHING
        found = self._find(wait, Fault.EMPTY_TURN)
        return found if wait.step is _Step.CHANGED else (*found, *self._cure(now))

    def _cut(self, now: float) -> Sequence[Cure]:
        """The rest can be asked for while what there is of the reply is being heard."""
        self._was_cut = True
        self._owe(Fault.CUT, now)
        return self._nudge(now)

    def _end_generation(self) -> None:
        self._generating = False
        self._check_at = math.inf
        if self._wait is not None and self._wait.fault is Fault.STALLED and not self._wait.found:
            self._settle()  # that was all

    def _end_turn(self) -> None:
        self._end_generation()
        self._open = self._turn_tool = self._turn_broken = self._told_in_turn = False

    def _inspect(self, now: float, quiet_s: float) -> Sequence[Cure]:
        """Look at a reply that has not ended."""
        self._check_at = now + CHECK_S
        if quiet_s >= CHECK_S and self._playing:
            self._run_dry(now - quiet_s)
            return NOTHING
        if now - self._audio_at >= CHECK_S:
            self._words_at = now
            return NOTHING
        wordless = self._words_known and now - self._words_at >= self._limits.tone_s
        if self._attending and (wordless or now - self._began_at >= self._limits.longest_s):
            return self._silence_it(now, self._words_at if wordless else now)
        return NOTHING

    def _run_dry(self, since: float) -> None:
        """The reply is not over, and not to be heard any more."""
        self._playing = False
        if self._wait is not None:
            self._restart(self._wait, since)
        elif self._tools:
            self._owe(Fault.NO_ANSWER, since).filler_s = self._limits.late_filler_s
        else:
            self._owe(Fault.STALLED, since)
        self._arm()

    def _silence_it(self, now: float, since: float) -> Sequence[Cure]:
        self._words_known = False  # until there are words again: one good reply is lost, not all
        self._playing = False
        self._owe(Fault.ENDLESS, since).until = now + self._limits.give_up_s
        *found, nudge = self._nudge(now)
        return (*found, Drop(), nudge)

"""The watchdog, read as transcripts: what the caller hears, and what is done where that is nothing.

A `Line` is a call as the watchdog's session would run it, at exact times: it lets time pass from one
deadline to the next, plays what is said, and writes down every cure with its time.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.call.watchdog import (
    NOTHING,
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

FILLER_S = 1.2
DEADLINES = 200


class Line:
    """A call that begins at 0.0 with a model that is there and owes nothing."""

    def __init__(self, *, fillers: bool = True, limits: Patience | None = None) -> None:
        self.dog = Watchdog(limits or Patience())
        self.now = 0.0
        self.log: list[tuple[float, Cure]] = []
        self.fillers = fillers
        self.heard_at = 0.0  # the caller
        self.sounds_until = 0.0  # a reply, or the caller
        self.playing = False
        self.ended = True  # no more of the reply will come

    def answers_phone(self) -> None:
        self.dog.ready(self.now)
        self.dog.attend(self.now, True)

    def take(self, cures: Sequence[Cure]) -> None:
        for cure in cures:
            if isinstance(cure, Cured | GiveUp):
                self.log.append(
                    (round(self.now, 3), replace(cure, waited_s=round(cure.waited_s, 3)))
                )
            else:
                self.log.append((round(self.now, 3), cure))
            if isinstance(cure, Fill) and self.fillers:
                self.dog.filled(self.now, FILLER_S)
            elif isinstance(cure, Drop):
                self.drops()

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(DEADLINES):
            due = self.dog.next_deadline()
            over = self.sounds_until if self.playing and self.ended else end
            at = min(due if due is not None else end, max(over, self.now), end)
            self.now = max(self.now, at)
            if self.playing and self.ended and self.sounds_until <= self.now:
                self.playing = False
                self.dog.played_out(self.now)
            elif due is not None and due <= self.now:
                quiet_s = max(0.0, self.now - self.sounds_until)
                self.take(self.dog.elapse(self.now, quiet_s=quiet_s))
            elif self.now >= end:
                return
        raise AssertionError("its deadlines have no end")

    # -- the caller

    def says(self, seconds: float) -> None:
        """And half a second more, until the detector is sure that it is over."""
        self.dog.caller_spoke()
        if seconds >= 0.3:
            self.dog.caller_sustained()
        self.now += seconds
        self.heard_at = self.now
        self.sounds_until = max(self.sounds_until, self.now)
        self.passes(0.5)
        self.dog.caller_ended(self.heard_at)

    def drops(self) -> None:
        self.playing = False
        self.sounds_until = min(self.sounds_until, self.now)
        self.dog.dropped(self.now)

    # -- the model

    def speaks(self, seconds: float, *, words: bool = True) -> None:
        """A burst of audio, which is not its last."""
        self.ended = False
        self.playing = True
        self.take(self.dog.audio_arrived(self.now))
        if words:
            self.dog.words_arrived(self.now)
        self.sounds_until = max(self.sounds_until, self.now) + seconds

    def ends(self, *, spoke: bool = True, generation: bool = True) -> None:
        self.ended = True
        if generation and spoke:
            self.dog.generation_ended()
        self.take(self.dog.turn_ended(self.now, spoke))

    def replies(self, seconds: float = 1.0) -> None:
        self.speaks(seconds)
        self.ends()

    def is_interrupted(self) -> None:
        self.ended = True
        self.dog.interrupted(self.now, self.now - self.heard_at)
        self.drops()
        self.take(self.dog.turn_ended(self.now, True))

    # -- what came of it

    @property
    def cures(self) -> list[tuple[float, Cure]]:
        """All but the fillers."""
        return [entry for entry in self.log if not isinstance(entry[1], Fill)]

    @property
    def fills(self) -> list[float]:
        return [at for at, cure in self.log if isinstance(cure, Fill)]


def line(*, fillers: bool = True) -> Line:
    """A call that has been greeted: the last word was at 2.0, and it is 3.0."""
    call = Line(fillers=fillers)
    call.answers_phone()
    call.replies(2.0)
    call.passes(3.0)
    assert call.log == []
    return call


def asked() -> Line:
    """A call whose caller has spoken until 4.0; it is 4.5."""
    call = line()
    call.says(1.0)
    return call


# -- a sound conversation ------------------------------------------------------------------------


def test_a_call_that_goes_well_is_left_alone() -> None:
    call = asked()
    assert call.dog.owed
    call.passes(0.4)
    call.replies(3.0)
    assert not call.dog.owed
    call.passes(60.0)
    assert call.log == []
    assert call.dog.next_deadline() is None


def test_an_answer_that_is_slow_needs_a_filler_and_is_no_fault() -> None:
    call = asked()
    call.passes(2.0)
    call.replies()
    assert call.log == [(6.0, Fill())]


def test_nobody_is_owed_anything_by_silence() -> None:
    call = line()
    call.passes(600.0)
    assert call.log == []


# -- no answer -----------------------------------------------------------------------------------


def test_a_model_that_does_not_answer_is_nudged_then_left_then_given_up() -> None:
    call = asked()
    call.passes(20.0)
    assert call.cures == [
        (7.0, Found(Fault.NO_ANSWER)),  # 4.0 + 3.0
        (7.0, Nudge(Fault.NO_ANSWER)),
        (8.5, Reconnect(Fault.NO_ANSWER)),
        (10.0, Reconnect(Fault.NO_ANSWER, another=True)),
        (12.0, GiveUp(Fault.NO_ANSWER, 8.0)),
    ]
    assert not call.dog.owed


def test_the_air_is_never_dead() -> None:
    call = asked()
    call.passes(8.0)
    assert call.fills == [6.0, 9.2]  # each two seconds after the one before has ended


def test_a_filler_that_is_not_played_is_none() -> None:
    call = line(fillers=False)
    call.says(1.0)
    call.passes(3.0)
    assert call.log[:2] == [(6.0, Fill()), (7.0, Fill())]


def test_whoever_waits_for_a_filler_is_not_asked_for_it_by_other_events() -> None:
    call = line(fillers=False)
    call.says(1.0)
    call.passes(1.5)
    call.dog.caller_spoke()
    call.dog.caller_ended(call.heard_at)  # a breath
    call.passes(0.5)
    assert call.fills == [6.0]


def test_the_nudge_helps() -> None:
    call = asked()
    call.passes(3.2)
    call.replies()
    call.passes(10.0)
    assert call.cures[1:] == [
        (7.0, Nudge(Fault.NO_ANSWER)),
        (7.7, Cured(Fault.NO_ANSWER, 3.7)),
    ]


def test_the_reconnection_helps() -> None:
    call = asked()
    call.passes(4.3)
    call.dog.ready(call.now)  # at 8.8
    call.passes(1.4)
    call.replies()
    assert call.cures[2:] == [
        (8.5, Reconnect(Fault.NO_ANSWER)),
        (10.2, Cured(Fault.NO_ANSWER, 6.2)),
    ]


def test_a_model_that_is_back_late_has_what_is_left() -> None:
    call = asked()
    call.passes(5.2)
    call.dog.ready(call.now)  # at 9.7
    call.passes(5.0)
    assert call.cures[3:] == [
        (11.2, Reconnect(Fault.NO_ANSWER, another=True)),  # 9.7 + 1.5
        (12.0, GiveUp(Fault.NO_ANSWER, 8.0)),
    ]


def test_one_that_is_back_too_late_for_that_is_not_left_again() -> None:
    call = asked()
    call.passes(5.4)
    call.dog.ready(call.now)  # at 9.9
    call.passes(0.8)
    call.dog.ready(call.now)  # at 10.7: it was lost again
    call.passes(5.0)
    assert call.cures[3:] == [(12.0, GiveUp(Fault.NO_ANSWER, 8.0))]


def test_a_connection_that_was_lost_meanwhile_is_not_left_at_once() -> None:
    call = asked()
    call.passes(2.4)
    call.dog.ready(call.now)  # at 6.9, 0.1 s before the nudge
    call.passes(1.6)
    assert call.cures == [(8.4, Found(Fault.NO_ANSWER)), (8.4, Nudge(Fault.NO_ANSWER))]


def test_a_connection_that_was_lost_after_the_nudge_was_as_good_as_left() -> None:
    call = asked()
    call.passes(3.0)
    call.dog.ready(call.now)  # at 7.5
    call.passes(2.0)
    assert call.cures[2:] == [(9.0, Reconnect(Fault.NO_ANSWER, another=True))]


def test_a_reply_that_is_lost_with_its_connection_is_waited_for() -> None:
    call = asked()
    call.replies(1.0)  # until 5.5; as the session tells it
    call.dog.lost(call.now)
    call.dog.lost(call.now)  # and the next one too
    call.passes(4.0)
    assert call.log == [
        (7.5, Fill()),
        (8.5, Found(Fault.NO_ANSWER)),
        (8.5, Nudge(Fault.NO_ANSWER)),
    ]


# -- the caller, meanwhile -----------------------------------------------------------------------


def test_a_caller_who_goes_on_speaking_is_not_kept_waiting() -> None:
    call = asked()
    call.passes(1.0)
    call.says(5.0)  # a pause in the middle of a sentence, until 10.5
    call.passes(2.0)
    assert call.cures == []
    call.passes(1.0)
    assert call.cures[-1] == (13.5, Nudge(Fault.NO_ANSWER))


def test_a_caller_who_says_hello_gives_the_model_another_moment() -> None:
    call = asked()
    call.passes(3.5)  # nudged at 7.0; it is 8.0
    call.says(0.5)
    call.passes(2.0)
    assert call.cures[2:] == [(10.0, Reconnect(Fault.NO_ANSWER))]  # 8.5 + 1.5, not 8.5


def test_a_cough_changes_nothing_about_what_is_owed() -> None:
    call = asked()
    call.passes(0.5)
    call.says(0.1)  # until 5.1
    call.passes(3.0)
    assert call.log[:3] == [
        (7.0, Found(Fault.NO_ANSWER)),
        (7.0, Nudge(Fault.NO_ANSWER)),
        (7.1, Fill()),
    ]


def test_a_caller_who_is_asked_and_then_speaks_is_to_be_answered() -> None:
    call = line()
    call.says(0.2)
    call.passes(2.0)
    call.says(1.0)
    call.ends(spoke=False)
    assert call.cures[2:] == [(7.2, Found(Fault.EMPTY_TURN)), (7.2, Reconnect(Fault.MISSED))]


def test_a_caller_who_is_spoken_over_is_heard_again_when_they_begin_anew() -> None:
    call = line()
    call.dog.caller_spoke()
    call.replies()  # the end of that sound is never told: the detector has begun anew
    call.passes(2.0)
    call.dog.told(call.now)
    call.passes(3.0)
    assert call.cures[-1] == (8.0, Nudge(Fault.NO_ANSWER))


def test_nothing_is_said_into_the_callers_words() -> None:
    call = asked()
    call.dog.caller_spoke()
    call.passes(30.0)
    assert call.log == []


def test_a_short_word_that_was_dropped_is_asked_about() -> None:
    call = line()
    call.says(0.2)  # "yes", until 3.2
    call.passes(2.0)
    assert call.log == [(5.2, Found(Fault.MISSED)), (5.2, Nudge(Fault.MISSED))]
    call.replies()
    assert call.cures[-1] == (5.7, Cured(Fault.MISSED, 0.5))  # what was no fault is not counted


def test_a_model_that_has_been_asked_about_a_short_word_may_have_nothing_to_say() -> None:
    call = line()
    call.says(0.2)
    call.passes(2.0)
    call.ends(spoke=False)
    call.passes(30.0)
    assert len(call.log) == 2


def test_a_model_that_does_nothing_at_all_when_asked_is_not_well() -> None:
    call = line()
    call.says(0.2)
    call.passes(10.0)
    assert call.cures[2:] == [
        (6.7, Reconnect(Fault.MISSED)),
        (8.2, Reconnect(Fault.MISSED, another=True)),
        (11.2, GiveUp(Fault.MISSED, 6.0)),
    ]
    assert call.fills == [6.0, 10.0]


def test_a_line_that_crackles_is_not_asked_about_for_ever() -> None:
    call = line()
    for _ in range(5):
        call.says(0.1)
        call.passes(3.0)
        call.replies()
        call.passes(3.0)
    assert sum(isinstance(cure, Nudge) for _, cure in call.log) == 2
    call.says(1.0)
    call.replies()
    call.passes(3.0)
    call.says(0.2)
    call.passes(3.0)
    assert sum(isinstance(cure, Nudge) for _, cure in call.log) == 3


def test_a_cough_under_a_reply_is_nobodys_turn() -> None:
    call = line()
    call.replies(5.0)
    call.says(0.1)
    call.passes(30.0)
    assert call.log == []


# -- an empty turn -------------------------------------------------------------------------------


def test_an_empty_turn_is_nudged_at_once() -> None:
    call = asked()
    call.passes(0.5)
    call.ends(spoke=False)
    assert call.log == [(5.0, Found(Fault.EMPTY_TURN)), (5.0, Nudge(Fault.EMPTY_TURN))]
    call.passes(0.8)
    call.replies()
    assert call.cures[-1] == (5.8, Cured(Fault.EMPTY_TURN, 1.8))


def test_a_second_one_is_not_waited_for() -> None:
    call = asked()
    call.passes(0.5)
    call.ends(spoke=False)
    call.passes(0.5)
    call.ends(spoke=False)
    assert call.log[2:] == [(5.5, Reconnect(Fault.EMPTY_TURN))]
    call.dog.ready(call.now)
    call.ends(spoke=False)
    call.ends(spoke=False)
    call.passes(10.0)
    assert call.cures[3:] == [
        (5.5, Reconnect(Fault.EMPTY_TURN, another=True)),
        (12.0, GiveUp(Fault.EMPTY_TURN, 8.0)),
    ]


def test_one_in_answer_to_the_nudge_is_counted_beside_what_it_was_for() -> None:
    call = asked()
    call.passes(3.0)
    call.ends(spoke=False)
    assert call.cures[2:] == [
        (7.5, Found(Fault.EMPTY_TURN)),
        (7.5, Reconnect(Fault.NO_ANSWER)),
    ]


def test_an_empty_turn_that_nobody_waits_for_is_none_of_ours() -> None:
    call = line()
    call.ends(spoke=False)
    call.says(1.0)
    call.dog.caller_spoke()  # who has not done yet
    call.ends(spoke=False)
    assert call.log == []


def test_the_turn_that_the_caller_has_broken_is_not_empty() -> None:
    call = asked()
    call.dog.interrupted(call.now, 0.5)
    call.ends(spoke=False)
    assert call.log == []


# -- a reply that stops --------------------------------------------------------------------------


def test_a_reply_that_stalls_is_asked_to_go_on() -> None:
    call = asked()
    call.speaks(3.0)  # until 7.5
    call.passes(10.0)
    call.speaks(1.0)
    assert call.log == [
        (9.5, Fill()),
        (10.5, Found(Fault.STALLED)),
        (10.5, Nudge(Fault.STALLED)),
        (12.0, Reconnect(Fault.STALLED)),
        (12.7, Fill()),
        (13.5, Reconnect(Fault.STALLED, another=True)),
        (14.5, Cured(Fault.STALLED, 7.0)),
    ]


def test_a_hole_in_a_reply_is_no_stall() -> None:
    call = asked()
    call.speaks(3.0)
    call.passes(4.6)  # 1.6 s of nothing
    call.speaks(3.0)
    call.ends()
    call.passes(30.0)
    assert call.log == []


def test_a_reply_that_had_ended_all_the_time_has_not_stalled() -> None:
    call = asked()
    call.speaks(3.0)
    call.passes(4.6)
    call.ends()
    call.passes(30.0)
    assert call.log == []


def test_the_nudge_of_a_stalled_reply_interrupts_it_and_that_is_no_fault() -> None:
    call = asked()
    call.speaks(3.0)
    call.passes(6.2)
    call.dog.interrupted(call.now, 6.0)
    call.ends()
    call.passes(0.8)
    call.replies()
    call.passes(30.0)
    assert call.cures[1:] == [
        (10.5, Nudge(Fault.STALLED)),
        (11.5, Cured(Fault.STALLED, 4.0)),
    ]


def test_the_last_of_a_stalled_reply_is_not_the_answer_to_the_nudge() -> None:
    call = asked()
    call.speaks(3.0)
    call.passes(6.2)
    call.speaks(0.1)
    call.is_interrupted()
    call.passes(3.0)
    assert call.cures[2:] == [
        (10.7, Cured(Fault.STALLED, 3.2)),
        (13.7, Found(Fault.NO_ANSWER)),
        (13.7, Nudge(Fault.NO_ANSWER)),
    ]


def test_a_stalled_reply_that_is_interrupted_by_nobody() -> None:
    call = asked()
    call.speaks(3.0)
    call.passes(4.6)
    call.is_interrupted()  # at 9.1
    call.passes(1.0)
    assert call.log[-1] == (10.1, Nudge(Fault.PHANTOM))


def test_a_reply_the_caller_stops_by_a_key_has_not_stalled() -> None:
    call = asked()
    call.speaks(5.0)
    call.passes(1.0)
    call.drops()
    call.passes(30.0)
    assert call.log == []


def test_a_text_into_a_reply_that_then_stalls() -> None:
    call = asked()
    call.speaks(3.0)  # until 7.5
    call.dog.told(call.now)
    call.passes(7.0)
    assert call.cures == [(10.5, Found(Fault.NO_ANSWER)), (10.5, Nudge(Fault.NO_ANSWER))]


def test_a_turn_that_ends_in_mid_sentence_is_asked_for_the_rest_of_it() -> None:
    call = asked()
    call.speaks(3.0)
    call.ends(generation=False)
    assert call.log == [(4.5, Found(Fault.CUT)), (4.5, Nudge(Fault.CUT))]
    call.passes(1.0)
    call.replies(2.0)  # while the first half is still being heard
    call.passes(30.0)
    assert call.cures[2:] == [(5.5, Cured(Fault.CUT, 1.0))]


def test_a_rest_that_does_not_come_is_missed_once_the_half_is_over() -> None:
    call = asked()
    call.speaks(3.0)
    call.ends(generation=False)
    call.passes(5.5)
    assert call.log[2:] == [(9.0, Reconnect(Fault.CUT)), (9.5, Fill())]  # 4.5 + 3.0 + 1.5
    call.replies()
    assert call.cures[-1] == (10.0, Cured(Fault.CUT, 2.5))


def test_a_model_that_had_said_it_all_is_believed() -> None:
    call = asked()
    call.speaks(3.0)
    call.ends(generation=False)
    call.ends(spoke=False)
    call.passes(30.0)
    assert len(call.log) == 2


def test_a_rest_that_is_cut_again_is_let_go() -> None:
    call = asked()
    for _ in range(2):
        call.speaks(3.0)
        call.ends(generation=False)
    assert len(call.log) == 3  # Found, Nudge, Cured


def test_a_reply_that_is_whole_makes_the_next_one_worth_asking_for() -> None:
    call = asked()
    for _ in range(2):
        call.speaks(1.0)
        call.ends(generation=False)
        call.replies()
        call.passes(5.0)
    assert [cure for _, cure in call.log].count(Nudge(Fault.CUT)) == 2


def test_a_model_that_never_tells_the_end_of_a_generation_is_not_cut_by_that() -> None:
    call = Line()
    call.answers_phone()
    call.speaks(2.0)
    call.ends(generation=False)
    assert call.log == []


# -- interruptions -------------------------------------------------------------------------------


def test_a_reply_that_nobody_has_interrupted_is_asked_to_go_on() -> None:
    call = line()
    call.speaks(5.0)
    call.passes(2.0)
    call.is_interrupted()  # at 5.0; nobody has been heard
    call.passes(1.5)
    call.replies()
    assert call.log == [
        (6.0, Found(Fault.PHANTOM)),
        (6.0, Nudge(Fault.PHANTOM)),
        (6.5, Cured(Fault.PHANTOM, 1.5)),
    ]


def test_a_model_that_goes_on_by_itself_needs_no_nudge() -> None:
    call = line()
    call.speaks(5.0)
    call.is_interrupted()
    call.passes(0.8)
    call.replies()
    call.passes(30.0)
    assert call.log == []


def test_an_interruption_of_nothing_is_nothing() -> None:
    call = line()
    call.is_interrupted()
    call.passes(30.0)
    assert call.log == []


def test_a_caller_who_may_not_interrupt_hears_the_reply_out() -> None:
    call = line()
    call.speaks(5.0)
    call.dog.interrupted(call.now, 0.1)
    call.ended = True
    call.passes(7.9)  # of which 5.0 are the reply
    assert call.cures == []


def test_a_caller_who_interrupts_has_the_floor() -> None:
    call = line()
    call.speaks(5.0)
    call.dog.caller_spoke()
    call.is_interrupted()
    call.passes(30.0)
    assert call.log == []


def test_a_short_word_that_interrupts_is_a_turn() -> None:
    call = line()
    call.speaks(5.0)
    call.dog.caller_spoke()  # "wait": too short to be sure of, but the model is
    call.passes(0.2)
    call.is_interrupted()
    call.dog.caller_ended(call.now)
    call.passes(3.0)
    assert call.log == [
        (5.2, Fill()),
        (6.2, Found(Fault.NO_ANSWER)),
        (6.2, Nudge(Fault.NO_ANSWER)),
    ]


def test_an_interruption_told_late_is_the_callers_all_the_same() -> None:
    call = line()
    call.speaks(5.0)
    call.says(0.1)  # until 3.1
    call.is_interrupted()  # at 3.6
    call.passes(4.0)
    assert call.cures[-1] == (6.6, Nudge(Fault.NO_ANSWER))


# -- sound that is none --------------------------------------------------------------------------


def test_a_tone_is_dropped() -> None:
    call = asked()
    for _ in range(60):
        call.speaks(0.4, words=False)
        call.passes(0.1)
    assert call.log[:3] == [
        (9.5, Found(Fault.ENDLESS)),  # 4.5 + 5.0
        (9.5, Drop()),
        (9.5, Nudge(Fault.ENDLESS)),
    ]
    assert call.log[3] == (9.6, Cured(Fault.ENDLESS, 5.1))


def test_a_reply_that_turns_into_a_tone_is_dropped_too() -> None:
    call = asked()
    for nth in range(100):
        call.speaks(0.2, words=nth < 40)  # the last word comes at 8.4
        call.passes(0.1)
        if call.log:
            break
    assert call.log[0] == (13.5, Found(Fault.ENDLESS))


def test_where_words_are_not_transcribed_their_absence_says_nothing() -> None:
    call = Line()
    call.answers_phone()
    for _ in range(100):
        call.speaks(0.1, words=False)
        call.passes(0.1)
    assert call.log == []


def test_words_that_stop_coming_for_good_cost_one_reply_and_no_more() -> None:
    call = asked()
    for _ in range(3):
        for _ in range(70):
            call.speaks(0.1, words=False)
            call.passes(0.1)
        call.ends()
        call.passes(1.0)
        call.says(1.0)
    assert [cure for _, cure in call.log].count(Drop()) == 1


def test_a_burst_that_is_long_and_over_is_no_tone() -> None:
    call = asked()
    call.speaks(30.0, words=False)
    call.passes(20.0)  # its end is told late
    call.ends()
    assert call.log == []


def test_the_time_without_audio_is_not_without_words() -> None:
    call = asked()
    call.speaks(1.0)
    call.passes(6.0)
    for _ in range(30):
        call.speaks(0.1, words=False)
        call.passes(0.1)
    assert Drop() not in [cure for _, cure in call.log]


def test_a_reply_without_an_end_gets_one() -> None:
    call = asked()
    for _ in range(1250):
        call.speaks(0.1)
        call.passes(0.1)
        if call.log:
            break
    assert call.log[:2] == [(124.5, Found(Fault.ENDLESS)), (124.5, Drop())]


def test_a_turn_that_nobody_asked_for_is_counted() -> None:
    call = asked()
    call.replies(3.0)
    call.replies(3.0)
    assert call.log == [(4.5, Found(Fault.DOUBLED))]
    call.passes(7.0)
    call.replies(1.0)  # of its own accord, but over nothing
    assert len(call.log) == 1


# -- what the model is told ----------------------------------------------------------------------


def test_keys_are_to_be_answered() -> None:
    call = line()
    call.dog.told(call.now)
    call.passes(3.0)
    call.dog.told(call.now)  # which the nudge is, too
    call.passes(2.0)
    assert call.cures[1:] == [(6.0, Nudge(Fault.NO_ANSWER)), (7.5, Reconnect(Fault.NO_ANSWER))]


def test_a_text_begins_the_wait_anew() -> None:
    call = asked()
    call.passes(1.5)
    call.dog.told(call.now)  # at 6.0
    call.passes(3.0)
    assert call.cures[-1] == (9.0, Nudge(Fault.NO_ANSWER))


def test_a_text_that_interrupts_a_reply_is_to_be_answered() -> None:
    call = line()
    call.speaks(5.0)
    call.dog.told(call.now)
    call.speaks(0.1)  # what was on its way
    call.is_interrupted()
    call.passes(3.0)
    assert call.cures[-1] == (6.0, Nudge(Fault.NO_ANSWER))


def test_a_text_during_a_reply_is_not_waited_for_before_the_reply_is_over() -> None:
    call = line()
    call.replies(5.0)
    call.dog.told(call.now)
    call.passes(7.9)
    assert call.cures == []
    call.passes(0.2)
    assert call.cures[-1] == (11.0, Nudge(Fault.NO_ANSWER))  # 3.0 + 5.0 + 3.0


# -- tools ---------------------------------------------------------------------------------------


def test_a_tool_takes_its_time_but_not_in_silence() -> None:
    call = asked()
    call.dog.tool_asked("1", call.now)
    call.passes(15.5)
    assert call.cures == []
    assert call.fills == [6.8, 10.8, 14.8, 18.8]  # 2.8 s of silence each


def test_its_result_is_to_be_told() -> None:
    call = asked()
    call.dog.tool_asked("1", call.now)
    call.dog.tool_asked("2", call.now)
    call.passes(1.0)
    call.dog.tool_over("1", call.now)
    call.dog.tool_over("1", call.now)
    call.passes(1.0)
    call.dog.tool_over("2", call.now)  # at 6.5
    call.passes(4.0)
    assert call.cures[-1] == (9.5, Nudge(Fault.NO_ANSWER))


def test_the_turn_that_asks_for_a_tool_may_be_empty() -> None:
    call = asked()
    call.dog.tool_asked("1", call.now)
    call.ends(spoke=False)
    call.dog.tool_over("1", call.now)
    call.passes(0.5)
    call.replies()
    call.passes(30.0)
    assert call.log == []


def test_a_tool_that_was_announced_may_have_nothing_to_add() -> None:
    call = asked()
    call.speaks(1.0)
    call.dog.tool_asked("1", call.now)
    call.dog.tool_over("1", call.now)
    call.ends()
    call.passes(30.0)
    assert call.log == []


def uses_a_tool_without_a_word(call: Line) -> None:
    call.dog.tool_asked("1", call.now)
    call.ends(spoke=False)
    call.dog.tool_over("1", call.now)
    call.ends(spoke=False)


def test_a_tool_that_was_not_announced_has() -> None:
    call = asked()
    uses_a_tool_without_a_word(call)
    assert call.cures[-1] == (4.5, Nudge(Fault.EMPTY_TURN))


def test_a_tool_that_a_text_has_made_it_use_has() -> None:
    call = line()
    call.dog.told(call.now)
    uses_a_tool_without_a_word(call)
    assert call.cures[-1] == (3.0, Nudge(Fault.EMPTY_TURN))


def test_and_is_nudged_where_nothing_comes() -> None:
    call = asked()
    call.dog.tool_asked("1", call.now)
    call.dog.tool_over("1", call.now)
    call.ends(spoke=False)  # the turn that asked
    call.passes(3.0)
    assert call.cures[-1] == (7.5, Nudge(Fault.NO_ANSWER))


def test_a_reply_that_is_waiting_for_its_tool_is_silence_too() -> None:
    call = asked()
    call.speaks(1.0)  # "one moment", until 5.5; its end is not told
    call.dog.tool_asked("1", call.now)
    call.passes(7.5)
    assert call.log == [(8.3, Fill())]
    call.dog.tool_over("1", call.now)  # at 12.0
    call.passes(4.0)
    assert call.cures[-1] == (15.0, Nudge(Fault.NO_ANSWER))


def test_a_tool_at_work_beside_the_conversation_is_no_reason_for_silence() -> None:
    call = asked()
    call.speaks(1.0)  # until 5.5
    call.dog.tool_asked("1", call.now)
    call.ends()
    call.passes(4.0)
    call.ends(spoke=False)  # a turn of its own, while the tool is at work
    call.passes(1.0)
    assert call.log == [(8.3, Fill())]


def test_nor_need_the_turn_after_it() -> None:
    call = asked()
    call.speaks(1.0)
    call.dog.tool_asked("1", call.now)
    call.ends()
    call.passes(3.0)
    call.dog.tool_over("1", call.now)
    call.ends(spoke=False)
    call.passes(30.0)
    assert call.cures == []


def test_the_reply_that_waits_for_its_tool_has_not_stalled() -> None:
    call = asked()
    call.speaks(1.0)
    call.dog.tool_asked("1", call.now)
    call.speaks(0.1)  # what trails behind, until 5.6
    call.passes(10.0)
    assert call.log == [(8.4, Fill()), (12.4, Fill())]
    call.dog.tool_over("1", call.now)
    call.speaks(0.1)
    call.ends()
    call.passes(30.0)
    assert call.cures == []


def test_whoever_keys_in_digits_is_left_in_peace() -> None:
    call = asked()
    call.dog.tool_asked("1", call.now, awaits_caller=True)
    call.passes(60.0)
    assert call.log == []


def test_a_sound_of_theirs_over_the_beginning_of_the_answer_hides_nothing() -> None:
    call = asked()
    call.speaks(1.0)
    call.dog.tool_asked("1", call.now, awaits_caller=True)
    call.passes(5.0)
    call.dog.caller_spoke()  # the last digit, aloud; it goes on as another sound, over the answer
    call.dog.tool_over("1", call.now)
    call.speaks(1.0)
    call.passes(10.0)
    assert Found(Fault.STALLED) in [cure for _, cure in call.cures]


# -- before the call, and around it --------------------------------------------------------------


def test_a_greeting_that_does_not_come() -> None:
    call = Line()
    call.dog.attend(0.0, True)
    call.passes(5.0)
    assert call.log == [(2.0, Fill())]
    call.dog.ready(call.now, told=True)
    call.passes(4.0)
    assert call.cures == [(8.0, Found(Fault.NO_ANSWER)), (8.0, GiveUp(Fault.NO_ANSWER, 8.0))]


def test_one_that_comes_late_was_no_fault() -> None:
    call = Line()
    call.dog.attend(0.0, True)
    call.passes(4.0)
    call.dog.ready(call.now, told=True)
    call.passes(1.0)
    call.replies()
    assert call.cures == []


def test_one_that_does_not_come_is_asked_for() -> None:
    call = Line()
    call.dog.attend(0.0, True)
    call.passes(1.0)
    call.dog.ready(call.now, told=True)
    call.passes(4.0)
    assert call.cures == [(4.0, Found(Fault.NO_ANSWER)), (4.0, Nudge(Fault.NO_ANSWER))]
    call.replies()
    assert call.cures[-1] == (5.0, Cured(Fault.NO_ANSWER, 5.0))


def test_a_model_that_is_never_reached_is_given_up() -> None:
    call = Line()
    call.dog.attend(0.0, True)
    call.passes(30.0)
    assert call.cures == [(8.0, Found(Fault.NO_ANSWER)), (8.0, GiveUp(Fault.NO_ANSWER, 8.0))]


def test_an_agent_that_does_not_greet_owes_nothing() -> None:
    call = Line()
    call.dog.attend(0.0, True)
    call.passes(1.0)
    call.dog.ready(call.now)
    call.passes(30.0)
    assert call.log == []


def test_while_the_phone_rings_nobody_waits() -> None:
    call = Line()
    call.dog.ready(0.0, told=True)
    call.passes(20.0)
    assert call.log == []
    call.dog.attend(call.now, True)
    call.sounds_until = call.now
    call.passes(3.0)
    assert call.log[-1] == (23.0, Nudge(Fault.NO_ANSWER))


def test_a_greeting_that_was_empty_while_it_rang_is_asked_for_soon() -> None:
    call = Line()
    call.dog.ready(0.0, told=True)
    call.ends(spoke=False)
    call.passes(20.0)
    call.dog.attend(call.now, True)
    call.passes(1.0)
    assert call.cures == [(21.0, Found(Fault.EMPTY_TURN)), (21.0, Nudge(Fault.EMPTY_TURN))]


def test_a_change_of_connection_in_a_pause_owes_nothing() -> None:
    call = line()
    call.dog.ready(call.now)
    call.passes(30.0)
    assert call.log == []


def test_once_the_end_is_decided_it_sleeps() -> None:
    call = asked()
    call.dog.attend(call.now, True)
    call.passes(3.0)
    call.dog.attend(call.now, False)
    before = list(call.log)
    call.speaks(1.0)
    call.passes(10.0)
    call.ends(generation=False)
    call.replies()
    assert call.log == before


def test_whatever_was_to_be_heard_when_they_parted_is_over() -> None:
    call = asked()
    call.speaks(5.0)
    call.dog.caller_spoke()
    call.dog.attend(call.now, False)
    call.ended, call.playing, call.sounds_until = True, False, call.now
    call.ends()
    call.dog.attend(call.now, True)
    call.dog.told(call.now)
    call.passes(3.0)
    assert call.cures[-1] == (7.5, Nudge(Fault.NO_ANSWER))


def test_a_caller_who_comes_back_is_owed_what_was_said_of_them_meanwhile() -> None:
    call = line()
    call.dog.attend(call.now, False)
    call.dog.told(call.now)  # the transfer came to nothing
    call.passes(30.0)
    assert call.log == []
    call.dog.attend(call.now, True)
    call.sounds_until = call.now
    call.passes(3.0)
    assert call.log[-1] == (36.0, Nudge(Fault.NO_ANSWER))


# -- for any call --------------------------------------------------------------------------------

EVENTS: dict[str, Callable[[Line], None]] = {
    "the caller says something": lambda call: call.says(1.0),
    "the caller says yes": lambda call: call.says(0.2),
    "the caller makes a sound": lambda call: call.dog.caller_spoke(),
    "the model speaks": lambda call: call.speaks(1.0),
    "the model speaks without words": lambda call: call.speaks(1.0, words=False),
    "a turn ends": lambda call: call.ends(),
    "a turn is cut": lambda call: call.ends(generation=False),
    "a turn is empty": lambda call: call.ends(spoke=False),
    "an interruption": lambda call: call.is_interrupted(),
    "a text": lambda call: call.dog.told(call.now),
    "a tool": lambda call: call.dog.tool_asked("1", call.now),
    "digits": lambda call: call.dog.tool_asked("1", call.now, awaits_caller=True),
    "a result": lambda call: call.dog.tool_over("1", call.now),
    "a new connection": lambda call: call.dog.ready(call.now),
    "a lost connection": lambda call: call.dog.lost(call.now),
    "they part": lambda call: call.dog.attend(call.now, False),
    "they meet": lambda call: call.dog.attend(call.now, True),
    "half a second": lambda call: call.passes(0.5),
    "two seconds": lambda call: call.passes(2.0),
    "ten seconds": lambda call: call.passes(10.0),
}


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=40))
def test_whatever_happens_its_deadlines_end_and_its_cures_are_in_order(events: list[str]) -> None:
    call = Line()
    call.answers_phone()
    for event in events:
        before = len(call.log)
        EVENTS[event](call)  # `passes` fails where deadlines do not end
        found = {cure.fault for _, cure in call.log if isinstance(cure, Found)}
        for _, cure in call.log[before:]:
            if not isinstance(cure, Fill | Drop):
                assert cure.fault in found  # nothing is done about what was not found
    deadline = call.dog.next_deadline()
    assert deadline is None or deadline > 0.0


def test_audio_costs_nothing_where_all_is_well() -> None:
    call = asked()
    call.speaks(1.0)
    assert call.dog.audio_arrived(call.now) is NOTHING

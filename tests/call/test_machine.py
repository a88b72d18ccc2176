"""The call machine, read as transcripts: what happens, when, and what is done about it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    TailPlayed,
    TransferAsked,
    TransferDone,
    TurnEnded,
    Unclaimed,
    VerdictDue,
    WordsDue,
)
from audiosocket_agent.call.machine import Call, Limits, State

LIMITS = Limits(max_duration_s=60.0, verdict_s=0.4, farewell_s=10.0, tail_s=0.22)
CALLER_LEFT = LegClosed(Outcome.CALLER_HANGUP)
BROKE = LegClosed(Outcome.CALLER_HANGUP, asks=True)
UNPROMPTED = ReplyStarted(None)


def ringing(limits: Limits = LIMITS) -> Call:
    """A call that was announced at 0.0."""
    return Call(limits, now=0.0)


def accepted(limits: Limits = LIMITS) -> Call:
    """A call whose leg opened at 0.0."""
    call = Call(limits, now=0.0)
    assert call.receive(LegOpened(), 0.0) == []
    return call


def state_of(call: Call) -> State:
    return call.state


def speaking(limits: Limits = LIMITS) -> Call:
    """A call whose greeting began at 1.0."""
    call = accepted(limits)
    assert call.receive(ModelReady(), 0.6) == []
    assert call.receive(UNPROMPTED, 1.0) == [Greeted(1.0)]  # 1.0 - 0.0: since accept
    return call


def paused() -> Call:
    """A call whose greeting was paused by a sound at 2.0."""
    call = speaking()
    assert call.receive(CallerSpoke(), 2.0) == [PausePlayout()]
    return call


def test_a_call_from_ring_to_goodbye() -> None:
    call = accepted()
    assert state_of(call) is State.OPENING
    call.receive(ModelReady(), 0.5)
    assert state_of(call) is State.LISTENING
    assert call.receive(UNPROMPTED, 0.8) == [Greeted(0.8)]
    assert call.receive(ReplyPlayed(), 3.0) == []
    assert state_of(call) is State.LISTENING
    assert call.receive(CallerSpoke(), 4.0) == []  # nobody is interrupted
    assert call.receive(CallerSustained(), 4.2) == []
    assert call.receive(ReplyStarted(0.7), 6.0) == [Answered(0.7)]
    assert call.receive(ReplyPlayed(), 9.0) == []
    assert call.receive(CALLER_LEFT, 9.5) == [Finish(Outcome.CALLER_HANGUP)]
    assert state_of(call) is State.OVER
    assert call.next_deadline() is None


def test_a_reply_nobody_asked_for_counts_as_no_answer() -> None:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    assert call.receive(UNPROMPTED, 8.0) == []


def test_the_model_confirms_an_interruption() -> None:
    call = paused()
    dropped = [DropReply(), BargedIn(Verdict.CONFIRMED)]
    assert call.receive(Interrupted(), 2.2) == dropped
    assert state_of(call) is State.LISTENING
    assert call.elapse(2.4) == []  # the verdict is no longer due


def test_sustained_speech_confirms_an_interruption() -> None:
    call = paused()
    assert call.receive(CallerSustained(), 2.19) == [DropReply(), BargedIn(Verdict.CONFIRMED)]
    assert call.receive(Interrupted(), 2.5) == []  # the model agrees, late


def test_a_cough_pauses_and_the_reply_goes_on() -> None:
    call = paused()
    assert call.next_deadline() == 2.4  # 2.0 + 0.4
    assert call.elapse(2.39) == []
    assert call.elapse(2.4) == [ResumePlayout(), BargedIn(Verdict.RESUMED)]
    assert state_of(call) is State.SPEAKING
    assert call.receive(ReplyPlayed(), 5.0) == []


def test_a_sound_that_goes_on_is_not_called_a_cough() -> None:
    """ "Stop", a breath, "one moment": at 2.4 it is not yet speech, but it has not ended either."""
    call = paused()
    assert call.elapse(2.4, caller_sounds=True) == []
    assert call.next_deadline() == 2.5
    assert call.receive(CallerSustained(), 2.46) == [DropReply(), BargedIn(Verdict.CONFIRMED)]


def test_once_it_has_ended_it_is() -> None:
    call = paused()
    assert call.elapse(2.4, caller_sounds=True) == []
    assert call.elapse(2.5) == [ResumePlayout(), BargedIn(Verdict.RESUMED)]


def test_sound_in_no_barge_in_delays_nothing() -> None:
    call = speaking()
    assert call.elapse(60.0, caller_sounds=True) == []
    assert state_of(call) is State.ENDING


def test_the_model_may_notice_first() -> None:
    call = speaking()
    assert call.receive(Interrupted(), 2.0) == [DropReply(), BargedIn(Verdict.MODEL)]


def test_interruptions_can_be_switched_off() -> None:
    call = speaking(replace(LIMITS, interruptions=False))
    assert call.receive(CallerSpoke(), 2.0) == []
    assert call.receive(Interrupted(), 2.1) == []
    assert state_of(call) is State.SPEAKING


def test_keys_that_belong_together_are_told_together() -> None:
    call = listening()
    assert call.receive(KeyPressed(), 3.0) == []
    assert call.receive(KeyPressed(), 4.0) == []
    assert call.elapse(4.5) == []  # 3.0 + 1.5, but another key has come
    assert call.elapse(5.5) == [TellKeys()]


PATIENT = replace(LIMITS, silence_s=20.0)


def greeted() -> Call:
    """A call whose greeting is over at 3.0."""
    call = speaking(PATIENT)
    assert call.receive(ReplyPlayed(), 3.0) == []
    return call


def test_a_caller_who_says_nothing_is_asked_and_then_let_go() -> None:
    call = greeted()
    assert call.next_deadline() == 23.0
    assert call.elapse(23.0) == [AskCaller()]
    assert call.receive(UNPROMPTED, 24.0) == []
    assert call.receive(ReplyPlayed(), 25.0) == []
    assert call.elapse(45.0) == [SayGoodbye()]
    assert call.receive(UNPROMPTED, 46.0) == []
    assert call.receive(TurnEnded(spoke=True), 46.5) == []
    assert call.receive(ReplyPlayed(), 48.0) == []
    assert call.elapse(48.22) == [HangUp()]
    assert call.outcome is Outcome.CALLER_SILENT


def test_a_caller_who_answers_is_asked_again_another_time() -> None:
    call = greeted()
    assert call.elapse(23.0) == [AskCaller()]
    assert call.receive(CallerSpoke(), 30.0) == []
    assert call.elapse(43.0) == [AskCaller()]


def test_whoever_has_been_heard_is_not_silent() -> None:
    call = greeted()
    assert call.elapse(23.0, quiet_s=5.0) == []
    assert call.next_deadline() == 38.0


def test_an_agent_that_speaks_breaks_the_silence() -> None:
    call = greeted()
    assert call.receive(UNPROMPTED, 22.0) == []
    assert call.next_deadline() == 60.0  # the call's own


def test_a_key_stops_the_agent() -> None:
    call = speaking()
    assert call.receive(KeyPressed(), 2.0) == [DropReply()]
    assert state_of(call) is State.LISTENING
    assert call.receive(UNPROMPTED, 3.0) == []  # whatever the model says meanwhile
    assert call.elapse(3.5) == [TellKeys()]


def test_a_key_with_a_meaning_of_its_own_stops_the_agent_and_is_not_told() -> None:
    for call in (speaking(), paused()):
        assert call.receive(KeyTaken(), 2.0) == [DropReply()]
        assert call.elapse(5.0) == []
        assert call.state is State.LISTENING
    silent = listening()
    assert silent.receive(KeyTaken(), 2.0) == []


def test_a_transfer_that_needs_no_words_follows_at_once() -> None:
    call = listening()
    call.receive(TransferAsked(announced=False), 5.0)
    assert state_of(call) is State.TAIL
    assert call.elapse(5.0) == [HangUp()]


def test_a_transfer_that_needs_no_words_lets_the_agent_finish() -> None:
    call = speaking()
    call.receive(TransferAsked(announced=False), 5.0)
    assert state_of(call) is State.ENDING
    call.receive(ReplyPlayed(), 6.0)
    assert state_of(call) is State.TAIL


def test_an_end_that_is_ordered_at_once_waits_for_the_phone_and_no_sentence() -> None:
    call = speaking()
    assert call.receive(EndOrdered(Outcome.REFUSED, at_once=True), 5.0) == [DropReply()]
    assert call.elapse(5.22) == [HangUp()]
    assert call.receive(CALLER_LEFT, 5.3) == [Finish(Outcome.REFUSED)]


def test_a_conversation_is_what_can_still_be_passed_on() -> None:
    talking = {State.OPENING, State.LISTENING, State.SPEAKING, State.PAUSED}
    assert {state for state, reach in IN_STATE.items() if reach().conversing} == talking


def test_a_key_decides_a_pause() -> None:
    call = paused()
    assert call.receive(KeyPressed(), 2.1) == [DropReply()]
    assert call.elapse(2.4) == []  # no verdict is due any more


def test_keys_pressed_while_a_sound_is_judged_are_told() -> None:
    call = speaking()
    call.receive(KeyPressed(), 2.0)
    call.receive(UNPROMPTED, 2.5)
    call.receive(CallerSpoke(), 3.4)
    assert call.elapse(3.5) == [TellKeys()]
    assert state_of(call) is State.PAUSED


def test_the_agent_ends_the_call_after_its_last_words() -> None:
    call = speaking()
    assert call.receive(AgentEnds(), 2.0) == []
    assert call.receive(TurnEnded(spoke=True), 2.5) == []  # all is said, not all is heard
    assert call.receive(ReplyPlayed(), 4.0) == []
    assert call.next_deadline() == 4.22  # the last frame left at 4.0; 20 ms + 200 ms
    assert call.elapse(4.22) == [HangUp()]
    assert call.receive(CALLER_LEFT, 4.23) == [Finish(Outcome.AGENT_HANGUP)]


def test_the_agent_may_ask_for_the_end_before_its_last_words() -> None:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    assert call.receive(AgentEnds(), 2.0) == []
    assert state_of(call) is State.ENDING  # it has yet to say goodbye
    assert call.receive(ReplyStarted(0.9), 2.6) == [Answered(0.9)]
    assert call.receive(TurnEnded(spoke=True), 3.0) == []
    assert state_of(call) is State.ENDING
    assert call.receive(ReplyPlayed(), 4.0) == []
    assert state_of(call) is State.TAIL


def test_once_all_is_said_the_agent_says_no_more() -> None:
    call = speaking()
    assert call.agent_may_speak
    call.receive(AgentEnds(), 2.0)
    assert call.agent_may_speak
    call.receive(TurnEnded(spoke=True), 2.1)
    call.receive(ReplyPlayed(), 3.0)
    assert not call.agent_may_speak  # the phone is playing out
    assert not hung_up().agent_may_speak
    assert not over().agent_may_speak


def test_a_turn_without_words_is_not_the_goodbye_but_it_is_not_waited_for_long() -> None:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    call.receive(AgentEnds(), 3.0)
    assert call.receive(TurnEnded(spoke=False), 3.1) == []  # that of the tool
    assert call.next_deadline() == 6.0  # 3.0 + 3.0
    assert call.elapse(6.0) == []
    assert call.elapse(6.0) == [HangUp()]  # what was said left at 2.0, long played


def test_a_goodbye_that_comes_as_a_turn_of_its_own_is_heard() -> None:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    call.receive(AgentEnds(), 3.0)
    call.receive(TurnEnded(spoke=False), 3.1)
    call.receive(UNPROMPTED, 4.2)
    assert call.elapse(6.0) == []  # it has begun: nothing cuts it
    call.receive(TurnEnded(spoke=True), 4.5)
    call.receive(ReplyPlayed(), 20.0)
    assert call.elapse(20.22) == [HangUp()]


def test_a_goodbye_of_16_seconds_is_heard_to_its_end() -> None:
    call = speaking()
    call.receive(AgentEnds(), 2.0)
    call.receive(TurnEnded(spoke=True), 2.1)
    assert call.elapse(17.9) == []
    call.receive(ReplyPlayed(), 18.0)
    assert call.elapse(18.22) == [HangUp()]


def test_a_model_that_stalls_inside_its_goodbye_is_not_waited_for_for_ever() -> None:
    call = speaking()
    call.receive(AgentEnds(), 2.0)
    assert call.elapse(62.0) == [DropReply()]
    assert call.elapse(62.22) == [HangUp()]


@pytest.mark.parametrize("speaks", [CallerSustained(), Interrupted()])
def test_a_caller_who_speaks_before_the_goodbye_has_begun_is_listened_to(speaks: Event) -> None:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    call.receive(AgentEnds(), 2.0)
    assert call.receive(speaks, 2.5) == []
    assert state_of(call) is State.LISTENING
    assert call.next_deadline() == 60.0  # the call is as long as it may be, again
    assert call.receive(ReplyStarted(0.8), 4.0) == [Answered(0.8)]


def test_a_caller_who_says_goodbye_too_does_not_cut_the_agents() -> None:
    call = speaking()
    call.receive(AgentEnds(), 2.0)
    assert call.receive(CallerSpoke(), 2.1) == []
    assert call.receive(Interrupted(), 2.3) == []
    assert state_of(call) is State.ENDING


def test_last_words_have_an_end() -> None:
    call = speaking()
    call.receive(EndOrdered(Outcome.DRAINED), 2.0)
    assert call.next_deadline() == 12.0
    assert call.elapse(12.0) == [DropReply()]
    assert call.elapse(12.22) == [HangUp()]


def test_a_sentence_paused_by_a_sound_is_finished_before_an_ordered_end() -> None:
    call = paused()
    assert call.receive(EndOrdered(Outcome.DRAINED), 2.1) == [ResumePlayout()]
    assert state_of(call) is State.ENDING


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (EndOrdered(Outcome.DRAINED), Outcome.DRAINED),
        (ModelFailed(), Outcome.MODEL_FAILED),
        (DurationReached(), Outcome.MAX_DURATION),
    ],
)
def test_an_end_in_silence_hangs_up_at_once(event: Event, outcome: Outcome) -> None:
    for before in (accepted(), listening()):
        before.receive(event, 5.0)
        assert before.elapse(5.0) == [HangUp()]
        assert before.receive(CALLER_LEFT, 5.1) == [Finish(outcome)]


def test_a_call_has_a_longest_duration() -> None:
    call = speaking()
    assert call.next_deadline() == 60.0
    assert call.elapse(60.0) == []
    assert state_of(call) is State.ENDING  # the sentence may be finished
    call.receive(ReplyPlayed(), 61.0)
    assert call.elapse(61.22) == [HangUp()]
    assert call.receive(CALLER_LEFT, 61.3) == [Finish(Outcome.MAX_DURATION)]


def test_deadlines_that_come_together_are_taken_in_order() -> None:
    call = speaking()
    assert call.receive(CallerSpoke(), 59.8) == [PausePlayout()]  # a verdict would be due at 60.2
    assert call.elapse(61.0) == [ResumePlayout()]  # but at 60.0 the end was decided
    assert state_of(call) is State.ENDING


def test_a_model_that_fails_mid_sentence_is_heard_out() -> None:
    call = speaking()
    assert call.receive(ModelFailed(), 2.0) == []
    assert state_of(call) is State.ENDING
    call.receive(ReplyPlayed(), 3.0)
    assert call.elapse(3.22) == [HangUp()]


def test_an_apology_is_heard_out_whatever_the_call_was_doing() -> None:
    for call in (accepted(), listening(), speaking()):
        assert call.receive(ModelFailed(apologised=True), 8.0) == []
        assert call.elapse(9.9) == []
        call.receive(ReplyPlayed(), 10.0)
        assert call.elapse(10.22) == [HangUp()]
        assert call.receive(CALLER_LEFT, 10.3) == [Finish(Outcome.MODEL_FAILED)]


def test_a_model_that_fails_while_its_goodbye_is_awaited() -> None:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    call.receive(AgentEnds(), 2.0)
    call.receive(ModelFailed(), 2.5)
    assert call.elapse(2.5) == [HangUp()]
    assert call.receive(CALLER_LEFT, 2.6) == [Finish(Outcome.AGENT_HANGUP)]


def test_a_caller_who_leaves_during_last_words_does_not_change_why_the_call_ended() -> None:
    call = speaking()
    call.receive(ModelFailed(), 2.0)
    assert call.receive(CALLER_LEFT, 2.5) == [Finish(Outcome.MODEL_FAILED)]


def test_a_reply_that_is_no_speech_is_dropped_and_the_call_goes_on() -> None:
    call = speaking()
    assert call.receive(ReplySpoiled(), 6.0) == [DropReply()]
    assert state_of(call) is State.LISTENING
    assert call.receive(ReplySpoiled(), 6.1) == []


# -- before the call, and between its legs -------------------------------------------------------


def test_the_model_is_dialled_while_the_phone_rings() -> None:
    call = ringing()
    assert call.receive(ModelReady(), 0.7) == []
    assert call.receive(LegOpened(), 5.0) == []
    assert state_of(call) is State.LISTENING
    assert call.receive(UNPROMPTED, 5.25) == [Greeted(0.25)]  # since the caller came
    assert call.next_deadline() == 65.0  # and so is the longest duration


def test_the_caller_may_come_before_the_model_is_ready() -> None:
    call = ringing()
    call.receive(LegOpened(), 0.3)
    assert state_of(call) is State.OPENING
    call.receive(ModelReady(), 0.7)
    assert call.receive(UNPROMPTED, 1.3) == [Greeted(1.0)]


def test_a_call_nobody_comes_for_is_let_go() -> None:
    call = ringing()
    call.receive(ModelReady(), 0.7)
    assert call.next_deadline() == 30.0
    assert call.elapse(30.0) == [Finish(Outcome.ABANDONED)]


def test_a_drain_lets_go_of_calls_that_have_not_come() -> None:
    assert ringing().receive(EndOrdered(Outcome.DRAINED), 1.0) == [Finish(Outcome.ABANDONED)]


def test_a_model_that_failed_while_the_phone_rang_gives_the_call_back() -> None:
    call = ringing()
    assert call.receive(ModelFailed(), 0.7) == []
    assert call.receive(LegOpened(), 5.0) == []
    assert call.elapse(5.22) == [HangUp()]
    assert call.receive(CALLER_LEFT, 5.3) == [Finish(Outcome.MODEL_FAILED)]


def test_a_caller_is_passed_on_after_the_words_that_say_so() -> None:
    call = held()
    assert state_of(call) is State.HELD
    assert call.receive(TransferDone(), 20.0) == [Finish(Outcome.TRANSFERRED)]


def test_a_caller_whose_connection_broke_comes_back_or_has_left() -> None:
    call = listening()
    assert call.receive(LegClosed(Outcome.CALLER_HANGUP, asks=True), 10.0) == []
    assert state_of(call) is State.HELD
    assert call.receive(LegOpened(), 10.1) == []
    assert state_of(call) is State.LISTENING
    assert call.receive(LegClosed(Outcome.CALLER_HANGUP, asks=True), 20.0) == []
    assert call.elapse(20.0 + LIMITS.lost_s) == [Finish(Outcome.CALLER_HANGUP)]


def test_a_caller_who_is_called_back_has_as_long_again() -> None:
    call = listening()
    call.receive(BROKE, 10.0)
    assert call.receive(Claimed(), 11.9) == []
    assert call.elapse(11.9 + LIMITS.lost_s - 0.1) == []
    assert call.receive(LegOpened(), 13.8) == []
    assert state_of(call) is State.LISTENING


@pytest.mark.parametrize("ends", [EndOrdered(Outcome.OPERATOR_HANGUP), ModelFailed()])
def test_a_reply_that_the_connection_broke_off_is_not_waited_for(ends: Event) -> None:
    call = speaking()
    call.receive(BROKE, 2.0)
    call.receive(LegOpened(), 2.3)
    assert call.receive(ends, 3.0) == []
    assert call.elapse(3.0 + LIMITS.tail_s) == [HangUp()]


@pytest.mark.parametrize("at", [3.0, 4.1], ids=["over the words", "behind them"])
def test_a_connection_that_breaks_before_the_caller_is_passed_on_keeps_nobody_from_it(
    at: float,
) -> None:
    call = speaking()
    call.receive(TransferAsked(announced=False), 2.0)
    if at > 4.0:
        call.receive(ReplyPlayed(), 4.0)
    assert call.receive(BROKE, at) == []
    assert (state_of(call), call.outcome) == (State.HELD, Outcome.TRANSFERRED)
    assert call.receive(Claimed(), at + 0.1) == []
    assert call.next_deadline() == pytest.approx(at + 0.1 + LIMITS.held_s)
    assert call.receive(TransferDone(), 20.0) == [Finish(Outcome.TRANSFERRED)]


def test_a_caller_who_is_to_be_passed_on_and_whom_no_dialplan_has_has_hung_up() -> None:
    call = speaking()
    call.receive(TransferAsked(), 2.0)
    call.receive(BROKE, 3.0)
    assert call.elapse(3.0 + LIMITS.lost_s) == [Finish(Outcome.CALLER_HANGUP)]


def test_a_peer_that_sent_nonsense_is_not_waited_for() -> None:
    peer_error = LegClosed(Outcome.PEER_ERROR, asks=True)
    assert listening().receive(peer_error, 10.0) == [Finish(Outcome.PEER_ERROR)]


def test_a_caller_whom_nobody_answers_comes_back_to_the_same_conversation() -> None:
    call = held()
    assert call.receive(LegOpened(), 24.0) == []
    assert state_of(call) is State.LISTENING
    assert call.next_deadline() == 60.0  # counted from the first leg
    assert call.receive(UNPROMPTED, 25.0) == []
    assert call.receive(CALLER_LEFT, 30.0) == [Finish(Outcome.CALLER_HANGUP)]


def test_a_model_lost_during_a_transfer_is_noticed_when_the_caller_comes_back() -> None:
    call = held()
    assert call.receive(ModelFailed(), 10.0) == []
    assert call.receive(LegOpened(), 24.0) == []
    assert call.elapse(24.22) == [HangUp()]
    assert call.receive(CALLER_LEFT, 24.3) == [Finish(Outcome.MODEL_FAILED)]


def test_a_caller_who_leaves_before_they_are_passed_on_has_not_been() -> None:
    call = speaking()
    call.receive(TransferAsked(), 2.0)
    assert call.receive(CALLER_LEFT, 3.0) == [Finish(Outcome.CALLER_HANGUP)]
    call = listening()
    call.receive(TransferAsked(announced=False), 5.0)
    assert state_of(call) is State.TAIL
    assert call.receive(CALLER_LEFT, 5.0) == [Finish(Outcome.CALLER_HANGUP)]


def test_an_operator_may_end_a_call_that_is_held() -> None:
    call = held()
    assert call.receive(EndOrdered(Outcome.OPERATOR_HANGUP), 10.0) == [
        Finish(Outcome.OPERATOR_HANGUP)
    ]


def test_a_caller_who_does_not_come_back_has_been_transferred() -> None:
    call = held()
    assert call.next_deadline() == pytest.approx(124.23)  # 4.23 + 120
    assert call.elapse(124.23) == [Finish(Outcome.TRANSFERRED)]


def test_a_caller_who_speaks_before_the_transfer_is_announced_stays() -> None:
    call = listening()
    call.receive(TransferAsked(), 2.0)
    call.receive(CallerSustained(), 2.5)
    assert state_of(call) is State.LISTENING
    call.receive(AgentEnds(), 3.0)
    call.receive(TurnEnded(spoke=True), 3.1)
    assert call.elapse(3.1) == [HangUp()]
    assert call.receive(CALLER_LEFT, 3.2) == [Finish(Outcome.AGENT_HANGUP)]  # and is not held


def listening() -> Call:
    call = speaking()
    call.receive(ReplyPlayed(), 2.0)
    return call


def ending() -> Call:
    call = speaking()
    call.receive(AgentEnds(), 2.0)
    return call


def in_tail() -> Call:
    call = listening()
    call.receive(EndOrdered(Outcome.DRAINED), 2.1)
    return call


def held() -> Call:
    """A call whose caller was given to a transfer at 4.23."""
    call = speaking()
    call.receive(TransferAsked(), 2.0)
    call.receive(TurnEnded(spoke=True), 2.1)
    call.receive(ReplyPlayed(), 4.0)
    assert call.elapse(4.22) == [HangUp()]
    assert call.receive(CALLER_LEFT, 4.23) == []
    return call


def hung_up() -> Call:
    call = in_tail()
    assert call.elapse(3.0) == [HangUp()]
    return call


def over() -> Call:
    call = speaking()
    call.receive(CALLER_LEFT, 2.0)
    return call


IN_STATE: dict[State, Callable[[], Call]] = {
    State.RINGING: ringing,
    State.OPENING: accepted,
    State.LISTENING: listening,
    State.SPEAKING: speaking,
    State.PAUSED: paused,
    State.ENDING: ending,
    State.TAIL: in_tail,
    State.HUNG_UP: hung_up,
    State.HELD: held,
    State.OVER: over,
}
EVENTS: tuple[Event, ...] = (
    KeyPressed(),
    KeyTaken(),
    TransferAsked(announced=False),
    KeysDue(),
    Claimed(),
    LegOpened(),
    TransferAsked(),
    TransferDone(),
    Unclaimed(),
    ModelReady(),
    ModelFailed(),
    ModelFailed(apologised=True),
    ReplySpoiled(),
    UNPROMPTED,
    ReplyStarted(0.5),
    ReplyPlayed(),
    TurnEnded(spoke=True),
    Interrupted(),
    CallerSpoke(),
    CallerSustained(),
    AgentEnds(),
    EndOrdered(Outcome.DRAINED),
    EndOrdered(Outcome.REFUSED, at_once=True),
    LegClosed(Outcome.PEER_ERROR),
    LegClosed(Outcome.CALLER_HANGUP, asks=True),
    VerdictDue(),
    FarewellDue(),
    TailPlayed(),
    WordsDue(),
    DurationReached(),
    TurnEnded(spoke=False),
)


@pytest.mark.parametrize("state", State)
def test_each_state_can_be_reached(state: State) -> None:
    assert IN_STATE[state]().state is state


@given(st.sampled_from(State), st.lists(st.sampled_from(EVENTS), max_size=12))
def test_any_state_takes_any_event_and_always_comes_to_an_end(
    state: State, events: list[Event]
) -> None:
    call, now, commands = IN_STATE[state](), 3.0, list[Command]()
    for event in events:
        now += 0.1
        commands += call.receive(event, now)
    for _ in range(2):  # a transfer may keep the call beyond its leg
        while (deadline := call.next_deadline()) is not None:  # time alone brings it to its end
            assert deadline <= now + max(LIMITS.max_duration_s, LIMITS.held_s) + 10.0
            now = max(now, deadline)
            commands += call.elapse(now)
        commands += call.receive(CALLER_LEFT, now)
    assert state_of(call) is State.OVER
    assert call.receive(CALLER_LEFT, now) == []  # a call ends once
    finishes = [command for command in commands if isinstance(command, Finish)]
    assert len(finishes) == (state is not State.OVER)
    hangups = [number for number, command in enumerate(commands) if command == HangUp()]
    legs = 1 + sum(isinstance(event, LegOpened) for event in events)
    assert len(hangups) <= legs
    if hangups:
        spoken_after = commands[hangups[-1] :]
        assert not any(isinstance(c, (ResumePlayout, PausePlayout)) for c in spoken_after)

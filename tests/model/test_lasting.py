"""Conversations that outlive their connections: a scripted model, in virtual time.

Connecting takes 0.3 s, and a frame of the caller's is 20 ms.
"""

import asyncio

import pytest

from audiosocket_agent.errors import ModelError
from audiosocket_agent.model import base
from audiosocket_agent.model.backlog import CHUNK_S
from audiosocket_agent.model.breaker import Breaker
from audiosocket_agent.model.lasting import CONTINUE, LastingModel, Rung
from tests.model.trunk import CONNECT_S, FRAME, Talk, Trunk, error, talking
from tests.scripted import Puppet
from tests.virtual_time import in_virtual_time

SPEECH = b"\7\7" * 160
GREETED = (
    base.GenerationEnded(),
    base.TurnEnded(spoke=True),
    base.Resumable("h1"),
)
CUT_OFF = [base.GenerationEnded(), base.TurnEnded(spoke=True)]


async def greeted(trunk: Trunk, talk: Talk) -> Puppet:
    """A conversation whose first turn is over."""
    puppet = trunk.puppets[0]
    puppet.say(b"hello!")
    puppet.tell(base.Transcript("agent", "Hello!"), *GREETED)
    await asyncio.sleep(20.0)
    return puppet


# -- a connection is lost ------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["1000", "1001", "1006", "1008", "1011", "bad_message", "1012"])
def test_a_lost_connection_is_resumed_at_once(code: str) -> None:
    @in_virtual_time
    async def run() -> None:
        trunk = Trunk()
        async with talking(trunk) as talk:
            puppet = await greeted(trunk, talk)
            lost_at = asyncio.get_running_loop().time()
            puppet.fails(code)
            await asyncio.sleep(1.0)
            [again] = talk.of(base.Reconnected)
            assert (again.reason, again.model) == (code, "scripted")
            assert again.seconds == pytest.approx(CONNECT_S)
            assert trunk.dialled_at[1] == pytest.approx(lost_at)
            setup = trunk.setups[1]
            assert (setup.resume, setup.greeting, setup.plain) == ("h1", "", False)
            assert setup.instructions == "Be brief."  # the handle brings back all that was said
            assert trunk.puppets[1].texts == []  # and nobody waits for an answer
            assert puppet.closed.is_set()

    run()


@in_virtual_time
async def test_what_the_caller_says_meanwhile_is_sent_after_it_in_order() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.fails()
        await asyncio.sleep(0)
        await talk.speaks(0.2, SPEECH)
        talk.session.send_text("(The caller pressed these keys: 1.)")
        await talk.speaks(0.2)
        new = trunk.puppets[1]
        assert bytes(new.heard) == SPEECH * 10 + FRAME * 10
        assert new.texts == ["(The caller pressed these keys: 1.)"]
        assert talk.session.dropped == 0


@in_virtual_time
async def test_a_long_outage_costs_the_oldest_audio_and_it_is_counted() -> None:
    trunk = Trunk(CONNECT_S, error("503"), error("503"), error("503"), error("503"), error("503"))
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.fails()
        await asyncio.sleep(0)
        await talk.speaks(7.0)
        assert len(trunk.puppets) == 2
        [again] = talk.of(base.Reconnected)
        # 0.3 refused, 0.25, 0.3, 0.5, 0.3, 1, 0.3, 1, 0.3, 1, 0.3 connected
        assert again.seconds == pytest.approx(5.55, abs=0.01)
        assert 50 * (0.55 - CHUNK_S) - 1 <= talk.session.dropped <= 50 * 0.55 + 1  # in whole pieces


@in_virtual_time
async def test_a_caller_who_is_cut_off_in_a_sentence_is_heard_whole() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        await talk.speaks(0.4, SPEECH)
        puppet.fails()
        await talk.speaks(1.0)
        new = trunk.puppets[1]
        assert bytes(new.heard).count(SPEECH) == 20
        assert new.texts == []  # nothing to go on with: it has not been answered, nor understood


@in_virtual_time
async def test_a_reply_that_is_cut_off_ends_for_the_call_and_is_asked_for_again() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        await talk.speaks(0.4, SPEECH)
        puppet.tell(base.Transcript("caller", "When do you open?"))
        await asyncio.sleep(0.5)
        puppet.say(b"At ni")
        puppet.tell(base.Transcript("agent", "At nine"))
        await asyncio.sleep(0)
        lost_at = asyncio.get_running_loop().time()
        puppet.fails()
        await asyncio.sleep(0.1)
        puppet.say(b"this comes too late")
        await asyncio.sleep(1.0)
        ended = [(round(t - lost_at, 2), e) for t, e in talk.story if e in CUT_OFF][-2:]
        assert ended == [(0.0, CUT_OFF[0]), (0.0, CUT_OFF[1])]
        new = trunk.puppets[1]
        record = trunk.setups[1].instructions
        assert 'caller: "When do you open?"' in record
        assert 'agent: "At nine"' in record
        assert "Hello" not in record  # the handle brings that back
        assert new.texts == [CONTINUE]
        assert SPEECH not in new.heard  # it went in as words
        assert bytes(talk.audio) == b"hello!At ni"
        new.say(b"At nine.")
        await asyncio.sleep(0)
        assert bytes(talk.audio) == b"hello!At niAt nine."


@in_virtual_time
async def test_what_is_told_at_once_counts_as_all_else_until_its_connection_is_left() -> None:
    trunk, told = Trunk(), list[base.ModelEvent]()
    async with talking(trunk, setup=base.SessionSetup("", "", happened=told.append)) as talk:
        first = trunk.puppet
        words, handle = base.Transcript("caller", "When do you open?"), base.Resumable("h1")
        for event in (words, handle):
            first.tell_at_once(event)
        assert told == [words, handle]
        first.fails()
        await asyncio.sleep(0.1)
        first.tell_at_once(base.Transcript("agent", "this comes too late"))
        await asyncio.sleep(1.0)
        assert trunk.setups[1].resume == "h1"
        assert 'caller: "When do you open?"' not in trunk.setups[1].instructions  # h1 knows of it
        trunk.puppets[1].tell_at_once(base.GenerationEnded())
        assert told == [words, handle, base.GenerationEnded()]
        assert talk.of(base.Reconnected)


@in_virtual_time
async def test_an_answer_that_has_not_begun_is_asked_for() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        await talk.speaks(0.4, SPEECH)
        puppet.tell(base.Transcript("caller", "Hello?"))
        puppet.fails()
        await asyncio.sleep(1.0)
        assert trunk.puppets[1].texts == [CONTINUE]
        assert SPEECH not in trunk.puppets[1].heard  # it went in as words
        assert 'caller: "Hello?"' in trunk.setups[1].instructions
        assert talk.of(base.TurnEnded) == [
            base.TurnEnded(spoke=True)
        ]  # the greeting's; no turn began


@in_virtual_time
async def test_what_has_been_answered_is_not_said_again() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        talk.session.send_text("(The transfer came to nothing.)")
        await talk.speaks(0.4, SPEECH)
        puppet.say(b"Nobody is there.")
        puppet.tell(*GREETED)
        await asyncio.sleep(1.0)
        puppet.dropped = 3
        assert talk.session.dropped == 3
        puppet.fails()
        await asyncio.sleep(1.0)
        assert trunk.puppets[1].texts == []
        assert SPEECH not in trunk.puppets[1].heard
        trunk.puppets[1].dropped = 4
        assert talk.session.dropped == 7


@in_virtual_time
async def test_a_reply_that_has_arrived_whole_is_not_asked_for_again() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.say(b"At nine.")
        puppet.tell(base.GenerationEnded())
        await asyncio.sleep(0.1)
        puppet.fails()
        await asyncio.sleep(1.0)
        assert trunk.puppets[1].texts == []
        assert talk.events[-2] == base.TurnEnded(spoke=True)


@in_virtual_time
async def test_a_greeting_that_never_came_is_asked_for_again() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        trunk.puppet.fails()
        await asyncio.sleep(1.0)
        assert trunk.setups[1].greeting == "Greet."
        trunk.puppets[1].say(b"hello!")
        trunk.puppets[1].fails()
        await asyncio.sleep(1.0)
        assert trunk.setups[2].greeting == ""
        assert trunk.puppets[2].texts == [CONTINUE]
        assert bytes(talk.audio) == b"hello!"


@in_virtual_time
async def test_without_a_handle_the_new_session_is_told_what_was_said() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = trunk.puppet
        puppet.say(b"hello!")
        puppet.tell(base.Transcript("agent", "Hello!"), *GREETED[:2])
        puppet.tell(base.Transcript("caller", "A table for two."))
        await asyncio.sleep(20.0)
        puppet.fails()
        await asyncio.sleep(1.0)
        setup = trunk.setups[1]
        assert setup.resume == ""
        assert 'agent: "Hello!"\ncaller: "A table for two."' in setup.instructions
        assert talk.error is None


@in_virtual_time
async def test_a_handle_that_is_refused_is_not_tried_again() -> None:
    trunk = Trunk(CONNECT_S, error("1007"))
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.fails("1011")
        await asyncio.sleep(1.0)
        assert [setup.resume for setup in trunk.setups] == ["", "h1", ""]
        assert 'agent: "Hello!"' in trunk.setups[2].instructions
        trunk.puppets[1].fails("1006")
        await asyncio.sleep(1.0)
        assert trunk.setups[3].resume == ""
        assert [event.reason for event in talk.of(base.Reconnected)] == ["1011", "1006"]


@in_virtual_time
async def test_a_call_whose_setup_is_refused_goes_on_without_optional_fields() -> None:
    trunk = Trunk(error("1007"))
    async with talking(trunk) as talk:
        assert [setup.plain for setup in trunk.setups] == [False, True]
        puppet = trunk.puppet
        puppet.tell(base.Resumable("h1"))
        await asyncio.sleep(20.0)
        puppet.fails()
        await asyncio.sleep(1.0)
        assert (trunk.setups[2].resume, trunk.setups[2].plain) == ("h1", True)
        assert talk.error is None


@in_virtual_time
async def test_a_setup_that_is_refused_for_good_is_an_error() -> None:
    trunk = Trunk(error("1007"), error("1007"), error("1007"))
    with pytest.raises(ModelError) as refused:
        async with talking(trunk):
            pass
    assert refused.value.code == "1007"
    assert len(trunk.setups) == 2


# -- tools ---------------------------------------------------------------------------------------

CALL = base.ToolCall("7", "find", {"what": "it"})


@in_virtual_time
async def test_a_result_for_a_session_that_is_gone_is_told_in_words() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.Transcript("caller", "Where is it?"), CALL)
        await asyncio.sleep(0.1)
        puppet.fails()
        await asyncio.sleep(1.0)
        assert talk.events[-4:-2] == [base.GenerationEnded(), base.TurnEnded(spoke=False)]
        new = trunk.puppets[1]
        talk.session.send_tool_result(CALL, {"output": "on the left"})
        assert new.results == []
        assert new.texts[0] == CONTINUE
        assert "find" in new.texts[1]
        assert '{"output": "on the left"}' in new.texts[1]
        new.fails()
        await asyncio.sleep(1.0)  # and whoever comes next knows that it was used
        assert '-> {\\"output\\": \\"on the left\\"}' in trunk.setups[2].instructions


@in_virtual_time
async def test_a_result_that_comes_while_there_is_no_session_is_told_to_the_next() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(CALL)
        puppet.fails()
        await asyncio.sleep(0.1)
        talk.session.send_tool_result(CALL, {"output": "on the left"})
        await asyncio.sleep(1.0)
        new = trunk.puppets[1]
        assert new.results == []
        [text] = new.texts  # which it answers: nothing else need be asked for
        assert "on the left" in text


@in_virtual_time
async def test_a_session_that_asks_the_same_again_gets_its_own_answer() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(CALL)
        await asyncio.sleep(0.1)
        puppet.fails()
        await asyncio.sleep(1.0)
        new = trunk.puppets[1]
        again = base.ToolCall("8", "find", {"what": "it"})
        new.tell(again)
        await asyncio.sleep(0.1)
        for call in (CALL, again):  # one piece of work, for both
            talk.session.send_tool_result(call, {"output": "on the left"})
        assert new.results == [(again, {"output": "on the left"})]
        assert new.texts == [CONTINUE]


@in_virtual_time
async def test_so_does_one_that_asks_it_under_the_same_id() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(CALL)
        await asyncio.sleep(0.1)
        puppet.fails()
        await asyncio.sleep(1.0)
        new = trunk.puppets[1]
        new.tell(CALL)
        await asyncio.sleep(0.1)
        talk.session.send_tool_result(CALL, {"output": "on the left"})
        assert new.results == [(CALL, {"output": "on the left"})]


@in_virtual_time
async def test_calls_without_ids_are_told_apart() -> None:
    trunk = Trunk()
    one, other = base.ToolCall("", "find", {"what": "it"}), base.ToolCall("", "end", {})
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(one)
        await asyncio.sleep(0.1)
        puppet.fails()
        await asyncio.sleep(1.0)
        new = trunk.puppets[1]
        new.tell(other)
        await asyncio.sleep(0.1)
        for call in (other, one):
            talk.session.send_tool_result(call, {"output": call.name})
        assert new.results == [(other, {"output": "end"})]
        assert '{"output": "find"}' in new.texts[-1]


@in_virtual_time
async def test_a_result_goes_to_the_session_that_asked() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(CALL)
        await asyncio.sleep(0.1)
        talk.session.send_tool_result(CALL, {"output": "on the left"})
        assert puppet.results == [(CALL, {"output": "on the left"})]


# -- goAway --------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_model_that_goes_away_is_left_in_a_pause() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        talk.quiet = False
        puppet.tell(base.GoAway(60.0))
        told_at = asyncio.get_running_loop().time()
        await asyncio.sleep(30.0)
        assert len(trunk.setups) == 1  # somebody has been speaking all the time
        talk.quiet = True
        await asyncio.sleep(0.2)
        assert not puppet.closed.is_set()  # while the other is dialled
        await asyncio.sleep(1.0)
        assert puppet.closed.is_set()
        assert trunk.setups[1].resume == "h1"
        [at] = talk.at(base.Reconnected)
        assert at - told_at == pytest.approx(30.0 + CONNECT_S, abs=0.15)
        [again] = talk.of(base.Reconnected)
        assert (again.reason, again.seconds) == ("go_away", pytest.approx(CONNECT_S))
        assert talk.events[-2:] == [base.GoAway(60.0), again]  # no turn was ended by it


@in_virtual_time
async def test_what_is_said_while_the_connection_changes_goes_to_the_new_one_alone() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(0.15)  # it is being dialled
        await talk.speaks(0.5, SPEECH)
        old, new = puppet.heard, trunk.puppets[1].heard
        assert SPEECH not in old
        assert bytes(new) == SPEECH * 25


@in_virtual_time
async def test_words_that_come_back_late_ask_for_no_answer_in_a_pause() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.Transcript("caller", "Thanks."), base.GoAway(60.0))
        await asyncio.sleep(1.0)
        assert 'caller: "Thanks."' in trunk.setups[1].instructions  # the handle may not have it
        assert trunk.puppets[1].texts == []


@in_virtual_time
async def test_no_sentence_is_cut_by_a_model_that_goes_away() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.say(b"a long")
        puppet.tell(base.GoAway(20.0))  # the deadline is after 10 s, and nothing is ever quiet
        talk.quiet = False
        await asyncio.sleep(18.0)
        assert len(trunk.setups) == 1
        puppet.say(b" sentence.")
        puppet.tell(base.GenerationEnded())
        await asyncio.sleep(1.0)
        assert len(trunk.puppets) == 2
        assert bytes(talk.audio) == b"hello!a long sentence."
        assert talk.of(base.TurnEnded)[-1] == base.TurnEnded(spoke=True)
        assert trunk.puppets[1].texts == []


@in_virtual_time
async def test_at_the_deadline_a_caller_who_never_pauses_is_not_waited_for() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        talk.quiet = False
        puppet.tell(base.GoAway(60.0))
        now = asyncio.get_running_loop().time()
        await talk.speaks(53.0, SPEECH)
        assert trunk.dialled_at[1] - now == pytest.approx(50.0, abs=0.2)
        # the last 5 s, which nobody has answered, and the 2.6 s since
        assert len(trunk.puppets[1].heard) // len(SPEECH) == pytest.approx(50 * 7.6, abs=5)
        assert talk.session.dropped == 0


@in_virtual_time
async def test_at_the_deadline_the_handle_of_a_sentence_that_is_being_heard_is_waited_for() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        talk.quiet = False
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(49.0)
        puppet.say(b"A sentence")
        puppet.tell(base.GenerationEnded())
        await asyncio.sleep(2.0)
        assert len(trunk.setups) == 1
        puppet.tell(base.TurnEnded(spoke=True), base.Resumable("h2"))
        await asyncio.sleep(1.0)
        assert trunk.setups[1].resume == "h2"


@in_virtual_time
async def test_a_handle_that_does_not_come_is_not_waited_for_until_the_end() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        puppet.say(b"A sentence")
        puppet.tell(base.GenerationEnded())
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(58.0)
        assert trunk.dialled_at[1] - now == pytest.approx(55.0, abs=0.2)


@in_virtual_time
async def test_a_model_that_speaks_up_while_the_other_is_dialled_is_stayed_with() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(0.15)
        assert len(trunk.setups) == 2
        talk.session.send_audio(SPEECH, 8_000)
        puppet.say(b"By the way,")
        await asyncio.sleep(1.0)
        assert len(trunk.puppets) == 1  # given up
        assert SPEECH in puppet.heard  # what was kept for it
        puppet.tell(*GREETED[:2])
        await asyncio.sleep(1.0)
        assert len(trunk.setups) == 2  # its handle is from before the turn
        puppet.tell(base.Resumable("h2"))
        await asyncio.sleep(1.0)
        assert trunk.setups[2].resume == "h2"
        assert len(talk.of(base.Reconnected)) == 1


@in_virtual_time
async def test_a_tool_that_is_running_is_waited_for() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(CALL, base.TurnEnded(spoke=False), base.Resumable("h2"), base.GoAway(60.0))
        await asyncio.sleep(5.0)
        assert len(trunk.setups) == 1
        talk.session.send_tool_result(CALL, {})
        await asyncio.sleep(1.0)
        assert len(trunk.setups) == 2


@in_virtual_time
async def test_where_two_at_a_time_are_refused_the_old_one_is_closed_first() -> None:
    trunk = Trunk(CONNECT_S, error("1011"))
    rung = Rung(trunk)
    async with talking(rung) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(2.0)
        assert trunk.together == 1
        assert [event.reason for event in talk.of(base.Reconnected)] == ["go_away"]
        trunk.puppets[1].tell(base.Resumable("h2"), base.GoAway(60.0))
        await asyncio.sleep(2.0)
        assert len(trunk.setups) == 4  # it was learned
        assert trunk.together == 1
        assert talk.error is None


@in_virtual_time
async def test_a_change_that_fails_leaves_the_conversation_where_it_is() -> None:
    trunk = Trunk(CONNECT_S, error("503"), error("503"))
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(0.15)
        await talk.speaks(0.5, SPEECH)
        assert bytes(puppet.heard) == SPEECH * 25
        await asyncio.sleep(10.0)
        assert len(trunk.setups) == 4
        assert len(talk.of(base.Reconnected)) == 1


@in_virtual_time
async def test_a_handle_that_is_refused_at_a_change_is_done_without() -> None:
    trunk = Trunk(CONNECT_S, error("1007"))
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(1.5)
        assert trunk.setups[2].resume == ""
        assert 'agent: "Hello!"' in trunk.setups[2].instructions
        assert len(talk.of(base.Reconnected)) == 1


@in_virtual_time
async def test_a_connection_that_ends_before_its_time_is_replaced_all_the_same() -> None:
    trunk = Trunk(CONNECT_S, 3.0)
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.GoAway(60.0))
        await asyncio.sleep(0.5)
        puppet.fails("1000")
        await asyncio.sleep(1.0)
        [again] = talk.of(base.Reconnected)
        assert again.reason == "1000"
        assert len(trunk.puppets) == 2


# -- the ladder ----------------------------------------------------------------------------------


@in_virtual_time
async def test_the_second_model_takes_over_a_call_that_the_first_has_dropped() -> None:
    first, second = Trunk(CONNECT_S, *[error("503")] * 99), Trunk(name="second")
    async with talking(first, second) as talk:
        puppet = await greeted(first, talk)
        puppet.fails()
        await asyncio.sleep(5.0)
        [again] = talk.of(base.Reconnected)
        assert again.model == "second"
        assert again.seconds < 3.0
        [setup] = second.setups
        assert setup.resume == ""
        assert 'agent: "Hello!"' in setup.instructions
        assert bytes(talk.audio) == b"hello!"


@in_virtual_time
async def test_nobody_waits_longer_than_eight_seconds() -> None:
    first, second = Trunk(CONNECT_S, *[60.0] * 9), Trunk(*[60.0] * 9)
    async with talking(first, second) as talk:
        puppet = await greeted(first, talk)
        now = asyncio.get_running_loop().time()
        puppet.fails()
        await talk.over.wait()
        assert asyncio.get_running_loop().time() - now <= 8.01
        assert isinstance(talk.error, ModelError)
        assert talk.error.code == "timeout"
        assert second.setups


@in_virtual_time
async def test_nor_for_the_first_connection() -> None:
    trunk = Trunk(*[60.0] * 9)
    with pytest.raises(ModelError) as refused:
        async with talking(trunk):
            pass
    assert refused.value.code == "timeout"
    assert asyncio.get_running_loop().time() <= 8.01


@in_virtual_time
async def test_a_first_connection_is_tried_again() -> None:
    trunk = Trunk(error("503"), error("unreachable"))
    async with talking(trunk):
        assert len(trunk.setups) == 3


@in_virtual_time
async def test_connections_that_are_lost_as_soon_as_they_are_made_are_not_made_for_ever() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        await greeted(trunk, talk)
        for n in range(13):
            trunk.puppets[n].fails("1008")
            await asyncio.sleep(2.0)
        assert talk.error is None  # the first had lasted
        trunk.puppets[13].fails("1008")
        await talk.over.wait()
        assert isinstance(talk.error, ModelError)
        assert talk.error.code == "1008"


# -- the breaker ---------------------------------------------------------------------------------


@in_virtual_time
async def test_a_project_that_refuses_is_not_asked_by_every_call() -> None:
    trunk = Trunk(*[error("429", "HTTP 429 at connect")] * 3)
    rung = Rung(trunk)
    with pytest.raises(ModelError) as refused:
        async with talking(rung):
            pass
    assert refused.value.code == "429"
    now = asyncio.get_running_loop().time()
    for _ in range(10):
        with pytest.raises(ModelError) as refused:
            async with talking(rung):
                pass
        assert refused.value.code == "circuit_open"
    assert asyncio.get_running_loop().time() == now  # at once
    assert len(trunk.setups) == 3
    assert rung.breaker.turned_away >= 10
    await asyncio.sleep(6.0)
    async with talking(rung):
        assert not rung.breaker.is_open


@in_virtual_time
async def test_the_next_model_is_asked_at_once_while_the_breaker_of_the_first_is_open() -> None:
    breaker = Breaker()
    for _ in range(3):
        breaker.refused(0.0)
    first, second = Trunk(), Trunk(name="second")
    async with talking(Rung(first, breaker), second):
        assert asyncio.get_running_loop().time() == pytest.approx(CONNECT_S)
        assert first.setups == []


@in_virtual_time
async def test_a_quota_that_ends_a_session_counts_and_the_next_model_takes_over() -> None:
    rung, second = Rung(Trunk()), Trunk(name="second")
    trunk = rung.model
    assert isinstance(trunk, Trunk)
    async with talking(rung, second) as talk:
        puppet = await greeted(trunk, talk)
        rung.breaker.refused(asyncio.get_running_loop().time())
        rung.breaker.refused(asyncio.get_running_loop().time())
        puppet._events.put_nowait(error("1011", "1011: You exceeded your current quota"))
        await asyncio.sleep(1.0)
        assert rung.breaker.is_open
        assert talk.of(base.Reconnected)[0].model == "second"


@in_virtual_time
async def test_a_call_that_is_up_is_worth_the_wait_for_the_breaker() -> None:
    rung = Rung(Trunk())
    trunk = rung.model
    assert isinstance(trunk, Trunk)
    async with talking(rung) as talk:
        puppet = await greeted(trunk, talk)
        for _ in range(3):
            rung.breaker.refused(asyncio.get_running_loop().time())
        puppet._events.put_nowait(error("1006", "1006: gone"))
        await asyncio.sleep(4.0)
        assert len(trunk.setups) == 1
        await asyncio.sleep(2.0)
        assert len(trunk.setups) == 2
        assert talk.of(base.Reconnected)


# -- the rest ------------------------------------------------------------------------------------


@in_virtual_time
async def test_whoever_has_waited_in_vain_may_ask_for_another_connection() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.Transcript("caller", "Hello?"))
        await asyncio.sleep(0.1)
        talk.session.reconnect("no_answer")
        talk.session.reconnect("no_answer")
        await asyncio.sleep(1.0)
        assert [event.reason for event in talk.of(base.Reconnected)] == ["no_answer"]
        assert puppet.closed.is_set()
        assert trunk.puppets[1].texts == [CONTINUE]


@in_virtual_time
async def test_or_for_another_session_and_is_told_whether_the_model_owed_something() -> None:
    trunk = Trunk()
    async with talking(trunk) as talk:
        puppet = await greeted(trunk, talk)
        puppet.tell(base.Transcript("caller", "Hello?"))
        await asyncio.sleep(0.1)
        talk.session.reconnect("no_answer", another=True)
        talk.session.reconnect("no_answer")
        await asyncio.sleep(20.0)
        assert talk.of(base.Disconnected) == [base.Disconnected()]
        assert [setup.resume for setup in trunk.setups] == ["", ""]
        assert 'caller: "Hello?"' in trunk.setups[1].instructions
        trunk.puppets[1].say(b"Hello!")
        trunk.puppets[1].tell(*GREETED)
        await asyncio.sleep(1.0)
        talk.session.reconnect("no_answer")  # the next time is another time
        await asyncio.sleep(1.0)
        assert trunk.setups[2].resume == "h1"
        assert len(talk.of(base.Disconnected)) == 1


@in_virtual_time
async def test_a_fault_of_ours_is_raised_and_nothing_is_left() -> None:
    def take(pcm: bytes, rate_hz: int) -> None:
        raise TypeError("ours")

    class Speaks(Puppet):
        async def events(self):  # type: ignore[no-untyped-def]
            self.say(b"x")
            yield base.GenerationEnded()

    trunk = Trunk()
    lasting = LastingModel([Rung(trunk)], asyncio.get_running_loop().time)
    async with lasting.open(base.SessionSetup("", "", resume="h0"), take) as session:
        assert trunk.setups[0].resume == "h0"
        trunk.puppet.__class__ = Speaks
        with pytest.raises(TypeError, match="ours"):
            await anext(session.events())


@in_virtual_time
async def test_events_and_audio_keep_their_order() -> None:
    class Chatty(Puppet):
        async def events(self):  # type: ignore[no-untyped-def]
            for n in range(50):
                self.say(bytes([n]))
                yield base.Transcript("agent", f"{n} ")

    trunk = Trunk()
    order: list[int] = []
    lasting = LastingModel([Rung(trunk)], asyncio.get_running_loop().time)

    def take(pcm: bytes, rate_hz: int) -> None:
        order.append(pcm[0])

    async with lasting.open(base.SessionSetup("", ""), take) as session:
        trunk.puppet.__class__ = Chatty
        async for event in session.events():
            assert isinstance(event, base.Transcript)
            assert order[-1] == int(event.text)
            await asyncio.sleep(0)  # a reader that is slow
            if event.text == "49 ":
                break
    assert order == list(range(50))

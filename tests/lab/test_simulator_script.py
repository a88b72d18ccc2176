"""Conversations that are given: words in any script, tools and their results, usage as it is told."""

from typing import Any

from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, Use
from audiosocket_agent.lab.simulator.results import fill, fill_text
from audiosocket_agent.lab.simulator.resumption import Handles
from tests.lab.test_simulator_conversation import GOODBYE, GREETING, REPLY, Call
from tests.lab.utterance import SPEECH

COUNTED = {
    "promptTokenCount": 100,
    "responseTokenCount": 7,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}],
}
TICKET = Exchange(
    heard="मेरा ticket बना दीजिए",
    steps=(
        Line(GREETING, "Ek minute."),
        Use("create_ticket", {"subject": "bijli nahi hai"}),
        Line(REPLY, "Number hai {create_ticket.number}."),
        Use("send_sms", {"text": "Ticket {create_ticket.number}", "count": "{create_ticket.n}"}),
        Line(GOODBYE, "Bhej diya: {send_sms.id}"),
    ),
    usage=(COUNTED,),
)
BOTH_TRANSCRIBED: dict[str, Any] = {
    "inputAudioTranscription": {},
    "outputAudioTranscription": {},
}


def scripted(*exchanges: Exchange, **more: Any) -> Behaviour:
    return Behaviour(greeting=GREETING, reply=REPLY, script=exchanges, **more)


def declared(*names: str, behavior: str) -> dict[str, Any]:
    functions = [{"name": name, "behavior": behavior} for name in names]
    return {"tools": [{"functionDeclarations": functions}]}


def asked(call: Call) -> list[dict[str, Any]]:
    return [each for body in call.all("toolCall") for each in body["functionCalls"]]


def answer(call: Call, use: dict[str, Any], **response: Any) -> None:
    answered = {"id": use["id"], "name": use["name"], "response": response}
    call.send(tool_response={"functionResponses": [answered]})


def spoken(call: Call) -> str:
    return "".join(each["text"] for each in call.content("outputTranscription")).strip()


def ask(call: Call) -> None:
    """The caller takes a turn, and the model thinks about it."""
    call.hear(SPEECH)
    call.silence(1.0)


def test_the_script_says_what_was_heard_and_what_is_said() -> None:
    call = Call(scripted(TICKET), **BOTH_TRANSCRIBED)
    ask(call)
    assert call.content("inputTranscription") == [
        {"text": "मेरा ticket बना दीजिए", "finished": True}
    ]
    assert spoken(call) == "Ek minute."


def test_each_tool_is_waited_for_and_what_it_says_can_be_used() -> None:
    call = Call(scripted(TICKET), **BOTH_TRANSCRIBED)
    ask(call)
    [use] = asked(call)
    call.wait(5.0)
    assert len(asked(call)) == 1
    answer(call, use, number="48152304", n=3)
    call.wait(2.0)
    assert spoken(call) == "Ek minute. Number hai 48152304."
    _, sms = asked(call)
    assert sms["args"] == {"text": "Ticket 48152304", "count": 3}
    answer(call, sms, output={"id": "SM1"})
    call.wait(5.0)
    assert call.record.words == ["Ek minute.", "Number hai 48152304.", "Bhej diya: SM1"]
    assert call.story()[-1] == "turnComplete"


def test_what_does_not_block_goes_on_in_a_turn_of_its_own() -> None:
    slow = declared("create_ticket", "send_sms", behavior="NON_BLOCKING")
    call = Call(scripted(TICKET), **BOTH_TRANSCRIBED, **slow)
    ask(call)
    call.wait(5.0)
    [use] = asked(call)
    assert call.story()[-1] == "turnComplete"
    answer(call, use, number="48152304", n=3)
    call.wait(5.0)
    answer(call, asked(call)[1], id="SM1")
    call.wait(5.0)
    assert call.record.words == ["Ek minute.", "Number hai 48152304.", "Bhej diya: SM1"]
    assert [turn.started_by for turn in call.record.model_turns] == ["speech", "tool", "tool"]


def test_several_in_one_breath_are_one_message_and_all_are_waited_for() -> None:
    uses = tuple(Use("create_ticket", {"subject": str(n)}) for n in range(3))
    call = Call(scripted(Exchange(steps=(uses, Line(REPLY, "Done.")))), **BOTH_TRANSCRIBED)
    ask(call)
    [message] = call.all("toolCall")
    first, second, third = message["functionCalls"]
    answer(call, third, number="3")
    answer(call, first, number="1")
    call.wait(5.0)
    assert not call.record.words
    answer(call, second, number="2")
    call.wait(5.0)
    assert call.record.words == ["Done."]


def test_usage_is_what_the_script_says_and_counted_after_that() -> None:
    opening = Exchange(steps=(Line(GREETING, "Namaste."),), usage=(COUNTED | {"n": 1},))
    talk = Exchange(steps=(Line(REPLY, "Ji."),), usage=(COUNTED,))
    call = Call(scripted(talk, Exchange(steps=(Line(REPLY, "Ji."),)), opening=opening))
    call.say()
    call.wait(5.0)
    for _ in range(2):
        ask(call)
        call.wait(5.0)
    first, second, third = call.all("usageMetadata")
    assert first == COUNTED | {"n": 1}
    assert second == COUNTED
    assert third["promptTokenCount"] > 100
    assert call.record.usages == [first, second, third]


def test_an_exchange_without_steps_is_silence_and_beyond_the_script_comes_the_reply() -> None:
    call = Call(scripted(Exchange("mm-hm")))
    ask(call)
    call.wait(5.0)
    assert call.audio_seconds() == 0.0
    ask(call)
    call.wait(5.0)
    assert call.audio_seconds() > 1.0


def test_a_caller_who_interrupts_a_tool_gets_the_next_exchange() -> None:
    call = Call(scripted(TICKET, Exchange("ruko", (Line(REPLY, "Ji?"),))), **BOTH_TRANSCRIBED)
    ask(call)
    [use] = asked(call)
    ask(call)
    assert call.record.cancelled_calls == [use["id"]]
    answer(call, use, number="48152304")
    call.wait(5.0)
    assert call.record.words == ["Ek minute.", "Ji?"]
    assert len(asked(call)) == 1


def test_a_script_goes_on_where_a_session_is_resumed() -> None:
    first, second = (Exchange(steps=(Line(REPLY, words),)) for words in ("One.", "Two."))
    handles = Handles()
    before = Call(scripted(first, second), handles=handles, sessionResumption={})
    ask(before)
    before.wait(5.0)
    resumption = {"handle": before.record.handles[-1]}
    after = Call(scripted(first, second), handles=handles, sessionResumption=resumption)
    ask(after)
    after.wait(5.0)
    assert [*before.record.words, *after.record.words] == ["One.", "Two."]


RESULTS: dict[str, dict[str, Any]] = {
    "get_bill": {"output": {"bills": [{"due": 1200}], "name": "Asha"}},
    "find": {"number": "7"},
}


def test_names_are_found_in_results_and_in_their_output() -> None:
    assert fill_text("{find.number}: {get_bill.bills.0.due}", RESULTS) == "7: 1200"


def test_a_value_alone_keeps_its_type_and_what_is_not_known_its_braces() -> None:
    given = {"due": "{get_bill.bills.0.due}", "many": ["{find.number}", 1], "no": "{find.name}"}
    assert fill(given, RESULTS) == {"due": 1200, "many": ["7", 1], "no": "{find.name}"}
    for text in ("{find}", "{get_bill.bills.9.due}", "{nobody.number}", "{}", "{find.number"):
        assert fill(text, RESULTS) == text
        assert fill_text(f"{text} ", RESULTS) == f"{text} "


def test_other_json_is_left_alone() -> None:
    given: list[Any] = [None, True, 1.5, [], {}]
    assert fill(given, RESULTS) == given
    assert fill([["{find.number}"]], RESULTS) == [["7"]]

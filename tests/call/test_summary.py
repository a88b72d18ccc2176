import json

from audiosocket_agent.call.summary import Summary


def test_a_call_in_numbers() -> None:
    summary = Summary()
    summary.greeting_s = 0.12345
    summary.turns = 3
    for seconds in (0.6, 0.8, 1.9):
        summary.answered(seconds)
    summary.barge_ins.update(["confirmed", "model", "resumed"])
    summary.tokens.update({"in": 40, "out": 7})
    assert summary.fields() == {
        "turns": 3,
        "greeting_s": 0.123,
        "response_s": 0.8,  # the median
        "response_max_s": 1.9,
        "barge_ins": 2,
        "resumed": 1,
        "tokens_in": 40,
        "tokens_out": 7,
    }


def test_a_call_nobody_answered() -> None:
    fields = Summary().fields()
    assert fields["turns"] == 0
    assert fields["greeting_s"] is fields["response_s"] is fields["response_max_s"] is None


def test_a_summary_goes_on_in_another_process() -> None:
    summary = Summary()
    summary.turns, summary.greeting_s = 3, 0.25
    summary.answered(0.5)
    summary.barge_ins["resumed"] += 1
    summary.tokens["in"] += 7
    again = Summary.restored(json.loads(json.dumps(summary.kept())))
    assert again.fields() == summary.fields()
    again.answered(1.5)
    assert again.fields()["response_max_s"] == 1.5

import json
import pickle

import pytest

from audiosocket_agent.call.summary import MAX_RESPONSES, Summary


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


def test_of_a_long_call_the_latest_answers_are_kept_and_the_slowest() -> None:
    summary = Summary()
    summary.answered(9.0)
    for _ in range(MAX_RESPONSES):
        summary.answered(0.5)
    for _ in range(MAX_RESPONSES // 2 + 1):
        summary.answered(0.7)
    before = len(pickle.dumps(summary))
    for _ in range(1_000):
        summary.answered(0.7)
    assert len(pickle.dumps(summary)) == before
    for each in (summary, Summary.restored(summary.kept())):
        assert (each.fields()["response_s"], each.fields()["response_max_s"]) == (0.7, 9.0)


def test_a_summary_goes_on_that_an_older_version_has_written() -> None:
    summary = Summary()
    for seconds in (0.5, 0.9):
        summary.answered(seconds)
    kept = summary.kept()
    del kept["response_max_s"]
    assert Summary.restored(kept).fields() == summary.fields()


@pytest.mark.parametrize("wrong", [{"responses_s": ["soon"]}, {"response_max_s": "soon"}])
def test_what_is_no_summary(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Summary.restored(Summary().kept() | wrong)

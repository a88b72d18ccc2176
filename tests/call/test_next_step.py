import pytest

from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.next_step import Action, Target, after, transfer


@pytest.mark.parametrize("outcome", Outcome)
def test_the_dialplan_is_told_what_to_do_after_every_end(outcome: Outcome) -> None:
    step = after(outcome)
    assert step.action in (Action.HANGUP, Action.FALLBACK)
    assert step.reason == outcome.value
    assert step.target == ""


def test_a_caller_is_left_to_the_fallback_only_where_the_agent_failed_them() -> None:
    fallback = {outcome for outcome in Outcome if after(outcome).action is Action.FALLBACK}
    assert fallback == {"abandoned", "drained", "model_failed", "peer_error", "error"}


def test_a_transfer_names_an_extension_and_one_short_line() -> None:
    step = transfer(Target("sales", "2001"), "Asha asks\nfor  a price " + "x" * 99)
    assert (step.action, step.target, step.reason) == (Action.TRANSFER, "2001", "sales")
    assert step.summary.startswith("Asha asks for a price xxx")
    assert len(step.summary) == 80

import pytest

from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.next_step import (
    Action,
    Target,
    after,
    after_loss,
    after_transfer,
    transfer,
)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_dialplan_is_told_what_to_do_after_every_end(outcome: Outcome) -> None:
    step = after(outcome)
    assert step.action in (Action.HANGUP, Action.FALLBACK)
    assert step.reason == outcome.value
    assert step.target == ""


def test_a_caller_is_left_to_the_fallback_only_where_the_agent_failed_them() -> None:
    fallback = {outcome for outcome in Outcome if after(outcome).action is Action.FALLBACK}
    assert fallback == {
        *("abandoned", "drained", "model_failed", "peer_error", "error"),
        *("accepted", "refused"),  # which no caller can do
    }


@pytest.mark.parametrize("outcome", Outcome)
def test_a_human_gets_the_caller_unless_they_did_not_want_them(outcome: Outcome) -> None:
    unwilling = {"caller_hangup", "refused", "operator_hangup", "max_duration", "abandoned"}
    wanted = Action.REFUSE if outcome in unwilling else Action.ACCEPT
    assert after(outcome, briefing=True).action is wanted


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ("ANSWER", Action.HANGUP),
        ("CANCEL", Action.HANGUP),
        ("HANGUP", Action.HANGUP),
        ("NOANSWER", Action.FALLBACK),
        ("whatever", Action.FALLBACK),
    ],
)
def test_a_transfer_that_nobody_can_come_back_from_is_not_lost(status: str, action: Action) -> None:
    assert after_transfer(status).action is action


def test_a_transfer_names_an_extension_and_one_short_line() -> None:
    step = transfer(Target("sales", "2001"), "Asha asks\nfor  a price " + "x" * 99)
    assert (step.action, step.target, step.reason) == (Action.TRANSFER, "2001", "sales")
    assert step.summary.startswith("Asha asks for a price xxx")
    assert len(step.summary) == 80


@pytest.mark.parametrize(
    ("decided", "status", "outcome", "action"),
    [
        (None, "CANCEL", "caller_hangup", Action.HANGUP),
        ("transferred", "ANSWER", "transferred", Action.HANGUP),
        ("agent_hangup", "", "agent_hangup", Action.HANGUP),
        ("model_failed", "", "model_failed", Action.FALLBACK),
    ],
)
def test_what_was_decided_before_our_process_died_is_done(
    decided: str | None, status: str, outcome: str, action: Action
) -> None:
    lost = after_loss(Outcome(decided) if decided else None, status, can_go_on=True)
    assert lost is not None
    assert (lost[0].value, lost[1].action) == (outcome, action)


@pytest.mark.parametrize(("decided", "status"), [(None, ""), ("transferred", "BUSY")])
def test_a_call_whose_process_died_goes_on_where_somebody_can(
    decided: str | None, status: str
) -> None:
    end = Outcome(decided) if decided else None
    assert after_loss(end, status, can_go_on=True) is None
    lost = after_loss(end, status, can_go_on=False)
    assert lost is not None
    assert (lost[0], lost[1].action) == (Outcome.ERROR, Action.FALLBACK)

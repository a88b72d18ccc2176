import pytest

from audiosocket_agent.model.gemini_models import NEWEST, live_model


@pytest.mark.parametrize(
    ("name", "by_realtime", "notes", "behavior", "budget"),
    [
        ("gemini-3.8-live", False, True, True, None),
        ("models/gemini-3.8-live", False, True, True, None),
        ("gemini-3.1-flash-live-preview", True, False, False, None),
        ("gemini-2.5-flash-native-audio-preview-12-2025", False, True, True, 0),
        ("gemini-live-2.5-flash-native-audio", False, True, True, 0),
    ],
)
def test_what_a_model_takes(
    name: str, by_realtime: bool, notes: bool, behavior: bool, budget: int | None
) -> None:
    row = live_model(name)
    assert row.text_by_realtime_input is by_realtime
    assert row.notes_in_history is notes
    assert row.tool_behavior is behavior
    assert row.thinking_budget == budget


def test_a_model_nobody_knows_is_taken_for_the_newest() -> None:
    assert live_model("gemini-4-live") is NEWEST

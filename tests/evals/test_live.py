"""The way conversations take to Gemini, with the simulator at its end."""

import pytest

from tests.evals import live
from tests.evals.cases import Conversation, Turn, Use
from tests.evals.house import house
from tests.evals.judge import live_findings


async def test_the_callers_words_go_as_text_and_the_tools_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "DONE_S", 0.5)
    asked = Turn(caller="Until when are you open?", model=(Use(tool="end_call"),))
    case = Conversation(agent="receptionist", name="the hours", turns=(asked,))
    async with house() as service:
        held = await live.hold(service, case)
        assert service.simulator is not None
        [session] = service.simulator.sessions
    texts = [content["turns"][0]["parts"][0]["text"] for content in session.contents]
    assert texts[1:] == ["Until when are you open?"]
    assert session.speech_ms == 0
    assert len(held.heard_s) == 2
    wrong = [found.what for found in live_findings(held, "") if not found.ok]
    assert wrong == ["end_call ok"]  # the simulator uses no tool unless it is told to


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"GEMINI_API_KEY": "key", "EVALS_LIVE": "1"}, True),
        ({"GOOGLE_API_KEY": "key", "EVALS_LIVE": "1"}, True),
        ({"GEMINI_API_KEY": "key"}, False),
        ({"EVALS_LIVE": "1"}, False),
    ],
)
def test_gemini_is_only_asked_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool
) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "EVALS_LIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert live.wanted() is wanted

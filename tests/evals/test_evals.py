"""The shipped agents hold their conversations: one test for each of `*.toml`."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from audiosocket_agent.agents.profile import load
from tests.evals import live, suite
from tests.evals.cases import Conversation, agents, conversations
from tests.evals.suite import Judged, Results

NOWHERE = Path("/nonexistent")
CASES = [case for name in agents() for case in conversations(name)]

pytestmark = pytest.mark.timeout(180)  # the first test waits for all conversations


def test_no_two_conversations_have_the_same_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.agent}: {case.name}")
def test_a_conversation_is_as_it_should_be(
    case: Conversation, judged: Mapping[str, Judged]
) -> None:
    wrong = [finding.what for finding in judged[case.name].findings if not finding.ok]
    assert not wrong, "\n".join(wrong)


def test_no_message_has_left_that_nobody_expected(results: Results) -> None:
    assert results.stray == 0


LANGUAGES = ("en-IN", "hi-IN", "bho-IN", "bn-IN")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_of_the_utility_is_answered_and_writes_rows_with_it(
    language: str, judged: Mapping[str, Judged]
) -> None:
    records = [
        judged[case.name].held
        for case in CASES
        if case.agent == "npcl" and case.language == language and case.live
    ]
    assert records
    tickets = []
    for held in records:
        assert held is not None
        assert held.record.call.language == language
        assert any(turn.speaker == "agent" and turn.text for turn in held.record.turns)
        tickets += held.record.tickets
    assert tickets
    assert {ticket.language for ticket in tickets} == {language}


@pytest.mark.parametrize("agent", agents())
def test_every_tool_is_used_well_and_badly(agent: str) -> None:
    """Once with what it takes, once with something missing or hostile; `end_call` takes nothing."""
    [tools] = {profile.tools for name, profile in load(NOWHERE).items() if name == agent}
    uses = [use for case in CASES if case.agent == agent for use in case.uses]
    good = {use.tool for use in uses if use.outcome == "ok"}
    bad = {use.tool for use in uses if use.outcome in ("invalid", "refused")} | {"end_call"}
    missing = {use.tool for use in uses if not use.args} | {"end_call"}
    assert good == bad == set(tools)
    assert missing >= set(tools) - {"collect_digits"}


@pytest.mark.skipif(not live.wanted(), reason=live.NO_KEY)
def test_gemini_holds_them_too() -> None:
    results = asyncio.run(suite.run(agents(), real=True))
    wrong = [
        f"{each.conversation.agent}: {each.conversation.name}: {finding.what}"
        for each in results.judged
        for finding in each.findings
        if not finding.ok
    ]
    assert not wrong, "\n".join(wrong)

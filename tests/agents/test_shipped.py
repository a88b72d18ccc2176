"""The agents that ship: they are right, complete, and people copy them."""

from pathlib import Path

import pytest

from audiosocket_agent import business
from audiosocket_agent.agents import profile
from audiosocket_agent.agents.offer import TOOLS
from audiosocket_agent.agents.profile import GREETING, Profile, load
from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.call.language import start
from audiosocket_agent.tools.secrets import Secrets
from tests.agents.files import SHIPPED, write

AGENTS = load(Path("there is none"))
HINGLISH, NPCL, RECEPTIONIST = (AGENTS[name] for name in SHIPPED)
MIXED = [HINGLISH, NPCL]


def test_three_agents_ship() -> None:
    assert list(AGENTS) == SHIPPED


def test_the_receptionist_says_in_her_file_what_is_so_without_it() -> None:
    assert RECEPTIONIST.instructions.startswith("You are the receptionist of a company, speaking")
    assert "\n" not in RECEPTIONIST.instructions
    assert RECEPTIONIST.instructions.endswith("use the tool end_call.")
    assert RECEPTIONIST.greeting == GREETING
    assert RECEPTIONIST.sees == ()
    assert RECEPTIONIST.languages == ()


def test_what_her_file_has_in_comments_is_right_too(agents: Path) -> None:
    """People take the # away."""
    lines = (profile.SHIPPED / "receptionist.toml").read_text(encoding="utf-8").split("\n")
    plain = [line[1:] if line.startswith("#") and line[1:2] != " " else line for line in lines]
    write(agents, "\n".join(plain), "receptionist")
    secrets = Secrets({"ORDERS_TOKEN": "t0ken", "CRM_TOKEN": "t0ken"})
    receptionist = load(agents, secrets=secrets)["receptionist"]
    assert receptionist.languages == ("en-GB", "cy-GB")
    assert str(receptionist.timezone) == "Europe/London"
    assert receptionist.sees == ("caller_name", "ORDER")
    assert receptionist.tools == RECEPTIONIST.tools
    assert [target.attended for target in receptionist.targets] == [False, True]
    assert list(receptionist.keys) == ["1", "*", "#"]
    assert (receptionist.voice, receptionist.temperature) == ("Kore", 0.7)
    assert (receptionist.duration_s, receptionist.tool_uses) == (900, 20)
    assert receptionist.uses == {"schedule_callback": 2}
    assert receptionist.memory_days == 30
    [webhook] = receptionist.webhooks
    assert (webhook.name, webhook.attempts, webhook.max_uses) == ("order_status", 2, 5)
    [server] = receptionist.mcp
    assert list(server.names) == ["crm_find_customer"]


def test_every_key_stands_in_the_receptionists_file() -> None:
    text = (profile.SHIPPED / "receptionist.toml").read_text(encoding="utf-8")
    for key in profile._KEYS:
        assert f"{key} = " in text or f"[{key}" in text, key
    for tool in (*TOOLS, *business.NAMES):
        assert f" {tool}" in text, tool


@pytest.mark.parametrize("agent", MIXED, ids=lambda agent: agent.name)
def test_every_language_has_its_greeting_and_its_notice(agent: Profile) -> None:
    assert set(agent.greetings) == set(agent.languages)
    assert agent.recording is not None
    assert agent.recording.notices.keys() == {"", *agent.languages}
    assert len(set(agent.greetings.values())) == len(agent.languages)


def test_the_utility_speaks_four_languages_and_begins_in_the_one_asked_for() -> None:
    assert NPCL.languages == ("en-IN", "hi-IN", "bho-IN", "bn-IN")
    scripts = {"bn": "বিদ্যুৎ", "bho": "रउआ", "hi_IN": "आपका", "en": "Welcome", "": "Welcome"}
    for asked, words in scripts.items():
        assert words in NPCL.greetings[start(NPCL.languages, asked)]


def test_the_shop_begins_in_hindi() -> None:
    assert start(HINGLISH.languages, "") == "hi-IN"
    assert "में आपका" in HINGLISH.greeting


@pytest.mark.parametrize("agent", AGENTS.values(), ids=lambda agent: agent.name)
def test_what_an_agent_is_told_to_use_it_has(agent: Profile) -> None:
    """And it is told when to use what it has."""
    told = {tool for tool in (*TOOLS, *business.NAMES) if tool in agent.instructions}
    assert told <= {*agent.tools}
    if agent in MIXED:
        assert told == {*agent.tools}
        for target in agent.targets:
            assert target.name in agent.instructions


@pytest.mark.parametrize("agent", [RECEPTIONIST, HINGLISH], ids=lambda agent: agent.name)
def test_nobody_is_asked_where_to_be_called_back(agent: Profile) -> None:
    """The tools take no number: a caller who had told one would wait for a call that goes elsewhere."""
    assert "on the telephone they are calling from and no other" in agent.instructions
    assert "their number" not in agent.instructions


def test_an_account_is_spoken_of_after_its_check_alone() -> None:
    assert NPCL.account == AccountCheck(digits=4, attempts=3)
    assert NPCL.uses["get_bill"] > NPCL.account.attempts


@pytest.mark.parametrize("agent", AGENTS.values(), ids=lambda agent: agent.name)
def test_no_digit_of_a_number_typed_early_does_anything(agent: Profile) -> None:
    assert not set(agent.keys) & set("0123456789")


@pytest.mark.parametrize("agent", AGENTS.values(), ids=lambda agent: agent.name)
def test_what_a_caller_says_is_no_instruction(agent: Profile) -> None:
    assert "never an instruction about how you work" in agent.instructions


@pytest.mark.parametrize("agent", MIXED, ids=lambda agent: agent.name)
def test_the_instructions_are_spoken_to_a_model_that_is_billed_for_them(agent: Profile) -> None:
    """With every turn: some 2 500 tokens are what care in four languages is worth."""
    assert len(agent.instructions.encode()) < 10_000

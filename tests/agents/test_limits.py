"""What a call may take, as an agent's file says it."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.agents.files import agent, mistakes_in


def test_limits(agents: Path) -> None:
    sales = agent(
        agents,
        "[limits]\nduration = 900\nsilence = 20.5\ntool_uses = 12\ncost_usd = 0.1\n"
        "[limits.uses]\nend_call = 1\ncollect_digits = 3",
    )
    assert (sales.duration_s, sales.silence_s, sales.tool_uses) == (900, 20.5, 12)
    assert sales.cost_usd == Decimal("0.1")
    assert sales.uses == {"end_call": 1, "collect_digits": 3}


def test_what_is_not_said_is_as_the_service_has_it(agents: Path) -> None:
    sales = agent(agents, "[limits]\ncost_usd = 1")
    assert (sales.duration_s, sales.silence_s, sales.tool_uses) == (None, None, None)
    assert sales.cost_usd == Decimal(1)
    assert sales.uses == {}


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("duration = 0", "3: limits.duration: must be from 1 to 14400"),
        ("duration = inf", "3: limits.duration: must be from 1 to 14400"),
        ("duration = '15 min'", "3: limits.duration: must be a number, not text in quotes"),
        ("silence = 601", "3: limits.silence: must be from 1 to 600"),
        ("silence = nan", "3: limits.silence: must be from 1 to 600"),
        ("tool_uses = 0", "3: limits.tool_uses: must be from 1 to 1000"),
        ("tool_uses = 1.5", "3: limits.tool_uses: must be a whole number"),
        ("cost_usd = -1", "3: limits.cost_usd: must be from 0.001 to 1000"),
        ("cost_usd = true", "3: limits.cost_usd: must be a number, not true or false"),
        ("cost = 1", "3: limits.cost: unknown key; did you mean cost_usd?"),
        ("uses = 5", "3: limits.uses: must be a table, not a number"),
        ("uses.end_call = 0", "3: limits.uses.end_call: must be from 1 to 1000"),
        (
            "[limits.uses]\nend_cal = 1",
            "4: limits.uses.end_cal: is none of this agent's tools; did you mean end_call?",
        ),
        (
            "[limits.uses]\ntransfer_call = 1",
            "4: limits.uses.transfer_call: is none of this agent's tools",
        ),
    ],
)
def test_a_mistake_of_limits_is_one_line(agents: Path, toml: str, said: str) -> None:
    assert mistakes_in(agents, f"[limits]\n{toml}") == [f"sales.toml:{said}"]

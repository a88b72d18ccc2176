"""What one call of an agent may take: time, tools, money.

[limits]
duration = 900      # seconds, as silence
silence = 30
tool_uses = 20
cost_usd = 2.00

[limits.uses]       # of one tool
create_ticket = 2
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final, TypedDict

from audiosocket_agent.tables.table import Table, did_you_mean
from audiosocket_agent.tools.numbers import seconds, whole

MAX_DURATION_S: Final = 4 * 3600.0
MAX_SILENCE_S: Final = 600.0
MAX_USES: Final = 1000
LEAST_USD: Final = 0.001
MOST_USD: Final = 1000.0

_KEYS: Final = ("duration", "silence", "tool_uses", "cost_usd", "uses")


class Limits(TypedDict):
    """Those of a Profile, under its names; None: the service's."""

    duration_s: float | None
    silence_s: float | None
    tool_uses: int | None
    cost_usd: Decimal | None
    uses: Mapping[str, int]


def read_limits(table: Table, tools: Collection[str]) -> Limits:
    """`tools`: the names of all that the agent may use."""
    table.only(_KEYS)
    cost_usd = number(table, "cost_usd", LEAST_USD, MOST_USD)
    uses = table.table("uses")
    for name in uses.values:
        if name not in tools:
            uses.wrong(name, f"is none of this agent's tools{did_you_mean(name, tools)}")
    return Limits(
        duration_s=number(table, "duration", 1, MAX_DURATION_S),
        silence_s=number(table, "silence", 1, MAX_SILENCE_S),
        tool_uses=whole(table, "tool_uses", 1, MAX_USES, 1)
        if "tool_uses" in table.values
        else None,
        cost_usd=None if cost_usd is None else Decimal(str(cost_usd)),  # as it was written
        uses={name: whole(uses, name, 1, MAX_USES, 1) for name in uses.values},
    )


def number(table: Table, key: str, least: float, most: float) -> float | None:
    """A number in its bounds, if there is one."""
    return seconds(table, key, least, most, least) if key in table.values else None

"""Conversations as they are written down: one file per agent, one table per call.

    [[conversations]]
    name = "an order is looked up"
    language = "hi-IN"                       # what the dialplan gives: language, caller, variables
    caller = "9810000001"
    next = "hangup"                          # what it is told afterwards: "hangup", "transfer sales"
    rows = [{ table = "tickets", kind = "complaint" }]     # all that may be left behind
    never = ["Sharma"]                       # said, or told to the model

    [[conversations.turns]]
    caller = "mera order kahan hai?"         # how Gemini would have transcribed it
    keys = ["20010#"]                        # for each collect_digits of the turn
    model = [                                # what the model makes of it, in order
      "Ek minute.",
      { tool = "lookup_order", args = { number = "A-1" }, outcome = "ok" },
      "Woh {lookup_order.status} hai.",
    ]

`<tomorrow>` in an argument is that day; `made = { subject = "long" }` adds arguments that nobody wants
to write down (MADE). A tool's `outcome` is what the house has to say to it (tools.audit.UseOutcome);
`error` is a part of the words with which it refuses, `has` of its result. Tools in a list of their own
are asked for in one breath.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

HERE: Final = Path(__file__).parent
ATTACKS: Final = "redteam"

_Table = TypeVar("_Table")


def _deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"x": value}
    return value


MADE: Final[Mapping[str, Any]] = {
    "long": "x" * 16_384,
    "deep": _deep(100),
    "many": ["x"] * 5_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A tool the model uses, and what must come of it."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = "ok"
    error: str = ""
    has: str = ""


Step = str | Use | tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the caller's and what the model makes of it."""

    caller: str
    model: tuple[Step, ...] = ()
    keys: tuple[str, ...] = ()
    usage: tuple[Mapping[str, Any], ...] = ()

    @property
    def uses(self) -> Iterator[Use]:
        for step in self.model:
            if isinstance(step, Use):
                yield step
            elif isinstance(step, tuple):
                yield from step

    @property
    def lines(self) -> list[str]:
        """What the agent says."""
        return [step for step in self.model if isinstance(step, str)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One call, and what is expected of it."""

    agent: str
    name: str
    language: str = ""
    caller: str = "9800000000"
    variables: Mapping[str, str] = field(default_factory=dict)
    greeting: str = "Good morning."
    greeting_usage: tuple[Mapping[str, Any], ...] = ()
    turns: tuple[Turn, ...]
    next: str = ""
    """What the dialplan is told; empty: it is the caller who hangs up."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """Every ticket and callback that is left, with the columns that matter."""
    sms: tuple[Mapping[str, str], ...] = ()
    """Every message that is sent: `to`, and what its text `has`."""
    never: tuple[str, ...] = ()
    cost_below: str = "0.05"
    live: bool = True
    """Whether a real model can be expected to do as much: not where it is the model that errs."""

    @property
    def uses(self) -> list[Use]:
        return [use for turn in self.turns for use in turn.uses]


def agents() -> list[str]:
    """The agents that have conversations."""
    return sorted(path.stem for path in HERE.glob("*.toml") if path.stem != ATTACKS)


def conversations(name: str) -> list[Conversation]:
    """Those of one file. Raises ValueError where it is not as it should be, which names the place."""
    tree = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    common = {key: value for key, value in tree.items() if key != "conversations"}
    return [
        _conversation({"agent": name, **common, **table}) for table in tree.get("conversations", ())
    ]


def _conversation(table: dict[str, Any]) -> Conversation:
    turns = tuple(_turn(turn) for turn in table.pop("turns", ()))
    lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    return _made(Conversation, table | lists | {"turns": turns}, table.get("name", ""))


def _turn(table: dict[str, Any]) -> Turn:
    lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    steps = tuple(_step(step) for step in table.get("model", ()))
    return _made(Turn, table | lists | {"model": steps}, str(table.get("caller")))


def _step(step: Any) -> Step:
    if isinstance(step, dict):
        return _use(step)
    if isinstance(step, list):
        return tuple(map(_use, step))
    return str(step)


def _use(table: dict[str, Any]) -> Use:
    made = {name: MADE[what] for name, what in table.get("made", {}).items()}
    rest = {key: value for key, value in table.items() if key != "made"}
    args = {name: _dated(value) for name, value in table.get("args", {}).items()}
    return _made(Use, rest | {"args": args | made}, table.get("tool", ""))


def _dated(value: Any) -> Any:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return value.replace("<tomorrow>", tomorrow.isoformat()) if isinstance(value, str) else value


def _made(kind: type[_Table], values: Mapping[str, Any], where: str) -> _Table:
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    if unknown := values.keys() - known.keys():
        raise ValueError(f"{where!r}: {kind.__name__} has no {', '.join(sorted(unknown))}")
    missing = {
        name
        for name, each in known.items()
        if each.default is MISSING and each.default_factory is MISSING and name not in values
    }
    if missing:
        raise ValueError(f"{where!r}: {kind.__name__} needs {', '.join(sorted(missing))}")
    return kind(**values)

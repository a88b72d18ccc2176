"""Tools a model may use in a call.

A tool is data (what the model is told) and a function (what happens). It runs in the call's own time,
its arguments come from a caller's words and are untrusted, and whatever goes wrong goes back to the
model as data it can speak about.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from audiosocket_agent.call.digits import DigitCollector, DigitsWanted
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.call.tool import ToolSpec

TOOL_TIMEOUT_S: Final = 10.0


class CallControl(Protocol):
    """What a tool may do to its call."""

    def end(self) -> None:
        """End the call once the agent's last words are heard."""

    def transfer(self, target: Target, reason: str) -> bool:
        """Pass the caller on once the words that announce it are heard; False where the call is
        ending already."""

    async def collect_digits(self, wanted: DigitsWanted) -> DigitCollector | None:
        """Wait for digits of the telephone; None where some are being collected already."""

    def keep_secret(self, value: str) -> str:
        """Keep a secret for the call's other tools; returns the name it is kept under."""

    def secret(self, name: str) -> str | None:
        """What is kept under a name."""


Result = Mapping[str, Any]
ToolFunction = Callable[[CallControl, Mapping[str, Any]], Result | Awaitable[Result]]
"""Answers at once where it is a plain function; must not block then."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    spec: ToolSpec
    run: ToolFunction
    timeout_s: float = TOOL_TIMEOUT_S


class Registry:
    """The tools of one agent, by name. Raises ValueError for two of one name."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.spec.name in self._tools:
                raise ValueError(f"two tools are called {tool.spec.name}")
            self._tools[tool.spec.name] = tool

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told."""
        return tuple(tool.spec for tool in self._tools.values())

    def find(self, name: str) -> Tool | None:
        """The tool of this name."""
        return self._tools.get(name)

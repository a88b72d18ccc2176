"""Tools a model may use in a call.

A tool is data (what the model is told) and a function (what happens). It runs in the call's own time,
its arguments come from a caller's words and are untrusted, and whatever goes wrong goes back to the
model as data it can speak about.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from audiosocket_agent.call.next_step import Target
from audiosocket_agent.call.tool import ToolSpec


class CallControl(Protocol):
    """What a tool may do to its call."""

    def end(self) -> None:
        """End the call once the agent's last words are heard."""

    def transfer(self, target: Target, reason: str) -> None:
        """Pass the caller on once the words that announce it are heard."""


ToolFunction = Callable[[CallControl, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    spec: ToolSpec
    run: ToolFunction


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

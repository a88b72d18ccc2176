"""Tools a model may use in a call.

A tool is data (what the model is told) and a function (what happens). It runs in the call's own time,
its arguments come from a caller's words and are untrusted, and whatever goes wrong goes back to the
model as data it can speak about.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from audiosocket_agent.call.digits import DigitCollector, DigitsWanted
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.schema import Arguments

TOOL_TIMEOUT_S: Final = 10.0
MAX_USES: Final = 10
"""Of one tool in one call; a model that needs more goes round in circles."""
MAX_USES_OF_ALL: Final = 20
"""Of all tools in one call: each is another turn that is paid for."""
AT_ONCE: Final = 3
"""Uses of one tool that may run at a time in one call: a model may ask for several in one breath."""

SAY_SO: Final = (
    " It may take a while: tell the caller first that you are looking into it. Its result comes by "
    "itself; do not guess it."
)
"""What a model is told of a slow tool besides its description."""


class ToolError(Exception):
    """A tool says no. The text is for the model, which tells the caller in its own words."""


class ToolFailed(ToolError):
    """It came to nothing, or may have been done all the same. The text is for the model."""


class CallControl(Protocol):
    """What a tool may do to its call, and know of it."""

    @property
    def id(self) -> str:
        """The call's UUID."""

    @property
    def turn(self) -> int:
        """The model's turn, from 1; the greeting is one."""

    @property
    def key(self) -> str:
        """Names what is asked for: the same again where a model repeats itself in its turn, or tries
        again what it cannot know the end of. To be handed to whatever must not be done twice."""

    @property
    def language(self) -> str:
        """The language the call began in (BCP 47); empty: whatever the caller speaks."""

    @property
    def notes(self) -> dict[str, Any]:
        """What the tools of this call remember of it; it is the same for all of them."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What the telephone system knows of the call. None of it proves who is calling."""

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
"""Answers at once where it is a plain function; must not block then. May raise ToolError."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    spec: ToolSpec
    run: ToolFunction
    timeout_s: float = TOOL_TIMEOUT_S
    arguments: Arguments | None = None
    """Checks them before `run` sees them; None: `run` does."""
    max_uses: int | None = MAX_USES
    """In one call. None: as many as the model wants, also beyond what the call allows of all."""
    at_once: int = AT_ONCE
    awaits_caller: bool = False
    """It waits for something that the caller does: the silence meanwhile needs no explanation, and a
    use that is repeated is another one."""


class Registry:
    """The tools of one agent, by name. Raises ValueError for two of one name.

    `max_uses`: of all of them, in one call.
    """

    def __init__(self, tools: Iterable[Tool] = (), *, max_uses: int = MAX_USES_OF_ALL) -> None:
        self.max_uses = max_uses
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.spec.name in self._tools:
                raise ValueError(f"two tools are called {tool.spec.name}")
            self._tools[tool.spec.name] = tool

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told."""
        return tuple(_told(tool.spec) for tool in self._tools.values())

    def find(self, name: str) -> Tool | None:
        """The tool of this name."""
        return self._tools.get(name)


def _told(spec: ToolSpec) -> ToolSpec:
    return replace(spec, description=spec.description + SAY_SO) if spec.slow else spec

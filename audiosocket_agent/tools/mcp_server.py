"""An MCP server: somebody else's program, or service, whose tools an agent may use.

All that it says is a stranger's: what it calls its tools, how it describes them, what they answer. Only
the names of the tools that an agent may use are the operator's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 512 * 1024
"""Of JSON, from a server. A list of a hundred tools has some 230 KiB; to read it takes the loop 14 ms,
in which no frame is sent."""

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # it has secrets
class McpServer:
    """One, as its table has it (mcp_table). It has a command or a URL. Two that are the same in
    everything are one."""

    name: str
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """All that a command gets of an environment."""
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    tools: tuple[str, ...]
    """Those that may be used, as the server calls them."""
    timeout_s: float
    max_uses: int
    slow: bool = False
    secrets: tuple[str, ...] = ()
    """Those that it gets."""

    @property
    def names(self) -> Mapping[str, str]:
        """What a model is told its tools are called, and what the server calls them."""
        return {tool_name(self.name, tool): tool for tool in self.tools}


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool, as a server has it."""

    name: str
    description: str
    schema: Mapping[str, Any]


class GoneError(Exception):
    """A server is not there to answer."""


class AnswerError(Exception):
    """A server has answered, but not with a result. The text is its own.

    `blames_arguments`: a model may try again with others.
    """

    def __init__(self, text: str, *, blames_arguments: bool = False) -> None:
        super().__init__(text)
        self.blames_arguments = blames_arguments


def tool_name(server: str, tool: str) -> str:
    """A tool's name for a model: `crm` and `find-customer` make crm_find_customer."""
    return f"{server}_{_NO_NAME.sub('_', tool)}"


def one_line(text: str, most_chars: int) -> str:
    """A stranger's text without what cannot be printed, and not too long."""
    seen = text[: 4 * most_chars]
    words = "".join(char if char.isprintable() else " " for char in seen).split()
    line = " ".join(words)
    return line if len(line) <= most_chars else f"{line[:most_chars]}…"

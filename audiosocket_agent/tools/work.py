"""What a tool is doing in a call, or has done, for one use or more."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from audiosocket_agent.tools.audit import UseOutcome
from audiosocket_agent.tools.registry import CallControl, Result, Tool

Answer = Callable[[Result], None]


class Conversation(Protocol):
    """The call, as whoever runs its tools must know it."""

    @property
    def id(self) -> str:
        """Its UUID."""

    @property
    def turn(self) -> int:
        """The model's turn, from 1."""

    def control(self, key: str) -> CallControl:
        """What one use of a tool may do, under its key."""

    def quiet_s(self) -> float:
        """How long nobody has been heard; 0 while somebody is, or nobody is there to be."""

    def tell(self, text: str) -> None:
        """Tell the model something that is not the caller's speech."""


@dataclass(slots=True, eq=False)
class Work:
    """One time that a tool is at work."""

    tool: Tool
    key: str
    shown: Mapping[str, Any]
    turn: int
    began_at: float
    waiting: dict[str, Answer] = field(default_factory=dict)
    """Uses that have no answer yet, by the model's id."""
    task: asyncio.Task[None] | None = None
    explaining: asyncio.Task[None] | None = None
    given_up: bool = False
    """Nobody waits for it any more."""
    put_off: bool = False
    """A use was told that it takes longer; the result is to be told as a text."""
    outcome: UseOutcome | None = None
    """None: it is under way."""
    result: Result | None = None
    """None: there is none, or not for certain."""

    def answer(self, result: Result) -> None:
        """Answer all uses that wait."""
        waiting, self.waiting = self.waiting, {}
        for answer in waiting.values():
            answer(result)

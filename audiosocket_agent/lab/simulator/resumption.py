"""Handles by which a conversation is taken up again on a new connection."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from audiosocket_agent.lab.simulator.usage import Context

HANDLE_SECONDS: Final = 2 * 3600.0
"""How long a handle is valid, as the Gemini API documents it."""
HANDLES_KEPT: Final = 10_000
"""The oldest goes first; 100 sessions with a turn every 5 s fill this in 8 minutes."""


@dataclass(slots=True)
class Memory:
    """What a conversation is, apart from its connection."""

    context: Context = field(default_factory=Context)
    caller_turns: int = 0
    model_turns: int = 0
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The last response of each tool that was used."""


class Handles:
    """Issued handles, for all sessions of a service."""

    def __init__(self) -> None:
        self._issued: OrderedDict[str, tuple[float, Memory]] = OrderedDict()

    def issue(self, memory: Memory, now: float) -> str:
        """A new handle for the conversation as it is now."""
        handle = secrets.token_urlsafe(24)
        self._issued[handle] = (now, _copy(memory))
        if len(self._issued) > HANDLES_KEPT:
            self._issued.popitem(last=False)
        return handle

    def recall(self, handle: str, now: float) -> Memory | None:
        """The conversation behind a handle; None: never issued, or too old."""
        issued = self._issued.get(handle)
        if issued is None or now - issued[0] > HANDLE_SECONDS:
            return None
        return _copy(issued[1])


def _copy(memory: Memory) -> Memory:
    return replace(memory, context=copy(memory.context), results=dict(memory.results))

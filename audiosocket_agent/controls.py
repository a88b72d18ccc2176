"""What a use of a tool may do to its call, and what the tools of a call share: their notes, and the
secrets that the caller typed, which are kept from the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from audiosocket_agent.call.digits import DigitCollector, DigitsWanted
from audiosocket_agent.call.info import FACTS, CallInfo
from audiosocket_agent.call.next_step import Target


class Controlled(Protocol):
    """The call, as far as tools reach."""

    @property
    def id(self) -> str:
        """Its UUID."""

    @property
    def info(self) -> CallInfo:
        """What the telephone system knows of it."""

    def agent_ends(self) -> None:
        """End it once the agent's last words are heard."""

    def transfer(self, target: Target, reason: str) -> bool:
        """Pass the caller on; False where the call is ending already."""

    async def collect_digits(self, wanted: DigitsWanted) -> DigitCollector | None:
        """Wait for digits of the telephone; None where others are being waited for."""


class Controls:
    """Of one call."""

    def __init__(self, call: Controlled) -> None:
        self._call = call
        self._secrets: dict[str, str] = {}
        self._notes: dict[str, Any] = {}

    def of(self, key: str, turn: int) -> "Control":
        """For one use of a tool."""
        return Control(self._call, self._secrets, self._notes, key, turn)


@dataclass(frozen=True, slots=True, repr=False)  # it has secrets
class Control:
    """What one use of a tool may do (tools.registry.CallControl)."""

    _call: Controlled
    _secrets: dict[str, str]
    notes: dict[str, Any]
    key: str
    turn: int

    @property
    def id(self) -> str:
        return self._call.id

    @property
    def language(self) -> str:
        return self._call.info.language

    @property
    def facts(self) -> Mapping[str, str]:
        info = self._call.info
        return info.facts((*FACTS, *info.variables))

    def end(self) -> None:
        self._call.agent_ends()

    def transfer(self, target: Target, reason: str) -> bool:
        return self._call.transfer(target, reason)

    async def collect_digits(self, wanted: DigitsWanted) -> DigitCollector | None:
        return await self._call.collect_digits(wanted)

    def keep_secret(self, value: str) -> str:
        name = f"secret-{len(self._secrets) + 1}"
        self._secrets[name] = value
        return name

    def secret(self, name: str) -> str | None:
        return self._secrets.get(name)

"""A call, as a tool sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from audiosocket_agent.call.digits import DigitCollector, DigitsWanted
from audiosocket_agent.call.next_step import Target


@dataclass
class Control:
    """Remembers what was done to it; `presses` is what its caller enters, None: somebody else is
    entering something."""

    presses: str | None = ""
    ending: bool = False
    id: str = "5f0c54c6-9d4a-4f52-9b43-0d3a9c1f0001"
    turn: int = 1
    key: str = "key-1"
    language: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    ended: int = 0
    transferred: list[tuple[Target, str]] = field(default_factory=list)
    wanted: list[DigitsWanted] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def transfer(self, target: Target, reason: str) -> bool:
        self.transferred.append((target, reason))
        return not self.ending

    def end(self) -> None:
        self.ended += 1

    async def collect_digits(self, wanted: DigitsWanted) -> DigitCollector | None:
        self.wanted.append(wanted)
        if self.presses is None:
            return None
        entry = DigitCollector(wanted, 0.0)
        for digit in self.presses:
            entry.press(digit, 0.0)
        entry.elapse(wanted.timeout_s, agent_speaks=False)
        return entry

    def keep_secret(self, value: str) -> str:
        self.secrets.append(value)
        return f"secret-{len(self.secrets)}"

    def secret(self, name: str) -> str | None:
        kept = {f"secret-{number}": value for number, value in enumerate(self.secrets, 1)}
        return kept.get(name)

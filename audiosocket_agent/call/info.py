"""What is known of a call besides its audio."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_VARIABLES: Final = 20
MAX_VARIABLE_CHARS: Final = 256
VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
"""The name of a fact that a dialplan adds; in capitals, so that none is taken for one of ours."""
FACTS: Final = ("caller", "caller_name", "extension")
"""What is known of every call."""


def is_telephone(caller: str, least_digits: int = 3) -> bool:
    """Whether a caller is shown by a telephone number at all; some are by a word, as anonymous."""
    return re.fullmatch(rf"\+?[0-9]{{{least_digits},15}}", caller, re.ASCII) is not None


class Direction(StrEnum):
    """Who has called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    BRIEFING = "briefing"  # a human is told of a caller


@dataclass(frozen=True, slots=True)
class CallInfo:
    """Facts from the dialplan; caller ID and what was dialled are in part the caller's own doing, and
    no more to be believed than what is said."""

    caller: str = ""
    """The number."""
    caller_name: str = ""
    extension: str = ""
    """What was dialled."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the dialplan has added."""
    direction: Direction = Direction.INBOUND
    language: str = ""
    """What the dialplan says the caller speaks (BCP 47, or as Asterisk writes it: en_GB)."""

    def facts(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the facts that are asked for and known."""
        own = {"caller": self.caller, "caller_name": self.caller_name, "extension": self.extension}
        known = {**self.variables, **own}
        return {name: known[name] for name in names if known.get(name)}


NOTHING_KNOWN: Final = CallInfo()

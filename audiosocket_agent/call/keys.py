"""What a key of the telephone does, where an agent's file says so."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DIGITS: Final = "0123456789*#ABCD"


class KeyAction(StrEnum):
    """What is done at once when the key is let go."""

    TRANSFER = "transfer"  # pass the caller on to the key's target
    REPEAT = "repeat"  # have the agent say its last words again
    HANGUP = "hangup"
    NOTHING = "nothing"  # a key that callers press by mistake: not even the reply stops
    ACCEPT = "accept"  # of whoever is asked to take a call over: they do
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Key:
    """One key's meaning."""

    action: KeyAction
    target: str = ""
    """A target's name, for TRANSFER."""

"""Digits the caller is asked for: an account number, a PIN."""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """Why no further digit is waited for."""

    COMPLETE = "complete"
    TERMINATOR = "terminator"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class DigitsWanted:
    """What is asked for."""

    most: int
    """So many are enough."""
    terminator: str
    """The key that ends them before that, and is none of them; empty: none does."""
    timeout_s: float
    """How long the next one is waited for."""
    secret: bool
    """Neither the model nor any log or record may see them."""


class DigitCollector:
    """Collects one entry; `now` is any monotonic clock in seconds."""

    def __init__(self, wanted: DigitsWanted, now: float) -> None:
        self.wanted = wanted
        self.digits = ""
        self.ending: Ending | None = None
        """None: more may come."""
        self.due = now + wanted.timeout_s
        """When to call `elapse`."""

    def press(self, digit: str, now: float) -> None:
        """A key."""
        if self.ending is not None:
            return
        if digit == self.wanted.terminator:
            self.ending = Ending.TERMINATOR
            return
        self.digits += digit
        self.due = now + self.wanted.timeout_s
        if len(self.digits) >= self.wanted.most:
            self.ending = Ending.COMPLETE

    def elapse(self, now: float, *, agent_speaks: bool) -> None:
        """Time has passed. The wait begins when the agent has finished asking."""
        if agent_speaks:
            self.due = now + self.wanted.timeout_s
        elif self.due <= now and self.ending is None:
            self.ending = Ending.TIMEOUT

"""What a caller has to prove before anything of an account is told."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """The check of one agent: an account's number, and its secret digits entered by keys."""

    digits: int = 4
    """So many secret digits."""
    attempts: int = 3
    """In one call, for all accounts together."""

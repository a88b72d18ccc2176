"""What the failure of a model means for the next attempt.

A close code says little: 1011 is an internal error as well as an empty quota, 1008 a model that does
not exist as well as one that is not feeling well. So its reason is read too.
"""

from enum import Enum, auto
from typing import Final

from audiosocket_agent.errors import ModelError


class Fault(Enum):
    """Kinds of failure, by their cure."""

    LOST = auto()
    """The connection, or the service for a moment: the same again, with the handle."""
    INVALID = auto()
    """Something in the setup, the handle perhaps: the same would be refused again."""
    QUOTA = auto()
    """The project has had its share: another attempt makes it worse."""
    KEY = auto()
    """The key or the account may not: nothing here changes that."""
    NO_MODEL = auto()
    """There is no such model."""


_QUOTA_WORDS: Final = ("quota", "exhausted", "rate limit", "too many requests")
_KEY_WORDS: Final = ("api key", "api_key", "permission", "unregistered", "billing account")
_MODEL_WORDS: Final = ("is not found", "not supported for", "no such method")
_READ: Final = frozenset({"1007", "1008", "1011"})
"""Codes that are given for more than one reason."""
_BY_CODE: Final = {
    "429": Fault.QUOTA,
    "401": Fault.KEY,
    "403": Fault.KEY,
    "credentials": Fault.KEY,
    "404": Fault.NO_MODEL,
    "400": Fault.INVALID,
    "1007": Fault.INVALID,
}


def fault_of(error: ModelError) -> Fault:
    """The kind of `error`; what is not known is taken for a lost connection."""
    if error.code in _READ:
        words = str(error).lower()
        # a quota's text may name the billing, so it is looked for first
        for fault, signs in (
            (Fault.QUOTA, _QUOTA_WORDS),
            (Fault.KEY, _KEY_WORDS),
            (Fault.NO_MODEL, _MODEL_WORDS),
        ):
            if any(sign in words for sign in signs):
                return fault
    return _BY_CODE.get(error.code, Fault.LOST)

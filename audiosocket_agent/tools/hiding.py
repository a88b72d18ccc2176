"""What others send back, without the secrets that they were sent."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from audiosocket_agent.config import MASK

MIN_SECRET_CHARS: Final = 3
"""What is shorter is in every answer, and no secret."""


def hidden(tree: Any, secrets: Collection[str]) -> Any:
    """A tree of JSON without them; also where one is a number, or a key."""
    return _hidden(tree, [secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS])


def _hidden(tree: Any, secrets: Collection[str]) -> Any:
    match tree:
        case str():
            for secret in secrets:
                tree = tree.replace(secret, MASK)
            return tree
        case bool():
            return tree
        case int() | float():
            return MASK if str(tree) in secrets else tree
        case Mapping():
            return {_hidden(key, secrets): _hidden(value, secrets) for key, value in tree.items()}
        case list():
            return [_hidden(value, secrets) for value in tree]
    return tree

"""What is sent to others, with holes in it: {order} is an argument of the model's, {call.caller} is
known of the call, secret:ORDERS_TOKEN is a secret.

A text that is nothing but a hole becomes what fills it, a number stays one; an argument that was not
given takes the key it stands under with it.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any, Final

from audiosocket_agent.tools import secrets

_HOLE: Final = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)\}", re.ASCII)
_FILLED: Final = re.compile(f"{_HOLE.pattern}|{secrets.REFERENCE}", re.ASCII)
_NOTHING: Final = object()


class Template:
    """A tree of texts, numbers, lists and tables; `known` are the secrets by name."""

    def __init__(self, tree: Any, known: Mapping[str, str]) -> None:
        self._tree = tree
        self._secrets = known

    def fill(self, values: Mapping[str, Any]) -> Any:
        """The tree with its holes filled; nothing that fills one is looked at again."""
        return self._fill(self._tree, values)

    def _fill(self, tree: Any, values: Mapping[str, Any]) -> Any:
        match tree:
            case str():
                return self._text(tree, values)
            case Mapping():
                found = {key: self._fill(value, values) for key, value in tree.items()}
                return {key: value for key, value in found.items() if value is not _NOTHING}
            case list():
                items = [self._fill(value, values) for value in tree]
                return [value for value in items if value is not _NOTHING]
        return _plain(tree)

    def _text(self, text: str, values: Mapping[str, Any]) -> Any:
        if hole := _HOLE.fullmatch(text):
            return _plain(values.get(hole[1], _NOTHING))
        return _FILLED.sub(
            lambda part: (
                as_text(values.get(part[1], "")) if part[1] else self._secrets.get(part[2], "")
            ),
            text,
        )


def as_text(value: Any) -> str:
    """A value as it stands in the middle of a text."""
    value = _plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(as_text, value)) if isinstance(value, list) else str(value)


def holes(tree: Any) -> Iterator[str]:
    """What has to be filled in."""
    for text in texts(tree):
        yield from _HOLE.findall(text)


def texts(tree: Any) -> Iterator[str]:
    """All texts of a tree but its keys."""
    match tree:
        case str():
            yield tree
        case Mapping():
            for value in tree.values():
                yield from texts(value)
        case list():
            for value in tree:
                yield from texts(value)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    return [_plain(each) for each in value] if isinstance(value, list) else value

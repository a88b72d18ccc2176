"""Which line of a TOML file a key is in, which tomllib does not say.

The text is one that tomllib has taken, so what TOML forbids need not be thought of here. A key inside
an inline table is in the line of the key that holds the table.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Final

Place = tuple[str, ...]
"""A key and the tables that hold it, from the top: `targets.sales.mode` is of three."""

_TOKEN: Final = re.compile(
    "|".join(
        [
            r'"""(?:\\.|[^\\])*?"{3,5}',  # one or two quotes more may stand before the closing ones
            r"'''.*?'{3,5}",
            r'"(?:\\.|[^"\\])*"',
            r"'[^']*'",
            r"#[^\n]*",
            r"[A-Za-z0-9_-]+",
            r"[\n\[\]{}=]",
        ]
    ),
    re.DOTALL,
)


def key_lines(text: str) -> dict[Place, int]:
    """The line of each key and each table; the top itself, (), is in line 1."""
    lines: dict[Place, int] = {(): 1}
    table: Place = ()
    for line, tokens in _statements(text):
        names = tuple(_name(word) for word in takewhile("=".__ne__, tokens) if word not in "[]")
        if tokens[0] == "[":
            table = place = names
        else:
            place = table + names
        for length in range(1, len(place)):  # tables that are only named on the way
            lines.setdefault(place[:length], line)
        lines[place] = line
    return lines


def line_of(place: Place, lines: Mapping[Place, int]) -> int:
    """The line of the key, or of what holds it, or would if it were there."""
    while place not in lines:
        place = place[:-1]
    return lines[place]


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each header and each key with its value: the line it begins in, and its tokens."""
    tokens: list[str] = []
    line = begins = 1
    depth = 0
    for token in _TOKEN.findall(f"{text}\n"):
        if token == "\n" and not depth and tokens:
            yield begins, tokens
            tokens = []
        elif token != "\n" and token[0] != "#":
            if not tokens:
                begins = line
            tokens.append(token)
            depth += (token in "[{") - (token in "]}")
        line += token.count("\n")


def _name(word: str) -> str:
    """What a key is called, whether it stands in quotes or not."""
    return str(tomllib.loads(f"_ = {word}")["_"]) if word[0] in "\"'" else word

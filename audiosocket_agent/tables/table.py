"""A TOML file read with suspicion: every mistake is noted with its line, and none ends the reading.

Nothing here knows what an agent is. A message shows a value only where one word out of a few belongs:
what stands under a key that nobody knows may be a secret.
"""

import difflib
import json
import re
import stat
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.tables.lines import Place, key_lines, line_of

_SHOWN_CHARS: Final = 60
_BARE_KEY: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_SHOWN_CHARS}}}")
_KINDS: Final = {
    str: "text in quotes",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
}  # whatever else TOML has is a date or a time

T = TypeVar("T")


class Mistakes:
    """What is wrong with one file."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._noted: list[tuple[Place, str]] = []

    def note(self, place: Place, what: str) -> None:
        """A key is wrong, or is missing and should be there."""
        self._noted.append((place, what))

    def told(self) -> list[str]:
        """One line for each, from the top of the file."""
        lines = key_lines(self._text) if self._noted else {}
        noted = [(line_of(place, lines), place, what) for place, what in self._noted]
        return [
            f"{on_one_line(self._path)}:{line}: {'.'.join(map(_as_key, place))}: {what}"
            for line, place, what in sorted(noted, key=lambda mistake: mistake[0])
        ]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file. What is asked for and does not fit is noted, and is then missing."""

    values: dict[str, Any]
    mistakes: Mistakes
    place: Place = ()

    def wrong(self, key: str, what: str) -> None:
        """Note a mistake."""
        self.mistakes.note((*self.place, key), what)

    def get(self, key: str, kind: type[T]) -> T | None:
        """What the key has, if it is of this kind."""
        value = self.values.get(key)
        if value is None or type(value) is kind:
            return value
        self.wrong(key, f"must be {_KINDS[kind]}, not {_KINDS.get(type(value), 'a date or time')}")
        return None

    def table(self, key: str) -> "Table":
        """The table within; empty where there is none."""
        return Table(self.get(key, dict) or {}, self.mistakes, (*self.place, key))

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts; one that is repeated counts once."""
        values = self.get(key, list)
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values):
            self.wrong(key, "must be a list of nothing but texts in quotes")
            return None
        return tuple(dict.fromkeys(values))

    def one_of(self, key: str, value: str, known: Collection[str], more: str = "") -> bool:
        """Whether the value is known; `more` says in words what else is."""
        if value in known:
            return True
        what = f"{quoted(value)} is none of {', '.join(known)}{more}"
        self.wrong(key, what + did_you_mean(value, known))
        return False

    def only(self, known: Collection[str]) -> None:
        """Note keys that nobody reads."""
        for key in self.values:
            if key not in known:
                self.wrong(key, f"unknown key{did_you_mean(key, known)}")


def parse(path: Path, most_bytes: int) -> Table:
    """The file's top. Raises ConfigError where it cannot be read, or is no TOML."""
    text = read_text(path, most_bytes)
    try:
        return Table(tomllib.loads(text), Mistakes(path, text))
    except RecursionError:
        line, what = 1, "has too many brackets within brackets"
    except ValueError as error:  # a TOMLDecodeError, or a number of some thousand digits
        line, what = _line_of_error(str(error), text), str(error)
    raise ConfigError(f"{on_one_line(path)}:{line}: {what}")


def read_text(path: Path, most_bytes: int) -> str:
    """All of a text that somebody has written. Raises ConfigError."""
    content = read_bytes(path, most_bytes)
    try:
        return content.decode("utf-8-sig")  # some editors put a mark before the first character
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{on_one_line(path)}:{line}: is not UTF-8") from None


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """All of a file. Raises ConfigError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe is to wait for its writer
            raise ConfigError(f"{on_one_line(path)}: is no file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{on_one_line(path)}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise ConfigError(f"{on_one_line(path)}: cannot be read: {error}") from None
    if len(content) > most_bytes:
        raise ConfigError(f"{on_one_line(path)}: has more than {most_bytes // 1024} KiB")
    return content


# ---- words ---------------------------------------------------------------------------------------


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint, where a known name is near."""
    near = difflib.get_close_matches(name, list(known), 1, cutoff=0.6)
    return f"; did you mean {_as_key(near[0])}?" if near else ""


def quoted(text: str) -> str:
    """As TOML would have it, on one line and not too long."""
    cut = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())


def _as_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else quoted(name)


def on_one_line(path: Path) -> str:
    """A file's name, even if it was made to be confusing."""
    return str(path) if str(path).isprintable() else json.dumps(str(path))


def _line_of_error(what: str, text: str) -> int:
    if place := re.search(r"\(at line (\d+), column \d+\)$", what):
        return int(place[1])
    return text.rstrip().count("\n") + 1 if what.endswith("(at end of document)") else 1

"""An agent is a TOML file: what it is told, how it begins, whom it may call, what the keys do.

The files that ship with the package come first; a file of the same name in the administrator's
directory replaces the shipped one as a whole. `receptionist.toml` beside this module says what every
key means.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audiosocket_agent.call.info import FACTS, VARIABLE
from audiosocket_agent.call.keys import DIGITS, Key, KeyAction
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.tables.table import (
    Table,
    did_you_mean,
    on_one_line,
    parse,
    quoted,
    read_text,
)

SHIPPED: Final = Path(__file__).parent

MAX_AGENTS: Final = 256
"""Files in a directory; one that has more was hardly meant."""
MAX_INSTRUCTIONS_BYTES: Final = 64 * 1024
"""Some 16 000 tokens, sent with every call and billed with every turn."""
MAX_FILE_BYTES: Final = 2 * MAX_INSTRUCTIONS_BYTES

GREETING: Final = "A caller has just been connected. Greet them and ask how you can help."
"""What makes the model speak first, where a file says nothing of a greeting."""
TOOLS: Final = ("end_call", "transfer_call", "collect_digits")

_KEYS: Final = (
    "instructions",
    "instructions_file",
    "greeting",
    "sees",
    "tools",
    "targets",
    "dtmf",
)
_TARGET_KEYS: Final = ("extension", "description", "mode")
_MODES: Final = ("blind", "attended")
_ACTIONS: Final = ("transfer NAME", "repeat", "hangup", "nothing")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TARGET_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# No &, comma or slash: Dial reads nothing but one extension of the dialplan's in it.
_EXTENSION: Final = re.compile(r"[A-Za-z0-9*#_.-]{1,40}")


@dataclass(frozen=True, slots=True)
class Profile:
    """One agent, as its file has it."""

    name: str
    instructions: str
    greeting: str
    """What makes the model speak first; empty: it waits for the caller."""
    sees: tuple[str, ...]
    """Facts of a call the model may be told: of FACTS, or variables of the dialplan."""
    tools: tuple[str, ...]
    """Of TOOLS."""
    targets: tuple[Target, ...]
    keys: Mapping[str, Key]
    """By digit; what the others do is not the agent's to say."""


def load(directory: Path) -> dict[str, Profile]:
    """All agents by name: those shipped, and those of `directory`, which may be missing.

    Raises ConfigError with one line per mistake of all files.
    """
    profiles: dict[str, Profile] = {}
    mistakes: list[str] = []
    for name, path in {**_files(SHIPPED), **_files(directory)}.items():
        if not _NAME.fullmatch(name):
            mistakes.append(
                f"{on_one_line(path)}: the file's name is the agent's: 1 to 64 of a-z, 0-9, _ and -, "
                "the first a letter or a digit"
            )
        try:
            top = parse(path, MAX_FILE_BYTES)
        except ConfigError as error:
            mistakes.append(str(error))
        else:
            profiles[name] = _profile(name, top, path.parent)
            mistakes += top.mistakes.told()
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return profiles


def _files(directory: Path) -> dict[str, Path]:
    """The files of a directory by their names, as a shell's *.toml finds them."""
    try:
        files = {
            path.stem: path
            for path in sorted(directory.iterdir())
            if path.suffix == ".toml" and not path.name.startswith(".")
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{on_one_line(directory)}: cannot be read: {error.strerror}") from None
    if len(files) > MAX_AGENTS:
        raise ConfigError(
            f"{on_one_line(directory)}: {len(files)} agents; {MAX_AGENTS} are the most"
        )
    return files


def _profile(name: str, top: Table, directory: Path) -> Profile:
    top.only(_KEYS)
    greeting = top.get("greeting", str)
    targets = top.table("targets")
    return Profile(
        name,
        instructions=_instructions(top, directory),
        greeting=GREETING if greeting is None else greeting,
        sees=_sees(top),
        tools=_tools(top, targets.values),
        targets=tuple(_targets(targets)),
        keys=dict(_keys(top.table("dtmf"), targets.values)),
    )


def _instructions(top: Table, directory: Path) -> str:
    match [key for key in ("instructions", "instructions_file") if key in top.values]:
        case [key]:
            text = top.get(key, str)
        case []:
            top.wrong("instructions", "missing, and so is instructions_file")
            return ""
        case _:
            top.wrong("instructions_file", "there are instructions already")
            return ""
    if text is None:
        return ""
    if key == "instructions_file":
        try:
            text = read_text(directory / text, MAX_INSTRUCTIONS_BYTES)
        except ConfigError as error:
            top.wrong(key, str(error))
            return ""
    if len(text.encode()) > MAX_INSTRUCTIONS_BYTES:
        top.wrong(key, f"has more than {MAX_INSTRUCTIONS_BYTES // 1024} KiB")
    if not text.strip():
        top.wrong(key, "is empty")
    return text.strip()


def _sees(top: Table) -> tuple[str, ...]:
    facts = top.texts("sees") or ()
    for fact in facts:
        if not VARIABLE.fullmatch(fact):
            top.one_of("sees", fact, FACTS, ", and no variable of the dialplan in capitals")
    return facts


def _tools(top: Table, targets: Collection[str]) -> tuple[str, ...]:
    tools = top.texts("tools")
    if tools is None:
        return tuple(tool for tool in TOOLS if targets or tool != "transfer_call")
    for tool in tools:
        top.one_of("tools", tool, TOOLS)
    if "transfer_call" in tools and not targets:
        top.wrong("tools", "transfer_call needs somebody to transfer to: a [targets.NAME]")
    return tools


def _targets(targets: Table) -> Iterator[Target]:
    for name, values in targets.values.items():
        if not _TARGET_NAME.fullmatch(name):
            targets.wrong(name, "a target's name is 1 to 32 of a-z, 0-9, _, -, the first a letter")
        table = targets.table(name)
        if not isinstance(values, dict):
            continue
        table.only(_TARGET_KEYS)
        extension = table.get("extension", str)
        if "extension" not in values:
            table.wrong("extension", "missing")
        if extension is not None and not _EXTENSION.fullmatch(extension):
            what = f"{quoted(extension)} is not 1 to 40 of A-Z, a-z, 0-9, *, #, _, . and -"
            table.wrong("extension", what)
        mode = table.get("mode", str)
        if mode is not None:
            table.one_of("mode", mode, _MODES)
        description = table.get("description", str)
        yield Target(name, extension or "", description or name, mode == "attended")


def _keys(dtmf: Table, targets: Collection[str]) -> Iterator[tuple[str, Key]]:
    for digit in dtmf.values:
        does = dtmf.get(digit, str)
        if digit not in tuple(DIGITS):
            dtmf.wrong(digit, "is no key of a telephone: 0-9, *, # and A-D are")
        if does is None:
            continue
        match does.split():
            case ["transfer", name]:
                if name not in targets:
                    what = f"there is no target {quoted(name)}"
                    dtmf.wrong(digit, what + did_you_mean(name, targets))
                yield digit, Key(KeyAction.TRANSFER, name)
            case ["repeat" | "hangup" | "nothing" as action]:
                yield digit, Key(KeyAction(action))
            case _:
                dtmf.one_of(digit, does, _ACTIONS)

"""Whom an agent may pass callers on to, and what the keys of the telephone do."""

import re
from collections.abc import Collection, Iterator
from typing import Final

from audiosocket_agent.call.keys import DIGITS, Key, KeyAction
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.tables.table import Table, did_you_mean, quoted

_KEYS: Final = ("extension", "description", "mode")
_MODES: Final = ("blind", "attended")
_ACTIONS: Final = ("transfer NAME", "repeat", "hangup", "nothing")

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# No &, comma or slash: Dial reads nothing but one extension of the dialplan's in it.
_EXTENSION: Final = re.compile(r"[A-Za-z0-9*#_.-]{1,40}")


def read_targets(targets: Table) -> Iterator[Target]:
    """Each [targets.NAME]."""
    for name, values in targets.values.items():
        if not _NAME.fullmatch(name):
            targets.wrong(name, "a target's name is 1 to 32 of a-z, 0-9, _, -, the first a letter")
        table = targets.table(name)
        if not isinstance(values, dict):
            continue
        table.only(_KEYS)
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


def read_keys(dtmf: Table, targets: Collection[str]) -> Iterator[tuple[str, Key]]:
    """Each key of [dtmf]; `targets`: the names there are."""
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

"""Recordings that no row knows of: of a process that was killed, or whose row was lost on its way, or
deleted by another host, which has not the file."""

import fcntl
import os
import re
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY: Final = re.compile(r"/(?:open/(\d{4})-(\d\d)-(\d\d)_|(\d{4})/(\d\d)/(\d\d)/)" + _UUID.pattern)
"""The end of a recording's path (`recorder`)."""


def sweep(directory: Path, call_ids: Collection[str]) -> tuple[int, dict[str, str]]:
    """Delete all files of these calls, but for those that a process is writing; returns how many were
    there, and those that cannot be deleted, with the reason. Blocks."""
    return _sweep(directory, lambda path: _call(path) in call_ids)


def sweep_days(directory: Path, before: date) -> tuple[int, dict[str, str]]:
    """The same of all calls that began on days before, in UTC."""
    return _sweep(directory, lambda path: (_day(path) or before) < before)


def _sweep(directory: Path, which: Callable[[Path], bool]) -> tuple[int, dict[str, str]]:
    deleted, stuck = 0, {}
    for path in directory.absolute().rglob("*.wav"):
        if which(path):
            try:
                deleted += _unlinked(path)
            except OSError as error:
                stuck[str(path)] = error.strerror or str(error)
    return deleted, stuck


def _call(path: Path) -> str:
    found = _UUID.search(path.stem)
    return found[0] if found else ""


def _day(path: Path) -> date | None:
    if found := _DAY.search(str(path)):
        try:
            return date(*(int(part) for part in found.groups() if part))
        except ValueError:
            pass
    return None


def _unlinked(path: Path) -> bool:
    """Raises OSError."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(file)
    except (BlockingIOError, FileNotFoundError):
        return False  # the call is up, or somebody else was here
    return True

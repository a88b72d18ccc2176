"""Recordings that no row knows of: of a process that was killed, or whose row was lost on its way."""

import fcntl
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def sweep(directory: Path, call_ids: Collection[str]) -> tuple[int, dict[str, str]]:
    """Delete all files of these calls, but for those that a process is writing; returns how many were
    there, and those that cannot be deleted, with the reason. Blocks."""
    deleted, stuck = 0, {}
    for path in directory.absolute().rglob("*.wav"):
        if _call(path) in call_ids:
            try:
                deleted += _unlinked(path)
            except OSError as error:
                stuck[str(path)] = error.strerror or str(error)
    return deleted, stuck


def _call(path: Path) -> str:
    found = _UUID.search(path.stem)
    return found[0] if found else ""


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

"""Recordings that no row knows of: of a process that was killed, or whose row was lost on its way."""

import fcntl
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from audiosocket_agent.records.errors import StoreError

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def sweep(directory: Path, call_ids: Collection[str]) -> int:
    """Delete all files of these calls, but for those that a process is writing; returns how many were
    there. Blocks. Raises StoreError where one cannot be deleted."""
    return sum(_unlinked(path) for path in directory.rglob("*.wav") if _call(path) in call_ids)


def _call(path: Path) -> str:
    found = _UUID.search(path.stem)
    return found[0] if found else ""


def _unlinked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(file)
    except (BlockingIOError, FileNotFoundError):
        return False  # the call is up, or somebody else was here
    except OSError as error:
        raise StoreError(f"recording {path}: {error.strerror}", retryable=False) from None
    return True

"""Lines kept in a directory of files until they are taken, the oldest first.

A line that was appended survives a crash of the process and of the machine. What a crash may leave
is a last line that is torn; the next append begins a new one after it. The lines are in segments, so
that room is made by deleting the oldest. Nothing here is used without the lock: `locked` keeps out
other processes, such as a command that deletes a caller's rows.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

SEGMENT_BYTES: Final = 16 * 1024 * 1024
MAX_BYTES: Final = 256 * 1024 * 1024
"""Some million rows: days of a busy process without its database. Beyond it the oldest go."""
LOCK_SECONDS: Final = 5.0

_LOCK: Final = "lock"
_SUFFIX: Final = ".jsonl"


class Segments:
    """The lines of one directory, which is made where it is missing. All methods block, and raise
    OSError where the disk is full or gone."""

    def __init__(
        self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._reading: tuple[Path | None, int] = (
            None,
            0,
        )  # the oldest segment, and how far it is taken
        self._read_to: tuple[Path | None, int] = None, 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out. Raises TimeoutError, an OSError, where one stays in."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_up_at = time.monotonic() + LOCK_SECONDS
            while not _taken(lock):
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"{self._directory} is in use by another process")
                time.sleep(0.02)
            yield
        finally:
            os.close(lock)

    def append(self, lines: Sequence[bytes]) -> int:
        """Write whole lines, to the disk, all of them or none. Returns how many old ones were deleted
        to make room."""
        data = b"".join(lines)
        segments = self._list()
        new = not segments or segments[-1].stat().st_size + len(data) > self._segment_bytes
        _write(self._next(segments) if new else segments[-1], data)
        if new:
            self._sync_directory()
        return self._make_room()

    def read(self, lines: int) -> list[bytes]:
        """The oldest lines, at most so many; none: there are none. They stay until `taken`."""
        for segment in self._list():
            seen, position = self._reading
            with segment.open("rb") as file:
                file.seek(position if segment == seen else 0)
                found = [line for _ in range(lines) if (line := file.readline())]
                self._read_to = segment, file.tell()
            if found:
                return found
            self._reading = None, 0
            segment.unlink()
        return []

    def taken(self) -> bool:
        """What was read last is done with. True where no line is left."""
        segment, position = self._reading = self._read_to
        if segment is not None and position >= segment.stat().st_size:
            segment.unlink()
            self._sync_directory()
        return not self._list()

    # -- files -------------------------------------------------------------------------------------

    def _list(self) -> list[Path]:
        return sorted(self._directory.glob(f"*{_SUFFIX}"))

    def _next(self, segments: Sequence[Path]) -> Path:
        """A new name, after all others even where the clock was set back; never one that was used."""
        newest = int(segments[-1].stem) if segments else 0
        return self._directory / f"{max(time.time_ns(), newest + 1):020d}{_SUFFIX}"

    def _make_room(self) -> int:
        """Delete the oldest segments beyond the bound; returns the lines that nobody has taken."""
        lost = 0
        segments = self._list()
        sizes = [segment.stat().st_size for segment in segments]
        while len(segments) > 1 and sum(sizes) > self._max_bytes:
            oldest = segments.pop(0)
            del sizes[0]
            seen, position = self._reading
            with oldest.open("rb") as file:
                file.seek(position if oldest == seen else 0)
                lost += sum(1 for _ in file)
            oldest.unlink()
        return lost

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(segment: Path, data: bytes) -> None:
    file = os.open(segment, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # torn by a crash
            data = b"\n" + data
        try:
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)

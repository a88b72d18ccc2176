"""Rows on their way: where they wait for a database that is down.

The files are the business of `segments`; here they are touched by one thread, so that neither an
fsync nor another process's lock ever stops the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from audiosocket_agent import log
from audiosocket_agent.records import codec
from audiosocket_agent.records.errors import JournalError, RowError
from audiosocket_agent.records.jobs import to_the_end
from audiosocket_agent.records.rows import Row
from audiosocket_agent.records.segments import MAX_BYTES, SEGMENT_BYTES, Segments
from audiosocket_agent.records.store import Store

REPLAY_ROWS: Final = 200
"""One transaction's; some milliseconds of the event loop."""

_T = TypeVar("_T")

_log = log.get(__name__)


class Journal:
    """The rows that wait in one directory. Not to be used by two tasks at once."""

    def __init__(
        self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._segments = Segments(directory, segment_bytes=segment_bytes, max_bytes=max_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self.appended = 0
        self.replayed = 0
        self.refused = 0
        """Rows that no database takes, and lines that a crash has torn."""
        self.lost = 0
        """Rows deleted at the bound, the oldest first."""

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep other processes out. Raises JournalError where one stays in."""
        with ExitStack() as stack:
            await self._do(lambda: stack.enter_context(self._segments.locked()))
            yield

    async def append(self, rows: Sequence[Row]) -> None:
        """Keep rows; when this returns they are on the disk. Needs `held`. Raises JournalError:
        none is kept then."""
        await self._do(lambda: self._append(rows))

    async def replay(self, store: Store, timeout_s: float) -> bool:
        """Take the oldest rows to the database; True where none are left then. Needs `held`. Raises
        StoreError: then they stay."""
        lines = await self._do(lambda: self._segments.read(REPLAY_ROWS))
        if not lines:
            return True
        rows = await self._do(lambda: self._rows(lines))
        written = await store.write(rows, timeout_s)
        self.replayed += written
        self.refused += len(lines) - written
        return await self._do(self._segments.taken)

    # -- in the thread -----------------------------------------------------------------------------

    def _append(self, rows: Sequence[Row]) -> None:
        lines = []
        for row in rows:
            try:
                lines.append(codec.line(row))
            except RowError as error:
                _log.error("record refused", reason=str(error))
        if lines:
            self.lost += self._segments.append(lines)
        self.appended += len(lines)
        self.refused += len(rows) - len(lines)

    def _rows(self, lines: Sequence[bytes]) -> list[Row]:
        rows = []
        for line in lines:
            try:
                rows.append(codec.row(line))
            except RowError as error:
                _log.warning("journal line left out", reason=str(error), bytes=len(line))
        return rows

    async def _do(self, work: Callable[[], _T]) -> _T:
        """Run `work` in the thread."""
        try:
            return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, work))
        except OSError as error:
            raise JournalError(f"the journal cannot be used: {error}") from None

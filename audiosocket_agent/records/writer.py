"""The way from a call to the database, on which no call ever waits.

    put ─▶ queue ─▶ one task ─▶ batches ─▶ database
                        │                     ▲
                        └─▶ journal ── replay ┘      while it is down, and until it has caught up

`put` appends to a queue and returns. The task writes what has come in 100 ms, or 200 rows, in one
transaction. Where the database does not take a batch, the batch goes to the journal, and so does
everything after it: rows arrive in the order they were put. When the database is back the journal is
replayed, then the queue goes straight to the database again. What a process that was killed left in
its journal comes first when it starts anew.

What can be lost: rows of the last 100 ms before a kill -9; rows beyond 10 000 in the queue, while
neither database nor journal take any; the oldest rows of a journal beyond its bound. The two latter
are counted. A row may be written twice, and then is one row.

`commit` is for what a caller is told: it goes straight to the database, and is refused, in time,
where that is down.
"""

import asyncio
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Final, Self, TypeVar

from audiosocket_agent import log
from audiosocket_agent.clock import monotonic
from audiosocket_agent.records.errors import JournalError, StoreError
from audiosocket_agent.records.journal import Journal
from audiosocket_agent.records.rows import Promise, Row
from audiosocket_agent.records.store import Store

MAX_QUEUE_ROWS: Final = 10_000
BATCH_ROWS: Final = 200
BATCH_SECONDS: Final = 0.1
WRITE_SECONDS: Final = 6.0
"""What a batch may take; more than SQLite waits for its lock."""
RETRY_SECONDS: Final = 1.0
COMMIT_SECONDS: Final = 3.0
"""What a caller can be kept waiting for a number."""

_Promise = TypeVar("_Promise", bound=Promise)

_log = log.get(__name__)


class Writer:
    """The rows of one process, for as long as the context lasts; when it is left, they are in the
    database or in the journal. `journal` is a directory."""

    def __init__(self, store: Store, journal: Path) -> None:
        self._store = store
        self._journal = Journal(journal)
        self._queue: deque[Row] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._over = False
        self._down_until = 0.0  # when the database is to be tried again
        self._replay_at = 0.0  # when the journal is
        self._stuck = False  # the last rows found neither database nor journal
        self._trouble: dict[str, str] = {}  # what has been told of, by whose it is
        self._dropped = 0
        self._refused = 0
        self.behind = True
        """There may be rows in the journal; they go first."""
        self.written = 0
        """Rows that went from the queue to the database."""
        self.taken = 0
        """Rows that left the queue, wherever they went."""

    @property
    def queued(self) -> int:
        """Rows that wait in memory."""
        return len(self._queue)

    @property
    def journalled(self) -> int:
        """Rows that went from the queue to the journal."""
        return self._journal.appended

    @property
    def replayed(self) -> int:
        """Rows that went from the journal to the database, those of an earlier process included."""
        return self._journal.replayed

    @property
    def dropped(self) -> int:
        """Rows lost at a bound, the queue's or the journal's."""
        return self._dropped + self._journal.lost

    @property
    def refused(self) -> int:
        """Rows that no database takes, and lines of the journal that a crash has torn."""
        return self._refused + self._journal.refused

    def put(self, row: Row) -> None:
        """Take a row; returns at once and never raises. To be called in the event loop."""
        if len(self._queue) >= MAX_QUEUE_ROWS or self._over:
            self._dropped += 1
            return
        self._queue.append(row)
        self._wake.set()

    def look_again(self) -> None:
        """Another process may have left rows in the journal."""
        self.behind = True
        self._wake.set()

    async def commit(self, row: _Promise, timeout_s: float = COMMIT_SECONDS) -> _Promise:
        """Write what a caller is about to be told. Returns it as it is on the disk: a ticket with its
        number; where its key is there already, the row that came first. Raises StoreError within
        `timeout_s`, and at once where the database is known to be down: then nothing may be told.
        What was under way may be written all the same; the same key finds it."""
        if monotonic() < self._down_until:
            raise StoreError(f"{self._store.place.name} is down")
        return await self._store.commit(row, timeout_s)

    # -- the task ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        try:
            await self._task
        finally:
            self._over = True
            self._journal.close()

    async def _run(self) -> None:
        while self._queue or not self._closing:
            await self._gather()
            first = self._queue[0] if self._queue else None
            try:
                await self._step()
            except Exception:  # noqa: BLE001 - a fault of ours with these rows; there are others
                _log.exception("records refused")
                self._refused += self._take(BATCH_ROWS)
            self._stuck = bool(self._queue) and self._queue[0] is first
            if self._stuck and self._closing:
                self._dropped += self._take(len(self._queue))  # neither took them: let go
            if self._dropped and len(self._queue) < MAX_QUEUE_ROWS:
                self._tell("queue", f"{self._dropped} records were dropped")

    async def _gather(self) -> None:
        """Wait for a row, or for the time to try again; then a little longer, for more rows."""
        if not self._queue and not self._closing:
            try_at = max(self._down_until, self._replay_at)
            try:
                async with asyncio.timeout(try_at - monotonic() if self.behind else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
        if (len(self._queue) < BATCH_ROWS or self._stuck) and not self._closing:
            await asyncio.sleep(BATCH_SECONDS)
        self._wake.clear()

    async def _step(self) -> None:
        """Take the rows of the journal further, and a batch of the queue's."""
        if self.behind and monotonic() >= max(self._down_until, self._replay_at):
            await self._catch_up()
        batch = list(islice(self._queue, BATCH_ROWS))
        if not batch or (not self.behind and await self._into_database(batch)):
            return
        if not await self._into_journal(batch) and monotonic() >= self._down_until:
            await self._into_database(batch)

    async def _into_database(self, batch: list[Row]) -> bool:
        try:
            written = await self._store.write(batch, WRITE_SECONDS)
        except StoreError as error:
            self._is_down(error)
            self.behind = True
            return False
        self._is_up()
        self._take(len(batch))
        self.written += written
        self._refused += len(batch) - written
        return True

    async def _into_journal(self, batch: list[Row]) -> bool:
        try:
            async with self._journal.held():
                await self._journal.append(batch)
        except JournalError as error:
            self._tell("journal", str(error))
            return False
        self._trouble.pop("journal", None)
        self._take(len(batch))
        return True

    async def _catch_up(self) -> None:
        """Replay until nothing is left, or until rows wait that are safer in the journal."""
        try:
            while not await self._replay():
                if self._queue:
                    return
        except JournalError as error:
            self._tell("journal", str(error))
            self._replay_at = monotonic() + RETRY_SECONDS
        except StoreError as error:
            self._is_down(error)
        except Exception:  # noqa: BLE001 - a fault of ours with the journal's rows; there are others
            _log.exception("journal not replayed")
            self._replay_at = monotonic() + RETRY_SECONDS
        else:
            self.behind = False

    async def _replay(self) -> bool:
        async with self._journal.held():
            before = self._journal.replayed
            nothing_left = await self._journal.replay(self._store, WRITE_SECONDS)
        if self._journal.replayed > before:
            self._is_up()
        return nothing_left

    def _take(self, rows: int) -> int:
        """Rows are where they belong, or given up. Returns how many."""
        rows = min(rows, len(self._queue))
        for _ in range(rows):
            self._queue.popleft()
        self.taken += rows
        return rows

    def _is_down(self, error: StoreError) -> None:
        self._down_until = monotonic() + RETRY_SECONDS
        self._tell("database", str(error))

    def _is_up(self) -> None:
        if self._trouble.pop("database", None):
            _log.info("database is back", journalled=self.journalled, replayed=self.replayed)

    def _tell(self, of: str, trouble: str) -> None:
        """Log what is new."""
        if self._trouble.get(of) != trouble:
            self._trouble[of] = trouble
            _log.warning("records wait", reason=trouble)

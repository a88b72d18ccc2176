"""The records of a running service: a database, the way to it, and what watches over both."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from audiosocket_agent import config, log
from audiosocket_agent.errors import StartError
from audiosocket_agent.ledger import Book
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.recall import keep_budget, recall
from audiosocket_agent.records import erase, live
from audiosocket_agent.records.costs import Budget, Prices
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.recorder import Recorder
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.sweep import sweep_days
from audiosocket_agent.records.writer import Writer
from audiosocket_agent.settings import Settings
from audiosocket_agent.survival import DEAD_S, Lives

OPEN_SECONDS: Final = 6.0
"""A database that is there takes milliseconds, SQLite waits 5 s for its lock. What is not open by then,
because it does not answer or is being brought up to this version, is later: callers wait."""
LOOK_SECONDS: Final = 1.0
EXPIRE_SECONDS: Final = 6 * 3600.0
STALE_SECONDS: Final = 60.0
AFTER_FAULT_SECONDS: Final = 60.0

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Archive:
    """What the rest of the service has to do with its records."""

    book: Book
    store: Store
    writer: Writer


@asynccontextmanager
async def archive(settings: Settings, metrics: Metrics) -> AsyncIterator[Archive]:
    """The records, for as long as the block lasts. A database that is down holds nothing up: rows
    wait in a journal. Raises ConfigError for a URL or a price that is none, StartError for a database
    that cannot become ours."""
    prices = Prices.load(settings.records.prices)
    budget = Budget(Decimal(str(settings.cost.usd_per_day)))
    model = settings.gemini.live_model if settings.model == "gemini" else settings.model
    store = Store(config.database_url(settings), migrate=True)
    try:
        await store.within(OPEN_SECONDS, store.open())
    except StoreError as error:
        if not error.retryable:
            await store.close()
            raise StartError(f"DATABASE_URL: {error}") from None
        _log.warning("records wait for the database", reason=str(error))
    # the same for this process and for the one that follows it
    instance = f"{socket.gethostname()}:{settings.audiosocket.port}"
    async with (
        store,
        Writer(store, config.journal_directory(settings)) as writer,
        _recorder(settings, writer) as recorder,
    ):
        text, mask = settings.records.transcripts, settings.records.mask
        book = Book(
            put=writer.put,
            model=model,
            instance=instance,
            text=text,
            mask=mask,
            prices=prices,
            budget=budget,
            recall=recall(store),
            recorder=recorder,
            lives=Lives(store, writer, instance, text, mask),
        )
        recordings = config.recordings_directory(settings)
        watchers = [
            asyncio.create_task(_watch(writer, recorder, metrics)),
            *map(
                _for_good,
                (
                    partial(_expire, store, recordings, settings.records.days),
                    partial(_bury, store),
                    partial(keep_budget, store, budget),
                ),
            ),
        ]
        try:  # no TaskGroup: what happens inside the block is not to come out as a group
            yield Archive(book, store, writer)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)


def _recorder(settings: Settings, writer: Writer) -> AbstractAsyncContextManager[Recorder | None]:
    """The recordings of this process, where there are to be any."""
    if not settings.enable_call_recording:
        return nullcontext()
    return Recorder(config.recordings_directory(settings), writer.put)


def _for_good(care: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """A fault in it, ours or the disk's, is a line in the log, and the end of it for a minute only."""

    async def run() -> None:
        while True:
            try:
                await care()
                return
            except Exception:  # noqa: BLE001 - see above
                _log.exception("records not looked after")
            await asyncio.sleep(AFTER_FAULT_SECONDS)

    return asyncio.create_task(run())


async def _watch(writer: Writer, recorder: Recorder | None, metrics: Metrics) -> None:
    lost, lost_s = 0, 0.0
    while True:
        metrics.records_waiting.set(writer.queued)
        metrics.records_behind.set(writer.behind)
        metrics.records_lost.inc(writer.dropped + writer.refused - lost)
        lost = writer.dropped + writer.refused
        if recorder is not None:
            metrics.recording_lost.inc(recorder.lost_seconds - lost_s)
            lost_s = recorder.lost_seconds
        await asyncio.sleep(LOOK_SECONDS)


async def _expire(store: Store, recordings: Path, days: int) -> None:
    """Delete what is older than it may be. Of recordings each host has its own, and whichever is first
    deletes the rows of all."""
    while days:
        before = datetime.now(UTC) - timedelta(days=days)
        stuck: dict[str, str] = {}
        try:
            gone = await erase.expire(store, before)
            if gone.calls:
                _log.info("old records deleted", calls=gone.calls)
            stuck = gone.stuck
        except StoreError as error:
            _log.warning("old records not deleted", reason=str(error))
        stuck |= (await asyncio.to_thread(sweep_days, recordings, before.date()))[1]
        if stuck:
            first, why = next(iter(stuck.items()))
            _log.warning("old recordings not deleted", count=len(stuck), first=first, reason=why)
        await asyncio.sleep(EXPIRE_SECONDS)


async def _bury(store: Store) -> None:
    """Forget what is kept of calls whose process is gone, and that nobody has taken up."""
    while True:
        try:
            await live.forget_stale(store, datetime.now(UTC) - timedelta(seconds=DEAD_S))
        except StoreError as error:
            _log.warning("lost calls not forgotten", reason=str(error))
        await asyncio.sleep(STALE_SECONDS)

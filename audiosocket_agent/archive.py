"""The records of a running service: a database, the way to it, and what watches over both."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from audiosocket_agent import config, log
from audiosocket_agent.errors import StartError
from audiosocket_agent.ledger import Book
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.recall import keep_budget, recall
from audiosocket_agent.records import erase, live
from audiosocket_agent.records.costs import Budget, Prices
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.recorder import Recorder
from audiosocket_agent.records.rows import Lost
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import Writer
from audiosocket_agent.settings import Settings
from audiosocket_agent.survival import DEAD_S, Lives

LOOK_SECONDS: Final = 1.0
EXPIRE_SECONDS: Final = 6 * 3600.0
STALE_SECONDS: Final = 60.0

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Archive:
    """What the rest of the service has to do with its records."""

    book: Book
    store: Store
    writer: Writer


@asynccontextmanager
async def archive(
    settings: Settings, metrics: Metrics, *, takes_over: bool = False
) -> AsyncIterator[Archive]:
    """The records, for as long as the block lasts. A database that is down holds nothing up: rows
    wait in a journal. Raises ConfigError for a URL or a price that is none, StartError for a database
    that cannot become ours."""
    prices = Prices.load(settings.records.prices)
    budget = Budget(Decimal(str(settings.cost.usd_per_day)))
    model = settings.gemini.live_model if settings.model == "gemini" else settings.model
    store = Store(config.database_url(settings), migrate=True)
    began_at = datetime.now(UTC)
    try:
        await store.open()
    except StoreError as error:
        if not error.retryable:
            await store.close()
            raise StartError(f"DATABASE_URL: {error}") from None
        _log.warning("records wait for the database", reason=str(error))
    # the same for this process and for the one that follows it
    instance = f"{socket.gethostname()}:{settings.audiosocket.port}"
    async with (
        store,
        Writer(store, config.journal_directory()) as writer,
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
        if not takes_over:  # where it does, the calls of the one before are still up
            writer.put(Lost(of=instance, before=began_at))
        watchers = [
            asyncio.create_task(_watch(writer, recorder, metrics)),
            asyncio.create_task(_expire(store, settings.records.days)),
            asyncio.create_task(_bury(store)),
            asyncio.create_task(keep_budget(store, budget)),
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


async def _expire(store: Store, days: int) -> None:
    """Delete what is older than it may be."""
    while days:
        try:
            gone = await erase.expire(store, datetime.now(UTC) - timedelta(days=days))
            if gone.calls:
                _log.info("old records deleted", calls=gone.calls)
            if gone.stuck:
                first, why = next(iter(gone.stuck.items()))
                count = len(gone.stuck)
                _log.warning("old recordings not deleted", count=count, first=first, reason=why)
        except StoreError as error:
            _log.warning("old records not deleted", reason=str(error))
        await asyncio.sleep(EXPIRE_SECONDS)


async def _bury(store: Store) -> None:
    """Forget what is kept of calls whose process is gone, and that nobody has taken up."""
    while True:
        try:
            await live.forget_stale(store, datetime.now(UTC) - timedelta(seconds=DEAD_S))
        except StoreError as error:
            _log.warning("lost calls not forgotten", reason=str(error))
        await asyncio.sleep(STALE_SECONDS)

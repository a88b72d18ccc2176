"""The way from a call to the database, while all is well and while it is not."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from audiosocket_agent.handover import Predecessor
from audiosocket_agent.ledger import Book
from audiosocket_agent.records import codec
from audiosocket_agent.records import writer as writer_module
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.journal import Journal
from audiosocket_agent.records.rows import Call, Lost, Row, Ticket, Turn
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import MAX_QUEUE_ROWS, Writer
from audiosocket_agent.service import _bury
from audiosocket_agent.survival import Lives
from tests.records.conftest import Database, until
from tests.records.made import begun, ended, minutes, ticket, tool_use, turn
from tests.records.test_store import kept

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def writer(store: Store, journal: Path) -> AsyncIterator[Writer]:
    async with Writer(store, journal) as writer:
        yield writer


def waiting(journal: Path) -> int:
    """Lines in the journal."""
    return sum(file.read_bytes().count(b"\n") for file in journal.glob("*.jsonl"))


def leave(journal: Path, data: bytes) -> None:
    """As a process that was killed does."""
    journal.mkdir()
    (journal / "00000000000000000001.jsonl").write_bytes(data)


def newest(journal: Path) -> Row:
    return codec.row(max(journal.glob("*.jsonl")).read_bytes().splitlines()[-1])


def more_than(journalled: int, writer: Writer) -> bool:
    return writer.journalled > journalled


async def numbers(store: Store) -> list[int]:
    return sorted(row.n for row in await kept(store, Turn))


async def test_what_is_put_is_in_the_database_soon_after(store: Store, writer: Writer) -> None:
    writer.put(begun())
    writer.put(turn(1))
    writer.put(ended())
    assert writer.queued == 3
    await until(lambda: writer.written == 3)
    assert await kept(store, Call) == [ended()]
    assert await numbers(store) == [1]
    assert (writer.queued, writer.journalled, writer.dropped, writer.refused) == (0, 0, 0, 0)


async def test_rows_that_come_together_are_written_together(
    store: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    write = store.write

    async def seen(rows: list[Turn], timeout_s: float) -> int:
        batches.append(len(rows))
        return await write(rows, timeout_s)

    monkeypatch.setattr(store, "write", seen)
    async with Writer(store, journal) as writer:
        for n in range(500):
            writer.put(turn(n))
        await until(lambda: writer.written == 500)
    assert batches == [200, 200, 100]


async def test_when_it_ends_all_that_was_put_is_in_the_database(
    store: Store, journal: Path
) -> None:
    async with Writer(store, journal) as writer:
        for n in range(1000):
            writer.put(turn(n))
    assert await numbers(store) == list(range(1000))
    writer.put(turn(1000))
    assert (writer.queued, writer.dropped) == (0, 1)


async def test_a_row_that_is_none_is_counted(store: Store, writer: Writer) -> None:
    writer.put(turn(1, text=b"bytes"))
    writer.put(turn(2))
    await until(lambda: writer.written + writer.refused == 2)
    assert writer.refused == 1
    assert await numbers(store) == [2]


async def test_a_fault_of_ours_takes_no_more_than_its_batch_with_it(
    store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_fault(row: Turn) -> dict[str, object]:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(codec, "values", at_fault)
        writer.put(turn(1))
        await until(lambda: writer.refused == 1)
    writer.put(turn(2))
    await until(lambda: writer.written == 1)
    assert await numbers(store) == [2]


async def test_a_full_queue_counts_what_it_drops(store: Store, journal: Path) -> None:
    writer = Writer(store, journal)  # nobody takes anything out
    row = turn()
    for _ in range(MAX_QUEUE_ROWS + 5):
        writer.put(row)
    assert (writer.queued, writer.dropped) == (MAX_QUEUE_ROWS, 5)


# -- the database is down --------------------------------------------------------------------------


async def test_no_row_is_lost_and_none_doubled_while_the_database_is_down(
    database: Database, journal: Path
) -> None:
    async with database.store() as store, Writer(store, journal) as writer:
        writer.put(begun())
        for n in range(300):
            if n in (50, 170):
                await until(lambda: writer.written > 0)
                database.stop()
                journalled = writer.journalled
            if n in (120, 260):
                await until(partial(more_than, journalled, writer))
                database.start()
            writer.put(turn(n))
            await asyncio.sleep(0.002)
        writer.put(ended())
        await until(lambda: writer.written + writer.replayed == 302)
        assert await numbers(store) == list(range(300))
        assert await kept(store, Call) == [ended()]
    assert (writer.queued, writer.dropped, writer.refused) == (0, 0, 0)
    assert writer.replayed == writer.journalled > 0
    assert waiting(journal) == 0


async def test_a_row_that_is_none_is_counted_on_its_way_to_the_journal_too(journal: Path) -> None:
    async with Writer(Store("sqlite:////nowhere/records.db"), journal) as writer:
        writer.put(turn(1, text=b"bytes"))
        writer.put(turn(2))
    assert (writer.journalled, writer.refused, waiting(journal)) == (1, 1, 1)


async def test_a_fault_of_ours_with_the_journal_holds_nothing_up(
    store: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_fault(line: bytes) -> Row:
        raise ZeroDivisionError

    leave(journal, codec.line(turn(1)))
    with monkeypatch.context() as broken:
        broken.setattr(codec, "row", at_fault)
        async with Writer(store, journal) as writer:
            writer.put(turn(2))
            await until(lambda: writer.journalled == 1)
    async with Writer(store, journal) as writer:
        await until(lambda: writer.replayed == 2)
    assert await numbers(store) == [1, 2]


async def test_a_ticket_is_refused_while_the_database_is_down_and_the_caller_may_try_again(
    database: Database, journal: Path
) -> None:
    async with database.store() as store, Writer(store, journal) as writer:
        await writer.commit(ticket("before"))
        database.stop()
        with pytest.raises(StoreError):
            await writer.commit(ticket("meanwhile"))
        writer.put(turn(1))
        await until(lambda: waiting(journal) == 1)

        asked = time.monotonic()
        with pytest.raises(StoreError, match=r"is down$"):
            await writer.commit(ticket("meanwhile"))
        assert time.monotonic() - asked < 1.0
        assert waiting(journal) == 1  # it is not in the journal either

        database.start()
        await until(lambda: writer.replayed == 1)
        told = await writer.commit(ticket("meanwhile"))
        assert await writer.commit(ticket("meanwhile")) == told
        assert {row.idempotency_key for row in await kept(store, Ticket)} == {"before", "meanwhile"}


async def test_a_service_that_starts_without_its_database_makes_it_later(
    database: Database, journal: Path
) -> None:
    async with database.store() as store:  # SQLite's file is to be there, to be moved away
        await store.write([turn(0)], 10.0)
    database.stop()
    async with Writer(Store(database.url), journal) as writer:
        writer.put(turn(1))
        await until(lambda: writer.journalled == 1)
    assert waiting(journal) == 1
    database.start()
    async with database.store() as store, Writer(store, journal) as writer:
        writer.put(turn(2))
        await until(lambda: writer.written + writer.replayed == 2)
        assert await numbers(store) == [0, 1, 2]


async def test_what_a_killed_process_left_comes_first_and_a_torn_line_is_left_out(
    store: Store, journal: Path
) -> None:
    torn = codec.line(turn(3))[:-20]
    left = [codec.line(begun()), codec.line(turn(1)), codec.line(turn(2)), torn]
    leave(journal, b"".join(left))
    async with Writer(store, journal) as writer:
        await until(lambda: writer.replayed == 3)
    assert writer.refused == 1
    assert await numbers(store) == [1, 2]
    assert waiting(journal) == 0


async def test_calls_that_died_with_a_process_are_lost_after_its_journal_is_replayed(
    store: Store, journal: Path
) -> None:
    over = ended(id="over", instance="a")
    lines = [begun(id="cut off", instance="a"), begun(id="over", instance="a"), over]
    leave(journal, b"".join(codec.line(row) for row in lines))
    async with Writer(store, journal) as writer:
        writer.put(Lost(of="a", before=minutes(5)))
        writer.put(begun(id="new", instance="a", started_at=minutes(6)))
        await until(lambda: writer.written + writer.replayed == 5 and not writer.behind)
    outcomes = {call.id: call.outcome for call in await kept(store, Call)}
    assert outcomes == {"cut off": "lost", "over": over.outcome, "new": None}


async def test_what_the_process_before_wrote_last_is_looked_for_when_it_has_gone(
    store: Store, journal: Path
) -> None:
    before = Journal(journal)
    async with Writer(store, journal) as writer:
        await until(lambda: not writer.behind)
        async with before.held():
            await before.append([turn(1)])
        before.close()
        writer.look_again()
        await until(lambda: writer.replayed == 1)
    assert await numbers(store) == [1]


async def test_a_call_whose_end_the_process_before_wrote_last_is_not_lost(
    store: Store, journal: Path
) -> None:
    before, gone = Journal(journal), asyncio.Event()
    predecessor = cast(Predecessor, SimpleNamespace(gone=gone))
    async with Writer(store, journal) as writer:
        lives = Lives(store, writer, "a", text=True, mask=False)
        book = Book(put=writer.put, instance="a", lives=lives)
        burying = asyncio.create_task(_bury(book, predecessor, minutes(5)))
        writer.put(begun(instance="a"))
        await until(lambda: writer.written == 1 and not writer.behind)
        async with before.held():
            await before.append([ended(instance="a")])
        before.close()
        gone.set()
        await burying
    assert [call.outcome for call in await kept(store, Call)] == [ended().outcome]


async def test_beyond_its_bound_the_journal_counts_the_oldest_as_dropped(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 10)
    small = partial(Journal, segment_bytes=2_000, max_bytes=10_000)
    monkeypatch.setattr(writer_module, "Journal", small)
    rows = [turn(n) for n in range(200)]
    async with Writer(Store("sqlite:////nowhere/records.db"), journal) as writer:
        for row in rows:
            writer.put(row)
    assert writer.journalled == 200
    assert writer.dropped == 200 - waiting(journal) > 0
    assert newest(journal) == rows[-1]


async def test_where_the_journal_is_of_no_use_rows_wait_in_memory(
    database: Database, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    async with database.store() as store, Writer(store, blocked / "journal") as writer:
        writer.put(turn(1))
        await until(lambda: writer.written == 1)
        database.stop()
        for n in range(2, 300):
            writer.put(turn(n))
        await asyncio.sleep(0.2)
        assert writer.queued == 298
        database.start()
        await until(lambda: writer.written == 299)
        assert await numbers(store) == list(range(1, 300))
    assert (writer.dropped, writer.journalled) == (0, 0)


async def test_it_ends_also_where_there_is_neither_database_nor_journal(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    nowhere = Store("sqlite:////nowhere/records.db")
    async with nowhere, Writer(nowhere, blocked / "journal") as writer:
        for n in range(300):
            writer.put(turn(n))
    assert (writer.written, writer.queued, writer.dropped) == (0, 0, 300)


async def test_a_locked_sqlite_keeps_no_put_waiting(tmp_path: Path, journal: Path) -> None:
    file = tmp_path / "records.db"
    async with Store(f"sqlite:///{file}", migrate=True) as store, Writer(store, journal) as writer:
        writer.put(turn(0))
        await until(lambda: writer.written == 1)
        other = sqlite3.connect(file)
        other.execute("BEGIN IMMEDIATE")
        for n in range(1, 100):
            writer.put(turn(n))
            await asyncio.sleep(0.005)
        await until(lambda: writer.journalled > 0)
        other.rollback()
        other.close()
        await until(lambda: writer.written + writer.replayed == 100)
        assert await numbers(store) == list(range(100))


async def test_the_tool_uses_of_one_key_are_one_by_way_of_the_journal_too(
    store: Store, writer: Writer
) -> None:
    first = tool_use(idempotency_key="a")
    writer.put(first)
    writer.put(tool_use(idempotency_key="a"))
    await until(lambda: writer.written == 2)
    assert await kept(store, type(first)) == [first]


# -- two processes ---------------------------------------------------------------------------------


async def test_two_processes_write_into_one_database(database: Database, journal: Path) -> None:
    async with database.store() as store:
        await store.write([], 10.0)
        run = [
            sys.executable,
            "-m",
            "tests.records.child",
            "write",
            "2",
            database.url,
            str(journal),
        ]
        done = await asyncio.to_thread(
            subprocess.run, run, check=True, stdout=subprocess.PIPE, text=True, timeout=50
        )
        for name in range(2):
            mine = [row.n for row in await kept(store, Turn) if row.call_id == f"call-{name}"]
            assert sorted(mine) == list(range(200))
        kept_tickets = {row.idempotency_key: row.number for row in await kept(store, Ticket)}
        assert len(kept_tickets) == 20
        told = Counter(done.stdout.splitlines())
        assert told == {f"{key} {number}": 2 for key, number in kept_tickets.items()}

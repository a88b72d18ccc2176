"""What is forgotten is nowhere: not in a table, not in a file, not in the journal."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from audiosocket_agent.business import sample
from audiosocket_agent.records import codec, erase, schema
from audiosocket_agent.records import journal as journal_module
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.ids import uuid7
from audiosocket_agent.records.journal import Journal
from audiosocket_agent.records.reference import KINDS, import_csv
from audiosocket_agent.records.rows import Row
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.sweep import sweep_days
from tests.records.made import (
    CALL,
    NUMBER,
    alive,
    begun,
    callback,
    ended,
    recording,
    ticket,
    tool_use,
    turn,
    usage,
)

SOON = 10.0
OF_CALLS = [table for table in schema.metadata.sorted_tables if table not in schema.BUSINESS]
OTHER = "99999999-9abc-def0-1234-56789abcdef0"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def left_in(journal: Path) -> list[bytes]:
    return [file.read_bytes() for file in journal.glob("*.jsonl")]


async def counts(store: Store) -> dict[str, int]:
    """Rows by table, where there are any."""
    found = {}
    async with store.reading() as connection:
        for table in OF_CALLS:
            rows = await connection.execute(select(func.count()).select_from(table))
            found[table.name] = int(rows.scalar_one())
    return {name: count for name, count in found.items() if count}


async def a_call(
    store: Store, call_id: str = CALL, number: str = NUMBER, key: str = "a", **call: Any
) -> None:
    """One row in every table."""
    of = {"call_id": call_id}
    rows: list[Row] = [
        ended(id=call_id, caller=number, **call),
        turn(call_id=call_id),
        tool_use(**of),
    ]
    rows += [usage(**of), recording(f"/nowhere/{key}.wav", **of), alive(caller=number, **of)]
    await store.write(rows, SOON)
    await store.commit(ticket(key, caller=number, **of), SOON)
    await store.commit(callback(key, number=number, **of), SOON)


ONE_OF_EACH = {table.name: 1 for table in OF_CALLS}


async def test_of_a_call_that_is_forgotten_there_is_nothing_and_of_others_all(
    store: Store, journal: Path
) -> None:
    await a_call(store)
    await a_call(store, OTHER, key="b")
    erased = await erase.forget_call(store, journal, CALL)
    assert (erased.calls, erased.tickets, erased.callbacks) == (1, 1, 1)
    assert erased.missing == ["/nowhere/a.wav"]
    assert await counts(store) == ONE_OF_EACH
    assert (await erase.forget_call(store, journal, CALL)).calls == 0


async def test_of_a_caller_that_is_forgotten_there_is_nothing(store: Store, journal: Path) -> None:
    await a_call(store)
    await a_call(store, OTHER, "+4930123", key="b")
    await store.commit(ticket("by hand", call_id=""), SOON)
    await store.commit(callback("by hand", call_id=""), SOON)
    erased = await erase.forget_caller(store, journal, NUMBER)
    assert (erased.calls, erased.tickets, erased.callbacks) == (1, 2, 2)
    assert await counts(store) == ONE_OF_EACH


async def test_a_caller_is_forgotten_however_the_number_is_written(
    store: Store, journal: Path
) -> None:
    national, whole, zero = "9876543210", "+919876543210", "09876543210"
    await a_call(store, number=whole)
    await store.commit(ticket("by hand", call_id="", caller=national), SOON)
    await store.commit(callback("by hand", call_id="", number=zero), SOON)
    await a_call(store, OTHER, "+919876543211", key="b")
    erased = await erase.forget_caller(store, journal, zero)
    assert erased.numbers == sorted([national, whole, zero])
    assert (erased.calls, erased.tickets, erased.callbacks, erased.ids) == (1, 2, 2, [CALL])
    assert await counts(store) == ONE_OF_EACH


async def test_a_caller_of_many_calls_is_forgotten_in_pieces(
    store: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase, "_CHUNK", 3)
    await store.write([ended(id=uuid7()) for _ in range(10)], SOON)
    assert (await erase.forget_caller(store, journal, NUMBER)).calls == 10
    assert await counts(store) == {}


async def test_what_waits_in_the_journal_does_not_come_back(
    store: Store, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "REPLAY_ROWS", 2)
    await store.write([begun()], SOON)
    waiting = Journal(journal)
    async with waiting.held():
        await waiting.append([turn(1), ended(), turn(1, call_id=OTHER)])
    waiting.close()
    erased = await erase.forget_call(store, journal, CALL)
    assert erased.up == []
    assert left_in(journal) == []
    assert await counts(store) == {"turns": 1}


async def test_a_call_that_is_up_is_named(store: Store, journal: Path) -> None:
    await store.write([begun(), turn(), alive(written_at=datetime.now(UTC))], SOON)
    erased = await erase.forget_call(store, journal, CALL)
    assert erased.up == [CALL]
    assert await counts(store) == {}


async def test_a_call_that_nobody_has_any_more_is_not_up(store: Store, journal: Path) -> None:
    await store.write([begun(), turn(), alive()], SOON)  # of a process that was killed
    erased = await erase.forget_call(store, journal, CALL)
    assert (erased.calls, erased.up) == (1, [])


async def test_the_recording_goes_with_its_row(store: Store, journal: Path, tmp_path: Path) -> None:
    wav = tmp_path / "call.wav"
    await asyncio.to_thread(wav.write_bytes, b"RIFF")
    await store.write([ended(), recording(wav)], SOON)
    erased = await erase.forget_call(store, journal, CALL)
    assert (erased.recordings, erased.missing) == (1, [])
    assert not await asyncio.to_thread(wav.exists)


async def test_a_recording_that_cannot_be_deleted_is_not_lost_sight_of(
    store: Store, journal: Path, tmp_path: Path
) -> None:
    await store.write([ended(), recording(tmp_path)], SOON)  # a directory
    stuck = {str(tmp_path): "Is a directory"}
    assert (await erase.forget_call(store, journal, CALL)).stuck == stuck
    assert await counts(store) == {"recordings": 1}
    assert (await erase.forget_call(store, journal, CALL)).stuck == stuck  # tries again


async def test_a_recording_that_cannot_be_deleted_keeps_no_other_call(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase, "_CHUNK", 1)
    gone = tmp_path / "gone.wav"
    await asyncio.to_thread(gone.touch)
    long_ago = "00000000-0000-7000-8000-00000000000"
    stuck = recording(tmp_path, id=f"{long_ago}1")
    await store.write([ended(), turn(), stuck, ended(id=OTHER)], SOON)
    await store.write([recording(gone, call_id=OTHER, id=f"{long_ago}2")], SOON)
    erased = await erase.expire(store, datetime.now(UTC) + timedelta(days=1))
    assert (erased.calls, erased.recordings, list(erased.stuck)) == (2, 1, [str(tmp_path)])
    assert await counts(store) == {"recordings": 1}
    await asyncio.to_thread(gone.touch)
    await store.write([recording(gone, call_id=OTHER, id=f"{long_ago}3")], SOON)
    await erase.expire(store, datetime.now(UTC) + timedelta(days=1))  # comes past it, and ends
    assert await counts(store) == {"recordings": 1}
    assert not await asyncio.to_thread(gone.exists)


async def test_of_a_caller_that_is_forgotten_no_byte_is_left_in_sqlites_files(
    tmp_path: Path, journal: Path
) -> None:
    def files_with(planted: str) -> list[str]:
        files = tmp_path.rglob("*")
        return [
            file.name for file in files if file.is_file() and planted.encode() in file.read_bytes()
        ]

    planted = "+919999888777"
    async with Store(f"sqlite:///{tmp_path}/records.db", migrate=True) as store:
        for n in range(50):
            await store.write([ended(id=uuid7(), caller=planted), turn(n, text=planted)], SOON)
            await store.commit(ticket(str(n), caller=planted), SOON)
        waiting = Journal(journal)
        async with waiting.held():
            await waiting.append([ended(id=uuid7(), caller=planted)])
        waiting.close()
        assert await asyncio.to_thread(files_with, planted)
        await erase.forget_caller(store, journal, planted)
        await erase.forget_call(store, journal, CALL)  # whose turns say the number
        assert await asyncio.to_thread(files_with, planted) == []


async def test_what_is_old_goes_and_what_is_open_stays(store: Store) -> None:
    now = datetime.now(UTC)
    old, long_ago = now - timedelta(days=31), "00000000-0000-7000-8000-000000000000"
    await a_call(store, started_at=old)
    await store.write([ended(id=OTHER, started_at=now)], SOON)
    await store.write([turn(call_id=OTHER), turn(call_id="was dropped", id=long_ago)], SOON)
    await store.commit(ticket("new", status="closed", created_at=now), SOON)
    await store.commit(ticket("settled", status="closed", created_at=old), SOON)
    await store.commit(callback("done", status="done", created_at=old), SOON)

    erased = await erase.expire(store, now - timedelta(days=30))
    assert (erased.calls, erased.tickets, erased.callbacks) == (1, 1, 1)
    assert await counts(store) == {"calls": 1, "turns": 1, "tickets": 2, "callbacks": 1}


async def test_without_the_database_nothing_is_forgotten(journal: Path) -> None:
    waiting = Journal(journal)
    async with waiting.held():
        await waiting.append([ended()])
    waiting.close()
    async with Store("sqlite:////nowhere/records.db") as store:
        with pytest.raises(StoreError):
            await erase.forget_call(store, journal, CALL)
    assert left_in(journal) == [codec.line(ended())]


async def test_what_a_business_knows_of_its_customers_is_not_of_any_call(
    store: Store, journal: Path
) -> None:
    customer = "+915555500201"  # has orders, and an account has their number
    await a_call(store, number=customer)
    for kind in KINDS:
        await import_csv(store, kind, sample(kind))
    erased = await erase.forget_caller(store, journal, customer)
    assert (erased.calls, erased.tickets, erased.callbacks) == (1, 1, 1)
    await erase.expire(store, datetime.now(UTC) + timedelta(days=1))
    for kind in KINDS:
        assert (await import_csv(store, kind, sample(kind))).added == 0


def test_of_recordings_here_those_of_old_days_go_whoever_has_deleted_their_rows(
    tmp_path: Path,
) -> None:
    names = {
        name: tmp_path / name.format(CALL)
        for name in (
            "2026/11/18/{}.wav",
            "2026/11/18/{}-2.wav",
            "2026/11/19/{}.wav",
            "open/2026-11-18_{}.wav",
            "open/2026-11-19_{}.wav",
            "of-others/{}.wav",
            "2026/11/18/speech.wav",
            "2026/13/18/{}.wav",
        )
    }
    for path in names.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sweep_days(tmp_path, date(2026, 11, 19)) == (3, {})
    gone = [name for name, path in names.items() if not path.exists()]
    assert gone == ["2026/11/18/{}.wav", "2026/11/18/{}-2.wav", "open/2026-11-18_{}.wav"]
    assert sweep_days(tmp_path / "nowhere", date(2026, 11, 19)) == (0, {})

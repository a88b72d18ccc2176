"""Rows into the database and out again, alike on both."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, String, Table, select

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.records import codec, schema
from audiosocket_agent.records import store as store_module
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.ids import read_ticket_number, uuid7
from audiosocket_agent.records.rows import (
    TABLES,
    Call,
    Gone,
    Lost,
    Recording,
    Row,
    ToolUse,
    Turn,
    Usage,
)
from audiosocket_agent.records.store import Store
from tests.records.conftest import Database
from tests.records.made import (
    alive,
    begun,
    callback,
    ended,
    minutes,
    recording,
    ticket,
    tool_use,
    turn,
    usage,
)
from tests.records.postgres import Cluster
from tests.records.strategies import parts

SOON = 10.0


async def kept(store: Store, kind: type[Any]) -> list[Any]:
    table = TABLES[kind]
    async with store.reading() as connection:
        found = await connection.execute(select(table).order_by(table.c.id))
        return [kind(**row) for row in found.mappings()]


async def test_every_kind_of_row_comes_back_as_it_was_written(store: Store) -> None:
    rows: list[Row] = [ended(), turn(), tool_use(), usage(), recording()]
    assert await store.write(rows, SOON) == 5
    for row in rows:
        assert await kept(store, type(row)) == [row]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(parts, max_size=20))
async def test_any_row_comes_back_as_it_was_written(store: Store, rows: list[Row]) -> None:
    assert await store.write(rows, SOON) == len(rows)
    found = {
        row.id: codec.values(row)
        for kind in (Turn, ToolUse, Usage, Recording)
        for row in await kept(store, kind)
    }
    for row in rows:
        assert isinstance(row, Turn | ToolUse | Usage | Recording)
        assert found[row.id] == codec.values(row)


async def test_a_row_that_is_written_twice_is_one_row(store: Store) -> None:
    rows: list[Row] = [begun(), turn(), tool_use(), usage(), recording()]
    for _ in range(2):
        assert await store.write(rows, SOON) == 5
    for row in rows:
        assert await kept(store, type(row)) == [row]


async def test_the_second_use_of_a_tool_under_one_key_is_none(store: Store) -> None:
    first, second = tool_use(idempotency_key="a"), tool_use(idempotency_key="a")
    await store.write([first, second], SOON)
    assert await kept(store, ToolUse) == [first]


async def test_a_call_is_what_was_said_of_it_last(store: Store) -> None:
    await store.write([begun()], SOON)
    answered = begun(answered_at=minutes(0.1))
    await store.write([answered], SOON)
    assert await kept(store, Call) == [answered]
    await store.write([ended()], SOON)
    await store.write([begun()], SOON)  # late, from a journal
    assert await kept(store, Call) == [ended()]
    corrected = ended(reason="goodbye")
    await store.write([corrected], SOON)
    assert await kept(store, Call) == [corrected]


async def test_a_later_call_with_the_uuid_of_one_that_has_ended_does_not_replace_it(
    store: Store,
) -> None:
    later = ended(started_at=minutes(60), caller="+4930123")
    await store.write([ended()], SOON)
    await store.write([later], SOON)
    assert await kept(store, Call) == [ended()]
    await store.write([ended(outcome="lost")], SOON)
    await store.write([later], SOON)  # perhaps the same, which nobody could take up again
    assert await kept(store, Call) == [later]


async def test_calls_of_a_service_that_died_are_lost(store: Store) -> None:
    mine, running = begun(instance="a"), begun(id=uuid7(), instance="a", started_at=minutes(9))
    other, over = begun(id=uuid7(), instance="b"), ended(id=uuid7(), instance="a")
    await store.write([mine, running, other, over], SOON)
    await store.write([Lost(of="a", before=minutes(5))], SOON)
    outcomes = {call.id: call.outcome for call in await kept(store, Call)}
    assert outcomes == {mine.id: "lost", running.id: None, other.id: None, over.id: over.outcome}
    await store.write([ended(instance="a")], SOON)  # it was not
    assert ended(instance="a") in await kept(store, Call)


async def test_one_row_that_does_not_fit_takes_no_other_with_it(store: Store) -> None:
    assert await store.write([turn(1), turn(2, text=b"bytes"), turn(3)], SOON) == 2
    assert [row.n for row in await kept(store, Turn)] == [1, 3]


async def test_one_row_that_the_database_refuses_takes_no_other_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = codec.values

    def without_text(row: Any) -> dict[str, Any]:
        return whole(row) | ({"text": None} if getattr(row, "n", 0) == 2 else {})

    monkeypatch.setattr(codec, "values", without_text)
    rows: list[Row] = [begun(), turn(1), turn(2), turn(3)]
    assert await store.write(rows, SOON) == 3
    assert [row.n for row in await kept(store, Turn)] == [1, 3]
    assert await kept(store, Call) == [begun()]


# -- promises --------------------------------------------------------------------------------------


async def test_a_ticket_gets_its_number_when_it_is_on_the_disk(store: Store) -> None:
    told = await store.commit(ticket(), SOON)
    assert read_ticket_number(told.number) == told.number
    assert await kept(store, type(told)) == [told]


async def test_the_same_key_is_the_same_ticket(store: Store) -> None:
    first = await store.commit(ticket("a"), SOON)
    assert await store.commit(ticket("a", subject="again"), SOON) == first
    assert await store.commit(ticket("b"), SOON) != first


async def test_the_same_key_at_the_same_time_is_the_same_ticket(store: Store) -> None:
    told = await asyncio.gather(*(store.commit(ticket("a"), SOON) for _ in range(8)))
    assert len({each.number for each in told}) == 1
    assert len(await kept(store, type(told[0]))) == 1


async def test_a_number_that_is_taken_is_not_given_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(["48217306", "48217306", "48217306", "51938406"])
    monkeypatch.setattr(store_module, "ticket_number", lambda: next(numbers))
    assert (await store.commit(ticket("a"), SOON)).number == "48217306"
    assert (await store.commit(ticket("b"), SOON)).number == "51938406"


async def test_where_no_number_is_free_there_is_no_ticket(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ticket_number", lambda: "48217306")
    await store.commit(ticket("a"), SOON)
    with pytest.raises(StoreError, match="no number for a ticket is free"):
        await store.commit(ticket("b"), SOON)


async def test_a_callback_is_promised_once(store: Store) -> None:
    promised = callback("a")
    assert await store.commit(promised, SOON) == promised
    assert await store.commit(replace(callback("a"), due_at=minutes(5)), SOON) == promised


async def test_a_promise_that_does_not_fit_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError, match=r"Ticket\.subject should be text"):
        await store.commit(ticket(subject=None), SOON)


# -- a database that is not there ------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@127.0.0.1:1/records",
        "sqlite:////nowhere/s3cret-is-no-password/records.db",
    ],
)
async def test_an_error_names_the_database_and_no_password(url: str) -> None:
    async with Store(url) as store:
        with pytest.raises(StoreError, match=r"^(postgresql|sqlite)://") as told:
            await store.write([turn()], SOON)
    assert told.value.retryable
    assert "user" not in str(told.value)
    assert ":s3cret" not in str(told.value)
    assert "\n" not in str(told.value)


async def test_a_database_that_goes_is_an_error_and_is_used_again_when_it_is_back(
    database: Database, hurried: None
) -> None:
    async with database.store() as store:
        await store.write([turn(1)], SOON)
        database.stop()
        for _ in range(2):
            with pytest.raises(StoreError):
                await store.write([turn(2)], SOON)
            with pytest.raises(StoreError):
                await store.commit(ticket(), SOON)
        database.start()
        await store.write([turn(3)], SOON)
        assert [row.n for row in await kept(store, Turn)] == [1, 3]


def copy(file: Path, to: Path) -> None:
    with closing(sqlite3.connect(file)) as here, closing(sqlite3.connect(to)) as there:
        here.backup(there)


def replace_by(file: Path, backup: Path) -> None:
    for part in file.parent.glob(f"{file.name}*"):
        part.unlink()
    backup.rename(file)


async def test_another_file_in_its_place_is_used_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    backup = tmp_path / "backup.db"
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        await store.write([turn(1)], SOON)
        copy(file, backup)
        await store.write([turn(2)], SOON)
        replace_by(file, backup)
        await store.write([turn(3)], SOON)
    async with Store(f"sqlite:///{file}") as store:
        assert [row.n for row in await kept(store, Turn)] == [1, 3]


async def test_what_was_written_to_the_file_before_it_does_not_spoil_another_in_its_place(
    tmp_path: Path,
) -> None:
    file, backup = tmp_path / "records.db", tmp_path / "backup.db"
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        await store.write([turn(1)], SOON)
        copy(file, backup)
        for n in range(2, 100):
            await store.write([turn(n, text="a" * 2000)], SOON)
        backup.rename(file)
        await store.write([turn(100)], SOON)
        assert [row.n for row in await kept(store, Turn)] == [1, 100]
    with closing(sqlite3.connect(file)) as after:
        assert [*after.execute("PRAGMA integrity_check")] == [("ok",)]


async def test_what_sqlite_keeps_of_its_file_in_memory_is_bounded(tmp_path: Path) -> None:
    async with Store(f"sqlite:///{tmp_path / 'records.db'}", migrate=True) as store:
        async with store.reading() as connection:
            kept = await connection.exec_driver_sql("PRAGMA cache_size")
            assert kept.scalar() == -256  # kB; by itself it would be 2 MB, for each connection


async def test_another_process_that_writes_for_too_long_is_an_error_in_time(
    tmp_path: Path, hurried: None
) -> None:
    file = tmp_path / "records.db"
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        await store.write([turn(1)], SOON)
        other = sqlite3.connect(file)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            await store.write([turn(2)], SOON)
        with pytest.raises(StoreError, match=r"no answer within 0\.05 s"):
            await store.commit(ticket(), 0.05)
        assert len(await kept(store, Turn)) == 1  # who reads does not wait
        other.rollback()
        other.close()
        told = await store.commit(ticket(), SOON)
        assert await kept(store, type(told)) == [told]


async def test_what_was_given_up_and_is_written_all_the_same_comes_before_what_follows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "records.db"
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        await store.open()
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            # SQLite looks again after 53 ms, and then after 78: what follows could be there before it
            with pytest.raises(StoreError, match=r"no answer within 0\.06 s"):
                await store.write([alive(peer="before")], 0.06)
            follows = asyncio.create_task(store.write([alive(peer="after")], SOON))
            await asyncio.sleep(0)
        await follows
    with closing(sqlite3.connect(file)) as after:  # both are over
        assert [*after.execute("SELECT peer FROM live")] == [("after",)]


async def test_a_store_is_closed_once_what_was_given_up_is_over(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        await store.open()
        other = sqlite3.connect(file, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            await store.write([turn(1)], 0.05)
        asyncio.get_running_loop().call_later(0.1, other.rollback)
    with closing(other):
        assert [*other.execute("SELECT n FROM turns")] == [(1,)]


async def test_without_psycopg_a_postgresql_is_a_mistake_in_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigError, match="psycopg"):
        Store("postgresql://db/records")


def test_no_table_refers_to_another() -> None:
    assert not any(table.foreign_keys for table in schema.metadata.tables.values())


async def test_that_a_row_is_lacking_is_said_only_where_it_is_certain(store: Store) -> None:
    row, certain = alive(), store.place.file is not None
    assert await store.lacks(schema.live, row.call_id) is certain
    await store.write([row], SOON)
    assert not await store.lacks(schema.live, row.call_id)
    await store.write([Gone(call_id=row.call_id, life=row.life)], SOON)
    assert await store.lacks(schema.live, row.call_id) is certain


async def test_a_database_that_cannot_be_asked_lacks_nothing(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    elsewhere = Table("elsewhere", MetaData(), Column("id", String, primary_key=True))
    async with Store(f"sqlite:///{file}", migrate=True) as store:
        with pytest.raises(StoreError, match="no such table"):
            await store.lacks(elsewhere, "a")
        file.unlink()
        with pytest.raises(StoreError, match="No such file"):
            await store.lacks(schema.live, "a")


@pytest.mark.pbx
async def test_a_server_that_can_only_be_read_after_a_fail_over_is_left(cluster: Cluster) -> None:
    url = cluster.database()
    async with Store(url, migrate=True) as store:
        await store.write([turn(1)], SOON)
    with psycopg.connect(url, autocommit=True) as other:

        def only_read(how: str) -> None:
            name = other.info.dbname
            other.execute(
                f"ALTER DATABASE {name} SET default_transaction_read_only = {how}".encode()
            )

        only_read("on")
        async with Store(url) as store:
            with pytest.raises(StoreError, match="read-only"):
                await store.write([turn(2)], SOON)
            only_read("off")  # of those who connect from now on
            await store.write([turn(3)], SOON)
            assert [row.n for row in await kept(store, Turn)] == [1, 3]

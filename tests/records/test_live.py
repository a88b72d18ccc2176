"""Rows of calls that are up: the newest counts, one takes it up, and it is gone with its call."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select

from audiosocket_agent.records import listing, live, schema
from audiosocket_agent.records.rows import LOST, Alive, Gone, Lost
from audiosocket_agent.records.store import Store
from tests.records.made import CALL, NOON, alive, begun, ended, minutes, turn

SOON = 10.0


async def rows(store: Store) -> list[Alive]:
    async with store.reading() as connection:
        found = await connection.execute(select(schema.live))
        return [Alive(**row) for row in found.mappings()]


async def taken(store: Store, instance: str, at: float = 2) -> tuple[Alive, int] | None:
    now, since = minutes(at), minutes(at - 10)
    return await live.take_up(store, CALL, instance, now, since, lambda row: True)


async def test_the_newest_row_is_the_calls(store: Store) -> None:
    await store.write([alive(), alive(handle="newer"), alive(handle="newest")], SOON)
    [row] = await rows(store)
    assert row == alive(handle="newest")


async def test_what_is_over_has_no_row_in_whatever_order_a_batch_has_it(store: Store) -> None:
    other = alive(call_id="other")
    gone = [Gone(call_id="other", life=0), Gone(call_id=CALL, life=0)]
    assert await store.write([other], SOON) == 1
    assert await store.write([gone[0], alive(), gone[1]], SOON) == 3
    assert await rows(store) == []


async def test_a_call_has_been_as_soon_as_it_has_a_record(store: Store) -> None:
    assert not await live.has_been(store, CALL)
    await store.write([begun()], SOON)
    assert await live.has_been(store, CALL)


async def test_of_those_who_take_a_call_up_at_once_one_gets_it(store: Store) -> None:
    await store.write([alive()], SOON)
    found = await asyncio.gather(*(taken(store, f"pbx:{n}") for n in range(5)))
    lives = [row.life for row, _ in filter(None, found)]
    assert lives == sorted(set(lives))
    [row] = await rows(store)
    assert row.life == max(lives)


async def test_a_process_that_has_lost_its_call_changes_nothing_any_more(store: Store) -> None:
    await store.write([begun(instance="pbx:9092"), turn(1), turn(7), alive()], SOON)
    found = await taken(store, "other:9092")
    assert found is not None
    row, turns = found
    assert (row.life, row.instance, row.handle, turns) == (1, "other:9092", "a-handle", 7)
    await store.write([alive(handle="of the old one"), Gone(call_id=CALL, life=0)], SOON)
    [there] = await rows(store)
    assert (there.handle, there.life) == ("a-handle", 1)
    await store.write([replace(row, handle="newer"), Gone(call_id=CALL, life=1)], SOON)
    assert await rows(store) == []


async def test_a_call_that_goes_on_is_not_lost(store: Store) -> None:
    lost = Lost(of="pbx:9092", before=minutes(1.5))
    await store.write([begun(instance="pbx:9092"), alive(), lost], SOON)
    assert await outcome(store) == LOST
    assert await taken(store, "pbx:9092")
    assert await outcome(store) is None
    await store.write([lost], SOON)  # the journal brings it late
    assert await outcome(store) is None
    await store.write([ended(instance="pbx:9092")], SOON)
    assert await outcome(store) == "caller_hangup"


async def outcome(store: Store) -> str | None:
    found = await listing.call(store, CALL)
    assert found is not None
    return found.call.outcome


async def test_what_nobody_has_written_for_long_is_dead_and_forgotten(store: Store) -> None:
    await store.write([alive()], SOON)  # at 12:01
    assert await taken(store, "pbx:9092", at=12) is None
    assert await live.forget_stale(store, minutes(0.5)) == 0
    assert await live.forget_stale(store, minutes(1)) == 1
    assert await rows(store) == []


def test_rows_as_they_are_made_here_are_of_noon() -> None:
    assert alive().began_at == NOON < datetime.now(UTC)

"""A business's data from CSV files: all of a file, or none of it and every mistake."""

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from audiosocket_agent.business import sample
from audiosocket_agent.records import lookup, reference, schema
from audiosocket_agent.records.reference import KINDS, Imported, ImportRefused, import_csv
from audiosocket_agent.records.store import Store

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=ZoneInfo("Asia/Kolkata"))

ORDERS = """\
Number, phone ,items,amount,currency,status,ordered_at,expected_at
BZ-1,+91 (55555) 00201,"Atta 5 kg,
  two packets",303.5,INR,packed,2026-11-19 18:40,
bz 2,05555500202,आटा,12,INR,placed,2026-11-19T18:40+01:00,now-90m

BZ3,05555500203,Salt,0.99,INR,placed,today-1 00:30,today+2 09:00
"""
SECRETS = """\
number,name,phone,area,address,digits
2000451177,Sunita,5555500101,Sector 62,B-14,4711
2000451268,Rajesh,5555500102,Sector 18,Shop 21,0026
"""


def lines(text: str) -> Iterable[str]:
    return io.StringIO(text, newline="")


async def rows(store: Store, kind: str) -> list[Mapping[str, Any]]:
    table = KINDS[kind].table
    query = select(table).order_by(*table.primary_key.columns)
    async with store.reading() as connection:
        return [{**row} for row in (await connection.execute(query)).mappings()]


async def mistakes(store: Store, kind: str, text: str) -> list[str]:
    """What is told of a file; nothing of it is written."""
    with pytest.raises(ImportRefused) as refused:
        await import_csv(store, kind, lines(text), file="in.csv", now=NOON)
    assert await rows(store, kind) == []
    assert str(refused.value) == "\n".join(refused.value.mistakes)
    return list(refused.value.mistakes)


async def test_a_file_becomes_rows_of_their_types(store: Store) -> None:
    assert await import_csv(store, "orders", lines(ORDERS), now=NOON) == Imported("orders", 3, 3, 0)
    first, second, third = await rows(store, "orders")
    assert first == {
        "number": "BZ1",
        "phone": "+915555500201",
        "phone_end": "555500201",
        "items": "Atta 5 kg, two packets",
        "amount": Decimal("303.50"),
        "currency": "INR",
        "status": "packed",
        "ordered_at": datetime(2026, 11, 19, 13, 10, tzinfo=UTC),
        "expected_at": None,
        "note": "",
        "failed": 0,
        "failed_at": None,
    }
    assert (second["number"], second["phone"]) == ("BZ2", "5555500202")
    assert second["ordered_at"] == datetime(2026, 11, 19, 17, 40, tzinfo=UTC)
    assert second["expected_at"] == datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
    assert third["ordered_at"] == datetime(2026, 11, 18, 19, 0, tzinfo=UTC)
    assert third["expected_at"] == datetime(2026, 11, 22, 3, 30, tzinfo=UTC)


async def test_the_sample_is_taken_and_twice_is_once(store: Store) -> None:
    assert set(KINDS) == {table.name for table in schema.BUSINESS}
    for kind in KINDS:
        done = await import_csv(store, kind, sample(kind), now=NOON)
        assert done.added == done.rows > 0
        before = await rows(store, kind)
        for replace in (False, True):
            again = await import_csv(store, kind, sample(kind), now=NOON, replace=replace)
            assert again == Imported(kind, done.rows, 0, 0)
        assert await rows(store, kind) == before
    known = {row["name"] for row in await rows(store, "areas")}
    assert {row["area"] for row in await rows(store, "outages")} <= known
    assert {row["area"] for row in await rows(store, "accounts")} <= known
    accounts = {row["number"] for row in await rows(store, "accounts")}
    assert {row["account"] for row in await rows(store, "bills")} == accounts
    assert min(row["day"] for row in await rows(store, "weather")) == date(2026, 11, 20)


async def test_rows_of_the_same_key_are_changed_and_others_stay_unless_replaced(
    store: Store,
) -> None:
    await import_csv(store, "orders", lines(ORDERS), now=NOON)
    head, _, rest = ORDERS.partition("\n")
    changed = f"{head}\n" + rest.replace("packed", "delivered").split("bz 2")[0]
    changed += "BZ4,05555500204,Oil,182,INR,placed,today 09:00,\n"
    assert await import_csv(store, "orders", lines(changed), now=NOON) == Imported(
        "orders", 2, 1, 0
    )
    assert {row["number"]: row["status"] for row in await rows(store, "orders")} == {
        "BZ1": "delivered",
        "BZ2": "placed",
        "BZ3": "placed",
        "BZ4": "placed",
    }
    done = await import_csv(store, "orders", lines(changed), now=NOON, replace=True)
    assert done == Imported("orders", 2, 0, 2)
    assert [row["number"] for row in await rows(store, "orders")] == ["BZ1", "BZ4"]


async def test_an_import_forgets_no_wrong_tries(store: Store) -> None:
    await import_csv(store, "accounts", lines(SECRETS))
    await lookup.prove(store, lookup.ACCOUNTS, "2000451177", lambda row: False, NOON)
    for replace in (False, True):
        await import_csv(store, "accounts", lines(SECRETS), replace=replace)
        assert [row["failed"] for row in await rows(store, "accounts")] == [1, 0]
    assert [row["digits"] for row in await rows(store, "accounts")] == ["4711", "0026"]


async def test_every_mistake_is_told_with_its_line_and_column(store: Store) -> None:
    text = (
        "number,phone,items,amount,currency,status,ordered_at\n"
        'BZ1,+915555500201,"two\nlines",12.345,INR,placed,2026-11-19 18:40\n'
        "BZ2,none,Salt,12,rupees,,2026-13-19 18:40\n"
        "BZ2,5555500202,Salt,12,INR,placed,today 25:00\n"
        "BZ3,5555500203,Salt\n"
        "bz-4,5555500202,Salt,12,INR,placed,today 09:00\n"
        "BZ4,5555500202,Salt,12,INR,placed,1026-11-19\n"
        f"{'9' * 40},5555500202,\x07,12,INR,placed,today+999 23:00\n"
    )
    time = "a day and a time, as 2026-11-21 18:30, today-1 18:30 or now-3h"
    number = "the order's number: up to 32 of A-Z and 0-9; signs and spaces do not count"
    assert await mistakes(store, "orders", text) == [
        "in.csv:2: amount: should be an amount, as 1250.50, not '12.345'",
        "in.csv:4: phone: should be a telephone number, best as +911204567890, not 'none'",
        "in.csv:4: currency: should be a currency of three letters, as INR, not 'rupees'",
        "in.csv:4: status: is empty",
        f"in.csv:4: ordered_at: should be {time}, not '2026-13-19 18:40'",
        f"in.csv:5: ordered_at: should be {time}, not 'today 25:00'",
        "in.csv:6: has 3 cells, the first line has 7",
        f"in.csv:8: ordered_at: should be {time}, not '1026-11-19'",
        f"in.csv:9: number: should be {number}, not '{'9' * 40}'",
        "in.csv:9: items: should be what was ordered, up to 300 characters, not '\\x07'",
        "in.csv:5: number: is there already, in line 4",
        "in.csv:8: number: is there already, in line 7",
    ]


async def test_a_secret_is_in_no_mistake(store: Store) -> None:
    told = await mistakes(store, "accounts", SECRETS.replace("4711", "47x1"))
    assert told == ["in.csv:2: digits: should be the 4 to 12 secret digits"]


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("bills", "", "in.csv:1: account: is missing"),
        ("bills", "account,period,amount,currency,due_on,status\n", "in.csv:1: there are no rows"),
        (
            "weather",
            "place,day,text,min_c,min_c\nx,today,y,1,1\n",
            "in.csv:1: min_c: is there twice",
        ),
        (
            "weather",
            "place,day,text,wind\nx,today,y,1\n",
            "in.csv:1: wind: no such column; there are place, also_called, day, text, min_c, max_c",
        ),
        ("weather", 'place,day,text\nx,today,"y\n', "in.csv:2: unexpected end of data"),
        ("weather", "place,day,text\nx,today+1000,y\n", "in.csv:2: day: should be a day"),
        ("weather", "place,day,text\n\ud800,today,y\n", "in.csv:2: place: should be a text"),
        (
            "areas",
            "name,city,pincode,supplied\nx,y,201301,perhaps\n",
            "in.csv:2: supplied: should be",
        ),
        ("areas", "name,city,pincode,supplied\nx,y,२०१३०१,yes\n", "in.csv:2: pincode: should be"),
        (
            "products",
            "sku,name,price,currency,stock,unit\nx,y,1e9,INR,1,z\n",
            "in.csv:2: price: should be",
        ),
        (
            "products",
            "sku,name,price,currency,stock,unit\nx,y,1,INR,-1,z\n",
            "in.csv:2: stock: should be",
        ),
    ],
)
async def test_what_is_no_such_file_is_told(store: Store, kind: str, text: str, told: str) -> None:
    assert (await mistakes(store, kind, text))[0].startswith(told)


async def test_a_file_of_a_spreadsheet_is_read_and_another_encoding_is_not(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "areas.csv"
    text = "name,city,pincode,supplied\r\nसेक्टर 62,Noida,201309,yes\r\n"
    file.write_text(text, encoding="utf-8-sig", newline="")
    with file.open(encoding="utf-8", newline="") as opened:
        assert (await import_csv(store, "areas", opened)).rows == 1
    file.write_text(text, encoding="utf-16", newline="")
    with (
        file.open(encoding="utf-8", newline="") as opened,
        pytest.raises(ImportRefused, match=r"^areas.csv:1: is not UTF-8$"),
    ):
        await import_csv(store, "areas", opened)


async def test_a_file_has_its_bounds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    head, row = "place,day,text\n", "Noida,today+{},sunny\n"
    many = head + "".join(row.format(number) for number in range(30))
    monkeypatch.setattr(reference, "MAX_ROWS", 20)
    assert await mistakes(store, "weather", many) == ["in.csv:22: there are more than 20 rows"]
    monkeypatch.setattr(reference, "MAX_MISTAKES", 5)
    wrong = head + "Noida,never,sunny\n" * 30
    told = await mistakes(store, "weather", wrong)
    assert told[-1] == "in.csv: and more"
    assert len(told) == 6
    monkeypatch.setattr(reference, "MAX_CHARS", 100)
    told = await mistakes(store, "weather", many)
    assert told == ["in.csv:6: the file has more than 100 characters"]


async def test_every_column_says_what_fits(store: Store) -> None:
    for kind in KINDS.values():
        assert kind.about
        assert set(kind.key) <= {cell.name for cell in kind.cells}
        for cell in kind.cells:
            assert cell.what
            with pytest.raises(ValueError):  # noqa: PT011 - it has no text: the caller has
                cell.read("\x00" * 10, NOON)

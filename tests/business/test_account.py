"""Bills are told to who has the account's number and its secret digits; nobody else learns anything."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from audiosocket_agent.business import Rules, office, sample, tools
from audiosocket_agent.business.office import CANNOT_LOOK, Office
from audiosocket_agent.business.proof import ACCOUNT_FIRST, BY_KEYS, NO_MORE, WRONG_ACCOUNT
from audiosocket_agent.records import lookup, reference, schema
from audiosocket_agent.tools.audit import Used
from tests.business.talk import INDIA, LOCAL_NOON, Desk, error_of

SUNITA, HER_DIGITS = "2000451177", "4711"
RAJESH, HIS_DIGITS = "2000451268", "8026"


def shown(rows: list[Used]) -> str:
    return json.dumps([row.arguments for row in rows])


async def test_a_caller_who_proves_the_account_is_told_its_bills(desk: Desk) -> None:
    async with desk.call(secrets=[HER_DIGITS]) as call:
        told = await call.use("get_bill", account="2000 451-177", digits="secret-1")
        latest = told["bills"][0]
        assert latest == {
            "period": "2026-10",
            "period_in_words": "October 2026",
            "amount": 2340.5,
            "currency": "INR",
            "status": "unpaid",
            "due_on": "2026-11-26",
            "due_on_in_words": "Thursday 26 November 2026",
            "units": 312.0,
        }
        assert [bill["status"] for bill in told["bills"]] == ["unpaid", "paid", "paid"]
        assert told["to_pay"] == [{"amount": 2340.5, "currency": "INR"}]
        again = await call.use("get_bill")
        assert again == told  # it is proven for the rest of the call
        assert HER_DIGITS not in shown(call.rows)


async def test_what_is_overdue_is_told_so_and_months_are_added_up(desk: Desk) -> None:
    async with desk.call(secrets=[HIS_DIGITS]) as call:
        told = await call.use("get_bill", account=RAJESH, digits="secret-1")
        assert [bill["overdue"] for bill in told["bills"]] == [True, True]
        assert told["to_pay"] == [{"amount": 24275.75, "currency": "INR"}]


WITHOUT_PROOF: list[tuple[dict[str, Any], str]] = [
    ({}, ACCOUNT_FIRST),
    ({"digits": "secret-1"}, ACCOUNT_FIRST),
    ({"account": SUNITA}, BY_KEYS),
    ({"account": SUNITA, "digits": HER_DIGITS}, BY_KEYS),  # spoken, though they are right
    ({"account": SUNITA, "digits": "secret-2"}, BY_KEYS),
    ({"account": SUNITA, "digits": "चार सात एक एक"}, BY_KEYS),
    ({"account": "2000451178", "digits": "secret-1"}, WRONG_ACCOUNT),
    ({"account": "' OR 1=1 --", "digits": "secret-1"}, WRONG_ACCOUNT),
    ({"account": "%", "digits": "secret-1"}, ACCOUNT_FIRST),  # nothing of it is a number
    (
        {"account": SUNITA * 9, "digits": "secret-1"},
        "account should have at most 40 characters",
    ),
    (
        {"account": SUNITA, "digits": HER_DIGITS * 20},
        "digits should have at most 40 characters",
    ),
    ({"account": SUNITA, "pin": HER_DIGITS}, "there is no argument 'pin'"),
    ({"account": {"ne": 0}, "digits": "secret-1"}, "account should be a valid string"),
]


async def test_without_proof_nothing_is_told(desk: Desk) -> None:
    for arguments, told in WITHOUT_PROOF:
        async with desk.call(secrets=[HER_DIGITS]) as call:
            assert error_of(await call.use("get_bill", **arguments)) == told
            assert call.outcome in ("refused", "invalid")
            assert HER_DIGITS not in shown(call.rows)


async def test_one_account_proven_opens_no_other(desk: Desk) -> None:
    async with desk.call(secrets=[HER_DIGITS]) as call:
        await call.use("get_bill", account=SUNITA, digits="secret-1")
        assert error_of(await call.use("get_bill", account=RAJESH)) == BY_KEYS
        told = await call.use("get_bill", account=RAJESH, digits="secret-1")
        assert error_of(told) == WRONG_ACCOUNT


async def test_digits_of_another_length_are_no_try(desk: Desk) -> None:
    async with desk.call(secrets=["47", "47115", HER_DIGITS]) as call:
        for name in ("secret-1", "secret-2") * 2:
            told = await call.use("get_bill", account=SUNITA, digits=name)
            assert error_of(told) == "Exactly 4 digits are needed: collect them again."
        assert "bills" in await call.use("get_bill", account=SUNITA, digits="secret-3")


@pytest.mark.parametrize("account", [SUNITA, "2000451178"])
async def test_after_three_wrong_tries_the_right_digits_are_not_looked_at(
    desk: Desk, account: str
) -> None:
    """Whether there is such an account or not: the answers are the same."""
    async with desk.call(secrets=["0000", "0001", "0002", HER_DIGITS]) as call:
        told = [
            error_of(await call.use("get_bill", account=account, digits=f"secret-{number}"))
            for number in range(1, 5)
        ]
        assert told == [WRONG_ACCOUNT, WRONG_ACCOUNT, f"{WRONG_ACCOUNT} {NO_MORE}", NO_MORE]


async def test_tries_that_are_made_at_once_are_counted_too(desk: Desk) -> None:
    async with desk.call(secrets=[f"000{number}" for number in range(6)]) as call:
        names = [f"secret-{number}" for number in range(1, 7)]
        tries = [call.again("get_bill", account=SUNITA, digits=name) for name in names]
        await asyncio.gather(*tries)
    account = next(row for row in await desk.rows(schema.accounts) if row["number"] == SUNITA)
    assert account["failed"] == 3


async def guess(
    desk: Desk, call_number: int, digits: list[str], account: str = SUNITA
) -> list[Any]:
    async with desk.call(secrets=digits, number=call_number) as call:
        return [
            await call.use("get_bill", account=account, digits=f"secret-{number}")
            for number in range(1, len(digits) + 1)
        ]


async def test_who_guesses_over_many_calls_is_locked_out_for_a_day_and_the_owner_too(
    desk: Desk,
) -> None:
    for number in range(5):
        await guess(desk, number, ["0000", "0001"])
    assert (await guess(desk, 6, [HER_DIGITS]))[0] == {"error": WRONG_ACCOUNT}
    assert "bills" in (await guess(desk, 7, [HIS_DIGITS], RAJESH))[0]
    lines = sample("accounts")
    await reference.import_csv(desk.store, "accounts", lines, replace=True, now=LOCAL_NOON)
    assert (await guess(desk, 8, [HER_DIGITS]))[0] == {"error": WRONG_ACCOUNT}  # still
    desk.later(hours=24, minutes=1)
    assert "bills" in (await guess(desk, 9, [HER_DIGITS]))[0]


async def test_the_right_digits_begin_the_count_anew(desk: Desk) -> None:
    for number in range(4):
        wrong = ["0000", "0001", HER_DIGITS]
        assert "bills" in (await guess(desk, number, wrong))[2]
    account = next(row for row in await desk.rows(schema.accounts) if row["number"] == SUNITA)
    assert (account["failed"], account["failed_at"]) == (0, None)


async def test_of_twenty_guesses_at_once_ten_are_looked_at(desk: Desk) -> None:
    asked = 0

    def is_right(row: Mapping[str, Any]) -> bool:
        nonlocal asked
        asked += 1
        return False

    tries = [
        lookup.prove(desk.store, lookup.ACCOUNTS, SUNITA, is_right, desk.now()) for _ in range(20)
    ]
    assert await asyncio.gather(*tries) == [None] * 20
    assert asked == lookup.MAX_FAILURES


async def test_of_a_database_that_hangs_nothing_is_told_and_the_try_was_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office, "READ_SECONDS", 0.2)
    async with desk.call(secrets=[HER_DIGITS]) as call:
        async with desk.store.writing() as connection:  # the row is somebody else's now
            await connection.execute(schema.accounts.update().values(failed=0))
            for _ in range(4):
                told = await call.use("get_bill", account=SUNITA, digits="secret-1")
                assert error_of(told) == CANNOT_LOOK
                assert call.outcome == "error"
        monkeypatch.setattr(office, "READ_SECONDS", 10.0)
        assert "bills" in await call.use("get_bill", account=SUNITA, digits="secret-1")


def test_bills_are_not_offered_where_nothing_can_prove_an_account(desk: Desk) -> None:
    without = Office(desk.store, desk.commit, desk.now)
    with pytest.raises(ValueError, match="get_bill needs a check of the account"):
        tools(["weather", "get_bill"], without, Rules(INDIA))

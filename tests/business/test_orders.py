"""An order is told by its number, to the telephone it was placed from or who knows its digits."""

from typing import Any

from audiosocket_agent.business.orders import DIGITS_FIRST, NO_NUMBER
from audiosocket_agent.business.proof import NO_MORE, WRONG_ORDER
from audiosocket_agent.records import schema
from tests.business.talk import CUSTOMER, STRANGER, Desk, error_of

MISSING = "order is missing"


async def test_a_customer_hears_what_became_of_an_order(desk: Desk) -> None:
    async with desk.call("05555500201") as call:
        assert await call.use("lookup_order", order="BZ-1042") == {
            "number": "BZ1042",
            "items": "Aashirvaad Atta 5 kg; Tata Salt 1 kg",
            "amount": 303,
            "currency": "INR",
            "status": "out for delivery",
            "ordered_at": "2026-11-19T18:40+05:30",
            "ordered_at_in_words": "yesterday, Thursday 19 November 2026, 6:40 pm",
            "expected_at": "2026-11-20T19:00+05:30",
            "expected_at_in_words": "today, Friday 20 November 2026, 7:00 pm",
        }


async def test_the_number_that_is_shown_lists_no_orders(desk: Desk) -> None:
    async with desk.call(CUSTOMER) as call:
        for arguments in ({}, {"order": ""}, {"order": None}, {"phone_last_digits": "0201"}):
            assert error_of(await call.use("lookup_order", **arguments)) == MISSING
            assert call.outcome == "invalid"


async def test_with_a_forged_number_anothers_order_and_none_are_the_same(desk: Desk) -> None:
    async with desk.call(CUSTOMER) as call:
        for order in ("BZ-1043", "BZ-9999", "1042"):
            assert error_of(await call.use("lookup_order", order=order)) == DIGITS_FIRST


async def test_an_order_is_found_by_its_number_however_it_is_written(desk: Desk) -> None:
    async with desk.call(CUSTOMER) as call:
        for said in ("BZ-1042", "bz 1042", "b z 1 0 4 2", "BZ१०४२"):
            told = await call.use("lookup_order", order=said)
            assert told["status"] == "out for delivery", said


async def test_from_another_telephone_it_takes_the_last_digits_of_the_first(desk: Desk) -> None:
    async with desk.call(STRANGER) as call:
        assert error_of(await call.use("lookup_order", order="BZ-1044")) == DIGITS_FIRST
        told = await call.use("lookup_order", order="BZ-1044", phone_last_digits="0203")
        assert told["note"] == "handed to the guard at the gate"
        assert "5555500203" not in str(told)


async def test_a_number_that_is_not_the_customers_is_not(desk: Desk) -> None:
    for caller in ("", "anonymous", "0201", "500201", "+1915555500201", "+5555500201", "%"):
        async with desk.call(caller) as call:
            told = error_of(await call.use("lookup_order", order="BZ-1042"))
            assert told == DIGITS_FIRST, caller


async def test_a_customer_is_known_with_country_and_without(desk: Desk) -> None:
    for caller in ("+91 55555 00201", "00915555500201", "915555500201", "05555500201"):
        async with desk.call(caller) as call:
            told = await call.use("lookup_order", order="BZ-1042")
            assert told["number"] == "BZ1042", caller


NOT_THEIRS: list[tuple[dict[str, Any], str]] = [
    ({"order": "BZ-9999"}, DIGITS_FIRST),  # as of one that there is
    ({"order": "BZ-9999", "phone_last_digits": "0203"}, WRONG_ORDER),
    ({"order": "BZ-1044", "phone_last_digits": "0204"}, WRONG_ORDER),
    ({"phone_last_digits": "0203"}, MISSING),
    ({"order": "%"}, NO_NUMBER),
    ({"order": "x' OR '1'='1", "phone_last_digits": "0203"}, WRONG_ORDER),
    (
        {"order": "BZ-1044", "phone_last_digits": "%"},
        "phone_last_digits should match pattern '^[0-9]{4}$'",
    ),
    ({"order": ["BZ-1044"]}, "order should be a valid string"),
    ({"order": "BZ-1042", "caller": CUSTOMER}, f"there is no argument {'caller'!r}"),
]


async def test_whoever_asks_for_what_is_not_theirs_learns_nothing(desk: Desk) -> None:
    for arguments, told in NOT_THEIRS:
        async with desk.call() as call:
            assert error_of(await call.use("lookup_order", **arguments)) == told


async def test_digits_cannot_be_tried_out(desk: Desk) -> None:
    async with desk.call() as call:
        told = [
            error_of(await call.use("lookup_order", order="BZ-1044", phone_last_digits=digits))
            for digits in ("0000", "0001", "0002", "0203")
        ]
        assert told == [WRONG_ORDER, WRONG_ORDER, f"{WRONG_ORDER} {NO_MORE}", NO_MORE]
    for number in range(2, 6):
        async with desk.call(number=number) as call:
            for digits in ("0000", "0001"):
                await call.use("lookup_order", order="BZ-1044", phone_last_digits=digits)
    async with desk.call(number=6) as call:
        told_now = await call.use("lookup_order", order="BZ-1044", phone_last_digits="0203")
        assert error_of(told_now) == WRONG_ORDER
    failed = {row["number"]: row["failed"] for row in await desk.rows(schema.orders)}
    assert failed["BZ1044"] == 10
    async with desk.call("+915555500203", number=7) as call:  # whose it is does not suffer
        assert (await call.use("lookup_order", order="BZ-1044"))["status"] == "delivered"


async def test_nobody_goes_through_the_numbers_in_one_call(desk: Desk) -> None:
    async with desk.call() as call:
        for number in range(1042, 1048):
            await call.use("lookup_order", order=f"BZ-{number}")
        await call.use("lookup_order", order="BZ-1048")
        assert call.outcome == "limit"

"""Text messages go to the telephone that is calling, through a gateway that is a real server here."""

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from audiosocket_agent import business
from audiosocket_agent.business import Office, Rules, SmsGateway
from audiosocket_agent.business.messages import (
    ENOUGH,
    NO_LINKS,
    NOWHERE,
    REFUSED,
    UNCERTAIN,
    is_harmless,
)
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.records.ids import uuid7
from audiosocket_agent.records.rows import Call, Row
from audiosocket_agent.records.store import Store
from audiosocket_agent.tools.http_client import HttpClient
from tests.business.talk import CUSTOMER, INDIA, LOCAL_NOON, STRANGER, Desk, error_of
from tests.records.made import begun, tool_use
from tests.tools.shop import Shop, hangs_up, says, shop

TOKEN = "t0k3n"
SOON = 5.0
SENT = {"sid": "SM1", "status": "queued"}


@pytest.fixture
async def desk(store: Store) -> Desk:
    """One that needs no data."""
    return Desk(store)


def through(client: HttpClient, gateway: Shop, country: str = "91") -> SmsGateway:
    url = f"{gateway.url}/2010-04-01/Accounts/AC1/Messages.json"
    return SmsGateway(client, url, "+911204567890", "AC1", TOKEN, country=country)


async def test_a_message_is_sent_as_a_form_with_a_password(desk: Desk) -> None:
    async with HttpClient() as client, shop(says(SENT, 201)) as gateway:
        desk.sms = through(client, gateway)
        async with desk.call() as call:
            told = await call.use("send_sms", text="आपका नंबर 48205917 है। Due on 2026-11-26.")
            assert told == {"output": "The message was sent to the telephone that is calling."}
        [asked] = gateway.asked
        assert (asked.method, asked.target) == ("POST", "/2010-04-01/Accounts/AC1/Messages.json")
        user = base64.b64encode(f"AC1:{TOKEN}".encode()).decode()
        assert asked.headers["authorization"] == f"Basic {user}"
        assert parse_qs(asked.body.decode()) == {
            "To": [STRANGER],
            "From": ["+911204567890"],
            "Body": ["आपका नंबर 48205917 है। Due on 2026-11-26."],
        }


async def test_no_other_number_gets_one(desk: Desk) -> None:
    async with HttpClient() as client, shop(says(SENT)) as gateway:
        desk.sms = through(client, gateway)
        async with desk.call() as call:
            told = await call.use("send_sms", text="hello", to="+19005550100")
            assert error_of(told) == "there is no argument 'to'"
        nobodys = ("", "anonymous", "101", "10001", "+91555550999x", "+1&To=+19005550100")
        abroad = ("+882345678901", "00881612345678", "+19005551234", "+9155555")
        for caller in (*nobodys, *abroad):
            async with desk.call(caller) as call:
                assert error_of(await call.use("send_sms", text="hello")) == NOWHERE, caller
        assert gateway.asked == []


async def test_nobody_is_led_anywhere_by_a_message(desk: Desk) -> None:
    async with HttpClient() as client, shop(says(SENT)) as gateway:
        desk.sms = through(client, gateway)
        for text in ("Pay at https://evil.example", "evil.in/pay", "Call 0900 555-0100 now"):
            async with desk.call() as call:
                assert error_of(await call.use("send_sms", text=text)) == NO_LINKS
        async with desk.call() as call:
            told = error_of(await call.use("send_sms", text="x" * 321))
            assert told == "text should have at most 320 characters"
            assert error_of(await call.use("send_sms")) == "text is missing"
        assert gateway.asked == []


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("Your ticket is 4820 5917. Rs. 1,250.50 by 2026-11-26, 6.30 pm.", True),
        ("BZ-1042: out for delivery, today 7:00 pm", True),
        ("call me on 9 8 7 6 5 4 3 2 1 0", False),
        ("कॉल करें ९८७६५४३२१०", False),
        ("www.evil", False),
        ("bit.ly/x", False),
        ("mail a@b", False),
        ("HTTP://1.2.3.4", False),
        ("evil．com", False),
        ("ｅｖｉｌ․ｃｏｍ", False),
        ("mail a＠b", False),
        ("ठीक है… कल आएँगे। Mon 6.30 p.m.", True),
        ("Your callback is on 2026-11-26 at 6.30 pm, the ticket 48205917.", True),
        ("Call 98765.43210", False),
        ("98765/43210", False),
        ("98765_43210", False),
        ("98765,43210", False),
        ("98765:43210", False),
        ("98765–43210", False),
        ("98765\u200b43210", False),
        ("9️⃣8️⃣7️⃣6️⃣5️⃣4️⃣3️⃣2️⃣1️⃣0️⃣", False),
        ("❾❽❼❻❺ ❹❸❷❶❾", False),
        ("1800-11-22-3344 call", False),
        ("2026-11-26-3344", False),
        ("98765 2026-11-26 43210", False),
        ("nine eight seven six five, four three two one zero", False),
        ("नौ आठ सात छह पाँच : चार तीन दो एक शून्य", False),
        ("98765 and four three two one", True),
        ("203.0.113.7/pay", False),
        ("203.0.113.7", False),
        ("bit[.]ly", False),
        ("evil dot com", False),
        ("evil。com", False),
        ("evil｡com", False),
        ("evil.\u200bcom", False),
        ("दिल्ली.भारत", False),
        ("pay at evil\\x", False),
    ],
)
def test_what_a_message_may_have(text: str, harmless: bool) -> None:
    assert is_harmless(text) is harmless


async def test_two_in_a_call_are_enough(desk: Desk) -> None:
    async with HttpClient() as client, shop(says(SENT)) as gateway:
        desk.sms = through(client, gateway)
        async with desk.call() as call:
            for number in range(4):
                await call.use("send_sms", text=f"message {number}")
        assert len(gateway.asked) == 2


async def test_a_number_gets_so_many_in_a_day_however_it_is_shown(desk: Desk) -> None:
    def uses(call_id: str, count: int, outcome: str = "ok") -> list[Row]:
        facts: dict[str, Any] = {"call_id": call_id, "tool": "send_sms", "outcome": outcome}
        return [tool_use(**facts, idempotency_key=uuid7()) for _ in range(count)]

    def call_at(call_id: str, hours: int, caller: str) -> Call:
        return begun(id=call_id, caller=caller, started_at=LOCAL_NOON - timedelta(hours=hours))

    await desk.store.write([call_at("old", 25, STRANGER), *uses("old", 9)], SOON)
    await desk.store.write([call_at("other", 1, CUSTOMER), *uses("other", 9)], SOON)
    await desk.store.write([call_at("a", 2, "05555509999"), *uses("a", 3)], SOON)
    await desk.store.write([*uses("a", 9, "refused"), *uses("a", 1, "error")], SOON)
    async with HttpClient() as client, shop(says(SENT)) as gateway:
        desk.sms = through(client, gateway)
        async with desk.call() as call:
            assert "output" in await call.use("send_sms", text="the fifth")
        await desk.store.write([call_at("b", 0, STRANGER), *uses("b", 1)], SOON)
        async with desk.call() as call:
            assert error_of(await call.use("send_sms", text="the sixth")) == ENOUGH
        assert len(gateway.asked) == 1


async def test_what_the_gateway_refuses_is_said_so(desk: Desk) -> None:
    async with HttpClient() as client, shop(says({"message": TOKEN}, 400)) as gateway:
        desk.sms = through(client, gateway)
        async with desk.call() as call:
            assert error_of(await call.use("send_sms", text="hello")) == REFUSED


async def test_what_may_have_been_sent_is_not_sent_again(desk: Desk) -> None:
    for answer in (hangs_up, says({}, 503)):
        async with HttpClient() as client, shop(answer) as gateway:
            desk.sms = through(client, gateway)
            async with desk.call() as call:
                assert error_of(await call.use("send_sms", text="hello")) == UNCERTAIN
                assert error_of(await call.use("send_sms", text="hello")) == UNCERTAIN
            assert len(gateway.asked) == 1


def test_there_is_no_such_tool_without_a_gateway(desk: Desk) -> None:
    office = Office(desk.store, desk.commit, desk.now)
    made = business.tools([*business.NAMES, "end_call"], office, desk.rules)
    names = [tool.spec.name for tool in made]
    assert names == [name for name in business.NAMES if name != "send_sms"]
    assert len(business.NAMES) == 13
    assert business.tools(["send_sms"], office, Rules(INDIA)) == []


async def test_numbers_get_their_country() -> None:
    async with HttpClient() as client:
        url = "https://sms.example/send"
        indian = SmsGateway(client, url, "us", "u", "p", country="+91")
        for written in ("+91 55555 09999", "05555509999", "5555509999", "915555509999"):
            assert indian.address(written) == STRANGER
        assert indian.address("00915555509999") == STRANGER
        assert indian.address("+971501234567") is None
        gulf = SmsGateway(client, url, "us", "u", "p", country="91", others=("971", " +44"))
        assert gulf.address("+971501234567") == "+971501234567"
        assert gulf.address("00447700900123") == "+447700900123"
        assert gulf.address("+19005551234") is None
        bare = SmsGateway(client, url, "us", "u", "p")
        assert bare.address("5555509999") is None
        assert bare.address(STRANGER) == STRANGER


async def test_a_password_goes_over_nothing_that_others_read() -> None:
    async with HttpClient() as client:
        user, bracket, port = "https://u:p@sms.example/", "https://[sms/", "https://sms.example:x/"
        for url in ("http://sms.example/", "sms.example", user, "ftp://x/", bracket, port):
            with pytest.raises(ConfigError, match=r"^SMS_URL should be https://HOST"):
                SmsGateway(client, url, "us", "u", "p")
        assert TOKEN not in repr(SmsGateway(client, "https://x/", "us", "u", TOKEN))

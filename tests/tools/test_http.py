"""Webhooks against a real server on loopback: what it is asked, and what of its answer is told."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from audiosocket_agent.lab.certificate import ensure_certificate
from audiosocket_agent.tables.table import parse
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import (
    NO_ANSWER,
    NO_MORE,
    NO_USE,
    NOT_FOUND,
    NOTHING_KEPT,
    REFUSED,
    TRIES,
    webhook_tool,
)
from audiosocket_agent.tools.http_client import HttpClient
from audiosocket_agent.tools.http_table import read
from audiosocket_agent.tools.registry import Tool, ToolError, ToolFailed
from audiosocket_agent.tools.secrets import Secrets
from tests.tools.control import Control
from tests.tools.shop import HOST, Answer, Shop, hangs_up, in_turn, raw, says, sends, shop

TOKEN = "s3cr3t-t0k3n"
ORDER = """
[arguments.order]
description = "The number."
"""
KEYED = 'method = "POST"\nheaders = { Idempotency-Key = "{call.key}" }\n'


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


class Desk:
    """Webhooks of one server, made as an operator's file makes them."""

    def __init__(self, directory: Path, client: HttpClient) -> None:
        self._path = directory / "a.toml"
        self._client = client

    def tool(self, text: str, url: str = "http://localhost") -> Tool:
        head = f'description = "Find it."\nurl = "{url}"\n'
        self._path.write_text(head + text, encoding="utf-8")
        table = parse(self._path, 64 * 1024)
        webhook = read("find", table, Secrets({"TOKEN": TOKEN}), Hosts())
        assert webhook is not None, table.mistakes.told()
        return webhook_tool(webhook, self._client)


@pytest.fixture
def desk(tmp_path: Path, client: HttpClient) -> Desk:
    return Desk(tmp_path, client)


async def used(tool: Tool, call: Control | None = None, **arguments: Any) -> Mapping[str, Any]:
    """What a model would be told, in the time that the tool has."""
    assert tool.arguments is not None
    result = tool.run(call or Control(), tool.arguments.check(arguments))
    assert not isinstance(result, Mapping)
    async with asyncio.timeout(tool.timeout_s):
        return await result


async def refused(tool: Tool, call: Control | None = None, **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as error:
        await used(tool, call, **arguments)
    return error.value


@asynccontextmanager
async def found(desk: Desk, answer: Answer, text: str = "") -> AsyncIterator[tuple[Shop, Tool]]:
    """A server that answers so, and a tool that asks it for an order."""
    async with shop(answer) as running:
        yield running, desk.tool(text + ORDER, f"{running.url}/orders/{{order}}")


# -- what it is asked ----------------------------------------------------------------------------


async def test_a_get_has_what_the_path_has_not_in_its_query(desk: Desk) -> None:
    async with shop(says({"state": "on its way"})) as server:
        tool = desk.tool(
            '[arguments]\norder = {}\nnote = { required = false }\nfloors = { type = "integer", '
            "list = true, required = false }",
            f"{server.url}/v1/orders/{{order}}/state",
        )
        assert await used(tool, order="47 11", floors=[1, 2]) == {"output": {"state": "on its way"}}
        await used(tool, order="x", note="ä & b")
        assert [asked.target for asked in server.asked] == [
            "/v1/orders/47%2011/state?floors=1%2C2",
            "/v1/orders/x/state?note=%C3%A4+%26+b",
        ]
        assert server.asked[0].headers["accept-encoding"] == "identity"
        assert server.connections == 1  # kept open


async def test_a_post_has_them_in_a_body_of_json(desk: Desk) -> None:
    async with shop(says(b"", 204)) as server:
        tool = desk.tool(
            'method = "POST"\n[arguments]\ntext = {}\nday = { type = "date" }\nn = { type = "number" }',
            server.url,
        )
        assert await used(tool, text="no power", day="2026-11-21", n=2) == {"output": "done"}
        [asked] = server.asked
        assert asked.json == {"text": "no power", "day": "2026-11-21", "n": 2.0}
        assert asked.headers["content-type"] == "application/json"


async def test_what_is_sent_can_be_said_in_full(desk: Desk) -> None:
    async with shop(says({})) as server:
        tool = desk.tool(
            """
method = "PUT"
headers = { Authorization = "Bearer secret:TOKEN", X-Call = "{call.id}" }
query = { lang = "{call.language}", plan = "{call.PLAN}", none = "{call.NONE}" }
json = { from = "{call.caller}", items = ["{what}", "{none}", 7], text = "It is {what}: {sure}" }
[arguments]
what = { choices = ["milk", "tea"] }
sure = { type = "boolean" }
none = { required = false }
""",
            server.url,
        )
        call = Control(language="hi-IN", facts={"caller": "+91120", "PLAN": "gold"})
        await used(tool, call, what="tea", sure=True)
        [asked] = server.asked
        assert asked.method == "PUT"
        assert asked.target == "/?lang=hi-IN&plan=gold"
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"
        assert asked.headers["x-call"] == call.id
        assert asked.json == {"from": "+91120", "items": ["tea", 7], "text": "It is tea: true"}


async def test_a_form_is_sent_as_one(desk: Desk) -> None:
    async with shop(says({})) as server:
        tool = desk.tool(
            'method = "POST"\nform = { To = "{call.caller}", Body = "{text}" }\n[arguments]\ntext = {}',
            server.url,
        )
        await used(tool, Control(facts={"caller": "+91120"}), text="a&b=c")
        [asked] = server.asked
        assert asked.body == b"To=%2B91120&Body=a%26b%3Dc"
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("order", ["..", ".", "...."])
async def test_no_argument_leads_to_another_place(desk: Desk, order: str) -> None:
    async with found(desk, says({})) as (server, tool):
        assert "order is not known" in str(await refused(tool, order=order))
        assert not server.asked


@pytest.mark.parametrize(
    ("order", "target"),
    [
        ("../admin", "/orders/..%2Fadmin"),
        ("a?b=c#d", "/orders/a%3Fb%3Dc%23d"),
        ("a\r\nX: y", "/orders/a%0D%0AX%3A%20y"),
        ("{call.key} secret:TOKEN", "/orders/%7Bcall.key%7D%20secret%3ATOKEN"),
        ("बिल", "/orders/%E0%A4%AC%E0%A4%BF%E0%A4%B2"),
        ("%2e%2e", "/orders/%252e%252e"),
    ],
)
async def test_what_a_model_sends_stays_where_it_belongs(
    desk: Desk, order: str, target: str
) -> None:
    async with found(desk, says({})) as (server, tool):
        await used(tool, order=order)
        [asked] = server.asked
        assert asked.target == target
        assert "x" not in asked.headers


async def test_kept_digits_are_sent_and_nobody_else_sees_them(desk: Desk) -> None:
    async with shop(
        says({"pin": "90917353", "also": [90917353], "text": "PIN 90917353!"})
    ) as server:
        tool = desk.tool('method = "POST"\n[arguments]\npin = { type = "kept" }', server.url)
        assert str(await refused(tool, pin="90917353")) == NOTHING_KEPT
        call = Control(secrets=["90917353"])
        result = await used(tool, call, pin="secret-1")
        assert server.asked[0].json == {"pin": "90917353"}
        assert "90917353" not in str(result)


@pytest.mark.parametrize("fails", [says({}, 403), says({}, 404), says({"no": "wrong PIN"})])
async def test_kept_digits_cannot_be_guessed(desk: Desk, fails: Answer) -> None:
    pin = 'method = "POST"\nresult.due = "due"\nmax_uses = 50\n[arguments]\npin = { type = "kept" }'
    async with shop(says({"due": 7})) as server:
        tool, call = desk.tool(pin, server.url), Control(secrets=["1234"])
        for _ in range(4):
            assert await used(tool, call, pin="secret-1") == {"output": {"due": 7}}
        server.answer, server.asked = fails, []
        for _ in range(TRIES):
            assert str(await refused(tool, call, pin="secret-1")) != NO_MORE
        server.answer = says({"due": 7})
        assert str(await refused(tool, call, pin="secret-1")) == NO_MORE
        assert len(server.asked) == TRIES


# -- what is told of the answer ------------------------------------------------------------------


async def test_only_what_was_asked_for_is_told(desk: Desk) -> None:
    answer = {
        "order": {"state": "packed", "items": [{"name": "kettle"}], "margin": 0.4},
        "0": "zero",
    }
    result = """
[result]
state = "order.state"
first = "order.items.0.name"
second = "order.items.1.name"
key = "0"
nothing = "order.state.more"
"""
    async with found(desk, says(answer), result) as (_, tool):
        assert await used(tool, order="1") == {
            "output": {"state": "packed", "first": "kettle", "key": "zero"}
        }


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([1, 2], [1, 2]),
        ("text", "text"),
        ({"error": None, "output": 1}, {"error": None, "output": 1}),
        (b"", "done"),
        (b" \n", "done"),
        (b"null", "done"),
    ],
)
async def test_all_of_it_is_told_where_nothing_was_asked_for(
    desk: Desk, answer: Any, told: Any
) -> None:
    async with found(desk, says(answer)) as (_, tool):
        assert await used(tool, order="1") == {"output": told}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'{"a": ',
        b'{"a": NaN}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)
async def test_what_is_no_json_cannot_be_used(desk: Desk, body: bytes) -> None:
    async with found(desk, says(body)) as (_, tool):
        error = await refused(tool, order="1")
        assert isinstance(error, ToolFailed)
        assert str(error) == NO_USE


async def test_an_answer_without_any_of_its_parts_cannot_be_used(desk: Desk) -> None:
    async with found(desk, says({"a": 1}), '[result]\nstate = "order.state"\n') as (_, tool):
        assert str(await refused(tool, order="1")) == NO_USE


@pytest.mark.parametrize(
    ("status", "sentence", "certain"),
    [
        (301, NO_USE, False),
        (307, NO_USE, False),
        (401, REFUSED, True),
        (404, NOT_FOUND, True),
        (422, REFUSED, True),
        (500, NO_ANSWER, False),
    ],
)
async def test_a_status_is_told_in_words(
    desk: Desk, status: int, sentence: str, certain: bool
) -> None:
    async with shop(says({"secret": 1})) as elsewhere:
        location = f"Location: {elsewhere.url}/"
        async with found(desk, says({"a": 1}, status, location)) as (server, tool):
            error = await refused(tool, order="1")
            assert str(error) == sentence
            assert isinstance(error, ToolFailed) != certain
            assert len(server.asked) == 1
        assert not elsewhere.asked


async def test_an_answer_without_end_is_given_up(desk: Desk) -> None:
    async def pours(asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()

    async with found(desk, pours) as (_, tool):
        assert str(await refused(tool, order="1")) == NO_USE


async def test_what_is_packed_is_not_unpacked(desk: Desk) -> None:
    for body in (b'{"a": 1}', bytes(50_000_000)):
        packed = raw(gzip.compress(body), 200, "Content-Encoding: gzip")
        async with found(desk, sends(packed)) as (_, tool):
            assert str(await refused(tool, order="1")) == NO_USE


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fails", [says({}, 502), says({}, 503), hangs_up, sends(b"garbage\r\n\r\n")]
)
async def test_what_may_be_done_twice_is_tried_again(desk: Desk, fails: Answer) -> None:
    for text in ("", KEYED):
        async with found(desk, in_turn(fails, says({"a": 1})), text) as (server, tool):
            assert await used(tool, order="1") == {"output": {"a": 1}}
            assert len(server.asked) == 2
            keys = {asked.headers.get("idempotency-key") for asked in server.asked}
            assert keys == ({"key-1"} if text else {None})


async def test_what_may_not_is_not(desk: Desk) -> None:
    async with found(desk, in_turn(hangs_up, says({})), 'method = "POST"\n') as (server, tool):
        error = await refused(tool, order="1")
        assert isinstance(error, ToolFailed)  # it may have been done
        assert str(error) == NO_ANSWER
        assert len(server.asked) == 1


async def test_a_slow_one_is_given_up_in_its_time_and_not_asked_again(desk: Desk) -> None:
    async with found(desk, sends(raw(b"{}"), after=30.0), "timeout = 0.2\n") as (server, tool):
        assert str(await refused(tool, order="1")) == NO_ANSWER
        assert len(server.asked) == 1


async def test_a_slow_answer_may_take_all_the_time_there_is(desk: Desk) -> None:
    async with found(desk, sends(raw(b"{}"), after=1.2), "timeout = 2\nretries = 2\n") as (
        server,
        tool,
    ):
        assert await used(tool, order="1") == {"output": {}}
        assert len(server.asked) == 1


async def test_another_attempt_has_the_time_that_is_left(desk: Desk) -> None:
    answers = in_turn(hangs_up, sends(raw(b"{}"), after=30.0))
    async with found(desk, answers, "timeout = 1\n") as (server, tool):
        began_at = asyncio.get_running_loop().time()
        assert str(await refused(tool, order="1")) == NO_ANSWER
        assert asyncio.get_running_loop().time() - began_at >= 0.9
        assert len(server.asked) == 2


async def test_one_that_drips_is_given_up_in_its_time(desk: Desk) -> None:
    async def drips(asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.02)

    async with found(desk, drips, "timeout = 0.2\nretries = 0\n") as (_, tool):
        assert str(await refused(tool, order="1")) == NO_ANSWER


async def test_nobody_there(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    async with shop(says({})) as gone:
        url = gone.url
    assert str(await refused(desk.tool("", url))) == NO_ANSWER
    assert "webhook failed" in capsys.readouterr().out


async def test_a_use_that_is_cancelled_leaves_the_client_as_it_was(desk: Desk) -> None:
    async with found(desk, in_turn(sends(b"", after=30.0), says({"a": 1}))) as (server, tool):
        task = asyncio.create_task(used(tool, order="1"))
        while not server.asked:  # noqa: ASYNC110 - another side's state
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert await used(tool, order="1") == {"output": {"a": 1}}
        assert server.connections == 2


async def test_a_hundred_at_once_are_all_answered(desk: Desk) -> None:
    async with found(desk, sends(raw(b"{}"), after=0.05)) as (_, tool):
        async with asyncio.TaskGroup() as tasks:
            all_of_them = [tasks.create_task(used(tool, order=str(n))) for n in range(100)]
        assert {str(task.result()) for task in all_of_them} == {"{'output': {}}"}


# -- what nobody else may see --------------------------------------------------------------------


async def test_no_secret_is_in_a_result_or_a_log(
    desk: Desk, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = 'headers = { X = "secret:TOKEN" }\nquery = { appid = "secret:TOKEN" }\n'

    async def echoes(asked: Any, writer: asyncio.StreamWriter) -> None:
        body = f'{{"sent": "{asked.target} {asked.headers["x"]}", "{TOKEN}": ["{TOKEN}"]}}'
        writer.write(raw(body.encode()))

    answers = (echoes, says({TOKEN: 1}, 500), says({TOKEN: 1}, 403), hangs_up, says(TOKEN.encode()))
    for answer in answers:
        async with found(desk, answer, text) as (server, tool):
            try:
                told = str(await used(tool, order="1"))
            except ToolError as error:
                told = str(error)
            assert TOKEN in server.asked[0].target
            assert TOKEN not in told
    said = capsys.readouterr()
    assert TOKEN not in said.out + said.err + caplog.text
    assert "webhook" in said.out


async def test_one_callers_cookies_are_not_sent_with_anothers_request(desk: Desk) -> None:
    async with found(desk, says({}, 200, "Set-Cookie: session=of-a-caller")) as (server, tool):
        await used(tool, order="1")
        await used(tool, order="2")
        assert not any("cookie" in asked.headers for asked in server.asked)


async def test_nothing_is_taken_from_the_environment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with shop(says({})) as proxy, found(desk, says({"a": 1})) as (server, tool):
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {HOST} login me password mine\n")
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with HttpClient() as another:
            fresh = Desk(tmp_path, another).tool(ORDER, f"{server.url}/{{order}}")
            for each in (tool, fresh):
                assert await used(each, order="1") == {"output": {"a": 1}}
        assert not proxy.asked
        assert not any("authorization" in asked.headers for asked in server.asked)


async def test_a_server_is_who_it_says_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = ensure_certificate(tmp_path / "tls")
    async with shop(says({"a": 1}), certificate.server_context()) as server:
        url = server.url.replace("http:", "https:")
        async with HttpClient() as client:  # which knows the authorities of this host
            assert str(await refused(Desk(tmp_path, client).tool("", url))) == NO_ANSWER
            assert not server.asked
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))
        async with HttpClient() as client:
            assert await used(Desk(tmp_path, client).tool("", url)) == {"output": {"a": 1}}

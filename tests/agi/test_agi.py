"""FastAGI messages and the server that speaks them."""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from audiosocket_agent.errors import PeerError, StartError
from audiosocket_agent.pbx.agi import (
    KEEPALIVE,
    MAX_HEAD_LINES,
    MAX_VALUE_CHARS,
    Channel,
    ChannelGone,
    FastAgiServer,
    Reply,
    Request,
    clean,
    encode_command,
    parse_reply,
    parse_request,
    takes_every_rate,
)
from tests.agi.dialplan import HOST, agi, head
from tests.virtual_time import in_virtual_time

# -- messages ------------------------------------------------------------------------------------


def test_what_the_dialplan_asks_is_read() -> None:
    request = parse_request(
        head("open?uuid=12&agent=front+desk&who=J%C3%B6rg").removesuffix(b"\n\n")
    )
    assert request.script == "open"
    assert request.query == {"uuid": "12", "agent": "front desk", "who": "Jörg"}
    assert request.facts["callerid"] == "5550100"
    assert "calleridname" not in request.facts  # "unknown" is Asterisk's word for nothing


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x", "not_agi"),
        (b"", "not_agi"),
        (b"agi_network", "not_agi"),
        (b"\n".join([b"agi_arg_1: x"] * (MAX_HEAD_LINES + 1)), "too_long"),
    ],
)
def test_what_is_no_agi_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(PeerError) as refused:
        parse_request(text)
    assert refused.value.code == code


def test_a_value_cannot_bring_in_a_line() -> None:
    request = parse_request(head("next?uuid=1%0aSET%20VARIABLE%00").removesuffix(b"\n\n"))
    assert request.query == {"uuid": "1 SET VARIABLE"}


@given(st.binary(max_size=300))
def test_any_head_is_read_or_refused(data: bytes) -> None:
    try:
        request = parse_request(b"agi_network_script: open?a=" + data)
    except PeerError:
        return
    said = [request.script, *request.query.values(), *request.facts.values()]
    assert not any(re.search(r"[\x00-\x1f\x7f]", value) for value in said)
    assert all(len(value) <= MAX_VALUE_CHARS for value in said)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"200 result=1\n", Reply(200, "1")),
        (b"200 result=0\n", Reply(200, "0")),
        (b"200 result=-1\n", Reply(200, "-1")),
        (b"200 result=1 (a value (with more))\n", Reply(200, "1", "a value (with more)")),
        (b"510 Invalid or unknown command\n", Reply(510)),
        (b"511 Command Not Permitted on a dead channel or intercept routine\n", Reply(511)),
        (b"520-Invalid command syntax.  Proper usage follows:\n", Reply(520)),
    ],
)
def test_replies(line: bytes, reply: Reply) -> None:
    assert parse_reply(line) == reply


@pytest.mark.parametrize("line", [b"\n", b"OK\n", b"20 result=1\n", b"\xff\xfe\n"])
def test_what_is_no_reply_is_refused(line: bytes) -> None:
    with pytest.raises(PeerError):
        parse_reply(line)


def test_commands_are_quoted() -> None:
    assert encode_command("ANSWER") == b"ANSWER\n"
    assert encode_command("SET VARIABLE", "A", 'say "hi" \\') == (
        b'SET VARIABLE "A" "say \\"hi\\" \\\\"\n'
    )


@given(st.text())
def test_nothing_gets_a_line_break_into_a_command(value: str) -> None:
    try:
        command = encode_command("SET VARIABLE", "A", value)
    except ValueError:
        assert clean(value) != value or any(not c.isprintable() for c in value)
    else:
        assert command.count(b"\n") == 1


@pytest.mark.parametrize(
    ("version", "every"),
    [
        ("20.16.0", False),
        ("20.17.0", True),
        ("21.11.9", False),
        ("21.12.0", True),
        ("22.6.1", False),
        ("22.7.0", True),
        ("22.10.1~dfsg+~cs6.15.60671435-1", True),
        ("23.0.0", False),
        ("23.1.0", True),
        ("24.0.0", True),
        ("18.26.4", False),
        ("certified-20.7-cert2", False),
        ("GIT-master-abc", False),
        ("", False),
    ],
)
def test_which_versions_take_every_rate(version: str, every: bool) -> None:
    assert takes_every_rate(version) is every


# -- the server ------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(handler: object) -> AsyncIterator[int]:
    server = FastAgiServer({"ask": handler})  # type: ignore[dict-item]
    port = await server.start(HOST, 0)
    try:
        yield port
    finally:
        await server.stop()


async def answer(channel: Channel, request: Request, peer: str) -> None:
    await channel.set_variables({"WHO": request.query["who"], "PEER": peer})


@in_virtual_time
async def test_a_request_is_answered_by_variables() -> None:
    async with serving(answer) as port:
        assert await agi(port, "ask?who=me") == {"WHO": "me", "PEER": HOST}


async def test_a_pbx_that_vanishes_is_noticed() -> None:
    """Nobody can take a network away here: what the kernel has been told is asked of it."""

    async def look(channel: Channel, request: Request, peer: str) -> None:
        with socket.socket(fileno=os.dup(channel.fd)) as sock:
            told.update(
                {(level, name): sock.getsockopt(level, name) for level, name, _ in KEEPALIVE}
            )

    told: dict[tuple[int, int], int] = {}
    async with serving(look) as port:
        await agi(port, "ask?who=me")
    assert told == {(level, name): value for level, name, value in KEEPALIVE}
    assert told[socket.SOL_SOCKET, socket.SO_KEEPALIVE]


@in_virtual_time
async def test_what_the_dialplan_says_comes_back_as_data() -> None:
    async with serving(answer) as port:
        variables = await agi(port, "ask?who=%22%0aEXEC%20System%20rm%5c")
        assert variables["WHO"] == '" EXEC System rm\\'


@in_virtual_time
@pytest.mark.parametrize("script", ["", "nobody?x=1", "../ask"])
async def test_a_request_nobody_answers_ends(script: str) -> None:
    async with serving(answer) as port:
        assert await agi(port, script) == {}


@in_virtual_time
async def test_a_client_that_says_nothing_has_five_seconds() -> None:
    async with serving(answer) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() == pytest.approx(5.0, abs=0.1)
        writer.close()


@in_virtual_time
async def test_a_fault_of_ours_ends_the_request_and_the_dialplan_goes_on() -> None:
    async def breaks(channel: Channel, request: Request, peer: str) -> None:
        raise ZeroDivisionError

    async with serving(breaks) as port:
        with capture_logs() as logged:
            assert await agi(port, "ask?who=me") == {}
            assert await agi(port, "ask?who=me") == {}
        events = [line["event"] for line in logged]
        assert events == ["AGI request failed", "AGI request failed"]


@in_virtual_time
async def test_a_caller_who_has_hung_up_is_found_out() -> None:
    found = asyncio.Event()

    async def asks(channel: Channel, request: Request, peer: str) -> None:
        assert await channel.variable("A") == "1"
        with pytest.raises(ChannelGone):
            await channel.execute("Playback", "hello", "skip")
        found.set()

    async with serving(asks) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head("ask"))
        assert await reader.readline() == b'GET VARIABLE "A"\n'
        writer.write(b"HANGUP\n200 result=1 (1)\n")
        assert await reader.readline() == b'EXEC "Playback" "hello,skip"\n'
        writer.write(b"511 Command Not Permitted on a dead channel or intercept routine\n")
        await asyncio.wait_for(found.wait(), 1.0)
        writer.close()


@in_virtual_time
async def test_a_usage_text_is_read_to_its_end() -> None:
    async def asks(channel: Channel, request: Request, peer: str) -> None:
        assert (await channel.command("NOOP")).code == 520
        await channel.set_variables({"DONE": "1"})

    async with serving(asks) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head("ask"))
        assert await reader.readline() == b"NOOP\n"
        writer.write(b"520-Invalid command syntax.\n usage\n520 End of proper usage.\n")
        assert await reader.readline() == b'SET VARIABLE "DONE" "1"\n'
        writer.close()


@in_virtual_time
async def test_a_reply_without_an_end_is_refused() -> None:
    refused: list[str] = []

    async def asks(channel: Channel, request: Request, peer: str) -> None:
        try:
            await channel.variable("A")
        except PeerError as error:
            refused.append(error.code)

    async with serving(asks) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head("ask"))
        await reader.readline()
        writer.write(b"200 result=1 (" + bytes(100_000))
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        assert refused == ["too_long"]
        writer.close()


@in_virtual_time
async def test_a_taken_port_is_named() -> None:
    async with serving(answer) as port:
        with pytest.raises(StartError, match=rf"FASTAGI_PORT 127.0.0.1:{port} cannot be used"):
            await FastAgiServer({}).start(HOST, port)


# -- the end -------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_request_that_is_being_answered_is_answered_when_the_server_stops() -> None:
    async def answer(channel: Channel, request: Request, peer: str) -> None:
        await asyncio.sleep(0.5)
        await channel.set_variables({"LATE": "but there"})

    server = FastAgiServer({"slow": answer})
    port = await server.start(HOST, 0)
    asked = asyncio.create_task(agi(port, "slow"))
    await asyncio.sleep(0.1)
    await server.stop()
    assert await asked == {"LATE": "but there"}


@in_virtual_time
async def test_a_request_that_goes_on_is_given_back_when_the_server_stops() -> None:
    async def drive(channel: Channel, request: Request, peer: str) -> None:
        await channel.execute("Dial", "Local/2001@agent-targets")

    server = FastAgiServer({"run": drive})
    port = await server.start(HOST, 0)
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(head("run"))
    assert await reader.readline() == b'EXEC "Dial" "Local/2001@agent-targets"\n'
    await server.stop()
    assert await reader.read() == b""  # AGISTATUS=FAILURE, and the dialplan goes on
    writer.close()
    await writer.wait_closed()


@in_virtual_time
async def test_beyond_the_most_connections_the_dialplan_goes_on_at_once() -> None:
    async def drive(channel: Channel, request: Request, peer: str) -> None:
        await channel.execute("Wait", "60")

    server = FastAgiServer({"run": drive}, max_connections=1)
    port = await server.start(HOST, 0)
    _, first = await asyncio.open_connection(HOST, port)
    first.write(head("run"))
    await asyncio.sleep(0.1)
    reader, second = await asyncio.open_connection(HOST, port)
    assert await reader.read() == b""
    for writer in (first, second):
        writer.close()
        await writer.wait_closed()
    await server.stop()

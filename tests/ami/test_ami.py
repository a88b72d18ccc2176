"""AMI messages and the client that speaks them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from audiosocket_agent.pbx.ami import (
    ACTION_SECONDS,
    MAX_ACTION_LINE_BYTES,
    MAX_ACTION_LINES,
    MAX_EVENTS,
    MAX_LINE_BYTES,
    MAX_LISTED,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_LINES,
    PING_SECONDS,
    UP,
    Account,
    Ami,
    AmiError,
    Decoder,
    Message,
    encode_action,
)
from tests.ami.manager import HOST, SECRET, USERNAME, Manager
from tests.virtual_time import in_virtual_time

GREETING = b"Asterisk Call Manager/11.0.0\r\n"

# -- messages ------------------------------------------------------------------------------------


def read(stream: bytes, size: int = 0) -> list[Message]:
    """The messages of a stream, fed `size` bytes at a time."""
    decoder = Decoder()
    step = size or max(1, len(stream))
    parts = (stream[at : at + step] for at in range(0, len(stream), step))
    return [message for part in parts for message in decoder.feed(part)]


CASES = {
    "an answer": (
        b"Response: Success\r\nActionID: 1\r\nMessage: Authentication accepted\r\n\r\n",
        [{"Response": "Success", "ActionID": "1", "Message": "Authentication accepted"}],
    ),
    "two events": (
        b"Event: Hangup\r\nCause: 17\r\nCause-txt: User busy\r\n\r\nEvent: X\r\n\r\n",
        [{"Event": "Hangup", "Cause": "17", "Cause-txt": "User busy"}, {"Event": "X"}],
    ),
    "an empty value": (b"Event: X\r\nAccountCode: \r\n\r\n", [{"Event": "X", "AccountCode": ""}]),
    "a colon in a value": (b"Event: X\r\nA: b:c: d\r\n\r\n", [{"Event": "X", "A": "b:c: d"}]),
    "a name given twice": (
        b"Event: X\r\nChanVariable: A=1\r\nChanVariable: B=2\r\n\r\n",
        [{"Event": "X", "ChanVariable": "B=2"}],
    ),
    "a line that is no field": (b"Event: X\r\nhm\r\nA: 1\r\n\r\n", [{"Event": "X", "A": "1"}]),
    "lines ended by LF alone": (b"Event: X\nA: 1\n\n", [{"Event": "X", "A": "1"}]),
    "empty lines between": (b"\r\n\r\nEvent: X\r\n\r\n\r\n", [{"Event": "X"}]),
    "what is no UTF-8": (b"Event: X\r\nA: J\xf6rg\r\n\r\n", [{"Event": "X", "A": "J\ufffdrg"}]),
    "control characters": (b"Event: X\r\nA: a\x1b[2J\x00\r\n\r\n", [{"Event": "X", "A": "a [2J"}]),
    "a message not yet whole": (b"Event: X\r\nA: 1\r\n", []),
}


@pytest.mark.parametrize(("stream", "messages"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("size", [0, 1, 7])
def test_messages(stream: bytes, messages: list[dict[str, str]], size: int) -> None:
    assert [message.fields for message in read(GREETING + stream, size)] == messages


def test_the_greeting_tells_the_version() -> None:
    decoder = Decoder()
    assert decoder.version == ""
    assert list(decoder.feed(GREETING)) == []
    assert decoder.version == "11.0.0"


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "not_ami"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not_ami"),
        (b"\r\n", "not_ami"),
        (b"Asterisk Call Manager/\r\n", "not_ami"),
        (bytes(MAX_LINE_BYTES + 1), "too_long"),
        (GREETING + b"A: " + b"b" * MAX_LINE_BYTES, "too_long"),
        (GREETING + b"A: " + b"b" * MAX_LINE_BYTES + b"\r\n\r\n", "too_long"),
        (GREETING + b"A: 1\r\n" * (MAX_MESSAGE_LINES + 1), "too_long"),
        (GREETING + (b"A: " + b"b" * 16_000 + b"\r\n") * 5, "too_long"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 4096])
def test_what_is_no_ami_or_too_much_is_refused(stream: bytes, code: str, size: int) -> None:
    with pytest.raises(AmiError) as refused:
        read(stream, size)
    assert refused.value.code == code


def test_the_longest_message_is_taken() -> None:
    line = b"A: " + b"b" * (MAX_LINE_BYTES - 4) + b"\r\n"
    assert len(line) * 4 - 4 == MAX_MESSAGE_BYTES
    assert len(read(GREETING + (line * 4 + b"\r\n") * 3)) == 3
    assert len(read(GREETING + b"A: 1\r\n" * MAX_MESSAGE_LINES + b"\r\n")) == 1


def test_an_action_is_written_as_asterisk_reads_it() -> None:
    assert encode_action(
        "Originate", ("ActionID", "1"), ("Variable", "A=1"), ("Variable", "B=2")
    ) == (b"Action: Originate\r\nActionID: 1\r\nVariable: A=1\r\nVariable: B=2\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Channel", "PJSIP/1\r\nAction: Command"),
        ("Channel", "PJSIP/1\n"),
        ("Channel", "PJSIP/1\0"),
        ("Channel", "\x7f"),
        ("Channel", "\ud800"),
        ("Channel", "x" * MAX_ACTION_LINE_BYTES),
        ("Channel\r\nA", "x"),
        ("Channel:", "x"),
        ("", "x"),
    ],
)
def test_nothing_gets_another_line_into_an_action(name: str, value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is ours or the codec's
        encode_action("Originate", (name, value))


def test_an_action_has_an_end() -> None:
    encode_action("A", *[("B", "")] * (MAX_ACTION_LINES - 1))
    with pytest.raises(ValueError, match="lines"):
        encode_action("A", *[("B", "")] * MAX_ACTION_LINES)


# -- the client ------------------------------------------------------------------------------------


def account(port: int, secret: str = SECRET) -> Account:
    return Account(HOST, port, USERNAME, secret)


@asynccontextmanager
async def connected(manager: Manager) -> AsyncIterator[Ami]:
    async with manager.running(), Ami.connect(account(manager.port)) as ami:
        yield ami


@asynccontextmanager
async def somebody(says: bytes) -> AsyncIterator[int]:
    """A port where somebody says this and no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@in_virtual_time
async def test_who_knows_the_secret_is_let_in_and_never_says_it() -> None:
    manager = Manager()
    async with connected(manager) as ami:
        assert (await ami.action("Ping")).get("Ping") == "Pong"
    assert [action.get("Action") for action in manager.actions] == ["Challenge", "Login", "Ping"]
    assert manager.actions[1].get("Events") == "call"
    assert not any(SECRET in value for action in manager.actions for _, value in action.fields)


@in_virtual_time
async def test_who_does_not_know_the_secret_is_told_so() -> None:
    async with Manager().running() as manager:
        with pytest.raises(AmiError, match="Authentication failed") as refused:
            async with Ami.connect(account(manager.port, "swordfish")):
                pytest.fail("let in")
    assert refused.value.code == "login"
    assert USERNAME in str(refused.value)
    assert "swordfish" not in str(refused.value)
    assert "swordfish" not in repr(account(1, "swordfish"))


@in_virtual_time
async def test_without_a_challenge_no_digest_is_sent() -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        asked = await reader.readuntil(b"\r\n\r\n")
        action_id = asked.split(b"ActionID: ")[1].split(b"\r")[0]
        writer.write(b"Response: Success\r\nActionID: " + action_id + b"\r\n\r\n")
        heard.extend(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    with pytest.raises(AmiError) as refused:
        async with Ami.connect(account(server.sockets[0].getsockname()[1])):
            pytest.fail("let in")
    server.close()
    assert (refused.value.code, bytes(heard)) == ("login", b"")


@in_virtual_time
async def test_nobody_listens() -> None:
    async with somebody(b"") as port:
        pass
    with pytest.raises(AmiError, match=rf"AMI 127.0.0.1:{port} cannot be reached: ") as failed:
        async with Ami.connect(account(port)):
            pytest.fail("connected")
    assert failed.value.code == "unreachable"


@in_virtual_time
@pytest.mark.parametrize(
    ("says", "code", "seconds"),
    [
        (b"", "timeout", ACTION_SECONDS),
        (GREETING, "timeout", ACTION_SECONDS),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "lost", 0),
    ],
)
async def test_somebody_else_listens(says: bytes, code: str, seconds: float) -> None:
    async with somebody(says) as port:
        with pytest.raises(AmiError) as failed:
            async with Ami.connect(account(port)):
                pytest.fail("connected")
    assert failed.value.code == code
    assert asyncio.get_running_loop().time() == pytest.approx(seconds, abs=0.1)


@in_virtual_time
@pytest.mark.parametrize(
    "cut",
    ["connect", "banner", "Challenge unread", "Challenge answered", "Login unread"],
)
async def test_a_connection_cut_before_the_login_is_over(cut: str) -> None:
    async with Manager(cuts=[cut]).running() as manager:
        with pytest.raises(AmiError) as failed:
            async with Ami.connect(account(manager.port)):
                pytest.fail("logged in")
    assert failed.value.code == "lost"


@in_virtual_time
async def test_an_action_is_asked_once_and_waited_for_five_seconds() -> None:
    manager = Manager(deaf={"Redirect"})
    async with connected(manager) as ami:
        with pytest.raises(AmiError, match="not answered Redirect within 5 s") as failed:
            await ami.redirect("PJSIP/1", "agent", "s")
        assert (failed.value.code, failed.value.sent) == ("timeout", True)
        assert asyncio.get_running_loop().time() == pytest.approx(ACTION_SECONDS, abs=0.1)
        await ami.action("Ping")  # the connection is as good as before
    assert len(manager.asked("Redirect")) == 1


@in_virtual_time
async def test_answers_find_who_asked() -> None:
    async with connected(Manager()) as ami:
        answers = await asyncio.gather(*(ami.action("Ping", action_id=f"p{n}") for n in range(20)))
        assert [answer.get("ActionID") for answer in answers] == [f"p{n}" for n in range(20)]


@in_virtual_time
async def test_what_asterisk_refuses_is_said_in_its_words() -> None:
    manager = Manager(rights=["call"])
    async with connected(manager) as ami:
        with pytest.raises(AmiError, match="refuses Originate: Permission denied") as refused:
            await ami.originate(
                "u", "PJSIP/100@trunk", context="agent", exten="dialled", timeout_s=1
            )
        assert (refused.value.code, refused.value.sent) == ("refused", False)
        with pytest.raises(AmiError, match="refuses Hangup: No such channel"):
            await ami.hangup("nobody")
        with pytest.raises(AmiError, match="refuses CoreShowChannels: Permission denied"):
            await ami.channels()
        assert not (await ami.action("Nonsense")).ok


@in_virtual_time
async def test_a_call_is_placed_watched_listed_and_hung_up() -> None:
    manager = Manager()
    async with connected(manager) as ami:
        await ami.originate(
            "6c6c8701",
            "PJSIP/100@trunk",
            context="agent",
            exten="dialled",
            timeout_s=30,
            caller_id="5550100",
            variables={"AGENT_UUID": "6c6c8701", "AGENT_ADDRESS": "[::1]:9092"},
        )
        assert (await ami.event()).event == "Newstate"
        response = await ami.event()
        assert (response.event, response.ok) == ("OriginateResponse", True)
        (channel,) = await ami.channels()
        assert (channel.get("Uniqueid"), channel.get("ChannelState")) == ("6c6c8701", UP)
        await ami.redirect("6c6c8701", "agent-targets", "2001")
        await ami.hangup(channel.get("Channel"))
        assert (await ami.event()).get("Cause") == "16"
        assert await ami.channels() == []
    (order,) = manager.originates
    assert order.fields[1:] == [
        ("ActionID", "6c6c8701"),
        ("Channel", "PJSIP/100@trunk"),
        ("Context", "agent"),
        ("Exten", "dialled"),
        ("Priority", "1"),
        ("Timeout", "30000"),
        ("Async", "true"),
        ("ChannelId", "6c6c8701"),
        ("CallerID", "5550100"),
        ("Variable", "AGENT_UUID=6c6c8701"),
        ("Variable", "AGENT_ADDRESS=[::1]:9092"),
    ]


@in_virtual_time
async def test_an_event_right_behind_its_answer_is_no_part_of_it() -> None:
    """405 fails at once: the answer and the event with the same ActionID are one segment."""
    async with connected(Manager()) as ami:
        await ami.originate("u", "PJSIP/405@trunk", context="agent", exten="dialled", timeout_s=1)
        assert (await ami.event()).get("Reason") == "0"


@in_virtual_time
@pytest.mark.parametrize(
    ("name", "value"),
    [("A", "1,B=2"), ("A", '"'), ("A", "\\"), ("CHANNEL(language)", "en"), ("", "1")],
)
async def test_a_variable_cannot_bring_another(name: str, value: str) -> None:
    manager = Manager()
    async with connected(manager) as ami:
        with pytest.raises(ValueError, match="variable"):
            await ami.originate(
                "u", "PJSIP/100@x", context="c", exten="e", timeout_s=1, variables={name: value}
            )
    assert not manager.originates


@in_virtual_time
async def test_unread_events_are_bounded_and_the_oldest_go() -> None:
    manager = Manager()
    async with connected(manager) as ami:
        for number in range(MAX_EVENTS + 10):
            manager.tell("Newexten", ("Number", str(number)))
        await ami.action("Ping")
        assert ami.events_dropped == 10
        assert (await ami.event()).get("Number") == "10"


@in_virtual_time
async def test_a_list_without_an_end_is_none() -> None:
    manager = Manager(deaf={"CoreShowChannels"})
    async with connected(manager) as ami:
        asked = asyncio.create_task(ami.channels())
        await asyncio.sleep(0.1)
        action_id = ("ActionID", manager.actions[-1].get("ActionID"))
        for session in manager.sessions:
            session.say(("Response", "Success"), action_id, ("EventList", "start"))
            for _ in range(MAX_LISTED + 1):
                session.say(("Event", "CoreShowChannel"), action_id)
        with pytest.raises(AmiError, match="list") as failed:
            await asked
        assert failed.value.code == "lost"


@in_virtual_time
async def test_asterisk_is_pinged_and_a_missing_answer_ends_the_connection() -> None:
    manager = Manager()
    async with connected(manager) as ami:
        await asyncio.sleep(3.5 * PING_SECONDS)
        assert len(manager.asked("Ping")) == 3
        manager.deaf = {"Ping"}
        with pytest.raises(AmiError, match="not answered Ping") as failed:
            await ami.event()
        assert failed.value.code == "lost"
        lost_at = asyncio.get_running_loop().time()
        assert lost_at == pytest.approx(4 * PING_SECONDS + ACTION_SECONDS, abs=0.1)
        await asyncio.sleep(0.1)
        assert not manager.sessions  # it is closed at once, not when the block ends


@in_virtual_time
async def test_a_lost_connection_is_told_to_all_who_wait_and_all_who_come() -> None:
    manager = Manager(deaf={"Redirect", "Hangup"})
    async with connected(manager) as ami:
        manager.tell("Newexten", ("Number", "1"))
        waiting = asyncio.gather(
            ami.redirect("a", "b", "c"), ami.hangup("a"), return_exceptions=True
        )
        await asyncio.sleep(0.1)
        manager.cut_off()
        ends = await waiting
        assert [(e.code, e.sent) for e in ends if isinstance(e, AmiError)] == [("lost", True)] * 2
        with pytest.raises(AmiError) as late:
            await ami.action("Ping")
        assert (late.value.code, late.value.sent) == ("lost", False)  # nothing was written
        assert (await ami.event()).get("Number") == "1"  # what had come is not lost
        with pytest.raises(AmiError):
            await ami.event()
    assert not manager.asked("Ping")

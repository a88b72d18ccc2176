"""AMI: we tell Asterisk what to do and hear what happens. Sans-IO messages first, then the client.

    us                                             Asterisk
     │<───────────────────── Asterisk Call Manager/11.0.0
     │ Action: Challenge, then Login with the secret's digest
     ├─────────────────────────────────────────────────>│
     │ Action: Originate, ActionID: U    written once, whatever happens: a second one is a second
     ├─────────────────────────────────────────────────>│  phone call
     │<───────────────────── Response: Success, ActionID: U
     │<───────────────────── Event: OriginateResponse, ActionID: U …

Source: Asterisk 22, `main/manager.c`. Callers have a part in what events say (names, numbers): every
value is bounded and free of control characters once it is read here, and none can bring a line into
what we send.
"""

import asyncio
import contextlib
import hashlib
import itertools
import os
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from audiosocket_agent.errors import AgentError
from audiosocket_agent.pbx.agi import clean

MAX_LINE_BYTES: Final = 16 * 1024
MAX_MESSAGE_LINES: Final = 500
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_ACTION_LINE_BYTES: Final = 1000
"""Asterisk drops an action with a line of over 1024 bytes, and its answer does not say which one."""
MAX_ACTION_LINES: Final = 100
"""Asterisk takes 128."""
MAX_EVENTS: Final = 1000
"""Unread ones; beyond it the oldest are dropped, and counted. A call makes about 20."""
MAX_LISTED: Final = 10_000

CONNECT_SECONDS: Final = 5.0
ACTION_SECONDS: Final = 5.0
"""For the whole answer; Asterisk answers in milliseconds, an Originate too where it is Async."""
PING_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 1.0

UP: Final = "6"
"""ChannelState of a call that was answered."""
RINGING: Final = "5"

_GREETING: Final = "Asterisk Call Manager"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,79}")


class AmiError(AgentError):
    """Asterisk could not be reached, refused, or was lost.

    `code`: unreachable, login, refused, timeout, lost; from the decoder not_ami, too_long. `sent`: the
    action may have reached Asterisk, so what it asks for may have been done or may yet be.
    """

    def __init__(self, code: str, text: str, *, sent: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.sent = sent


# ---- messages ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """What Asterisk says: the answer to an action, or an event."""

    fields: Mapping[str, str]
    """Bounded, free of control characters. A name given twice counts as given last."""

    def get(self, name: str) -> str:
        """A field's value; empty where there is none."""
        return self.fields.get(name, "")

    @property
    def event(self) -> str:
        """The event's name; empty for an answer."""
        return self.get("Event")

    @property
    def ok(self) -> bool:
        """Whether an answer, or an event that reports on an action, says that it was done."""
        return self.get("Response") == "Success"


class Decoder:
    """Turns a byte stream, however it is split, into messages."""

    def __init__(self) -> None:
        self.version = ""
        """Of the protocol, from the banner; empty until that has come."""
        self._unfinished = b""
        self._fields: dict[str, str] = {}
        self._lines = 0
        self._bytes = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take the next bytes of the stream; gives the messages they complete, one by one. To be
        iterated to its end.

        At most one message and one line are kept. A line that is no `Name: value` is some module's
        and left out. Raises AmiError where the stream is no AMI or a limit is passed; it has no
        meaning after that.
        """
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            _check_length(line)
            if not self.version:
                self._greet(line)
            elif line.rstrip(b"\r"):
                self._add(line)
            else:
                fields, self._fields, self._lines, self._bytes = self._fields, {}, 0, 0
                if fields:
                    yield Message(fields)
        _check_length(self._unfinished)

    def _greet(self, line: bytes) -> None:
        text = clean(line.decode("utf-8", "replace"), 40)
        name, _, self.version = text.partition("/")
        if name != _GREETING or not self.version:
            raise AmiError("not_ami", f"{text!r} is no greeting of Asterisk's manager")

    def _add(self, line: bytes) -> None:
        self._lines += 1
        self._bytes += len(line)
        if self._lines > MAX_MESSAGE_LINES or self._bytes > MAX_MESSAGE_BYTES:
            raise AmiError(
                "too_long", f"an AMI message of {self._lines} lines, {self._bytes} bytes"
            )
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon:
            self._fields[clean(name, 80)] = clean(value)


def encode_action(name: str, *fields: tuple[str, str]) -> bytes:
    """An action as it is sent; a name may be given more than once. Raises ValueError for a control
    character and for what Asterisk would not take: such a value is not to be passed on."""
    if len(fields) >= MAX_ACTION_LINES:
        raise ValueError(f"an action of over {MAX_ACTION_LINES} lines")
    return b"".join(_line(*pair) for pair in (("Action", name), *fields)) + b"\r\n"


def _line(name: str, value: str) -> bytes:
    if not _NAME.fullmatch(name) or _CONTROL.search(value):
        raise ValueError(f"{clean(name, 40)!r}: {clean(value, 40)!r} cannot be sent by AMI")
    line = f"{name}: {value}\r\n".encode()
    if len(line) > MAX_ACTION_LINE_BYTES:
        raise ValueError(f"{name} is {len(line)} bytes long, more than {MAX_ACTION_LINE_BYTES}")
    return line


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise AmiError("too_long", f"an AMI line of over {MAX_LINE_BYTES} bytes")


# ---- the client ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """Where the manager listens, and who we are there. In manager.conf it needs `read = call` and
    `write = originate,call,reporting`."""

    host: str
    port: int
    username: str
    secret: str = field(repr=False)


@dataclass(slots=True)
class _Answer:
    """What has come of an answer so far; some are a list, told by events."""

    done: asyncio.Future[None]
    message: Message | None = None
    items: list[Message] = field(default_factory=list)

    @property
    def listing(self) -> bool:
        """Whether the list has begun and not ended."""
        return self.message is not None and not self.done.done()


class Ami:
    """A connection to Asterisk's manager, logged in.

        async with Ami.connect(account) as ami: ...

    It neither reconnects nor sends anything twice: what a lost connection means only its owner knows.
    Once it is lost, all that wait, and whatever is asked for after, raise AmiError.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events_dropped = 0
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._waiting: dict[str, _Answer] = {}  # by ActionID
        # others' ActionIDs are in the events that we read, too
        self._action_ids = (f"{uuid.uuid4()}-{number}" for number in itertools.count())
        self._events: deque[Message] = deque(maxlen=MAX_EVENTS)
        self._news = asyncio.Event()  # an event has come, or the end
        self._lost: str | None = None  # why

    @classmethod
    @asynccontextmanager
    async def connect(cls, account: Account) -> "AsyncIterator[Ami]":
        """Connect and log in, for as long as the block lasts. Raises AmiError; its text never has the
        secret."""
        reader, writer = await _open(account.host, account.port)
        ami = cls(reader, writer)
        conversation = asyncio.create_task(ami._converse())
        try:
            await ami._login(account)
            yield ami
        finally:
            conversation.cancel()
            await asyncio.wait([conversation])
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await writer.wait_closed()
            if not conversation.cancelled():
                conversation.result()

    async def action(
        self, name: str, *fields: tuple[str, str], action_id: str | None = None
    ) -> Message:
        """Send an action and wait for its answer, whatever that says. Raises AmiError (timeout, or
        why the connection is lost), ValueError (see encode_action; nothing was sent)."""
        return (await self._ask(name, fields, action_id))[0]

    async def event(self) -> Message:
        """The next event. Raises AmiError once the connection is lost and all events are read."""
        while not self._events:
            if self._lost is not None:
                raise AmiError("lost", self._lost)
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def originate(
        self,
        call_id: str,
        channel: str,
        *,
        context: str,
        exten: str,
        timeout_s: float,
        caller_id: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Have Asterisk call `channel`, and take whoever answers to `exten` of `context`. Returns once
        the order is taken. What becomes of it is told by the events OriginateResponse (its ActionID
        is `call_id`) and Hangup (Uniqueid); while the call lasts, `call_id` names its channel.

        Raises AmiError, refused where Asterisk takes no such order; and ValueError.
        """
        given = [("CallerID", caller_id)] if caller_id else []
        await self._order(
            "Originate",
            ("Channel", channel),
            ("Context", context),
            ("Exten", exten),
            ("Priority", "1"),
            ("Timeout", str(int(timeout_s * 1000))),
            ("Async", "true"),
            ("ChannelId", call_id),
            *given,
            *(_variable(*pair) for pair in (variables or {}).items()),
            action_id=call_id,
        )

    async def redirect(self, channel: str, context: str, exten: str) -> None:
        """Take a channel, by its name or Uniqueid, to another place in the dialplan. Raises
        AmiError."""
        target = (("Context", context), ("Exten", exten), ("Priority", "1"))
        await self._order("Redirect", ("Channel", channel), *target)

    async def hangup(self, channel: str) -> None:
        """Hang a channel up, by its name or Uniqueid. Raises AmiError."""
        await self._order("Hangup", ("Channel", channel), ("Cause", "16"))

    async def channels(self) -> list[Message]:
        """Every channel there is: Channel, Uniqueid, ChannelState … Raises AmiError."""
        answer, channels = await self._ask("CoreShowChannels", (), None)
        _check("CoreShowChannels", answer)
        return channels

    async def _order(
        self, name: str, *fields: tuple[str, str], action_id: str | None = None
    ) -> None:
        _check(name, await self.action(name, *fields, action_id=action_id))

    async def _ask(
        self, name: str, fields: tuple[tuple[str, str], ...], action_id: str | None
    ) -> tuple[Message, list[Message]]:
        action_id = action_id or next(self._action_ids)
        written = encode_action(name, ("ActionID", action_id), *fields)
        if self._lost is not None:
            raise AmiError("lost", self._lost)
        answer = _Answer(asyncio.get_running_loop().create_future())
        self._waiting[action_id] = answer
        self._writer.write(written)
        try:
            async with asyncio.timeout(ACTION_SECONDS):
                await answer.done
        except TimeoutError:
            text = f"Asterisk has not answered {name} within {ACTION_SECONDS:g} s"
            raise AmiError("timeout", text, sent=True) from None
        finally:
            del self._waiting[action_id]
        assert answer.message is not None
        return answer.message, answer.items

    async def _login(self, account: Account) -> None:
        answer = await self.action("Challenge", ("AuthType", "MD5"))
        challenge = answer.get("Challenge")
        if challenge:  # without one the digest would be the secret's alone
            digest = hashlib.md5((challenge + account.secret).encode(), usedforsecurity=False)
            answer = await self.action(
                "Login",
                ("AuthType", "MD5"),
                ("Username", account.username),
                ("Key", digest.hexdigest()),
                ("Events", "call"),
            )
        if not (challenge and answer.ok):
            where = f"{account.username} at {account.host}:{account.port}"
            raise AmiError("login", f"AMI login as {where}: {answer.get('Message') or 'refused'}")

    async def _converse(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._ping())
        except* AmiError as group:
            self._lose(str(group.exceptions[0]))

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(MAX_MESSAGE_BYTES):
                for message in self._decoder.feed(data):
                    self._take(message)
        except OSError:
            raise AmiError("lost", "the AMI connection broke") from None
        raise AmiError("lost", "Asterisk has closed the AMI connection")

    async def _ping(self) -> None:
        """A connection that died without a word is found out."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self.action("Ping")

    def _take(self, message: Message) -> None:
        answer = self._waiting.get(message.get("ActionID"))
        part = message.get("EventList").lower()
        if not message.event:
            if answer is not None and answer.message is None:  # else it comes too late
                answer.message = message
                if part != "start":
                    _settle(answer)
        elif answer is not None and answer.listing:
            if part in ("complete", "cancelled"):
                _settle(answer)
            elif len(answer.items) < MAX_LISTED:
                answer.items.append(message)
            else:
                raise AmiError("too_long", f"an AMI list of over {MAX_LISTED} items")
        else:
            self.events_dropped += len(self._events) == MAX_EVENTS
            self._events.append(message)
            self._news.set()

    def _lose(self, why: str) -> None:
        self._lost = why
        for answer in self._waiting.values():
            if not answer.done.done():
                answer.done.set_exception(AmiError("lost", why, sent=True))
        self._news.set()
        self._writer.close()


def _settle(answer: _Answer) -> None:
    if not answer.done.done():
        answer.done.set_result(None)


def _check(name: str, answer: Message) -> None:
    if not answer.ok:
        why = answer.get("Message") or answer.get("Response")
        raise AmiError("refused", f"Asterisk refuses {name}: {why}")


def _variable(name: str, value: str) -> tuple[str, str]:
    # to Asterisk a comma begins the next variable, and quotes and backslashes are not its value's
    if not name.isidentifier() or re.search(r'[,"\\]', value):
        raise ValueError(f"{clean(name, 40)}={clean(value, 40)!r} cannot be a channel's variable")
    return "Variable", f"{name}={value}"


async def _open(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(host, port)
    except TimeoutError:
        why = f"no answer within {CONNECT_SECONDS:g} s"
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
    raise AmiError("unreachable", f"AMI {host}:{port} cannot be reached: {why}")

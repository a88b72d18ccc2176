"""A pretend Asterisk with telephones: the manager's side of AMI, as manager.c of Asterisk 22 speaks it.

The messages, their order and their pace are those of a real one (22.10): an Originate is answered at
once, its OriginateResponse goes to every session, and its Hangup comes before or after that.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

HOST: Final = "127.0.0.1"
USERNAME: Final = "audiosocket-agent"
SECRET: Final = "s3cret"
EVERY_RIGHT: Final = ("originate", "call", "reporting")
NEEDS: Final = {
    "CoreShowChannels": "reporting",
    "Hangup": "call",
    "Originate": "originate",
    "Redirect": "call",
}

Field = tuple[str, str]


@dataclass(frozen=True)
class Phone:
    """What becomes of a call to it."""

    reason: str
    """In OriginateResponse: 4 is answered, 3 is not answered in time."""
    cause: str = "16"
    """In Hangup."""
    after_s: float = 2.0
    hangup_first: bool = False
    channel: bool = True
    """False: there is not even a channel, so no Hangup."""
    talk_s: float = 60.0


PHONES: Final = {
    "100": Phone("4"),
    "101": Phone("4", talk_s=0.5),
    "102": Phone("4", after_s=0.05),
    "200": Phone("0", "17"),  # a SIP trunk's 486
    "201": Phone("0", "17", hangup_first=True),
    "202": Phone("5", "0"),  # Busy() behind a Local channel
    "300": Phone("3", "19", after_s=1000.0),  # rings for ever
    "301": Phone("0", "18"),  # 408
    "302": Phone("0", "19", hangup_first=True),  # 480
    "400": Phone("0", "1", after_s=0.01),  # 404
    "401": Phone("0", "21"),  # 603
    "402": Phone("0", "34"),  # 503
    "403": Phone("8", "0"),  # Congestion() behind a Local channel
    "404": Phone("0", "127"),
    "405": Phone("0", after_s=0.0, channel=False),  # no such endpoint
}
CAUSES: Final = {"17": "User busy", "19": "User alerting, no answer", "127": "Interworking"}


@dataclass
class Action:
    """What a client asked for."""

    fields: list[Field]

    def get(self, name: str) -> str:
        return next((value for known, value in self.fields if known == name), "")

    def every(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]


@dataclass
class Call:
    """A channel."""

    action_id: str
    uniqueid: str
    channel: str
    phone: Phone
    state: str = "0"

    @property
    def fields(self) -> list[Field]:
        names = {"0": "Down", "5": "Ringing", "6": "Up"}
        return [
            ("Channel", self.channel),
            ("ChannelState", self.state),
            ("ChannelStateDesc", names[self.state]),
            ("CallerIDNum", "<unknown>"),
            ("Context", "phones"),
            ("Exten", "s"),
            ("Priority", "1"),
            ("Uniqueid", self.uniqueid),
            ("Linkedid", self.uniqueid),
        ]


class _CutOff(Exception):
    pass


@dataclass(eq=False)
class _Session:
    writer: asyncio.StreamWriter
    cut: str
    challenge: str = ""
    logged_in: bool = False
    events: bool = False

    def say(self, *fields: Field) -> None:
        text = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.writer.write(text.encode() + b"\r\n")

    def at(self, point: str) -> None:
        if self.cut == point:
            raise _CutOff


@dataclass
class Manager:
    """`cuts`: where the first connection breaks, the second one ...; "" where it does not. A point is
    connect, banner, or `NAME unread`, `NAME unanswered`, `NAME answered` of an action. `deaf`: actions
    done but never answered."""

    cuts: Sequence[str] = ()
    deaf: Collection[str] = ()
    rights: Collection[str] = EVERY_RIGHT
    port: int = 0
    connections: int = 0
    actions: list[Action] = field(default_factory=list)
    calls: dict[str, Call] = field(default_factory=dict)
    sessions: set[_Session] = field(default_factory=set)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def originates(self) -> list[Action]:
        """Every order that has come."""
        return self.asked("Originate")

    def asked(self, name: str) -> list[Action]:
        """Every action of this name that has come."""
        return [action for action in self.actions if action.get("Action") == name]

    @asynccontextmanager
    async def running(self) -> "AsyncIterator[Manager]":
        """Listen on a free port, until the block ends."""
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.stop()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Asterisk is gone, and its channels with it."""
        assert self._server is not None
        self._server.close()
        for timer in self.timers:
            timer.cancel()
        self.cut_off()

    def cut_off(self) -> None:
        """Break every connection there is."""
        for session in self.sessions:
            session.writer.transport.abort()

    def later(self, seconds: float, what: Callable[..., None], *arguments: object) -> None:
        """Call something then; at once for 0."""
        if seconds:
            loop = asyncio.get_running_loop()
            self.timers.append(loop.call_later(seconds, what, *arguments))
        else:
            what(*arguments)

    def tell(self, event: str, *fields: Field) -> None:
        """An event, to every session that wants them."""
        for session in self.sessions:
            if session.events:
                session.say(("Event", event), ("Privilege", "call,all"), *fields)

    # -- a session

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self.cuts[self.connections] if self.connections < len(self.cuts) else ""
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, _Session(writer, cut)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, session: _Session) -> None:
        self.sessions.add(session)
        try:
            session.at("connect")
            session.writer.write(b"Asterisk Call Manager/11.0.0\r\n")
            session.at("banner")
            async for action in _actions(reader):
                self.actions.append(action)
                name = action.get("Action")
                session.at(f"{name} unread")
                self._obey(session, name, action)
                session.at(f"{name} answered")
        except (_CutOff, OSError):
            session.writer.transport.abort()
        finally:
            self.sessions.discard(session)
            session.writer.close()
            with suppress(OSError):
                await session.writer.wait_closed()

    def _obey(self, session: _Session, name: str, action: Action) -> None:
        do = {
            "Challenge": self._challenge,
            "Login": self._login,
            "Ping": self._ping,
            "CoreShowChannels": self._show,
            "Originate": self._originate,
            "Redirect": self._redirect,
            "Hangup": self._hangup,
        }
        known = session.logged_in or name in ("Challenge", "Login")
        if not known or NEEDS.get(name, "") not in ("", *self.rights):
            self._refuse(session, action, "Permission denied")
        elif name in do:
            do[name](session, action)
        else:
            self._refuse(session, action, f"Invalid/unknown command: {name}.")

    def _answer(self, session: _Session, action: Action, *fields: Field) -> None:
        name = action.get("Action")
        session.at(f"{name} unanswered")
        if name not in self.deaf:
            (response, *rest) = fields
            session.say(response, ("ActionID", action.get("ActionID")), *rest)

    def _grant(self, session: _Session, action: Action, text: str) -> None:
        self._answer(session, action, ("Response", "Success"), ("Message", text))

    def _refuse(self, session: _Session, action: Action, text: str) -> None:
        self._answer(session, action, ("Response", "Error"), ("Message", text))

    # -- the actions

    def _challenge(self, session: _Session, action: Action) -> None:
        if action.get("AuthType").upper() != "MD5":
            return self._refuse(session, action, "Must specify AuthType")
        session.challenge = "776403146"
        return self._answer(
            session, action, ("Response", "Success"), ("Challenge", session.challenge)
        )

    def _login(self, session: _Session, action: Action) -> None:
        key = hashlib.md5((session.challenge + SECRET).encode()).hexdigest()
        if not session.challenge or (action.get("Username"), action.get("Key")) != (USERNAME, key):
            self._refuse(session, action, "Authentication failed")
            raise _CutOff
        session.logged_in = True
        session.events = action.get("Events") != "off"
        self._grant(session, action, "Authentication accepted")

    def _ping(self, session: _Session, action: Action) -> None:
        stamp = ("Timestamp", f"{time.time():.6f}")
        self._answer(session, action, ("Response", "Success"), ("Ping", "Pong"), stamp)

    def _show(self, session: _Session, action: Action) -> None:
        self._answer(
            session,
            action,
            ("Response", "Success"),
            ("EventList", "start"),
            ("Message", "Channels will follow"),
        )
        if "CoreShowChannels" in self.deaf:
            return
        action_id = ("ActionID", action.get("ActionID"))
        for call in self.calls.values():
            session.say(("Event", "CoreShowChannel"), action_id, *call.fields)
        count = ("ListItems", str(len(self.calls)))
        end = ("Event", "CoreShowChannelsComplete"), action_id, ("EventList", "Complete"), count
        session.say(*end)

    def _originate(self, session: _Session, action: Action) -> None:
        if not action.get("Channel"):
            return self._refuse(session, action, "Channel not specified")
        if (action.get("Context"), action.get("Exten")) != ("agent", "dialled"):
            return self._refuse(session, action, "Extension does not exist.")
        match = re.fullmatch(r"(PJSIP/(\d+)@\w+)|Local/(\d+)@\w+", action.get("Channel"))
        if not match:
            return self._refuse(session, action, "Invalid channel")
        phone = PHONES[match[2] or match[3]]
        uniqueid = action.get("ChannelId") or f"1795221807.{len(self.actions)}"
        call = Call(action.get("ActionID"), uniqueid, f"PJSIP/trunk-{len(self.actions):08x}", phone)
        twin = uniqueid in self.calls
        if phone.channel and not twin:
            self.calls[uniqueid] = call
            self.later(0.1, self._rings, call)
        ring_s = int(action.get("Timeout") or "30000") / 1000
        late = phone.after_s > ring_s
        try:
            self._grant(session, action, "Originate successfully queued")
        finally:  # whether or not the answer can be heard
            if twin:
                self._respond(call, "0")
            elif late:
                self.later(ring_s, self._ends, call, "3", "19")
            else:
                self.later(phone.after_s, self._ends, call, phone.reason, phone.cause)
        return None

    def _redirect(self, session: _Session, action: Action) -> None:
        if call := self._named(action):
            call.state = "6"
            return self._grant(session, action, "Redirect successful")
        why = f"Channel does not exist: {action.get('Channel')}"
        return self._refuse(session, action, why)

    def _hangup(self, session: _Session, action: Action) -> None:
        call = self._named(action)
        if call is None:
            return self._refuse(session, action, "No such channel")
        if call.state != "6":
            self._respond(call, "0")
        self._gone(call, action.get("Cause") or "0")
        return self._grant(session, action, "Channel Hungup")

    # -- the calls

    def _named(self, action: Action) -> Call | None:
        name = action.get("Channel")
        return next((c for c in self.calls.values() if name in (c.channel, c.uniqueid)), None)

    def _rings(self, call: Call) -> None:
        if call.uniqueid in self.calls and call.state == "0":
            call.state = "5"
            self.tell("Newstate", *call.fields)

    def _ends(self, call: Call, reason: str, cause: str) -> None:
        """The ringing ends."""
        if call.phone.channel and call.uniqueid not in self.calls:
            return  # hung up before
        if reason == "4":
            call.state = "6"
            self._respond(call, reason)
            self.later(call.phone.talk_s, self._gone, call, "16")
        elif call.phone.hangup_first:
            self._gone(call, cause)
            self._respond(call, reason)
        else:
            self._respond(call, reason)
            if call.phone.channel:
                self._gone(call, cause)

    def _respond(self, call: Call, reason: str) -> None:
        self.tell(
            "OriginateResponse",
            ("ActionID", call.action_id),
            ("Response", "Success" if reason == "4" else "Failure"),
            ("Channel", call.channel),
            ("Context", "agent"),
            ("Exten", "dialled"),
            ("Reason", reason),
            ("Uniqueid", call.uniqueid),
        )

    def _gone(self, call: Call, cause: str) -> None:
        del self.calls[call.uniqueid]
        text = CAUSES.get(cause, "Unknown")
        self.tell("Hangup", *call.fields, ("Cause", cause), ("Cause-txt", text))


async def _actions(reader: asyncio.StreamReader) -> AsyncIterator[Action]:
    fields: list[Field] = []
    while line := await reader.readline():
        if text := line.decode().strip():
            name, _, value = text.partition(":")
            fields.append((name, value.strip()))
        elif fields:
            yield Action(fields)
            fields = []

"""A caller with a phone: SIP over UDP (RFC 3261) and RTP, as small as a call allows.

    async with Caller(asterisk.sip_port) as caller:
        await caller.dial("1000")
        await caller.until_heard()
        said = caller.say(question, 8000)
        await caller.hangup()

What it has in common with a phone that is called (phone.py) is a `Party`: it answers what Asterisk
may send inside a call (BYE, OPTIONS) and refuses the rest. On a loopback nothing is lost, so nothing
is sent twice.
"""

import asyncio
import itertools
import time
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from tests.pbx.codec import L16, ULAW, Codec, Pcm
from tests.pbx.rtp import Heard, Leg, Speech

_HOST: Final = "127.0.0.1"
_ANSWER_TIMEOUT_S: Final = 10.0
_EVENT_TYPE: Final = 101
_CODECS: Final[dict[str, Codec]] = {"ulaw": ULAW, "l16": L16}
_names: Final = itertools.count(7001)


class CallRefusedError(Exception):
    """Asterisk answered the INVITE with this final status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"call refused: SIP {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP request or response, as far as a caller looks into it."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def parse(cls, datagram: bytes) -> "Message":
        """Read one datagram; header names come in lower case."""
        head, _, body = datagram.decode().partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        headers = (line.partition(":") for line in lines)
        return cls(start, tuple((n.strip().lower(), v.strip()) for n, _, v in headers), body)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str:
        """The first value of a header that has to be there."""
        return self.all(name)[0]

    def uri(self, name: str) -> str:
        """The address between a header's angle brackets."""
        return self.one(name).partition("<")[2].partition(">")[0]

    @property
    def status(self) -> int | None:
        """A response's code; None for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """What is asked, or was asked."""
        return self.one("cseq").split()[1]


@dataclass(frozen=True, slots=True)
class Media:
    """What the other side's SDP, an offer or an answer, says of where and how to send audio."""

    host: str
    port: int
    payload_type: int
    event_type: int | None

    @classmethod
    def parse(cls, sdp: str, codec: Codec) -> "Media":
        """Find the codec and its telephone-event. Raises ValueError if the codec is not there."""
        lines = sdp.splitlines()
        host = next(line for line in lines if line.startswith("c=")).split()[-1]
        media = next(line for line in lines if line.startswith("m=audio ")).split()
        types = {0: ULAW.rtpmap}
        for line in lines:
            if line.startswith("a=rtpmap:"):
                number, name = line.removeprefix("a=rtpmap:").split(" ", 1)
                types[int(number)] = name.strip()
        offered = {types[int(number)]: int(number) for number in media[3:] if int(number) in types}
        if codec.rtpmap not in offered:
            raise ValueError(f"no {codec.rtpmap} in:\n{sdp}")
        event_type = offered.get(f"telephone-event/{codec.rate_hz}")
        return cls(host, int(media[1]), offered[codec.rtpmap], event_type)


Side = Literal["caller", "phone", "asterisk"]


@dataclass(slots=True)
class Dialog:
    """What requests inside a call are addressed by (RFC 3261, 12)."""

    call_id: str
    local: str
    """Our From, with our tag."""
    remote: str
    """Our To, with Asterisk's tag once there is one."""
    target: str
    """Asterisk's Contact."""


class Party(asyncio.DatagramProtocol):
    """One end of a call: a SIP socket and a leg of RTP. Every wait has a timeout, after which it
    raises TimeoutError."""

    side: Side
    """Who this is, for `ended_by`."""

    def __init__(self, name: str, sip_port: int, host: str = _HOST, codec: Codec = ULAW) -> None:
        self.name: Final = name
        self.ended_by: Side | None = None
        self.ended_at: float | None = None
        """Monotonic time of the BYE, sent or received."""
        self.answered_at: float | None = None
        self.refused: list[str] = []
        """Methods Asterisk asked for inside the call and did not get."""
        self._codec = codec
        self._host = host
        self._peer = (_HOST, sip_port)
        self._cseq = itertools.count(1)
        self._responses: asyncio.Queue[Message] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._dialog: Dialog | None = None
        """Of the call that is up."""
        self._clock: asyncio.Task[None] | None = None

    async def _listen(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._host, port)
        )
        self._leg = Leg(self._codec)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.hangup()
        finally:
            await self._stop_clock()
            self._leg.close()
            self._transport.close()

    # ---- the call ------------------------------------------------------------------------------

    async def hangup(self) -> None:
        """End the call, unless Asterisk has; returns when it is agreed."""
        if self._dialog is None:
            return
        dialog = self._dialog
        self._end(self.side)
        self._request("BYE", dialog, next(self._cseq))
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            await self._final("BYE")

    async def until_ended(self, timeout: float) -> None:
        """Wait until either side has hung up."""
        async with asyncio.timeout(timeout):
            await self._ended.wait()

    # ---- mouth and keypad ----------------------------------------------------------------------

    def say(self, pcm: Pcm, rate_hz: int) -> Speech:
        """Say this, after all that is still to be said; silence follows."""
        return self._leg.say(pcm, rate_hz)

    async def say_all(self, pcm: Pcm, rate_hz: int) -> Speech:
        """Say this and return once it is said."""
        said = self._leg.say(pcm, rate_hz)
        await asyncio.sleep(said.ends_at - time.monotonic())
        return said

    def mute(self, muted: bool = True) -> None:
        """Send no RTP at all, as phones do on mute and hold."""
        self._leg.muted = muted

    def dtmf(self, digit: str) -> None:
        """Press a key for 100 ms."""
        self._leg.dtmf(digit)

    @property
    def latest_s(self) -> float:
        """How late this phone's own clock was at worst."""
        return self._leg.latest_s

    # ---- ear -----------------------------------------------------------------------------------

    @property
    def heard(self) -> Heard:
        """All audio so far."""
        return self._leg.heard

    async def until_heard(self, timeout: float = 5.0) -> float:
        """Wait for sound; the monotonic time it came."""
        async with asyncio.timeout(timeout):
            return await self._leg.until_heard()

    async def until_quiet(self, seconds: float = 0.5, timeout: float = 15.0) -> float:
        """Wait for so much silence; the monotonic time the last sound came."""
        async with asyncio.timeout(timeout):
            return await self._leg.until_quiet(seconds)

    # ---- SIP -----------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take a message: responses to whoever waits, requests answered here."""
        message = Message.parse(data)
        if message.status is None:
            self._requested(message)
        else:
            self._responded(message)

    def _responded(self, response: Message) -> None:
        self._responses.put_nowait(response)

    def _requested(self, request: Message) -> None:
        if request.method == "ACK":
            return
        taken = request.method in ("BYE", "OPTIONS")
        if not taken:
            self.refused.append(request.method)
        self._respond(request, "200 OK" if taken else "488 Not Acceptable Here")
        if request.method == "BYE":
            self._end("asterisk")

    def _connect(self, sdp: str) -> None:
        """The call is answered: speak and hear as the other side's SDP says."""
        media = Media.parse(sdp, self._codec)
        self._leg.connect(media.host, media.port, media.payload_type, media.event_type)
        self._clock = asyncio.create_task(self._leg.run(), name=f"rtp-{self.name}")

    def _sdp(self, payload_type: int, event_type: int) -> str:
        return "\r\n".join(
            (
                "v=0",
                f"o=- 1 1 IN IP4 {_HOST}",
                "s=-",
                f"c=IN IP4 {_HOST}",
                "t=0 0",
                f"m=audio {self._leg.port} RTP/AVP {payload_type} {event_type}",
                f"a=rtpmap:{payload_type} {self._codec.rtpmap}",
                f"a=rtpmap:{event_type} telephone-event/{self._codec.rate_hz}",
                f"a=fmtp:{event_type} 0-15",
                "a=ptime:20",
                "a=sendrecv",
                "",
            )
        )

    async def _final(self, method: str) -> Message:
        while True:
            response = await self._responses.get()
            assert response.status is not None
            if response.method == method and response.status >= 200:
                return response

    @property
    def _contact(self) -> str:
        host, port = self._transport.get_extra_info("sockname")
        return f"sip:{self.name}@{host}:{port}"

    def _request(
        self, method: str, dialog: Dialog, cseq: int, *, body: str = "", branch: str | None = None
    ) -> str:
        host, port = self._transport.get_extra_info("sockname")
        branch = branch or f"z9hG4bK{uuid.uuid4().hex}"
        lines = [
            f"{method} {dialog.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {dialog.local}",
            f"To: {dialog.remote}",
            f"Call-ID: {dialog.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <{self._contact}>",
        ]
        self._send(lines, body)
        return branch

    def _respond(self, request: Message, status: str, *, tag: str = "", body: str = "") -> None:
        copied = ("via", "from", "to", "call-id", "cseq")
        lines = [f"SIP/2.0 {status}"]
        for name, value in request.headers:
            if name in copied:
                lines.append(
                    f"{name}: {value};tag={tag}" if tag and name == "to" else f"{name}: {value}"
                )
        self._send([*lines, f"Contact: <{self._contact}>"], body)

    def _send(self, lines: list[str], body: str) -> None:
        if body:
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", body]
        self._transport.sendto("\r\n".join(lines).encode(), self._peer)

    def _end(self, by: Side) -> None:
        if self._dialog is not None:
            self._dialog = None
            self.ended_by, self.ended_at = by, time.monotonic()
            self._ended.set()
            if self._clock is not None:
                self._clock.cancel()

    async def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            # The clock ends only by being cancelled; anything else is its failure, and the test's.
            await asyncio.wait([self._clock])
            if not self._clock.cancelled():
                self._clock.result()


class Caller(Party):
    """A phone that calls, once."""

    side = "caller"

    def __init__(
        self, sip_port: int, codec: Literal["ulaw", "l16"] = "ulaw", host: str = _HOST
    ) -> None:
        # Its name is the caller's number, unique in a test run.
        super().__init__(str(next(_names)), sip_port, host, _CODECS[codec])

    async def __aenter__(self) -> Self:
        await self._listen(0)
        return self

    async def dial(self, extension: str) -> None:
        """Call, and return when answered. Raises CallRefusedError on any other final status."""
        number = next(self._cseq)
        target = f"sip:{extension}@{_HOST}:{self._peer[1]}"
        local = f"<{self._contact}>;tag={uuid.uuid4().hex[:8]}"
        dialog = Dialog(str(uuid.uuid4()), local, f"<{target}>", target)
        offer = self._sdp(self._codec.payload_type, _EVENT_TYPE)
        branch = self._request("INVITE", dialog, number, body=offer)
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            answer = await self._final("INVITE")
        self.answered_at = time.monotonic()
        assert answer.status is not None
        dialog.remote = answer.one("to")
        if answer.status >= 300:
            # Part of the INVITE's own transaction, so of its branch (RFC 3261, 17.1.1.3).
            self._request("ACK", dialog, number, branch=branch)
            raise CallRefusedError(answer.status)
        dialog.target = answer.uri("contact")
        self._dialog = dialog
        self._acknowledge(answer)
        self._connect(answer.body)

    def _responded(self, response: Message) -> None:
        if response.method == "INVITE" and self._dialog is not None:
            self._acknowledge(response)  # a repeated 200: our ACK was late
        else:
            super()._responded(response)

    def _acknowledge(self, answer: Message) -> None:
        assert self._dialog is not None
        self._request("ACK", self._dialog, int(answer.one("cseq").split()[0]))

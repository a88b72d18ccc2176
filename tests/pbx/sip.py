"""A caller with a phone: SIP over UDP (RFC 3261) and RTP, as small as a call allows.

    async with Caller(asterisk.sip_port) as caller:
        await caller.dial("1000")
        await caller.until_heard()
        said = caller.say(question, 8000)
        await caller.hangup()

It answers what Asterisk may send inside a call (BYE, OPTIONS, a repeated 200) and refuses the
rest. On a loopback nothing is lost, so nothing is sent twice.
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

    @property
    def status(self) -> int | None:
        """A response's code; None for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """What is asked, or was asked."""
        return self.one("cseq").split()[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an SDP answer says of where and how to send audio."""

    host: str
    port: int
    payload_type: int
    event_type: int | None

    @classmethod
    def parse(cls, sdp: str, codec: Codec) -> "Answer":
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
            raise ValueError(f"no {codec.rtpmap} in the answer:\n{sdp}")
        event_type = offered.get(f"telephone-event/{codec.rate_hz}")
        return cls(host, int(media[1]), offered[codec.rtpmap], event_type)


class Caller(asyncio.DatagramProtocol):
    """One phone, one call. Every wait has a timeout, after which it raises TimeoutError."""

    def __init__(self, sip_port: int, codec: Literal["ulaw", "l16"] = "ulaw") -> None:
        self.name: Final = str(next(_names))
        """The caller's number, unique in a test run."""
        self.ended_by: Literal["caller", "asterisk"] | None = None
        self.ended_at: float | None = None
        """Monotonic time of the BYE, sent or received."""
        self.answered_at: float | None = None
        self.refused: list[str] = []
        """Methods Asterisk asked for inside the call and did not get."""
        self._codec = _CODECS[codec]
        self._peer = (_HOST, sip_port)
        self._call_id = str(uuid.uuid4())
        self._tag = uuid.uuid4().hex[:8]
        self._cseq = itertools.count(1)
        self._responses: asyncio.Queue[Message] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._remote: tuple[str, str] | None = None
        """Where requests inside the call go, and Asterisk's To header with its tag."""
        self._clock: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(_HOST, 0)
        )
        self._leg = Leg(self._codec)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._remote is not None and self.ended_by is None:
                await self.hangup()
        finally:
            await self._stop_clock()
            self._leg.close()
            self._transport.close()

    # ---- the call ------------------------------------------------------------------------------

    async def dial(self, extension: str) -> None:
        """Call, and return when answered. Raises CallRefusedError on any other final status."""
        number = next(self._cseq)
        target = f"sip:{extension}@{_HOST}:{self._peer[1]}"
        to = f"<{target}>"
        branch = self._request("INVITE", target, to, number, body=self._offer())
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            answer = await self._final("INVITE")
        self.answered_at = time.monotonic()
        assert answer.status is not None
        if answer.status >= 300:
            # Part of the INVITE's own transaction, so of its branch (RFC 3261, 17.1.1.3).
            self._request("ACK", target, answer.one("to"), number, branch=branch)
            raise CallRefusedError(answer.status)
        contact = answer.one("contact").partition("<")[2].partition(">")[0]
        self._remote = (contact, answer.one("to"))
        self._acknowledge(answer)
        media = Answer.parse(answer.body, self._codec)
        self._leg.connect(media.host, media.port, media.payload_type, media.event_type)
        self._clock = asyncio.create_task(self._leg.run(), name=f"rtp-{self.name}")

    async def hangup(self) -> None:
        """End the call, unless Asterisk has; returns when it is agreed."""
        if self._remote is None or self.ended_by is not None:
            return
        self._end("caller")
        self._request("BYE", *self._remote, next(self._cseq))
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
            self._answer(message)
        elif message.method == "INVITE" and self._remote is not None:
            self._acknowledge(message)  # a repeated 200: our ACK was late
        else:
            self._responses.put_nowait(message)

    def _offer(self) -> str:
        number, rate = self._codec.payload_type, self._codec.rate_hz
        return "\r\n".join(
            (
                "v=0",
                f"o=- 1 1 IN IP4 {_HOST}",
                "s=-",
                f"c=IN IP4 {_HOST}",
                "t=0 0",
                f"m=audio {self._leg.port} RTP/AVP {number} {_EVENT_TYPE}",
                f"a=rtpmap:{number} {self._codec.rtpmap}",
                f"a=rtpmap:{_EVENT_TYPE} telephone-event/{rate}",
                f"a=fmtp:{_EVENT_TYPE} 0-15",
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

    def _acknowledge(self, answer: Message) -> None:
        assert self._remote is not None
        self._request("ACK", *self._remote, int(answer.one("cseq").split()[0]))

    def _request(
        self,
        method: str,
        target: str,
        to: str,
        cseq: int,
        *,
        body: str = "",
        branch: str | None = None,
    ) -> str:
        host, port = self._transport.get_extra_info("sockname")
        branch = branch or f"z9hG4bK{uuid.uuid4().hex}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.name}@{host}:{port}>;tag={self._tag}",
            f"To: {to}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.name}@{host}:{port}>",
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", body]
        self._transport.sendto("\r\n".join(lines).encode(), self._peer)
        return branch

    def _answer(self, request: Message) -> None:
        method = request.start.split()[0]
        if method == "ACK":
            return
        taken = method in ("BYE", "OPTIONS")
        if not taken:
            self.refused.append(method)
        copied = ("via", "from", "to", "call-id", "cseq")
        lines = [
            "SIP/2.0 200 OK" if taken else "SIP/2.0 488 Not Acceptable Here",
            *(f"{name}: {value}" for name, value in request.headers if name in copied),
            "Content-Length: 0",
            "",
            "",
        ]
        self._transport.sendto("\r\n".join(lines).encode(), self._peer)
        if method == "BYE":
            self._end("asterisk")

    def _end(self, by: Literal["caller", "asterisk"]) -> None:
        if self.ended_by is None:
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

"""A phone that is called: somebody at work, whom the dialplan rings.

    async with Phone("human", asterisk.sip_port) as phone:
        ...                                  # somebody dials an extension that dials PJSIP/human
        assert await phone.rings() == "Asha asks for a price"     # what its display shows
        await phone.answer()
        phone.press("1")
        await phone.hangup()

It rings by itself until it is answered, refused or no longer wanted, and takes one call at a time,
any number of calls in turn; what is heard and who ended it is of the last one. Asterisk knows where
it is: every name has a loopback address of its own, at the port Asterisk has at 127.0.0.1.
"""

import asyncio
import re
import time
import uuid
from types import TracebackType
from typing import Final, Self

from tests.pbx.codec import ULAW, Codec
from tests.pbx.rtp import Leg
from tests.pbx.sip import Dialog, Media, Message, Party

PHONES: Final = {"human": "127.0.1.1", "colleague": "127.0.1.2"}
"""Their addresses; Asterisk has an endpoint for each."""

_RING_TIMEOUT_S: Final = 10.0
_REASONS: Final = {480: "Temporarily Unavailable", 486: "Busy Here", 603: "Decline"}
_NAME: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<]*?))\s*<')


class Phone(Party):
    """A phone on somebody's desk."""

    side = "phone"

    def __init__(self, name: str, sip_port: int, codec: Codec = ULAW) -> None:
        super().__init__(name, sip_port, PHONES[name], codec)
        self.rings_since: float | None = None
        """Monotonic time of the INVITE, while it rings."""
        self._invite: Message | None = None
        """What it rings for, or is answered."""
        self._tag = ""
        self._ringing = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._acknowledged = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._listen(self._peer[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.rings_since is not None:
            self.refuse(480)
        await super().__aexit__(kind, error, trace)

    # ---- what the one at the desk sees and does ------------------------------------------------

    async def rings(self, timeout: float = _RING_TIMEOUT_S) -> str:
        """Wait until it rings; the caller's name as shown, empty where there is none."""
        async with asyncio.timeout(timeout):
            await self._ringing.wait()
        assert self._invite is not None
        shown = _NAME.match(self._invite.one("from"))
        quoted, bare = shown.groups() if shown else ("", "")
        return re.sub(r"\\(.)", r"\1", quoted) if quoted else bare or ""

    async def answer(self) -> None:
        """Take the call; returns when Asterisk knows."""
        invite = self._no_longer_ringing()
        media = Media.parse(invite.body, self._codec)
        assert media.event_type is not None
        self._dialog = Dialog(
            invite.one("call-id"),
            f"{invite.one('to')};tag={self._tag}",
            invite.one("from"),
            invite.uri("contact"),
        )
        self._acknowledged.clear()
        sdp = self._sdp(media.payload_type, media.event_type)
        self._respond(invite, "200 OK", tag=self._tag, body=sdp)
        self.answered_at = time.monotonic()
        self._connect(invite.body)
        async with asyncio.timeout(_RING_TIMEOUT_S):
            await self._acknowledged.wait()

    def refuse(self, status: int = 486) -> None:
        """Turn the call away: 486 busy, 480 not available, 603 declined."""
        invite = self._no_longer_ringing()
        self._respond(invite, f"{status} {_REASONS[status]}", tag=self._tag)

    async def stopped_ringing(self, timeout: float = _RING_TIMEOUT_S) -> float:
        """Wait until the caller's side has given up; the monotonic time that was."""
        async with asyncio.timeout(timeout):
            await self._cancelled.wait()
        assert self.ended_at is not None
        return self.ended_at

    def press(self, keys: str) -> None:
        """Press keys, each for 100 ms."""
        for key in keys:
            self.dtmf(key)

    # ---- SIP -----------------------------------------------------------------------------------

    def _requested(self, request: Message) -> None:
        match request.method:
            case "INVITE":
                self._invited(request)
            case "CANCEL":
                self._respond(request, "200 OK")
                if self.rings_since is not None:
                    invite = self._no_longer_ringing()
                    self._respond(invite, "487 Request Terminated", tag=self._tag)
                    self.ended_by, self.ended_at = "asterisk", time.monotonic()
                    self._cancelled.set()
            case "ACK":
                self._acknowledged.set()
            case _:
                super()._requested(request)

    def _invited(self, invite: Message) -> None:
        if self._dialog is not None and invite.one("call-id") == self._dialog.call_id:
            super()._requested(invite)  # an offer inside the call
        elif self._dialog is not None or self.rings_since is not None:
            if self._invite is None or invite.one("via") != self._invite.one("via"):
                self._respond(invite, "486 Busy Here", tag=uuid.uuid4().hex[:8])
        else:
            self._ring(invite)

    def _ring(self, invite: Message) -> None:
        if self._clock is not None:  # of the call before this
            self._leg.close()
            self._leg = Leg(self._codec)
        self._invite = invite
        self._tag = uuid.uuid4().hex[:8]
        self.ended_by = self.ended_at = self.answered_at = None
        self._ended.clear()
        self._cancelled.clear()
        self.rings_since = time.monotonic()
        self._respond(invite, "180 Ringing", tag=self._tag)
        self._ringing.set()

    def _no_longer_ringing(self) -> Message:
        assert self._invite is not None
        assert self.rings_since is not None, "it does not ring"
        self.rings_since = None
        self._ringing.clear()
        return self._invite

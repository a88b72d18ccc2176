"""What the dialplan may ask by FastAGI, and the answers it gets as channel variables.

    open?uuid=…     a call is coming: the model is dialled while the phone rings. agent= says who
                    answers, language= what the caller speaks, ring= how long it will ring; names in
                    capitals are facts of the call
                    AGENT_STATUS (OK, BUSY, DRAINING, ERROR), AGENT_ADDRESS, AGENT_RATE
    next?uuid=…     the agent is done with the caller, or a transfer was tried (status=DIALSTATUS)
                    AGENT_NEXT (transfer, fallback, hangup, again; after a briefing accept or refuse;
                    empty: we know nothing), AGENT_TARGET, AGENT_BRIEFING, AGENT_REASON,
                    AGENT_SUMMARY; with again, AGENT_ADDRESS

Neither waits for the model: a dialplan that asks is answered in milliseconds, whatever Google does. Of
a call that another process had, which is dead, `next` looks in the records, 2 s at the most.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from audiosocket_agent import log
from audiosocket_agent.addresses import WILDCARDS, joined
from audiosocket_agent.call.info import MAX_VARIABLE_CHARS, MAX_VARIABLES, VARIABLE, CallInfo
from audiosocket_agent.call.next_step import Action, NextStep
from audiosocket_agent.pbx.agi import Channel, Request, takes_every_rate
from audiosocket_agent.server import Server
from audiosocket_agent.survival import NotLookedUp

_log = log.get(__name__)

EVERY_RATE_HZ: Final = 24_000
MAX_LANGUAGE_CHARS: Final = 35
"""What a BCP 47 tag of every part but extensions takes (RFC 5646, 4.4.1)."""
MAX_RINGS_FIRST_S: Final = 600.0
"""A dialplan that lets it ring for longer gets no prewarmed model."""


class Desk:
    """Answers for one server. `address`: host and port of its AudioSocket, as the dialplan is to
    dial it; an empty host is the address the dialplan has reached us at."""

    def __init__(self, server: Server, host: str, port: int) -> None:
        self._server = server
        self._host = "" if host in WILDCARDS else host
        self._port = port

    async def open(self, channel: Channel, request: Request, peer: str) -> None:
        """A call is coming."""
        call_id = _call_id(request)
        if call_id is None:
            _log.warning("open without a UUID; ${UUID()} makes one", peer=peer)
            await channel.set_variables({"AGENT_STATUS": "ERROR"})
            return
        await channel.set_variables(
            {
                "AGENT_STATUS": self.announce(call_id, request, peer),
                "AGENT_ADDRESS": self.address(channel),
                "AGENT_RATE": str(_downlink_rate_hz(request) or 8_000),
            }
        )

    async def next(self, channel: Channel, request: Request, peer: str) -> None:
        """The dialplan has the caller; what is it to do?"""
        call_id = _call_id(request)
        step = None
        if call_id is not None:
            try:
                step = await self._next(call_id, request.query.get("status", ""), peer)
            except NotLookedUp:
                return  # AGENT_NEXT stays as it is, "unheard": the dialplan asks again
        if step is not None and step.action is Action.AGAIN:  # perhaps it was another's before
            await channel.set_variables({"AGENT_ADDRESS": self.address(channel)})
        await channel.set_variables(
            {
                "AGENT_TARGET": step.target if step else "",
                "AGENT_BRIEFING": step.briefing if step else "",
                "AGENT_REASON": step.reason if step else "",
                "AGENT_SUMMARY": step.summary if step else "",
                "AGENT_NEXT": step.action.value if step else "",  # last: all the others are there
            }
        )

    async def _next(self, call_id: uuid.UUID, status: str, peer: str) -> NextStep | None:
        """Of a call that is up here, or was; or that a process before us, or beside us, has lost."""
        step = None
        if not self._server.knows(call_id):
            step = await self._server.revive(call_id, peer, status)
        return step or self._server.next_step(call_id, peer, status)

    def announce(self, call_id: uuid.UUID, request: Request, peer: str) -> str:
        """Register the call of a request; returns its AGENT_STATUS."""
        return self._server.expect(
            call_id,
            peer=peer,
            agent=request.query.get("agent", ""),
            info=call_info(request),
            downlink_rate_hz=_downlink_rate_hz(request),
            rings_first_s=ring_seconds(request, MAX_RINGS_FIRST_S),
        )

    def address(self, channel: Channel) -> str:
        """Where the dialplan is to connect the call."""
        return joined(self._host or channel.local_host, self._port)


def ring_seconds(request: Request, most_s: float) -> float:
    """How long it is to ring before it is answered; 0 where that is none, or nonsense."""
    try:
        return min(max(0.0, float(request.query.get("ring", ""))), most_s)
    except ValueError:
        return 0.0


def call_info(request: Request) -> CallInfo:
    """What a request tells of its call. Names that are none, and what is too much, are left out."""
    facts = request.facts
    given = {
        name: value[:MAX_VARIABLE_CHARS]
        for name, value in request.query.items()
        if VARIABLE.fullmatch(name)
    }
    return CallInfo(
        caller=facts.get("callerid", ""),
        caller_name=facts.get("calleridname", ""),
        extension=facts.get("dnid", facts.get("extension", "")),
        language=_language(request.query),
        variables=dict(list(given.items())[:MAX_VARIABLES]),
    )


def _language(query: Mapping[str, str]) -> str:
    asked = query.get("language") or query.get("LANGUAGE", "")
    return asked[:MAX_LANGUAGE_CHARS]


def _downlink_rate_hz(request: Request) -> int:
    """The rate that this Asterisk is known to take whatever it sends; 0: the caller's."""
    return EVERY_RATE_HZ if takes_every_rate(request.facts.get("version", "")) else 0


def _call_id(request: Request) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.query.get("uuid", ""))
    except ValueError:
        return None

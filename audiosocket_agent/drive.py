"""`run`: a whole call driven from here, so that the dialplan is one line.

    exten => 1000,1,AGI(agi://127.0.0.1:4573/run?agent=receptionist)

It does what the shipped subroutine does: announce, let it ring, answer, connect, transfer, take back.
AGENT_STATUS says at the end what came of it: OK where the call is done with; BUSY, DRAINING or ERROR
where it was never taken; FAILED where it broke. Whatever the dialplan has after that line is then next.
"""

import uuid
from typing import Final

from audiosocket_agent.call.next_step import Action, NextStep
from audiosocket_agent.desk import Desk, ring_seconds
from audiosocket_agent.pbx.agi import Channel, Request
from audiosocket_agent.plan import BRIEFING_S
from audiosocket_agent.server import Server

TARGETS: Final = "agent-targets"
ATTENDED: Final = "attended@agent"
"""Contexts of the dialplan (asterisk/extensions_audiosocket.conf)."""

WAITING: Final = "r"
"""What a caller hears while a human is called and briefed: ringing."""

MAX_RING_S: Final = 30.0
SPARE_S: Final = 10


class Driver:
    """Drives calls on one server; `ring_s` is how long a human's phone rings."""

    def __init__(self, server: Server, desk: Desk, ring_s: float) -> None:
        self._server = server
        self._desk = desk
        self._ring_s = round(ring_s)

    async def run(self, channel: Channel, request: Request, peer: str) -> None:
        """One call, from its announcement to its end."""
        call_id = uuid.uuid4()
        status = self._desk.announce(call_id, request, peer)
        if status == "OK":
            self._server.driven.add(call_id)
            try:
                status = await self._drive(channel, call_id, request, peer)
            finally:  # the caller has left, or Asterisk has
                self._server.driven.discard(call_id)
                self._server.withdraw(call_id)
        await channel.set_variables({"AGENT_STATUS": status})

    async def _drive(
        self, channel: Channel, call_id: uuid.UUID, request: Request, peer: str
    ) -> str:
        # the UUID first, by which a balancer knows who has the call (deploy/haproxy.cfg); FAILED until
        # it has gone well: this process may be gone before the call is over
        await channel.set_variables({"AGENT_UUID": str(call_id), "AGENT_STATUS": "FAILED"})
        if seconds := ring_seconds(request, MAX_RING_S):
            await channel.execute("Ringing")
            await channel.execute("Wait", f"{seconds:g}")
        await channel.command("ANSWER")
        address = self._desk.address(channel)
        while True:
            await channel.execute("AudioSocket", str(call_id), address)
            await channel.variable("AGENT_UUID")  # that the caller has left is said after the -1
            step = self._server.next_step(call_id, peer, "HANGUP" if channel.hung_up else "")
            if step is not None and step.action is Action.TRANSFER:
                status = await self._call_human(channel, step, address)
                step = self._server.next_step(call_id, peer, status)
            if step is None or step.action is not Action.AGAIN:
                return "OK" if step and step.action is Action.HANGUP else "FAILED"

    async def _call_human(self, channel: Channel, step: NextStep, address: str) -> str:
        """Returns Dial's status, HANGUP where the caller has left meanwhile."""
        name = await channel.variable("CALLERID(name)")
        if channel.hung_up:
            return "HANGUP"
        await channel.set_variables({"CALLERID(name)": step.summary})
        if step.briefing:
            await channel.set_variables(  # __: for the channels it dials, too
                {
                    "__AGENT_RING": str(self._ring_s),
                    "__AGENT_TARGET": step.target,
                    "__AGENT_BRIEFING": step.briefing,
                    "__AGENT_ADDRESS": address,
                }
            )
            dialled, within_s = ATTENDED, self._ring_s + round(BRIEFING_S) + SPARE_S
        else:
            dialled, within_s = f"{step.target}@{TARGETS}", self._ring_s
        await channel.execute("Dial", f"Local/{dialled}", str(within_s), f"g{WAITING}")
        status = await channel.variable("DIALSTATUS")
        if channel.hung_up:
            return "HANGUP"
        await channel.set_variables({"CALLERID(name)": name})
        return status

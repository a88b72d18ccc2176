"""A leg on a line in memory: what Asterisk would see of it, and when, in virtual time."""

import asyncio
import uuid
from typing import Any

from audiosocket_agent import wire
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.clock import Ticker
from audiosocket_agent.pbx.audiosocket import Leg

CALL = uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")
ID = wire.identity(CALL)


class Line(asyncio.Transport):
    """The transport of one connection; the test is the peer."""

    def __init__(self, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self.protocol: asyncio.BaseProtocol
        self.sent: list[tuple[float, bytes]] = []
        self.unsent = 0
        self.reads = True  # False: nothing more fits into the socket
        self.aborts = 0
        self.closing = False

    def write(self, data: Any) -> None:
        assert not self.closing, "written after the end"
        if not self.reads:
            assert not self.unsent or bytes(data) == wire.HANGUP, "written to one that was paused"
            self.unsent += len(data)
            self.protocol.pause_writing()
        self.sent.append((asyncio.get_running_loop().time(), bytes(data)))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def takes(self, frames: int) -> None:
        """So many of what waits fit into the socket now."""
        for _ in range(frames):
            self.unsent = 0
            self.protocol.resume_writing()

    def takes_all(self) -> None:
        """It reads again."""
        self.reads, self.unsent = True, 0
        self.protocol.resume_writing()

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborts += 1
        self.lose()

    def lose(self, error: Exception | None = None) -> None:
        """As asyncio does it: `connection_lost` comes in the next turn of the loop, and once."""
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)


class Desk:
    """Whoever has the call (LegListener), and what it was told. `fault` is raised by the method of
    that name."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.audio: list[tuple[float, int, bytes]] = []
        self.digits = ""
        self.ticks: list[float] = []
        self.played: list[float] = []
        self.ends: list[tuple[Outcome, Exception | None]] = []

    def _told(self, method: str) -> None:
        assert not self.ends, f"{method} after closed"
        if method == self.fault:
            raise RuntimeError(f"a fault in {method}")

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None:
        self.audio.append((now, rate_hz, payload))
        self._told("heard")

    def pressed(self, digit: str) -> None:
        self.digits += digit
        self._told("pressed")

    def ticked(self, now: float) -> None:
        self.ticks.append(now)
        self._told("ticked")

    def played_out(self, now: float) -> None:
        self.played.append(now)
        self._told("played_out")

    def closed(self, outcome: Outcome, error: Exception | None) -> None:
        self._told("closed")
        self.ends.append((outcome, error))


class Connection:
    """One connection, from its accept on. `desk` None refuses the call."""

    def __init__(
        self,
        desk: Desk | None = None,
        *,
        refuse: bool = False,
        ticker: Ticker | None = None,
        extra: dict[str, Any] | None = None,
        **leg: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.desk = desk or Desk()
        self.calls: list[uuid.UUID] = []
        self.lost: list[Exception | None] = []
        self._refuse = refuse
        self.line = Line(extra or {})
        self.leg = Leg(
            ticker or Ticker(loop.time),
            identified=self._identified,
            lost=lambda leg, error: self.lost.append(error),
            clock=loop.time,
            **leg,
        )
        self.line.protocol = self.leg
        self.leg.connection_made(self.line)

    def _identified(self, leg: Leg, call: uuid.UUID) -> Desk | None:
        assert leg is self.leg
        self.calls.append(call)
        if self.desk.fault == "identified":
            raise RuntimeError("a fault in identified")
        return None if self._refuse else self.desk

    def says(self, *messages: bytes) -> None:
        """The peer sends."""
        for message in messages:
            self.leg.data_received(message)

    def hangs_up(self) -> None:
        """The peer closes the connection."""
        self.leg.eof_received()

    @property
    def frames(self) -> list[tuple[float, int, bytes]]:
        """What was sent but for the hangup: time, kind and payload."""
        return [
            (at, data[0], data[3:])
            for at, data in self.line.sent
            if data != wire.HANGUP and data[1] << 8 | data[2] == len(data) - 3
        ]

    @property
    def hangups(self) -> list[float]:
        return [at for at, data in self.line.sent if data == wire.HANGUP]

    @property
    def ends(self) -> int:
        """How often the end was told; must be once."""
        return len(self.lost) + len(self.desk.ends)

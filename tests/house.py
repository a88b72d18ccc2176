"""The service as tests run it: everything real but the model, on a free port, in this process."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from audiosocket_agent.addresses import LOOPBACK, Network
from audiosocket_agent.audio.vad import SpeechDetector
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.desk import Desk
from audiosocket_agent.drive import Driver
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.ledger import BLANK, Book
from audiosocket_agent.metrics import PREFIX, Metrics
from audiosocket_agent.model.base import VoiceModel
from audiosocket_agent.overload import Overload
from audiosocket_agent.pbx.agi import FastAgiServer
from audiosocket_agent.pbx.gate import CONNECTS_PER_SECOND, Gate
from audiosocket_agent.plan import Plan
from audiosocket_agent.server import Server
from audiosocket_agent.tools.builtin import END_CALL
from audiosocket_agent.tools.registry import Registry, Tool

HOST = "127.0.0.1"
PLAN = Plan("receptionist", Limits(), "Be brief.", "Greet the caller.", SpeechDetector)


@dataclass
class House:
    """A running service and its port."""

    server: Server
    metrics: Metrics
    port: int
    agi_port: int

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 where it was never counted."""
        return self.metrics.registry.get_sample_value(PREFIX + name, labels) or 0.0

    async def is_empty(self, within: float = 3.0) -> None:
        """Wait until the last call is over, whose dialplan may ask once more. Raises TimeoutError."""
        async with asyncio.timeout(within):
            await self.server.idle()

    def call(self, rate_hz: int = 8_000, uuid: UUID | None = None) -> Any:
        """A caller, as an async context manager."""
        return Call.connect(HOST, self.port, rate_hz=rate_hz, uuid=uuid)


@asynccontextmanager
async def house(
    model: VoiceModel,
    *,
    limits: Limits | None = None,
    tools: Iterable[Tool] = (END_CALL,),
    max_calls: int = 100,
    downlink_rate_hz: int = 0,
    registered_only: bool = False,
    allow: Iterable[Network] = LOOPBACK,
    connects_per_second: float = CONNECTS_PER_SECOND,
    overload: Overload | None = None,
    book: Book = BLANK,
    **plan: Any,
) -> AsyncIterator[House]:
    """The service, for as long as the block lasts; the loop's clock is its clock."""
    metrics = Metrics()
    registry = Registry(tools)
    server = Server(
        model,
        {PLAN.name: replace(PLAN, limits=limits or Limits(), tools=lambda: registry, **plan)},
        metrics,
        default=PLAN.name,
        max_calls=max_calls,
        downlink_rate_hz=downlink_rate_hz,
        registered_only=registered_only,
        allow=allow,
        connects_per_second=connects_per_second,
        overload=overload,
        book=book,
        clock=asyncio.get_running_loop().time,
    )
    port = await server.listen(HOST, 0)
    desk = Desk(server, HOST, port)
    driver = Driver(server, desk, ring_s=25.0)
    agi = FastAgiServer(
        {"open": desk.open, "next": desk.next, "run": driver.run},
        gate=Gate(allow, per_second=connects_per_second),
        turned_away=server.turned_away,
        clock=asyncio.get_running_loop().time,
    )
    agi_port = await agi.start(HOST, 0)
    try:
        yield House(server, metrics, port, agi_port)
    finally:
        await agi.stop()
        await server.stop()

"""One row of the table: a fault, the calls it happens to, and what is left of them."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.simulator import Behaviour
from audiosocket_agent.lab.ticker import Ticker
from tests.agi.dialplan import HOST
from tests.bench.capacity.pauses import Pauses
from tests.chaos.faults import AFTER_RESTART_S, SILENCE_S, Fault
from tests.chaos.house import NOTHING, Traces, World, counting, left_behind, world
from tests.chaos.proxy import Proxy
from tests.chaos.talk import NO_PAUSES, Caller, Moment, Outcome

APART_S: Final = 0.15
"""Between the calls of a row."""
LOGS: Final = Path("build/chaos")
"""What the service said in rows where something was wrong."""
ROW_S: Final = 150.0
"""For all of it, should everything hang."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a fault did."""

    fault: Fault
    outcomes: Sequence[Outcome] = ()
    left: Traces = NOTHING
    names: str = ""
    """Of the tasks and files that were left."""
    allowed_s: float = SILENCE_S
    """Of silence."""
    error: str = ""
    """Why there is nothing to tell."""
    pauses: Pauses = NO_PAUSES
    """Of the machine: what callers did not hear in them says nothing of us."""

    @property
    def handed_on(self) -> int:
        return sum(o.handed_on for o in self.outcomes)

    @property
    def lost(self) -> int:
        """Calls that were neither held to their end nor handed on where nothing else could be done."""
        may = self.fault.no_model
        return sum(not (o.finished or (o.handed_on and may)) for o in self.outcomes)

    @property
    def silence_s(self) -> float:
        return max((o.silence_without(self.pauses) for o in self.outcomes), default=0.0)

    @property
    def kept(self) -> str:
        told = {o.kept for o in self.outcomes} - {None}
        return "–" if not told else "no" if False in told else "yes"

    @property
    def wrong(self) -> list[str]:
        """What should not be."""
        found = [self.error] if self.error else []
        if self.fault.when is not Moment.NEVER and not any(o.hit for o in self.outcomes):
            found.append("it has not happened")
        if self.lost:
            found.append(f"{self.lost} lost")
        if self.silence_s > self.allowed_s:
            found.append(f"{self.silence_s:.1f} s of silence")
        if self.kept == "no":
            found.append("context lost")
        if self.left != NOTHING:
            found.append(f"left behind: {self.left} {self.names}")
        return found


async def run(fault: Fault, calls: int, ticker: Ticker) -> Row:
    """Make the calls. Whatever goes wrong with ourselves is told by the row."""
    try:
        async with asyncio.timeout(ROW_S):
            async with world(
                network=fault.network, settings=fault.settings, restarts=fault.restarts
            ) as house:
                row = await _row(fault, calls, ticker, house)
                if row.wrong:
                    name = re.sub(r"[^a-z0-9]+", "-", fault.name.lower())
                    house.service.keep_log(LOGS / f"{name}.log")
                return row
    except Exception as error:  # noqa: BLE001 - ours, or a service that died: it is told by its row
        cause = error
        while isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        return Row(fault, error=f"{type(cause).__name__}: {cause}")


async def _row(fault: Fault, calls: int, ticker: Ticker, house: World) -> Row:
    await warm_up(house)
    before = await house.service.traces()
    usual: Behaviour = replace(counting(fault.tool), **fault.every)
    house.arm(usual, fault.first)
    async with asyncio.TaskGroup() as group:
        callers = []
        for _ in range(calls):
            callers.append(group.create_task(_call(fault, house, ticker)))
            await asyncio.sleep(APART_S)
    outcomes = [caller.result() for caller in callers]
    if fault.ends:
        async with asyncio.timeout(30.0):
            code = await house.service.gone()
        return Row(fault, outcomes, error=f"exit code {code}" if code else "")
    left = await left_behind(house.service, before)
    names = str(house.service.names) if left.tasks else ""
    names += str(house.service.files) if left.files else ""
    allowed_s = house.restart_s + AFTER_RESTART_S if fault.restarts else SILENCE_S
    return Row(fault, outcomes, left, names, allowed_s)


async def _call(fault: Fault, house: World, ticker: Ticker) -> Outcome:
    async with AsyncExitStack() as stack:
        line = None
        if fault.line is not None:
            line = await stack.enter_async_context(Proxy(house.service.port, fault.line))
        return await Caller(house, ticker, when=fault.when, act=fault.act, line=line).run()


async def warm_up(house: World) -> None:
    """A call that opens what stays open: the database, the SDK's parts."""
    async with Call.connect(HOST, house.service.port) as call:
        with suppress(TimeoutError, CallOver):
            await call.agent_speaks(2.0)
    for _ in range(40):
        if not house.network.pipes:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)

"""One call or many, from a plan to reports: what `audiosocket-agent call` does."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from audiosocket_agent.lab.caller import CONNECT_SECONDS, Call, CallOver
from audiosocket_agent.lab.report import CallReport, End
from audiosocket_agent.lab.script import converse
from audiosocket_agent.lab.sound import SHIPPED_CALLER, Sides, read_utterances, write_heard
from audiosocket_agent.lab.story import Observer, nobody
from audiosocket_agent.lab.ticker import Ticker

CALLS_PER_SECOND: Final = 25.0
"""How fast a load builds up; Asterisk started as many without a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """What to call, and what to do there."""

    host: str = "127.0.0.1"
    port: int = 9092
    wav: Path = SHIPPED_CALLER
    """What the caller says, see `sound.read_utterances`."""
    heard: Path | None = None
    """Where to write what was said and heard: stereo, the caller on the left. Of many calls, the
    first."""
    rate_hz: int = 8_000
    """Of the caller's audio, one of `wire.KIND_OF_RATE`; Asterisk's application has 8000."""
    calls: int = 1
    seconds: float = 60.0
    """A call is hung up when it has lasted so long."""
    digits: str = ""
    """Pressed at the end of the conversation."""
    uuid: UUID | None = None
    """Of the first call; any other is random."""


async def place_calls(plan: CallPlan, observe: Observer = nobody) -> tuple[CallReport, ...]:
    """Make the calls of a plan, at once, and report on each in the order they were begun.

    A service that cannot be reached is told by the report. `observe` sees the events of a single
    call; of many, none. Raises StartError where a sound file cannot be read or written.
    """
    utterances = read_utterances(plan.wav, plan.rate_hz)
    ticker = Ticker()
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(_place(plan, number, ticker, utterances, observe))
            for number in range(plan.calls)
        ]
    reports, sides = zip(*(call.result() for call in calls), strict=True)
    if plan.heard is not None:
        write_heard(plan.heard, sides[0], reports[0].heard_rate_hz or plan.rate_hz)
    return tuple(reports)


async def _place(
    plan: CallPlan, number: int, ticker: Ticker, utterances: Sequence[bytes], observe: Observer
) -> tuple[CallReport, Sides]:
    await asyncio.sleep(number / CALLS_PER_SECOND)
    first = number == 0
    uuid = (plan.uuid if first else None) or uuid4()
    try:
        async with Call.connect(
            plan.host,
            plan.port,
            rate_hz=plan.rate_hz,
            uuid=uuid,
            ticker=ticker,
            observe=observe if plan.calls == 1 else nobody,
            keep_audio=first and plan.heard is not None,
        ) as call:
            await _talk(call, utterances, plan)
    except TimeoutError:
        return _unreached(plan, uuid, f"no connection within {CONNECT_SECONDS:g} s"), ([], [])
    except OSError as error:
        return _unreached(plan, uuid, _reason(error)), ([], [])
    return call.report(), call.sides


async def _talk(call: Call, utterances: Sequence[bytes], plan: CallPlan) -> None:
    try:
        async with asyncio.timeout(plan.seconds):
            await converse(call, utterances, plan.digits)
    except (TimeoutError, CallOver):
        return  # the report has how far it came


def _reason(error: OSError) -> str:
    """The system's words for it: asyncio's own repeat the address."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _unreached(plan: CallPlan, uuid: UUID, error: str) -> CallReport:
    return CallReport(
        uuid=str(uuid),
        rate_hz=plan.rate_hz,
        end=End.UNREACHED,
        duration_seconds=0.0,
        error=f"{plan.host}:{plan.port}: {error}",
    )

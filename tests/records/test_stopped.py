"""The database is stopped under calls: nobody hears it, nothing is lost, and no number is made up.

Five calls and 4 seconds; `CALLS=20 STOPPED=60` is what was promised. It prints the spacing of frames, in
milliseconds; on a busy machine that says little, and decides nothing here.
"""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, Simulator, Use
from audiosocket_agent.records import listing
from tests.evals.speech import AGENT, CALLER
from tests.records.conftest import Database
from tests.serving import HOST, Service, serving

CALLS: Final = int(os.environ.get("CALLS", "5"))
STOPPED_S: Final = float(os.environ.get("STOPPED", "4"))
BEFORE_S: Final = max(4.0, STOPPED_S / 3)
TURN_S: Final = 2.0

AGENT_FILE: Final = """
instructions = "Write it down."
tools = ["create_ticket"]
[limits]
tool_uses = 1000
[limits.uses]
create_ticket = 1000
"""


@dataclass
class Spacing:
    """Of frames, in seconds, while the database was there and while it was not."""

    there: list[float] = field(default_factory=list)
    away: list[float] = field(default_factory=list)

    def told(self) -> str:
        return "; ".join(
            f"{name}: p50 {_part(gaps, 0.5):.1f}, p99 {_part(gaps, 0.99):.1f} ms"
            for name, gaps in (("there", self.there), ("away", self.away))
        )


def _part(gaps: list[float], part: float) -> float:
    return sorted(gaps)[int(part * (len(gaps) - 1))] * 1000


def writes_everything_down() -> Behaviour:
    turns = int((BEFORE_S + STOPPED_S + 30) / TURN_S)
    exchanges = tuple(
        Exchange(
            f"Number {turn} is broken.",
            (
                Use("create_ticket", {"subject": f"Broken, part {turn}"}),
                Line(AGENT, "It is noted."),
            ),
        )
        for turn in range(turns)
    )
    return Behaviour(think_seconds=0.05, script=exchanges)


async def metric(service: Service, name: str) -> float:
    _, page = await service.page("/metrics")
    line = next(line for line in page.splitlines() if line.startswith(f"audiosocket_agent_{name} "))
    return float(line.split()[1])


async def waiting(service: Service) -> bool:
    """Whether rows are not in the database yet."""
    return bool(await metric(service, "records_behind") + await metric(service, "records_waiting"))


@pytest.mark.timeout(120 + 3 * STOPPED_S)
async def test_nobody_notices_and_nothing_is_lost(database: Database, tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "desk.toml").write_text(AGENT_FILE)
    spacing = Spacing()
    over = asyncio.Event()
    async with (
        Simulator(writes_everything_down()) as simulator,
        serving(
            AGENTS_DIRECTORY=str(tmp_path / "agents"),
            DEFAULT_AGENT="desk",
            DATABASE_URL=database.url,
            GEMINI_API_KEY="simulated",
            GOOGLE_GEMINI_BASE_URL=simulator.base_url,
            SSL_CERT_FILE=str(simulator.ca_file),
        ) as service,
    ):

        async def talk() -> None:
            async with Call.connect(HOST, service.port) as call:
                while not over.is_set():
                    call.say(CALLER)
                    await call.passes(TURN_S)
                assert call.end is None, "the call did not go on"
                assert call.violations == []
                frames = [frame.at for frame in call.frames]
                split = next(i for i, at in enumerate(frames) if at > call.now - STOPPED_S - 1.0)
                spacing.there += [b - a for a, b in pairwise(frames[:split])]
                spacing.away += [b - a for a, b in pairwise(frames[split:])]

        async with asyncio.TaskGroup() as calls:
            for _ in range(CALLS):
                calls.create_task(talk())
            await asyncio.sleep(BEFORE_S)
            await asyncio.to_thread(database.stop)
            await asyncio.sleep(STOPPED_S)
            over.set()
        behind = await metric(service, "records_behind")
        await asyncio.to_thread(database.start)
        async with asyncio.timeout(60):
            while await waiting(service):  # noqa: ASYNC110 - another process, which has no event
                await asyncio.sleep(0.2)
        assert await metric(service, "records_lost_total") == 0

    sessions = simulator.sessions
    answers = [answer["response"] for s in sessions for answer in s.tool_responses]
    told = [answer["number"] for answer in answers if "number" in answer]
    refused = [answer["error"] for answer in answers if "error" in answer]
    async with database.store() as store:
        tickets = await listing.tickets(store, limit=100_000)
        records = [record async for record in listing.complete(store)]
    print(
        f"\n{CALLS} calls, {STOPPED_S:g} s without {database.url.split(':')[0]}: {spacing.told()}"
    )
    print(f"{len(told)} numbers told, {len(refused)} refused, {len(tickets)} tickets there")

    assert behind == 1, "the journal was of use"
    assert set(told) <= {ticket.number for ticket in tickets}
    assert len(told) == len(set(told))
    assert refused
    assert all("cannot write that down now" in refusal for refusal in refused)
    assert len(records) == CALLS
    uses = Counter(use.outcome for record in records for use in record.tool_uses)
    assert uses.total() == len(answers)
    assert all(record.call.outcome == "caller_hangup" for record in records)
    for record in records:
        tokens = sum(use.tokens for use in record.usage)
        assert tokens == record.call.tokens_in + record.call.tokens_out > 0

"""kill -9 while callers are told numbers: every number that the model got is in the database, once.

Four kills; `KILLS=100` tries harder.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, SessionRecord, Simulator, Use
from audiosocket_agent.records import listing
from audiosocket_agent.records.store import Store
from tests.evals.speech import AGENT
from tests.serving import HOST, serving

KILLS = int(os.environ.get("KILLS", "4"))
CALLS = 5
TOLD_EACH = 6


def _opening() -> Exchange:
    """A model that writes down one thing after the other, and says each number."""
    steps: list[Line | Use] = []
    for turn in range(TOLD_EACH // 2):
        subject = f"Broken, part {turn}"
        steps += [
            Use("create_ticket", {"subject": subject}),
            Line(AGENT, "Your ticket is {create_ticket.number}."),
            Use("register_complaint", {"about": "other", "complaint": subject}),
            Line(AGENT, "Your complaint is {register_complaint.number}."),
        ]
    return Exchange(steps=tuple(steps))


def told(sessions: list[SessionRecord]) -> Iterator[str]:
    """Every number that reached a model, which may have spoken it."""
    for session in sessions:
        for response in session.tool_responses:
            if number := response["response"].get("number"):
                yield number


async def call(port: int) -> None:
    try:
        async with Call.connect(HOST, port) as caller:
            await caller.passes(30.0)
    except (CallOver, OSError):
        pass  # as it should be: the service is killed


@pytest.mark.timeout(60 + 8 * KILLS)
async def test_no_number_is_spoken_that_is_not_there(tmp_path: Path) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    (agents / "desk.toml").write_text(
        'instructions = "Write it down."\ntools = ["create_ticket", "register_complaint"]\n'
    )
    url = f"sqlite:///{tmp_path}/agent.db"
    model = Behaviour(speed=1.0, think_seconds=0.02, opening=_opening())  # two seconds of talk
    chance = random.Random(9)
    killed_in_the_middle = 0
    async with Simulator(model) as simulator:
        for _ in range(KILLS):
            before = len(list(told(simulator.sessions)))
            async with (
                asyncio.TaskGroup() as calls,
                serving(
                    AGENTS_DIRECTORY=str(agents),
                    DEFAULT_AGENT="desk",
                    DATABASE_URL=url,
                    GEMINI_API_KEY="simulated",
                    GOOGLE_GEMINI_BASE_URL=simulator.base_url,
                    SSL_CERT_FILE=str(simulator.ca_file),
                ) as service,
            ):
                for _ in range(CALLS):
                    calls.create_task(call(service.port))
                await asyncio.sleep(chance.uniform(0.1, 2.2))  # any moment of their calls
                service.signal(signal.SIGKILL)
                assert await service.exit_code() == -signal.SIGKILL
            numbers = len(list(told(simulator.sessions))) - before
            killed_in_the_middle += 0 < numbers < CALLS * TOLD_EACH
        spoken = list(told(simulator.sessions))

    async with Store(url) as store:
        tickets = await listing.tickets(store, limit=100_000)
    there = {ticket.number for ticket in tickets}
    assert set(spoken) <= there
    assert len(spoken) == len(set(spoken))
    asked = Counter((ticket.call_id, ticket.kind, ticket.subject) for ticket in tickets)
    assert set(asked.values()) == {1}
    assert killed_in_the_middle > KILLS / 3
    print(f"{KILLS} kills, {len(spoken)} numbers spoken, {len(tickets)} written")

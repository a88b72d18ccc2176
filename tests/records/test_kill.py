"""kill -9 at any moment: what was acknowledged is there, and there once.

Twenty kills; `KILLS=100` tries harder.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from audiosocket_agent.records.rows import Ticket, Turn
from audiosocket_agent.records.writer import Writer
from tests.records.conftest import Database, until
from tests.records.test_store import kept

KILLS = int(os.environ.get("KILLS", "20"))


@pytest.mark.timeout(60 + 2 * KILLS)
async def test_what_was_acknowledged_is_there_once(database: Database, tmp_path: Path) -> None:
    journal, acknowledged = tmp_path / "journal", tmp_path / "acknowledged"
    async with database.store() as store:
        await store.write([], 10.0)
    run = [sys.executable, "-m", "tests.records.child", "kill", str(KILLS), database.url]
    await asyncio.to_thread(subprocess.run, [*run, str(journal), str(acknowledged)], check=True)

    async with database.store() as store, Writer(store, journal) as writer:
        await until(lambda: not writer.behind)
        tickets = {row.idempotency_key: row.number for row in await kept(store, Ticket)}
        turns = Counter((row.call_id, row.n) for row in await kept(store, Turn))
    assert writer.refused <= KILLS  # torn lines, one to a kill
    assert not list(journal.glob("*.jsonl"))

    told: defaultdict[str, int] = defaultdict(int)
    promised = {}
    for line in acknowledged.read_text().splitlines():
        what, name, value = line.split()
        if what == "ticket":
            promised[name] = value
        else:
            told[f"call-{name}"] = max(told[f"call-{name}"], int(value))
    assert promised.items() <= tickets.items()
    assert set(turns.values()) == {1}
    for call, count in told.items():
        assert {n for name, n in turns if name == call} >= set(range(count)), call
    assert len(promised) > KILLS
    assert sum(told.values()) > 10 * KILLS

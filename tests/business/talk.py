"""Calls in which a model asks for the tools of a business: the real runner, the real checks of
arguments, the real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Table, select

from audiosocket_agent import business, log
from audiosocket_agent.business import AccountCheck, Office, Rules, SmsGateway
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.records.rows import Promise
from audiosocket_agent.records.store import Store
from audiosocket_agent.tools.audit import Used
from audiosocket_agent.tools.registry import CallControl, Registry
from audiosocket_agent.tools.runner import ToolRunner
from tests.tools.control import Control

INDIA: Final = ZoneInfo("Asia/Kolkata")
LOCAL_NOON: Final = datetime(2026, 11, 20, 12, 0, tzinfo=INDIA)  # a Friday
STRANGER: Final = "+915555509999"
CUSTOMER: Final = "+915555500201"
"""Has two orders in the sample."""


class Desk:
    """What the tools of one process work with. `at` is the time; it may be changed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.at = LOCAL_NOON
        self.sms: SmsGateway | None = None
        self.rules = Rules(INDIA, AccountCheck(digits=4, attempts=3))

    async def commit(self, row: Promise) -> Promise:
        return await self.store.commit(row, 3.0)

    def now(self) -> datetime:
        return self.at.astimezone(UTC)

    @asynccontextmanager
    async def call(
        self,
        caller: str = STRANGER,
        *,
        secrets: Iterable[str] = (),
        names: Iterable[str] = business.NAMES,
        language: str = "hi-IN",
        number: int = 1,
    ) -> AsyncIterator["Call"]:
        """A call for as long as the block lasts; `secrets` are kept as secret-1, secret-2 ..."""
        facts = {"caller": caller} if caller else {}
        call_id = f"5f0c54c6-9d4a-4f52-9b43-0d3a9c1f{number:04}"
        control = Control(id=call_id, language=language, facts=facts, secrets=list(secrets))
        office = Office(self.store, self.commit, self.now, self.sms)
        call = Call(control, Registry(business.tools(names, office, self.rules)))
        try:
            async with asyncio.TaskGroup() as tasks:
                call.tasks = tasks
                yield call
                raise _Over
        except* _Over:
            pass

    async def rows(self, table: Table) -> list[Mapping[str, Any]]:
        async with self.store.reading() as connection:
            return [{**row} for row in (await connection.execute(select(table))).mappings()]

    def later(self, **by: float) -> None:
        self.at += timedelta(**by)


class Call:
    """One call. `rows` is what the audit has of it, `log` all that the model was told."""

    def __init__(self, control: Control, tools: Registry) -> None:
        self.id = control.id
        self.turn = 1
        self.rows: list[Used] = []
        self.tasks: asyncio.TaskGroup
        self._control = control
        self._runner = ToolRunner(tools, self, Metrics(), log.get("tests"), audit=self.rows.append)
        self._uses = 0

    def control(self, key: str) -> CallControl:
        return replace(self._control, key=key, turn=self.turn)  # its notes are the same ones

    def quiet_s(self) -> float:
        return 0.0

    def tell(self, text: str) -> None:
        raise AssertionError(text)

    async def use(self, tool: str, /, **arguments: Any) -> Any:
        """What the model is told, in a turn of its own."""
        self.turn += 1
        return await self.again(tool, **arguments)

    async def again(self, tool: str, /, **arguments: Any) -> Any:
        """As `use`, in the same turn."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._uses += 1
        answer = answered.set_result
        self._runner.start(self.tasks, str(self._uses), tool, arguments, answer)
        async with asyncio.timeout(20):
            told = await answered
        json.dumps(told)
        return told

    @property
    def outcome(self) -> str:
        """Of the last use."""
        return self.rows[-1].outcome.value


class _Over(Exception):
    """The caller has hung up."""


def error_of(told: Mapping[str, Any]) -> str:
    assert list(told) == ["error"], told
    return str(told["error"])

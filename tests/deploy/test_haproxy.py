"""Whom the shipped HAProxy asks, of a call that one of several has."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audiosocket_agent import wire
from audiosocket_agent.server import briefing_id
from tests.agi.dialplan import head
from tests.pbx.test_calls import eventually
from tests.pbx.test_fleet import HAPROXY, INSTANCES, haproxy, ports
from tests.serving import HOST

pytestmark = pytest.mark.skipif(not HAPROXY.exists(), reason="needs tests/deploy/packages.sh")


@dataclass
class Balancer:
    """HAProxy, and those behind it, who answer with their number alone."""

    base: dict[str, int]
    call_of_run: uuid.UUID = field(default_factory=uuid.uuid4)
    full: set[int] = field(default_factory=set)

    async def said(self, name: str, question: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self.base[name])
        writer.write(question)
        async with asyncio.timeout(5.0):
            answer = await reader.read()
        writer.close()
        return answer

    async def asked(self, script: str) -> int:
        """Which one the dialplan has asked."""
        return int((await self.said("fastagi", head(script))).split()[-1])

    async def connected(self, call_id: uuid.UUID) -> int:
        """Which one a call has come to."""
        return int(await self.said("audiosocket", wire.identity(call_id)))

    async def serve(self, number: int, name: str) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if name == "metrics":
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.0 %d\r\n\r\n" % (503 if number in self.full else 200))
            elif name == "fastagi" and b"script: run" in await reader.readuntil(b"\n\n"):
                writer.write(f'SET VARIABLE "AGENT_UUID" "{self.call_of_run}"\n{number}'.encode())
            elif name == "fastagi":
                writer.write(f'SET VARIABLE "AGENT_STATUS" "OK"\n{number}'.encode())
            else:
                writer.write(b"%d" % number)
            writer.close()

        return await asyncio.start_server(answer, HOST, self.base[name] + number)


@pytest.fixture
async def balancer(tmp_path: Path) -> AsyncIterator[Balancer]:
    async with behind(tmp_path) as balancer:
        yield balancer


@asynccontextmanager
async def behind(directory: Path) -> AsyncIterator[Balancer]:
    own = Balancer(ports())
    async with AsyncExitStack() as running:
        for name in own.base:
            for number in INSTANCES:
                await running.enter_async_context(await own.serve(number, name))
        await running.enter_async_context(haproxy(directory, own.base, lambda *_: None))

        async def listens() -> bool:
            try:
                return await own.asked("nothing") in INSTANCES
            except OSError:
                return False

        await eventually(listens, 10.0)
        yield own


async def test_who_has_the_caller_is_asked_of_the_human_and_gets_their_connections(
    balancer: Balancer,
) -> None:
    for _ in range(3):
        caller = uuid.uuid4()
        human = briefing_id(caller)
        its = await balancer.asked(f"open?uuid={caller}&agent=desk")
        asked = [f"next?uuid={human}", f"next?uuid={caller}&status=NOANSWER"] * len(INSTANCES)
        assert {await balancer.asked(each) for each in asked} == {its}
        assert {await balancer.connected(each) for each in (caller, human) * 2} == {its}


async def test_so_is_who_runs_the_callers_dialplan(balancer: Balancer) -> None:
    its = await balancer.asked("run?agent=desk")
    human = briefing_id(balancer.call_of_run)
    assert {await balancer.asked(f"next?uuid={human}") for _ in INSTANCES} == {its}


async def test_who_takes_no_other_call_still_gets_those_that_were_opened_there(
    balancer: Balancer,
) -> None:
    caller = uuid.uuid4()
    its = await balancer.asked(f"open?uuid={caller}")
    balancer.full.add(its)

    async def is_seen() -> bool:
        others = {await balancer.connected(uuid.uuid4()) for _ in range(2 * len(INSTANCES))}
        return its not in others

    await eventually(is_seen, 10.0)
    assert await balancer.connected(caller) == its
    assert await balancer.asked(f"next?uuid={caller}") == its

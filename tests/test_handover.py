"""One service after another on the same ports, under callers who know nothing of it.

CONNECTS=10000 is the long form, at 100 a second.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from audiosocket_agent.handover import handover_path
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from tests.agi.dialplan import agi
from tests.knocking import knocking
from tests.profiles import QUIET
from tests.serving import HOST, Service, serving

CONNECTS: Final = int(os.environ.get("CONNECTS", "300"))
PER_SECOND: Final = 100.0
ROUNDS: Final = 5 if CONNECTS > 1000 else 1


@asynccontextmanager
async def follows(service: Service, **settings: str) -> AsyncIterator[Service]:
    """A service that takes over from this one, which drains."""
    same = {"CONTROL_SOCKET": str(service.control), "STATE_DIRECTORY": str(service.control.parent)}
    async with serving("--take-over", **(same | settings)) as new:
        new.control = service.control
        await service.logged("ports handed over")
        yield new


@pytest.mark.timeout(60 + 3 * CONNECTS / PER_SECOND)
async def test_under_load_agents_are_reloaded_and_services_follow_each_other_and_nobody_notices(
    tmp_path: Path,
) -> None:
    agent = tmp_path / "desk.toml"
    agent.write_text('instructions = "Be brief."')
    settings = {"AGENTS_DIRECTORY": str(tmp_path), "MAX_CALLS": "1000"}
    pause_s = CONNECTS / PER_SECOND / ROUNDS / 3
    async with AsyncExitStack() as services:
        first = service = await services.enter_async_context(serving(**settings))
        async with knocking(first.port, per_second=PER_SECOND) as callers:
            for _ in range(ROUNDS):
                await asyncio.sleep(pause_s)
                agent.write_text("instructions = 5")
                service.signal(signal.SIGHUP)
                await service.logged("agents not reloaded")
                agent.write_text('instructions = "Be very brief."')
                service.signal(signal.SIGHUP)
                await service.logged("agents reloaded")
                await asyncio.sleep(pause_s)
                new = await services.enter_async_context(follows(service, **settings))
                assert (new.port, new.metrics_port) == (first.port, first.metrics_port)
                assert await service.exit_code() == 0
                service = new
                await asyncio.sleep(pause_s)
    slowest = f"the slowest waited {callers.slowest_s:.2f} s for its first frame"
    print(
        f"{callers.taken} taken, {callers.calls} calls; refused: {dict(callers.refused)}; {slowest}"
    )
    assert not callers.refused
    assert callers.taken >= CONNECTS / 2


async def test_a_call_goes_on_where_it_is_and_its_dialplan_is_answered_from_there() -> None:
    async with serving(**QUIET) as old, Call.connect(HOST, old.port) as call:
        await call.passes(0.5)
        async with follows(old, **QUIET) as new:
            await call.passes(1.0)
            assert call.end is None
            call.hang_up()
            await old.logged("call ended")
            answer = await agi((await new.logged("ready"))["fastagi"], f"next?uuid={call.uuid}")
            assert answer["AGENT_NEXT"] == "hangup"
            assert await old.exit_code() == 0
            assert not [entry for entry in new.log if entry["event"] == "call started"]
    assert call.violations == []


async def test_a_call_that_the_old_one_was_told_of_comes_to_it_through_the_new() -> None:
    async with serving(**QUIET) as old:
        call_id = uuid4()
        agi_port = (await old.logged("ready"))["fastagi"]
        assert (await agi(agi_port, f"open?uuid={call_id}"))["AGENT_STATUS"] == "OK"
        async with follows(old, **QUIET, AUDIOSOCKET_UUID_MODE="registered") as new:
            async with Call.connect(HOST, new.port, uuid=call_id) as call:
                await old.logged("call started")
                await call.passes(1.0)
                assert call.end is None
            async with Call.connect(HOST, new.port) as unknown:
                assert await unknown.ended() is End.FINISHED
            assert await old.exit_code() == 0


async def test_one_that_is_followed_keeps_its_calls_and_ends_them_politely(tmp_path: Path) -> None:
    settings = {
        **QUIET,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'all.db'}",
        "DRAIN_MOVE": "true",
        "DRAIN_TIMEOUT": "0",
    }
    async with serving(**settings) as old:
        call_id = uuid4()
        await agi((await old.logged("ready"))["fastagi"], f"open?uuid={call_id}")
        async with Call.connect(HOST, old.port, uuid=call_id) as call, follows(old, **settings):
            assert await call.ended() is End.FINISHED
        assert await old.exit_code() == 0
        assert (await old.logged("call ended"))["outcome"] == "drained"
        assert "calls cannot be left to others" not in [entry["event"] for entry in old.log]


async def test_calls_of_the_first_of_three_still_go_on() -> None:
    async with serving(**QUIET) as first, Call.connect(HOST, first.port) as call:
        await call.passes(0.3)
        async with follows(first, **QUIET) as second, follows(second, **QUIET) as third:
            agi_port = (await third.logged("ready"))["fastagi"]
            call.hang_up()
            await first.logged("call ended")
            assert (await agi(agi_port, f"next?uuid={call.uuid}"))["AGENT_NEXT"] == "hangup"
            assert await first.exit_code() == 0
            assert await second.exit_code() == 0


async def test_where_none_is_running_it_starts_as_ever() -> None:
    async with serving("--take-over") as service, Call.connect(HOST, service.port) as call:
        await call.agent_speaks()


async def test_a_new_one_that_cannot_start_changes_nothing(tmp_path: Path) -> None:
    async with serving(**QUIET) as old:
        same = {"CONTROL_SOCKET": str(old.control), "STATE_DIRECTORY": str(old.control.parent)}
        (tmp_path / "bad.toml").write_text("instructions = 5")
        with pytest.raises(ExceptionGroup):
            async with serving("--take-over", **same, AGENTS_DIRECTORY=str(tmp_path)):
                pytest.fail("it has started")
        async with Call.connect(HOST, old.port) as call:
            await call.passes(0.5)
            assert call.end is None


async def test_one_that_looks_at_the_ports_and_dies_changes_nothing() -> None:
    async with serving(**QUIET) as old, Call.connect(HOST, old.port) as call:
        path = handover_path(old.control)
        assert path.stat().st_mode & 0o777 == 0o600
        for data in (b"", b"nonsense", b"L", b"A" + bytes(1000)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
                sock.connect(str(path))
                assert sock.recv(65_536)[:1] == b"P"
                if data:
                    sock.send(data)
            await call.passes(0.1)
        async with follows(old, **QUIET) as new, Call.connect(HOST, new.port) as other:
            await other.passes(0.5)
            assert call.end is other.end is None

"""Several services on one host: their ports and sockets by number, and calls that one leaves to another.

The dialplan here asks each service directly; how a balancer finds one is tests/pbx/test_fleet.py.
"""

import asyncio
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from audiosocket_agent import config
from audiosocket_agent.addresses import split
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.survival import MAX_LIVES
from tests.agi.dialplan import Line, agi
from tests.commands import run
from tests.profiles import QUIET
from tests.serving import EXAMPLE, HOST, Service, serving

CALL: Final = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0001")


@pytest.fixture
def host() -> Iterator[Path]:
    """A directory for what they have in common."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        yield Path(directory)


@asynccontextmanager
async def instance(host: Path, number: int, **settings: str) -> AsyncIterator[Service]:
    """As systemd runs audiosocket-agent@NUMBER, but on free ports."""
    runtime = host / "run" / str(number)
    runtime.mkdir(parents=True, exist_ok=True)
    own = {
        "INSTANCE": str(number),
        "RUNTIME_DIRECTORY": str(runtime),
        "CONTROL_SOCKET": "",
        "STATE_DIRECTORY": str(host / "state" / str(number)),
        "DATABASE_URL": f"sqlite:///{host / 'all.db'}",
    }
    async with serving(**{**QUIET, **own, **settings}) as service:
        yield service


async def asked(service: Service, question: str) -> dict[str, str]:
    return await agi((await service.logged("ready"))["fastagi"], f"{question}?uuid={CALL}")


# -- by number -----------------------------------------------------------------------------------


def ports(**environment: str) -> tuple[int, int, int]:
    settings = config.load(EXAMPLE, environment).settings
    return settings.audiosocket.port, settings.fastagi.port, settings.metrics.port


def test_the_number_is_added_to_the_ports_whatever_they_are() -> None:
    assert ports() == ports(INSTANCE="0") == (9092, 4573, 9100)
    assert ports(INSTANCE="2") == (9094, 4575, 9102)
    assert ports(INSTANCE="2", METRICS_PORT="9200", FASTAGI_PORT="0") == (9094, 0, 9202)


@pytest.mark.parametrize(
    ("environment", "mistake"),
    [
        ({"INSTANCE": "blue"}, "environment: INSTANCE should be a valid integer"),
        ({"INSTANCE": "1", "METRICS_PORT": "65535"}, "INSTANCE=1 makes METRICS_PORT no port"),
        ({"AUDIOSOCKET_ADVERTISE": "pbx:99999"}, "AUDIOSOCKET_ADVERTISE has no port above 65535"),
        ({"AUDIOSOCKET_ADVERTISE": "a b"}, "environment: AUDIOSOCKET_ADVERTISE should match"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(environment: dict[str, str], mistake: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(EXAMPLE, environment)
    [line] = str(refused.value).splitlines()
    assert line.startswith(mistake)


async def test_status_all_has_a_line_for_each_and_names_those_that_do_not_answer(
    host: Path,
) -> None:
    above = str(host / "run")
    own = {"RUNTIME_DIRECTORY": f"{above}/1", "STATE_DIRECTORY": str(host)}
    status = ("status", "--all", "--config", str(EXAMPLE))
    none = await run(*status, **own)
    assert (none.code, none.out) == (1, "")
    assert none.err.startswith("no service is running here: ")
    async with instance(host, 1, MAX_CALLS="3") as one, instance(host, 2, MAX_CALLS="5") as two:
        async with Call.connect(HOST, two.port) as call:
            await call.passes(0.1)
            said = await run(*status, **own)
        assert said.code == 0
        lines = [line.split() for line in said.out.splitlines()]
        assert [line[:5] for line in lines[1:]] == [
            ["1", "yes", "0", "of", "3"],
            ["2", "yes", "1", "of", "5"],
            ["all", "2", "of", "2", "1"],
        ]
        assert (lines[1][-1], lines[2][-1]) == (str(one.port), str(two.port))

        alone = await run(
            "calls", "list", "--config", str(EXAMPLE), **own | {"RUNTIME_DIRECTORY": above}
        )
        assert (alone.code, alone.out) == (1, "")
        assert f"there is no {above}/control.sock, but of instances 1, 2; INSTANCE=1" in alone.err

        one.signal(signal.SIGKILL)
        await one.exit_code()
        said = await run(*status, **own)
        assert said.code == 1
        assert said.out.splitlines()[-1].startswith("instance 1: no service is running here: ")
        told = (await run(*status, "--json", **own)).json
        assert ("error" in told["1"], told["2"]["ready"]) == (True, True)


# -- where `open` sends the call -----------------------------------------------------------------


def test_a_host_may_have_a_port() -> None:
    assert split("pbx.example") == ("pbx.example", 0)
    assert split("10.0.0.7:9093") == ("10.0.0.7", 9093)
    assert split("[fd00::7]:9093") == ("fd00::7", 9093)
    assert split("[fd00::7]") == ("fd00::7", 0)
    assert split("") == ("", 0)


async def test_open_answers_with_the_address_that_is_advertised(host: Path) -> None:
    async with instance(host, 1, AUDIOSOCKET_ADVERTISE="10.9.8.7") as service:
        assert (await asked(service, "open"))["AGENT_ADDRESS"] == f"10.9.8.7:{service.port}"
    async with instance(host, 1, AUDIOSOCKET_ADVERTISE="agents:9092") as service:
        assert (await asked(service, "open"))["AGENT_ADDRESS"] == "agents:9092"


# -- it leaves -----------------------------------------------------------------------------------


async def test_it_takes_calls_until_balancers_have_seen_that_it_drains(host: Path) -> None:
    async with instance(host, 1, DRAIN_NOTICE="1.5", DRAIN_TIMEOUT="0") as service:
        service.signal(signal.SIGTERM)
        await service.logged("leaving")
        assert await service.page("/readyz") == (503, "draining\n")
        assert (await asked(service, "open"))["AGENT_STATUS"] == "OK"
        await service.logged("draining")
        assert await service.exit_code() == 0


async def test_it_says_that_its_calls_are_nobody_elses(host: Path) -> None:
    """Without PostgreSQL. (Here they are, by one SQLite on one host.)"""
    async with instance(host, 1) as service:
        assert (await service.logged("no other instance can go on with its calls"))["reason"]


async def leaves(service: Service, call: Call) -> None:
    """Its dialplan has the caller back, and nobody is there to be asked."""
    service.signal(signal.SIGTERM)
    assert await call.ended() is End.FINISHED
    with pytest.raises(OSError, match="Connect call failed"):
        await asked(service, "next")


async def test_a_call_moves_from_one_to_the_next_as_often_as_they_are_restarted(
    host: Path,
) -> None:
    moving = {"DRAIN_TIMEOUT": "0", "DRAIN_MOVE": "true"}
    async with AsyncExitStack() as running:
        here = await running.enter_async_context(instance(host, 1, **moving))
        assert (await asked(here, "open"))["AGENT_STATUS"] == "OK"
        for number in range(2, MAX_LIVES + 4):
            there = await running.enter_async_context(instance(host, number, **moving))
            async with Call.connect(HOST, here.port, uuid=CALL) as call:
                await call.passes(0.1)
                await leaves(here, call)
            step = await asked(there, "next")
            assert step["AGENT_NEXT"] == "again"
            assert step["AGENT_ADDRESS"] == f"{HOST}:{there.port}"
            assert await here.exit_code() == 0
            left = [entry["event"] for entry in here.log]
            assert "call left" in left
            assert "call ended" not in left
            here = there
        async with Call.connect(HOST, here.port, uuid=CALL) as call:
            await call.passes(0.1)
            call.hang_up()
        assert (await here.logged("call ended"))["outcome"] == "caller_hangup"


async def test_a_call_whose_records_nobody_else_has_ends_politely(host: Path) -> None:
    moving = {"DRAIN_TIMEOUT": "0", "DRAIN_MOVE": "true", "DATABASE_URL": ""}
    async with instance(host, 1, **moving) as service:
        assert (await asked(service, "open"))["AGENT_STATUS"] == "OK"
        async with Call.connect(HOST, service.port, uuid=CALL) as call:
            await call.passes(0.1)
            service.signal(signal.SIGTERM)
            assert await call.ended() is End.FINISHED
            assert (await asked(service, "next"))["AGENT_REASON"] == "drained"
        assert await service.exit_code() == 0


async def test_what_nobody_could_go_on_with_ends_politely(host: Path) -> None:
    """A call that no dialplan has announced, and one that is driven from here."""
    over = asyncio.Event()

    async def audiosocket(arguments: list[str]) -> str:
        async with Call.connect(HOST, service.port, uuid=uuid.UUID(arguments[0])) as call:
            assert await call.ended() is End.FINISHED
        over.set()
        return "0"

    async with instance(host, 1, DRAIN_TIMEOUT="0.5", DRAIN_MOVE="true") as service:
        ready = await service.logged("ready")
        line = Line({"AudioSocket": audiosocket})
        async with asyncio.TaskGroup() as tasks, Call.connect(HOST, service.port) as plain:
            tasks.create_task(line.run(ready["fastagi"], "run"))
            await plain.passes(0.3)
            service.signal(signal.SIGTERM)
            assert await plain.ended() is End.FINISHED
            await over.wait()
        assert await service.exit_code() == 0
        outcomes = [entry["outcome"] for entry in service.log if entry["event"] == "call ended"]
        assert outcomes == ["drained", "drained"]
        assert line.variables["AGENT_STATUS"] == "FAILED"

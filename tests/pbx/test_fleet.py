"""Four of our services on one PostgreSQL, behind a real HAProxy with the shipped configuration, under a
real Asterisk: calls are spread, a killed service's calls go on with the others, and all four are
restarted, one after the other, under their calls. A human is told of a caller by the one that has them.

Most callers are Asterisk's own (Local channels that say nothing): 40 of them cost less than ten with
phones. One has a phone, and what is heard there counts.
"""

import asyncio
import os
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from audiosocket_agent.control.client import ask
from audiosocket_agent.lab.simulator import Behaviour, Simulator
from tests.deploy.unit import DEPLOY
from tests.pbx.asterisk import AGENT, PLAIN, WIDE_AGENT, Asterisk, free_port
from tests.pbx.conftest import Attach, Measure
from tests.pbx.ear import align
from tests.pbx.phone import Phone
from tests.pbx.service import Service, running_service
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, prompt
from tests.pbx.test_calls import eventually
from tests.pbx.test_ways import (
    AFTERWARDS,
    BRIEFING,
    GREETING,
    OF_THE_CALLER,
    OF_THE_HUMAN,
    QUESTION,
    REASON,
    TELLS,
    Bench,
    Way,
    passes_on_to,
    speech,
    until_heard,
)
from tests.pbx.test_ways import WAYS as DIALPLANS
from tests.profiles import DESK
from tests.records.postgres import PROGRAMS, Cluster

CALLS: Final = 40
INSTANCES: Final = (1, 2, 3, 4)
UNEVEN: Final = 2
DRAIN_S: Final = 0.5
"""Calls here last longer: they have to move."""
NOTICE_S: Final = 3.0
"""As the unit has it; the shipped HAProxy needs 2 s to see that a service drains."""

HAPROXY: Final = Path(os.environ.get("HAPROXY_CACHE", "/var/cache/audiosocket-agent/haproxy"))
TALKS: Final = Behaviour(greeting=speech(GREETING), reply=speech(AFTERWARDS))

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        PROGRAMS is None or not HAPROXY.exists(), reason="needs tests/deploy/packages.sh"
    ),
]


@dataclass
class Fleet:
    """The services that run now, by number, and the callers of Asterisk's own."""

    asterisk: Asterisk
    gemini: Simulator
    settings: dict[str, str]
    state: Path
    attach: Attach
    log_from: int
    services: dict[int, Service] = field(default_factory=dict)
    lives: dict[int, AsyncExitStack] = field(default_factory=dict)
    past: list[dict[str, Any]] = field(default_factory=list)
    """What services that have ended logged of calls that moved."""

    async def start(self, number: int) -> None:
        """As systemd starts audiosocket-agent@NUMBER."""
        directory = self.state / str(number)
        directory.mkdir(exist_ok=True)
        life = AsyncExitStack()
        service = await life.enter_async_context(
            running_service(
                self.gemini,
                **self.settings,
                INSTANCE=str(number),
                STATE_DIRECTORY=str(directory),
                CONTROL_SOCKET=str(directory / "control.sock"),
            )
        )
        self.services[number], self.lives[number] = service, life
        self.attach(f"log of {number}, from {time.monotonic():.1f}", service.log)

    async def end(self, number: int) -> None:
        """Stop it, if it still runs, and wait until it has ended."""
        self.past += self.moves(number)
        await self.lives.pop(number).aclose()
        del self.services[number]

    async def calls(self) -> dict[int, set[str]]:
        """Which are up, and where."""
        found = {}
        for number in list(self.services):
            answer = await ask(self.state / str(number) / "control.sock", {"do": "list"})
            found[number] = {call["id"] for call in answer["calls"] if call["peer"]}
        return found

    async def all_calls(self) -> list[str]:
        """Which are up, anywhere; one that is in two places is here twice."""
        return sorted(call for found in (await self.calls()).values() for call in found)

    async def until_up(self, count: int) -> None:
        """Wait until so many calls are."""

        async def are() -> bool:
            return len(await self.all_calls()) == count

        await eventually(are, 30.0)

    async def place(self, extension: str, count: int) -> None:
        """Have callers of Asterisk's own call."""
        for _ in range(count):
            await self.asterisk.rx(
                f"channel originate Local/{extension}@bench/n application Wait 600"
            )

    def moves(self, number: int) -> list[dict[str, Any]]:
        service = self.services[number]
        return service.events("call left") + service.events("call goes on")

    def silences(self) -> list[float]:
        """How long calls that were left had no connection."""
        moves = self.past + [each for number in self.services for each in self.moves(number)]
        moves.sort(key=lambda each: (each["call"], each["timestamp"]))
        return [
            (_at(after) - _at(before)).total_seconds()
            for before, after in pairwise(moves)
            if before["event"] == "call left" and before["call"] == after["call"]
        ]

    def given_up(self) -> int:
        """Callers whom the dialplan has taken back from the agent."""
        return len(re.findall(r"Executing \[s@after:1\]", self.asterisk.log(self.log_from)))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.remove()


@asynccontextmanager
async def haproxy(directory: Path, base: dict[str, int], attach: Attach) -> AsyncIterator[None]:
    """The shipped configuration, on ports of the test's own."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    for own in ("10024", "8405"):
        text = text.replace(own, str(free_port()))
    shipped = {"audiosocket": 9092, "fastagi": 4573, "metrics": 9100}
    for name, port in shipped.items():
        for number in (0, *INSTANCES):
            text = re.sub(rf"\b{port + number}\b", str(base[name] + number), text)
    for line in ("    user haproxy\n", "    group haproxy\n"):
        assert line in text
        text = text.replace(line, "")
    text = text.replace("/dev/log local0", "stderr format raw local0")
    text = text.replace("/run/haproxy/admin.sock", str(directory / "admin.sock"))
    file, said = directory / "haproxy.cfg", directory / "haproxy.log"
    file.write_text(text)
    attach("HAProxy", said.read_text)
    libraries = next((HAPROXY / "usr" / "lib").glob("*-linux-gnu"), HAPROXY)
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(HAPROXY / "usr" / "sbin" / "haproxy", "-db", "-f", file),
            env={"LD_LIBRARY_PATH": str(libraries)},
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


def ports() -> dict[str, int]:
    """First ports of three rows that nobody listens on, below those that the kernel gives away."""
    width = len(INSTANCES) + 1
    firsts = [
        first
        for first in range(10_100, 16_000, width)
        if all(map(_free, range(first, first + width)))
    ]
    return dict(zip(("audiosocket", "fastagi", "metrics"), random.sample(firsts, 3), strict=True))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def behaviours() -> Sequence[Behaviour]:
    """Of the model, session by session; the last one's are those of all that follow."""
    return [TALKS]


@pytest.fixture
async def fleet(
    asterisk: Asterisk,
    attach: Attach,
    cluster: Cluster,
    tmp_path: Path,
    behaviours: Sequence[Behaviour],
) -> AsyncIterator[Fleet]:
    base = ports()
    settings = {
        **DESK,
        **{f"{name.upper()}_PORT": str(port) for name, port in base.items()},
        "DATABASE_URL": cluster.database(),
        "DRAIN_TIMEOUT": str(DRAIN_S),
        "DRAIN_NOTICE": str(NOTICE_S),
        "DRAIN_MOVE": "true",
        "LOG_LEVEL": "INFO",
        "MAX_LOOP_LAG": "0",  # of a machine that others use, too
    }
    state = tmp_path

    def behaviour(number: int) -> Behaviour:
        return behaviours[min(number, len(behaviours) - 1)]

    async with Simulator(behaviour_for=behaviour) as gemini:
        own = Fleet(asterisk, gemini, settings, state, attach, len(asterisk.log()))
        await own.start(1)  # which makes the tables
        await asyncio.gather(*map(own.start, INSTANCES[1:]))
        async with haproxy(tmp_path, base, attach):
            await asyncio.sleep(1.5)  # until it has seen all four
            await asterisk.send_agents_to(base["audiosocket"], base["fastagi"])
            try:
                yield own
            finally:
                await asterisk.rx("channel request hangup all")
                await asyncio.gather(*map(own.end, list(own.services)))


WAYS: Final = {AGENT: "8 kHz app", WIDE_AGENT: "slin16 channel"}


@pytest.mark.parametrize("extension", WAYS, ids=WAYS.get)
async def test_calls_are_spread_survive_a_kill_and_a_rolling_restart(
    fleet: Fleet, measure: Measure, extension: str
) -> None:
    wide = extension == WIDE_AGENT
    async with Caller(fleet.asterisk.sip_port, "l16" if wide else "ulaw") as caller:
        await caller.dial(extension)
        await caller.until_heard()
        [(victim, [call])] = [(n, list(its)) for n, its in (await fleet.calls()).items() if its]
        await fleet.place(extension, CALLS - 1)
        await fleet.until_up(CALLS)
        counts = [len(its) for its in (await fleet.calls()).values()]
        assert all(abs(count - CALLS / len(INSTANCES)) <= UNEVEN for count in counts), counts

        await one_is_killed(fleet, victim, caller, measure, WAYS[extension])
        await fleet.start(victim)
        await all_are_restarted(fleet, extension, measure, WAYS[extension])

        assert call in await fleet.all_calls()
        await caller.until_quiet()
        await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await caller.until_heard()  # it still answers
        await caller.hangup()


async def one_is_killed(
    fleet: Fleet, victim: int, caller: Caller, measure: Measure, way: str
) -> None:
    """Of whose callers `caller` is one."""
    before, everyone = await fleet.calls(), await fleet.all_calls()
    await caller.until_quiet()
    fleet.services[victim].kill()
    killed_at = time.monotonic()
    await fleet.end(victim)
    spoke_at = await caller.until_heard(15.0)
    measure(f"fleet: killed to the agent's voice, {way}", (spoke_at - killed_at) * 1000)
    await fleet.until_up(len(everyone))
    took_s = time.monotonic() - killed_at
    measure(f"fleet: killed to the last call back, {way}", took_s * 1000)
    assert await fleet.all_calls() == everyone
    for number, calls in (await fleet.calls()).items():
        assert before[number] <= calls  # the others' calls stay where they are
    others = fleet.services.values()
    revived = [await service.metric("calls_revived_total") for service in others]
    assert sum(revived) == len(before[victim])
    assert fleet.given_up() == 0


async def all_are_restarted(fleet: Fleet, extension: str, measure: Measure, way: str) -> None:
    """One after the other, while new calls come."""
    everyone = await fleet.all_calls()
    for number in INSTANCES:
        leaving = fleet.services[number]
        leaving.terminate()
        await asyncio.sleep(NOTICE_S / 2)
        await fleet.place(extension, 2)
        await leaving.ended()
        await fleet.end(number)
        await fleet.until_up(len(everyone) + 2)
        assert set(everyone) <= set(await fleet.all_calls())
        everyone = await fleet.all_calls()
        await fleet.start(number)
    assert fleet.given_up() == 0
    silences = fleet.silences()
    assert len(silences) >= CALLS
    for silence_s in silences:
        measure(f"fleet: restarted, one connection to the next, {way}", silence_s * 1000)


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


async def test_plain_audiosocket_goes_to_whoever_has_the_fewest_calls(fleet: Fleet) -> None:
    async with Caller(fleet.asterisk.sip_port) as caller:
        await caller.dial(PLAIN)
        await caller.until_heard()
        await fleet.place(PLAIN, 2 * len(INSTANCES) - 1)
        await fleet.until_up(2 * len(INSTANCES))
        assert [len(its) for its in (await fleet.calls()).values()] == [2, 2, 2, 2]
        await caller.hangup()
        await fleet.until_up(2 * len(INSTANCES) - 1)
        await fleet.place(PLAIN, 1)
        await fleet.until_up(2 * len(INSTANCES))
        assert [len(its) for its in (await fleet.calls()).values()] == [2, 2, 2, 2]


# -- attended ------------------------------------------------------------------------------------

ASKS_A_HUMAN: Final = [passes_on_to("expert"), TELLS, TALKS]


@asynccontextmanager
async def asked(fleet: Fleet, way: Way, human: Phone) -> AsyncIterator[tuple[Bench, int]]:
    """A caller who is being passed on while the human's phone rings; the number of who has them."""
    async with Caller(fleet.asterisk.sip_port) as caller:
        anyone = next(iter(fleet.services.values()))
        bench = Bench(fleet.asterisk, fleet.gemini, anyone, caller)
        await bench.asks(way)
        [number] = [number for number, calls in (await fleet.calls()).items() if calls]
        bench.agent = fleet.services[number]
        assert await human.rings(timeout=20.0) == REASON
        await asyncio.sleep(1.0)  # the phone rings; the model is ready meanwhile
        yield bench, number


@pytest.mark.parametrize("behaviours", [ASKS_A_HUMAN], ids=["attended"])
@pytest.mark.parametrize("way", DIALPLANS)
async def test_a_human_is_told_by_the_service_that_has_the_caller(fleet: Fleet, way: Way) -> None:
    async with (
        Phone("human", fleet.asterisk.sip_port) as human,
        asked(fleet, way, human) as (b, number),
    ):
        await human.answer()
        await until_heard(lambda: human.heard, BRIEFING)
        human.press("1")
        await eventually(b.alone, 5.0)
        said = human.say_all(prompt(OF_THE_HUMAN), PROMPT_RATE_HZ)
        await asyncio.gather(said, b.caller.say_all(prompt(OF_THE_CALLER), PROMPT_RATE_HZ))
        await until_heard(lambda: b.caller.heard, OF_THE_HUMAN)
        await until_heard(lambda: human.heard, OF_THE_CALLER)
        assert not align(b.caller.heard.pcm, prompt(BRIEFING), PROMPT_RATE_HZ).found
        await human.hangup()
        await b.caller.until_ended(timeout=10.0)
        for other, service in fleet.services.items():
            for outcome in ("accepted", "transferred"):
                there = await service.metric("calls_total", outcome=outcome)
                assert there == (other == number)


@pytest.mark.parametrize("behaviours", [ASKS_A_HUMAN], ids=["attended"])
@pytest.mark.parametrize("way", DIALPLANS[:1])  # `run` waits in the service that is killed
async def test_a_caller_whose_service_is_killed_while_a_human_rings_is_not_lost(
    fleet: Fleet, way: Way
) -> None:
    async with (
        Phone("human", fleet.asterisk.sip_port) as human,
        asked(fleet, way, human) as (b, number),
    ):
        fleet.services[number].kill()
        await fleet.end(number)
        human.refuse(486)
        await fleet.until_up(1)  # another one has the caller
        await b.caller.until_quiet()
        await b.caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await b.goes_on()
        assert fleet.given_up() == 0
        await b.caller.hangup()

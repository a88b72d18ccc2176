"""Calls we place: `audiosocket-agent dial` against the manager of a real Asterisk, and phones that
answer, are busy, are not there."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from audiosocket_agent.control.client import ask
from audiosocket_agent.lab.simulator import Simulator
from tests.pbx.asterisk import AMI_SECRET, Asterisk, free_port
from tests.pbx.conftest import Measure, StartService
from tests.pbx.ear import align
from tests.pbx.phone import Phone
from tests.pbx.service import Service
from tests.pbx.speech import PROMPT_RATE_HZ, prompt
from tests.pbx.test_calls import eventually
from tests.pbx.test_ways import GREETING, PLAIN
from tests.profiles import DESK
from tests.serving import EXAMPLE

_COMMAND: Final = Path(sys.executable).with_name("audiosocket-agent")


@asynccontextmanager
async def dialling(
    asterisk: Asterisk, agent: Service, *arguments: str, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`dial` at work, with the bench's phones for a trunk."""
    environment = {
        "CONTROL_SOCKET": agent.control,
        "AMI_PORT": str(asterisk.ami_port),
        "AMI_SECRET": AMI_SECRET,
        "OUTBOUND_ALLOW": "200[34]",
        "OUTBOUND_CHANNEL": "Local/{number}@agent-targets",
        "OUTBOUND_TIMEOUT": "4",
        **DESK,
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        _COMMAND,
        *("dial", *arguments, "--json", "--config", str(EXAMPLE)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def result(process: asyncio.subprocess.Process) -> tuple[int | None, dict[str, Any]]:
    async with asyncio.timeout(30.0):
        out, err = await process.communicate()
    return process.returncode, json.loads(out) if out else {"words": err.decode()}


async def test_whoever_answers_is_greeted_at_once_and_by_the_agent_that_was_named(
    asterisk: Asterisk, service: StartService, measure: Measure
) -> None:
    async with (
        Simulator(PLAIN) as gemini,
        service(gemini, **DESK) as agent,
        Phone("human", asterisk.sip_port) as human,
    ):
        wanted = ("2003", "--agent", "desk", "--var", "ORDER=4711")
        async with dialling(asterisk, agent, *wanted) as dial:
            await human.rings(timeout=10.0)
            await asyncio.sleep(1.0)  # it rings, and the model gets ready
            await human.answer()
            assert human.answered_at is not None
            greeted = await human.until_heard() - human.answered_at
            measure("dialled: answer to greeting", greeted * 1000)
            assert greeted < 0.3  # the model took 0.35 to connect and think
            await human.until_quiet()
            assert align(human.heard.pcm, prompt(GREETING), PROMPT_RATE_HZ).found
            code, said = await result(dial)
        assert (code, said["outcome"]) == (0, "answered")
        [session] = gemini.sessions
        assert '"ORDER": "4711"' in str(session.setup)
        await human.hangup()


@pytest.mark.parametrize("answers", ["who has announced it", "a balancer"])
async def test_of_several_whoever_has_announced_it_is_asked_what_is_next_or_else_any(
    asterisk: Asterisk, service: StartService, answers: str
) -> None:
    async with (
        Simulator(PLAIN) as gemini,
        service(gemini, **DESK) as agent,
        Phone("human", asterisk.sip_port) as human,
    ):
        own, balancer = agent.agi_port, free_port()
        if answers == "a balancer":
            own, balancer = balancer, own
        await asterisk.send_agents_to(agent.port, balancer)
        settings = {
            "INSTANCE": "1",
            "FASTAGI_PORT": str(own - 1),
            "OUTBOUND_CHANNEL": f"PJSIP/human/sip:{{number}}@127.0.1.1:{asterisk.sip_port}",
        }
        async with dialling(asterisk, agent, "2003", **settings) as dial:
            await human.rings(timeout=10.0)
            await human.answer()
            code, said = await result(dial)
        assert code == 0
        await human.until_heard()
        await human.until_quiet()
        start = len(asterisk.log())
        await ask(Path(agent.control), {"do": "transfer", "id": said["id"], "target": "sales"})

        async def is_put_through() -> bool:
            return "Executing [2001@bench:2] Answer" in asterisk.log(start)

        await eventually(is_put_through, 10.0)
        await human.hangup()


@pytest.mark.parametrize(("status", "code", "outcome"), [(486, 4, "busy"), (603, 1, "failed")])
async def test_whoever_turns_the_call_away_is_not_called_again(
    asterisk: Asterisk, service: StartService, status: int, code: int, outcome: str
) -> None:
    async with (
        Simulator(PLAIN) as gemini,
        service(gemini, **DESK) as agent,
        Phone("human", asterisk.sip_port) as human,
    ):
        channel = {
            "OUTBOUND_CHANNEL": "PJSIP/human/sip:{number}@127.0.1.1:" + str(asterisk.sip_port)
        }
        async with dialling(asterisk, agent, "2003", **channel) as dial:
            await human.rings(timeout=10.0)
            human.refuse(status)
            ended, said = await result(dial)
        assert (ended, said["outcome"]) == (code, outcome)
        assert await agent.metric("calls_active") == 0
        assert await agent.metric("calls_total", outcome="abandoned") == 1


async def test_a_phone_that_nobody_answers_stops_ringing(
    asterisk: Asterisk, service: StartService
) -> None:
    async with (
        Simulator(PLAIN) as gemini,
        service(gemini, **DESK) as agent,
        Phone("human", asterisk.sip_port) as human,
        dialling(asterisk, agent, "2003") as dial,
    ):
        await human.rings(timeout=10.0)
        await human.stopped_ringing(timeout=10.0)
        code, said = await result(dial)
        assert (code, said["outcome"]) == (5, "no_answer")


async def test_what_may_not_be_dialled_rings_nowhere(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(PLAIN) as gemini, service(gemini, **DESK) as agent:
        for number in ("2005", "2003,2004", "2003&PJSIP/colleague", "Local/2003", "+12025550100"):
            async with dialling(asterisk, agent, "--", number) as dial:
                code, _ = await result(dial)
            assert code == 2, number
        assert await asterisk.channels() == 0
        assert gemini.sessions == []


@pytest.mark.parametrize(
    "settings", [{"AMI_PORT": "1"}, {"AMI_SECRET": "wrong"}, {"AMI_USERNAME": "nobody"}]
)
async def test_without_the_manager_nothing_is_dialled_and_no_model_either(
    asterisk: Asterisk, service: StartService, settings: dict[str, str]
) -> None:
    async with Simulator(PLAIN) as gemini, service(gemini, **DESK) as agent:
        async with dialling(asterisk, agent, "2003", **settings) as dial:
            code, said = await result(dial)
        assert code == 1
        assert "wrong" not in str(said)
        assert await asterisk.channels() == 0
        assert gemini.sessions == []

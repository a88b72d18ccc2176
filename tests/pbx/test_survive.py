"""kill -9 in the middle of a call: with a service that comes back the same conversation goes on, with
none the dialplan's next line has the caller, both within a bound that the caller hears."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from audiosocket_agent.lab.simulator import Behaviour, SessionRecord, Simulator
from audiosocket_agent.plan import BACK
from tests.pbx.asterisk import AGENT, Asterisk, free_port
from tests.pbx.conftest import Attach, Measure
from tests.pbx.rtp import Heard
from tests.pbx.service import running_service
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, prompt
from tests.pbx.test_ways import AFTERWARDS, GREETING, QUESTION, speech
from tests.profiles import DESK

DOWN_S: Final = 1.0
"""How long nobody starts it again."""
BEYOND_RESTART_S: Final = 1.5
WAIT_S: Final = 3
"""AGENT_WAIT here; 15 s as it is shipped."""
CONNECT_S: Final = 0.3

TALKS: Final = Behaviour(
    greeting=speech(GREETING), reply=speech(AFTERWARDS), connect_delay_seconds=CONNECT_S
)
BLOCK_S: Final = 0.02
AUDIBLE_RMS: Final = 100.0


def calls(gemini: Simulator) -> list[SessionRecord]:
    """The model's sessions with callers; there may be others, in which phrases are made."""
    return [each for each in gemini.sessions if each.setup and "tools" in each.setup]


def settings(state: Path) -> dict[str, str]:
    """Of both lives."""
    ports = {name: str(free_port()) for name in ("AUDIOSOCKET_PORT", "FASTAGI_PORT")}
    return {**DESK, **ports, "STATE_DIRECTORY": str(state)}


def silences(heard: Heard) -> list[float]:
    """Seconds in which nothing was heard, each, with sound before and after it."""
    size = round(BLOCK_S * heard.rate_hz)
    pcm = heard.pcm[: len(heard.pcm) // size * size].astype(np.float64).reshape(-1, size)
    audible = np.flatnonzero(np.sqrt((pcm**2).mean(axis=1)) > AUDIBLE_RMS)
    return list(np.diff(audible) * BLOCK_S)


@pytest.mark.parametrize("how", ["while the agent speaks", "while nobody does"])
async def test_a_call_goes_on_when_the_service_is_back(
    asterisk: Asterisk, attach: Attach, measure: Measure, tmp_path: Path, how: str
) -> None:
    own = settings(tmp_path)
    async with Simulator(TALKS) as gemini, Caller(asterisk.sip_port) as caller:
        async with running_service(gemini, **own) as first:
            attach("service log, first life", first.log)
            await asterisk.send_agents_to(first.port, first.agi_port)
            await caller.dial(AGENT)
            await caller.until_heard()
            await caller.until_quiet()
            await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard()
            if how == "while nobody does":
                await caller.until_quiet(1.0)
            first.kill()
            killed_at = time.monotonic()
        await asyncio.sleep(DOWN_S)
        async with running_service(gemini, **own) as second:
            attach("service log, second life", second.log)
            back_at = time.monotonic()
            spoke_at = await caller.until_heard(10.0)
            measure("killed to ready again", (back_at - killed_at) * 1000)
            measure("ready again to the agent's voice", (spoke_at - back_at) * 1000)
            measure("killed to the agent's voice", (spoke_at - killed_at) * 1000)
            assert spoke_at - back_at <= BEYOND_RESTART_S
            await caller.until_quiet()
            [before, after] = calls(gemini)
            assert after.resumed
            assert after.setup is not None
            assert after.setup["sessionResumption"]["handle"] in before.handles
            assert BACK in str(after.contents) + str(after.texts)
            await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard()  # it still answers
            longest = max(silences(caller.heard))
            assert longest <= (back_at - killed_at) + BEYOND_RESTART_S + 1.0  # the second of quiet
            await caller.hangup()
            assert second.events("call taken up")
    assert await asterisk.went_on(caller.name) is None


async def test_where_it_does_not_come_back_the_dialplan_goes_on(
    asterisk: Asterisk, attach: Attach, measure: Measure, tmp_path: Path
) -> None:
    await asterisk.rx(f"dialplan set global AGENT_WAIT {WAIT_S}")
    try:
        async with Simulator(TALKS) as gemini, Caller(asterisk.sip_port) as caller:
            async with running_service(gemini, **settings(tmp_path)) as service:
                attach("service log", service.log)
                await asterisk.send_agents_to(service.port, service.agi_port)
                await caller.dial(AGENT)
                await caller.until_heard()
                service.kill()
                killed_at = time.monotonic()
            await caller.until_ended(WAIT_S + 5)
            took_s = time.monotonic() - killed_at
            measure(f"killed to the fallback's end, AGENT_WAIT={WAIT_S}", took_s * 1000)
            assert WAIT_S - 1 <= took_s <= WAIT_S + 3
        assert await asterisk.went_on(caller.name) == "FAILED"
    finally:
        await asterisk.rx('dialplan set global AGENT_WAIT ""')


async def test_who_hangs_up_while_it_is_down_is_a_caller_who_has_hung_up(
    asterisk: Asterisk, attach: Attach, tmp_path: Path
) -> None:
    own = settings(tmp_path)
    async with Simulator(replace(TALKS, speed=0)) as gemini:
        async with Caller(asterisk.sip_port) as caller:
            async with running_service(gemini, **own) as first:
                attach("service log, first life", first.log)
                await asterisk.send_agents_to(first.port, first.agi_port)
                await caller.dial(AGENT)
                await caller.until_heard()
                first.kill()
            await asyncio.sleep(0.5)
            await caller.hangup()
        async with running_service(gemini, **own) as second:
            attach("service log, second life", second.log)
            await asyncio.sleep(1.0)
            assert len(calls(gemini)) == 1
            assert await asterisk.channels() == 0

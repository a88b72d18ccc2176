"""Keys, from a phone's RFC 4733 events to the model, or not to it."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from audiosocket_agent.lab.simulator import Simulator, ToolStep
from tests.pbx.asterisk import AGENT, Asterisk
from tests.pbx.conftest import StartService
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, prompt
from tests.pbx.test_calls import eventually
from tests.pbx.test_ways import AFTERWARDS, ANNOUNCED, PLAIN, QUESTION, speech
from tests.profiles import DESK

SECRET: Final = "90917353"


def texts_in(directory: Path) -> list[str]:
    """What is in its files."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path.read_text(errors="replace") for path in files]


async def test_keys_are_told_to_the_model(asterisk: Asterisk, service: StartService) -> None:
    async with Simulator(PLAIN) as gemini, service(gemini, **DESK):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial(AGENT)
            await caller.until_heard()
            for key in "12#":
                caller.dtmf(key)
            [session] = gemini.sessions

            async def told() -> bool:
                return "1 2 #" in str(session.contents) + str(session.texts)

            await eventually(told, 10.0)


async def test_a_secret_is_found_nowhere(asterisk: Asterisk, service: StartService) -> None:
    wants = ToolStep(
        1,
        "collect_digits",
        {"max": len(SECRET), "secret": True},
        before=speech(ANNOUNCED),
        after=speech(AFTERWARDS),
    )
    asks = replace(PLAIN, tools=(wants,))
    with tempfile.TemporaryDirectory(prefix="agent-") as state:
        async with (
            Simulator(asks) as gemini,
            service(gemini, **DESK, STATE_DIRECTORY=state) as agent,
        ):
            async with Caller(asterisk.sip_port) as caller:
                await caller.dial(AGENT)
                await caller.until_heard()
                await caller.until_quiet()
                await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
                await caller.until_heard()  # "Please enter ..."
                await caller.until_quiet()
                [session] = gemini.sessions
                before = len(session.audio)
                said = asyncio.create_task(caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ))
                await said  # aloud, before they are typed
                after = len(session.audio)
                for key in SECRET:
                    caller.dtmf(key)

                async def collected() -> bool:
                    return bool(session.tool_responses)

                await eventually(collected, 10.0)
                heard = np.frombuffer(bytes(session.audio[before:after]), np.int16)
                assert after - before > PROMPT_RATE_HZ
                assert not heard.any()
            assert "secret-1" in str(session.tool_responses)
            assert f"'count': {len(SECRET)}" in str(session.tool_responses)
        for text in (repr(session), agent.log(), *texts_in(Path(state))):
            assert SECRET not in text
            assert " ".join(SECRET) not in text

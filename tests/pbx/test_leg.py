"""The AudioSocket of a call is cut in the middle of it, by what is between Asterisk and the service: the
recommended dialplan takes the caller back, who goes on talking with the same agent."""

import time
from collections.abc import Callable
from typing import Final

import pytest

from audiosocket_agent.lab.simulator import Simulator
from tests.chaos.proxy import HOST, Pipe, Proxy
from tests.pbx.asterisk import AGENT, WIDE_AGENT, Asterisk
from tests.pbx.conftest import Measure, StartService
from tests.pbx.sip import Caller
from tests.pbx.speech import PROMPT_RATE_HZ, prompt
from tests.pbx.test_calls import eventually
from tests.pbx.test_survive import TALKS, calls
from tests.pbx.test_ways import QUESTION
from tests.profiles import DESK

BREAK_S: Final = 1.5
"""What a caller may hear of it."""


def reset(pipe: Pipe) -> None:
    """Both ends are told."""
    pipe.cut(reset=True)


HOW: Final[dict[str, Callable[[Pipe], None]]] = {
    "reset": reset,
    "FIN": Pipe.cut,
    "reset, of which the service hears nothing": Pipe.reset_client,
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("extension", [AGENT, WIDE_AGENT], ids=["app", "channel"])
async def test_a_caller_whose_audiosocket_is_cut_is_taken_back(
    asterisk: Asterisk, service: StartService, measure: Measure, extension: str, how: str
) -> None:
    async with Simulator(TALKS) as gemini, Proxy(0) as between:
        address = f"{HOST}:{between.port}"
        async with service(gemini, **DESK, AUDIOSOCKET_ADVERTISE=address) as agent:
            between.target = agent.port
            async with Caller(asterisk.sip_port) as caller:
                await caller.dial(extension)
                await caller.until_heard()
                await caller.until_quiet()
                await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
                await caller.until_heard()
                [pipe] = between.pipes
                HOW[how](pipe)
                cut_at = time.monotonic()

                async def speaks_again() -> bool:
                    said = [event["what"] for event in agent.events("event")]
                    return len([what for what in said if what.startswith("ReplyStarted")]) == 3

                await eventually(speaks_again, BREAK_S)
                spoke_at = await caller.until_heard()
                measure(f"AudioSocket cut ({how}) to the agent's voice", 1000 * (spoke_at - cut_at))
                assert spoke_at - cut_at <= BREAK_S
                await caller.until_quiet()
                await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
                await caller.until_heard()  # it still answers
                [told] = agent.events("connection to the PBX broke")
                assert told["again"]
                await caller.hangup()
                assert len(calls(gemini)) == 1
    assert await asterisk.went_on(caller.name) is None

"""The faults of the Live API at the caller's ear: the real google-genai over TLS to the simulator, and
one call for each fault, all at once, in real time."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.settings import Gemini
from tests.house import House, house
from tests.scripted import tone
from tests.test_vigil import DEAD_AIR_S, dead_air, faults, loud, reply, yes

FAULTS: Final[Mapping[str, str | None]] = {
    "no-answer": "no_answer",
    "empty-turn": "empty_turn",
    "cut-reply": "cut",
    "phantom-interrupted": "phantom_interruption",
    "stall": "stalled",
    "tone": "endless",
    "slow": None,  # is none to be cured
}
"""The simulator's names, and what the watchdog makes of them."""
WELL: Final = Behaviour(
    greeting=Pcm(tone(1.0), 24_000),
    reply=Pcm(tone(2.0), 24_000),
    reply_words="At nine, and until six in the evening.",
    think_seconds=0.3,
    fault_turn=1,
    fault_seconds=30.0,
)


def behaviour(number: int) -> Behaviour:
    """The first sessions have a fault each; those that follow are well."""
    return replace(WELL, faults=frozenset(list(FAULTS)[number : number + 1]))


async def converse(call: Call) -> None:
    """Ask, wait for what comes of it, and ask again."""
    await call.agent_silent(0.7)
    call.say(yes() * 3)
    await call.said()
    await reply(call)
    began = call.now
    while loud(call, began) < 0.8:  # an answer, or the most of one
        await call.passes(0.5)
    await call.agent_silent(2.9)
    call.say(yes() * 3)
    said = await call.said()
    assert await reply(call) - said < 2.5
    await call.agent_silent(0.7)
    call.hang_up()
    assert dead_air(call) <= DEAD_AIR_S + 0.1  # a frame, and a machine that is busy


async def test_every_fault_is_cured(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(behaviour_for=behaviour) as simulator:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        gemini = GeminiModel(Gemini.model_validate({"api_key": "simulated"}))
        async with house(LastingModel([Rung(gemini)])) as service, asyncio.TaskGroup() as tasks:
            for _ in FAULTS:
                tasks.create_task(one_call(service), name="call")
                await greeted(service, simulator)
        found = Counter(faults(service))
        assert found.keys() >= set(FAULTS.values()) - {None}
        assert service.metric("model_errors_total", code="1006") == 0


async def one_call(service: House) -> None:
    async with service.call() as call:
        await call.agent_speaks()
        await converse(call)


async def greeted(service: House, simulator: Simulator) -> None:
    """Wait for the session of the call that was made last, so that each call has its fault."""
    count = simulator.session_count
    async with asyncio.timeout(10.0):
        while simulator.session_count == count:  # noqa: ASYNC110 - another side's state
            await asyncio.sleep(0.01)

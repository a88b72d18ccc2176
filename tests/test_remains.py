"""What is left of calls that are over: nothing for the process to keep, and of the model's connection
nothing even for the collector."""

import asyncio
import gc
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.asyncio.client import ClientConnection

from audiosocket_agent import server
from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.model.backlog import Backlog
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.settings import Gemini
from tests.agi.dialplan import FACTS, agi
from tests.house import House, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.serving import PATIENCE_SECONDS
from tests.virtual_time import in_virtual_time

QUICK = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.02,
    speed=0,
    greeting=Pcm(tone(0.1), 24_000),
    greeting_words="Hello.",
)
KEPT = 5
"""Of ended calls, what the dialplan is to do next."""
UTTERANCE = read_utterances(SHIPPED_CALLER, 8_000)[0]


@contextmanager
def uncollected() -> Iterator[None]:
    """Garbage in circles stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - another side's state, or nobody's
            await asyncio.sleep(0.05)


def connections() -> int:
    """Of models, that are there; a log has a proxy of each, which would pass for another."""
    return sum(issubclass(type(each), ClientConnection) for each in gc.get_objects())


def said_and_kept() -> int:
    """Pieces of what callers have said."""
    kinds = (type(each) for each in gc.get_objects())
    return sum(kind.__module__ == Backlog.__module__ for kind in kinds if kind is not Backlog)


def ours() -> Counter[str]:
    """Objects of this package that are there, by their types."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if str(kind.__module__).startswith("audiosocket_agent")
    )


async def greet(model: Puppet) -> None:
    model.say(tone(0.2))
    model.turn_ends()


async def greet_and_fail(model: Puppet) -> None:
    model.say(tone(0.2))
    model.fails()


async def announced_call(service: House) -> None:
    """By the dialplan; the caller hangs up after the greeting, and it asks what is next."""
    call_id = uuid.uuid4()
    await agi(service.agi_port, f"open?uuid={call_id}", FACTS)
    async with service.call(uuid=call_id) as call:
        await call.agent_speaks()
        await call.passes(1.0)
    await service.is_empty()
    await agi(service.agi_port, f"next?uuid={call_id}", FACTS)


@pytest.mark.parametrize("script", [greet, greet_and_fail])
@in_virtual_time
async def test_of_our_own_objects_nothing_but_what_is_bounded(
    monkeypatch: pytest.MonkeyPatch, script: Callable[[Puppet], Awaitable[None]]
) -> None:
    monkeypatch.setattr(server, "ENDED_CALLS_KEPT", KEPT)
    model = ScriptedModel(script)
    async with house(LastingModel([Rung(model)])) as service:
        for _ in range(2 * KEPT):
            await announced_call(service)
        model.puppets.clear()
        before = ours()
        for _ in range(20):
            await announced_call(service)
        model.puppets.clear()
        assert ours() == before


@in_virtual_time
async def test_what_a_caller_said_last_is_gone_with_the_call() -> None:
    """5 s of it are kept for the model's next connection: 80 kB, of hundreds of calls."""
    async with house(LastingModel([Rung(ScriptedModel(greet))])) as service:
        with uncollected():
            before = said_and_kept()  # other tests may hold some
            async with service.call() as call:
                await call.agent_speaks()
                call.say(UTTERANCE)
                await call.said()
                assert said_and_kept() > before
            await service.is_empty()
            assert said_and_kept() == before


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "sdk"])
async def test_a_connection_of_the_model_is_gone_with_its_call(
    monkeypatch: pytest.MonkeyPatch, fast_path: bool
) -> None:
    """It has 0.35 MB of buffers; what waits for the collector, waits for hundreds of calls."""

    async with Simulator(QUICK) as simulator:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        settings = Gemini.model_validate({"api_key": "simulated", "fast_path": fast_path})
        async with house(LastingModel([Rung(GeminiModel(settings))])) as service:
            with uncollected():
                before = connections()
                async with service.call() as call:
                    await call.agent_speaks()
                    assert connections() > before
                await until(lambda: connections() == before)

"""Gemini sessions that outlive their connections: the real google-genai over TLS to the simulator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from audiosocket_agent import assets
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.errors import ModelError
from audiosocket_agent.lab.simulator import CLOSES, Behaviour, Pcm, Simulator, ToolStep
from audiosocket_agent.model import base, gemini
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.model.gemini_events import _tell_of
from audiosocket_agent.model.lasting import CONTINUE, LastingModel, LastingSession, Rung
from audiosocket_agent.settings import Gemini
from tests.model.cable import Cable
from tests.scripted import tone

GREETING, REPLY = tone(0.1), tone(0.2, 600.0)
QUICK = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.02,
    speed=0,
    greeting=Pcm(GREETING, 24_000),
    reply=Pcm(REPLY, 24_000),
    reply_words="At nine.",
)
QUESTION = assets.speech("caller")[: 16_000 * 2 * 3] + bytes(32_000)
"""3 s of speech and the second of silence that ends the caller's turn."""


class Talk:
    """A session being read, and what it has brought."""

    def __init__(self) -> None:
        self.session: LastingSession
        self.quiet = True
        self.audio = bytearray()
        self.events: list[Any] = []
        self.error: ModelError | None = None

    def take(self, pcm: bytes, rate_hz: int) -> None:
        self.audio += pcm

    async def read(self) -> None:
        try:
            async for event in self.session.events():
                self.events.append(event)
        except ModelError as error:
            self.error = error

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def has(self, kind: type[Any], count: int = 1) -> Any:
        await until(lambda: len(self.of(kind)) >= count or self.error)
        assert self.error is None
        return self.of(kind)[count - 1]

    def says(self, pcm: bytes) -> None:
        """At once; the simulator counts samples, not time."""
        for at in range(0, len(pcm), 640):
            self.session.send_audio(pcm[at : at + 640], 16_000)


async def until(condition: Callable[[], Any], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another side's state
            await asyncio.sleep(0.01)


Make = Callable[..., GeminiModel]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(simulator: Simulator, *, port: int = 0, **settings: Any) -> GeminiModel:
        base_url = f"https://localhost:{port or simulator.port}"
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        return GeminiModel(Gemini.model_validate({"api_key": "simulated", **settings}))

    return make


@asynccontextmanager
async def talking(*models: GeminiModel | Rung, tools: tuple[Any, ...] = ()) -> AsyncIterator[Talk]:
    talk = Talk()
    rungs = [model if isinstance(model, Rung) else Rung(model) for model in models]
    setup = base.SessionSetup("Be brief.", "Greet.", tools, quiet=lambda: talk.quiet)
    setup = replace(setup, happened=talk.events.append)
    async with LastingModel(rungs).open(setup, talk.take) as session:
        talk.session = session
        reading = asyncio.create_task(talk.read())
        try:
            yield talk
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    assert not [task for task in asyncio.all_tasks() if "Link" in repr(task.get_coro())]


async def answers_as_before(talk: Talk, simulator: Simulator) -> None:
    """The caller asks, and the newest session answers as one that has greeted long ago."""
    heard = len(talk.audio)
    turns = len(talk.of(base.TurnEnded))
    talk.says(QUESTION)
    await talk.has(base.TurnEnded, turns + 1)
    assert bytes(talk.audio[heard:]) == REPLY
    assert simulator.sessions[-1].resumed


# -- the connection is lost ----------------------------------------------------------------------


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "sdk"])
@pytest.mark.parametrize("close", ["cancelled", "abort", "internal", "deadline", "unsupported"])
async def test_a_session_that_is_closed_goes_on(make: Make, close: str, fast_path: bool) -> None:
    async with Simulator(replace(QUICK, close=CLOSES[close])) as simulator:
        async with talking(make(simulator, fast_path=fast_path)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            simulator.inject("close")
            talk.says(QUESTION[:6_400])  # into the void, perhaps, and then to the new one
            again = await talk.has(base.Reconnected)
            assert again.reason == str(CLOSES[close].code)
            assert again.seconds < 3.0
            await answers_as_before(talk, simulator)
        assert len(simulator.sessions) == 2


@pytest.mark.parametrize(
    ("fault", "fast_path"),
    [("malformed-json", True), ("unknown-message", False), ("error-message", True)],
    ids=["malformed-json", "unknown-message", "error-message"],
)
async def test_a_message_that_is_not_understood_costs_a_connection_only(
    make: Make, fault: str, fast_path: bool
) -> None:
    async with Simulator(QUICK) as simulator:
        async with talking(make(simulator, fast_path=fast_path)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            simulator.inject(fault)
            assert (await talk.has(base.Reconnected)).reason == "bad_message"
            await answers_as_before(talk, simulator)


async def test_messages_of_a_kind_that_is_new_are_passed_over(make: Make) -> None:
    """The service adds to what it says; the SDK ends the session over a message of nothing else."""
    async with Simulator(QUICK) as simulator:
        async with talking(make(simulator)) as talk:
            await talk.has(base.TurnEnded)
            _tell_of.cache_clear()
            with capture_logs() as logged:
                for turn in range(2, 5):
                    simulator.inject("unknown-message")
                    talk.says(QUESTION)
                    await talk.has(base.TurnEnded, turn)
            assert bytes(talk.audio).endswith(REPLY * 3)
            assert talk.of(base.Reconnected) == []
            assert [line["fields"] for line in logged if "fields" in line] == ["somethingNew"]
        assert len(simulator.sessions) == 1


async def test_a_reset_on_the_way(make: Make) -> None:
    async with Simulator(QUICK) as simulator, Cable(simulator.port) as cable:
        async with talking(make(simulator, port=cable.port)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            cable.reset()
            assert (await talk.has(base.Reconnected)).reason == "1006"
            await answers_as_before(talk, simulator)


async def test_a_connection_that_carries_nothing_any_more(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini, "PING_TIMEOUT_S", 0.3)
    async with Simulator(QUICK) as simulator, Cable(simulator.port) as cable:
        async with talking(make(simulator, port=cable.port, ping_interval=0.3)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            cable.hold()
            talk.says(QUESTION)  # which nobody hears, until there is somebody
            await talk.has(base.Reconnected)
            await talk.has(base.TurnEnded, 2)
            assert bytes(talk.audio) == GREETING + REPLY
            assert simulator.sessions[1].speech_ms > 1_500
            assert simulator.sessions[1].resumed


async def test_a_reply_that_is_cut_is_asked_for_again(make: Make) -> None:
    slow = replace(QUICK, speed=1.0, reply=Pcm(tone(3.0, 600.0), 24_000), close=CLOSES["abort"])
    async with Simulator(slow) as simulator:
        async with talking(make(simulator)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            talk.says(QUESTION)
            await until(lambda: len(talk.audio) > len(GREETING) + 24_000)
            simulator.inject("close")
            await talk.has(base.Reconnected)
            assert talk.events.index(base.TurnEnded(spoke=True), 9) < talk.events.index(
                talk.of(base.Reconnected)[0]
            )
            cut = len(talk.audio)
            await until(lambda: len(talk.audio) > cut + 24_000)
            new = simulator.sessions[1]
            assert new.resumed
            assert [CONTINUE in str(content) for content in new.contents] == [True]
            assert "Caller turn 1." in str(new.setup)


async def test_a_session_that_is_closed_for_its_setup_goes_on_without_its_handle(
    make: Make,
) -> None:
    async with Simulator(replace(QUICK, close=CLOSES["invalid"])) as simulator:
        async with talking(make(simulator)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            simulator.inject("close")
            assert (await talk.has(base.Reconnected)).reason == "1007"
        new = simulator.sessions[1]
        assert not new.resumed
        assert "Good morning" in str(new.setup)  # the agent's words
        assert not new.contents  # never as turns


async def test_handles_that_are_lost(make: Make) -> None:
    def behaviour(number: int) -> Behaviour:
        faults = frozenset({"lost-handles"} if number else {})
        return replace(QUICK, faults=faults, close=CLOSES["internal"])

    async with Simulator(QUICK, behaviour_for=behaviour) as simulator:
        async with talking(make(simulator)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            simulator.inject("close")
            assert (await talk.has(base.Reconnected)).seconds < 3.0
        refused, new = simulator.sessions[1:]
        assert refused.close_code == 1007
        assert (new.resumed, refused.resumed) == (False, False)
        assert "Good morning" in str(new.setup)


@pytest.mark.parametrize("fault", ["close-at-setup", "close-before-setup", "reset", "http-503"])
async def test_a_refused_attempt_is_followed_by_another(make: Make, fault: str) -> None:
    def behaviour(number: int) -> Behaviour:
        return replace(QUICK, faults=frozenset({fault} if number in (0, 2) else ()))

    async with Simulator(QUICK, behaviour_for=behaviour) as simulator:
        async with talking(make(simulator)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            simulator.inject("close")
            await talk.has(base.Reconnected)
            await answers_as_before(talk, simulator)
        assert len(simulator.sessions) == 4


async def test_a_field_that_a_model_refuses_is_left_out(make: Make) -> None:
    async with Simulator(QUICK) as simulator:
        async with talking(make(simulator, voice="Nobody")) as talk:
            await talk.has(base.TurnEnded)
        refused, taken = simulator.sessions
        assert refused.close_code == 1007
        assert "Nobody" not in str(taken.setup)
        assert "Be brief." in str(taken.setup)


# -- goAway --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "sdk"])
async def test_a_service_that_goes_away_is_left_in_a_pause(make: Make, fast_path: bool) -> None:
    going = replace(QUICK, connect_delay_seconds=0.2, fault_seconds=6.0)
    async with Simulator(going) as simulator:
        async with talking(make(simulator, fast_path=fast_path)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            talk.quiet = False
            simulator.inject("go-away")
            await talk.has(base.GoAway)
            await asyncio.sleep(0.5)
            assert len(simulator.sessions) == 1
            talk.quiet = True
            await until(lambda: len(simulator.sessions) == 2)
            talk.says(QUESTION)  # while the new connection is made
            again = await talk.has(base.Reconnected)
            assert again.reason == "go_away"
            assert again.seconds < 3.0
            await talk.has(base.TurnEnded, 2)
            assert bytes(talk.audio) == GREETING + REPLY
            old, new = simulator.sessions
            await until(lambda: old.close_code)
            assert old.close_code == 1000
            assert not old.close_reason  # it was us
            assert bytes(new.audio) == QUESTION
            assert new.resumed


async def test_a_reply_is_not_cut_by_a_service_that_goes_away(make: Make) -> None:
    going = replace(QUICK, speed=2.0, reply=Pcm(tone(3.0, 600.0), 24_000), fault_seconds=5.0)
    async with Simulator(going) as simulator:
        async with talking(make(simulator)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            talk.quiet = False  # until the end: the deadline decides
            talk.says(QUESTION)
            await until(lambda: len(talk.audio) > len(GREETING) + 24_000)
            simulator.inject("go-away")
            await talk.has(base.Reconnected)
            assert bytes(talk.audio) == GREETING + tone(3.0, 600.0)
            await talk.has(base.TurnEnded, 2)
            assert simulator.sessions[1].resumed


# -- tools ---------------------------------------------------------------------------------------


async def test_a_result_for_a_call_that_the_new_session_does_not_know(make: Make) -> None:
    tool = ToolSpec("find", "Find a thing.", {"type": "object", "properties": {}})
    behaviour = replace(
        QUICK, tools=(ToolStep(1, "find"),), close=CLOSES["abort"], speed=0, merge=False
    )
    async with Simulator(behaviour) as simulator:
        async with talking(make(simulator), tools=(tool,)) as talk:
            await talk.has(base.TurnEnded)
            await talk.has(base.Resumable, 2)
            talk.says(QUESTION)
            wanted = await talk.has(base.ToolCall)
            simulator.inject("close")
            await talk.has(base.Reconnected)
            talk.session.send_tool_result(wanted, {"output": "on the left"})
            new = simulator.sessions[1]
            await until(lambda: "on the left" in str(new.contents))
            assert new.tool_responses == []


# -- the ladder and the breaker ------------------------------------------------------------------


async def test_a_quota_moves_the_call_to_the_second_model(make: Make) -> None:
    def behaviour(number: int) -> Behaviour:
        return replace(QUICK, close=CLOSES["quota"])

    async with Simulator(QUICK, behaviour_for=behaviour) as simulator:
        first = Rung(make(simulator))
        second = make(simulator, live_model="gemini-3.1-flash-live-preview")
        async with talking(first, second) as talk:
            await talk.has(base.TurnEnded)
            simulator.inject("close")
            again = await talk.has(base.Reconnected)
            assert (again.reason, again.model) == ("1011", "gemini-3.1-flash-live-preview")
        new = simulator.sessions[1]
        assert "3.1-flash" in str(new.setup)
        assert "Good morning" in str(new.setup)
        assert not new.contents  # which this model would refuse


async def test_a_throttled_key_is_found_out_and_then_not_asked(make: Make) -> None:
    async with Simulator(replace(QUICK, faults=frozenset({"http-429"}))) as simulator:
        rung = Rung(make(simulator))
        codes = []
        for _ in range(5):
            with pytest.raises(ModelError) as refused:
                async with talking(rung):
                    pass
            codes.append(refused.value.code)
        assert codes == ["429"] + ["circuit_open"] * 4
        assert len(simulator.sessions) == 3

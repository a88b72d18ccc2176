"""One-word answers right after the agent's own turn, which Gemini's detection was seen to lose: whole
calls over the real google-genai, to a simulator that takes no notice of the 0.3 s after its turn.

A few of them here; `ANSWERS=200 pytest -s tests/test_short_answers.py` tries so many, and says what
became of them.
"""

import asyncio
import os
import random
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Final

import pytest

from audiosocket_agent.audio import SAMPLE_BYTES, duration_ms
from audiosocket_agent.call.turns import TurnMode
from audiosocket_agent.lab.simulator import Behaviour, Pcm, SessionRecord, Simulator
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.settings import Gemini
from tests.house import House, house
from tests.scripted import tone
from tests.words import RATE_HZ, WORDS

ANSWERS: Final = int(os.environ.get("ANSWERS", "10"))
AT_A_TIME: Final = 10
NOTICED_S: Final = 0.04
"""From the end of what the agent says to the answer: less than people take."""
PRE_ROLL_MS: Final = 150
"""Before the first sample of a word, at least. 300 ms come before it is noticed, which takes up to
150 ms where it begins as softly as a "two" does."""
DEAF: Final = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.05,
    speed=0,
    greeting=Pcm(tone(0.4), 24_000),
    reply=Pcm(tone(0.1), 24_000),
    faults=frozenset({"deaf"}),
)


@dataclass
class Count:
    """What became of the answers."""

    turns: int = 0
    """Found in them."""
    answered: int = 0
    whole: list[float] = field(default_factory=list)
    """Words that came whole, each by the ms of audio that came before it."""

    def take(self, session: SessionRecord) -> None:
        self.turns += len(session.caller_turns)
        self.answered += any(turn.started_by == "speech" for turn in session.model_turns)
        for turn in session.caller_turns:
            heard = bytes(session.audio[turn.from_byte : turn.to_byte])
            before = [heard.find(word) for word in WORDS.values() if word in heard]
            self.whole += [duration_ms(heard[:length], RATE_HZ) for length in before]


async def answer(service: House, word: bytes) -> None:
    """A call: the agent asks, the caller says one word at once, and waits a little."""
    async with service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(NOTICED_S)
        call.say(bytes(random.randrange(160) * SAMPLE_BYTES) + word)  # anywhere in a frame
        await call.said()
        await call.passes(0.9)


async def all_answer(patch: pytest.MonkeyPatch, mode: TurnMode) -> Count:
    count, words = Count(), islice(cycle(WORDS.values()), ANSWERS)
    async with Simulator(DEAF) as simulator:
        patch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        patch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        patch.delenv("SSL_CERT_DIR", raising=False)
        gemini = GeminiModel(Gemini.model_validate({"api_key": "simulated"}))
        async with house(LastingModel([Rung(gemini)]), turn_mode=mode) as service:
            while batch := list(islice(words, AT_A_TIME)):
                async with asyncio.TaskGroup() as calls:
                    for word in batch:
                        calls.create_task(answer(service, word))
                for session in simulator.sessions[-len(batch) :]:
                    count.take(session)
    return count


async def test_none_is_lost_where_turns_are_found_here(monkeypatch: pytest.MonkeyPatch) -> None:
    count = await all_answer(monkeypatch, TurnMode.LOCAL)
    assert (count.turns, count.answered, len(count.whole)) == (ANSWERS, ANSWERS, ANSWERS)
    assert min(count.whole) >= PRE_ROLL_MS
    print(
        f"\nTURN_MODE=local: {count.answered} of {ANSWERS} answers answered, all of them whole and "
        f"with {min(count.whole):.0f} to {max(count.whole):.0f} ms from before"
    )


async def test_many_are_where_the_service_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    count = await all_answer(monkeypatch, TurnMode.SERVER)
    assert count.turns == count.answered < ANSWERS
    print(f"\nTURN_MODE=server: {count.answered} of {ANSWERS} answers answered")

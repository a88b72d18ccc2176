"""A model whose connections are made, refused and lost as a test says, and a call that talks on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from audiosocket_agent.errors import ModelError
from audiosocket_agent.model import base
from audiosocket_agent.model.lasting import LastingModel, LastingSession, Rung
from tests.scripted import Puppet, ScriptedModel

CONNECT_S = 0.3
FRAME = b"\1\0" * 160  # 20 ms at 8 kHz
Outcome = float | ModelError


def error(code: str, text: str = "the test says so") -> ModelError:
    return ModelError(code, text, retryable=True)


class Trunk(ScriptedModel):
    """Each connection takes its turn from `outcomes`: seconds until it is there, or a refusal after
    CONNECT_S; when they are used up, it is there after CONNECT_S."""

    def __init__(self, *outcomes: Outcome, name: str = "scripted") -> None:
        super().__init__()
        self.name = name
        self.outcomes = list(outcomes)
        self.setups: list[base.SessionSetup] = []
        self.dialled_at: list[float] = []
        self.together = 0  # the most sessions at a time
        self._open = 0

    @asynccontextmanager
    async def open(self, setup: base.SessionSetup, sink: base.AudioSink) -> AsyncIterator[Puppet]:
        self.setups.append(setup)
        self.dialled_at.append(asyncio.get_running_loop().time())
        outcome = self.outcomes.pop(0) if self.outcomes else CONNECT_S
        await asyncio.sleep(CONNECT_S if isinstance(outcome, ModelError) else outcome)
        if isinstance(outcome, ModelError):
            raise outcome
        self._open += 1
        self.together = max(self.together, self._open)
        try:
            async with super().open(setup, sink) as puppet:
                yield puppet
        finally:
            self._open -= 1


class Talk:
    """A lasting session being read; `quiet` is the call's own word for it."""

    def __init__(self) -> None:
        self.session: LastingSession
        self.quiet = True
        self.audio = bytearray()
        self.story: list[tuple[float, Any]] = []
        self.error: ModelError | None = None
        self.over = asyncio.Event()

    def take(self, pcm: bytes, rate_hz: int) -> None:
        self.audio += pcm

    async def read(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            async for event in self.session.events():
                self.story.append((clock(), event))
        except ModelError as failure:
            self.error = failure
        self.over.set()

    async def speaks(self, seconds: float, frame: bytes = FRAME) -> None:
        """The caller, in real time."""
        for _ in range(round(seconds * 50)):
            self.session.send_audio(frame, 8_000)
            await asyncio.sleep(0.02)

    @property
    def events(self) -> list[Any]:
        return [event for _, event in self.story]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def at(self, kind: type[Any]) -> list[float]:
        return [round(time, 2) for time, event in self.story if isinstance(event, kind)]


@asynccontextmanager
async def talking(
    *models: base.VoiceModel | Rung,
    setup: base.SessionSetup | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Talk]:
    talk = Talk()
    setup = setup or base.SessionSetup(
        "Be brief.",
        "Greet.",
        quiet=lambda: talk.quiet,
        happened=lambda event: talk.story.append((asyncio.get_running_loop().time(), event)),
    )
    rungs = [model if isinstance(model, Rung) else Rung(model) for model in models]
    lasting = LastingModel(rungs, clock or asyncio.get_running_loop().time)
    async with lasting.open(setup, talk.take) as session:
        talk.session = session
        reading = asyncio.create_task(talk.read())
        try:
            yield talk
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

"""A voice model that does what a test says, and remembers what it was told.

async def script(model: Puppet) -> None:
    model.say(tone(1.0))
    model.turn_ends()
    await model.hears(0.5)
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from audiosocket_agent.errors import ModelError
from audiosocket_agent.model import base

RATE_HZ = 24_000
_OFTEN = (
    base.Transcript,
    base.GenerationEnded,
    base.TurnEnded,
    base.Interrupted,
    base.Usage,
    base.Resumable,
)


def tone(seconds: float, hertz: float = 440.0, rate_hz: int = RATE_HZ) -> bytes:
    """A loud sine, s16le mono."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave: bytes = (9000 * np.sin(2 * np.pi * hertz * t)).astype("<i2").tobytes()
    return wave


class Puppet:
    """One session (model.base.VoiceSession), with strings for the test to pull."""

    def __init__(self, setup: base.SessionSetup, sink: base.AudioSink) -> None:
        self.setup = setup
        self.heard = bytearray()
        self.heard_rate_hz = 0
        self.pauses = 0
        self.activities: list[tuple[int, int | None]] = []  # from where to where in `heard`
        self.marked: list[bool] = []
        self.results: list[tuple[base.ToolCall, Mapping[str, Any]]] = []
        self.notes: list[int] = []
        self.texts: list[str] = []
        self.reconnects: list[tuple[str, bool]] = []
        self.told = asyncio.Event()
        self.answered = asyncio.Event()
        self.closed = asyncio.Event()
        self.dropped = 0
        self._sink = sink
        self._events: asyncio.Queue[base.ModelEvent | ModelError] = asyncio.Queue()

    # -- what the test makes it do

    def say(self, pcm: bytes, rate_hz: int = RATE_HZ) -> None:
        self._sink(pcm, rate_hz)

    def tell(self, *events: base.ModelEvent) -> None:
        """What comes often goes past the queue where it may, as it does with Gemini."""
        for event in events:
            happened = self.setup.happened
            if happened is not None and isinstance(event, _OFTEN) and self._events.empty():
                happened(event)
            else:
                self._events.put_nowait(event)

    def tell_at_once(self, event: base.ModelEvent) -> None:
        assert self.setup.happened is not None
        self.setup.happened(event)

    def turn_ends(self) -> None:
        self.tell(base.GenerationEnded(), base.TurnEnded(spoke=True))

    def fails(self, code: str = "1006") -> None:
        self._events.put_nowait(ModelError(code, "the test says so", retryable=True))

    # -- model.base.VoiceSession

    def send_audio(self, pcm: bytes, rate_hz: int) -> None:
        self.heard += pcm
        self.heard_rate_hz = rate_hz

    def end_audio(self) -> None:
        self.pauses += 1

    def begin_activity(self) -> None:
        self.activities.append((len(self.heard), None))

    def end_activity(self) -> None:
        began, _ = self.activities[-1]
        self.activities[-1] = began, len(self.heard)

    def mark_turns(self, *, unanswered: bool) -> bool:
        self.marked.append(unanswered)
        return True

    def send_tool_result(self, call: base.ToolCall, result: Mapping[str, Any]) -> None:
        self.results.append((call, result))
        self.answered.set()

    def send_text(self, text: str) -> None:
        self.texts.append(text)
        self.told.set()

    def note_heard(self, heard_ms: int) -> None:
        self.notes.append(heard_ms)

    def reconnect(self, reason: str, *, another: bool = False) -> None:
        self.reconnects.append((reason, another))

    async def events(self) -> AsyncIterator[base.ModelEvent]:
        while True:
            event = await self._events.get()
            if isinstance(event, ModelError):
                raise event
            yield event


class ScriptedModel:
    """Opens a Puppet for each call, after `connect_seconds`, and runs `script` with it."""

    name = "scripted"
    capabilities = base.Capabilities(heard_notes=True)

    def __init__(
        self,
        script: Callable[[Puppet], Awaitable[None]] | None = None,
        *,
        connect_seconds: float = 0.0,
        refuses: ModelError | None = None,
    ) -> None:
        self._script = script
        self._connect_seconds = connect_seconds
        self._refuses = refuses
        self.puppets: list[Puppet] = []

    def refuses(self, error: ModelError) -> None:
        """From now on it cannot be had."""
        self._refuses = error

    @property
    def puppet(self) -> Puppet:
        """The session of the only call."""
        [puppet] = self.puppets
        return puppet

    @asynccontextmanager
    async def open(self, setup: base.SessionSetup, sink: base.AudioSink) -> AsyncIterator[Puppet]:
        await asyncio.sleep(self._connect_seconds)
        if self._refuses is not None:
            raise self._refuses
        puppet = Puppet(setup, sink)
        self.puppets.append(puppet)
        script = asyncio.create_task(self._run(puppet))
        try:
            yield puppet
        finally:
            script.cancel()
            await asyncio.wait([script])
            puppet.closed.set()
            if not script.cancelled():
                script.result()  # a script that fails fails its test

    async def _run(self, puppet: Puppet) -> None:
        await asyncio.sleep(0)  # the session is told that it is ready before anything is said
        if self._script is not None:
            await self._script(puppet)

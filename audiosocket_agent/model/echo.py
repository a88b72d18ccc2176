"""The embedded model: greets, then plays every utterance of the caller back.

It needs no key and no network, and it goes through the same door as a real model: bursts of audio,
turns, interruption. So a call to it tests the whole audio path, in both directions.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from audiosocket_agent import assets
from audiosocket_agent.audio import SAMPLE_BYTES
from audiosocket_agent.audio.vad import Edge, SpeechDetector
from audiosocket_agent.clock import monotonic
from audiosocket_agent.model.base import (
    AudioSink,
    Capabilities,
    GenerationEnded,
    Interrupted,
    ModelEvent,
    SessionSetup,
    ToolCall,
    TurnEnded,
)

MAX_UTTERANCE_SECONDS: Final = 30.0
"""Only the end of a longer utterance is echoed."""

PRE_ROLL_SECONDS: Final = 0.3
"""What is kept from before an onset was certain, so that the first syllable is in the echo."""

_MAX_EVENTS: Final = 1000


class EchoModel:
    """Opens echo sessions."""

    name = "echo"
    capabilities = Capabilities(heard_notes=False)

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock

    @asynccontextmanager
    async def open(self, setup: SessionSetup, sink: AudioSink) -> AsyncIterator["EchoSession"]:
        greeting = assets.speech("echo-greeting") if setup.greeting else b""
        yield EchoSession(sink, greeting, self._clock)


class EchoSession:
    """One caller and the echo."""

    def __init__(self, sink: AudioSink, greeting: bytes, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._clock = clock
        self._greeting = greeting
        self._events: asyncio.Queue[ModelEvent] = asyncio.Queue(_MAX_EVENTS)
        self._utterance: deque[bytes] = deque()
        self._held = 0  # bytes in _utterance
        self._rate_hz = 0
        self._detector: SpeechDetector | None = None
        self._plays_until = 0.0

    dropped = 0

    def say(self, pcm: bytes, rate_hz: int) -> None:
        """Speak: all at once, as a model does that is faster than real time."""
        self._plays_until = self._clock() + len(pcm) / (rate_hz * SAMPLE_BYTES)
        self._sink(pcm, rate_hz)
        self._tell(GenerationEnded())
        self._tell(TurnEnded(spoke=True))

    def send_audio(self, pcm: bytes, rate_hz: int) -> None:
        if self._detector is None or rate_hz != self._rate_hz:
            self._detector, self._rate_hz = SpeechDetector(rate_hz), rate_hz
            self._trim(0.0)  # what came at another rate cannot be joined to this
        self._utterance.append(pcm)
        self._held += len(pcm)
        edges = self._detector.feed(pcm)
        self._trim(MAX_UTTERANCE_SECONDS if self._detector.speaking or edges else PRE_ROLL_SECONDS)
        for edge in edges:
            if edge is Edge.SUSTAINED and self._clock() < self._plays_until:
                self._plays_until = 0.0
                self._tell(Interrupted())
            elif edge is Edge.ENDED:
                self.say(b"".join(self._utterance), rate_hz)
                self._trim(0.0)

    def end_audio(self) -> None:
        """A pause of the caller ends nothing here."""

    def begin_activity(self) -> None:
        """Never told: an echo finds the caller's turns itself."""

    def end_activity(self) -> None:
        """See begin_activity."""

    def mark_turns(self, *, unanswered: bool) -> bool:
        return False

    def send_tool_result(self, call: ToolCall, result: Mapping[str, Any]) -> None:
        """Never asked for: an echo uses no tools."""

    def send_text(self, text: str) -> None:
        """Nothing an echo could say aloud."""

    def note_heard(self, heard_ms: int) -> None:
        """Of no use to an echo."""

    def reconnect(self, reason: str, *, another: bool = False) -> None:
        """There is no connection."""

    async def events(self) -> AsyncIterator[ModelEvent]:
        if self._greeting:
            self.say(self._greeting, assets.RATE_HZ)
        while True:
            yield await self._events.get()

    def _trim(self, seconds: float) -> None:
        most = int(seconds * self._rate_hz) * SAMPLE_BYTES
        while self._held > most:
            self._held -= len(self._utterance.popleft())

    def _tell(self, event: ModelEvent) -> None:
        if not self._events.full():  # a reader that is 1000 events behind has left
            self._events.put_nowait(event)

"""One connection of a model, in a task of its own.

Events are handed over one at a time: the next is not asked for before the last has been dealt with, so
audio, which goes past them, keeps its order with them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from audiosocket_agent.errors import ModelError
from audiosocket_agent.model.base import (
    AudioSink,
    ModelEvent,
    SessionSetup,
    VoiceModel,
    VoiceSession,
)


@dataclass(frozen=True, slots=True)
class Up:
    """It can be talked on; events follow once it has been started."""


@dataclass(frozen=True, slots=True)
class Down:
    """It could not be had, or is lost: by a ModelError, or by a fault of ours."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened on a link."""

    link: "Link"
    what: ModelEvent | Up | Down
    taken: Callable[[], None]
    """To be called when it has been dealt with."""


Inbox = asyncio.Queue[Note]
"""Of all links of a call; each has one note in it at a time."""

_ENDED: Final = "the model's events ended without an error"


class Link:
    """Dials at once; `leave` at any time, and `left` to wait for the end."""

    def __init__(
        self, model: VoiceModel, setup: SessionSetup, sink: AudioSink, inbox: Inbox, timeout: float
    ) -> None:
        """`timeout`: seconds until it is given up, where it has not come up."""
        self.session: VoiceSession  # once it is up
        self.model = model
        self._setup = setup
        self._sink = sink
        self._inbox = inbox
        self._started = asyncio.Event()
        self._left = False
        self._task = asyncio.create_task(self._run(timeout))

    def start(self) -> None:
        """Take events and audio; until then nothing is read."""
        self._started.set()

    def leave(self) -> None:
        """Hang up. What it brings from now on is not handed over."""
        if not self._left:  # a second time would break off its closing handshake
            self._left = True
            self._task.cancel()

    async def left(self) -> None:
        """It is closed."""
        await asyncio.wait([self._task])

    @property
    def done(self) -> bool:
        return self._task.done()

    async def _run(self, timeout: float) -> None:
        try:
            await self._hold(timeout)
            self._end(ModelError("1000", _ENDED, retryable=True))
        except asyncio.CancelledError:
            pass  # left; a task that ends by an exception keeps its frames, and the connection with them
        except ModelError as error:  # so does the error: all that is asked of it is its text
            error.__cause__ = error.__context__ = None
            self._end(error.with_traceback(None))
        except Exception as fault:  # noqa: BLE001 - our own, in the audio path: it is raised where the events
            # are taken
            self._end(fault)

    def _end(self, error: Exception) -> None:
        self._inbox.put_nowait(Note(self, Down(error), lambda: None))

    async def _hold(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout) as limit:
                async with self.model.open(self._setup, self._sink) as session:
                    limit.reschedule(None)
                    self.session = session
                    self._inbox.put_nowait(Note(self, Up(), lambda: None))
                    await self._started.wait()
                    await self._hand_over_all(session.events())
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ModelError("timeout", "not set up in time", retryable=True) from error

    async def _hand_over_all(self, events: AsyncIterator[ModelEvent]) -> None:
        try:
            async for event in events:
                taken = asyncio.Event()
                self._inbox.put_nowait(Note(self, event, taken.set))
                await taken.wait()
        finally:
            if isinstance(events, AsyncGenerator):  # else the loop closes it, some time later
                await events.aclose()

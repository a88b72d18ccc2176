"""What a voice model is to the rest of the house: one narrow door.

A model hears the caller and speaks: audio in, audio out. Audio goes past everything else, by
`VoiceSession.send_audio` and the `AudioSink`; what happens (a turn ended, a tool is wanted) comes
as `ModelEvent`s from `VoiceSession.events`. The order between the two is kept: an event is handed
over before any audio that followed it on the wire, and after all that came before.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from audiosocket_agent.call.tool import ToolSpec

AudioSink = Callable[[bytes, int], None]
"""Takes the model's audio as it arrives: s16le mono of any whole length, and its rate in Hz.
Called in the event loop, in bursts faster than real time; must not block."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between models and matters to a call."""

    heard_notes: bool
    """Text may be put in the history mid-session without starting a turn, so that the model can be
    told how much of an interrupted reply was heard."""
    async_tools: bool = False
    """While a tool that is declared slow runs, the model goes on, and can be told things; else it waits
    for the result of any."""
    answers: bool = False
    """To whatever the caller says, and to any text, it says something within seconds. Where it does
    not, it is at fault, and is made to (vigil)."""
    local_turns: bool = False
    """The caller's turns may be marked for it (`SessionSetup.local_turns`); else it finds them."""
    resumable: bool = False
    """A session gives handles (`Resumable`) by which `SessionSetup.resume` takes it up again."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, repr=False)  # somebody's words
class Said:
    """A line of what was said in a call before the session began."""

    speaker: str
    """"caller" or "agent"; "tool" for the use of one."""
    text: str
    remembered: bool = False
    """By whoever comes back by `SessionSetup.resume`."""


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """What one call asks of the model."""

    instructions: str
    greeting: str
    """What the model is told so that it speaks first; empty: it waits for the caller."""
    tools: tuple[ToolSpec, ...] = ()
    voice: str = ""
    """Whose; empty: the model's own choice, or its settings'."""
    temperature: float | None = None
    """None: as its settings have it."""
    resume: str = ""
    """The handle of a session that is to go on; empty: a new one."""
    past: tuple[Said, ...] = ()
    """What was said in the call before, the oldest first."""
    local_turns: bool = False
    """The caller's turns are marked by `VoiceSession.begin_activity` and `end_activity`, and all audio
    that is sent is between the two. Else the model finds them in all the audio there is."""
    plain: bool = False
    """Leave out whatever a session can do without: a provider may have refused some of it."""
    happened: "EventSink | None" = field(default=None, compare=False)
    """Takes events as they arrive, as the sink takes audio, while `VoiceSession.events` is waited for. A
    model may give it what comes often, in order with all else. None: all come by `events`."""
    quiet: Callable[[], bool] = field(default=_always, compare=False)
    """Whether nobody speaks, is being heard or waits for an answer at this moment, as far as the call
    knows: what a model has said may still be playing long after it has arrived. A session that must
    change its connection does so then."""


# ---- events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GenerationEnded:
    """All audio of the current turn has arrived; the queue may still be playing."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The model's turn is over, spoken or not. What arrives next belongs to a new one."""

    spoke: bool
    """False: the turn brought no audio."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The model heard the caller speak over it and gave its turn up."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Words of the caller or of the agent. Unordered against audio: never hang a timer on one."""

    speaker: str
    """"caller" or "agent"."""
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool used. `arguments` come from a caller's words: untrusted."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCancelled:
    """Results of these calls are no longer wanted."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one turn, by (direction, modality): ("in", "audio"), ("out", "text") ..."""

    tokens: Mapping[tuple[str, str], int]
    model: str = ""
    """Whose they are; empty: of the one that the settings name."""


@dataclass(frozen=True, slots=True)
class GoAway:
    """The model will close this connection."""

    seconds_left: float


@dataclass(frozen=True, slots=True)
class Resumable:
    """A handle by which this session can be taken up again on a new connection."""

    handle: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost, or was given up, while the model owed the caller something. Another is
    being made: Reconnected follows, or the end of the session."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The session goes on, on a new connection."""

    reason: str
    """A ModelError's code, "go_away", or the word of whoever asked for it; fit for a metric label."""
    seconds: float
    """For so long nothing the caller said reached the model; it was kept, and has been sent."""
    model: str
    """Whose session it is now (`VoiceModel.name`)."""
    resumed: bool = True
    """By its handle; else it was told what has been said."""


ModelEvent = (
    GenerationEnded
    | TurnEnded
    | Interrupted
    | Transcript
    | ToolCall
    | ToolCancelled
    | Usage
    | GoAway
    | Resumable
    | Disconnected
    | Reconnected
)


EventSink = Callable[[ModelEvent], None]
"""Takes an event as it arrives. Called in the event loop; must not block."""


# ---- the door --------------------------------------------------------------------------------


class VoiceSession(Protocol):
    """One conversation. All `send_*` return at once; audio keeps its order, and everything else
    its own. That the model is gone is told by `events`."""

    @property
    def dropped(self) -> int:
        """Messages of the caller's audio that were given up because the model did not read."""

    def send_audio(self, pcm: bytes, rate_hz: int) -> None:
        """Take the caller's next audio, s16le mono at 8000 or 16000 Hz."""

    def end_audio(self) -> None:
        """Say that the caller's audio pauses (mute, hold); the next `send_audio` resumes it."""

    def begin_activity(self) -> None:
        """Say that the caller's turn begins with the next audio. Interrupts the model, unless that is
        off. Only where turns are marked (`SessionSetup.local_turns`, `mark_turns`)."""

    def end_activity(self) -> None:
        """Say that the caller's turn is over; the model answers."""

    def mark_turns(self, *, unanswered: bool) -> bool:
        """Let the caller's turns be marked from now on, though the setup did not say so; it takes a new
        connection. `unanswered`: the last audio had a turn in it that was not found. False where it
        cannot be done, or is done already."""

    def send_tool_result(self, call: ToolCall, result: Mapping[str, Any]) -> None:
        """Answer a tool call. `result` is data the model can speak about."""

    def send_text(self, text: str) -> None:
        """Tell the model something that is not the caller's speech; it answers in speech."""

    def note_heard(self, heard_ms: int) -> None:
        """Tell the model that of its interrupted reply only the first `heard_ms` were heard.
        Only where `Capabilities.heard_notes`; else nothing happens."""

    def reconnect(self, reason: str, *, another: bool = False) -> None:
        """Give the present connection up, though it has said nothing of its end: for whoever has been
        waiting for the model in vain. `reason`: a short fixed word; `another`: that of another model,
        or at least without what this session remembers. Nothing happens where there is no more than
        one connection."""

    def events(self) -> AsyncIterator[ModelEvent]:
        """What happens and `SessionSetup.happened` was not given, until the session is lost, which
        raises ModelError."""


class VoiceModel(Protocol):
    """A provider of conversations; one object per process."""

    @property
    def name(self) -> str:
        """For logs and metrics: provider and model."""

    @property
    def capabilities(self) -> Capabilities: ...

    def open(
        self, setup: SessionSetup, sink: AudioSink
    ) -> AbstractAsyncContextManager[VoiceSession]:
        """Connect, set up and hold one session; entering returns when the model is ready, leaving
        closes it. Raises ModelError when it cannot be had in time."""

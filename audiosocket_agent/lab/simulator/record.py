"""What a session leaves behind for whoever asks afterwards. Times are `time.monotonic()` seconds;
None: it did not happen."""

from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

ENTRIES_KEPT: Final = 1000
"""Of each list in a record; a session of ten hours stays below. What comes later is not kept."""


@dataclass(slots=True)
class CallerTurn:
    """A stretch of the caller's speech."""

    onset: float
    """The speech, or activityStart, was recognised as a turn."""
    first_speech: float
    """The first frame of speech of the turn arrived."""
    last_speech: float
    """The last frame of speech so far arrived: the caller's real end of speech, which a client can
    measure its latency from."""
    end: float | None = None
    """The turn was recognised as ended."""
    marked: bool = False
    """By the client (activityStart, activityEnd)."""
    from_byte: int = 0
    """Where in all that was heard it begins; that of activityStart, where it is marked."""
    to_byte: int = 0
    """How far it went."""
    speech_ms: int = 0
    """Speech between the two; what came before is not counted where it was found here."""


@dataclass(slots=True)
class ModelTurn:
    """A turn of the model, from the decision to answer."""

    started_by: str
    """"speech", "text", "content", "tool", or "twice" by the fault of that name."""
    decided: float
    """The caller's turn ended, or the text arrived."""
    first_chunk: float | None = None
    last_chunk: float | None = None
    generation_complete: float | None = None
    interrupted: float | None = None
    turn_complete: float | None = None
    audio_bytes: int = 0
    """s16le mono at 24 kHz."""


@dataclass(slots=True)
class SessionRecord:
    """One connection, whether or not it became a session."""

    number: int
    """In order of arrival, from 0."""
    connected: float
    """The upgrade request arrived."""
    path: str = ""
    port: int = 0
    """The client's."""
    setup: dict[str, Any] | None = None
    """As received, so in whichever case the client wrote."""
    setup_done: float | None = None
    resumed: bool = False
    """The setup's handle was accepted and the conversation goes on."""
    go_away: float | None = None
    closed: float | None = None
    close_code: int | None = None
    """What the session ended with, whoever closed it; 1006 without a close frame. None while it
    lasts, and where it never got past the upgrade."""
    close_reason: str = ""

    audio: bytearray = field(default_factory=bytearray)
    """What was heard, s16le mono: the first `Behaviour.kept_audio_seconds`."""
    audio_rate_hz: int | None = None
    """As the client said it last."""
    audio_bytes: int = 0
    """All that was heard."""
    audio_messages: int = 0
    first_audio: float | None = None
    last_audio: float | None = None
    audio_stream_ends: int = 0
    unmarked_bytes: int = 0
    """Heard outside the turns that are marked, where they are to be: in none, for the model."""
    speech_ms: int = 0
    """Of what was heard, how much was speech."""
    audio_sent_bytes: int = 0
    """s16le mono at 24 kHz, all turns."""

    caller_turns: list[CallerTurn] = field(default_factory=list)
    model_turns: list[ModelTurn] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """From `realtimeInput.text`."""
    contents: list[dict[str, Any]] = field(default_factory=list)
    """`clientContent` messages, in camelCase."""
    context_updates: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """Function calls as sent."""
    cancelled_calls: list[str] = field(default_factory=list)
    """Ids in toolCallCancellation."""
    tool_responses: list[dict[str, Any]] = field(default_factory=list)
    """Function responses as received, in camelCase, wanted or not."""
    words: list[str] = field(default_factory=list)
    """What was said to its end, line by line, filled in."""
    usages: list[dict[str, Any]] = field(default_factory=list)
    """usageMetadata as sent."""
    handles: list[str] = field(default_factory=list)
    """Resumption handles as sent."""


def keep(entries: list[_T], entry: _T) -> None:
    """Append, within the bound that all lists of a record have."""
    if len(entries) < ENTRIES_KEPT:
        entries.append(entry)

"""How the simulated service behaves: every knob, every fault, and nothing that runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

_ASSETS: Final = Path(str(files("audiosocket_agent"))) / "assets"


class Pcm(NamedTuple):
    """Speech in memory: s16le mono."""

    data: bytes
    rate_hz: int


Speech = Path | Pcm
"""Something to say: a mono 16-bit WAV file of any rate, or the samples themselves."""

GOODBYE: Final[Speech] = _ASSETS / "simulator-goodbye.wav"
"""What to say beside a tool that ends the call, see ToolStep."""


class Close(NamedTuple):
    """How the service leaves: a WebSocket close code and its reason. 1006 cannot be sent; it
    stands for a connection cut without a close frame."""

    code: int
    reason: str


ABORT: Final = 1006

CLOSES: Final[Mapping[str, Close]] = {
    "cancelled": Close(1000, "The operation was cancelled."),
    "abort": Close(ABORT, ""),
    "invalid": Close(1007, "Request contains an invalid argument."),
    "key": Close(1007, "API key not valid. Please pass a valid API key."),
    "leaked": Close(1008, "Your API key was reported as leaked. Please use another API key."),
    "unsupported": Close(1008, "Operation is not implemented, or supported, or enabled."),
    "restart": Close(1012, "The service is restarting."),
    "internal": Close(1011, "Internal error encountered."),
    "deadline": Close(1011, "Deadline expired before operation could complete."),
    "quota": Close(
        1011, "You exceeded your current quota, please check your plan and billing details."
    ),
}
"""Ways the service was seen to close a session, for `Behaviour.close`."""

HTTP_REFUSALS: Final[Mapping[str, int]] = {"http-403": 403, "http-429": 429, "http-503": 503}

FAULTS: Final[Mapping[str, str]] = {
    # While connecting.
    "http-403": "The upgrade is answered with 403, as for a key without access.",
    "http-429": "The upgrade is answered with 429, as for too many requests.",
    "http-503": "The upgrade is answered with 503, as by an overloaded service.",
    "reset": "The connection is reset instead of an answer to the upgrade.",
    "silent": "The connection is accepted, and the upgrade not answered for 30 s, then cut.",
    # While setting up.
    "close-before-setup": "The session is closed as soon as it is open (see close).",
    "close-at-setup": "The setup is answered by closing the session (see close).",
    "no-setup-complete": "The setup is never answered.",
    "lost-handles": "Every resumption handle is refused, the valid ones too.",
    # Once, a while after the setup (fault_after_seconds).
    "close": "The session is closed (see close).",
    "go-away": "goAway is sent, and the session closed when its time is over (fault_seconds).",
    "malformed-json": "A message arrives that is not JSON.",
    "unknown-message": "A message arrives that has only unknown fields.",
    "error-message": "A message arrives that has only an error field.",
    "unknown-field": "Messages arrive with unknown fields beside and inside known ones.",
    "huge-message": "A message of 2 MB arrives, twice what the SDK takes.",
    # In the model's turns (fault_turn).
    "no-answer": "The model does not answer: neither audio nor the end of a turn.",
    "empty-turn": "The turn completes without any audio.",
    "cut-reply": "The turn completes in the middle of the reply, without generationComplete.",
    "phantom-interrupted": "The reply is interrupted in its middle though nobody spoke.",
    "stall": "The reply stops in its middle for a while (fault_seconds).",
    "twice": "The reply is said a second time, in a turn that nobody has asked for.",
    "slow": "Audio arrives slower than real time, at 0.8 of its speed.",
    "tone": "The model sounds a loud tone, without words and without end, until interrupted.",
    # In the caller's turns.
    "deaf": "Automatic detection takes no notice of speech right after the model's own turn "
    "(deaf_seconds).",
    # On the wire, always.
    "binary": "Every message is a binary frame, in place of text.",
    "pretty": "Every message is indented JSON, so that its fields lie further in.",
}
"""What can be made to go wrong, each with one sentence for people who look for it."""


@dataclass(frozen=True, slots=True)
class ToolStep:
    """The model calls a tool in its answer to caller turn `turn`, counted from 1 in the
    conversation, so through resumptions.

    A blocking call waits for its response between `before` and `after`. Where the setup declares
    the tool NON_BLOCKING (or says nothing on a model with that default) the turn completes without
    waiting, and the response starts a turn that says `after`, as its `scheduling` wants. The call
    is made even when no such tool was declared: models invent names.
    """

    turn: int
    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    before: Speech | None = None
    after: Speech | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Something the model says, and the words of it. In the words, `{create_ticket.number}` is what
    the last response of that tool has under that name; where it has nothing, it stays as it is."""

    speech: Speech
    words: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """One function call. Texts in its arguments are filled in as those of a Line are; one that is
    nothing but a name in braces becomes the value itself."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A caller's turn and what the model makes of it, given in advance: the simulator understands no
    words, so whoever scripts a conversation says what was understood.

    The model takes its steps in order, and waits for what it uses as it does for a ToolStep: where a
    tool does not block, the turn completes and the response starts another one, with the steps that
    are left. Uses in a tuple are asked for in one breath.
    """

    heard: str = ""
    """The inputTranscription, in whatever language and script."""
    steps: tuple["Line | Use | tuple[Use, ...]", ...] = ()
    """Nothing: the model chooses silence."""
    usage: tuple[Mapping[str, Any], ...] = ()
    """The usageMetadata of its model turns, one each; further ones are counted."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Every knob of one simulated session. Pure data; raises ValueError on a fault with no name in
    FAULTS. A knob named `_seconds`, `_ms` or `_hz` is in that unit."""

    # ---- answering
    connect_delay_seconds: float = 0.05
    """From setup to setupComplete."""
    think_seconds: float = 0.3
    """From the end of the caller's turn (or a text) to the first audio of the reply."""

    # ---- hearing; the setup's automaticActivityDetection wins over the first two
    prefix_ms: int = 100
    """Speech needed before it counts as the onset of a caller's turn, and interrupts."""
    silence_ms: int = 500
    """Silence needed before the caller's turn counts as ended."""
    level: int = 300
    """RMS of a 20 ms frame below which nothing is speech; 300 is -41 dB of full scale."""
    kept_audio_seconds: float = 30.0
    """How much of what was heard a SessionRecord keeps; the rest is counted only."""

    # ---- speaking
    chunk_ms: int = 40
    """Audio in one message."""
    speed: float = 4.0
    """How many times faster than real time audio is sent, the first chunk at once; 0 sends all of
    a reply at once."""
    merge: bool = False
    """Messages that fall together travel as one: the end of the generation, the last words and the
    usage beside the last audio, `turnComplete` beside `interrupted`."""
    greeting: Speech = _ASSETS / "simulator-greeting.wav"
    """Said in the first turn, where a text or content starts it."""
    greeting_words: str = "Good morning, this is the reception. How can I help you?"
    reply: Speech = _ASSETS / "simulator-reply.wav"
    """Said in answer to the caller, and to every later text."""
    reply_words: str = (
        "Certainly. Our office is open from nine to six, Monday to Friday, and on Saturday until "
        "noon. Would you like me to put you through to a colleague, or shall I take a message for "
        "you?"
    )
    tools: tuple[ToolStep, ...] = ()
    opening: Exchange | None = None
    """In place of `greeting`."""
    script: tuple[Exchange, ...] = ()
    """Of the caller's turns, from the first, and so through resumptions; further turns are answered by
    `reply`. Where there is an exchange, `tools` say nothing."""

    # ---- going wrong
    faults: frozenset[str] = frozenset()
    """Names from FAULTS."""
    fault_after_seconds: float = 1.0
    """From setupComplete to a fault that happens once."""
    fault_seconds: float = 5.0
    """How long a fault lasts that lasts: the stall, the time left of a goAway."""
    fault_turn: int | None = None
    """The model turn, counted from 0, that a fault of turns falls on; None: every turn."""
    deaf_seconds: float = 0.3
    """How long the fault `deaf` lasts, from turnComplete on; a word that is over by then is lost."""
    close: Close = CLOSES["internal"]
    """The code and reason of the faults that close; see CLOSES."""

    def __post_init__(self) -> None:
        unknown = sorted(self.faults - FAULTS.keys())
        if unknown:
            raise ValueError(f"no such fault: {', '.join(unknown)}; known: {', '.join(FAULTS)}")
        if self.chunk_ms <= 0 or self.speed < 0:
            raise ValueError("chunk_ms must be above 0 and speed not below")

    def exchange(self, number: int) -> Exchange | None:
        """What is given of caller turn `number`, from 1."""
        return self.script[number - 1] if number <= len(self.script) else None

    @property
    def lines(self) -> Iterator[Speech]:
        """All that may be said."""
        yield self.greeting
        yield self.reply
        for step in self.tools:
            yield from (line for line in (step.before, step.after) if line is not None)
        for exchange in (*self.script, *((self.opening,) if self.opening else ())):
            yield from (step.speech for step in exchange.steps if isinstance(step, Line))

    def turn_fault(self, name: str, turn: int) -> bool:
        """Whether the fault of turns `name` falls on model turn `turn`."""
        return name in self.faults and self.fault_turn in (None, turn)

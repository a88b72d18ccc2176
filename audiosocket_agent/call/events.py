"""What can happen in a call: a few a second, never per frame."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Why a call ended; the label of `calls_total`."""

    CALLER_HANGUP = "caller_hangup"
    AGENT_HANGUP = "agent_hangup"
    MAX_DURATION = "max_duration"
    MAX_COST = "max_cost"
    CALLER_SILENT = "caller_silent"
    DRAINED = "drained"
    TRANSFERRED = "transferred"
    OPERATOR_HANGUP = "operator_hangup"
    ACCEPTED = "accepted"  # a human who was asked takes the caller
    REFUSED = "refused"
    ABANDONED = "abandoned"
    MODEL_FAILED = "model_failed"
    PEER_ERROR = "peer_error"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LegOpened:
    """The caller's AudioSocket has connected: for the first time, or again after a transfer that
    came to nothing."""


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model's session is set up."""


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """The model could not be had, or its session was lost."""

    apologised: bool = False
    """The caller is being told so: what is queued to be heard ends with it."""


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The first frame of a reply has left."""

    caller_quiet_s: float | None
    """Since the end of the caller's speech; None where the caller has not spoken since the reply
    before."""


@dataclass(frozen=True, slots=True)
class ReplyPlayed:
    """The last frame of a reply has left."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The model's turn is over; what is left of it is in the queue."""

    spoke: bool
    """False: the turn brought no audio."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The model heard the caller speak over it."""


@dataclass(frozen=True, slots=True)
class CallerSpoke:
    """The local detector found the onset of sound that may be speech."""


@dataclass(frozen=True, slots=True)
class CallerSustained:
    """What began with CallerSpoke has gone on for long enough to be speech."""


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller let a key of the telephone go. Which one is not told: it may be part of a secret,
    and events are logged."""


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """A key with a meaning of its own: there is nothing to tell the model."""


@dataclass(frozen=True, slots=True)
class KeysDue:
    """No further key has come for a while: those pressed belong together."""


@dataclass(frozen=True, slots=True)
class ReplySpoiled:
    """What is being heard is no speech, or has no end."""


@dataclass(frozen=True, slots=True)
class AgentEnds:
    """The model wants to end the call, once its last words are heard."""


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """The caller is to be passed on. The conversation is kept meanwhile: whoever is called may not
    answer."""

    announced: bool = True
    """By words that are to be heard first."""


@dataclass(frozen=True, slots=True)
class TransferDone:
    """The caller talks with a human."""


@dataclass(frozen=True, slots=True)
class EndOrdered:
    """An operator, a limit or a shutdown ends the call; a sentence may be finished."""

    outcome: Outcome
    at_once: bool = False
    """It may not."""


@dataclass(frozen=True, slots=True)
class LegClosed:
    """The AudioSocket is gone."""

    outcome: Outcome
    asks: bool = False
    """A dialplan that still has the caller is about to ask what to do with them: Asterisk closes the
    socket in the same way for a caller who hangs up and for a connection that broke."""


@dataclass(frozen=True, slots=True)
class VerdictDue:
    """Time is up for a barge-in to be confirmed."""


@dataclass(frozen=True, slots=True)
class WordsDue:
    """Time is up for the agent's goodbye to begin."""


@dataclass(frozen=True, slots=True)
class FarewellDue:
    """Time is up for last words."""


@dataclass(frozen=True, slots=True)
class TailPlayed:
    """The caller's phone has played out what was sent."""


@dataclass(frozen=True, slots=True)
class SilenceDue:
    """Nobody has been heard for as long as nobody may be."""


@dataclass(frozen=True, slots=True)
class DurationReached:
    """The call is as long as a call may be."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The dialplan has the caller of a call that is held, and has been told what to do."""


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Nobody has come for a call that was announced, or back for one that is held."""


Event = (
    LegOpened
    | ModelReady
    | ModelFailed
    | ReplyStarted
    | ReplyPlayed
    | TurnEnded
    | Interrupted
    | CallerSpoke
    | CallerSustained
    | KeyPressed
    | KeyTaken
    | ReplySpoiled
    | KeysDue
    | AgentEnds
    | TransferAsked
    | TransferDone
    | EndOrdered
    | LegClosed
    | VerdictDue
    | WordsDue
    | FarewellDue
    | TailPlayed
    | SilenceDue
    | DurationReached
    | Claimed
    | Unclaimed
)

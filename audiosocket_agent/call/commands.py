"""What a call asks of the session, and the facts it states for the record."""

from dataclasses import dataclass
from enum import StrEnum

from audiosocket_agent.call.events import Outcome


@dataclass(frozen=True, slots=True)
class PausePlayout:
    """Stop sending the reply; keep it."""


@dataclass(frozen=True, slots=True)
class ResumePlayout:
    """Go on with the reply where it stopped."""


@dataclass(frozen=True, slots=True)
class DropReply:
    """Forget what is left of the reply, queued or still to come, and tell the model what was
    heard."""


@dataclass(frozen=True, slots=True)
class TellKeys:
    """Tell the model which keys the caller has pressed."""


@dataclass(frozen=True, slots=True)
class AskCaller:
    """Nobody has been heard for long: have the agent ask whether the caller is there."""


@dataclass(frozen=True, slots=True)
class SayGoodbye:
    """The caller does not answer: have the agent say goodbye."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Give the call back to the dialplan."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over: let go of everything."""

    outcome: Outcome


class Verdict(StrEnum):
    """What a barge-in came to; the label of `barge_ins_total`."""

    CONFIRMED = "confirmed"  # by the model or by sustained speech, after a pause
    MODEL = "model"  # the model noticed first
    RESUMED = "resumed"  # it was no speech: the reply went on


@dataclass(frozen=True, slots=True)
class BargedIn:
    """For the record: how a barge-in was decided."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Greeted:
    """For the record: the first agent audio of the call, seconds after accept."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """For the record: agent audio, seconds after the caller stopped speaking."""

    seconds: float


Command = (
    PausePlayout
    | ResumePlayout
    | DropReply
    | TellKeys
    | AskCaller
    | SayGoodbye
    | HangUp
    | Finish
    | BargedIn
    | Greeted
    | Answered
)

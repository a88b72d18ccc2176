"""What became of a call, as numbers: computed from what was sent and received, with its times.

Every time is seconds since the connection was made. A duration names what it lies between:

    caller     ....[=== utterance ===].............
    agent      ...............................[=== answer
                                     |<------>|        response_seconds

    agent      [=== speaking =====].................
    caller     ..............[=== over it ====].....
                             |<-->|                    barge_in_stop_seconds
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import pairwise, zip_longest
from typing import Any, Final

from audiosocket_agent.lab.ear import Span

LATE_SECONDS: Final = 0.040
"""A frame is late when it comes this long after the one before it: a phone missed one."""


class End(StrEnum):
    """How a call ended."""

    HUNG_UP = "hung_up"  # the caller did
    FINISHED = "finished"  # the service said 0x00: the dialplan goes on
    CLOSED = "closed"  # the service closed the connection without a word, as one that is killed
    RESET = "reset"  # the connection was reset: Asterisk hangs the caller up
    BROKEN = "broken"  # the service broke the protocol: Asterisk hangs the caller up
    UNREACHED = "unreached"  # nobody took the connection


CLEAN: Final = frozenset({End.HUNG_UP, End.FINISHED})


@dataclass(slots=True)
class Said:
    """One thing the caller says, filled in as it goes out."""

    voiced_seconds: float
    """From its first to its last audible frame."""
    frames_left: int
    """Audible frames still to be sent."""
    over_agent: bool = False
    """The agent was speaking when it began."""
    begins: float = math.nan
    """When its first audible frame was sent; NaN before."""
    ends: float = math.nan
    """When the last audible frame so far was sent."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An utterance of the caller and what it led to."""

    begins_seconds: float
    ends_seconds: float
    response_seconds: float | None
    """From the end of the caller's speech to the agent's first audio after it; negative where the
    agent cut in, None where nothing came before the caller spoke again."""
    barge_in_stop_seconds: float | None
    """From the caller's first audible frame to the agent's last; None where it was not speaking."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """The time between audio messages as they were received."""

    frames: int
    p50_seconds: float
    p99_seconds: float
    p999_seconds: float
    max_seconds: float
    late: int
    """Intervals above LATE_SECONDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """One call, seen from where Asterisk stands."""

    uuid: str
    rate_hz: int
    """Of the caller's audio."""
    end: End
    duration_seconds: float
    connect_seconds: float | None = None
    """What it took to connect; None where nobody answered."""
    first_frame_seconds: float | None = None
    greeting_seconds: float | None = None
    """To the agent's first audio, if it spoke before the caller did."""
    turns: tuple[Turn, ...] = ()
    heard_rate_hz: int | None = None
    """Of the first audio received."""
    spacing: Spacing | None = None
    """None where fewer than two frames came."""
    late_payloads: int = 0
    """Messages whose payload came in parts more than 5 ms apart: Asterisk may lose such a call."""
    violations: tuple[str, ...] = ()
    """What Asterisk would have ended the call for."""
    error: str = ""
    """Why there was no connection."""
    ok: bool = field(init=False)
    """Audio passed both ways, at least one utterance was answered, and the end was a clean one."""

    def __post_init__(self) -> None:
        answered = any(turn.response_seconds is not None for turn in self.turns)
        ok = answered and self.end in CLEAN and not self.violations
        object.__setattr__(self, "ok", ok)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values, under the names above."""
        return asdict(self)


def turns(said: Sequence[Said], agent: Sequence[Span]) -> tuple[Turn, ...]:
    """What each utterance led to, given when the agent spoke. All of `said` has begun."""
    return tuple(
        _turn(words, following.begins if following else math.inf, agent)
        for words, following in zip_longest(said, said[1:])
    )


def _turn(words: Said, until: float, agent: Sequence[Span]) -> Turn:
    answers = [span.begins for span in agent if words.begins < span.begins <= until]
    stop = None
    if words.over_agent:
        spoken_over = [span for span in agent if span.begins <= words.begins][-1]
        stop = max(0.0, spoken_over.ends - words.begins)
    return Turn(
        begins_seconds=words.begins,
        ends_seconds=words.ends,
        response_seconds=answers[0] - words.ends if answers else None,
        barge_in_stop_seconds=stop,
    )


def greeting(said: Sequence[Said], agent: Sequence[Span]) -> float | None:
    """When the agent spoke unasked, if it did."""
    if not agent or (said and agent[0].begins > said[0].begins):
        return None
    return agent[0].begins


def spacing(times: Sequence[float]) -> Spacing | None:
    """Of the frames received at `times`, in order."""
    between = sorted(after - before for before, after in pairwise(times))
    if not between:
        return None
    return Spacing(
        frames=len(times),
        p50_seconds=quantile(between, 0.5),
        p99_seconds=quantile(between, 0.99),
        p999_seconds=quantile(between, 0.999),
        max_seconds=between[-1],
        late=sum(1 for seconds in between if seconds > LATE_SECONDS),
    )


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest rank: a value that was measured, never one between two."""
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]

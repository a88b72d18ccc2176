"""What came of a run: from the notes of callers and model to figures. Pure."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any, Final

from audiosocket_agent.lab.report import quantile
from tests.bench.capacity.callers import Notes, Reply
from tests.bench.capacity.pauses import Pauses, Span
from tests.bench.capacity.stand_in import GREETING_S, REPLY_S, Heard

GAP_S: Final = 0.040
FRAME_S: Final = 0.020
SLOTS_PER_S: Final = 1_000  # of the callers' own schedule

TOTAL: Final = {"over": sum}
MOST: Final = {"over": max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run, or the median of several; counts are added up. Times are ms, memory is MB; None: there
    was nothing to measure."""

    who: str
    """floor, service or sdk: the service on the plain SDK path."""
    path: str
    calls: int
    runs: int = field(default=1, metadata=TOTAL)
    cpu_ms: float
    """Per second of a call."""
    talk: float
    """Of the time, %: the agent was heard. CPU depends on it."""
    lost: int = field(metadata=TOTAL)
    replies: int = field(metadata=TOTAL)
    """That were due; greetings are among them."""
    broken: int = field(metadata=TOTAL)
    """Replies of a length that was not sent, or missing."""
    greeting_p50: float | None
    """From the connection to the first sound. The model takes no time for it."""
    greeting_p99: float | None
    up_p50: float | None
    """From the caller's last loud frame to the model's having it."""
    up_p99: float | None
    down_p50: float | None
    """From the model's first chunk to the caller's first frame of it."""
    down_p99: float | None
    stop_p50: float | None
    """From the caller's first frame over a reply to the last frame of it."""
    stop_max: float | None = field(metadata=MOST)
    spacing_p99: float | None
    """Off 20 ms, while the agent talks."""
    spacing_p999: float | None
    gaps: int = field(metadata=TOTAL)
    """Above 40 ms while the agent talks."""
    rss_mb: float
    pss_mb: float
    empty_rss_mb: float
    """After one call, before the others."""
    empty_pss_mb: float
    left_out: float
    """Of all intervals, %: the machine was paused there."""
    paused: float
    """Of the time, %: the machine was."""
    others: float
    """Of the time, %: the service's core worked for somebody else."""
    late: float
    """Of the callers' own frames, %: left more than 3 ms late, pauses left out."""
    burst_greeting_p50: float | None = None
    """Of the calls that came at once while `calls` were up."""
    burst_greeting_p99: float | None = None
    burst_spacing_p99: float | None = None
    """Of the calls that were up, meanwhile."""
    held: tuple[tuple[float, float, float], ...] = ()
    """Minutes, RSS and PSS, again and again, with all calls up."""

    @property
    def kb_per_call(self) -> float:
        """PSS, kB (10^3 bytes)."""
        return (self.pss_mb - self.empty_pss_mb) * 1000 / self.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run leaves to be judged; times are monotonic seconds."""

    notes: Sequence[Notes]
    heard: Sequence[Heard]
    late: Sequence[Span]
    """When our own frames were due, and when they left."""
    pauses: Pauses
    window: Span
    """All calls were up, and CPU was counted."""
    burst: Span | None = None
    newcomers: Sequence[Notes] = ()
    """Those of the burst."""


def figures(seen: Seen) -> dict[str, Any]:
    """The part of a Result that callers have noticed."""
    up: list[float] = []
    down: list[float] = []
    stops: list[float] = []
    off: list[float] = []
    broken = replies = gaps = talked = all_gaps = 0
    until = seen.burst[0] if seen.burst else float("inf")
    since, ends = seen.window
    touch = seen.pauses.touch
    for call in seen.notes:
        broken += call.missing
        replies += call.missing
        session = call.session()
        if session is None or not 0 <= session < len(seen.heard):  # it was not even greeted
            broken += 1
            replies += 1
            continue
        heard = seen.heard[session]
        begun = [reply.begins for reply in call.replies]
        down += [b - a for a, b in _pairs(heard.replies_begin, begun, until) if not touch(a, b)]
        up += [b - a for a, b in _pairs(call.said, heard.turns_end, until) if not touch(a, b)]
        stops += [max(0.0, b - a) for a, b in call.barged if a < until and not touch(a, b)]
        # the last one may not have been over
        replies += len(call.replies) - 1
        broken += sum(_is_broken(n, reply) for n, reply in enumerate(call.replies[:-1]))
        for at, gap in zip(call.came, call.gaps, strict=True):
            talked += since <= at < ends
            if at < until:
                all_gaps += 1
                if not touch(at - gap, at):
                    off.append(abs(gap - FRAME_S))
                    gaps += gap > GAP_S
    greeted = _greetings(seen.notes, seen.pauses)
    return {
        "talk": round(100 * talked * FRAME_S / ((ends - since) * len(seen.notes)), 1),
        "lost": sum(bool(call.lost) for call in (*seen.notes, *seen.newcomers)),
        "replies": replies,
        "broken": broken,
        "greeting_p50": _ms(greeted, 0.5),
        "greeting_p99": _ms(greeted, 0.99),
        "up_p50": _ms(up, 0.5),
        "up_p99": _ms(up, 0.99),
        "down_p50": _ms(down, 0.5),
        "down_p99": _ms(down, 0.99),
        "stop_p50": _ms(stops, 0.5),
        "stop_max": _ms(stops, 1.0),
        "spacing_p99": _ms(off, 0.99),
        "spacing_p999": _ms(off, 0.999),
        "gaps": gaps,
        "left_out": round(100 * (1 - len(off) / all_gaps), 1) if all_gaps else 0.0,
        "paused": round(100 * seen.pauses.seconds(since, ends) / (ends - since), 1),
        "late": _late(seen),
        **_burst(seen),
    }


def _burst(seen: Seen) -> dict[str, float | None]:
    if seen.burst is None:
        return {}
    since, until = seen.burst
    greeted = _greetings(seen.newcomers, seen.pauses)
    off = [
        abs(gap - FRAME_S)
        for call in seen.notes
        for at, gap in zip(call.came, call.gaps, strict=True)
        if since <= at < until and not seen.pauses.touch(at - gap, at)
    ]
    return {
        "burst_greeting_p50": _ms(greeted, 0.5),
        "burst_greeting_p99": _ms(greeted, 0.99),
        "burst_spacing_p99": _ms(off, 0.99),
    }


def _greetings(notes: Sequence[Notes], pauses: Pauses) -> list[float]:
    return [
        call.replies[0].begins - call.connected
        for call in notes
        if call.replies and not pauses.touch(call.connected, call.replies[0].begins)
    ]


def _is_broken(number: int, reply: Reply) -> bool:
    frames = round((REPLY_S if number else GREETING_S) / FRAME_S)
    return not reply.cut and not frames - 1 <= reply.frames <= frames + 2


def _late(seen: Seen) -> float:
    since, until = seen.window
    late = sum(since <= due < until and not seen.pauses.touch(due, at) for due, at in seen.late)
    return round(100 * late / ((until - since) * SLOTS_PER_S), 2)


def _pairs(
    causes: Sequence[float], effects: Sequence[float], until: float
) -> Iterator[tuple[float, float]]:
    """Each cause with the first effect after it, if that comes before the next cause does."""
    for number, cause in enumerate(causes):
        following = causes[number + 1] if number + 1 < len(causes) else float("inf")
        at = bisect_left(effects, cause)
        if at < len(effects) and effects[at] < min(following, until):
            yield cause, effects[at]


def _ms(values: list[float], fraction: float) -> float | None:
    return round(quantile(sorted(values), fraction) * 1000, 1) if values else None


# -- of several runs -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond any of these a run says more of its surroundings than of the service, %."""

    late: float = 1.0
    """Of our own frames: then p99 of their lateness is above 3 ms."""
    others: float = 5.0
    paused: float = 5.0


LIMITS: Final = Limits()


def disturbance(result: Result, limits: Limits = LIMITS) -> str:
    """Why a run is to be discarded; empty where it is not. Nothing the service does is a reason: the
    load has a core of its own, and a pause is one on both."""
    reasons = []
    if result.late > limits.late:
        reasons.append(f"{result.late:.1f} % of our own frames were late")
    if result.others > limits.others:
        reasons.append(f"others had {result.others:.1f} % of the service's core")
    if result.paused > limits.paused:
        reasons.append(f"the machine was paused for {result.paused:.1f} % of the time")
    return ", ".join(reasons)


def summary(runs: Sequence[Result]) -> Result:
    """Of runs of the same: the median of figures, the sum of counts, the worst of the worst."""
    values: dict[str, Any] = {}
    for each in fields(Result):
        given = [getattr(run, each.name) for run in runs]
        measured = [value for value in given if value is not None]
        if isinstance(given[0], str | tuple) or not measured or each.name == "calls":
            values[each.name] = given[0]
        else:
            values[each.name] = each.metadata.get("over", median)(measured)
    return Result(**values)


def ratio(ones: Sequence[Result], floors: Sequence[Result]) -> float | None:
    """CPU beside the floor's: the median of runs that were made side by side."""
    pairs = [one.cpu_ms / floor.cpu_ms for one, floor in zip(ones, floors, strict=False)]
    return round(median(pairs), 2) if pairs else None

"""What must be shown, line by line: met, not met, or not measured. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.capacity.judge import Result, ratio

MAX_RATIO: Final = 1.25
MAX_CPU_MS: Final = 2.6
MAX_GROWTH: Final = 1.05
"""Of the memory per call, over the time the calls were held."""
SETTLED_MINUTES: Final = 2.0
"""By then every call has all its buffers."""
RSS_MB: Final = 80.0
RSS_MB_PER_CALL: Final = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line. `met` None: it was not measured, or has no limit."""

    number: int
    what: str
    figure: str
    limit: str
    met: bool | None

    def __str__(self) -> str:
        verdict = {True: "met", False: "NOT MET", None: ""}[self.met]
        return (
            f"{self.number}  {self.what:52}{self.figure:>12}{self.limit:>14}   {verdict}".rstrip()
        )


class Runs:
    """All runs that were kept, with who, on which path, with how many calls."""

    def __init__(self, runs: Sequence[Result]) -> None:
        self._runs = runs

    def of(self, who: str, path: str, calls: int) -> list[Result]:
        return [r for r in self._runs if (r.who, r.path, r.calls) == (who, path, calls)]

    def value(
        self, calls: int, name: str, *, who: str = "service", path: str = "untouched"
    ) -> float | None:
        """The median of a figure; None where there is none. Counts are added up."""
        values: list[float | None] = [getattr(run, name) for run in self.of(who, path, calls)]
        measured = [value for value in values if value is not None]
        if not measured:
            return None
        return sum(measured) if isinstance(measured[0], int) else median(measured)

    def ratio(self, path: str, calls: int) -> float | None:
        return ratio(self.of("service", path, calls), self.of("floor", path, calls))

    @property
    def held(self) -> Result | None:
        """The longest that was held."""
        held = [run for run in self._runs if run.held and run.who == "service"]
        return max(held, key=lambda run: run.held[-1][0], default=None)


def verdicts(runs: Sequence[Result], paths: Sequence[str]) -> list[Verdict]:
    """All lines, in order."""
    kept = Runs(runs)
    return [*_cost(kept, paths), *_capacity(kept), *_burst(kept), *_line(kept)]


def _cost(runs: Runs, paths: Sequence[str]) -> Iterator[Verdict]:
    cpu = runs.value(100, "cpu_ms")
    yield _at_most(1, "CPU, 100 calls, ms per call-second", cpu, MAX_CPU_MS, "{:.2f}")
    for path in paths:
        times = runs.ratio(path, 100)
        yield _at_most(1, f"CPU, 100 calls, {path}: times the floor's", times, MAX_RATIO, "{:.2f}")
    plain = runs.value(100, "cpu_ms", who="sdk")
    yield _shown(1, "CPU, 100 calls, plain SDK path, ms per call-second", plain, "{:.2f}")


def _capacity(runs: Runs) -> Iterator[Verdict]:
    def line(what: str, name: str, limit: float, form: str = "{:.1f}") -> Verdict:
        return _at_most(2, f"250 calls: {what}", runs.value(250, name), limit, form)

    yield line("lost", "lost", 0, "{:.0f}")
    yield line("gaps above 40 ms", "gaps", 0, "{:.0f}")
    yield line("replies not intact", "broken", 0, "{:.0f}")
    yield line("spacing off 20 ms, p99, ms", "spacing_p99", 5)
    yield line("spacing off 20 ms, p99.9, ms", "spacing_p999", 20)
    for way in ("down", "up"):
        yield line(f"added {way}, p50, ms", f"{way}_p50", 2)
        yield line(f"added {way}, p99, ms", f"{way}_p99", 15)
    yield line("RSS, MB", "rss_mb", RSS_MB + 250 * RSS_MB_PER_CALL)
    yield _shown(2, "300 calls: CPU, ms per call-second", runs.value(300, "cpu_ms"), "{:.2f}")
    yield _shown(2, "300 calls: spacing, p99, ms", runs.value(300, "spacing_p99"), "{:.1f}")
    yield _shown(2, "300 calls: gaps above 40 ms", runs.value(300, "gaps"), "{:.0f}")


def _burst(runs: Runs) -> Iterator[Verdict]:
    greeting = runs.value(100, "burst_greeting_p99")
    spacing = runs.value(100, "burst_spacing_p99")
    yield _at_most(3, "50 calls in a second: greeting, p99, ms", greeting, 120)
    yield _at_most(3, "the 100 that are up: spacing, p99, ms", spacing, 10)


def _line(runs: Runs) -> Iterator[Verdict]:
    fifty, most = runs.value(50, "cpu_ms"), runs.value(250, "cpu_ms")
    what = "CPU, 250 calls; at most that of 50"
    if fifty is None or most is None:
        yield Verdict(4, what, "-", "", None)
    else:
        yield _at_most(4, what, most, fifty, "{:.2f}")
    held = runs.held
    if held is None:
        yield Verdict(4, "memory per call, held for minutes: growth", "-", "", None)
    else:
        what = f"memory per call, {held.calls} held for {held.held[-1][0]:.0f} min: growth, times"
        yield _at_most(4, what, growth(held), MAX_GROWTH, "{:.3f}")


def growth(held: Result) -> float:
    """Memory per call at the end, beside that when all had settled."""
    settled = next((pss for at, _, pss in held.held if at >= SETTLED_MINUTES), held.held[0][2])
    empty = held.empty_pss_mb
    return (held.held[-1][2] - empty) / (settled - empty)


def _at_most(
    number: int, what: str, value: float | None, limit: float, form: str = "{:.1f}"
) -> Verdict:
    if value is None:
        return Verdict(number, what, "-", "", None)
    shown: Callable[..., str] = form.format
    return Verdict(number, what, shown(value), f"<= {shown(limit)}", value <= limit)


def _shown(number: int, what: str, value: float | None, form: str) -> Verdict:
    return Verdict(number, what, "-" if value is None else form.format(value), "", None)

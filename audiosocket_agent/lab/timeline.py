"""A call on the terminal: its events line by line as they happen, its numbers at the end; of many
calls, a table.

      0.02  first frame
      0.41  agent speaks (greeting, 0.41 s after connect)
      4.10  caller: utterance 1 (2.3 s)
      7.02  agent answers after 0.61 s
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from audiosocket_agent.lab.report import CallReport, quantile
from audiosocket_agent.lab.story import Event

_STYLES: Final = {"call": "dim", "caller": "cyan", "agent": "green"}

_MS: Final = 1000.0


class Timeline:
    """Prints to `console`, in colour where that is a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()

    def show(self, event: Event) -> None:
        """Print an event as one line: an `Observer`."""
        self._line(f"{event.at:6.2f}  {event.text}", _STYLES[event.who])

    def close(self, reports: Sequence[CallReport]) -> None:
        """Print what became of the calls: of one its numbers, of many a table."""
        if len(reports) == 1:
            self._one(reports[0])
        else:
            self._many(reports)

    def _one(self, report: CallReport) -> None:
        for line in _numbers(report):
            self._line(line, "dim")
        if report.ok:
            self._line("ok: heard both ways, answered, ended cleanly", "bold green")
        else:
            self._line(f"failed: {failure(report)}", "bold red")

    def _many(self, reports: Sequence[CallReport]) -> None:
        table = Table(box=None, pad_edge=False)
        table.add_column("over the calls, ms")
        for column in ("n", "min", "median", "p99", "max"):
            table.add_column(column, justify="right")
        for name, values in summary(reports).items():
            cells = (values[0], quantile(values, 0.5), quantile(values, 0.99), values[-1])
            table.add_row(name, str(len(values)), *(f"{_MS * cell:.1f}" for cell in cells))
        self._console.print(table)
        failed = [report for report in reports if not report.ok]
        ok = len(reports) - len(failed)
        style = "bold red" if failed else "bold green"
        self._line(f"{ok} of {len(reports)} calls ok, {_late(reports)}", style)
        for reason, count in _counted(map(failure, failed)).items():
            self._line(f"{count} failed: {reason}", "red")

    def _line(self, text: str, style: str) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def summary(reports: Iterable[CallReport]) -> dict[str, list[float]]:
    """What was measured over many calls: by name, the values in seconds, in ascending order;
    without the names nothing was measured for."""
    values: dict[str, list[float]] = {}
    for report in reports:
        for name, value in _measures(report):
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: sorted(column) for name, column in values.items()}


def _measures(report: CallReport) -> Iterator[tuple[str, float | None]]:
    yield "connect", report.connect_seconds
    yield "first frame", report.first_frame_seconds
    yield "greeting", report.greeting_seconds
    for turn in report.turns:
        yield "response", turn.response_seconds
    for turn in report.turns:
        yield "barge-in stop", turn.barge_in_stop_seconds
    if report.spacing is not None:
        yield "spacing p50", report.spacing.p50_seconds
        yield "spacing p99", report.spacing.p99_seconds
        yield "spacing p99.9", report.spacing.p999_seconds
        yield "spacing max", report.spacing.max_seconds


def failure(report: CallReport) -> str:
    """Why a report is not ok, in one line."""
    if report.error:
        return report.error
    if report.violations:
        return report.violations[0]
    if report.spacing is None:
        return f"no audio came ({report.end})"
    if not report.turns:
        return f"the caller did not get to speak ({report.end})"
    if all(turn.response_seconds is None for turn in report.turns):
        return f"no answer was heard ({report.end})"
    return f"no clean end ({report.end})"


def _numbers(report: CallReport) -> list[str]:
    spacing = report.spacing
    if spacing is None:
        return []
    of_spacing = (
        f"{spacing.frames} frames at {report.heard_rate_hz} Hz, spacing "
        f"p50 {_MS * spacing.p50_seconds:.1f}  p99 {_MS * spacing.p99_seconds:.1f}  "
        f"p99.9 {_MS * spacing.p999_seconds:.1f}  max {_MS * spacing.max_seconds:.1f} ms, "
        f"{_late([report])}"
    )
    return [of_spacing]


def _late(reports: Iterable[CallReport]) -> str:
    spacings = [report.spacing for report in reports if report.spacing is not None]
    payloads = sum(report.late_payloads for report in reports)
    late = f"{sum(spacing.late for spacing in spacings)} late frames"
    return f"{late}, {payloads} payloads in parts > 5 ms apart" if payloads else late


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return counts

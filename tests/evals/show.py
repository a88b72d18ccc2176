"""A call as people read it: what was said and when, what was used, what it left, what it cost."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.text import Text

from audiosocket_agent.records.listing import CallRecord
from tests.evals.suite import Judged

_STYLES: Final = {"caller": "cyan", "agent": "green", "tool": "magenta", "row": "yellow"}
_MAX_CHARS: Final = 240


class Shown:
    """Prints calls to a terminal, in colour where it is one."""

    def __init__(self, console: Console | None = None, *, brief: bool = False) -> None:
        self._console = console or Console()
        self._brief = brief

    def show(self, judged: Judged) -> None:
        """Print one call. `brief`: of those that are as they should be, a line."""
        self._line(*_title(judged))
        if self._brief and judged.ok:
            return
        if judged.held is not None:
            for at, who, text in sorted(_events(judged.held.record), key=lambda each: each[0]):
                self._line(f"  {at:6.2f}  {who:<6}  {text}", _STYLES[who])
            for text in _left(judged.held.record):
                self._line(f"          row     {text}", _STYLES["row"])
        for finding in judged.findings:
            mark, style = ("ok", "dim") if finding.ok else ("FAILED", "bold red")
            self._line(f"          {mark:<6}  {finding.what}", style)
        self._line("", "")

    def close(self, judged: list[Judged], seconds: float) -> None:
        """Print the sum."""
        held = [each.held.record for each in judged if each.held is not None]
        cost = sum(record.call.cost_usd for record in held)
        uses = sum(len(record.tool_uses) for record in held)
        rows = sum(len(record.tickets) + len(record.callbacks) for record in held)
        good, expectations = sum(each.ok for each in judged), [*_all(judged)]
        self._line(
            f"{good} of {len(judged)} conversations as they should be; "
            f"{sum(expectations)} of {len(expectations)} expectations; {uses} tools used, {rows} "
            f"rows, {cost:.6f} USD, {seconds:.1f} s",
            "bold green" if good == len(judged) else "bold red",
        )

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self._line(text, "bold")

    def _line(self, text: str, style: str) -> None:
        self._console.print(Text(text, style), soft_wrap=True)


def _all(judged: list[Judged]) -> Iterator[bool]:
    for each in judged:
        yield from (finding.ok for finding in each.findings)


def _title(judged: Judged) -> tuple[str, str]:
    case, held = judged.conversation, judged.held
    parts = [case.agent, case.name, case.language, "Gemini" if judged.live else ""]
    if held is not None:
        call = held.record.call
        seconds = (call.ended_at - call.started_at).total_seconds() if call.ended_at else 0.0
        parts += [f"{seconds:.1f} s", f"{call.cost_usd:.6f} USD", held.next or "hung up"]
    style = "bold green" if judged.ok else "bold red"
    return f"{'ok    ' if judged.ok else 'FAILED'}  {' · '.join(filter(None, parts))}", style


def _events(record: CallRecord) -> Iterator[tuple[float, str, str]]:
    for turn in record.turns:
        yield turn.start_s, turn.speaker, _cut(turn.text)
    for use in record.tool_uses:
        at = (use.used_at - record.call.started_at).total_seconds() - use.took_ms / 1000
        given = ", ".join(f"{name}={value!r}" for name, value in use.arguments.items())
        yield at, "tool", f"{use.tool}({_cut(given)}) {use.outcome}, {use.took_ms} ms"


def _left(record: CallRecord) -> Iterator[str]:
    for ticket in record.tickets:
        details = f" {ticket.details}" if ticket.details else ""
        yield f"{ticket.kind} {ticket.number} {ticket.language} {_cut(ticket.subject + details)}"
    for callback in record.callbacks:
        yield f"callback {callback.number} at {callback.due_at:%d %b %H:%M} UTC {callback.reason}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"

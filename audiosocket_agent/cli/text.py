"""Answers as text for people. Plain: what a caller has chosen to be called moves no cursor."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_CELL_CHARS: Final = 40


def printable(value: object) -> str:
    """One line of a value, whatever is in it."""
    return "".join(char if char.isprintable() or char in _JOINERS else "?" for char in str(value))


_JOINERS: Final = "\u200c\u200d"
"""Parts of words in Hindi and Bengali; they move no cursor."""


def cell(value: object) -> str:
    """A value in a table."""
    text = printable(value)
    return text if len(text) <= MAX_CELL_CHARS else f"{text[: MAX_CELL_CHARS - 1]}…"


def duration(seconds: float) -> str:
    """As on a telephone: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def calls(answer: Mapping[str, Any]) -> str:
    """A list of calls."""
    head = ("call", "agent", "state", "time", "caller", "turns", "response")
    rows = [head, *(_row(call) for call in answer["calls"])]
    return columns(rows) if len(rows) > 1 else "no calls"


def _row(call: Mapping[str, Any]) -> tuple[str, ...]:
    response = call["response_s"]
    return (
        call["id"][:8],
        cell(call["agent"]) + (" (briefing)" if call["briefing"] else ""),
        call["state"],
        duration(call["seconds"]),
        cell(call["caller"]),
        str(call["turns"]),
        "" if response is None else f"{response:.2f} s",
    )


def call(facts: Mapping[str, Any]) -> str:
    """All that is known of one call, a line each; what is not known is left out."""
    return columns([(name, _value(value)) for name, value in facts.items() if value not in _NONE])


_NONE: Final[tuple[object, ...]] = (None, "", [], {})


def _value(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{printable(name)}={printable(its)}" for name, its in value.items())
        case list():
            return ", ".join(map(printable, value))
        case bool():
            return "yes" if value else "no"
    return printable(value)


def status(answer: Mapping[str, Any]) -> str:
    """The process."""
    ports = answer["ports"]
    up = duration(answer["uptime_s"])
    return "\n".join(
        (
            f"audiosocket-agent {answer['version']}, process {answer['pid']}, up {up}",
            columns(
                [
                    ("ready", "yes" if answer["ready"] else f"no: {answer['not_ready']}"),
                    ("calls", f"{answer['calls']} of {answer['max_calls']}"),
                    ("model", answer["model"]),
                    ("agents", ", ".join(answer["agents"])),
                    ("ports", ", ".join(f"{name} {port}" for name, port in ports.items())),
                    ("memory", f"{answer['memory_mib']:.0f} MiB, {answer['cpu_s']:.1f} s of CPU"),
                ]
            ),
        )
    )

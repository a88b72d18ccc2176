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


def status_of_all(answers: Mapping[str, Mapping[str, Any]]) -> str:
    """The services of a host, by instance, a line each, and what they are together."""
    head = ("instance", "ready", "calls", "memory", "CPU", "up", "AudioSocket")
    up = [answer for answer in answers.values() if "error" not in answer]
    together = (
        "all",
        f"{sum(answer['ready'] for answer in up)} of {len(answers)}",
        f"{sum(answer['calls'] for answer in up)} of {sum(answer['max_calls'] for answer in up)}",
        f"{sum(answer['memory_mib'] for answer in up):.0f} MiB",
        f"{sum(answer['cpu_s'] for answer in up):.1f} s",
        "",
        "",
    )
    rows = [_instance(name, answer) for name, answer in answers.items() if "error" not in answer]
    errors = [
        f"instance {name}: {printable(answer['error'])}"
        for name, answer in answers.items()
        if "error" in answer
    ]
    return "\n".join([columns([head, *rows, together]), *errors])


def _instance(name: str, answer: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        "yes" if answer["ready"] else f"no: {answer['not_ready']}",
        f"{answer['calls']} of {answer['max_calls']}",
        f"{answer['memory_mib']:.0f} MiB",
        f"{answer['cpu_s']:.1f} s",
        duration(answer["uptime_s"]),
        str(answer["ports"]["audiosocket"]),
    )

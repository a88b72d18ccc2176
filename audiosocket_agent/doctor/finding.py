"""What a check has found, and how it is shown to people and to programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

MAX_CHARS: Final = 240
"""Of one line: enough for a path and a reason."""

CONFIGURATION: Final = ("settings", "agents")
"""Findings about files of ours; where one failed, nothing else is looked at."""


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # calls are taken, but not as they might be
    FAILED = "failed"
    SKIPPED = "skipped"  # nothing to look at, or something before it failed


_WORDS: Final = {
    State.OK: "ok",
    State.WARNING: "WARN",
    State.FAILED: "FAIL",
    State.SKIPPED: "skip",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for what was seen and one for what to do about it."""

    name: str
    state: State
    seen: str
    cure: str = ""


def ok(name: str, seen: str) -> Finding:
    return Finding(name, State.OK, one_line(seen))


def warning(name: str, seen: str, cure: str) -> Finding:
    return Finding(name, State.WARNING, one_line(seen), one_line(cure))


def failed(name: str, seen: str, cure: str) -> Finding:
    return Finding(name, State.FAILED, one_line(seen), one_line(cure))


def skipped(name: str, seen: str) -> Finding:
    return Finding(name, State.SKIPPED, one_line(seen))


def one_line(text: str) -> str:
    """Words that may have come from another program, fit for a terminal."""
    words = " ".join(text.split())
    return "".join(char if char.isprintable() else "?" for char in words)[:MAX_CHARS]


def exit_code(findings: Sequence[Finding]) -> int:
    """0 nothing failed, 1 something did, 3 the configuration cannot be used."""
    failures = [finding.name for finding in findings if finding.state is State.FAILED]
    if any(name in CONFIGURATION for name in failures):
        return 3
    return 1 if failures else 0


def as_text(findings: Sequence[Finding]) -> str:
    """A line each, what to do below it, and a sum at the end."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_WORDS[finding.state]:4}  {finding.name:{width}}  {finding.seen}")
        if finding.cure:
            lines.append(f"{'':{width + 8}}{finding.cure}")
    return "\n".join([*lines, "", _sum(findings)]) + "\n"


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects: name, state (ok, warning, failed, skipped), seen, cure."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def _sum(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.state for finding in findings)
    bad = [f"{counts[state]} {state}" for state in (State.FAILED, State.WARNING) if counts[state]]
    return ", ".join(bad) or "nothing is wrong"

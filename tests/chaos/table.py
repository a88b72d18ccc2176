"""The rows as people read them: lines on a terminal, and the table of the README."""

import math
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.chaos.row import Row

README: Final = Path(__file__).parent.parent.parent / "README.md"
OPENING: Final = "<!-- chaos -->\n"
CLOSING: Final = "<!-- /chaos -->"
HEAD: Final = (
    "| what happens | calls | lost | longest silence | context kept | left: tasks/sockets/files |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)


def line(row: Row) -> str:
    """One row, for a terminal."""
    on = f" ({row.handed_on} handed on)" if row.handed_on else ""
    mark = "!" if row.wrong else " "
    return (
        f"{mark} {row.fault.name:46} {len(row.outcomes):2} calls  {row.lost} lost{on}  "
        f"{row.silence_s:4.1f} s  kept {row.kept:3}  left {row.left}  {row.error}"
    ).rstrip()


def verdict(rows: Sequence[Row], seconds: float) -> str:
    """What it comes to."""
    calls = sum(len(row.outcomes) for row in rows)
    lost = sum(row.lost for row in rows)
    on = sum(row.handed_on for row in rows)
    silence = max(row.silence_s for row in rows)
    still_s = rows[0].pauses.seconds(0.0, math.inf)
    return (
        f"{len(rows)} faults, {calls} calls: {lost} lost, {on} handed on where there was no model, "
        f"longest silence {silence:.1f} s; {seconds:.0f} s, of which the machine stood still "
        f"{still_s:.1f} s"
    )


def as_markdown(rows: Sequence[Row], commit: str, day: str) -> str:
    """For the README."""
    calls = max(len(row.outcomes) for row in rows)
    lines = [f"`make chaos CALLS={calls}`, {day}, commit {commit}.\n\n", HEAD]
    for row in rows:
        lost = f"{row.lost}" + (f" ({row.handed_on} handed on)" if row.handed_on else "")
        cells = (
            row.fault.name,
            len(row.outcomes),
            lost,
            f"{row.silence_s:.1f} s",
            row.kept,
            row.left,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    return "".join(lines)


def with_table(text: str, table: str) -> str:
    """The README with its table renewed. Raises SystemExit where it has no place for it."""
    before, opening, rest = text.partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not closing:
        raise SystemExit("README.md has no place for the table of chaos")
    return before + opening + table + closing + after


def write(rows: Sequence[Row]) -> None:
    """Put the table into the README."""
    commit = subprocess.run(
        ["git", "-C", str(README.parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    table = as_markdown(rows, commit, f"{datetime.now(UTC):%d %B %Y}")
    README.write_text(with_table(README.read_text(encoding="utf-8"), table), encoding="utf-8")

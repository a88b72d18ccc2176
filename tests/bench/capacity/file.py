"""The file a benchmark leaves: which machine, when, of what, by which command, and every figure."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.capacity import table
from tests.bench.capacity.judge import Result, summary
from tests.bench.capacity.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Run:
    """One that was kept; `disturbed`: why it should not have been."""

    result: Result
    disturbed: str


def content(
    runs: Sequence[Run], discarded: Sequence[str], verdicts: Sequence[Verdict], command: str
) -> dict[str, Any]:
    """What is written."""
    return {
        **_machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "command": command,
        "results": [asdict(result) for result in summaries([run.result for run in runs])],
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "disturbed": [
            f"{run.result.who}, {run.result.path}, {run.result.calls} calls: {run.disturbed}"
            for run in runs
            if run.disturbed
        ],
        "discarded": list(discarded),
        "runs": [asdict(run.result) for run in runs],
    }


def write(path: Path, what: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


def summaries(results: Sequence[Result]) -> list[Result]:
    """One for each of who, path and calls, in order."""
    alike: dict[tuple[str, str, int], list[Result]] = {}
    for result in results:
        alike.setdefault((result.who, result.path, result.calls), []).append(result)
    return [summary(runs) for runs in alike.values()]


def read(path: Path) -> list[Result]:
    """The results of a file."""
    return [
        Result(**result | {"held": tuple(map(tuple, result["held"]))})
        for result in json.loads(path.read_text(encoding="utf-8"))["results"]
    ]


def as_markdown(path: Path) -> str:
    """A file as the README has it."""
    what = json.loads(path.read_text(encoding="utf-8"))
    day = datetime.strptime(what["date"], "%Y-%m-%d").replace(tzinfo=UTC)
    said = (
        f"`{what['command']}`, {day.day} {day:%B %Y}, commit {what['commit']}; {what['cpu']}, one of "
        f"{what['cores']} cores, Python {what['python']}."
    )
    disturbed = [f"\nDisturbed, and not repeated: {each}.\n" for each in what["disturbed"]]
    return f"{said}\n\n{table.markdown(read(path))}{''.join(disturbed)}"


def _machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _commit() -> str:
    """With `-dirty` where files were changed since; empty outside of a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def command(arguments: Sequence[str]) -> str:
    """How to repeat this; where it is written to is left out."""
    kept = list(arguments)
    if "--json" in kept:
        at = kept.index("--json")
        del kept[at : at + 2]
    return " ".join(["python -m tests.bench.capacity", *kept])

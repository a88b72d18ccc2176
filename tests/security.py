"""The controls of security.toml, each switched off once: its tests have to fail then.

    python -m tests.security            all of them, in a copy of the tree
    python -m tests.security "toll"     those whose threat has this in it

Tests that need root are left out, and counted as passing. A control without `take` cannot be switched
off in one place.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

REPOSITORY: Final = Path(__file__).parent.parent
PARTS: Final = ("asterisk", "audiosocket_agent", "deploy", "tests")
ALONE: Final = (
    *("CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
    *("pyproject.toml", "requirements.lock"),
)
_NO_TESTS: Final = 5  # of pytest's exit codes


@dataclass(frozen=True, slots=True)
class Control:
    """One row of security.toml."""

    threat: str
    control: str
    file: str
    tests: tuple[str, ...]
    take: str = ""
    put: str = ""


def controls() -> list[Control]:
    """All rows."""
    rows = tomllib.loads((REPOSITORY / "tests" / "security.toml").read_text(encoding="utf-8"))
    return [Control(**{**row, "tests": tuple(row["tests"])}) for row in rows["control"]]


def without(tree: Path, control: Control) -> set[str]:
    """Those of its tests that fail without the control."""
    file = tree / control.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(control.take, control.put), encoding="utf-8")
    try:
        return failing(tree, control.tests)
    finally:
        file.write_text(text, encoding="utf-8")


def failing(tree: Path, tests: Iterable[str]) -> set[str]:
    """Those that fail, of the ones that can run here."""
    options = ("-q", "-rfE", "-m", "not pbx", "-p", "no:cacheprovider", "--timeout=30")
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *options, *tests),
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, _NO_TESTS):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    failed = re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", done.stdout, re.MULTILINE)
    return {test for test in tests for node in failed if node.startswith(test)}


def main(wanted: str) -> int:
    """Prints a line for each control; 1 where a test does not notice."""
    bad = 0
    with TemporaryDirectory(prefix="controls-") as directory:
        tree = Path(directory)
        for part in PARTS:
            shutil.copytree(
                REPOSITORY / part, tree / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ALONE:
            shutil.copyfile(REPOSITORY / name, tree / name)
        chosen = [each for each in controls() if each.take and wanted in each.threat]
        broken = failing(tree, {test for each in chosen for test in each.tests})
        for control in chosen:
            missed = set(control.tests) - broken - without(tree, control)
            caught = not broken & set(control.tests) and len(missed) < len(control.tests)
            print(f"{'ok  ' if caught else 'MISS'}  {control.threat}", flush=True)
            for test in control.tests:
                how = "fails with it" if test in broken else "passes" if test in missed else "fails"
                print(f"      {how:6} {test}", flush=True)
            bad += not caught
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))

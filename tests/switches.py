"""Tables of what stands against what, and of the tests that prove it: everything is switched off once.

    python -m tests.switches                    both tables, row by row, in a copy of the tree
    python -m tests.switches security "toll"    of one, the rows against what has this in it

A row is switched off by putting `put` where its file has `take`. Then every one of its tests has to
fail, and not because the code does not run any more. Tests that need root are left out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

REPOSITORY: Final = Path(__file__).parent.parent
TABLES: Final = ("security", "cures")
PARTS: Final = ("asterisk", "audiosocket_agent", "deploy", "tests")
ALONE: Final = (
    *("CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
    *("pyproject.toml", "requirements.lock"),
)
_NO_TESTS: Final = 5  # of pytest's exit codes
_TEST: Final = re.compile(
    r"^(PASSED|FAILED|ERROR) ([^\s\[]+(?:\[.*?\])?)(?: - (.*))?$", re.MULTILINE
)
_DOES_NOT_RUN: Final = ("NameError", "UnboundLocalError", "ImportError", "SyntaxError")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that stands against another, and how to switch it off."""

    against: str
    by: str
    file: str
    take: str
    put: str
    tests: tuple[str, ...]
    """Node ids; of a whole file, of a test, or of one set of its parameters."""


def rows(table: str) -> list[Row]:
    """All of one of TABLES."""
    found = tomllib.loads((REPOSITORY / "tests" / f"{table}.toml").read_text(encoding="utf-8"))
    return [Row(**{**row, "tests": tuple(row["tests"])}) for row in found["row"]]


def without(tree: Path, row: Row) -> dict[str, str]:
    """What becomes of its tests while it is switched off."""
    file = tree / row.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(row.take, row.put), encoding="utf-8")
    try:
        return verdicts(row.tests, said(tree, row.tests))
    except RuntimeError:
        return dict.fromkeys(row.tests, "does not run")
    finally:
        file.write_text(text, encoding="utf-8")


def said(tree: Path, tests: Iterable[str]) -> str:
    """What pytest says of them. Raises RuntimeError where it cannot run them."""
    options = ("-q", "-rpfE", "-m", "not pbx", "-p", "no:cacheprovider", "--timeout=30")
    done = subprocess.run(
        (sys.executable, "-m", "pytest", *options, *tests),
        cwd=tree,
        env={**os.environ, "COLUMNS": "1000", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, _NO_TESTS):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout


def verdicts(tests: Iterable[str], output: str) -> dict[str, str]:
    """Of each test that has run: "passes", "fails", or "does not run"."""
    ran, found = _TEST.findall(output), {}
    for test in tests:
        own = [(word, why) for word, node, why in ran if _is_of(node, test)]
        bad = [why for word, why in own if word != "PASSED"]
        if any(why.startswith(_DOES_NOT_RUN) for why in bad):
            found[test] = "does not run"
        elif own:
            found[test] = "fails" if bad else "passes"
    return found


def _is_of(node: str, test: str) -> bool:
    return node == test or node.startswith((f"{test}[", f"{test}::"))


def is_proof(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether all tests that ran passed with it and fail without it."""
    alike = before.keys() == after.keys()
    return alike and {*before.values()} == {"passes"} and {*after.values()} == {"fails"}


def main() -> int:
    """Prints a line for each row and each test; 1 where a test does not notice."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", nargs="?", choices=TABLES)
    parser.add_argument("against", nargs="?", default="")
    wanted = parser.parse_args()
    tables = (wanted.table,) if wanted.table else TABLES
    chosen = [row for table in tables for row in rows(table) if wanted.against in row.against]
    unproven = 0
    with TemporaryDirectory(prefix="switches-") as directory:
        tree = Path(directory)
        copy(tree)
        with_all = said(tree, {test for row in chosen for test in row.tests})
        for row in chosen:
            before = verdicts(row.tests, with_all)
            after = without(tree, row)
            proven = is_proof(before, after)
            unproven += not proven
            print(f"{'ok  ' if proven else 'MISS'}  {row.against}: {row.by}", flush=True)
            for test in row.tests:
                how = after.get(test, "left out")
                if before.get(test) == "fails":
                    how = "fails with it"
                print(f"      {how:13} {test}", flush=True)
    print(f"{len(chosen) - unproven} of {len(chosen)} are proven")
    return int(unproven > 0)


def copy(tree: Path) -> None:
    """All that the tests need of the repository."""
    for part in PARTS:
        shutil.copytree(
            REPOSITORY / part, tree / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ALONE:
        shutil.copyfile(REPOSITORY / name, tree / name)


if __name__ == "__main__":
    sys.exit(main())

"""What each operation has come to cost since another commit: `make bench-compare REV=...`.

Today's operations are done on the code of that commit and on the working tree's. Exits 1 where one
became more than 10 % worse. Where there is nothing to compare with, since a fresh clone may have no
history, or nothing that has changed, that is said, and is no failure.
"""

import argparse
import ast
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.ops.meters import ROOT, Counted, best_meter

PACKAGE: Final = "audiosocket_agent"
LIST: Final = "tests/bench/ops/operations.py"
TOLERATED: Final = 1.10


@dataclass(frozen=True, slots=True)
class Row:
    """One operation, before and now; None: it could not be done."""

    name: str
    before: float | None
    now: float | None
    note: str = ""

    @property
    def change(self) -> float | None:
        return self.now / self.before if self.now and self.before else None

    @property
    def failed(self) -> bool:
        """It is worse, or broken now."""
        return (self.now is None and self.before is not None) or (self.change or 0.0) > TOLERATED

    def __str__(self) -> str:
        change = "" if self.change is None else f"{100 * (self.change - 1):+.1f} %"
        note = "WORSE" if self.change and self.failed else self.note
        return (
            f"{self.name:32}{_number(self.before)}{_number(self.now)}{change:>10}  {note}".rstrip()
        )


def rows(before: Counted, now: Counted) -> list[Row]:
    """One for each operation there is now, in order."""
    return [
        Row(
            name,
            before.values.get(name),
            now.values.get(name),
            f"not now: {now.errors[name]}"
            if name in now.errors
            else f"new: {before.errors[name]}"
            if name in before.errors
            else "",
        )
        for name in [*now.values, *now.errors]
    ]


def gone(source: str, names: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Operations another commit has in its list (`OPERATIONS`) that are no longer there."""
    return [name for name in _listed(ast.parse(source)) if name not in names]


def _listed(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "OPERATIONS"
            and isinstance(node.value, ast.Dict)
        ):
            yield from (str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))


def _number(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:,.1f}' if value < 100 else f'{value:,.0f}':>12}"


# -- the other commit --------------------------------------------------------------------------------


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)


def _commit(rev: str) -> str | None:
    """Its name, or None where it is not here; says why."""
    found = _git("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
    if not found.returncode:
        return found.stdout.decode().strip()
    if _git("rev-parse", "--git-dir").returncode:
        print(f"nothing to compare with: {ROOT} is no clone of the repository")
    elif _git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        print(
            f"nothing to compare with: this clone has no {rev} (git fetch --deepen=1 brings more)"
        )
    elif rev.startswith("HEAD"):
        print(f"nothing to compare with: there is no {rev}, the history begins here")
    else:
        sys.exit(f"there is no commit {rev}")
    return None


def _extracted(commit: str) -> Path:
    """Its package, under build/; the repository itself is left as it is."""
    tree = ROOT / "build" / "compare" / commit
    if not tree.exists():
        archive = _git("archive", commit, PACKAGE)
        if archive.returncode:
            sys.exit(archive.stderr.decode())
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extraction_filter = getattr(tarfile, "data_filter", None)  # from 3.11.4 on
            files.extractall(tree)
    return tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rev", nargs="?", default="HEAD^")
    commit = _commit(parser.parse_args().rev)
    if commit is None:
        return
    if not _git("diff", "--quiet", commit, "--", PACKAGE).returncode:
        print(f"nothing to compare: {PACKAGE} is the same as at {commit[:7]}")
        return
    meter = best_meter()
    print(f"{meter.unit}, by {meter.by}; {commit[:7]} and the working tree", flush=True)
    before, now = meter.measure([_extracted(commit), ROOT])
    table = rows(before, now)
    print(f"{'':32}{commit[:7]:>12}{'now':>12}{'change':>10}")
    print(*table, sep="\n")
    listed = _git("show", f"{commit}:{LIST}")
    for name in gone(listed.stdout.decode(), [row.name for row in table]):
        print(f"{name:32}{'':34}  gone")
    if worse := [row.name for row in table if row.failed]:
        sys.exit(f"more than {100 * (TOLERATED - 1):.0f} % worse, or broken: {', '.join(worse)}")


if __name__ == "__main__":
    main()

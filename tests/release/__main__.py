"""`make release-check`: one line a check, its findings below it; exit 1 where there are any.

OFFLINE=1 lets what needs the network go unlooked at; it is told all the same.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

from tests.release import distributions, supply, tree, versions

CHECKS: Final[dict[str, Callable[[], list[str]]]] = {
    "committed": tree.uncommitted,
    "versions": versions.findings,
    "distributions": distributions.findings,
    "lock files: hashes": supply.unhashed,
    "lock files: up to date": supply.locks,
    "known faults": supply.audit,
    "bill of materials": supply.bill,
}


def main() -> int:
    """Runs them all, also after one that found something."""
    offline = os.environ.get("OFFLINE") == "1"
    bad = False
    for name, check in CHECKS.items():
        found = check()
        excused = [text for text in found if offline and supply.UNREACHED in text]
        wrong = [text for text in found if text not in excused]
        print(f"{'FAIL' if wrong else 'skip' if excused else 'ok'}  {name}", flush=True)
        for text in found:
            print("      " + text.replace("\n", "\n      "))
        bad = bad or bool(wrong)
    left = [str(path.relative_to(tree.REPOSITORY)) for path in sorted(tree.BUILT.glob("*"))]
    print("left: " + " ".join(left))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

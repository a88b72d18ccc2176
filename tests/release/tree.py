"""The files of a release: what git knows, and nothing that happens to lie beside it."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parent.parent.parent
BUILT: Final = REPOSITORY / "build" / "release"
"""Where the distributions and the bill of materials are left."""

LOCKS: Final = (
    "requirements.lock",
    "tests/requirements.lock",
    "tests/fuzz/requirements.lock",
    "tests/release.lock",
)


def git(*arguments: str) -> str:
    """What git says of the repository."""
    command = ("git", "-C", str(REPOSITORY), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tracked() -> list[str]:
    """Paths of all files that git knows and that are there."""
    names = git("ls-files", "-z").split("\0")
    return [name for name in names if name and (REPOSITORY / name).is_file()]


def copy(to: Path) -> Path:
    """A tree of its own, with times and modes of its own."""
    for name in tracked():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, target)
        target.chmod(0o600 | (REPOSITORY / name).stat().st_mode & 0o100)
    return to


def uncommitted() -> list[str]:
    """A release can be made again by others only if all of it is in a commit."""
    changed = [line[3:] for line in git("status", "--porcelain").splitlines()]
    return [f"in no commit: {', '.join(changed)}"] if changed else []

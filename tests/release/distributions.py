"""The wheel and the sdist: what is in them, and that they come out the same anywhere."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.release.tree import BUILT, copy, git, tracked

PACKAGE: Final = "audiosocket_agent/"
BESIDE: Final = ("asterisk/", "deploy/")
ALONE: Final = (
    *("CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
    *("pyproject.toml", "requirements.lock"),
)
MUST: Final = (
    "assets/README",
    "agents/receptionist.toml",
    "business/sample/orders.csv",
    "records/prices.toml",
    "records/migrations/versions/v0001_",
)
"""In the package: what a service needs and no import would miss."""

SECRET: Final = re.compile(
    rb"AIza[0-9A-Za-z_-]{35}|AQ\.[0-9A-Za-z_-]{40}"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n[A-Za-z0-9+/]{32}"
)
"""A Google key or anybody's private one."""

_BUILD: Final = """
import sys
from flit_core import buildapi
print(getattr(buildapi, sys.argv[1])(sys.argv[2]))
"""


def findings() -> list[str]:
    """Leaves a wheel and an sdist in BUILT."""
    BUILT.mkdir(parents=True, exist_ok=True)
    for old in (*BUILT.glob("*.whl"), *BUILT.glob("*.tar.gz")):
        old.unlink()
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        tree = copy(Path(first, "tree"))
        sdist = build(tree, "build_sdist", BUILT)
        wheel = build(tree, "build_wheel", BUILT)
        again = build(copy(Path(second, "else", "where")), "build_sdist", Path(second))
        with tarfile.open(again) as archive:
            archive.extractall(second, filter="data")
        unpacked = Path(second, again.name.removesuffix(".tar.gz"))
        from_sdist = build(unpacked, "build_wheel", Path(second))
        found = []
        if sdist.read_bytes() != again.read_bytes():
            found.append(f"{sdist.name}: not the same when it is built again")
        if wheel.read_bytes() != from_sdist.read_bytes():
            found.append(f"{wheel.name}: not the same from the sdist")
    return found + wrong(files_of(wheel), files_of(sdist), tracked())


def build(tree: Path, what: str, to: Path) -> Path:
    """One distribution, dated as the last commit."""
    dated = {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").strip()}
    done = subprocess.run(
        (sys.executable, "-c", _BUILD, what, str(to)),
        cwd=tree,
        env=os.environ | dated,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return to / done.stdout.split()[-1]


def files_of(distribution: Path) -> dict[str, bytes]:
    """The contents by path; without the directory that all of an sdist lies in."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(distribution) as sdist:
        return {
            member.name.partition("/")[2]: file.read()
            for member in sdist.getmembers()
            if (file := sdist.extractfile(member)) is not None
        }


def wrong(wheel: dict[str, bytes], sdist: dict[str, bytes], known: Iterable[str]) -> list[str]:
    """What is missing, is too much, or is nobody's business."""
    known = set(known)
    package = {name for name in known if name.startswith(PACKAGE)}
    source = {name for name in known if name.startswith((PACKAGE, *BESIDE)) or name in ALONE}
    in_wheel = {name for name in wheel if ".dist-info/" not in name}
    found = [f"wheel: {text}" for text in _differences(in_wheel, package)]
    found += [f"sdist: {text}" for text in _differences(set(sdist) - {"PKG-INFO"}, source)]
    found += [
        f"wheel: no {name}"
        for name in MUST
        if not any(each.startswith(PACKAGE + name) for each in wheel)
    ]
    for kind, files in (("wheel", wheel), ("sdist", sdist)):
        found += [f"{kind}: a key in {name}" for name in files if SECRET.search(files[name])]
    return found


def _differences(has: set[str], should: set[str]) -> list[str]:
    missing = [f"{name} is missing" for name in sorted(should - has)]
    return missing + [f"{name} is too much" for name in sorted(has - should)]

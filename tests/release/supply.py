"""What others have made and we hand on: known faults, licences, and the bill of materials.

The network may be missing, or the index may answer for packages and not for their faults. That is told,
and is a finding: nothing was looked at is not nothing was found.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from audiosocket_agent import __version__
from tests.release.tree import BUILT, LOCKS, REPOSITORY, copy

TOOLS: Final = REPOSITORY / "build" / "release-tools" / "bin"
SBOM: Final = "sbom.cdx.json"
UNREACHED: Final = "not looked at"
"""Begins the findings that OFFLINE=1 excuses."""

LICENCES: Final = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LGPL-3.0-only"),
    *("MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Zlib"),
    *("Apache Software License", "BSD License"),  # of those that name no better
}
"""May be handed on with an MIT program that only imports them. The LGPL is psycopg's."""

NO_LINK: Final = (
    "Failed to establish",
    "Could not connect",
    "Connection",
    "dns error",
    "timed out",
)


# -- known faults ----------------------------------------------------------------------------------


def audit() -> list[str]:
    """Every locked package, asked for at the index."""
    found = []
    for lock in LOCKS:
        done = _tool("pip-audit", "--disable-pip", "--require-hashes", "-r", lock, "-f", "json")
        found += [f"{lock}: {text}" for text in audited(done.stdout, done.stderr)]
    return found


def audited(report: str, trouble: str) -> list[str]:
    """The findings of pip-audit, whose exit code is also 0 where it could ask about nothing."""
    start = report.find("{")
    if start < 0:
        last = (trouble.strip() or "no report").splitlines()[-1]
        return [f"{UNREACHED}: {last}"]
    packages = json.loads(report[start:])["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {fault['id']}"
        f" (mended in {', '.join(fault['fix_versions']) or 'no version'})"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        some = ", ".join(skipped[:3])
        found.append(f"{UNREACHED}: {len(skipped)} of {len(packages)} packages ({some} ...)")
    return found or ([] if packages else ["no package in it"])


# -- lock files ------------------------------------------------------------------------------------


def locks() -> list[str]:
    """Made anew in a tree of its own, they are what they are."""
    with TemporaryDirectory() as directory:
        tree = copy(Path(directory, "tree"))
        path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
        done = _run("make", "-s", "lock", cwd=tree, env={"PATH": path})
        if done.returncode:
            said = done.stderr.strip()
            away = any(sign in said for sign in NO_LINK)
            return [f"{UNREACHED}: {said}" if away else said]
        return [
            f"{lock}: `make lock` makes another one"
            for lock in LOCKS
            if (tree / lock).read_bytes() != (REPOSITORY / lock).read_bytes()
        ]


def unhashed() -> list[str]:
    """A line of a lock without a hash, or with an index in it."""
    found = []
    for lock in LOCKS:
        text = (REPOSITORY / lock).read_text().replace("\\\n", " ")
        found += [
            f"{lock}: {line[:60]}"
            for line in text.splitlines()
            if "--hash=sha256:" not in line or "://" in line or line.startswith("-")
        ]
    return found


# -- what is handed on -----------------------------------------------------------------------------


def bill() -> list[str]:
    """Installs the wheel as a host would, runs it, and writes what came with it; checks licences."""
    [wheel] = BUILT.glob("*.whl")
    venv = REPOSITORY / "build" / "release-venv"
    python = venv / "bin" / "python"  # without a pip of its own, which nobody hands on
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", python)
    for command in (
        (sys.executable, "-m", "venv", "--clear", "--without-pip", venv),
        (*pip, "install", "--require-hashes", "-r", "requirements.lock"),
        (*pip, "install", "--no-deps", wheel),
        (*pip, "check"),
        (venv / "bin" / "audiosocket-agent", "agents", "check"),
    ):
        done = _run(*map(str, command))
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            away = any(sign in said for sign in NO_LINK)
            return [f"{UNREACHED}: {said}" if away else f"{Path(str(command[0])).name}: {said}"]
    sbom = BUILT / SBOM
    done = _tool(
        *("cyclonedx-py", "environment", "--pyproject", "pyproject.toml", "--output-reproducible"),
        *("--output-format", "JSON", "--output-file", str(sbom), str(python)),
    )
    if done.returncode:
        return [done.stderr.strip()]
    made = json.loads(sbom.read_text())
    made["metadata"]["component"]["version"] = (
        __version__  # pyproject.toml leaves it to the package
    )
    sbom.write_text(json.dumps(made, indent=2) + "\n")
    return unlisted(made, (REPOSITORY / "requirements.lock").read_text()) + foreign(made)


def unlisted(bill: Mapping[str, Any], lock: str) -> list[str]:
    """What the lock has and the bill has not, of what is installed everywhere."""
    listed = {(_plain(each["name"]), each["version"]) for each in bill["components"]}
    locked = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+) \\$", lock, re.MULTILINE)
    return [
        f"{SBOM}: no {name} {version}"
        for name, version in locked
        if (_plain(name), version) not in listed
    ]


def foreign(bill: Mapping[str, Any]) -> list[str]:
    """Components under a licence that nobody has said yes to, or under none."""
    found = []
    for component in bill["components"]:
        texts = [
            each.get("expression") or each["license"].get("id") or each["license"].get("name", "")
            for each in component.get("licenses", ())
        ]
        if not _allowed(texts):
            found.append(f"licence of {component['name']}: {'; '.join(texts)[:100] or 'none told'}")
    return found


def _allowed(texts: list[str]) -> bool:
    """One of several texts is enough. Where AND stands in one, all that it names have to be good:
    GPL AND (MIT OR ISC) is not."""
    for text in texts:
        parts = [part.strip() for part in re.split(r"\bAND\b|\bOR\b", _bare(text))]
        enough = all if re.search(r"\bAND\b", text) else any
        if enough(part in LICENCES for part in parts):
            return True
    return False


def _bare(text: str) -> str:
    """Without the brackets of an expression; a classifier keeps its own."""
    if text.startswith("License ::"):
        return text.removeprefix("License :: OSI Approved :: ")
    return re.sub(r"[()]", " ", text)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _tool(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return _run(str(TOOLS / name), *arguments)


def _run(
    *command: str, cwd: Path = REPOSITORY, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )

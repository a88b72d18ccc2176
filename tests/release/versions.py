"""One version, wherever it stands."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from audiosocket_agent import __version__
from tests.release.tree import REPOSITORY, git


def findings() -> list[str]:
    """What names another version than the package, or another Python."""
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tags = git("tag", "--points-at", "HEAD").split()
    return disagreements(__version__, changes, readme, project, tags)


def disagreements(
    version: str, changes: str, readme: str, project: Mapping[str, Any], tags: list[str]
) -> list[str]:
    """The findings, of texts."""
    found = []
    newest = re.search(r"^## (\S+) \((.+)\)$", changes, re.MULTILINE)
    if newest is None or newest[1] != version:
        told = newest[1] if newest else "nothing"
        found.append(f"CHANGELOG.md: the newest is {told}, not {version}")
    elif f"v{version}" in tags and not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
        found.append(f"CHANGELOG.md: {version} is tagged and has no date")
    found += [
        f"{tag} is on this commit, which is {version}" for tag in tags if tag != f"v{version}"
    ]
    for other in re.findall(r"audiosocket[-_]agent[-=@ v]+(\d+\.\d+\.\d+)", readme):
        if other != version:
            found.append(f"README.md: {other}, not {version}")
    if "version" not in (project.get("dynamic") or []):
        found.append("pyproject.toml: the version is the package's own")
    floor = str(project["requires-python"]).removeprefix(">=")
    if f"Python {floor} " not in readme:
        found.append(f"README.md: needs Python {floor}, which it does not say")
    return found

"""The files in deploy/, and the unit as what it says."""

from collections import defaultdict
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parent.parent.parent
DEPLOY: Final = REPOSITORY / "deploy"
UNIT: Final = DEPLOY / "audiosocket-agent.service"
TEMPLATE: Final = DEPLOY / "audiosocket-agent@.service"
TARGET: Final = DEPLOY / "audiosocket-agent.target"


def directives(text: str) -> dict[str, list[str]]:
    """The values of every directive, in their order. Sections do not share names here."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return dict(found)

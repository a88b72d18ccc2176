"""Agents for tests: `serving(**QUIET)`."""

from pathlib import Path
from typing import Final

_HERE: Final = str(Path(__file__).parent)

QUIET: Final = {"AGENTS_DIRECTORY": _HERE, "DEFAULT_AGENT": "quiet"}
DESK: Final = {"AGENTS_DIRECTORY": _HERE, "DEFAULT_AGENT": "desk"}
TAPED: Final = {
    "AGENTS_DIRECTORY": _HERE,
    "DEFAULT_AGENT": "taped",
    "ENABLE_CALL_RECORDING": "true",
}

"""Secrets by name, so that no file of an agent has one in it: `secret:ORDERS_TOKEN`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from audiosocket_agent.config import DEFAULT_FILE
from audiosocket_agent.settings import settings_list
from audiosocket_agent.tables.table import Table

REFERENCE: Final = r"secret:([A-Za-z0-9_-]{1,64})"
MAX_SECRET_BYTES: Final = 8 * 1024

_OURS: Final = frozenset(
    {"GOOGLE_API_KEY", *(setting.variable for setting in settings_list() if setting.secret)}
)


class Secrets:
    """What the environment has, else systemd's credentials, where ORDERS_TOKEN may be the file
    orders-token; a command that is run by hand reads them where systemd takes them from. The service's
    own are for nobody else."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def find(self, name: str) -> str | None:
        """The secret; None where there is none that can stand in a header."""
        if _variable(name) in _OURS:
            return None
        text = self._environment.get(name) or self._credential(name)
        return text if text and text.isprintable() and text.isascii() else None

    def read(self, table: Table, key: str, text: str) -> dict[str, str]:
        """Those that a text of a table refers to; that one is missing is noted."""
        found = {}
        for name in names(text):
            secret = self.find(name)
            if secret is None:
                what = f"there is no secret {name}, in the environment or among the credentials"
                table.wrong(key, what)
            else:
                found[name] = secret
        return found

    def _credential(self, name: str) -> str:
        directory = self._environment.get("CREDENTIALS_DIRECTORY", DEFAULT_FILE.parent)
        try:
            for path in sorted(Path(directory).iterdir()):
                if _variable(path.name) == _variable(name):
                    with path.open("rb") as file:
                        return file.read(MAX_SECRET_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError):
            pass  # it is missing, then, and said to be
        return ""


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def names(text: str) -> list[str]:
    """Those that a text refers to."""
    return re.findall(REFERENCE, text)

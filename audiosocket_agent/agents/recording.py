"""Whether the calls of an agent may be recorded, and how a caller learns of it.

[recording]
consent = "notice"
notice = "This call is recorded."
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from audiosocket_agent.agents.languages import read_texts
from audiosocket_agent.tables.table import Table

_KEYS: Final = ("consent", "notice")
_CONSENTS: Final = ("notice", "dialplan")


@dataclass(frozen=True, slots=True)
class Recording:
    """Calls are recorded, where the service records any."""

    consent: Literal["notice", "dialplan"]
    """Who tells the caller: the agent, before anything else, or the dialplan has."""
    notices: Mapping[str, str] = field(default_factory=dict)
    """What the agent says of it, by language; "" stands for all others."""


def read_recording(top: Table, languages: Sequence[str]) -> Recording | None:
    """None: calls are not recorded."""
    if top.get("recording", dict) is None:
        return None
    table = Table(top.values["recording"], top.mistakes, (*top.place, "recording"))
    table.only(_KEYS)
    consent = table.get("consent", str)
    if "consent" not in table.values:
        table.wrong("consent", f"missing: it is one of {', '.join(_CONSENTS)}")
    elif consent is not None:
        table.one_of("consent", consent, _CONSENTS)
    notices = read_texts(table, "notice", languages) or {}
    if consent == "dialplan":
        if "notice" in table.values:
            table.wrong("notice", "means nothing where the dialplan has told the caller")
        return Recording("dialplan")
    if consent == "notice" and "notice" not in table.values:
        table.wrong("notice", "missing: it is what the agent says of the recording")
    if not all(text.strip() for text in notices.values()):
        table.wrong("notice", "is empty")
    return Recording("notice", notices)

"""How Live models differ, as far as a call is concerned.

Source: the model pages of the Live API documentation and field reports, November 2026. A new model is a
new row; one that is not listed is taken for the newest.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LiveModel:
    """One row."""

    text_by_realtime_input: bool = False
    """User text goes in by `realtime_input.text`; else as a turn of `client_content`."""
    notes_in_history: bool = True
    """`client_content` without `turn_complete` is taken in mid-session."""
    tool_behavior: bool = True
    """A tool says whether it blocks; where it can, BLOCKING must be said, as it is not the default."""
    async_tools: bool = False
    """A tool may be declared NON_BLOCKING, and the model waits for what comes of it. The models of
    2.5 can, too, but guess the result meanwhile."""
    thinking_budget: int | None = None
    """To be sent where it is not None; some models refuse the field itself."""


NEWEST: Final = LiveModel(async_tools=True)
_BY_PREFIX: Final = {
    "gemini-3.8-live": NEWEST,
    "gemini-3.1-flash-live": LiveModel(
        text_by_realtime_input=True, notes_in_history=False, tool_behavior=False
    ),
    "gemini-2.5-flash-native-audio": LiveModel(thinking_budget=0),
    "gemini-live-2.5-flash-native-audio": LiveModel(thinking_budget=0),
}


def live_model(name: str) -> LiveModel:
    """The row of a model, by the longest prefix of its name (without `models/`)."""
    bare = name.rpartition("/")[2]
    known = [prefix for prefix in _BY_PREFIX if bare.startswith(prefix)]
    return _BY_PREFIX[max(known, key=len)] if known else NEWEST

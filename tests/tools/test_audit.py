"""What remains of a use: its key, and what may be seen of its arguments."""

import math
from datetime import date

from audiosocket_agent.tools.audit import MAX_SHOWN_CHARS, canonical, key_of, masked


def test_a_key_is_that_of_a_call_a_turn_a_tool_and_its_arguments() -> None:
    arguments = canonical({"b": 1, "a": date(2026, 11, 21)})
    assert arguments == canonical({"a": date(2026, 11, 21), "b": 1})
    key = key_of("call", 1, "tool", arguments)
    assert key == key_of("call", 1, "tool", arguments)
    others = {
        key_of("call2", 1, "tool", arguments),
        key_of("call", 2, "tool", arguments),
        key_of("call", 1, "tool2", arguments),
        key_of("call", 1, "tool", "{}"),
        key_of("call", 11, "tool", arguments),
    }
    assert len(others - {key}) == 5
    assert "2026" not in key


def test_secrets_and_what_has_no_name_are_masked() -> None:
    shown = masked({"pin": "4711", "day": "x", "4111": 1}, ["day", "pin", "none"], ["pin"])
    assert shown == {"day": "x", "pin": "********", "?": "********"}


def test_what_is_shown_is_json_and_not_too_long() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    shown = masked({"a": "x" * 9_000, "b": math.nan, "c": deep, "d": [1, {"e": None}]}, "abcd", ())
    assert len(shown["a"]) == MAX_SHOWN_CHARS + 1
    assert (shown["b"], shown["c"], shown["d"]) == ("NaN", "…", [1, {"e": None}])

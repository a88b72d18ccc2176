"""What is sent to others, with holes in it."""

from datetime import date
from typing import Any

import pytest

from audiosocket_agent.tools.template import Template, as_text, holes

VALUES = {"n": 7, "day": date(2026, 11, 21), "sure": False, "many": [1, 2], "call.id": "c-1"}


@pytest.mark.parametrize(
    ("tree", "filled"),
    [
        ("{n}", 7),
        ("{day}", "2026-11-21"),
        ("{many}", [1, 2]),
        ("{n} of {many}, {sure}, {none}.", "7 of 1,2, false, ."),
        ("secret:KEY and {call.id}", "s3cr3t and c-1"),
        ("{}{{n}} {n", "{}{7} {n"),
        (
            {"a": "{n}", "b": "{none}", "c": {"d": ["{none}", "{sure}"]}},
            {"a": 7, "c": {"d": [False]}},
        ),
        ({"a": 1.5, "b": True, "c": date(2026, 1, 1)}, {"a": 1.5, "b": True, "c": "2026-01-01"}),
    ],
)
def test_holes_are_filled(tree: Any, filled: Any) -> None:
    assert Template(tree, {"KEY": "s3cr3t"}).fill(VALUES) == filled


def test_what_fills_a_hole_is_not_looked_at_again() -> None:
    sly = {"a": "{b} secret:KEY", "b": "never"}
    for tree, filled in (("{a}", "{b} secret:KEY"), ("<{a}>", "<{b} secret:KEY>")):
        assert Template(tree, {"KEY": "s3cr3t"}).fill(sly) == filled


def test_the_holes_of_a_tree_are_known() -> None:
    assert list(holes({"a": ["{x}", {"b": "{call.id} {y}"}], "{key}": 1})) == ["x", "call.id", "y"]


def test_values_in_the_middle_of_a_text() -> None:
    assert [as_text(value) for value in (True, 1.0, "a", [date(2026, 1, 1), False])] == [
        "true",
        "1.0",
        "a",
        "2026-01-01,false",
    ]

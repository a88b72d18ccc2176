"""Python functions, as a model is told of them and uses them."""

from collections.abc import Awaitable, Mapping
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from audiosocket_agent.tools.function import from_function, tool
from audiosocket_agent.tools.registry import CallControl, Tool
from audiosocket_agent.tools.schema import SECRET
from tests.tools.control import Control


@tool(timeout_s=5, slow=True, max_uses=3)
async def book(
    call: CallControl,
    day: date,
    table: Annotated[Literal["inside", "outside"], "Where to sit."],
    guests: Annotated[int, Field(ge=1, le=8, description="How many come.")] = 2,
    pin: Annotated[str | None, SECRET] = None,
) -> dict[str, Any]:
    """Book a table
    for the caller.

    Nobody but the author needs to know the rest.

    Args:
        day (date): The evening,
            not the hour.
        table: Inside or outside.

    Returns:
        day: nothing of an argument's
    """
    return {"booked": f"{day} {table} {guests} {pin}", "key": call.key}


async def used(of: Tool, **arguments: Any) -> Mapping[str, Any]:
    assert of.arguments is not None
    result = of.run(Control(), of.arguments.check(arguments))
    return await result if isinstance(result, Awaitable) else result


def test_the_model_is_told_what_stands_in_the_signature_and_the_docstring() -> None:
    assert (book.spec.name, book.spec.description) == ("book", "Book a table for the caller.")
    assert book.spec.slow
    assert (book.timeout_s, book.max_uses) == (5, 3)
    assert book.spec.parameters == {
        "type": "object",
        "properties": {
            "day": {
                "type": "string",
                "description": "The evening, not the hour. A day, as 2026-11-21.",
            },
            "table": {
                "type": "string",
                "enum": ["inside", "outside"],
                "description": "Inside or outside.",
            },
            "guests": {
                "type": "integer",
                "minimum": 1,
                "maximum": 8,
                "description": "How many come.",
            },
            "pin": {"type": "string"},
        },
        "required": ["day", "table"],
    }
    assert book.arguments is not None
    assert book.arguments.secret == {"pin"}


async def test_it_gets_its_arguments_as_their_types_and_its_defaults_where_there_are_none() -> None:
    result = await used(book, day="2026-11-21", table="inside")
    assert result == {"booked": "2026-11-21 inside 2 None", "key": "key-1"}


async def test_what_may_be_none_is_none_where_it_is_left_out_and_has_no_default() -> None:
    async def seats(call: CallControl, guests: int | None, day: date | None = None) -> str:
        """Say how many seats are free."""
        return f"{guests} {day}"

    assert await used(from_function(seats)) == {"output": "None None"}
    assert await used(from_function(seats), guests="3") == {"output": "3 None"}


async def test_what_it_returns_that_is_no_mapping_is_its_output() -> None:
    def hours() -> list[str]:
        """Say when we are open."""
        return ["nine", "six"]

    async def name() -> str:
        """Say who we are."""
        return "Acme"

    assert await used(from_function(hours)) == {"output": ["nine", "six"]}
    assert await used(from_function(name)) == {"output": "Acme"}


def test_one_without_arguments_is_told_as_that() -> None:
    def hours() -> str:
        """Say when we are open."""
        return ""

    assert from_function(hours).spec.parameters == {"type": "object", "properties": {}}


def test_what_no_model_could_be_told_of_is_no_tool() -> None:
    def silent() -> None:
        pass

    def only_arguments(x: int) -> None:
        """Args:
        x: It.
        """

    def untyped(x) -> None:  # type: ignore[no-untyped-def]
        """Do."""

    def many(*x: int) -> None:
        """Do."""

    def other(x: int) -> None:
        """Do.

        Args:
            y: Not there.
        """

    def strange(x: object) -> None:
        """Do."""

    def elsewhere(x: int = Field(ge=1, description="It.")) -> None:
        """Do."""

    for function, what in (
        (silent, "silent has no docstring"),
        (only_arguments, "only_arguments has no docstring"),
        (untyped, "x has no type"),
        (many, r"\*x: int is nothing a model can name"),
        (other, "other has no argument y"),
        (strange, "x: its type is none of"),
        (elsewhere, r"elsewhere: the Field of x belongs into Annotated\[...\]"),
        (lambda: None, "'<lambda>' is no name"),
    ):
        with pytest.raises(TypeError, match=what):
            from_function(function)

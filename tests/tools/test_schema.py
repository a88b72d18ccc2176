"""What a model may send to a tool, and what it is told where it sends something else."""

from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from audiosocket_agent.tools.schema import (
    MAX_MISTAKE_CHARS,
    MAX_MISTAKES,
    Argument,
    ArgumentError,
    Arguments,
)


class Area(Enum):
    NOIDA = "noida"
    GHAZIABAD = "ghaziabad"


class Phase(Enum):
    ONE = 1
    THREE = 3


def one(kind: Any, **rest: Any) -> Arguments:
    return Arguments({"x": Argument(kind, **rest)})


def told(kind: Any) -> dict[str, Any]:
    """What the model is told of an argument of this type."""
    properties = one(kind).schema["properties"]
    found: dict[str, Any] = properties["x"]
    return found


def refused(arguments: Arguments, sent: dict[str, Any]) -> str:
    with pytest.raises(ArgumentError) as error:
        arguments.check(sent)
    return str(error.value)


# -- what it is told -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (str | None, {"type": "string"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Literal[1, 2], {"type": "integer", "description": "One of: 1, 2."}),
        (Area, {"type": "string", "enum": ["noida", "ghaziabad"]}),
        (Phase, {"type": "integer", "description": "One of: 1, 3."}),
        (date, {"type": "string", "description": "A day, as 2026-11-21."}),
        (Annotated[int, Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        (Annotated[int, Field(gt=0)], {"type": "integer", "description": "More than 0."}),
        (Annotated[str, Field(pattern="^a$")], {"type": "string", "pattern": "^a$"}),
        (Annotated[str, Field(max_length=9)], {"type": "string", "maxLength": 9}),
        (list[Area], {"type": "array", "maxItems": 20, "items": told(Area)}),
        (
            Annotated[list[str], Field(max_length=30)],
            {"type": "array", "maxItems": 30, "items": {"type": "string"}},
        ),
    ],
)
def test_a_type_is_told_in_what_gemini_has_of_json_schema(kind: Any, schema: Any) -> None:
    assert told(kind) == schema
    types.Schema.model_validate(schema)


def test_a_description_and_what_must_be_sent_are_told() -> None:
    arguments = Arguments(
        {
            "day": Argument(date, "When."),
            "note": Argument(str, required=False),
        }
    )
    assert arguments.schema["properties"]["day"]["description"] == "When. A day, as 2026-11-21."
    assert arguments.schema["required"] == ["day"]
    assert "required" not in Arguments({}).schema


@pytest.mark.parametrize("kind", [dict[str, int], int | str, bytes, Any, list, tuple[int, ...]])
def test_what_no_caller_can_say_is_no_type(kind: Any) -> None:
    with pytest.raises(TypeError, match="x: its type is none of str, int"):
        one(kind)


def test_limits_that_make_no_sense_are_said_to() -> None:
    with pytest.raises(ValueError, match=r"x: .*unclosed"):
        one(Annotated[str, Field(pattern="[")])


# -- what it sends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sent", "taken"),
    [
        (str, " 4711 ", "4711"),
        (int, 4.0, 4),  # JSON has but one kind of number
        (int, "4", 4),
        (float, 4, 4.0),
        (bool, "yes", True),
        (date, "2026-11-21", date(2026, 11, 21)),
        (time, "18:30", time(18, 30)),
        (datetime, "2026-11-21T18:30", datetime(2026, 11, 21, 18, 30)),  # noqa: DTZ001 - as it was said
        (datetime, "2026-11-21 18:30Z", datetime(2026, 11, 21, 18, 30, tzinfo=UTC)),
        (Area, "noida", Area.NOIDA),
        (list[Phase], [1, 3], [Phase.ONE, Phase.THREE]),
        (Annotated[str, Field(max_length=1000)], "x" * 900, "x" * 900),
    ],
)
def test_what_fits_is_taken_as_its_type(kind: Any, sent: Any, taken: Any) -> None:
    assert one(kind).check({"x": sent}) == {"x": taken}


@pytest.mark.parametrize(
    ("kind", "sent", "sentence"),
    [
        (str, 4711, "x should be a valid string"),  # the zeros before it would be gone
        (str, "x" * 501, "x should have at most 500 characters"),
        (str, "\ud800", "x should be a valid string, unable to parse"),
        (str, {"$ne": ""}, "x should be a valid string"),
        (int, 4.5, "x should be a valid integer, got a number with a fractional part"),
        (int, True, "x should be a number"),
        (int, 10**400, "x should be a smaller number"),
        (int, "9" * 5000, "x unable to parse"),
        (float, float("inf"), "x should be a finite number"),
        (float, "nan", "x should be a finite number"),
        (date, 0, "x should be text as in 2026-11-21"),
        (date, "tomorrow", "x should be text as in 2026-11-21"),
        (date, "86400", "x should be text as in 2026-11-21"),
        (date, "2026-02-30", "x should be a valid date"),
        (time, "3600", "x should be text as in 18:30"),
        (datetime, 1900000000, "x should be text as in 2026-11-21T18:30"),
        (datetime, "1900000000", "x should be text as in 2026-11-21T18:30"),
        (datetime, "2026-11-21", "x should be text as in 2026-11-21T18:30"),
        (datetime, "2026-11-21T25:00", "x should be a valid datetime"),
        (Area, "Noida", "x should be 'noida' or 'ghaziabad'"),
        (list[Area], ["noida", "delhi"], "x, entry 2, should be 'noida' or 'ghaziabad'"),
        (list[str], ["a"] * 21, "x should have at most 20 items"),
        (list[str], "a", "x should be a valid list"),
        (Annotated[int, Field(gt=0)], 0, "x should be greater than 0"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(kind: Any, sent: Any, sentence: str) -> None:
    assert refused(one(kind), {"x": sent}).startswith(sentence)


@pytest.mark.parametrize("nothing", [{}, {"x": None}, {"x": ""}, {"x": "  "}])
def test_what_is_empty_is_not_there(nothing: dict[str, Any]) -> None:
    assert refused(one(str), nothing) == "x is missing"
    assert one(str, required=False).check(nothing) == {}


def test_all_that_is_wrong_is_said_at_once_but_not_without_end() -> None:
    arguments = Arguments({"day": Argument(date), "of": Argument(int), "by": Argument(str)})
    assert refused(arguments, {"day": "x", "of": "y", "with": 1}) == (
        "there is no argument 'with'; day should be text as in 2026-11-21; "
        "of should be a valid integer, unable to parse string as an integer; by is missing"
    )
    many = refused(arguments, {"k" * 9_999 + str(n): n for n in range(99)})
    assert many.count("there is no argument") == MAX_MISTAKES
    assert len(many) < MAX_MISTAKES * (MAX_MISTAKE_CHARS + 50)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["text", "number", "day", "areas", "other"]), _JSON))
def test_whatever_is_sent_is_taken_or_refused_in_words(sent: dict[str, Any]) -> None:
    arguments = Arguments(
        {
            "text": Argument(str),
            "number": Argument(float, required=False),
            "day": Argument(date, required=False),
            "areas": Argument(list[Area], required=False),
        }
    )
    try:
        taken = arguments.check(sent)
    except ArgumentError as error:
        sentence = str(error)
    else:
        sentence = "taken"
        assert taken["text"]
        assert taken.keys() <= sent.keys() - {"other"}
    assert sentence
    assert "\n" not in sentence

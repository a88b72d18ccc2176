"""A stranger's schema: what of it a model is told, and what is sent."""

from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.tools.mcp_schema import MAX_SCHEMA_CHARS, UnfitError, read_schema
from audiosocket_agent.tools.schema import ArgumentError


def of(schema: Any, **more: Any) -> dict[str, Any]:
    """The schema of a tool with one argument, `a`."""
    return {"type": "object", "properties": {"a": schema}, "required": ["a"], **more}


def told(schema: Any, **more: Any) -> Any:
    return read_schema(of(schema, **more)).schema["properties"]["a"]


STRING = {"type": "string"}
DEFINITIONS = {
    "Colour": {"type": "string", "enum": ["red", "blue"]},
    "Loop": {"$ref": "#/$defs/Loop"},
    "Address": {"type": "object", "properties": {"street": STRING}},
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (STRING, STRING),
        ({}, STRING),  # whatever it may be, it may be a text
        ({"type": ["null", "string"]}, STRING),
        ({"anyOf": [STRING, {"type": "null"}], "description": "x"}, {**STRING, "description": "x"}),
        ({"anyOf": [{"type": "object"}, {"type": "integer"}]}, {"type": "integer"}),
        ({"type": "integer", "minimum": 1, "maximum": 9}, None),
        ({"type": "number", "minimum": "x", "maximum": 1e400}, {"type": "number"}),
        ({"type": "number", "exclusiveMinimum": 0}, None),
        ({"type": "boolean", "default": True}, {"type": "boolean"}),
        ({"type": "string", "maxLength": 20}, None),
        ({"type": "string", "maxLength": -1}, STRING),
        ({"type": "string", "format": "date"}, {**STRING, "description": "As date."}),
        ({"type": "string", "format": "evil words"}, STRING),
        ({"$ref": "#/$defs/Colour"}, {**STRING, "enum": ["red", "blue"]}),
        ({"allOf": [{"$ref": "#/$defs/Colour"}]}, {**STRING, "enum": ["red", "blue"]}),
        ({"const": "red"}, {**STRING, "enum": ["red"]}),
        ({"enum": ["red", None, "b\x1b[2Jlue"]}, {**STRING, "enum": ["red"]}),
        ({"enum": [1, 2]}, {"type": "integer", "description": "One of: 1, 2."}),
        ({"type": "array", "items": {"$ref": "#/$defs/Colour"}, "maxItems": 3}, None),
        ({"type": "string", "pattern": "^a$"}, {**STRING, "description": "Its pattern: ^a$"}),
        ({"type": "string", "pattern": "(?=a)b"}, {**STRING, "description": "Its pattern: (?=a)b"}),
        ({"type": "string", "pattern": "a\n"}, STRING),
    ],
)
def test_what_a_model_is_told(schema: Any, expected: Any) -> None:
    found = told(schema, **{"$defs": DEFINITIONS})
    if expected is not None:
        assert found == expected
    types.Schema.model_validate(found)


def test_limits_are_told() -> None:
    assert told({"type": "integer", "minimum": 1, "maximum": 9}) == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
    }
    assert told({"type": "number", "exclusiveMinimum": 0})["description"] == "More than 0."
    items = {"type": "array", "items": {"enum": ["red"]}, "maxItems": 3}
    assert told(items) == {
        "type": "array",
        "items": {**STRING, "enum": ["red"]},
        "maxItems": 3,
    }
    assert told({"type": "array", "items": STRING, "maxItems": 10**6})["maxItems"] == 20


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object"}, "a: is of no type that a caller can say"),
        ({"$ref": "#/$defs/Address"}, "a: is of no type that a caller can say"),
        ({"type": "array", "items": {"type": "array"}}, "a: is a list of lists"),
        ({"type": "null"}, "a: is of no type that a caller can say"),
        ({"type": {}}, "a: is of no type that a caller can say"),
        ({"$ref": "#/$defs/Loop"}, "a: is too deep"),
        ({"$ref": "https://evil.example.com/schema"}, "a: has no schema"),
        ({"enum": ["x" * 1000]}, "a: has no choices"),
        ({"enum": list(range(101))}, "a: has no choices, more than 100"),
        ({"enum": []}, "a: has no choices"),
        (True, "a: has no schema"),
        (None, "a: has no schema"),
    ],
)
def test_what_no_model_can_be_told(schema: Any, why: str) -> None:
    with pytest.raises(UnfitError) as error:
        read_schema(of(schema, **{"$defs": DEFINITIONS}))
    assert str(error.value).startswith(why)
    optional = read_schema({"properties": {"a": schema, "b": STRING}, "$defs": DEFINITIONS})
    assert optional.names == ("b",)


def test_arguments_that_are_too_many_are_left_out() -> None:
    names = [f"a{number}" for number in range(30)]
    schema = {"properties": dict.fromkeys(names, STRING)}
    assert read_schema({**schema, "required": ["a29"]}).names == (*names[:19], "a29")
    with pytest.raises(UnfitError, match="requires more than 20"):
        read_schema({**schema, "required": names})
    choices = {"enum": ["x" * 90 + str(number) for number in range(100)]}
    with pytest.raises(UnfitError, match=f"more than {MAX_SCHEMA_CHARS // 1024} KiB"):
        read_schema(of(choices))


def test_names_that_are_none() -> None:
    with pytest.raises(UnfitError, match="a b: is no name"):
        read_schema({"properties": {"a b": STRING}, "required": ["a b"]})
    with pytest.raises(UnfitError, match="b: has no schema"):
        read_schema(of(STRING, required=["b"]))
    assert read_schema({"properties": {"a\x1b": STRING, "b": STRING}}).names == ("b",)


def test_what_is_sent_fits_what_was_asked_for() -> None:
    arguments = read_schema(
        {
            "properties": {
                "number": {"type": "string", "pattern": "^[0-9]{6}$"},
                "floors": {"type": "array", "items": {"type": "integer", "maximum": 9}},
                "colour": {"enum": ["red", "blue"]},
            },
            "required": ["number"],
        }
    )
    good = {"number": "471100", "floors": [1, 2], "colour": "red"}
    assert arguments.check(good) == good
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({}, "number is missing"),
        ({"number": "47"}, "number should match the pattern"),
        ({"number": "471100", "floors": [10]}, "floors, entry 1, should be less than or equal"),
        ({"number": "471100", "colour": "green"}, "colour should be 'red' or 'blue'"),
        ({"number": "471100", "x": 1}, "there is no argument 'x'"),
    ]
    for bad, why in mistakes:
        with pytest.raises(ArgumentError, match=why):
            arguments.check(bad)


_LEAVES = st.sampled_from(
    ["string", "integer", "array", "null", "#/$defs/a", "^[0-9]+$", "(" * 50, "a" * 9999]
) | (st.none() | st.booleans() | st.integers() | st.floats() | st.text())
_KEYS = st.sampled_from(
    [
        *("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "items", "pattern", "format"),
        *("minimum", "maximum", "maxLength", "maxItems", "description", "exclusiveMinimum"),
    ]
)
_SCHEMA = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(["a", "b", "c d"])


@given(_SCHEMA, st.dictionaries(_NAMES, _SCHEMA), _SCHEMA | st.lists(_NAMES))
def test_any_json_is_arguments_or_unfit(definition: Any, properties: Any, required: Any) -> None:
    schema = {"properties": properties, "required": required, "$defs": {"a": definition}}
    try:
        arguments = read_schema(schema)
    except UnfitError as error:
        said = str(error)
    else:
        said = ""
        types.Schema.model_validate(arguments.schema)
    assert len(said) < 300

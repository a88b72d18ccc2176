"""What a server's tool takes, in the part of JSON schema that a model is told and a caller can say.

The schema is a stranger's and any JSON. It is made narrower, never wider: what is sent fits what was
asked for, and a rule that is left out here is still the server's to check. An optional argument that
cannot be told is left out; one that is required makes its tool unfit.
"""

import json
from collections.abc import Callable, Mapping
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from audiosocket_agent.tools.argument_table import MAX_ARGUMENTS, MAX_CHARS
from audiosocket_agent.tools.function import NAME
from audiosocket_agent.tools.mcp_server import one_line
from audiosocket_agent.tools.schema import MAX_INT, MAX_ITEMS, MAX_TEXT_CHARS, Argument, Arguments

MAX_DESCRIPTION_CHARS: Final = 1000
"""Of a tool; of an argument a third."""
MAX_CHOICES: Final = 100
MAX_CHOICE_CHARS: Final = 100
MAX_SCHEMA_CHARS: Final = 8 * 1024
"""Of all that is told of one tool's arguments: it is sent, and paid for, in every call."""

_MAX_DEPTH: Final = 8
_MAX_PATTERN_CHARS: Final = 200
_FORMATS: Final = ("date", "time", "date-time", "email", "uri", "uuid")

Schema = Mapping[str, Any]


class UnfitError(ValueError):
    """No model can be told of it. The text is for an operator."""


def read_schema(schema: Schema) -> Arguments:
    """The arguments. Raises UnfitError."""
    definitions = {**_mapping(schema, "definitions"), **_mapping(schema, "$defs")}
    properties = _mapping(schema, "properties")
    given = schema.get("required")
    required = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
    arguments: dict[str, Argument] = {}
    for name in dict.fromkeys([*required, *properties]):
        if len(arguments) == MAX_ARGUMENTS and name not in required:
            break
        try:
            arguments[name] = _argument(name, properties, definitions, name in required)
        except UnfitError as error:
            if name in required:
                raise UnfitError(f"{one_line(name, 64)}: {error}") from None
    if len(arguments) > MAX_ARGUMENTS:
        raise UnfitError(f"it requires more than {MAX_ARGUMENTS} arguments")
    ordered = [name for name in properties if name in arguments]  # as the server has them
    read = Arguments({name: arguments[name] for name in ordered})
    if len(json.dumps(read.schema)) > MAX_SCHEMA_CHARS:
        raise UnfitError(f"its schema has more than {MAX_SCHEMA_CHARS // 1024} KiB")
    return read


def _argument(name: str, properties: Schema, definitions: Schema, required: bool) -> Argument:
    if not NAME.fullmatch(name):
        raise UnfitError("is no name for an argument")
    schema = _resolved(properties.get(name), definitions, _MAX_DEPTH)
    kind = _kind(schema, definitions, _MAX_DEPTH)
    return Argument(kind, _description(schema), required)


# ---- types ---------------------------------------------------------------------------------------


def _kind(schema: Any, definitions: Schema, depth: int) -> Any:
    """A type whose values all fit the schema, as far as one can be told."""
    schema = _resolved(schema, definitions, depth)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return _first(schema[key], lambda inner: _kind(inner, definitions, depth - 1))
    if "const" in schema or "enum" in schema:
        return _choices([schema["const"]] if "const" in schema else schema["enum"])
    named = schema.get("type", "string")  # what may be anything may be a text
    if isinstance(named, list):
        return _first(named, lambda one: _plain({**schema, "type": one}, definitions, depth))
    return _plain(schema | {"type": named}, definitions, depth)


def _first(options: list[Any], kind: Callable[[Any], Any]) -> Any:
    """The first that can be told: whoever sends it is right."""
    for option in options[:MAX_CHOICES]:
        try:
            return kind(option)
        except UnfitError:
            continue
    raise UnfitError("is of no type that a caller can say")


def _plain(schema: Schema, definitions: Schema, depth: int) -> Any:
    match schema["type"]:
        case "string":
            return _text(schema)
        case "boolean":
            return bool
        case "integer":
            return Annotated[int, _between(schema, whole=True)]
        case "number":
            return Annotated[float, _between(schema, whole=False)]
        case "array":
            items = _kind(schema.get("items", {}), definitions, depth - 1)
            if isinstance(getattr(items, "__origin__", None), GenericAlias):
                raise UnfitError("is a list of lists")
            most = _size(schema, "maxItems", MAX_ITEMS)
            listed: Any = GenericAlias(list, (items,))
            return Annotated[listed, Field(max_length=min(most, MAX_ITEMS))]
    raise UnfitError("is of no type that a caller can say")


def _resolved(schema: Any, definitions: Schema, depth: int) -> dict[str, Any]:
    """The schema, without a reference or a wrapping of one."""
    if depth <= 0:
        raise UnfitError("is too deep")
    if not isinstance(schema, Mapping):
        raise UnfitError("has no schema")
    inner: Any = None
    if isinstance(schema.get("$ref"), str):
        root, _, name = schema["$ref"].rpartition("/")
        inner = definitions.get(name) if root in ("#/$defs", "#/definitions") else None
    elif isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
        inner = schema["allOf"][0]
    elif not {"$ref", "allOf"} & schema.keys():
        return dict(schema)
    rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
    return _resolved(inner, definitions, depth - 1) | rest


def _choices(values: Any) -> Any:
    fitting = [
        value
        for value in (values if isinstance(values, list) else [])
        if (type(value) is str and value.isprintable() and 0 < len(value) <= MAX_CHOICE_CHARS)
        or (type(value) is int and abs(value) <= MAX_INT)
    ]
    kinds = {type(value) for value in fitting}
    if len(kinds) != 1 or len(fitting) > MAX_CHOICES:
        raise UnfitError(f"has no choices, more than {MAX_CHOICES}, or some that nobody can say")
    return Literal[tuple(dict.fromkeys(fitting))]


def _text(schema: Schema) -> Any:
    most = min(_size(schema, "maxLength", MAX_TEXT_CHARS), MAX_CHARS)
    return Annotated[str, Field(max_length=most), *_pattern(schema)]


def _pattern(schema: Schema) -> list[AfterValidator]:
    """A pattern is checked, and told in words: what a model makes of a stranger's is not known."""
    pattern = _told_pattern(schema)
    if not pattern:
        return []
    try:
        adapter: TypeAdapter[str] = TypeAdapter(Annotated[str, Field(pattern=pattern)])
    except SchemaError:  # of another dialect than pydantic's, which takes linear time
        return []

    def matches(text: str) -> str:
        try:
            return adapter.validate_python(text)
        except ValidationError:
            raise ValueError(f"String should match the pattern {pattern}") from None

    return [AfterValidator(matches)]


def _between(schema: Schema, *, whole: bool) -> Any:
    """Limits that are numbers; together they may leave nothing, and nothing is sent then."""
    limits = {
        name: schema[key]
        for key, name in _LIMITS.items()
        if type(schema.get(key)) in ((int,) if whole else (int, float))
        and abs(schema[key]) <= MAX_INT
    }
    return Field(**limits)


_LIMITS: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
}


def _size(schema: Schema, key: str, default: int) -> int:
    value = schema.get(key)
    return value if type(value) is int and value > 0 else default


# ---- words ---------------------------------------------------------------------------------------


def _description(schema: Schema) -> str:
    text = schema.get("description")
    words = [one_line(text, MAX_DESCRIPTION_CHARS // 3)] if isinstance(text, str) else []
    if schema.get("format") in _FORMATS:
        words.append(f"As {schema['format']}.")
    if pattern := _told_pattern(schema):
        words.append(f"Its pattern: {pattern}")
    return " ".join(word for word in words if word)


def _told_pattern(schema: Schema) -> str:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and pattern.isprintable() and len(pattern) <= _MAX_PATTERN_CHARS:
        return pattern
    return ""


def _mapping(schema: Schema, key: str) -> Schema:
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}

"""What a model may send to a tool: told to it as a schema, and checked when it comes.

The types are those that a caller can say: text, numbers, yes or no, one of a few words, a day or a
time, and lists of these. Whatever a model sends beyond what was declared is refused, in a sentence
that it can act upon.
"""

import functools
import operator
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import SchemaError

MAX_TEXT_CHARS: Final = 500
"""Of one text, where its tool says nothing else: two minutes of speech are some 2000."""
MAX_ITEMS: Final = 20
"""Of one list, where its tool says nothing else."""
MAX_INT: Final = 2**53
"""Beyond it JSON's numbers are not exact."""
MAX_MISTAKES: Final = 5
MAX_MISTAKE_CHARS: Final = 200
"""A model is told no more than this of one mistake, nor of more than so many."""

REQUIRED: Final = object()


class Secret:
    """Marks an argument nobody may see afterwards: `Annotated[str, SECRET, "the PIN"]`."""


SECRET: Final = Secret()


class ArgumentError(ValueError):
    """Arguments that a tool does not take. The text is for the model."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `type` is a Python type as it would stand in a signature, its limits in Annotated
    as pydantic has them."""

    type: Any
    description: str = ""
    required: bool = True
    secret: bool = False


class Arguments:
    """The arguments of one tool. Raises TypeError for a type no model can be asked for, ValueError
    for limits that make no sense."""

    def __init__(self, arguments: Mapping[str, Argument]) -> None:
        self.names = tuple(arguments)
        self.secret = frozenset(name for name, each in arguments.items() if each.secret)
        self.required = frozenset(name for name, each in arguments.items() if each.required)
        self._adapters = {name: _adapter(name, each.type) for name, each in arguments.items()}
        self.schema: Mapping[str, Any] = {
            "type": "object",
            "properties": {
                name: _told(adapter.json_schema(), arguments[name].description)
                for name, adapter in self._adapters.items()
            },
        }
        if self.required:
            required = [name for name in self.names if name in self.required]
            self.schema = {**self.schema, "required": required}

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, as their types have it, without those that were left out; null and
        empty text count as that. Raises ArgumentError."""
        mistakes = [
            f"there is no argument {_short(name)!r}" for name in given if name not in self._adapters
        ]
        checked = {}
        for name, adapter in self._adapters.items():
            value = given.get(name)
            if value is None or (isinstance(value, str) and not value.strip()):
                if name in self.required:
                    mistakes.append(f"{name} is missing")
                continue
            try:
                checked[name] = adapter.validate_python(value)
            except ValidationError as error:
                mistakes += _sentences(name, error)
        if mistakes:
            raise ArgumentError("; ".join(mistakes[:MAX_MISTAKES]))
        return checked


# ---- types ---------------------------------------------------------------------------------------


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The type without its None, and whether it had one."""
    if get_origin(annotation) is Annotated:
        base, *rest = get_args(annotation)
        found, optional = without_none(base)
        return Annotated[found, *rest], optional
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
    return functools.reduce(operator.or_, kinds), len(kinds) < len(get_args(annotation))


def _adapter(name: str, annotation: Any) -> TypeAdapter[Any]:
    config = ConfigDict(
        str_max_length=MAX_TEXT_CHARS, str_strip_whitespace=True, allow_inf_nan=False
    )
    try:
        return TypeAdapter(_bounded(name, without_none(annotation)[0]), config=config)
    except SchemaError as error:
        raise ValueError(f"{name}: {_last_line(error)}") from None


def _bounded(name: str, annotation: Any) -> Any:
    """The type with the limits it has where it says nothing else. Those it has come first: pydantic
    tells a schema no limit that stands behind a function."""
    kind, limits = annotation, []
    if get_origin(annotation) is Annotated:
        kind, *limits = get_args(annotation)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is list and inner:
        items: Any = types.GenericAlias(list, (_bounded(name, inner[0]),))
        return Annotated[items, Field(max_length=MAX_ITEMS), *limits]
    if kind in _LEAVES:
        extras = (*limits, *_LEAVES[kind])
        return Annotated[kind, *extras] if extras else kind
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return annotation
    known = ", ".join(leaf.__name__ for leaf in _LEAVES)
    raise TypeError(f"{name}: its type is none of {known}, Literal, Enum and list[...] of one")


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


def _exact(value: int) -> int:
    if abs(value) > MAX_INT:
        raise ValueError("Input should be a smaller number")
    return value


def _written(pattern: str, example: str) -> BeforeValidator:
    """Takes text that begins so: pydantic takes seconds since 1970, too, even as text."""
    begins = re.compile(pattern)

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not begins.match(value):
            raise ValueError(f"Input should be text as in {example}")
        return value

    return BeforeValidator(check)


_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


_LEAVES: Final[Mapping[Any, tuple[Any, ...]]] = {
    str: (),
    int: (BeforeValidator(_number), AfterValidator(_exact)),
    float: (BeforeValidator(_number),),
    bool: (),
    date: (_written(_DAY, "2026-11-21"),),
    time: (_written("[0-9]{2}:", "18:30"),),
    datetime: (_written(f"{_DAY}[Tt ]", "2026-11-21T18:30"),),
}

# ---- what a model is told ------------------------------------------------------------------------

_TAKEN: Final = ("type", "pattern", "minimum", "maximum", "minItems", "maxItems", "minLength")
_FORMATS: Final = {
    "date": "A day, as 2026-11-21.",
    "time": "A time of day, as 18:30.",
    "date-time": "A day and a time, as 2026-11-21T18:30.",
}


def _told(schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    """A schema in the part of JSON schema that Gemini has: no references, no format but date-time, and
    an enum only of texts."""
    definitions = schema.get("$defs", {})
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    told = {key: schema[key] for key in _TAKEN if key in schema}
    words = [
        description or schema.get("description", ""),
        _FORMATS.get(schema.get("format", ""), ""),
    ]
    if schema.get("maxLength", MAX_TEXT_CHARS) != MAX_TEXT_CHARS:
        told["maxLength"] = schema["maxLength"]
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    if values and schema.get("type") == "string":
        told["enum"] = list(values)
    elif values:
        words.append(f"One of: {', '.join(map(str, values))}.")
    if "items" in schema:
        told["items"] = _told({"$defs": definitions, **schema["items"]}, "")
    words += [
        f"{sign} {schema[key]}."
        for key, sign in (("exclusiveMinimum", "More than"), ("exclusiveMaximum", "Less than"))
        if key in schema
    ]
    if text := " ".join(word for word in words if word):
        told["description"] = text
    return told


# ---- mistakes ------------------------------------------------------------------------------------


def _sentences(name: str, error: ValidationError) -> list[str]:
    told = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = "".join(f", entry {int(at) + 1}," for at in item["loc"] if isinstance(at, int))
        what = item["msg"].removeprefix("Value error, ")
        for subject in ("Input ", "String ", "List ", "Value "):
            what = what.removeprefix(subject)
        told.append(_short(f"{name}{place} {what[:1].lower()}{what[1:]}"))
    return told


def _last_line(error: Exception) -> str:
    return _short(str(error).strip().splitlines()[-1].strip())


def _short(text: str) -> str:
    return text if len(text) <= MAX_MISTAKE_CHARS else f"{text[:MAX_MISTAKE_CHARS]}…"

"""What a model may be asked for, as an operator writes it.

    [webhooks.order_status.arguments]
    order = { description = "The number on the confirmation.", pattern = "[0-9]{6}" }
    day = { type = "date", required = false }
    pin = { type = "kept" }

What is `kept` are digits that collect_digits has kept: the model knows but a name for them.
"""

from datetime import date, datetime, time
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from audiosocket_agent.tables.table import Table
from audiosocket_agent.tools.function import NAME
from audiosocket_agent.tools.numbers import integer, limit, whole
from audiosocket_agent.tools.schema import MAX_TEXT_CHARS, Argument, Arguments

MAX_ARGUMENTS: Final = 20
MAX_CHARS: Final = 10_000

KEYS: Final = (
    *("type", "list", "description", "required", "secret"),
    *("choices", "pattern", "min", "max", "max_chars"),
)
_KEPT: Final = "kept"
_TYPES: Final = ("string", "integer", "number", "boolean", "date", "time", "datetime", _KEPT)
_PLAIN: Final = {"boolean": bool, "date": date, "time": time, "datetime": datetime}


def read_arguments(table: Table) -> tuple[Arguments, frozenset[str]]:
    """The arguments, and those that are names of what is kept."""
    arguments: dict[str, Argument] = {}
    kept: set[str] = set()
    if len(table.values) > MAX_ARGUMENTS:
        table.mistakes.note(table.place, f"are more than {MAX_ARGUMENTS}")
    for name in table.values:
        within = table.table(name)
        within.only(KEYS)
        if not NAME.fullmatch(name):
            table.wrong(name, "an argument's name is 1 to 64 of A-Z, a-z, 0-9 and _")
        argument = _argument(within)
        try:
            Arguments({name: argument})
        except ValueError as error:
            within.wrong("pattern", str(error))
            argument = Argument(str)
        arguments[name] = argument
        if within.values.get("type") == _KEPT:
            kept.add(name)
    return Arguments(arguments), frozenset(kept)


def _argument(table: Table) -> Argument:
    kind = table.get("type", str) or "string"
    table.one_of("type", kind, _TYPES)
    required = table.get("required", bool)
    words = table.get("description", str) or ""
    if kind == _KEPT:
        words = f"{words} The name that collect_digits has kept it under.".strip()
    type_ = _type(table, kind)
    if table.get("list", bool):
        type_ = GenericAlias(list, (type_,))
        if kind == _KEPT:
            table.wrong("list", f"means nothing for what is {_KEPT}")
    return Argument(
        type_,
        words,
        required=True if required is None else required,
        secret=table.get("secret", bool) or False,
    )


def _type(table: Table, kind: str) -> Any:
    choices = table.texts("choices")
    fitting = {
        "integer": ("min", "max"),
        "number": ("min", "max"),
        "string": ("choices", "pattern", "max_chars"),
    }
    for key in ("choices", "pattern", "max_chars", "min", "max"):
        if key in table.values and key not in fitting.get(kind, ()):
            table.wrong(key, f"means nothing for a {kind}")
    if choices:
        return Literal[choices]
    if kind == "integer":
        return Annotated[int, _between(table, integer(table, "min"), integer(table, "max"))]
    if kind == "number":
        return Annotated[float, _between(table, limit(table, "min"), limit(table, "max"))]
    if kind == "string":
        pattern = table.get("pattern", str)
        return Annotated[
            str,
            Field(
                pattern=None if pattern is None else f"^(?:{pattern})$",
                max_length=whole(table, "max_chars", 1, MAX_CHARS, MAX_TEXT_CHARS),
            ),
        ]
    return _PLAIN.get(kind, str)


def _between(table: Table, least: float | None, most: float | None) -> Any:
    if least is not None and most is not None and least > most:
        table.wrong("min", "is more than max")
    return Field(ge=least, le=most)

"""What the model knows from its tools, for whoever writes its lines in advance.

    {register_complaint.number}    the number in the last response of register_complaint
    {get_bill.bills.0.due}         further down, by name or by place

A value is looked for in the response, and in its `output`, which is where the SDK's convention has it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

Results = Mapping[str, Mapping[str, Any]]
"""The last response of each tool."""

_NAMED: Final = re.compile(r"\{(\w+)((?:\.\w+)+)\}")
_NOTHING: Final = object()


def fill(given: Any, results: Results) -> Any:
    """JSON with what is named in its texts filled in; a name nobody has answered to stays."""
    if isinstance(given, str):
        if (whole := _NAMED.fullmatch(given)) is not None:
            found = _find(whole, results)
            return given if found is _NOTHING else found
        return fill_text(given, results)
    if isinstance(given, Mapping):
        return {name: fill(value, results) for name, value in given.items()}
    if isinstance(given, list):
        return [fill(value, results) for value in given]
    return given


def fill_text(text: str, results: Results) -> str:
    """A text, and nothing but a text."""

    def value(match: re.Match[str]) -> str:
        found = _find(match, results)
        return match[0] if found is _NOTHING else str(found)

    return _NAMED.sub(value, text)


def _find(match: re.Match[str], results: Results) -> Any:
    response = results.get(match[1])
    if response is None:
        return _NOTHING
    path = match[2][1:].split(".")
    found = _walk(response, path)
    return _walk(response.get("output"), path) if found is _NOTHING else found


def _walk(value: Any, path: list[str]) -> Any:
    for name in path:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _NOTHING
    return value

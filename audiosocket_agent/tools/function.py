"""A Python function as a tool: what a model is told of it stands in its signature and docstring.

    @tool(timeout_s=5)
    async def order_status(call: CallControl, order: Annotated[str, Field(pattern="[0-9]{6}")]) -> str:
        \"\"\"Find out where an order is.

        Args:
            order: The number of six digits on the confirmation.
        \"\"\"

The first paragraph is the description. An argument's own stands under Args, or as text in its
Annotated. One argument may be annotated CallControl; the model is not told of it.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.registry import (
    AT_ONCE,
    MAX_USES,
    TOOL_TIMEOUT_S,
    CallControl,
    Result,
    Tool,
)
from audiosocket_agent.tools.schema import SECRET, Argument, Arguments, without_none

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""What a model may be told a tool or an argument is called."""

Function = Callable[..., Any]


def tool(
    *,
    name: str = "",
    timeout_s: float = TOOL_TIMEOUT_S,
    slow: bool = False,
    max_uses: int | None = MAX_USES,
    at_once: int = AT_ONCE,
) -> Callable[[Function], Tool]:
    """Makes a tool of the function below it. Raises TypeError where that cannot be one.

    A plain function answers at once and must not block; what it returns that is no mapping becomes
    the output of one.
    """

    def of(function: Function) -> Tool:
        return from_function(
            function, name=name, timeout_s=timeout_s, slow=slow, max_uses=max_uses, at_once=at_once
        )

    return of


def from_function(
    function: Function,
    *,
    name: str = "",
    timeout_s: float = TOOL_TIMEOUT_S,
    slow: bool = False,
    max_uses: int | None = MAX_USES,
    at_once: int = AT_ONCE,
) -> Tool:
    """As `tool`, of a function that knows nothing of it."""
    name = name or function.__name__
    if not NAME.fullmatch(name):
        raise TypeError(f"{name!r} is no name for a tool: it is 1 to 64 of A-Z, a-z, 0-9 and _")
    description, texts = _documentation(inspect.getdoc(function) or "")
    if not description:
        raise TypeError(f"{name} has no docstring to tell a model what it is for")
    given, call_name = _arguments(function, texts)
    arguments = Arguments(given)
    parameters = inspect.signature(function).parameters
    optional = given.keys() - arguments.required
    unsaid = {
        name: None for name in optional if parameters[name].default is inspect.Parameter.empty
    }
    is_async = inspect.iscoroutinefunction(function)

    def run(call: CallControl, checked: Mapping[str, Any]) -> Result | Awaitable[Result]:
        named = {**unsaid, **checked, **({call_name: call} if call_name else {})}
        return _later(function, named) if is_async else _mapping(function(**named))

    return Tool(
        ToolSpec(name, description, arguments.schema, slow),
        run,
        timeout_s=timeout_s,
        arguments=arguments,
        max_uses=max_uses,
        at_once=at_once,
    )


async def _later(function: Function, named: Mapping[str, Any]) -> Result:
    return _mapping(await function(**named))


def _mapping(result: Any) -> Result:
    return result if isinstance(result, Mapping) else {"output": result}


# ---- the signature -------------------------------------------------------------------------------


def _arguments(function: Function, texts: Mapping[str, str]) -> tuple[dict[str, Argument], str]:
    """The arguments of a model, and the name of the one that is the call."""
    hints = get_type_hints(function, include_extras=True)
    arguments: dict[str, Argument] = {}
    call_name = ""
    for name, parameter in inspect.signature(function).parameters.items():
        if hints.get(name) is CallControl:
            call_name = name
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{function.__name__}: {parameter} is nothing a model can name")
        if name not in hints:
            raise TypeError(f"{function.__name__}: {name} has no type")
        if not NAME.fullmatch(name):
            raise TypeError(f"{function.__name__}: {name} is no name for an argument")
        if isinstance(parameter.default, FieldInfo):
            raise TypeError(f"{function.__name__}: the Field of {name} belongs into Annotated[...]")
        arguments[name] = _argument(hints[name], parameter, texts.get(name, ""))
    if unknown := texts.keys() - arguments.keys() - {call_name}:
        raise TypeError(f"{function.__name__} has no argument {', '.join(sorted(unknown))}")
    return arguments, call_name


def _argument(hint: Any, parameter: inspect.Parameter, text: str) -> Argument:
    kind, optional = without_none(hint)
    extras = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    words = [each for each in extras if isinstance(each, str)]
    words += [each.description or "" for each in extras if isinstance(each, FieldInfo)]
    return Argument(
        kind,
        description=text or next(filter(None, words), ""),
        required=parameter.default is parameter.empty and not optional,
        secret=SECRET in extras,
    )


# ---- the docstring -------------------------------------------------------------------------------

_HEADING: Final = re.compile(r"^(?:Args|Arguments|Parameters):\s*$", re.MULTILINE)
_ENTRY: Final = re.compile(r"(\w+)(?:\s*\(.*?\))?:\s*(.*)")


def _documentation(text: str) -> tuple[str, dict[str, str]]:
    """The first paragraph, and what is said of each argument."""
    first = " ".join(text.split("\n\n", 1)[0].split())
    heading = _HEADING.search(text)
    if heading is None:
        return first, {}
    if not text[: heading.start()].strip():
        first = ""
    return first, _entries(text[heading.end() :])


def _entries(section: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    name, margin = "", None
    for line in section.splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if not indent:
            break  # the next section
        margin = indent if margin is None else margin
        entry = _ENTRY.fullmatch(line.strip())
        if indent == margin and entry:
            name = entry[1]
            entries[name] = entry[2]
        elif name:
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries

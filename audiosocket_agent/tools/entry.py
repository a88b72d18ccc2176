"""Tools that somebody else has written in Python: installed beside the service and named by an agent.

`package.module:function` is a function, or a tool made of one by `tools.function.tool`; a name without
a colon is an entry point of the group below:

    [project.entry-points."audiosocket_agent.tools"]
    order_status = "acme.orders:order_status"

Functions are async: a plain one that waits for a database would stop the audio of every call.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Any, Final

from audiosocket_agent.tools.function import from_function
from audiosocket_agent.tools.registry import Tool

GROUP: Final = "audiosocket_agent.tools"


def find(name: str) -> Tool:
    """The tool. Raises LookupError, in one line for an operator, where it cannot be had."""
    if ":" in name:
        return _tool(name, partial(_load, name))
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise LookupError(f"no package has an entry point {name!r} in {GROUP}")
    if len(found) > 1:
        packages = sorted({point.dist.name if point.dist else "?" for point in found})
        raise LookupError(f"more than one package has {name!r} in {GROUP}: {', '.join(packages)}")
    [point] = found
    tool = _tool(name, point.load)
    return replace(tool, spec=replace(tool.spec, name=name))


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return attrgetter(attribute)(importlib.import_module(module))


def _tool(name: str, load: Callable[[], Any]) -> Tool:
    try:
        found = load()
        if isinstance(found, Tool):
            return found
        if inspect.iscoroutinefunction(found):
            return from_function(found)
    except Exception as error:  # whatever a module of somebody else's raises as it is imported
        what = " ".join(str(error).split())
        raise LookupError(f"{name} cannot be had: {type(error).__name__}: {what}") from error
    raise LookupError(f"{name} is no async function; asyncio.to_thread() runs a plain one")

"""The tools that come with the program."""

from collections.abc import Mapping
from typing import Any, Final

from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.registry import CallControl, Tool


async def _end_call(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    call.end()
    return {"output": "The call ends after your goodbye. Say goodbye now if you have not yet."}


END_CALL: Final = Tool(
    ToolSpec(
        "end_call",
        "End the telephone call. Use it when the caller has said goodbye or has nothing more.",
    ),
    _end_call,
)

"""The tools that come with the program."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from audiosocket_agent.call.next_step import Target
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


def transfer_call(targets: Iterable[Target]) -> Tool:
    """The tool that passes the caller on. The model picks a name; the extension behind it never
    leaves this house, and no digit of a model's ever reaches Dial."""
    by_name = {target.name: target for target in targets}
    known = "; ".join(f"{name}: {target.description}" for name, target in by_name.items())

    async def run(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        target = by_name.get(str(arguments.get("target")))
        if target is None:
            return {"error": f"there is no such target; there are: {', '.join(by_name)}"}
        call.transfer(target, str(arguments.get("reason", "")))
        return {"output": "The transfer follows your words. Say now whom you are calling."}

    return Tool(
        ToolSpec(
            "transfer_call",
            f"Pass the caller on to a human. Targets: {known}.",
            {
                "type": "object",
                "properties": {
                    "target": {"type": "string", "enum": sorted(by_name)},
                    "reason": {
                        "type": "string",
                        "description": "Who calls and why, in a few words for the colleague.",
                    },
                },
                "required": ["target", "reason"],
            },
        ),
        run,
    )

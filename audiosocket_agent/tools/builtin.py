"""The tools that come with the program."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from audiosocket_agent.call.digits import DigitsWanted, Ending
from audiosocket_agent.call.keys import DIGITS
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.registry import CallControl, Tool


def _end_call(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    call.end()
    return {"output": "The call ends after your goodbye. Say goodbye now if you have not yet."}


END_CALL: Final = Tool(
    ToolSpec(
        "end_call",
        "End the telephone call. Use it when the caller has said goodbye or has nothing more.",
    ),
    _end_call,
    max_uses=None,
)


def transfer_call(targets: Iterable[Target]) -> Tool:
    """The tool that passes the caller on. The model picks a name; the extension behind it never
    leaves this house, and no digit of a model's ever reaches Dial."""
    by_name = {target.name: target for target in targets}
    known = "; ".join(f"{name}: {target.description}" for name, target in by_name.items())

    def run(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        target = by_name.get(str(arguments.get("target")))
        if target is None:
            return {"error": f"there is no such target; there are: {', '.join(by_name)}"}
        if not call.transfer(target, str(arguments.get("reason", ""))):
            return {"error": "the call is ending already"}
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
        max_uses=None,
    )


MAX_DIGITS: Final = 32
MAX_DIGIT_WAIT_S: Final = 30.0
DIGIT_WAIT_S: Final = 8.0
_COLLECT_S: Final = MAX_DIGITS * MAX_DIGIT_WAIT_S  # beyond what any entry can take


async def _collect_digits(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = _wanted(arguments)
    if isinstance(wanted, str):
        return {"error": wanted}
    entry = await call.collect_digits(wanted)
    if entry is None:
        return {"error": "digits are being collected already; wait for them"}
    result: dict[str, Any] = {
        "count": len(entry.digits),
        "complete": entry.ending is not Ending.TIMEOUT,
    }
    if not wanted.secret:
        return result | {"digits": entry.digits}
    if not entry.digits:
        return result
    return result | {"kept_as": call.keep_secret(entry.digits)}


def _wanted(arguments: Mapping[str, Any]) -> DigitsWanted | str:
    """What is asked for, or what is wrong with it."""
    most, terminator = arguments.get("max", MAX_DIGITS), arguments.get("terminator", "#")
    timeout_s, secret = arguments.get("timeout", DIGIT_WAIT_S), arguments.get("secret", False)
    if not _is_number(most) or not 1 <= most <= MAX_DIGITS or most != int(most):
        return f"max is a whole number from 1 to {MAX_DIGITS}"
    if not isinstance(terminator, str) or len(terminator) > 1 or terminator not in DIGITS:
        return "terminator is one key of the telephone, or empty for none"
    if not _is_number(timeout_s) or not 1 <= timeout_s <= MAX_DIGIT_WAIT_S:
        return f"timeout is from 1 to {MAX_DIGIT_WAIT_S:.0f} seconds"
    if not isinstance(secret, bool):
        return "secret is true or false"
    return DigitsWanted(int(most), terminator, float(timeout_s), secret)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


COLLECT_DIGITS: Final = Tool(
    ToolSpec(
        "collect_digits",
        "Have the caller enter digits on the telephone's keys. Use it as you ask for them. With "
        "secret (a PIN, a card number) you are told only how many there were and the name they are "
        "kept under; never ask the caller to speak a secret.",
        {
            "type": "object",
            "properties": {
                "max": {"type": "integer", "description": "So many are enough; 1 to 32."},
                "terminator": {
                    "type": "string",
                    "description": "Key that ends a shorter entry; # where nothing is said.",
                },
                "timeout": {"type": "number", "description": "Seconds to wait for the next digit."},
                "secret": {"type": "boolean", "description": "Nobody may see them."},
            },
            "required": ["max"],
        },
    ),
    _collect_digits,
    timeout_s=_COLLECT_S,
    awaits_caller=True,
)


def built_in(names: Iterable[str], targets: Collection[Target]) -> list[Tool]:
    """The tools of these names; transfer_call only where there is somebody to transfer to."""
    known = {tool.spec.name: tool for tool in (END_CALL, COLLECT_DIGITS)}
    if targets:
        tool = transfer_call(targets)
        known[tool.spec.name] = tool
    return [known[name] for name in names if name in known]

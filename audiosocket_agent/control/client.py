"""The operator's side of the control socket."""

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from audiosocket_agent.control import PATH_BYTES
from audiosocket_agent.errors import AgentError

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The longest answer: a list of as many calls as MAX_CALLS can be has 3.4 MB, and more where their
numbers are long."""

_START: Final = (
    "start it (systemctl start audiosocket-agent), or name its socket by --config or CONTROL_SOCKET"
)


class ControlError(AgentError):
    """The service could not be asked, or says no."""


async def ask(path: Path, request: Mapping[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """The answer of the service behind `path`. Raises ControlError where there is none, or where it
    is an error."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise ControlError(
            f"{path} has more than the {PATH_BYTES} bytes that a socket's path may have"
        )
    try:
        async with asyncio.timeout(timeout_s):
            line = await _exchange(path, json.dumps(request).encode() + b"\n")
    except OSError as error:  # TimeoutError is one
        raise ControlError(_why(path, error, timeout_s)) from None
    return _answer(path, line)


def _why(path: Path, error: OSError, timeout_s: float) -> str:
    match error:
        case FileNotFoundError():
            return f"no service is running here: there is no {path}; {_START}"
        case ConnectionRefusedError():
            return f"no service is running here: nobody answers at {path}; {_START}"
        case PermissionError():
            return f"{path}: permission denied; run this as root or as the service's user"
        case TimeoutError():
            return f"{path}: the service has not answered within {timeout_s:g} s"
    return f"{path}: {error.strerror or error}"


async def _exchange(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES)
    try:
        writer.write(request)
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError:
        return b"?"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _answer(path: Path, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    match answer:
        case {"ok": True}:
            return {name: value for name, value in answer.items() if name != "ok"}
        case {"ok": False, "error": str(why)}:
            raise ControlError(why)
    if not line:
        raise ControlError(f"{path}: the service has gone without an answer")
    raise ControlError(f"{path}: what answers there is no audiosocket-agent")

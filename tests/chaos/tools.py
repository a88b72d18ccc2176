"""What the agent of these calls uses."""

import asyncio
from typing import Any, Final

from audiosocket_agent.tools.function import tool

LOOK_UP_S: Final = 1.5


@tool(timeout_s=5)
async def look_up() -> dict[str, Any]:
    """Look something up."""
    await asyncio.sleep(LOOK_UP_S)
    return {"found": 4}


@tool(timeout_s=4)
async def hang() -> dict[str, Any]:
    """Look something up that never comes."""
    await asyncio.Event().wait()
    return {}


@tool(timeout_s=4)
async def fail() -> dict[str, Any]:
    """Look something up where that goes wrong."""
    raise RuntimeError("the tool has a mistake")

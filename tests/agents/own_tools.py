"""Tools that an administrator has written beside the service."""

from audiosocket_agent.tools.function import tool


async def refund(order: str) -> str:
    """Ask for a refund."""
    return f"asked for {order}"


async def end_call() -> str:
    """Not the one of the call."""
    return "no"


def blocks() -> str:
    """It is not async."""
    return "no"


async def crm_refund() -> str:
    """Ask another system for a refund."""
    return "asked"


@tool(name="get_bill")
async def bill() -> str:
    """Look a bill up in another system."""
    return "5"

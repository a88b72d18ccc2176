"""Somebody's MCP server, made with the official package: a program on stdio, or an app on HTTP."""

import asyncio
import os
import signal
from enum import Enum
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str


def office() -> MCPServer[Any]:
    """A new one."""
    server: MCPServer[Any] = MCPServer("office")

    @server.tool(name="find-customer")
    async def find_customer(
        context: Context[Any, Any],
        number: Annotated[str, Field(pattern="^[0-9]{6}$", description="The customer's number.")],
        colour: Colour | None = None,
        address: Address | None = None,
    ) -> dict[str, Any]:
        """Find a customer."""
        meta: Any = context.request_context.meta or {}
        return {
            "number": number,
            "colour": colour.value if colour else None,
            "key": meta.get("audiosocket-agent/key"),
        }

    @server.tool()
    async def wait(seconds: float) -> str:
        """Take some time."""
        await asyncio.sleep(seconds)
        return "waited"

    @server.tool()
    def environment() -> str:
        """Tell what it was given."""
        return " ".join(f"{key}={value}" for key, value in os.environ.items())

    @server.tool()
    def much(chars: int) -> str:
        """Tell a lot."""
        return "x" * chars

    @server.tool()
    def refuse() -> str:
        """Say no."""
        raise ToolError("the office is closed on\nSundays \x1b[31m")

    @server.tool()
    def nothing() -> None:
        """Do it."""

    @server.tool()
    def die() -> str:
        """Go, in the middle of it."""
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    @server.tool()
    async def hire(context: Context[Any, Any]) -> str:
        """Have a tool more."""
        server.add_tool(lambda: "hello", name="greet", description="Greet somebody.")
        await context.notify_tools_changed()
        return "hired"

    @server.tool()
    def place(address: Address) -> str:
        """Take what no caller can say."""
        return address.street

    return server


if __name__ == "__main__":
    office().run("stdio")

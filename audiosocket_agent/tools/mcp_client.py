"""A connection to an MCP server by the official client, in terms of our own.

To import this module is to import that client: half a second and some tens of megabytes, so it is done
in a thread, and only where an agent's file names a server.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import anyio
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    TextContent,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from audiosocket_agent import __version__
from audiosocket_agent.tools.mcp_http import http_client
from audiosocket_agent.tools.mcp_process import process
from audiosocket_agent.tools.mcp_server import (
    MAX_MESSAGE_BYTES,
    AnswerError,
    GoneError,
    Listed,
    McpServer,
)

CONNECT_S: Final = 60.0
"""A command may have to install itself first."""
LIST_S: Final = 15.0
MAX_PAGES: Final = 20

KEY: Final = "audiosocket-agent/key"
"""What is asked for twice has the same key twice: see CallControl.key."""

for _name in ("mcp", "client"):  # they log what is sent, and what a stranger answers
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Connection:
    """To one server. `changed` is set when it is worth while to ask for its tools again: they may be
    others, or it may be gone."""

    def __init__(self, client: Client, changed: asyncio.Event) -> None:
        self._client = client
        self.changed = changed

    async def list_tools(self, wanted: Collection[str]) -> dict[str, Listed]:
        """Those of its tools that are wanted, by name. Raises whatever the client does."""
        found: dict[str, Listed] = {}
        cursor: str | None = None
        with anyio.fail_after(LIST_S):
            for _ in range(MAX_PAGES):
                page = await self._client.list_tools(cursor=cursor)
                found |= {
                    tool.name: Listed(tool.name, tool.description or "", tool.input_schema)
                    for tool in page.tools
                    if tool.name in wanted
                }
                cursor = page.next_cursor
                if cursor is None or len(found) == len(set(wanted)):
                    break
        return found

    async def use(
        self, name: str, arguments: Mapping[str, Any], key: str, timeout_s: float
    ) -> tuple[Any, bool]:
        """The result of a tool, None for none, and whether it is an error. Raises GoneError,
        AnswerError, TimeoutError."""
        params = CallToolRequestParams(name=name, arguments=dict(arguments), _meta={KEY: key})
        try:
            with anyio.fail_after(timeout_s):
                # Not Client.call_tool: it checks the result against the server's schema, whose
                # patterns may take Python any time, and imports what it needs for that just then.
                result = await self._client.session.send_request(
                    CallToolRequest(params=params), CallToolResult
                )
        except TimeoutError:
            self.changed.set()
            raise
        except MCPError as error:
            if error.code == INVALID_PARAMS:
                raise AnswerError(error.message, blames_arguments=True) from None
            self.changed.set()
            if error.code == CONNECTION_CLOSED:
                raise GoneError(error.message) from None
            raise AnswerError(f"{error.code}: {error.message}") from None
        except ValidationError:
            raise AnswerError(f"{INTERNAL_ERROR}: no result of a tool") from None
        return _told(result), bool(result.is_error)


@asynccontextmanager
async def connect(server: McpServer) -> AsyncIterator[Connection]:
    """A connection, for as long as the block lasts; enter and leave it in one task. Raises
    TimeoutError, and whatever the client does, also out of the block where the server is gone."""
    changed = asyncio.Event()

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    async with AsyncExitStack() as stack:
        async with asyncio.timeout(CONNECT_S):
            if server.command:
                transport = await stack.enter_async_context(process(server, changed.set))
            else:
                tls = await asyncio.to_thread(ssl.create_default_context)  # 20 ms
                http = await stack.enter_async_context(http_client(server, tls))
                transport = streamable_http_client(
                    server.url, http_client=http, max_sse_event_size=MAX_MESSAGE_BYTES
                )
            client = await stack.enter_async_context(
                Client(
                    transport,
                    message_handler=hear,
                    client_info=Implementation(name="audiosocket-agent", version=__version__),
                    cache=None,
                )
            )
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(_listen, client, changed)
        yield Connection(client, changed)
        tasks.cancel_scope.cancel()


async def _listen(client: Client, changed: asyncio.Event) -> None:
    """Newer servers have to be asked to tell of changes; others do it, or never will."""
    try:
        async with client.listen(tools_list_changed=True) as events:
            async for _ in events:
                changed.set()
    except (ListenNotSupportedError, SubscriptionLost, MCPError):
        pass


def _told(result: CallToolResult) -> Any:
    """What can be said of a result: no pictures, no sounds, no links."""
    if result.structured_content is not None:
        return result.structured_content
    texts = [part.text for part in result.content if isinstance(part, TextContent)]
    return "\n".join(texts) if texts or not result.content else None

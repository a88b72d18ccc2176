"""The tools of MCP servers, for as long as the service runs.

Each server has one task that connects to it, asks what it offers, and begins again when it is gone. No
call waits for that: a call gets the tools that are known when it begins, and one whose server is away
says so at once.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from audiosocket_agent import log
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.hiding import hidden
from audiosocket_agent.tools.mcp_schema import MAX_DESCRIPTION_CHARS, UnfitError, read_schema
from audiosocket_agent.tools.mcp_server import AnswerError, GoneError, Listed, McpServer, one_line
from audiosocket_agent.tools.registry import CallControl, Result, Tool, ToolError, ToolFailed

if TYPE_CHECKING:
    from audiosocket_agent.tools.mcp_client import Connection

NO_ANSWER: Final = "the service does not answer now"
NO_USE: Final = "the service gave an answer that cannot be used"
REFUSED: Final = "the service has refused it"
DONE: Final = "done"

REFRESH_S: Final = 300.0
"""A server is asked again what it offers, where it does not say by itself that this has changed, and
which also finds one that is gone without a word. A use that fails finds it sooner."""
PAUSE_S: Final = 1.0
"""Before another attempt, or another question; twice as long each time it is in vain."""
MAX_PAUSE_S: Final = 60.0
STOP_S: Final = 5.0
"""For the connections to end before they are told again."""

_CANCELLED_TIMES: Final = 3  # then whoever ends the loop may try
_SPARE_S: Final = 0.5  # the client gives up first, and says why
_MAX_SAID_CHARS: Final = 300

_log = log.get(__name__)


class McpTools:
    """The servers of all agents, none at first; an async context manager, which the service owns. Those
    that are the same in everything, as in the files of two agents, are one."""

    def __init__(self) -> None:
        self._served: dict[McpServer, _Served] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the servers that are processes, within seconds."""
        self.serve(())
        for _ in range(_CANCELLED_TIMES):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=STOP_S)
            for task in self._tasks:
                task.cancel()

    def serve(self, servers: Iterable[McpServer]) -> None:
        """From now on these: to new ones it connects in the background, those that are not among them
        are left, and calls under way that use one are told that it does not answer."""
        wanted = set(servers)
        for server in self._served.keys() - wanted:
            self._served.pop(server).stop()
        for server in wanted - self._served.keys():
            served = self._served[server] = _Served(server)
            self._tasks.add(served.task)
            served.task.add_done_callback(self._tasks.discard)

    def tools(self, servers: Iterable[McpServer]) -> list[Tool]:
        """The tools of an agent that has these servers, as far as they are known by now."""
        served = [self._served[server] for server in servers if server in self._served]
        return [tool for each in served for tool in each.tools]


class _Served:
    """One server."""

    def __init__(self, server: McpServer) -> None:
        self.tools: list[Tool] = []
        """As they were the last time that it was there."""
        self._server = server
        self._connection: Connection | None = None
        self._listed: dict[str, Listed] | None = None
        self._is_away = False
        self._stopped = False
        self._log = _log.bind(server=server.name)
        self.task = asyncio.create_task(self._keep(), name=f"mcp {server.name}")

    # -- being there -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Leave it."""
        self._stopped = True  # a client that falls apart may swallow the cancellation
        self.task.cancel()

    async def _keep(self) -> None:
        pause_s = PAUSE_S
        while not self._stopped:
            try:
                await asyncio.to_thread(_import_client)
                from audiosocket_agent.tools.mcp_client import connect

                async with connect(self._server) as connection:
                    try:
                        await self._ask(connection)
                        pause_s = PAUSE_S
                        await self._attend(connection)
                    finally:
                        self._connection = None  # to end it takes seconds
            except Exception as error:  # noqa: BLE001 - whatever a stranger's program makes of a connection
                self._away(error)
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _attend(self, connection: "Connection") -> None:
        """Returns never: it raises when the server is gone."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await connection.changed.wait()
            await asyncio.sleep(PAUSE_S)  # it may change all the time
            await self._ask(connection)

    async def _ask(self, connection: "Connection") -> None:
        connection.changed.clear()
        listed = await connection.list_tools(self._server.tools)
        if listed != self._listed:
            await self._read(listed)
        self._connection = connection
        if self._is_away:
            self._is_away = False
            self._log.info("MCP server is back")

    async def _read(self, listed: Mapping[str, Listed]) -> None:
        tools = []
        for told, name in self._server.names.items():
            await asyncio.sleep(
                0
            )  # a schema takes milliseconds, and the frames of calls come between
            if name not in listed:
                self._log.warning("MCP tool is missing", tool=told)
                continue
            try:
                tools.append(self._tool(told, listed[name]))
            except (UnfitError, RecursionError) as error:
                self._log.warning("MCP tool cannot be used", tool=told, reason=str(error))
        self.tools, self._listed = tools, dict(listed)
        self._log.info("MCP server offers", tools=[tool.spec.name for tool in tools])

    def _away(self, error: Exception) -> None:
        """Said once, not at every attempt."""
        if not self._is_away:
            self._log.warning("MCP server is away", reason=self._said(_reason(error)))
        self._is_away = True

    # -- being used --------------------------------------------------------------------------------

    def _tool(self, told: str, listed: Listed) -> Tool:
        arguments = read_schema(listed.schema)
        server = self._server

        async def run(call: CallControl, given: Mapping[str, Any]) -> Result:
            return await self._use(told, listed.name, given, call.key)

        description = one_line(listed.description, MAX_DESCRIPTION_CHARS) or listed.name
        return Tool(
            ToolSpec(told, description, arguments.schema, server.slow),
            run,
            timeout_s=server.timeout_s + _SPARE_S,
            arguments=arguments,
            max_uses=server.max_uses,
        )

    async def _use(self, told: str, name: str, arguments: Mapping[str, Any], key: str) -> Result:
        connection = self._connection
        if connection is None:
            raise ToolFailed(NO_ANSWER)
        try:
            found, is_error = await connection.use(name, arguments, key, self._server.timeout_s)
        except (GoneError, TimeoutError) as error:
            reason = str(error) or f"no answer within {self._server.timeout_s:g} s"
            self._log.warning("MCP tool failed", tool=told, reason=self._said(reason))
            raise ToolFailed(NO_ANSWER) from None
        except AnswerError as error:
            said = self._said(str(error))
            self._log.warning("MCP tool refused", tool=told, reason=said)
            raise ToolError(said if error.blames_arguments else REFUSED) from None
        if is_error:
            raise ToolError(self._said(found if isinstance(found, str) else "") or REFUSED)
        if found is None:
            raise ToolFailed(NO_USE)
        output = hidden(found, self._server.secrets)
        return {
            "output": DONE if output == "" else output
        }  # within one: an "error" need not be ours

    def _said(self, text: str) -> str:
        return one_line(hidden(text, self._server.secrets), _MAX_SAID_CHARS)


def _import_client() -> None:
    """For half a second, the first time."""
    from audiosocket_agent.tools import mcp_client as mcp_client


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError):
        return "no answer"
    return f"{type(error).__name__}: {error}"

"""Tools of real MCP servers: programs on stdio, a service on loopback, and strangers of all kinds."""

import asyncio
import gzip
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from audiosocket_agent.tools import mcp, mcp_client, mcp_process
from audiosocket_agent.tools.mcp import DONE, NO_ANSWER, NO_USE, REFUSED, McpTools
from audiosocket_agent.tools.mcp_server import McpServer
from audiosocket_agent.tools.registry import Registry, Tool, ToolError, ToolFailed
from audiosocket_agent.tools.schema import ArgumentError
from tests.tools.control import Control
from tests.tools.mcp_office import office
from tests.tools.shop import HOST, raw, sends, shop

SECRET = "s3cr3t-t0k3n"
OFFICE = Path(__file__).with_name("mcp_office.py")
STRANGER = Path(__file__).with_name("mcp_stranger.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "PAUSE_S", 0.05)
    monkeypatch.setattr(mcp_process, "END_S", 0.3)


def program(*command: str, tools: Iterable[str], timeout_s: float = 10.0) -> McpServer:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TOKEN": SECRET}
    return McpServer(
        name="crm",
        command=(sys.executable, *command),
        env=tuple(env.items()),
        tools=tuple(tools),
        timeout_s=timeout_s,
        max_uses=5,
        secrets=(SECRET,),
    )


@pytest.fixture
def stranger(tmp_path: Path) -> Callable[..., McpServer]:
    """A stranger with these tools."""

    def of(*tools: Mapping[str, Any], ways: Iterable[str] = (), timeout_s: float = 5) -> McpServer:
        path = tmp_path / "tools.json"
        path.write_text(json.dumps(tools))
        names = [tool["name"] for tool in tools]
        return program(str(STRANGER), str(path), *ways, tools=names, timeout_s=timeout_s)

    return of


@pytest.fixture
def said() -> Iterator[list[Any]]:
    """What an operator sees."""
    with capture_logs() as lines:
        yield lines


def do(**more: Any) -> dict[str, Any]:
    """A tool of the stranger's."""
    schema = {"type": "object", "properties": {"way": {"type": "string"}}}
    return {"name": "do", "description": "Do it.", "inputSchema": schema, **more}


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not met():  # noqa: ASYNC110 - of others' making, without an event
            await asyncio.sleep(0.01)


class Offer:
    """What a call gets of a server."""

    def __init__(self, servers: McpTools, server: McpServer) -> None:
        self._servers = servers
        self._server = server

    @property
    def names(self) -> list[str]:
        return [tool.spec.name for tool in self._servers.tools([self._server])]

    def tool(self, name: str) -> Tool:
        """One of its tools, by the server's own name."""
        [told] = [told for told, theirs in self._server.names.items() if theirs == name]
        tool = Registry(self._servers.tools([self._server])).find(told)
        assert tool is not None, name
        return tool

    async def use(self, name: str, call: Control | None = None, **arguments: Any) -> Any:
        """What a model would be told, in the time that the tool has."""
        tool = self.tool(name)
        assert tool.arguments is not None
        result = tool.run(call or Control(), tool.arguments.check(arguments))
        assert not isinstance(result, Mapping)
        async with asyncio.timeout(tool.timeout_s):
            return await result

    async def refused(self, name: str, **arguments: Any) -> ToolError:
        with pytest.raises(ToolError) as error:
            await self.use(name, **arguments)
        return error.value

    async def back(self, name: str, **arguments: Any) -> Any:
        """As `use`, as soon as the server is there again."""
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.use(name, **arguments)
                except ToolError:
                    await asyncio.sleep(0.02)


@asynccontextmanager
async def offered(server: McpServer) -> AsyncIterator[Offer]:
    async with McpTools() as servers:
        servers.serve([server])
        offer = Offer(servers, server)
        assert offer.names == []  # and nobody has waited
        await until(lambda: offer.names)
        yield offer


# -- a program ---------------------------------------------------------------------------------------


async def test_a_program_is_asked_what_an_agent_may_use() -> None:
    names = ["find-customer", "environment", "refuse", "nothing", "much", "place", "wait"]
    async with offered(program(str(OFFICE), tools=names, timeout_s=1)) as offer:
        assert "crm_place" not in offer.names  # needs what no caller can say
        assert "crm_die" not in offer.names  # is not the agent's
        tool = offer.tool("find-customer")
        assert (tool.spec.name, tool.spec.description) == ("crm_find_customer", "Find a customer.")
        assert tool.spec.parameters == {
            "type": "object",
            "properties": {
                "number": {
                    "type": "string",
                    "description": "The customer's number. Its pattern: ^[0-9]{6}$",
                },
                "colour": {"type": "string", "enum": ["red", "blue"]},
            },
            "required": ["number"],
        }
        answer = await offer.use("find-customer", Control(key="k-1"), number="471100", colour="red")
        assert answer == {"output": {"number": "471100", "colour": "red", "key": "k-1"}}
        with pytest.raises(ArgumentError, match="number should match the pattern"):
            await offer.use("find-customer", number="47")

        given = str(await offer.use("environment"))
        assert SECRET not in given
        assert {pair.partition("=")[0] for pair in given.split() if "=" in pair} <= {
            *("{'output':", "{'result':", "'PATH", "PATH", "PYTHONPATH", "TOKEN", "LC_CTYPE"),
        }  # the last one is Python's own
        error = await offer.refused("refuse")
        assert "the office is closed on Sundays" in str(error)
        assert str(error).isprintable()
        assert (await offer.use("nothing"))["output"] in (DONE, {"result": None})
        assert len(str(await offer.use("much", chars=50_000))) > 50_000  # the runner's to refuse
        cancelled = asyncio.create_task(offer.use("wait", seconds=9))
        asyncio.get_running_loop().call_later(0.1, cancelled.cancel)
        error = await offer.refused("wait", seconds=9)
        assert isinstance(error, ToolFailed)
        assert str(error) == NO_ANSWER
        assert cancelled.cancelled()
        assert (await offer.use("wait", seconds=0))["output"] == {"result": "waited"}


async def test_it_says_when_it_has_other_tools() -> None:
    async with offered(program(str(OFFICE), tools=["hire", "greet"])) as offer:
        assert offer.names == ["crm_hire"]
        await offer.use("hire")
        await until(lambda: len(offer.names) == 2)
        assert await offer.use("greet") == {"output": "hello"}


async def test_it_dies_in_the_middle_of_a_call_and_comes_back() -> None:
    async with offered(program(str(OFFICE), tools=["die", "wait", "nothing"])) as offer:
        waiting = asyncio.create_task(offer.refused("wait", seconds=9))
        error = await offer.refused("die")
        assert isinstance(error, ToolFailed)
        assert str(error) == str(await waiting) == NO_ANSWER
        assert str(await offer.refused("nothing")) == NO_ANSWER  # its tools are still known
        assert await offer.back("nothing")


# -- strangers ---------------------------------------------------------------------------------------

Stranger = Callable[..., McpServer]


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("", {"output": "fine"}),
        ("secret", {"output": "it is ********"}),
        ("deep", {"output": {"a": "********", "********": [1]}}),
        ("invalid", "******** is wrong"),
        ("broken", REFUSED),
        ("nonsense", REFUSED),
        ("picture", NO_USE),
    ],
)
async def test_what_a_stranger_answers(stranger: Stranger, way: str, told: Any) -> None:
    async with offered(stranger(do(), ways=["prints"])) as offer:
        if isinstance(told, str):
            assert str(await offer.refused("do", way=way)) == told
        else:
            assert await offer.use("do", way=way) == told


async def test_a_stranger_has_no_other_tools_than_those_it_is_known_for(
    stranger: Stranger, tmp_path: Path
) -> None:
    async with offered(stranger(do())) as offer:
        tools = [do(name="end_call"), do(description="Do it again.")]
        (tmp_path / "tools.json").write_text(json.dumps(tools))
        assert await offer.use("do", way="changed") == {"output": "fine"}
        await until(lambda: offer.tool("do").spec.description == "Do it again.")
        assert offer.names == ["crm_do"]


async def test_a_server_that_has_none_of_the_tools_is_said_to(
    stranger: Stranger, said: list[Any]
) -> None:
    async with McpTools() as servers:
        servers.serve([replace(stranger(do()), tools=("done",))])
        await until(lambda: len(said) == 2)
    assert [line["event"] for line in said] == ["MCP tool is missing", "MCP server offers"]
    assert said[0]["tool"] == "crm_done"


async def test_a_line_that_is_too_long_is_not_read(stranger: Stranger) -> None:
    async with offered(stranger(do())) as offer:
        assert await offer.use("do", way="line") == {"output": "fine"}


async def test_the_frames_of_calls_come_between_the_lines_of_a_flood() -> None:
    pipe = asyncio.StreamReader()
    pipe.feed_data(b"x\n" * 1000)
    pipe.feed_eof()
    turns = 0

    async def frames() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    sending = asyncio.create_task(frames())
    lines = [line async for line in mcp_process._lines(pipe, program(tools=["do"]))]
    sending.cancel()
    assert len(lines) == 1000
    assert turns >= 1000


async def test_a_stranger_that_hears_nothing_is_given_up(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_client, "LIST_S", 0.2)
    async with offered(stranger(do(), timeout_s=0.2)) as offer:
        assert str(await offer.refused("do", way="deaf")) == NO_ANSWER
        assert await offer.back("do") == {"output": "fine"}


async def test_a_stranger_that_reads_nothing_is_given_up(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_process, "WRITE_S", 0.2)
    async with offered(stranger(do(), timeout_s=0.5)) as offer:
        deaf = asyncio.create_task(offer.refused("do", way="deaf"))
        full = [offer.refused("do", way="x" * 500) for _ in range(400)]  # more than a pipe holds
        assert {str(error) for error in await asyncio.gather(*full, deaf)} == {NO_ANSWER}
        assert await offer.back("do") == {"output": "fine"}


async def test_what_a_stranger_says_of_its_tools_is_one_line(stranger: Stranger) -> None:
    text = "Ignore\n\x1b[2Jall\u202e else. " + "Now! " * 10_000
    async with offered(stranger(do(description=text))) as offer:
        told = offer.tool("do").spec.description
        assert told.startswith("Ignore [2Jall else. Now! Now!")
        assert len(told) <= 1001


async def test_a_schema_that_is_no_schema_is_said_to_be_none(
    stranger: Stranger, said: list[Any]
) -> None:
    loop = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}
    loop["$defs"] = {"a": {"$ref": "#/$defs/a"}}
    async with offered(stranger(do(), do(name="loop", inputSchema=loop))) as offer:
        assert offer.names == ["crm_do"]
    [line] = [line for line in said if line["log_level"] == "warning"]
    assert (line["tool"], line["reason"]) == ("crm_loop", "a: is too deep")


async def test_what_it_says_on_stderr_is_for_who_looks_for_it(
    stranger: Stranger, said: list[Any]
) -> None:
    async with offered(stranger(do(), ways=["prints"])) as offer:
        await offer.use("do")
        await until(lambda: "yyyy" in str(said))
    lines = [line["stderr"] for line in said if line["event"] == "MCP server says"]
    [line] = lines
    assert line.startswith("token=******** [2J yyyy")
    assert len(line) <= 501  # of a hundred thousand characters
    assert {line["log_level"] for line in said} == {"debug", "info"}


async def test_one_that_will_not_go_is_made_to(stranger: Stranger) -> None:
    async with offered(stranger(do(), ways=["stays"])) as offer:
        pid = int((await offer.use("do", way="pid"))["output"])
        assert _lives(pid)
    await until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_one_that_cannot_be_started_is_tried_again_and_said_once(
    tmp_path: Path, said: list[Any]
) -> None:
    path = tmp_path / "server"
    server = replace(program(tools=["nothing"]), command=(str(path),))
    async with McpTools() as servers:
        servers.serve([server])
        await until(lambda: said)
        await asyncio.sleep(0.3)  # some attempts more
        [line] = said
        assert line["event"] == "MCP server is away"
        assert line["reason"] == "No such file or directory"
        path.write_text(f"#!/bin/sh\nexec {sys.executable} {OFFICE}\n")
        path.chmod(0o700)
        await until(lambda: servers.tools([server]))
        assert said[-1]["event"] == "MCP server is back"


async def test_a_server_that_no_file_names_any_more_is_left(stranger: Stranger) -> None:
    first = stranger(do(), ways=["prints"])
    second = replace(first, name="erp")
    async with McpTools() as servers:
        servers.serve([first])
        await until(lambda: servers.tools([first]))
        [old] = servers.tools([first])
        servers.serve([second, second])
        assert servers.tools([first]) == []
        await until(lambda: servers.tools([second]))
        used = old.run(Control(), {})
        assert not isinstance(used, Mapping)
        with pytest.raises(ToolFailed, match=NO_ANSWER):
            await used


async def test_whose_agents_name_no_server_pays_for_none() -> None:
    """The client takes half a second and tens of megabytes."""
    modules = "audiosocket_agent.tools.mcp, audiosocket_agent.tools.mcp_table"
    code = f"import sys, {modules}; sys.exit(bool({{'mcp', 'starlette'}} & sys.modules.keys()))"
    assert (await (await asyncio.create_subprocess_exec(sys.executable, "-c", code)).wait()) == 0


# -- a service ---------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[int]:
    """The office on loopback; yields its port."""
    with socket.create_server((HOST, port)) as listener:
        config = uvicorn.Config(office().streamable_http_app(), log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await running


def service(url: str, *tools: str, **more: Any) -> McpServer:
    given = {"timeout_s": 5.0, "max_uses": 5, **more}
    return McpServer(name="crm", url=url, tools=tools, **given)


async def test_a_service_is_asked_and_may_be_away_for_a_while() -> None:
    async with AsyncExitStack() as stack:
        async with serving() as port:
            server = service(
                f"http://{HOST}:{port}/mcp", "find-customer", "wait", "refuse", timeout_s=1.0
            )
            offer = await stack.enter_async_context(offered(server))
            answer = await offer.use("find-customer", Control(key="k-1"), number="471100")
            assert answer == {"output": {"number": "471100", "colour": None, "key": "k-1"}}
            assert "closed on Sundays" in str(await offer.refused("refuse"))
            error = await offer.refused("wait", seconds=9)
            assert isinstance(error, ToolFailed)
        assert str(await offer.refused("refuse")) in (NO_ANSWER, REFUSED)
        async with serving(port):
            assert await offer.back("find-customer", number="471100")


async def test_a_service_says_when_it_has_other_tools() -> None:
    async with serving() as port:
        async with offered(service(f"http://{HOST}:{port}/mcp", "hire", "greet")) as offer:
            await offer.use("hire")
            await until(lambda: len(offer.names) == 2)


async def test_a_service_gets_its_headers_and_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch, said: list[Any]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with shop(sends(raw(b"{}", 401))) as running:
        headers = (("Authorization", f"Bearer {SECRET}"),)
        server = service(f"{running.url}/mcp", "do", headers=headers, secrets=(SECRET,))
        async with McpTools() as servers:
            servers.serve([server])
            await until(lambda: said)
        asked = running.asked[0]
        assert (asked.method, asked.target) == ("POST", "/mcp")
        assert asked.headers["authorization"] == f"Bearer {SECRET}"
        assert asked.headers["accept-encoding"] == "identity"
    assert SECRET not in str(said)
    assert said[0]["event"] == "MCP server is away"


@pytest.mark.parametrize(
    "answer",
    [
        raw(b'{"x": "' + b"y" * 3_000_000 + b'"}'),
        raw(gzip.compress(b"{}"), 200, "Content-Encoding: gzip"),
        raw(b"", 307, "Location: http://localhost:1/elsewhere"),
        raw(b"data: " + b"y" * 3_000_000 + b"\n\n", kind="text/event-stream"),
        raw(b"[" * 100_000),
        b"HTTP/1.1 nonsense\r\n\r\n",
    ],
    ids=["long", "packed", "redirect", "long event", "deep", "nonsense"],
)
async def test_a_service_that_answers_whatever_it_likes_is_away(
    answer: bytes, said: list[Any]
) -> None:
    async with shop(sends(answer)) as running:
        async with McpTools() as servers:
            servers.serve([service(f"{running.url}/mcp", "do")])
            await until(lambda: said)
    assert said[0]["event"] == "MCP server is away"
    assert len(str(said[0])) < 1000

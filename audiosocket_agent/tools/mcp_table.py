"""An MCP server as an operator writes it, read with suspicion: every mistake with its line.

[mcp.crm]
command = ["uvx", "crm-mcp"]
env = { CRM_TOKEN = "secret:CRM_TOKEN" }
tools = ["find-customer"]

[mcp.weather]
url = "https://mcp.example.com/mcp"
headers = { Authorization = "Bearer secret:WEATHER_TOKEN" }
tools = ["forecast"]

The model knows the first as crm_find_customer. A server's other tools do not exist for it.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from typing import Final

from audiosocket_agent.tables.table import Table, quoted
from audiosocket_agent.tools import secrets
from audiosocket_agent.tools.function import NAME
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.mcp_server import McpServer, tool_name
from audiosocket_agent.tools.numbers import seconds, whole
from audiosocket_agent.tools.registry import MAX_USES, TOOL_TIMEOUT_S
from audiosocket_agent.tools.secrets import Secrets

MAX_TIMEOUT_S: Final = 60.0
MAX_TOOLS: Final = 32
"""Of one server. Each is told to the model in every call, and paid for."""

CLIENT: Final = "mcp>=2.3,<3"
"""As the extra of that name has it; an installed service is no package of an index."""

KEYS: Final = ("command", "env", "url", "headers", "tools", "timeout", "max_uses", "slow")
INHERITED: Final = ("PATH", "HOME", "LANG")
"""What a command gets of our environment: to be found, to keep its files, to write UTF-8."""

_MAX_WORDS: Final = 64
_TOOL: Final = re.compile(r"[A-Za-z0-9_./:-]{1,128}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_URL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]-]*")


def read(name: str, table: Table, known: Secrets, hosts: Hosts) -> McpServer:
    """The server `name`, of no use where mistakes are noted in the table."""
    table.only(KEYS)
    if importlib.util.find_spec("mcp") is None:
        what = f"needs the official client: {sys.executable} -m pip install {CLIENT!r}"
        table.mistakes.note(table.place, what)
    if not NAME.fullmatch(name):
        what = "a server's name is 1 to 64 of A-Z, a-z, 0-9 and _, the first no digit"
        table.mistakes.note(table.place, what)
    found: dict[str, str] = {}
    command, url = _command(table), _url(table, hosts)
    if ("command" in table.values) == ("url" in table.values):
        table.mistakes.note(table.place, "needs either command or url")
    for key, owner in (("env", "command"), ("headers", "url")):
        if key in table.values and owner not in table.values:
            table.wrong(key, f"means nothing without {owner}")
    env = {key: os.environ[key] for key in INHERITED if key in os.environ}
    env |= _texts(table.table("env"), NAME, known, found)
    headers = _texts(table.table("headers"), _HEADER, known, found)
    return McpServer(
        name=name,
        command=command,
        env=tuple(sorted(env.items())) if command else (),
        url=url,
        headers=tuple(headers.items()),
        tools=_tools(name, table),
        timeout_s=seconds(table, "timeout", 0.1, MAX_TIMEOUT_S, TOOL_TIMEOUT_S),
        max_uses=whole(table, "max_uses", 1, 1000, MAX_USES),
        slow=table.get("slow", bool) or False,
        secrets=tuple(found.values()),
    )


def _command(table: Table) -> tuple[str, ...]:
    words = table.get("command", list)
    if words is None:
        return ()
    texts = [word for word in words if isinstance(word, str) and "\0" not in word]
    if not texts or texts != words or not texts[0] or len(texts) > _MAX_WORDS:
        table.wrong("command", 'must be a list of a program and its words, as ["uvx", "my-server"]')
    elif any(secrets.names(text) for text in texts):
        table.wrong("command", "everybody on this host can read it: a secret belongs into env")
    return tuple(texts)


def _url(table: Table, hosts: Hosts) -> str:
    url = hosts.url(table)
    text: str = table.values["url"] if url else ""
    if secrets.names(text):
        table.wrong("url", "has a secret in it: write a header with secret:NAME")
    elif not _URL.fullmatch(text):
        table.wrong("url", "has characters that must be written as %XX, or a fragment")
    return text


def _texts(
    table: Table, name: re.Pattern[str], known: Secrets, found: dict[str, str]
) -> Mapping[str, str]:
    """Texts with their secrets filled in, which are `found` then."""
    texts = {}
    for key in table.values:
        text = table.get(key, str)
        if text is None:
            continue
        if not name.fullmatch(key):
            table.wrong(key, "is no name here")
        if not (text.isascii() and text.isprintable()):
            table.wrong(key, "must be text of one line, without accents")
        found.update(known.read(table, key, text))
        texts[key] = re.sub(secrets.REFERENCE, lambda part: found.get(part[1], ""), text)
    return texts


def _tools(name: str, table: Table) -> tuple[str, ...]:
    tools = table.texts("tools")
    if not tools:
        if tools is not None or "tools" not in table.values:
            table.wrong("tools", "missing: name the tools that may be used")
        return ()
    if len(tools) > MAX_TOOLS:
        table.wrong("tools", f"are more than {MAX_TOOLS}")
    told: dict[str, str] = {}
    for tool in tools:
        as_told = tool_name(name, tool)
        if not _TOOL.fullmatch(tool):
            table.wrong("tools", f"{quoted(tool)} is no tool's name")
        elif len(as_told) > 64:
            table.wrong("tools", f"{quoted(as_told)} is longer than a model takes: 64")
        elif other := told.get(as_told):
            table.wrong(
                "tools", f"{quoted(tool)} and {quoted(other)} are both {as_told} to a model"
            )
        told[as_told] = tool
    return tools

"""The tools of an agent, by where they come from: the program, its own file, other packages.

    tools = ["end_call", "create_ticket", "order_status", "acme.orders:refund"]

    [webhooks.order_status]
    ...

    [mcp.crm]
    ...

Webhooks of the file, and what its servers may be asked for, are offered whether they are named or not.
A webhook that is called as a tool of the business is used in its place; the tools of the call itself
cannot be replaced.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final

from audiosocket_agent import business
from audiosocket_agent.tables.table import Table
from audiosocket_agent.tools import entry, http_table, mcp_table
from audiosocket_agent.tools.function import NAME
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import Webhook
from audiosocket_agent.tools.mcp_server import McpServer
from audiosocket_agent.tools.registry import Tool
from audiosocket_agent.tools.secrets import Secrets

TOOLS: Final = ("end_call", "transfer_call", "collect_digits")
"""Those of the call itself, which every agent has where its file names none."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model may use. No name is there twice."""

    tools: tuple[str, ...]
    """The program's."""
    webhooks: tuple[Webhook, ...]
    functions: tuple[Tool, ...]
    mcp: tuple[McpServer, ...]
    names: tuple[str, ...]
    """Of all of them, and of those in which there is a mistake."""


def read_offer(top: Table, targets: Collection[str], secrets: Secrets, hosts: Hosts) -> Offer:
    """From `tools`, [webhooks.NAME] and [mcp.NAME]; `targets` are the names of whom a caller can be
    passed on to."""
    table = top.table("webhooks")
    webhooks = tuple(_webhooks(table, secrets, hosts))
    taken = (*TOOLS, *business.NAMES, *table.values)
    mcp = tuple(_servers(top.table("mcp"), secrets, hosts, taken))
    own = dict.fromkeys((*table.values, *(name for server in mcp for name in server.names)))
    named = top.texts("tools")
    if named is None:
        named = tuple(tool for tool in TOOLS if targets or tool != "transfer_call")
    elif "transfer_call" in named and not targets:
        top.wrong("tools", "transfer_call needs somebody to transfer to: a [targets.NAME]")
    ours = tuple(name for name in named if name in (*TOOLS, *business.NAMES) and name not in own)
    others = [name for name in named if name not in (*TOOLS, *business.NAMES, *own)]
    functions = tuple(_functions(top, others, own))
    names = [*ours, *own, *(function.spec.name for function in functions)]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        top.wrong("tools", f"more than one is called {name}")
    asked = [hook.name for hook in webhooks if hook.kept and hook.name in business.ACCOUNT_TOOLS]
    _check_account(top, ours, asked)
    return Offer(ours, webhooks, functions, mcp, tuple(names))


def _webhooks(table: Table, secrets: Secrets, hosts: Hosts) -> Iterator[Webhook]:
    for name, values in table.values.items():
        if name in TOOLS:
            table.wrong(name, "is a tool of the call itself, which no webhook can replace")
        within = table.table(name)
        if isinstance(values, dict) and (found := http_table.read(name, within, secrets, hosts)):
            yield found


def _servers(
    table: Table, secrets: Secrets, hosts: Hosts, taken: Collection[str]
) -> Iterator[McpServer]:
    """None of whose tools may be called as one of those `taken`, nor as one of another server."""
    taken = set(taken)
    for name, values in table.values.items():
        within = table.table(name)
        if isinstance(values, dict):
            server = mcp_table.read(name, within, secrets, hosts)
            for tool in server.names:
                if tool in taken:
                    within.wrong("tools", f"another tool is called {tool}")
                taken.add(tool)
            yield server


def _functions(top: Table, names: Collection[str], own: Collection[str]) -> Iterator[Tool]:
    """Tools that somebody else has written."""
    installed = entry_points(group=entry.GROUP).names
    for name in names:
        if ":" not in name and name not in installed:
            more = f", and no package brings it as one of {entry.GROUP}"
            top.one_of("tools", name, (*TOOLS, *business.NAMES, *own), more)
            continue
        try:
            tool = entry.find(name)
        except LookupError as error:
            top.wrong("tools", str(error))
            continue
        called = tool.spec.name
        if not NAME.fullmatch(called):
            top.wrong("tools", f"{called} is no name for a tool: 1 to 64 of A-Z, a-z, 0-9 and _")
        elif called in TOOLS:
            top.wrong("tools", f"{name} is called {called}, as a tool of the call itself is")
        else:
            yield tool


def _check_account(top: Table, tools: Collection[str], asked: Sequence[str]) -> None:
    """What an account is looked up by is asked for by keys, as its table says; `asked` are webhooks in
    the place of our own, which are told the digits and check them."""
    private = [name for name in business.ACCOUNT_TOOLS if name in tools]
    if private and "account" not in top.values:
        top.wrong("tools", f"{private[0]} needs a check of who asks: an [account]")
    if (named := [*private, *asked]) and "collect_digits" not in tools:
        top.wrong("tools", f"{named[0]} needs collect_digits: its secret digits come by keys")
    if "account" in top.values and not named:
        what = f"protects {', '.join(business.ACCOUNT_TOOLS)}, and no such tool is among tools"
        top.wrong("account", f'{what}, nor a webhook with an argument of type "kept"')
    account = top.values.get("account")
    if asked and not private and isinstance(account, dict) and "digits" in account:
        top.table("account").wrong("digits", f"{asked[0]} is a webhook, which checks them itself")

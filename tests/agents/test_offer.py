"""Which tools an agent's file offers, and where they come from."""

from importlib import metadata
from pathlib import Path

import pytest

from audiosocket_agent import business
from audiosocket_agent.agents.profile import load
from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.tools.entry import GROUP
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.secrets import Secrets
from tests.agents.files import agent, mistakes, mistakes_in, write

HERE = "tests.agents.own_tools"
STATUS = """
[webhooks.order_status]
description = "Find out where an order is."
url = "http://127.0.0.1:8080/orders/{order}"

[webhooks.order_status.arguments.order]
description = "Its number."
"""
CRM = """
[mcp.crm]
command = ["crm-mcp"]
tools = ["find-customer", "end-call"]
"""
BILL = STATUS.replace("order_status", "get_bill")
PROVEN = BILL + "type = 'kept'\n"
ALL = "end_call, transfer_call, collect_digits, " + ", ".join(business.NAMES)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings tools."""
    package = tmp_path / "site" / "acme-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Name: acme\nVersion: 1.0\n")
    lines = [f"refund = {HERE}:refund", f"re-fund = {HERE}:refund", f"gone = {HERE}:gone"]
    (package / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    monkeypatch.syspath_prepend(package.parent)
    assert metadata.version("acme") == "1.0"


def test_the_tools_of_a_business(agents: Path) -> None:
    names = ["end_call", "collect_digits", *business.NAMES]
    sales = agent(agents, f"tools = {names}\n[account]")
    assert sales.tools == tuple(names)
    assert sales.account == AccountCheck(digits=4, attempts=3)


def test_a_webhook_is_offered_whether_it_is_named_or_not(agents: Path) -> None:
    for tools in ("", "tools = ['end_call', 'order_status', 'collect_digits']\n"):
        sales = agent(agents, tools + STATUS)
        assert sales.tools == ("end_call", "collect_digits")
        assert [webhook.name for webhook in sales.webhooks] == ["order_status"]


@pytest.mark.parametrize("tools", ["['end_call', 'get_bill']", "['end_call']"])
def test_a_webhook_takes_the_place_of_a_tool_of_the_business(agents: Path, tools: str) -> None:
    """It checks who asks by itself: no [account] is needed."""
    sales = agent(agents, f"tools = {tools}\n{BILL}")
    assert sales.tools == ("end_call",)
    assert [webhook.name for webhook in sales.webhooks] == ["get_bill"]
    assert sales.account is None


def test_how_often_such_a_webhook_is_tried_may_be_said(agents: Path) -> None:
    sales = agent(agents, f"account.attempts = 2\n{PROVEN}")
    assert [webhook.kept for webhook in sales.webhooks] == [{"order"}]
    assert sales.account == AccountCheck(attempts=2)


@pytest.mark.parametrize("tools", ["", "tools = ['end_call', 'crm_end_call', 'collect_digits']\n"])
def test_what_a_server_may_be_asked_for_is_offered_whether_it_is_named_or_not(
    agents: Path, tools: str
) -> None:
    sales = agent(agents, f"{tools}limits.uses.crm_find_customer = 1\n{CRM}")
    assert sales.tools == ("end_call", "collect_digits")
    [server] = sales.mcp
    assert list(server.names) == ["crm_find_customer", "crm_end_call"]


def test_functions_by_their_place_and_by_what_a_package_calls_them(
    agents: Path, installed: None
) -> None:
    sales = agent(agents, f"tools = ['refund', '{HERE}:bill']\nlimits.uses.refund = 1")
    assert sales.tools == ()
    assert [function.spec.name for function in sales.functions] == ["refund", "get_bill"]
    assert sales.uses == {"refund": 1}


def test_webhooks_have_the_secrets_and_hosts_that_are_given(agents: Path) -> None:
    text = """\
[webhooks.order_status]
description = "Find out where an order is."
url = "https://api.example.com/orders"
headers = { A = "secret:K" }
"""
    write(agents, f"instructions = 'You sell.'\n{text}")
    with_both = load(agents, secrets=Secrets({"K": "s3cret"}), hosts=Hosts.of("api.example.com"))
    [webhook] = with_both["sales"].webhooks
    assert webhook.secrets == {"K": "s3cret"}
    assert "s3cret" not in repr(with_both)
    assert mistakes(agents) == [
        "sales.toml:4: webhooks.order_status.url: its host is not among TOOLS_HOSTS",
        "sales.toml:5: webhooks.order_status.headers: there is no secret K, in the environment or "
        "among the credentials",
    ]


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (
            "tools = ['end_cal']",
            f'2: tools: "end_cal" is none of {ALL}, and no package brings it as one of {GROUP}; '
            "did you mean end_call?",
        ),
        (
            f"tools = ['order_stats']\n{STATUS}",
            f'2: tools: "order_stats" is none of {ALL}, order_status, and no package brings it as '
            f"one of {GROUP}; did you mean order_status?",
        ),
        (
            f"tools = ['{HERE}:gone']",
            f"2: tools: {HERE}:gone cannot be had: AttributeError: module '{HERE}' has no attribute "
            "'gone'",
        ),
        (
            f"tools = ['{HERE}:blocks']",
            f"2: tools: {HERE}:blocks is no async function; asyncio.to_thread() runs a plain one",
        ),
        (
            f"tools = ['{HERE}:end_call']",
            f"2: tools: {HERE}:end_call is called end_call, as a tool of the call itself is",
        ),
        (
            "tools = ['re-fund']",
            "2: tools: re-fund is no name for a tool: 1 to 64 of A-Z, a-z, 0-9 and _",
        ),
        (
            "tools = ['gone']",
            f"2: tools: gone cannot be had: AttributeError: module '{HERE}' has no attribute 'gone'",
        ),
        (f"tools = ['refund', '{HERE}:refund']", "2: tools: more than one is called refund"),
        (f"tools = ['{HERE}:bill']\n{BILL}", "2: tools: more than one is called get_bill"),
        ("webhooks = []", "2: webhooks: must be a table, not a list"),
        ("webhooks.x = 1", "2: webhooks.x: must be a table, not a number"),
        (
            f"{STATUS}patern = '[0-9]{{6}}'",
            "9: webhooks.order_status.arguments.order.patern: unknown key; did you mean pattern?",
        ),
        (
            STATUS.replace("order_status", "end_call"),
            "3: webhooks.end_call: is a tool of the call itself, which no webhook can replace",
        ),
        (
            STATUS.replace("order_status", "order-status"),
            "3: webhooks.order-status: a webhook's name is 1 to 64 of A-Z, a-z, 0-9 and _, the first "
            "no digit",
        ),
        ("mcp.x = 1", "2: mcp.x: must be a table, not a number"),
        (CRM.replace("end-call", "*"), '5: mcp.crm.tools: "*" is no tool\'s name'),
        (
            CRM.replace("mcp.crm", "mcp.end").replace("end-call", "call"),
            "5: mcp.end.tools: another tool is called end_call",
        ),
        (
            CRM.replace("mcp.crm", "mcp.order").replace("end-call", "status") + STATUS,
            "5: mcp.order.tools: another tool is called order_status",
        ),
        (
            CRM.replace("mcp.crm", "mcp.get").replace("end-call", "bill"),
            "5: mcp.get.tools: another tool is called get_bill",
        ),
        (
            CRM + CRM.replace("mcp.crm", "mcp.crm_end").replace("end-call", "call"),
            "9: mcp.crm_end.tools: another tool is called crm_end_call",
        ),
        (
            f"tools = ['crm_refund', '{HERE}:crm_refund']\n{CRM.replace('end-call', 'refund')}",
            "2: tools: more than one is called crm_refund",
        ),
        (
            f"tools = ['order_status']\nlimits.uses.order_status = 1\n{STATUS}slow = 'yes'",
            "11: webhooks.order_status.arguments.order.slow: unknown key",
        ),
    ],
)
def test_a_mistake_of_tools_is_one_line(
    agents: Path, installed: None, toml: str, said: str
) -> None:
    assert mistakes_in(agents, toml) == [f"sales.toml:{said}"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (
            "tools = ['get_bill', 'collect_digits']",
            "2: tools: get_bill needs a check of who asks: an [account]",
        ),
        (
            "tools = ['get_bill']\n[account]",
            "2: tools: get_bill needs collect_digits: its secret digits come by keys",
        ),
        (
            "tools = ['end_call']\n[account]",
            f"3: account: protects {', '.join(business.ACCOUNT_TOOLS)}, and no such tool is among "
            'tools, nor a webhook with an argument of type "kept"',
        ),
        (
            f"account.digits = 6\n{PROVEN}",
            "2: account.digits: get_bill is a webhook, which checks them itself",
        ),
        (
            f"tools = ['end_call']\n{PROVEN}",
            "2: tools: get_bill needs collect_digits: its secret digits come by keys",
        ),
        (
            "tools = ['get_bill', 'collect_digits']\n[account]\ndigits = 2",
            "4: account.digits: must be from 3 to 12",
        ),
        (
            "tools = ['get_bill', 'collect_digits']\n[account]\nattempts = 0",
            "4: account.attempts: must be from 1 to 10",
        ),
        (
            "tools = ['get_bill', 'collect_digits']\n[account]\ndigit = 4",
            "4: account.digit: unknown key; did you mean digits?",
        ),
        (
            "tools = ['get_bill', 'collect_digits']\naccount = 4",
            "3: account: must be a table, not a number",
        ),
    ],
)
def test_an_account_is_protected_or_not_spoken_of(agents: Path, toml: str, said: str) -> None:
    assert mistakes_in(agents, toml) == [f"sales.toml:{said}"]


def test_all_mistakes_of_tools_are_told_at_once(agents: Path) -> None:
    tools = ["tranfer_call", f"{HERE}:gone", "get_bill", "transfer_call"]
    text = f"tools = {tools}\nwebhooks.end_call = {{}}"
    assert [line.split(": ")[1] for line in mistakes_in(agents, text)] == [
        *["tools"] * 5,
        "webhooks.end_call",
        "webhooks.end_call.url",
        "webhooks.end_call.description",
    ]

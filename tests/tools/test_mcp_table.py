"""An MCP server as an operator writes it: what it comes to, and what is said of every mistake."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.tables.table import Mistakes, Table, parse
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.mcp_server import McpServer
from audiosocket_agent.tools.mcp_table import CLIENT, KEYS, read
from audiosocket_agent.tools.secrets import Secrets

ROOT = Path(__file__).parents[2]
HOSTS = Hosts.of("mcp.example.com")
SECRETS = Secrets({"TOKEN": "s3cr3t-t0k3n", "GEMINI_API_KEY": "AIza"})

PROGRAM = '[mcp.crm]\ncommand = ["uvx", "crm-mcp"]\n'
SERVICE = '[mcp.crm]\nurl = "https://mcp.example.com/mcp"\n'
TOOLS = 'tools = ["find-customer"]\n'


def told(tmp_path: Path, text: str) -> tuple[McpServer, list[str]]:
    """What the table comes to, and its mistakes without the file's name."""
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    top = parse(path, 64 * 1024)
    servers = top.table("mcp")
    [name] = servers.values
    server = read(name, servers.table(name), SECRETS, HOSTS)
    return server, [line.removeprefix(f"{path}:") for line in top.mistakes.told()]


def good(tmp_path: Path, text: str) -> McpServer:
    server, mistakes = told(tmp_path, text)
    assert not mistakes
    return server


def test_three_lines_are_enough(tmp_path: Path) -> None:
    server = good(tmp_path, PROGRAM + TOOLS)
    assert server.command == ("uvx", "crm-mcp")
    assert server.names == {"crm_find_customer": "find-customer"}
    assert (server.timeout_s, server.max_uses, server.slow) == (10.0, 10, False)


def test_a_program_gets_what_it_is_given_and_little_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("GEMINI_API_KEY", "AIza")
    text = PROGRAM + TOOLS + 'env = { CRM_TOKEN = "secret:TOKEN", CRM_URL = "http://x/{y}" }'
    server = good(tmp_path, text)
    assert dict(server.env) == {
        "PATH": "/usr/bin",
        "CRM_TOKEN": "s3cr3t-t0k3n",
        "CRM_URL": "http://x/{y}",
    }
    assert server.secrets == ("s3cr3t-t0k3n",)
    assert "s3cr3t" not in repr(server)


def test_everything_that_can_be_said_of_a_service(tmp_path: Path) -> None:
    text = (
        '[mcp.erp]\nurl = "http://localhost:8080/mcp?for=phone"\ntools = ["a.b", "c"]\n'
        'headers = { Authorization = "Bearer secret:TOKEN" }\n'
        "timeout = 20\nmax_uses = 3\nslow = true\n"
    )
    server = good(tmp_path, text)
    assert server == McpServer(
        name="erp",
        url="http://localhost:8080/mcp?for=phone",
        headers=(("Authorization", "Bearer s3cr3t-t0k3n"),),
        tools=("a.b", "c"),
        timeout_s=20,
        max_uses=3,
        slow=True,
        secrets=("s3cr3t-t0k3n",),
    )
    assert {server, good(tmp_path, text)} == {server}  # two files that say the same mean one


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        ("", "1: mcp.crm: needs either command or url"),
        ('command = ["a"]\nurl = "https://mcp.example.com/"', "1: mcp.crm: needs either command"),
        ('command = "uvx a"', "3: mcp.crm.command: must be a list, not text"),
        ("command = []", "3: mcp.crm.command: must be a list of a program and its words"),
        ('command = [""]', "3: mcp.crm.command: must be a list of a program and its words"),
        ('command = ["a", 1]', "3: mcp.crm.command: must be a list of a program and its words"),
        ('command = ["a", "--token=secret:TOKEN"]', "3: mcp.crm.command: everybody on this host"),
        ('url = "http://mcp.example.com/"', "3: mcp.crm.url: must be https, which only this host"),
        ('url = "https://evil.example.com/"', "3: mcp.crm.url: its host is not among TOOLS_HOSTS"),
        ('url = "https://u:p@mcp.example.com/"', "3: mcp.crm.url: has a user or password in it"),
        ('url = "https://mcp.example.com/?k=secret:TOKEN"', "3: mcp.crm.url: has a secret in it"),
        ('url = "https://mcp.example.com/#a"', "3: mcp.crm.url: has characters that must be"),
        ('url = "ftp://mcp.example.com/"', "3: mcp.crm.url: must be https://HOST/PATH"),
        ('url = "https://mcp.example.com:99999/"', "3: mcp.crm.url: is no URL"),
    ],
)
def test_where_it_is(tmp_path: Path, lines: str, mistake: str) -> None:
    _, mistakes = told(tmp_path, f"[mcp.crm]\n{TOOLS}{lines}\n")
    assert mistakes[0].startswith(mistake)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("", "tools: missing: name the tools that may be used"),
        ("tools = []", "tools: missing: name the tools"),
        ('tools = "*"', "tools: must be a list, not text"),
        ("tools = [1]", "tools: must be a list of nothing but texts"),
        ('tools = [""]', 'tools: "" is no tool\'s name'),
        ('tools = ["a-b", "a_b"]', 'tools: "a_b" and "a-b" are both crm_a_b to a model'),
        (f'tools = ["{"a" * 61}"]', f'tools: "crm_{"a" * 56}…" is longer than a model takes'),
        (f"tools = {[f'a{number}' for number in range(33)]}", "tools: are more than 32"),
        (TOOLS + 'env = { "A B" = "1" }', 'env."A B": is no name here'),
        (TOOLS + "env = { A = 1 }", "env.A: must be text in quotes, not a number"),
        (TOOLS + 'env = { A = "secret:NONE" }', "env.A: there is no secret NONE"),
        (TOOLS + 'env = { A = "secret:GEMINI_API_KEY" }', "env.A: there is no secret GEMINI_API_"),
        (TOOLS + 'env = { A = "a\\nb" }', "env.A: must be text of one line"),
        (TOOLS + 'headers = { A = "b" }', "headers: means nothing without url"),
        (TOOLS + "timeout = 100", "timeout: must be from 0.1 to 60"),
        (TOOLS + "max_uses = 0", "max_uses: must be from 1 to 1000"),
        (TOOLS + 'slow = "yes"', "slow: must be true or false"),
        (TOOLS + "tiemout = 5", "tiemout: unknown key; did you mean timeout?"),
    ],
)
def test_what_it_may_do(tmp_path: Path, line: str, mistake: str) -> None:
    _, mistakes = told(tmp_path, f"{PROGRAM}{line}\n")
    assert mistakes[0].split(": mcp.crm.", 1)[1].startswith(mistake)


def test_a_header_is_a_header(tmp_path: Path) -> None:
    _, mistakes = told(tmp_path, SERVICE + TOOLS + 'headers = { "A:" = "b" }\nenv = { A = "b" }')
    assert [line.split("mcp.crm.")[1] for line in mistakes] == [
        'headers."A:": is no name here',
        "env: means nothing without command",
    ]


def test_names_are_names(tmp_path: Path) -> None:
    _, [mistake] = told(tmp_path, PROGRAM.replace("crm", '"my crm"', 1) + TOOLS)
    assert "a server's name is 1 to 64 of A-Z, a-z" in mistake


def test_the_client_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _, [mistake] = told(tmp_path, PROGRAM + TOOLS)
    assert mistake == (
        f"1: mcp.crm: needs the official client: {sys.executable} -m pip install 'mcp>=2.3,<3'"
    )


def test_it_is_the_client_of_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["mcp"] == [CLIENT]


_VALUES = st.recursive(
    st.sampled_from(["https://mcp.example.com/", "secret:TOKEN", "uvx"])
    | (st.booleans() | st.integers() | st.floats() | st.text() | st.dates()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(KEYS), _VALUES))
def test_whatever_a_file_says_is_a_server_or_has_mistakes(values: dict[str, Any]) -> None:
    mistakes = Mistakes(Path("a.toml"), "")
    server = read("x", Table(values, mistakes, ("mcp", "x")), SECRETS, HOSTS)
    assert mistakes.told() or (server.tools and bool(server.command) != bool(server.url))
    hash(server)

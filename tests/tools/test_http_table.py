"""A webhook as an operator writes it: what it comes to, and what is said of every mistake."""

from pathlib import Path
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.tables.table import Mistakes, Table, parse
from audiosocket_agent.tools.argument_table import KEYS as ARGUMENT_KEYS
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import Webhook
from audiosocket_agent.tools.http_table import KEYS, read
from audiosocket_agent.tools.secrets import Secrets

HOSTS = Hosts.of("erp.example.com, *.example.org")
SECRETS = Secrets({"ERP_TOKEN": "s3cr3t-t0k3n", "GEMINI_API_KEY": "AIza", "TWO_LINES": "a\nb"})

GOOD = """
[webhooks.order]
description = "Find out where an order is."
url = "https://erp.example.com/orders/{order}"
"""
ORDER = """
[webhooks.order.arguments.order]
description = "The number on the confirmation."
pattern = "[0-9]{6}"
"""


def told(tmp_path: Path, text: str) -> tuple[Webhook | None, list[str]]:
    """What the table comes to, and its mistakes without the file's name."""
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    top = parse(path, 64 * 1024)
    webhooks = top.table("webhooks")
    [name] = webhooks.values
    webhook = read(name, webhooks.table(name), SECRETS, HOSTS)
    return webhook, [line.removeprefix(f"{path}:") for line in top.mistakes.told()]


def good(tmp_path: Path, text: str) -> Webhook:
    webhook, mistakes = told(tmp_path, text)
    assert not mistakes
    assert webhook is not None
    return webhook


def test_four_lines_are_enough(tmp_path: Path) -> None:
    webhook = good(tmp_path, GOOD + ORDER)
    assert (webhook.name, webhook.method, webhook.timeout_s) == ("order", "GET", 5.0)
    assert (webhook.origin, webhook.path) == ("https://erp.example.com", "/orders/{order}")
    assert webhook.attempts == 2
    assert webhook.arguments.schema == {
        "type": "object",
        "properties": {
            "order": {
                "type": "string",
                "description": "The number on the confirmation.",
                "pattern": "^(?:[0-9]{6})$",  # all of it, not somewhere in it
            }
        },
        "required": ["order"],
    }


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    webhook = good(
        tmp_path,
        """
[webhooks.complain]
description = "Write a complaint down."
url = "http://127.0.0.1:8080/complaints"
method = "POST"
timeout = 20
retries = 2
max_uses = 3
slow = true
headers = { Authorization = "Bearer secret:ERP_TOKEN", Idempotency-Key = "{call.key}" }
json = { about = { text = "{text}", when = "{day}", from = "{call.caller}" }, source = "phone" }
result = { number = "complaint.0.number" }

[webhooks.complain.arguments]
text = { description = "What is wrong.", max_chars = 2000 }
day = { type = "date", required = false }
kind = { choices = ["bill", "outage"] }
floors = { type = "integer", list = true, min = 0, max = 99, required = false }
price = { type = "number", min = 0.5, required = false }
pin = { type = "kept", description = "Their PIN." }
sure = { type = "boolean", secret = true }
""",
    )
    assert (webhook.timeout_s, webhook.attempts, webhook.max_uses) == (20, 3, 3)
    assert webhook.slow
    assert webhook.kept == {"pin"}
    assert webhook.arguments.secret == {"sure"}
    assert webhook.result == {"number": ("complaint", "0", "number")}
    properties: Any = webhook.arguments.schema["properties"]
    assert properties["text"]["maxLength"] == 2000
    assert properties["kind"]["enum"] == ["bill", "outage"]
    assert properties["floors"]["items"] == {"type": "integer", "minimum": 0, "maximum": 99}
    assert "collect_digits" in properties["pin"]["description"]
    assert "s3cr3t" not in repr(webhook)


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ('url = "ftp://erp.example.com/x"', "url: must be https://HOST/PATH"),
        ('url = "/x"', "url: must be https://HOST/PATH"),
        ('url = "https://erp.example.com:99999/"', "url: is no URL: Port out of range"),
        ('url = "http://erp.example.com/x"', "url: must be https, which only this host itself"),
        ('url = "https://u:p@erp.example.com/"', "url: has a user or password in it"),
        ('url = "https://erp.example.com/?a=b"', "url: has more than a path"),
        ('url = "https://erp.example.com/a b"', "url: has a path with characters"),
        ('url = "https://evil.example.com/"', "url: its host is not among TOOLS_HOSTS"),
        ('url = "https://example.org/"', "url: its host is not among TOOLS_HOSTS"),
        ('url = "https://{order}.example.org/"', "url: must be https://HOST/PATH"),
        ('url = "http://127.1/"', "url: must be https, which only this host itself"),
        ('url = "https://erp.example.com/{odrer}"', "url: {odrer} is nothing that could be filled"),
        ('url = "https://erp.example.com/secret:NONE"', "url: there is no secret NONE"),
        ("url = 7", "url: must be text in quotes, not a number"),
    ],
)
def test_where_it_may_go(tmp_path: Path, line: str, mistake: str) -> None:
    text = GOOD.replace('url = "https://erp.example.com/orders/{order}"', line) + ORDER
    webhook, mistakes = told(tmp_path, text)
    assert webhook is None
    assert mistakes[0].startswith(f"4: webhooks.order.{mistake}")


def test_hosts_below_one_that_is_listed(tmp_path: Path) -> None:
    for host in ("a.example.org", "A.B.example.org:8443", "localhost"):
        text = GOOD.replace("erp.example.com", host) + ORDER
        assert good(tmp_path, text).origin == f"https://{host}"


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ('method = "HEAD"', 'method: "HEAD" is none of GET, POST'),
        ("timeout = 0", "timeout: must be from 0.1 to 60"),
        ('timeout = "5"', "timeout: must be a number, not text in quotes"),
        ("retries = 9", "retries: must be from 0 to 3"),
        ("max_uses = 2.5", "max_uses: must be a whole number"),
        ("timeout = nan", "timeout: must be from 0.1 to 60"),
        ('slow = "yes"', "slow: must be true or false"),
        ("tiemout = 5", "tiemout: unknown key; did you mean timeout?"),
        ('headers = { "X Y" = "1" }', 'headers."X Y": is no header\'s name'),
        ("headers = { X = 1 }", "headers.X: must be text of one line"),
        ('headers = { X = "a\\r\\nY: b" }', "headers.X: must be text of one line"),
        ('headers = { X = "{order}" }', "headers: {order} is nothing that could be filled in"),
        ('headers = { X = "{call.caller}" }', "headers: {call.caller} is nothing that could"),
        ('headers = { X = "secret:NONE" }', "headers: there is no secret NONE"),
        ('headers = { X = "secret:GEMINI_API_KEY" }', "headers: there is no secret GEMINI_API_KEY"),
        ('headers = { X = "secret:TWO_LINES" }', "headers: there is no secret TWO_LINES"),
        ("headers = 1", "headers: must be a table, not a number"),
        ('query = { a = ["b"] }', "query.a: must be text, a number, true or false"),
        ('query = { a = "{call.calller}" }', "query: {call.calller} is nothing"),
        ('json = { a = [{ b = "{x}" }] }', "json: {x} is nothing"),
        ("json = {}\nform = {}", "form: there is json already"),
        ('result = { a = "" }', "result.a: is no place in an answer"),
        ('result = { a = "b..c" }', "result.a: is no place in an answer"),
    ],
)
def test_what_it_may_send_and_tell(tmp_path: Path, line: str, mistake: str) -> None:
    webhook, mistakes = told(tmp_path, f"{GOOD}{line}\n{ORDER}")
    assert webhook is None
    assert mistakes[0].split(": webhooks.order.", 1)[1].startswith(mistake)


def test_only_what_may_be_done_twice_is_tried_twice(tmp_path: Path) -> None:
    post = GOOD + 'method = "POST"\n'
    assert good(tmp_path, post + ORDER).attempts == 1
    _, [mistake] = told(tmp_path, post + "retries = 1\n" + ORDER)
    assert "retries: need GET, or a header" in mistake
    key = 'headers = { Idempotency-Key = "{call.key}" }\n'
    assert good(tmp_path, post + key + ORDER).attempts == 2


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ('type = "text"', 'type: "text" is none of string, integer'),
        ('pattern = "["', "pattern: order: error: unclosed character class"),
        ("min = 1", "min: means nothing for a string"),
        ('type = "integer"\nmin = 2\nmax = 1', "min: is more than max"),
        ('type = "integer"\nmin = 0.5', "min: must be a whole number"),
        ('type = "boolean"\nchoices = ["a"]', "choices: means nothing for a boolean"),
        ("choices = [1]", "choices: must be a list of nothing but texts"),
        ('type = "kept"\nlist = true', "list: means nothing for what is kept"),
        ("max_chars = 0", "max_chars: must be from 1 to 10000"),
        ('requierd = "x"', "requierd: unknown key; did you mean required?"),
    ],
)
def test_what_a_model_may_be_asked_for(tmp_path: Path, line: str, mistake: str) -> None:
    text = GOOD + "[webhooks.order.arguments.order]\n" + line
    webhook, mistakes = told(tmp_path, text)
    assert webhook is None
    assert mistakes[0].split(": webhooks.order.arguments.order.", 1)[1].startswith(mistake)


def test_an_argument_in_the_path_cannot_be_left_out(tmp_path: Path) -> None:
    _, [mistake] = told(tmp_path, GOOD + ORDER + "required = false\n")
    assert "url: {order} is nothing that could be filled in here" in mistake


def test_names_are_names(tmp_path: Path) -> None:
    _, mistakes = told(
        tmp_path,
        """
[webhooks."order status"]
description = " "
url = "https://erp.example.com/"

[webhooks."order status".arguments."the number"]
""",
    )
    assert [mistake.split(": ", 2)[2][:40] for mistake in mistakes] == [
        "a webhook's name is 1 to 64 of A-Z, a-z,",
        "missing: it tells the model what it is f",
        "an argument's name is 1 to 64 of A-Z, a-",
    ]


_SCALARS = st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
_KNOWN = st.sampled_from(
    [
        *("https://erp.example.com/{x}", "http://localhost:1/", "POST", "secret:ERP_TOKEN", "{x}"),
        *("{call.key}", "string", "integer", "kept", "number", "[0-9]", "a.b.0"),
    ]
)
_VALUES = st.recursive(
    _KNOWN | _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_ARGUMENT = st.dictionaries(st.sampled_from(ARGUMENT_KEYS), _VALUES)
_TABLE = st.fixed_dictionaries(
    {"description": st.just("Find it."), "url": _KNOWN},
    optional={
        **{key: _VALUES for key in KEYS if key not in ("description", "url")},
        "arguments": st.dictionaries(st.sampled_from(["x", "y", "1"]), _ARGUMENT | _VALUES),
    },
)


@given(_TABLE)
def test_whatever_a_file_says_is_a_webhook_or_a_list_of_mistakes(values: dict[str, Any]) -> None:
    mistakes = Mistakes(Path("a.toml"), "")
    webhook = read("x", Table(values, mistakes, ("webhooks", "x")), SECRETS, HOSTS)
    assert (webhook is None) == bool(mistakes.told())
    if webhook is not None:
        types.Schema.model_validate(webhook.arguments.schema)

"""A webhook as an operator writes it, read with suspicion: every mistake with its line.

[webhooks.order_status]
description = "Find out where an order is."
url = "https://erp.example.com/orders/{order}"
headers = { Authorization = "Bearer secret:ERP_TOKEN" }
result = { state = "order.state", arrives = "order.shipments.0.eta" }

[webhooks.order_status.arguments.order]
description = "The number on the confirmation."
pattern = "[0-9]{6}"
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import SplitResult

from audiosocket_agent.call.info import VARIABLE
from audiosocket_agent.tables.table import Table
from audiosocket_agent.tools.argument_table import read_arguments
from audiosocket_agent.tools.function import NAME
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import Webhook
from audiosocket_agent.tools.numbers import seconds, whole
from audiosocket_agent.tools.registry import MAX_USES
from audiosocket_agent.tools.secrets import Secrets
from audiosocket_agent.tools.template import Template, holes, texts

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
TIMEOUT_S: Final = 5.0
MAX_TIMEOUT_S: Final = 60.0
MAX_RETRIES: Final = 3

KEY: Final = "call.key"
_CALL: Final = ("id", "key", "language", "caller", "caller_name", "extension")
KEYS: Final = (
    *("description", "url", "method", "timeout", "retries", "max_uses", "slow"),
    *("headers", "query", "json", "form", "arguments", "result"),
)
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/{}-]*")
_STEP: Final = re.compile(r"[^.\s][^.]*")


def read(name: str, table: Table, known: Secrets, hosts: Hosts) -> Webhook | None:
    """The webhook `name`; None, with the mistakes noted in the table, where it cannot be used."""
    before = table.mistakes.told()
    table.only(KEYS)
    if not NAME.fullmatch(name):
        what = "a webhook's name is 1 to 64 of A-Z, a-z, 0-9 and _, the first no digit"
        table.mistakes.note(table.place, what)
    arguments, kept = read_arguments(table.table("arguments"))
    method = table.get("method", str) or "GET"
    table.one_of("method", method, METHODS)
    url = _url(table, hosts)
    values = {key: _values(table, key) for key in ("headers", "query", "json", "form")}
    if values["json"] is not None and values["form"] is not None:
        table.wrong("form", "there is json already")
    path = (url.path or "/") if url else ""
    _check_holes(table, "url", path, arguments.required)
    for key, tree in values.items():
        _check_holes(table, key, tree, () if key == "headers" else arguments.names)
    if values["headers"]:
        _check_headers(table.table("headers"))
    found = _secrets(table, {"url": path, **values}, known)
    if values["query"] is None and values["json"] is None and values["form"] is None:
        _by_default(method, arguments.names, path, values)
    description = (table.get("description", str) or "").strip()
    if not description:
        table.wrong("description", "missing: it tells the model what it is for")
    webhook = Webhook(
        name=name,
        description=description,
        slow=table.get("slow", bool) or False,
        timeout_s=seconds(table, "timeout", 0.1, MAX_TIMEOUT_S, TIMEOUT_S),
        attempts=1 + _retries(table, method, values["headers"]),
        max_uses=whole(table, "max_uses", 1, 1000, MAX_USES),
        arguments=arguments,
        kept=kept,
        method=method,
        origin=f"{url.scheme}://{url.netloc}" if url else "",
        path=path,
        headers=Template(values["headers"] or {}, found),
        query=Template(values["query"] or {}, found),
        json=_template(values["json"], found),
        form=_template(values["form"], found),
        result=_result(table.table("result")),
        secrets=found,
    )
    return webhook if table.mistakes.told() == before else None


# ---- where it goes -------------------------------------------------------------------------------


def _url(table: Table, hosts: Hosts) -> SplitResult | None:
    url = hosts.url(table)
    if url is None:
        if "url" not in table.values:
            table.wrong("url", "missing")
        return None
    wrong = ""
    if set("?#") & set(table.values["url"]):
        wrong = "has more than a path: write query = { NAME = VALUE }"
    elif not _PATH.fullmatch(url.path):
        wrong = "has a path with characters that must be written as %XX"
    if wrong:
        table.wrong("url", wrong)
    return None if wrong else url


def _retries(table: Table, method: str, headers: Any) -> int:
    """Only what may be done twice is tried twice."""
    safe = method == "GET" or KEY in holes(headers)
    retries = whole(table, "retries", 0, MAX_RETRIES, 1 if safe else 0)
    if retries and not safe:
        table.wrong(
            "retries", f'need GET, or a header by which nothing is done twice, as "{{{KEY}}}"'
        )
    return retries


# ---- what it is sent -----------------------------------------------------------------------------


def _values(table: Table, key: str) -> dict[str, Any] | None:
    values = table.get(key, dict)
    if values is not None and key != "json":
        within = table.table(key)
        for name, value in values.items():
            if not isinstance(value, (str, int, float)):
                within.wrong(name, "must be text, a number, true or false")
    return values


def _template(values: dict[str, Any] | None, found: Mapping[str, str]) -> Template | None:
    return None if values is None else Template(values, found)


def _by_default(
    method: str, names: Collection[str], path: str, values: dict[str, dict[str, Any] | None]
) -> None:
    """Arguments that have no place of their own go into the query, or the body."""
    placed = set(holes(path))
    rest = {name: f"{{{name}}}" for name in names if name not in placed}
    values["query" if method in ("GET", "DELETE") else "json"] = rest


def _check_holes(table: Table, key: str, tree: Any, names: Collection[str]) -> None:
    for hole in holes(tree):
        owner, _, fact = hole.rpartition(".")
        of_call = owner == "call" and (fact in _CALL or VARIABLE.fullmatch(fact))
        if key == "headers":  # what a caller says has no place there
            of_call = hole in ("call.id", KEY)
        if not of_call and hole not in names:
            table.wrong(key, f"{{{hole}}} is nothing that could be filled in here")


def _check_headers(headers: Table) -> None:
    for name, value in headers.values.items():
        if not _HEADER.fullmatch(name):
            headers.wrong(name, "is no header's name")
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            headers.wrong(name, "must be text of one line, without accents")


def _secrets(table: Table, values: Mapping[str, Any], known: Secrets) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, tree in values.items():
        for text in texts(tree):
            found |= known.read(table, key, text)
    return found


# ---- what is told ---------------------------------------------------------------------------------


def _result(table: Table) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in table.values:
        path = table.get(name, str)
        if path is not None:
            steps = tuple(path.split("."))
            if not all(_STEP.fullmatch(step) for step in steps):
                table.wrong(name, "is no place in an answer, as order.items.0.name is one")
            found[name] = steps
    return found

"""A webhook as a tool: arguments out, a few facts of the answer back.

What goes wrong is told twice: to the operator in a line of the log, to the model in a sentence that it
can pass on. Neither has a secret in it, even where the other side sends one back.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from audiosocket_agent import log
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.hiding import hidden
from audiosocket_agent.tools.http_client import (
    RETRY_AFTER_S,
    HttpClient,
    HttpError,
    Request,
    Unanswered,
)
from audiosocket_agent.tools.registry import CallControl, Result, Tool, ToolError, ToolFailed
from audiosocket_agent.tools.schema import Arguments
from audiosocket_agent.tools.template import Template, as_text, holes

NOT_FOUND: Final = "nothing was found"
REFUSED: Final = "the service has refused it"
NO_ANSWER: Final = "the service does not answer now"
NO_USE: Final = "the service gave an answer that cannot be used"
NOTHING_KEPT: Final = "nothing is kept under that name: collect the digits first"
NO_MORE: Final = (
    "there were too many tries without success in this call: no further one is possible"
)
DONE: Final = "done"

TRIES: Final = 3
"""With kept digits and without success, in one call."""

_TRIED: Final = "kept_tries"
_SPARE_S: Final = 0.5  # the client gives up first, and says why

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # it has secrets
class Webhook:
    """One, as its table has it (http_table)."""

    name: str
    description: str
    slow: bool
    timeout_s: float
    """Of all attempts together; the first may take all of it."""
    attempts: int
    max_uses: int
    arguments: Arguments
    kept: frozenset[str]
    """Arguments that are names of kept digits; the digits are sent."""
    method: str
    origin: str
    """https://host:port"""
    path: str
    """With holes."""
    headers: Template
    query: Template
    json: Template | None
    """None: no body, or a form."""
    form: Template | None
    result: Mapping[str, tuple[str, ...]]
    """What is told of the answer, by where it is; empty: all of it."""
    secrets: Mapping[str, str]
    """By name: those in it."""


def webhook_tool(webhook: Webhook, client: HttpClient, tries: int = TRIES) -> Tool:
    """The tool that calls it. What kept digits prove is not to be guessed: after so many `tries` with
    any that came to nothing, a call has no further one."""

    async def run(call: CallControl, arguments: Mapping[str, Any]) -> Result:
        kept = {name: _kept(call, arguments[name]) for name in webhook.kept if name in arguments}
        if not kept:
            return await ask(call, arguments, ())
        tried = call.notes.get(_TRIED, 0)
        if tried >= tries:
            raise ToolError(NO_MORE)
        call.notes[_TRIED] = tried + 1  # before it is known: several may be under way
        result = await ask(call, {**arguments, **kept}, kept.values())
        call.notes[_TRIED] -= 1
        return result

    async def ask(call: CallControl, arguments: Mapping[str, Any], kept: Collection[str]) -> Result:
        request = _request(webhook, call, arguments)
        try:
            status, body = await client.fetch(
                request, attempts=webhook.attempts, timeout_s=webhook.timeout_s
            )
            answer = _answer(status, body)
        except HttpError as error:
            _log.warning("webhook failed", tool=webhook.name, reason=str(error))
            raise ToolFailed(NO_ANSWER if isinstance(error, Unanswered) else NO_USE) from None
        if status >= 400:
            _log.warning("webhook refused", tool=webhook.name, status=status)
            raise ToolError(NOT_FOUND if status == 404 else REFUSED)
        secrets = [*webhook.secrets.values(), *kept]
        told = hidden(_picked(webhook.result, answer), secrets)
        if webhook.result and not told:
            _log.warning(
                "webhook failed", tool=webhook.name, reason="nothing of its result is there"
            )
            raise ToolFailed(NO_USE)
        return {"output": told}  # within one: an "error" of theirs need not be ours

    return Tool(
        ToolSpec(webhook.name, webhook.description, webhook.arguments.schema, webhook.slow),
        run,
        timeout_s=webhook.timeout_s + RETRY_AFTER_S + _SPARE_S,
        arguments=webhook.arguments,
        max_uses=webhook.max_uses,
    )


# ---- what is sent --------------------------------------------------------------------------------


def _kept(call: CallControl, name: str) -> str:
    digits = call.secret(name)
    if digits is None:
        raise ToolError(NOTHING_KEPT)
    return digits


def _request(webhook: Webhook, call: CallControl, arguments: Mapping[str, Any]) -> Request:
    own = {"id": call.id, "key": call.key, "language": call.language}
    known = {f"call.{name}": value for name, value in {**call.facts, **own}.items()}
    values = {**arguments, **known}
    path = _path(webhook, values)
    form = webhook.form.fill(values) if webhook.form else None
    return Request(
        webhook.method,
        webhook.origin + path,
        webhook.headers.fill(values),
        _texts(webhook.query.fill(values)),
        json=webhook.json.fill(values) if webhook.json else None,
        form=None if form is None else _texts(form),
    )


def _path(webhook: Webhook, values: Mapping[str, Any]) -> str:
    """The path with its holes filled, none of which may lead to another place."""
    quoted = {name: _quoted(as_text(values.get(name, ""))) for name in holes(webhook.path)}
    for name, value in quoted.items():
        if not value.strip("."):
            raise ToolError(f"{name} is not known")
    secrets = {name: _quoted(secret) for name, secret in webhook.secrets.items()}
    return as_text(Template(webhook.path, secrets).fill(quoted))


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in values.items()}


# ---- what comes back -----------------------------------------------------------------------------


def _answer(status: int, body: bytes) -> Any:
    """The JSON of an answer; None for one that says nothing. Raises HttpError."""
    if status >= 500:
        raise Unanswered(f"status {status}")
    if 300 <= status < 400:
        raise HttpError(f"status {status}: redirects are not followed")
    if status >= 400 or not body.strip():
        return None
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise HttpError("the answer is no JSON") from None


def _no_number(text: str) -> None:
    raise ValueError(text)


def _picked(result: Mapping[str, tuple[str, ...]], answer: Any) -> Any:
    if not result:
        return DONE if answer is None else answer
    found = {name: _at(answer, path) for name, path in result.items()}
    return {name: value for name, value in found.items() if value is not None}


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    """What is there; None where nothing is."""
    for step in path:
        if isinstance(tree, Mapping):
            tree = tree.get(step)
        elif isinstance(tree, list) and step.isdecimal() and int(step) < len(tree):
            tree = tree[int(step)]
        else:
            return None
    return tree

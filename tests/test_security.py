"""What of the table of security.toml no other test proves."""

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.call.next_step import Target
from audiosocket_agent.tools.builtin import transfer_call
from tests.docs import README
from tests.switches import REPOSITORY
from tests.tools.control import Control


def test_operators_are_told_of_it_in_a_short_table() -> None:
    section = (
        README.read_text(encoding="utf-8").partition("\n## Security\n")[2].partition("\n## ")[0]
    )
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert 10 <= len(rows) <= 25
    for row in rows:
        assert len(row.strip("| ").split(" | ")) == 3, row


# -- toll fraud ------------------------------------------------------------------------------------

TARGETS: Final = (Target("sales", "2001", "prices"), Target("faults", "2002", "what is broken"))
words = st.text(max_size=40) | st.sampled_from(["2001", "sales&2002", "Local/1@x", "sales\r\nX: y"])


@given(words, words)
def test_no_word_of_a_models_reaches_dial_or_originate(target: str, reason: str) -> None:
    call = Control()
    transfer_call(TARGETS).run(call, {"target": target, "reason": reason})
    assert {passed_to for passed_to, _ in call.transferred} <= set(TARGETS)
    assert [passed_to.name for passed_to, _ in call.transferred] in ([], [target])


def test_no_tool_can_place_a_call() -> None:
    """Whoever imports it may dial: the command and nothing that a model reaches."""
    assert importers("audiosocket_agent.outbound") == {"cli/pbx.py"}
    assert importers("audiosocket_agent.pbx.ami") <= {
        "outbound.py",
        "cli/pbx.py",
        "doctor/asterisk.py",
    }


def importers(module: str) -> set[str]:
    """Files of the package that import a module."""
    package, _, name = module.rpartition(".")
    wanted = re.compile(
        rf"^\s*(import {re.escape(module)}\b|from {re.escape(module)} import"
        rf"|from {re.escape(package)} import .*\b{name}\b)",
        re.MULTILINE,
    )
    root = REPOSITORY / "audiosocket_agent"
    return {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if wanted.search(file.read_text())
    }


def test_the_manager_may_place_calls_and_nothing_else() -> None:
    manager = configparser.ConfigParser(inline_comment_prefixes=(";",))
    manager.read(REPOSITORY / "asterisk" / "manager.conf")
    assert manager["general"]["bindaddr"] == "127.0.0.1"
    assert manager["general"]["webenabled"] == "no"
    [user] = set(manager.sections()) - {"general"}
    account = manager[user]
    assert set(account["write"].split(",")) == {"call", "originate", "reporting"}
    assert account["read"] == "call"
    assert account["deny"] == "0.0.0.0/0.0.0.0"
    assert account["permit"].startswith("127.0.0.1/")


# -- what callers say ------------------------------------------------------------------------------

CALLERS: Final = {
    *("arguments", "caller", "caller_name", "called", "digits", "facts", "handle", "instructions"),
    *("key", "message", "name", "number", "payload", "result", "said", "secret", "subject"),
    *("summary", "text", "transcript", "variables", "words"),
}
"""Fields that a line at INFO or above may not have: what they hold is a caller's."""
LOUD: Final = {"info", "warning", "error", "exception", "critical"}


def test_no_line_above_debug_has_a_field_for_what_is_a_callers() -> None:
    found = [
        f"{file.name}:{call.lineno} {keyword.arg}"
        for file in (REPOSITORY / "audiosocket_agent").rglob("*.py")
        for call in log_calls(file)
        for keyword in call.keywords
        if keyword.arg in CALLERS
    ]
    assert found == []


def log_calls(file: Path) -> Iterator[ast.Call]:
    """Calls of a logger's methods above DEBUG."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=logger, attr=level)) if level in LOUD:
                if ast.unparse(logger).endswith("log"):
                    yield node


# -- what we are made of ---------------------------------------------------------------------------


def installs() -> Iterator[str]:
    """Every line that installs something from elsewhere."""
    for name in ("Makefile", "deploy/install.sh"):
        for line in (REPOSITORY / name).read_text().splitlines():
            if re.search(r"\b(pip|PIP\)).* install .*-r ", line):
                yield line.strip()


def test_everything_is_installed_by_hashes() -> None:
    lines = list(installs())
    assert len(lines) == 5  # the service twice, the tests, the fuzzers, the release's tools
    for line in lines:
        assert "--require-hashes" in line

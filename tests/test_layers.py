"""The house: imports point down, every guest has a home, and in the cellar there is no clock."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "audiosocket_agent"

# From the cellar up. What is on one floor does not import each other, nor anything above.
HOUSE = [
    {"__init__", "addresses", "errors", "masking", "memory", "overload"},
    {"wire", "audio", "assets"},
    {"call", "sounds"},
    {"settings", "tables"},
    {"clock", "config", "localtime", "log", "metrics"},
    {"health", "heartbeat", "keypad", "model", "pbx", "records", "tools"},
    {"arrival", "survival"},
    {"ledger", "plan", "business", "turns", "vigil"},
    {"controls", "recall", "taping"},
    {"agents", "archive", "session"},
    {"phrases"},
    {"roster"},
    {"briefing"},
    {"server"},
    {"desk", "control"},
    {"drive"},
    {"handover"},
    {"service"},
    {"outbound", "dialplan"},
    {"doctor"},
    {"lab"},
    {"cli"},
    {"__main__"},
]
PURE = {"errors", "wire", "audio", "call"}
IMPURE = {"asyncio", "time", "datetime", "logging", "threading", "random", "socket"}
HOMES = {
    "alembic": {"records.migrations"},
    "anyio": {"tools.mcp_client", "tools.mcp_process"},
    "cryptography": {"lab"},
    "google": {"model.gemini", "model.gemini_errors"},
    "httpx2": {"tools"},
    "mcp": {"tools.mcp_client", "tools.mcp_process"},
    "numpy": {"audio", "lab"},
    "orjson": {"lab", "log", "model.gemini_connection", "model.gemini_events"},
    "prometheus_client": {"metrics"},
    "pydantic": {"business", "config", "settings", "tools"},
    "pydantic_core": {"tools"},
    "pydantic_settings": {"settings", "tables"},
    "rich": {"cli", "lab"},
    "sqlalchemy": {"records"},
    "structlog": {"log"},
    "typer": {"cli"},
    "uvloop": {"cli"},
    "webrtcvad": {"audio.vad", "lab.simulator.hearing"},  # the pretend Gemini has ears of its own
    "websockets": {"lab", "model.gemini", "model.gemini_connection", "model.gemini_errors"},
}

TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
        path.read_bytes()
    )
    for path in sorted(ROOT.rglob("*.py"))
}


def imports(tree: ast.Module) -> Iterator[str]:
    """Absolute names of all that is imported, in functions too; ours without the package's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports here are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("audiosocket_agent") for name in names)


def room(name: str) -> str:
    """The top-level module or package a name of ours belongs to: `.wire.Kind` -> wire."""
    first = name.split(".")[1]
    return first if any(first in floor for floor in HOUSE) else "__init__"


def source(name: str) -> str:
    """The module that a name of ours comes from: `.wire.Kind` and `.wire` -> wire."""
    modules = [module for module in TREES if f"{name}.".startswith(f".{module}.")]
    return max(modules, key=len, default="__init__")


def floor(of: str) -> int:
    return next(number for number, rooms in enumerate(HOUSE) if of in rooms)


def test_every_module_has_its_floor() -> None:
    assert {module.split(".")[0] for module in TREES} == set().union(*HOUSE)


@pytest.mark.parametrize("module", TREES)
def test_imports_point_down(module: str) -> None:
    here = module.split(".")[0]
    above = {
        name
        for name in imports(TREES[module])
        if name.startswith(".") and room(name) != here and floor(room(name)) >= floor(here)
    }
    assert not above


def test_no_module_imports_itself_in_the_end() -> None:
    below = {
        module: {source(name) for name in imports(tree) if name.startswith(".")} - {module}
        for module, tree in TREES.items()
    }
    while free := {module for module, others in below.items() if not others}:
        below = {module: others - free for module, others in below.items() if module not in free}
    assert not below, "these import each other, or one that does"


@pytest.mark.parametrize("module", TREES)
def test_every_third_party_is_at_home(module: str) -> None:
    for name in imports(TREES[module]):
        guest = name.split(".")[0]
        if guest and guest not in sys.stdlib_module_names:
            assert any(f"{module}.".startswith(f"{home}.") for home in HOMES[guest]), name


@pytest.mark.parametrize("module", [m for m in TREES if m.split(".")[0] in PURE])
def test_the_pure_modules_have_no_clock_no_loop_no_log_and_no_environment(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(TREES[module])} & IMPURE
    names = {node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
    assert not names & {"environ", "getenv"}

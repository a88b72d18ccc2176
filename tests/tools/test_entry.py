"""Tools of somebody else's package, found by path or entry point."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiosocket_agent.tools.entry import GROUP, find

MODULE = '''
from audiosocket_agent.tools.function import tool

async def status(order: str) -> str:
    """Find out where an order is."""
    return order

class Orders:
    status = staticmethod(status)

def plain(order: str) -> str:
    """Would stop the audio of every call."""
    return order

async def silent() -> None:
    pass

limited = tool(max_uses=1, slow=True)(status)
NUMBER = 7
'''
POINTS = f"""[{GROUP}]
order_status = acme_orders:limited
plain = acme_orders:plain
gone = acme_orders:gone
twice = acme_orders:status
"""


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two packages are installed."""
    (tmp_path / "acme_orders.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "acme_broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "acme_unset.py").write_text("{}['ACME_KEY']\n", encoding="utf-8")
    for name, points in (("acme", POINTS), ("other", f"[{GROUP}]\ntwice = acme_orders:status\n")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("acme_orders", "acme_broken", "acme_unset"):
        sys.modules.pop(name, None)


def test_a_function_by_its_path() -> None:
    for path in ("acme_orders:status", "acme_orders:Orders.status"):
        tool = find(path)
        assert tool.spec.name == "status"
        assert tool.spec.description == "Find out where an order is."


def test_an_entry_point_is_called_as_it_is_named() -> None:
    tool = find("order_status")
    assert (tool.spec.name, tool.max_uses, tool.spec.slow) == ("order_status", 1, True)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("no_such", "no package has an entry point 'no_such'"),
        ("twice", "more than one package has 'twice' in .*: acme, other"),
        ("plain", "plain is no async function; asyncio.to_thread"),
        ("gone", "gone cannot be had: AttributeError"),
        ("acme_orders:plain", "acme_orders:plain is no async function"),
        ("acme_orders:NUMBER", "acme_orders:NUMBER is no async function"),
        ("acme_orders:silent", "silent has no docstring"),
        ("acme_orders:", "cannot be had"),
        ("acme_none:x", "cannot be had: ModuleNotFoundError: No module named 'acme_none'"),
        ("acme_broken:x", "cannot be had: ZeroDivisionError: division by zero"),
        ("acme_unset:x", "acme_unset:x cannot be had: KeyError: 'ACME_KEY'"),
        (":x", "cannot be had: ValueError"),
        ("os:system", "is no async function"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(name: str, what: str) -> None:
    with pytest.raises(LookupError, match=what) as error:
        find(name)
    assert "\n" not in str(error.value)

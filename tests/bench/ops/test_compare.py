"""Two commits beside each other: what is worse, new, broken or gone."""

import pytest

from tests.bench.ops.compare import Row, gone, rows
from tests.bench.ops.meters import Counted, callgrind_total, medians, paired, perf_count
from tests.bench.ops.operations import CYCLE


@pytest.mark.parametrize(
    ("before", "now", "failed"),
    [
        (1000.0, 1099.0, False),
        (1000.0, 1101.0, True),
        (1000.0, 500.0, False),
        (None, 1000.0, False),  # new
        (1000.0, None, True),  # it was there, and breaks now
        (None, None, False),
    ],
)
def test_ten_percent_more_is_a_failure(
    before: float | None, now: float | None, failed: bool
) -> None:
    assert Row("vad", before, now).failed is failed


def test_every_operation_has_a_row() -> None:
    before = Counted({"vad": 1000.0, "wire": 50.0}, {"ticker": "ImportError: no Ticker"})
    now = Counted({"vad": 1200.0, "ticker": 70.0}, {"wire": "AttributeError: audio"})
    table = {row.name: row for row in rows(before, now)}
    assert str(table["vad"]).split() == ["vad", "1,000", "1,200", "+20.0", "%", "WORSE"]
    assert table["ticker"].note == "new: ImportError: no Ticker"
    assert table["wire"].note == "not now: AttributeError: audio"
    assert [name for name, row in table.items() if row.failed] == ["vad", "wire"]


def test_what_an_older_list_had_is_told() -> None:
    source = 'OPERATIONS: Final[dict[str, Made]] = {"vad": vad, "wire": lambda: wire(8)}\n'
    assert gone(source, ["vad"]) == ["wire"]
    assert gone("", ["vad"]) == []


# -- what the meters say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("48211,,instructions:u,1402,100.00,,\n", 48211),
        ("\n48211,,instructions:u:u,1402,100.00,0.91,insn per cycle\n", 48211),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("<not counted>,,instructions:u,0,0.00,,\n", None),
        ("Error: No permission\n", None),
    ],
)
def test_perf(text: str, count: int | None) -> None:
    assert perf_count(text) == count


def test_callgrind() -> None:
    assert (
        callgrind_total("desc: Trigger: x\nevents: Ir\nsummary: 389973\n\ntotals: 389973\n")
        == 389973
    )


def test_dumps_belong_to_what_was_done() -> None:
    lines = [{"name": "wire"}, {"name": "vad", "error": "ImportError: vad"}, {"name": "ticker"}]
    counted = paired(iter(lines), [100 * CYCLE, 700 * CYCLE])
    assert counted == Counted({"wire": 100, "ticker": 700}, {"vad": "ImportError: vad"})


def test_medians_of_rounds() -> None:
    rounds = [Counted({"wire": us}) for us in (5.0, 1.0, 2.0)]
    assert medians(rounds) == Counted({"wire": 2.0})

"""A few rows of the table, with one call each: that calls pass, and that a failure is seen as one."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from audiosocket_agent.lab.ticker import Ticker
from tests.bench.capacity.pauses import Pauses
from tests.chaos import hour, row, table
from tests.chaos.faults import FAULTS, Fault, bad, turn
from tests.chaos.house import NOTHING, Traces
from tests.chaos.row import Row, run
from tests.chaos.talk import Outcome

BY_NAME = {fault.name: fault for fault in FAULTS}
HEARD = Outcome(finished=True, silences=[(9.0, 9.8)], kept=True)


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(row, "LOGS", tmp_path)


def test_there_is_a_name_for_each_of_many_faults() -> None:
    assert len(BY_NAME) == len(FAULTS) > 60


@pytest.mark.timeout(120)
async def test_faults_that_callers_do_not_notice() -> None:
    leg = "the PBX's connection is reset mid-sentence"
    names = ("nothing", "1006 mid-sentence", leg)
    ticker = Ticker()
    rows = await asyncio.gather(*(run(BY_NAME[name], 1, ticker) for name in names))
    assert [each.wrong for each in rows] == [[], [], []]
    assert [each.kept for each in rows] == ["–", "yes", "yes"]


@pytest.mark.timeout(120)
async def test_faults_that_nothing_helps_against_are_told() -> None:
    ticker = Ticker()
    refused = Fault("it is refused, and that is not expected", every=bad("http-403"))
    expected = replace(refused, no_model=True)
    unheard = Fault("mute, with nobody who sees to it", every=turn("no-answer", fault_turn=None))
    lost, handed_on, silent = await asyncio.gather(
        *(run(fault, 1, ticker) for fault in (refused, expected, unheard))
    )
    assert (lost.lost, lost.handed_on) == (1, 1)
    assert lost.wrong == ["1 lost"]
    assert (handed_on.lost, handed_on.handed_on, handed_on.wrong) == (0, 1, [])
    assert silent.lost == 1


def test_what_is_wrong_with_a_row() -> None:
    fault = BY_NAME["nothing"]
    assert Row(fault, [HEARD]).wrong == []
    silent = replace(HEARD, silences=[(10.0, 13.2), (14.0, 17.1)])
    assert Row(fault, [HEARD, silent]).wrong == ["3.2 s of silence"]
    paused = Pauses([(9.9, 10.1), (13.0, 13.15)])  # 0.25 s of the first, none of the second
    assert Row(fault, [HEARD, silent], pauses=paused).wrong == ["3.1 s of silence"]
    paused = Pauses([(11.0, 11.3), (15.0, 15.2)])
    assert Row(fault, [HEARD, silent], pauses=paused).wrong == []
    assert Row(fault, [replace(HEARD, kept=False), HEARD]).wrong == ["context lost"]
    assert Row(fault, [HEARD], Traces(0, 1, 0)).wrong == ["left behind: 0/1/0 "]
    assert Row(fault, error="OSError: gone").wrong == ["OSError: gone"]
    assert Row(fault, [HEARD, replace(HEARD, finished=False)]).wrong == ["1 lost"]


def test_the_table_stands_between_its_marks() -> None:
    rows = [Row(BY_NAME["nothing"], [HEARD], NOTHING)]
    fresh = table.as_markdown(rows, "c0ffee", "1 May")
    text = table.with_table("a <!-- chaos -->\nold\n<!-- /chaos --> b", fresh)
    assert text.startswith("a <!-- chaos -->\n`make chaos CALLS=1`, 1 May, commit c0ffee.\n")
    assert text.endswith("| nothing | 1 | 0 | 0.8 s | yes | 0/0/0 |\n<!-- /chaos --> b")
    with pytest.raises(SystemExit, match="no place"):
        table.with_table("nothing here", "")


@pytest.mark.timeout(120)
async def test_an_hour_of_ten_minute_connections_goes_by_without_a_cut_sentence() -> None:
    """Three connections here; `python -m tests.chaos.hour` has six, or takes the whole hour."""
    for endured in await hour.endure(calls=3, limits=3, limit_s=8.0, left_s=4.0):
        assert endured.good, endured
        assert endured.swaps >= 2

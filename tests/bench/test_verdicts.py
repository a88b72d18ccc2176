"""What must be shown, and what is made of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.capacity import file
from tests.bench.capacity.judge import Result
from tests.bench.capacity.verdicts import Verdict, growth, verdicts
from tests.bench.test_judge import RESULT

PATHS = ["untouched"]


def verdict(what: str, *results: Result) -> Verdict:
    found = [line for line in verdicts(results, PATHS) if what in line.what]
    assert len(found) == 1
    return found[0]


def test_a_figure_within_its_limit_is_met() -> None:
    line = verdicts([RESULT], PATHS)[0]
    assert line == Verdict(1, "CPU, 100 calls, ms per call-second", "2.50", "<= 2.60", True)
    assert str(line).endswith("2.50       <= 2.60   met")


def test_one_beyond_it_is_not_and_says_so() -> None:
    line = verdicts([replace(RESULT, cpu_ms=2.61)], PATHS)[0]
    assert line.met is False
    assert str(line).endswith("NOT MET")


def test_what_was_not_measured_is_neither() -> None:
    assert all(line.met is None for line in verdicts([], PATHS))


def test_the_ratio_to_the_floor() -> None:
    floor = replace(RESULT, who="floor", cpu_ms=2.0)
    assert verdict("times the floor's", RESULT, floor).met is True
    assert verdict("times the floor's", replace(RESULT, cpu_ms=2.6), floor).met is False


def test_one_lost_call_of_three_runs_is_a_lost_call() -> None:
    runs = [replace(RESULT, calls=250, lost=lost) for lost in (0, 0, 1)]
    assert verdict("250 calls: lost", *runs).figure == "1"
    assert verdict("250 calls: lost", *runs).met is False


def test_cost_in_a_line() -> None:
    few, many = replace(RESULT, calls=50), replace(RESULT, calls=250)
    what = "CPU, 250 calls"
    assert verdict(what, few, many).met is True
    assert verdict(what, few, replace(many, cpu_ms=2.51)).met is False
    assert verdict(what, many).met is None


@pytest.mark.parametrize(("end", "met"), [(95.0, True), (95.9, True), (97.0, False)])
def test_memory_per_call_stays(end: float, met: bool) -> None:
    held = replace(RESULT, held=((1.0, 90.0, 85.0), (2.0, 100.0, 95.0), (30.0, 100.0, end)))
    assert growth(held) == pytest.approx((end - 75) / 20)
    assert verdict("memory per call", held).met is met


def test_a_burst() -> None:
    burst = replace(RESULT, burst_greeting_p99=121.0, burst_spacing_p99=9.0)
    assert [line.met for line in verdicts([burst], PATHS) if line.number == 3] == [False, True]


# -- the file --------------------------------------------------------------------------------------


def test_a_file_is_read_back_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    floor = replace(RESULT, who="floor", cpu_ms=2.0)
    kept = [file.Run(floor, ""), file.Run(RESULT, "7.0 % of our own frames were late")]
    command = file.command(["quick", "--json", "here.json", "--runs", "3"])
    assert command == "python -m tests.bench.capacity quick --runs 3"
    path = tmp_path / "build" / "quick.json"
    file.write(
        path, file.content(kept, ["floor, 100 calls: late"], verdicts([RESULT], []), command)
    )
    assert file.read(path) == [floor, RESULT]
    text = file.as_markdown(path)
    assert f"`{command}`" in text
    assert "| … beside the floor |  | 1.25 x |" in text
    assert "| replies intact | 300 of 300 | 300 of 300 |" in text
    assert text.endswith("100 calls: 7.0 % of our own frames were late.\n")

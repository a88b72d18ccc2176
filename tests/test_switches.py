"""Both tables of switches are true: what is to be taken away is there, and so are the tests."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.switches import REPOSITORY, TABLES, Row, is_proof, rows, verdicts

ROWS = [row for table in TABLES for row in rows(table)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.against)
def test_a_row_can_be_switched_off_and_has_tests(row: Row) -> None:
    text = (REPOSITORY / row.file).read_text(encoding="utf-8")
    assert text.count(row.take) == 1, "not there, or more than once: it cannot be switched off"
    without = text.replace(row.take, row.put)
    assert without != text
    if row.file.endswith(".py"):
        compile(without, row.file, "exec")
    assert row.tests
    for node in row.tests:
        file, _, name = node.partition("[")[0].partition("::")
        there = names_of(REPOSITORY / file)
        assert name in there if name else there, node


@pytest.mark.parametrize("table", TABLES)
def test_each_is_told_once_and_in_short_words(table: str) -> None:
    told = [(row.against, row.by) for row in rows(table)]
    assert len(set(told)) == len(told)
    for against, by in told:
        assert len(against) <= 60
        assert len(by) <= 90


@cache
def names_of(file: Path) -> set[str]:
    """Names of the tests in a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


# -- what is a proof -------------------------------------------------------------------------------

WITH = """
....
PASSED a.py::test_x[1 - 2]
PASSED a.py::test_x[3]
PASSED a.py::test_xy
PASSED b.py::test_z
"""


@pytest.mark.parametrize(
    ("without", "proof"),
    [
        (
            "FAILED a.py::test_x[3] - assert 1 == 2\nFAILED b.py::test_z - Failed: DID NOT RAISE",
            True,
        ),
        ("PASSED a.py::test_x[3]\nERROR a.py::test_x[1 - 2] - boom\nFAILED b.py::test_z", True),
        (
            "FAILED a.py::test_x[3] - assert 1 == 2\nPASSED b.py::test_z",
            False,
        ),  # which notices nothing
        ("FAILED a.py::test_xy - assert 1 == 2\nFAILED b.py::test_z", False),  # another test
        ("FAILED a.py::test_x[3] - NameError: name 'x'\nFAILED b.py::test_z", False),
    ],
)
def test_a_proof_is_that_every_test_fails_and_the_code_runs(without: str, proof: bool) -> None:
    tests = ("a.py::test_x", "b.py::test_z")
    before, after = verdicts(tests, WITH), verdicts(tests, without)
    assert before == dict.fromkeys(tests, "passes")
    assert is_proof(before, after) is proof


def test_one_that_fails_with_it_and_one_that_was_left_out_prove_nothing() -> None:
    fails = {"b.py": "fails"}
    assert not is_proof(fails, fails)
    assert not is_proof({}, {})
    assert verdicts(["c.py::test_pbx"], WITH) == {}

from pathlib import Path

import pytest

from tests.docs import CAPACITY, README, with_tables


@pytest.mark.parametrize("page", [README, CAPACITY], ids=lambda page: page.name)
def test_a_page_says_what_the_code_and_the_measurements_say(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == with_tables(page), "run `make docs`"

"""What callers call things."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.records.names import BETWEEN, CONTAINED, code, joined, key, likeness


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("Sector-62,  Noida", "sector62noida"),
        ("सेक्टर ६२", "सेक्टर62"),
        ("আলফা ১", "আলফা1"),
        ("पाँच", "पांच"),
        ("ग्रेटर नो\u200dएडा", "ग्रेटरनोएडा"),
        ("STRASSE", key("straße")),
        ("%_|'; --", ""),
    ],
)
def test_a_name_is_compared_by_what_is_heard_of_it(name: str, of: str) -> None:
    assert key(name) == of


def test_a_number_is_one_however_it_is_written() -> None:
    assert {code(said) for said in ("BZ-1042", "bz 10 42", "b.z.१०४२")} == {"BZ1042"}


@given(st.text())
def test_a_key_is_its_own_and_stays_in_its_bounds(name: str) -> None:
    assert key(key(name)) == key(name)
    assert BETWEEN not in key(name)
    assert not any(char.isspace() for char in key(name))


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_the_same_is_the_same(one: str, other: str) -> None:
    first, second = key(one), key(other)
    near = likeness(first, joined([second]))
    assert 0 <= near <= 1
    assert (near == 1) == (first == second)


@pytest.mark.parametrize(
    ("heard", "name", "least", "most"),
    [
        ("crossing republik", "Crossings Republik", 0.75, 0.99),
        ("Wasundhara", "Vasundhara", 0.75, 0.99),
        ("Sector 62", "Sector 63", 0, 0),
        ("Sector 6", "Sector 62", 0, 0),
        ("Sector 62 Noida", "Sector 62", CONTAINED, CONTAINED),
        ("Knowledge Park", "Knowledge Park 2", CONTAINED, CONTAINED),
        ("Dadri", "Loni", 0, 0.3),
    ],
)
def test_alike_is_what_sounds_alike_and_no_number_does(
    heard: str, name: str, least: float, most: float
) -> None:
    assert least <= likeness(key(heard), joined([name])) <= most


def test_of_several_names_the_nearest_counts() -> None:
    assert likeness("atta", joined(["Aashirvaad Atta 5 kg", "Atta", "", "आटा"])) == 1
    assert likeness("atta", joined([])) == 0

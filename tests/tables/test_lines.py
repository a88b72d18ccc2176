"""In which line a key is: files as people write them, and files made to mislead."""

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.tables.lines import Place, key_lines, line_of

FILE = '''\
# mode = "warm"
instructions = """
[targets.sales]
mode = "cold" # \\""" greeting = "
"""

greeting = """Say ""hello""\\""""" # ]
tools = [ # [
    "end_call", # ]
    "a = 1",
]
'sees' = ["]", '[', """
"""]
targets.sales . extension = "2001"
[ "targets" . 'fau"lts' ]  # mode = 1
  extension = "2002"

mode.x = {y = 1, z = "{"}
[[queue.list]]
"a\\u0062\\n" = 1
[queue]
'''

LINES = {
    (): 1,
    ("instructions",): 2,
    ("greeting",): 7,
    ("tools",): 8,
    ("sees",): 12,
    ("targets",): 14,
    ("targets", "sales"): 14,
    ("targets", "sales", "extension"): 14,
    ("targets", 'fau"lts'): 15,
    ("targets", 'fau"lts', "extension"): 16,
    ("targets", 'fau"lts', "mode"): 18,
    ("targets", 'fau"lts', "mode", "x"): 18,
    ("queue", "list"): 19,
    ("queue", "list", "ab\n"): 20,
    ("queue",): 21,
}


def test_keys_are_where_they_stand() -> None:
    tomllib.loads(FILE)
    assert key_lines(FILE) == LINES


def test_lines_end_as_windows_ends_them() -> None:
    assert key_lines(FILE.replace("\n", "\r\n")) == LINES


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("targets", "sales", "mode"), 14),  # missing: its table
        (("targets", 'fau"lts', "mode", "x", "z"), 18),  # in an inline table: the table's key
        (("dtmf", "1"), 1),  # not even a table: the top
    ],
)
def test_what_has_no_line_has_that_of_what_holds_it(place: Place, line: int) -> None:
    assert line_of(place, key_lines(FILE)) == line


_NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_BARE = st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True)
_MISLEADING = st.lists(
    st.sampled_from(["[a]", "a = 1", "\n", '"', "'", "#", "]", "[", "}", "\\", " ", "é", "x"])
).map("".join)


def basic(text: str) -> str:
    """In quotes, with whatever needs it escaped."""
    return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def basic_lines(text: str) -> str:
    """Between three quotes: two may stand in it, at its very end too."""
    escaped = text.replace("\\", "\\\\")
    return '"""' + re.sub('"{3,}', '""', escaped) + '"""'


def literal_lines(text: str) -> str:
    return "'''" + re.sub("'{3,}", "''", text) + "'''"


_STRING = st.one_of(
    st.builds(basic, _MISLEADING),
    st.builds(basic_lines, _MISLEADING),
    st.builds(literal_lines, _MISLEADING),
)
_COMMENT = _MISLEADING.map(lambda text: "# " + text.replace("\n", ""))
_VALUE = st.recursive(
    st.sampled_from(["1", "-1.5e3", "true", "1979-05-27 07:32:00.5", "0xf"]) | _STRING,
    lambda value: (
        st.builds(
            lambda values, comment: "[" + "".join(f"{v}, {comment}\n" for v in values) + "]",
            st.lists(value, max_size=3),
            _COMMENT,
        )
        | st.lists(value, max_size=3).map(
            lambda values: "{" + ", ".join(f"k{i} = {v}" for i, v in enumerate(values)) + "}"
        )
    ),
    max_leaves=5,
)
_KEYS = st.lists(st.tuples(_NAME, st.booleans()), unique_by=lambda key: key[0], max_size=4)


@given(data=st.data(), tables=st.lists(_NAME, unique=True, max_size=4))
def test_every_key_of_every_file_is_found(data: st.DataObject, tables: list[str]) -> None:
    """A file of some tables is written, and where each key was written is remembered."""
    text = ""
    expected: dict[Place, int] = {(): 1}

    def write(statement: str, *place: str) -> None:
        nonlocal text
        text += data.draw(st.sampled_from(["", "\n", "  ", "# x = 1\n", "\t\r\n"]))
        expected[place] = text.count("\n") + 1
        text += f"{statement} {data.draw(st.just('') | _COMMENT)}\n"

    for table in tables:
        write(f"[ {basic(table)}]", table)
        for name, dotted in data.draw(_KEYS):
            key = name if name.isascii() and name.isalnum() else basic(name)
            value = data.draw(_VALUE)
            if dotted:
                write(f"{key}.'x' ={value}", table, name, "x")
                expected[table, name] = expected[table, name, "x"]
            else:
                write(f"{key} ={value}", table, name)
    tomllib.loads(text)
    assert key_lines(text) == expected


def test_the_longest_texts_are_no_trouble() -> None:
    text = '[a]\nx = """' + 'a = "1"\n' * 16_000 + '"""\ny = [' + "[],\n" * 16_000 + "]\nz = 1"
    assert key_lines(text)["a", "z"] == text.count("\n") + 1

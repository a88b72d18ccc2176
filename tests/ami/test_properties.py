"""What holds for every stream and every action, not only for those anybody thought of."""

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from audiosocket_agent.pbx.ami import (
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_LINES,
    AmiError,
    Decoder,
    Message,
    encode_action,
)

GREETING = b"Asterisk Call Manager/11.0.0\r\n"

pieces = st.sampled_from(
    [
        b"Event: X",
        b"ActionID: 1",
        b":",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"a: \x00\xff",
        b" ",
        b"A",
    ]
)
streams = st.lists(pieces | st.binary(max_size=20), max_size=40).map(b"".join)
names = st.from_regex(re.compile(r"[A-Za-z][A-Za-z0-9-]{0,20}", re.ASCII), fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=100)


def read(stream: bytes, cuts: list[int]) -> tuple[list[Message], str]:
    """The messages of a stream cut at these places, and the code of the error that ends it."""
    decoder = Decoder()
    messages: list[Message] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    try:
        for start, end in pairwise(edges):
            messages.extend(decoder.feed(stream[start:end]))
    except AmiError as error:
        return messages, error.code
    return messages, ""


@given(st.sampled_from([b"", GREETING]), streams, st.lists(st.integers(0, 1000), max_size=8))
def test_a_stream_means_the_same_however_it_is_cut(
    greeting: bytes, stream: bytes, cuts: list[int]
) -> None:
    assert read(greeting + stream, cuts) == read(greeting + stream, [])


@given(streams)
def test_what_is_read_is_bounded_and_has_no_control_characters(stream: bytes) -> None:
    messages, _ = read(GREETING + stream, [])
    for message in messages:
        assert 0 < len(message.fields) <= MAX_MESSAGE_LINES
        assert sum(map(len, [*message.fields, *message.fields.values()])) <= MAX_MESSAGE_BYTES
        assert not re.search(
            r"[\x00-\x1f\x7f]", "".join([*message.fields, *message.fields.values()])
        )


@given(names, st.dictionaries(names.filter(lambda name: name != "Action"), values, max_size=20))
def test_what_is_written_is_what_is_read(action: str, fields: dict[str, str]) -> None:
    written = encode_action(action, *fields.items())
    (message,), error = read(GREETING + written, [])
    said = {name: value.strip() for name, value in fields.items()}
    assert (message.fields, error) == ({"Action": action, **said}, "")


@given(st.text(), st.text())
@example("Variable", "x\r\nAction: Command")
def test_an_action_is_one_action_or_none(name: str, value: str) -> None:
    try:
        written = encode_action("Ping", (name, value))
    except ValueError:
        return
    assert written.count(b"\n") == 3
    assert written.endswith(b"\r\n\r\n")
    assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", written)

"""What holds for every AGI message, not only for those anybody thought of."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from audiosocket_agent.errors import PeerError
from audiosocket_agent.pbx.agi import (
    MAX_HEAD_LINES,
    MAX_VALUE_CHARS,
    clean,
    encode_command,
    parse_reply,
    parse_request,
)

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
FIFTY_ONE = b"agi_network_script: open?" + b"&".join(b"a%d=" % n for n in range(51))

pieces = st.sampled_from(
    [
        b"agi_network_script: ",
        b"agi_a: ",
        b"open?",
        b"uuid=1",
        b"&",
        b"%0a",
        b"%",
        b"\n",
        b":",
        b"+",
    ]
)
heads = st.lists(pieces | st.binary(max_size=20), max_size=30).map(b"".join)
replies = st.tuples(
    st.sampled_from([b"200 ", b"200 result=", b"511 ", b"520-", b"999", b""]),
    st.binary(max_size=40) | st.just(b"x" * 5000),
    st.sampled_from([b"", b" (", b" (a)", b"\n", b"\r\n", b")"]),
).map(b"".join)


def fits(text: str) -> bool:
    return len(text) <= MAX_VALUE_CHARS and not CONTROL.search(text)


def words_of(line: bytes) -> list[str]:
    """As Asterisk splits a command: at blanks outside of quotes, a backslash takes the next one as it
    is."""
    words, word, quoted, begun = list[str](), "", False, False
    characters = iter(line.decode().removesuffix("\n"))
    for character in characters:
        if character == '"':
            quoted, begun = not quoted, True
        elif character == " " and not quoted:
            words += [word] * begun
            word, begun = "", False
        else:
            word += next(characters) if character == "\\" else character
            begun = True
    return words + [word] * begun


@given(heads | st.binary(max_size=300))
@example(FIFTY_ONE)
@example(b"agi_\x1b[2J: 1\nagi_network_script: open")
@example(b"agi_" + b"a" * 10_000 + b": 1")
def test_a_head_is_read_or_refused(head: bytes) -> None:
    try:
        request = parse_request(head)
    except PeerError:
        return
    assert len(request.facts) <= MAX_HEAD_LINES
    said = [request.script, *request.facts, *request.facts.values()]
    assert all(map(fits, [*said, *request.query, *request.query.values()]))


@given(replies | st.binary(max_size=300))
@example(b"200 result=\x1b[2J\x00 (x)\n")
@example("٢٠٠ result=1\n".encode())
@example(b"200 result=" + b"x" * 5000)
def test_a_reply_is_read_or_refused(line: bytes) -> None:
    try:
        reply = parse_reply(line)
    except PeerError:
        return
    assert line.strip()[:3] == b"%03d" % reply.code
    assert fits(reply.result)
    assert fits(reply.data)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_a_value_set_is_the_value_that_comes_back(value: str) -> None:
    value = clean(value)
    assert parse_reply(f"200 result=1 ({value})\n".encode()).data == value


@given(st.lists(st.text(max_size=50), max_size=4))
@example(["1\nEXEC System x"])
def test_a_command_is_split_into_the_words_it_was_made_of(words: list[str]) -> None:
    try:
        line = encode_command("EXEC", *words)
    except ValueError:
        return
    assert line.count(b"\n") == 1
    assert words_of(line) == ["EXEC", *words]

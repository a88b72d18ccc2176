"""Bytes nobody thought of, against what reads and writes AGI: `make fuzz`.

Whatever comes, a head or a reply is read or is a PeerError, and what was read is bounded and has no
control characters; whatever is sent is one line, and Asterisk's own way to split it gives the words
it was made of.
"""

import re
import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["audiosocket_agent.pbx.agi"]):
    from audiosocket_agent.pbx import agi

from audiosocket_agent.errors import PeerError

CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check(*said: str) -> None:
    """Values that were read."""
    for text in said:
        assert not CONTROL.search(text), "a control character"
        assert len(text) <= agi.MAX_VALUE_CHARS, "too long"


def head(data: bytes) -> None:
    """What Asterisk sends first."""
    try:
        request = agi.parse_request(data)
    except PeerError as error:
        check(str(error))
        return
    assert len(request.facts) <= agi.MAX_HEAD_LINES, "too many"
    check(request.script, *request.facts, *request.facts.values())
    check(*request.query, *request.query.values())


def reply(data: bytes) -> None:
    """What it says to a command."""
    line = data.partition(b"\n")[0] + b"\n"
    try:
        read = agi.parse_reply(line)
    except PeerError as error:
        check(str(error))
        return
    assert line.strip()[:3] == b"%03d" % read.code, "not the code that was sent"
    check(read.result, read.data)


def command(data: bytes) -> None:
    """What we say; the words are separated by 0xff."""
    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\xff")]
    try:
        line = agi.encode_command("EXEC", *words)
    except ValueError:
        return
    assert line.count(b"\n") == 1, "more than a line"
    assert split(line) == ["EXEC", *words], "not the words that were sent"


def split(line: bytes) -> list[str]:
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


TARGETS = (head, reply, command)


def one_input(data: bytes) -> None:
    """One input of the fuzzer; its first byte says what it is."""
    TARGETS[(data[0] if data else 0) % len(TARGETS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

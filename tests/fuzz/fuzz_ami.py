"""Bytes nobody thought of, against the reader of AMI: `make fuzz`.

Whatever comes, the decoder gives messages or an AmiError, the same however the bytes are split; what
it keeps is bounded; and a message, sent as an action, is read as it was.
"""

import re
import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["audiosocket_agent.pbx.ami"]):
    from audiosocket_agent.pbx import ami

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_KEPT = ami.MAX_MESSAGE_BYTES + ami.MAX_LINE_BYTES


def read(data: bytes, size: int) -> tuple[list[ami.Message], str | None]:
    """The messages in `data`, fed `size` bytes at a time, and the code of the error that ends it."""
    decoder = ami.Decoder()
    messages: list[ami.Message] = []
    try:
        for at in range(0, len(data), size):
            messages.extend(decoder.feed(data[at : at + size]))
            kept = len(decoder._unfinished) + sum(map(len, decoder._fields.values()))
            assert kept <= MAX_KEPT, "too much is kept"
    except ami.AmiError as error:
        return messages, error.code
    return messages, None


def check(message: ami.Message) -> None:
    """One message that was read."""
    assert message.fields, "an empty message"
    assert len(message.fields) <= ami.MAX_MESSAGE_LINES, "too many lines"
    for name, value in message.fields.items():
        assert not CONTROL.search(name + value), "a control character"
    try:
        written = ami.encode_action("X", *message.fields.items())
    except ValueError:
        return  # longer than Asterisk takes, or a name it would not know
    again, error = read(GREETING + written, len(GREETING + written))
    assert error is None, "what was written cannot be read"
    assert [m.fields for m in again] == [{"Action": "X", **message.fields}], "not what was written"


def one_input(data: bytes) -> None:
    """One input of the fuzzer; its first byte is the size of the pieces, and odd after a greeting."""
    first, stream = (data[0] if data else 0), data[1:]
    if first % 2:
        stream = GREETING + stream
    messages, error = read(stream, max(1, len(stream)))
    assert read(stream, 1 + first) == (messages, error), "the split matters"
    for message in messages:
        check(message)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

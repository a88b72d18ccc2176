"""Bytes nobody thought of, against the wire decoder: `make fuzz`.

Whatever comes, the decoder gives messages that, written again, are the bytes they were read from, or
a PeerError; and it gives the same however the bytes are split.
"""

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["audiosocket_agent.wire"]):
    from audiosocket_agent import wire

from audiosocket_agent.errors import PeerError


def read(data: bytes, size: int) -> tuple[list[wire.Message], str | None]:
    """The messages in `data`, fed `size` bytes at a time, and the code of the error that ends it."""
    decoder = wire.Decoder()
    messages: list[wire.Message] = []
    try:
        for at in range(0, len(data), size):
            messages.extend(decoder.feed(data[at : at + size]))
    except PeerError as error:
        return messages, error.code
    return messages, None


def written(message: wire.Message) -> bytes:
    """The bytes of a message."""
    match message:
        case wire.Identity(call):
            return wire.identity(call)
        case wire.Audio(kind, payload):
            return wire.audio(kind, payload)
        case wire.Digit(digit):
            return wire.dtmf(digit)
        case wire.Hangup():
            return wire.HANGUP


def one_input(data: bytes) -> None:
    """One input of the fuzzer; its first byte is the size of the pieces."""
    size, stream = 1 + (data[0] if data else 0), data[1:]
    messages, error = read(stream, max(1, len(stream)))
    assert read(stream, size) == (messages, error), "the split matters"
    at = 0
    for message in messages:
        again = written(message)
        original = stream[at : at + len(again)]
        if isinstance(message, wire.Digit):  # read in either case
            original = original[:-1] + original[-1:].upper()
        assert original == again, "what was read is not what was sent"
        at += len(again)
    if error is None:
        assert len(stream) - at < wire.HEADER_BYTES + wire.MAX_AUDIO_BYTES, "too much is kept"


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

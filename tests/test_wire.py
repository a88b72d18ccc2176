"""The AudioSocket wire: one row per case, written and read, whole, byte by byte and cut anywhere."""

import uuid
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent import wire
from audiosocket_agent.errors import PeerError
from audiosocket_agent.wire import Audio, Digit, Hangup, Identity, Kind

CALL = uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")
ID = b"\x01\x00\x10\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0"

CASES: dict[str, tuple[wire.Message, bytes]] = {
    "a UUID, in the order of RFC 9562": (Identity(CALL), ID),
    "hangup": (Hangup(), b"\x00\x00\x00"),
    "a key": (Digit("7"), b"\x03\x00\x017"),
    "the star": (Digit("*"), b"\x03\x00\x01*"),
    "one sample": (Audio(0x10, b"\x34\x12"), b"\x10\x00\x02\x34\x12"),
    # 20 ms: rate * 0.020 s * 2 bytes
    "slin, 320 bytes": (Audio(0x10, bytes(320)), b"\x10\x01\x40" + bytes(320)),
    "slin12, 480 bytes": (Audio(0x11, bytes(480)), b"\x11\x01\xe0" + bytes(480)),
    "slin16, 640 bytes": (Audio(0x12, bytes(640)), b"\x12\x02\x80" + bytes(640)),
    "slin24, 960 bytes": (Audio(0x13, bytes(960)), b"\x13\x03\xc0" + bytes(960)),
    "slin32, 1280 bytes": (Audio(0x14, bytes(1280)), b"\x14\x05\x00" + bytes(1280)),
    "slin44, 1764 bytes": (Audio(0x15, bytes(1764)), b"\x15\x06\xe4" + bytes(1764)),
    "slin48, 1920 bytes": (Audio(0x16, bytes(1920)), b"\x16\x07\x80" + bytes(1920)),
    "slin96, 3840 bytes": (Audio(0x17, bytes(3840)), b"\x17\x0f\x00" + bytes(3840)),
    "slin192, 7680 bytes": (Audio(0x18, bytes(7680)), b"\x18\x1e\x00" + bytes(7680)),
    # what Asterisk was seen to pass on from callers that send 30 and 60 ms
    "30 ms of slin": (Audio(0x10, bytes(480)), b"\x10\x01\xe0" + bytes(480)),
    "60 ms of slin": (Audio(0x10, bytes(960)), b"\x10\x03\xc0" + bytes(960)),
    "60 ms of slin192, the longest": (Audio(0x18, bytes(23040)), b"\x18\x5a\x00" + bytes(23040)),
}

MALFORMED: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "no_uuid"),
    "zeros: a hangup before the UUID": (bytes(3), "no_uuid"),
    "audio before the UUID": (b"\x10\x01\x40", "no_uuid"),
    "a key before the UUID": (b"\x03\x00\x01", "no_uuid"),
    "an unknown kind before the UUID": (b"\x99\x00\x00", "no_uuid"),
    "a UUID of no bytes": (b"\x01\x00\x00", "bad_length"),
    "a UUID of 15 bytes": (b"\x01\x00\x0f", "bad_length"),
    "a UUID of 17 bytes": (b"\x01\x00\x11", "bad_length"),
    "a UUID as 36 characters": (b"\x01\x00\x24", "bad_length"),
    "a UUID of 4096 bytes": (b"\x01\x10\x00", "bad_length"),
    "a second UUID": (ID + ID, "second_uuid"),
    "a second UUID of the wrong length": (ID + b"\x01\x00\x00", "second_uuid"),
    "audio of no bytes": (ID + b"\x10\x00\x00", "bad_length"),
    "audio of one byte": (ID + b"\x10\x00\x01", "bad_length"),
    "audio of an odd length (raw opus)": (ID + b"\x10\x00\x27", "bad_length"),
    "wideband of an odd length": (ID + b"\x12\x02\x81", "bad_length"),
    "audio of more than 60 ms at 192 kHz": (ID + b"\x18\x5a\x02", "too_long"),
    "audio of 65,535 bytes": (ID + b"\x10\xff\xff", "too_long"),
    "a hangup with a payload": (ID + b"\x00\x00\x01", "bad_length"),
    "a key of no bytes": (ID + b"\x03\x00\x00", "bad_length"),
    "two keys in one": (ID + b"\x03\x00\x02", "bad_length"),
    "a letter that is no key": (ID + b"\x03\x00\x01E", "bad_digit"),
    "a key of 0": (ID + b"\x03\x00\x01\x00", "bad_digit"),
    "a superscript two, which Python calls a digit": (ID + b"\x03\x00\x01\xb2", "bad_digit"),
    "the kind between UUID and key": (ID + b"\x02\x00\x01", "unknown_kind"),
    "the kind before audio": (ID + b"\x0f\x01\x40", "unknown_kind"),
    "the kind after audio": (ID + b"\x19\x01\x40", "unknown_kind"),
    "the error kind, which only old servers send": (ID + b"\xff\x00\x01", "unknown_kind"),
}


def written(message: wire.Message) -> bytes:
    match message:
        case Identity(call):
            return wire.identity(call)
        case Audio(kind, payload):
            return wire.audio(kind, payload)
        case Digit(digit):
            return wire.dtmf(digit)
        case Hangup():
            return wire.HANGUP


def read(pieces: Iterable[bytes]) -> tuple[list[wire.Message], str | None]:
    """The messages in a stream that comes in these pieces, and the code of the error that ends it."""
    decoder = wire.Decoder()
    messages: list[wire.Message] = []
    try:
        for piece in pieces:
            messages.extend(decoder.feed(piece))
    except PeerError as error:
        return messages, error.code
    return messages, None


def in_bytes(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


def opened(message: wire.Message, data: bytes) -> tuple[list[wire.Message], bytes]:
    """The shortest stream this message may end."""
    return ([message], data) if data == ID else ([Identity(CALL), message], ID + data)


# -- one row, both ways ----------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "data"), CASES.values(), ids=CASES)
def test_a_message_is_written(message: wire.Message, data: bytes) -> None:
    assert written(message) == data


@pytest.mark.parametrize(("message", "data"), CASES.values(), ids=CASES)
def test_a_message_is_read(message: wire.Message, data: bytes) -> None:
    messages, stream = opened(message, data)
    assert read([stream]) == (messages, None)
    assert read(in_bytes(stream)) == (messages, None)
    for trailing in (b"\x10", b"\x10\x01", b"\x10\x01\x40", b"\x10\x01\x40" + bytes(319)):
        assert read([stream + trailing]) == (messages, None)


@pytest.mark.parametrize("key", "0123456789ABCD*#")
def test_every_key_is_read_also_in_lower_case(key: str) -> None:
    for sent in (key, key.lower()):
        assert read([ID + wire.dtmf(sent)]) == ([Identity(CALL), Digit(key)], None)


def test_every_rate_has_its_kind() -> None:
    assert {rate: int(kind) for rate, kind in wire.KIND_OF_RATE.items()} == {
        8_000: 0x10,
        12_000: 0x11,
        16_000: 0x12,
        24_000: 0x13,
        32_000: 0x14,
        44_100: 0x15,
        48_000: 0x16,
        96_000: 0x17,
        192_000: 0x18,
    }


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "code"), MALFORMED.values(), ids=MALFORMED)
def test_a_mistake_is_named_however_it_arrives(data: bytes, code: str) -> None:
    before = [Identity(CALL)] if data.startswith(ID) else []
    for trailing in (b"", bytes(100)):
        assert read([data + trailing]) == (before, code)
        assert read(in_bytes(data + trailing)) == (before, code)


def test_what_came_before_a_mistake_is_not_lost_by_it() -> None:
    frames = [Audio(Kind.SLIN, bytes((n,)) * 320) for n in range(3)]
    stream = ID + b"".join(map(written, frames)) + b"\x77\x00\x00"
    assert read([stream]) == ([Identity(CALL), *frames], "unknown_kind")


@pytest.mark.parametrize(
    "header", [b"\x18\x5a\x02", b"\x10\xff\xff", b"\x01\xff\xff", b"\x77\xff\xff"]
)
def test_too_much_is_refused_by_its_header_before_any_of_it_is_kept(header: bytes) -> None:
    decoder = wire.Decoder()
    if header[0] != Kind.UUID:
        assert list(decoder.feed(ID)) == [Identity(CALL)]
    with pytest.raises(PeerError):
        list(decoder.feed(header))


def test_the_limit_is_the_constructors() -> None:
    assert [*wire.Decoder(max_audio_bytes=640).feed(ID + wire.audio(Kind.SLIN16, bytes(640)))]
    with pytest.raises(PeerError, match="642 bytes, more than 640"):
        list(wire.Decoder(max_audio_bytes=640).feed(ID + wire.audio(Kind.SLIN16, bytes(642))))


def test_an_odd_length_tells_the_operator_what_to_do() -> None:
    with pytest.raises(PeerError, match=r"c\(slin16\)"):
        list(wire.Decoder().feed(ID + b"\x10\x00\x27"))


def test_a_payload_longer_than_the_length_field_cannot_be_written() -> None:
    assert wire.audio(Kind.SLIN192, bytes(65_535))[:3] == b"\x18\xff\xff"
    with pytest.raises(ValueError, match="range"):
        wire.audio(Kind.SLIN192, bytes(65_536))


def test_a_cut_is_told_from_an_end() -> None:
    decoder = wire.Decoder()
    assert not decoder.mid_message
    for piece, mid_message in [
        (ID[:1], True),
        (ID[1:], False),
        (b"\x10\x01", True),
        (b"\x40", True),
        (bytes(319), True),
        (bytes(1), False),
        (bytes(0), False),
    ]:
        list(decoder.feed(piece))
        assert decoder.mid_message is mid_message


# -- any split of any stream -----------------------------------------------------------------------

_AUDIO = st.builds(
    Audio,
    st.sampled_from(sorted(wire.RATE_HZ)),
    st.binary(min_size=1, max_size=40).map(lambda half: half * 2),
)
_DIGIT = st.builds(Digit, st.sampled_from("0123456789ABCD*#"))
_MESSAGES = st.lists(_AUDIO | _DIGIT | st.builds(Hangup), max_size=8)
_JUNK = st.binary(max_size=12)


def _cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.uuids(), _MESSAGES, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_a_call_gives_the_call(
    call: uuid.UUID, said: list[wire.Message], cuts: list[int]
) -> None:
    messages = [Identity(call), *said]
    stream = b"".join(map(written, messages))
    assert read(_cut(stream, cuts)) == (messages, None)


@given(_MESSAGES, _JUNK, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_any_bytes_gives_the_same_messages_and_the_same_mistake(
    said: list[wire.Message], junk: bytes, cuts: list[int]
) -> None:
    stream = ID + b"".join(map(written, said)) + junk
    assert read(_cut(stream, cuts)) == read([stream])


def test_messages_of_audio_like_the_last_are_known_for_them() -> None:
    frame = b"\x10\x01\x40" + bytes(320)
    decoder = wire.Decoder()
    assert not decoder.usual(frame)  # the UUID comes first
    list(decoder.feed(ID + frame))
    assert decoder.usual(frame) == 1
    assert decoder.usual(frame * 3) == 3
    for other in (
        frame + b"\x12" + frame[1:],
        frame[:-1],
        frame * 2 + frame[:3],
        frame[:3],
        b"",
        b"\x10\x00\x00",
        b"\x10\x00\x03" + bytes(3),
        b"\x03\x00\x02" + bytes(2),
        b"\x10\x5a\x02" + bytes(23_042),
    ):
        assert not decoder.usual(other)
    list(decoder.feed(frame[:7]))
    assert not decoder.usual(frame)  # it goes on with another
    assert list(decoder.feed(frame[7:] + frame)) == [Audio(0x10, bytes(320))] * 2
    assert decoder.usual(frame) == 1


@given(_AUDIO)
def test_what_is_known_for_one_is_one(said: Audio) -> None:
    decoder, data = wire.Decoder(), written(said)
    list(decoder.feed(ID + data))
    assert decoder.usual(data * 2) == 2
    assert decoder.usual_bytes == len(data)
    assert list(decoder.feed(data)) == [Audio(data[0], data[wire.HEADER_BYTES :])]

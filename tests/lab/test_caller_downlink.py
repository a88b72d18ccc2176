"""What Asterisk makes of a service's bytes, however they are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent import wire
from audiosocket_agent.lab.downlink import Broken, Downlink, Message

AUDIO = wire.Audio(wire.Kind.SLIN16, bytes(range(64)))
LONGEST = wire.Audio(wire.Kind.SLIN192, b"\x01" * 65_535)
ODD = wire.Audio(wire.Kind.SLIN, b"\x01\x02\x03")


def encoded(*messages: wire.Audio) -> bytes:
    return b"".join(wire.audio(message.kind, message.payload) for message in messages)


NOT_TAKEN = Broken("a message of kind 0x03, which Asterisk does not take")

CASES: list[tuple[bytes, list[Message]]] = [
    (encoded(AUDIO), [AUDIO]),
    (encoded(AUDIO, ODD, LONGEST), [AUDIO, ODD, LONGEST]),
    (encoded(AUDIO) + wire.HANGUP, [AUDIO, wire.Hangup()]),
    (wire.HANGUP + encoded(AUDIO), [wire.Hangup()]),
    (encoded(AUDIO) + b"\x10\x00\x00", [AUDIO, Broken("audio of length 0 (kind 0x10)")]),
    (b"\x03\x00\x015" + encoded(AUDIO), [NOT_TAKEN]),
]


@pytest.mark.parametrize(("data", "messages"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 100, 100_000])
def test_a_stream_means_the_same_however_it_is_split(
    data: bytes, messages: list[Message], size: int
) -> None:
    downlink = Downlink()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [message for piece in pieces for message in downlink.feed(piece, 0.0)] == messages
    assert downlink.end() is None
    assert downlink.late_payloads == 0


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_no_bytes_surprise_it(data: bytes, cut: int) -> None:
    whole, halves = Downlink(), Downlink()
    assert whole.feed(data, 0.0) == halves.feed(data[:cut], 0.0) + halves.feed(data[cut:], 0.0)
    assert whole.end() == halves.end()


@pytest.mark.parametrize(
    ("first", "pause", "late"),
    [
        (1, 1.0, 0),  # inside the header: Asterisk waits for the rest of it without a limit
        (3, 0.010, 1),  # after the header, and inside the payload: 5 ms for each part
        (40, 0.010, 1),
        (40, 0.004, 0),
        (67, 1.0, 0),  # between messages
    ],
)
def test_a_payload_in_parts_that_come_late_is_noted(first: int, pause: float, late: int) -> None:
    downlink, data = Downlink(), encoded(AUDIO, AUDIO)
    messages = downlink.feed(data[:first], 7.0)
    messages += downlink.feed(data[first:], 7.0 + pause)
    assert messages == [AUDIO, AUDIO]
    assert downlink.late_payloads == late


@pytest.mark.parametrize("cut", [1, 3, 40])
def test_a_stream_that_stops_inside_a_message_was_cut(cut: int) -> None:
    downlink = Downlink()
    downlink.feed(encoded(AUDIO) + encoded(AUDIO)[:cut], 0.0)
    assert downlink.end() == Broken("the connection was closed inside a message")

"""Short files, in and out, and whatever else has that name."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.audio.wav import RATES_HZ, decode, encode

WHOLE = encode(bytes(1_000), 8_000)


@given(st.lists(st.integers(-32768, 32767)), st.sampled_from(RATES_HZ))
def test_what_goes_in_comes_out(samples: list[int], rate_hz: int) -> None:
    pcm = struct.pack(f"<{len(samples)}h", *samples)
    assert decode(encode(pcm, rate_hz)) == (pcm, rate_hz)


def test_a_part_of_a_file_is_none() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(ValueError, match=r"cut short|no PCM WAV file"):
            decode(WHOLE[:length])


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (22, 2, "2 channels, not 1"),
        (24, 11_025, "11025 Hz, not one of 8000, 16000, 24000"),
        (34, 8, "8 bits, not 16"),
        (20, 7, "no PCM WAV file .unknown format: 7."),
        (0, 0, "no PCM WAV file"),
    ],
)
def test_another_kind_is_named(at: int, value: int, reason: str) -> None:
    content = bytearray(WHOLE)
    struct.pack_into("<H", content, at, value)
    with pytest.raises(ValueError, match=reason):
        decode(bytes(content))


@given(st.binary(max_size=80), st.integers(0, 44))
def test_whatever_it_is_nothing_else_is_raised(noise: bytes, at: int) -> None:
    with suppress(ValueError):
        decode(WHOLE[:at] + noise + WHOLE[at + len(noise) :])

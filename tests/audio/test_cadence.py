"""Audio that is not what its kind says."""

import pytest

from audiosocket_agent.audio.cadence import Cadence
from audiosocket_agent.errors import PeerError


def stream(payload_bytes: int, every_s: float, seconds: int, rate_hz: int = 8_000) -> None:
    """Messages of this size at this spacing for so long, told of every second."""
    cadence, told = Cadence(), 0
    for second in range(seconds + 1):
        messages = int(second / every_s) - told
        told += messages
        size = messages * payload_bytes
        cadence.received(100.0 + second, messages, size, size / rate_hz / 2)


@pytest.mark.parametrize(
    ("payload_bytes", "every_s"),
    [
        (320, 0.020),  # slin, 20 ms
        (480, 0.030),  # slin, 30 ms
        (960, 0.060),  # slin, 60 ms
        (160, 0.010),  # slin, 10 ms
        (160, 0.200),  # nothing a codec does, but no proof of one either
    ],
)
def test_honest_audio_passes(payload_bytes: int, every_s: float) -> None:
    stream(payload_bytes, every_s, 60)


def test_a_raw_codec_is_named_within_three_seconds() -> None:
    with pytest.raises(PeerError, match=r"c\(slin16\)") as refused:
        stream(160, 0.020, 2)
    assert refused.value.code == "raw_codec"


def test_one_frame_that_is_longer_proves_slin() -> None:
    cadence = Cadence()
    for second in range(10):
        size = 50 * 160 + 160 * (second % 2)
        cadence.received(float(second), 50, size, size / 16_000)


def test_a_flood_is_refused() -> None:
    with pytest.raises(PeerError) as refused:
        stream(320, 0.005, 12)  # four times as fast as it plays: 3 s ahead after each second
    assert refused.value.code == "too_fast"


def test_what_a_stall_has_held_back_is_no_flood() -> None:
    cadence = Cadence()
    cadence.received(0.0, 50, 16_000, 1.0)
    cadence.received(15.0, 750, 240_000, 15.0)  # 15 s of audio, at once
    for second in range(100):
        cadence.received(15.0 + second, 50, 16_000, 1.0)


def test_a_clock_a_little_fast_is_no_flood() -> None:
    stream(320, 0.020 / 1.001, 3600)

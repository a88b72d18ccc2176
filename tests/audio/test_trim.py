"""What is left of speech when the silence around it is gone."""

import numpy as np
import pytest

from audiosocket_agent.audio import duration_ms
from audiosocket_agent.audio.trim import trim
from tests.scripted import tone

BREATH = (60 * np.sin(np.arange(24_000))).astype("<i2").tobytes()  # a second, -55 dBFS


@pytest.mark.parametrize("around", [b"", bytes(24_000), BREATH])
def test_silence_goes_and_speech_stays_with_a_little_around_it(around: bytes) -> None:
    left = trim(around + tone(0.5) + around, 24_000)
    assert tone(0.5) in left
    assert 500 <= duration_ms(left, 24_000) <= 600


def test_a_pause_within_stays() -> None:
    words = tone(0.2) + bytes(24_000) + tone(0.2)
    assert words in trim(bytes(10_000) + words, 24_000)


@pytest.mark.parametrize("pcm", [b"", b"\0", bytes(1), bytes(48_000), BREATH])
def test_of_silence_nothing_is_left(pcm: bytes) -> None:
    assert trim(pcm, 24_000) == b""

import numpy as np
import pytest

from audiosocket_agent.audio.comfort import NOTE_S, NOTES_HZ, comfort_tone


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_it_is_short_soft_and_begins_and_ends_in_silence(rate_hz: int) -> None:
    samples = np.frombuffer(comfort_tone(rate_hz), "<i2").astype(float)
    assert len(samples) == round(NOTE_S * rate_hz) * len(NOTES_HZ)
    level_dbfs = 20 * np.log10(np.sqrt(np.mean(samples**2)) / 32768)
    assert -36 < level_dbfs < -28  # telephone speech lies near -25
    ends = rate_hz // 200  # 5 ms
    assert np.abs(samples[:ends]).max() < 20
    assert np.abs(samples[-ends:]).max() < 20
    assert np.abs(np.diff(samples)).max() < 1200  # no click

"""What a caller would hear of the resampler: noise, aliases, a dull voice, a delay, a seam.

All is measured on 16-bit samples in and out, so rounding twice is in every figure: it alone leaves a
tone 30,000 high about 95 to 98 dB above the noise.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiosocket_agent.audio.resample import Resampler

PAIRS = [
    (24_000, 8_000),  # Gemini to a telephone
    (24_000, 16_000),  # Gemini to c(slin16)
    (8_000, 16_000),
    (16_000, 8_000),
    (16_000, 24_000),
    (12_000, 16_000),
    (48_000, 16_000),
    (44_100, 16_000),
]
DOWN = [(a, b) for a, b in PAIRS if b < a]
UP = [(a, b) for a, b in PAIRS if b > a]
PEAK = 30_000

Floats = NDArray[np.float64]


def tone(hertz: float, rate_hz: int, seconds: float = 0.5) -> bytes:
    wave = PEAK * np.sin(2 * np.pi * hertz * np.arange(round(rate_hz * seconds)) / rate_hz)
    pcm: bytes = np.rint(wave).astype("<i2").tobytes()
    return pcm


def converted(pcm: bytes, from_hz: int, to_hz: int) -> Floats:
    resampler = Resampler(from_hz, to_hz)
    return samples(resampler.feed(pcm) + resampler.flush())


def samples(pcm: bytes) -> Floats:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def steady(wave: Floats, rate_hz: int) -> Floats:
    """0.4 s of it from 0.05 s on: without the filter's start and end."""
    return wave[rate_hz // 20 : rate_hz // 20 + rate_hz * 2 // 5]


def find(wave: Floats, hertz: float, rate_hz: int) -> tuple[float, float, Floats]:
    """Amplitude and phase (radians) of the tone of this frequency in `wave`, and all else in it."""
    turn = 2 * np.pi * hertz * np.arange(len(wave)) / rate_hz
    basis = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    (sine, cosine), *_ = np.linalg.lstsq(basis, wave, rcond=None)
    return math.hypot(sine, cosine), math.atan2(cosine, sine), wave - basis @ (sine, cosine)


def decibel(ratio: float) -> float:
    return 20 * math.log10(max(ratio, 1e-9))


def folded(hertz: float, rate_hz: int) -> float:
    """Where a tone appears once it is sampled at `rate_hz`."""
    return abs((hertz + rate_hz / 2) % rate_hz - rate_hz / 2)


# -- the sound -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_tone_of_1_khz_comes_out_clean(from_hz: int, to_hz: int) -> None:
    # 997 Hz: a tone that does not repeat with the sampling, so that rounding is noise
    wave = steady(converted(tone(997, from_hz), from_hz, to_hz), to_hz)
    amplitude, _, rest = find(wave, 997, to_hz)
    assert decibel(amplitude / math.sqrt(2) / rest.std()) >= 90


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_voice_band_is_flat(from_hz: int, to_hz: int, hertz: float) -> None:
    wave = steady(converted(tone(hertz, from_hz), from_hz, to_hz), to_hz)
    assert abs(decibel(find(wave, hertz, to_hz)[0] / PEAK)) <= 0.01


@pytest.mark.parametrize("times_nyquist", [1.1, 1.125, 1.25, 1.4])  # the stop band begins at 1.1
@pytest.mark.parametrize(("from_hz", "to_hz"), DOWN)
def test_what_the_lower_rate_cannot_carry_does_not_come_back_as_an_alias(
    from_hz: int, to_hz: int, times_nyquist: float
) -> None:
    hertz = times_nyquist * to_hz / 2
    wave = steady(converted(tone(hertz, from_hz), from_hz, to_hz), to_hz)
    assert decibel(find(wave, folded(hertz, to_hz), to_hz)[0] / PEAK) <= -85
    assert decibel(np.abs(wave).max() / PEAK) <= -85


@pytest.mark.parametrize("hertz", [997, 2993])
@pytest.mark.parametrize(("from_hz", "to_hz"), UP)
def test_a_higher_rate_brings_no_images(from_hz: int, to_hz: int, hertz: float) -> None:
    wave = steady(converted(tone(hertz, from_hz), from_hz, to_hz), to_hz)
    _, _, rest = find(wave, hertz, to_hz)
    for image in {folded(n * from_hz + sign * hertz, to_hz) for n in (1, 2, 3) for sign in (1, -1)}:
        if image != pytest.approx(hertz):
            assert decibel(find(rest, image, to_hz)[0] / PEAK) <= -85


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_delay_is_at_most_2_ms(from_hz: int, to_hz: int) -> None:
    wave = converted(tone(100, from_hz), from_hz, to_hz)[to_hz // 10 :]  # ten periods later
    _, phase, _ = find(wave[: to_hz // 10], 100, to_hz)
    assert 0 < -phase / (2 * math.pi * 100) <= 0.002 + 1e-5


def test_what_is_too_loud_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(2400) % 48 < 24, 32767, -32768).astype("<i2")
    wave = converted(square.tobytes(), 24_000, 16_000)  # the filter overshoots at each edge
    assert wave.max() == 32767
    assert wave.min() == -32768
    assert np.abs(np.diff(wave)).max() <= 65535


# -- the stream ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ms", [10, 20, 40, 60, 100])
@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_chunks_come_out_as_long_as_they_went_in(from_hz: int, to_hz: int, ms: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    lengths = {len(resampler.feed(bytes(from_hz * ms // 1000 * 2))) for _ in range(5)}
    assert lengths == {to_hz * ms // 1000 * 2}


@given(st.sampled_from(PAIRS), st.data())
def test_how_a_stream_is_cut_does_not_matter(pair: tuple[int, int], data: st.DataObject) -> None:
    noise = np.random.default_rng(7).integers(-20_000, 20_000, pair[0] // 20).astype("<i2")
    cuts = data.draw(st.lists(st.integers(0, len(noise)), max_size=8).map(sorted))
    resampler = Resampler(*pair)
    out = b"".join(resampler.feed(part.tobytes()) for part in np.split(noise, cuts))
    whole, pieces = converted(noise.tobytes(), *pair), samples(out + resampler.flush())
    assert len(pieces) == len(whole)
    assert np.abs(pieces - whole).max() <= 1  # a sum in another order, rounded


@given(st.sampled_from(PAIRS), st.integers(0, 3000))
def test_flush_gives_the_tail_as_if_silence_followed(pair: tuple[int, int], length: int) -> None:
    from_hz, to_hz = pair
    noise = np.random.default_rng(7).integers(-20_000, 20_000, length).astype("<i2").tobytes()
    flushed = converted(noise, from_hz, to_hz)
    followed = samples(Resampler(from_hz, to_hz).feed(noise + bytes(from_hz // 10 * 2)))
    assert np.abs(flushed - followed[: len(flushed)]).max() <= 1
    # as long as it was, the delay of 1 or 2 ms, and silence up to the next block
    extra = len(flushed) / to_hz - length / from_hz
    assert 0.001 - 1e-9 <= extra < 0.002 + 0.010


@pytest.mark.parametrize("forget", [Resampler.flush, Resampler.reset])
@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_nothing_of_a_stream_is_heard_in_the_next(
    from_hz: int, to_hz: int, forget: Callable[[Resampler], object]
) -> None:
    used, fresh = Resampler(from_hz, to_hz), Resampler(from_hz, to_hz)
    used.feed(tone(997, from_hz, 0.0737))
    forget(used)
    for chunk in (bytes(from_hz // 50 * 2), tone(300, from_hz, 0.1)):
        assert used.feed(chunk) == fresh.feed(chunk)
    assert used.flush() == fresh.flush()


def test_two_streams_do_not_hear_each_other() -> None:
    loud, quiet = Resampler(24_000, 8_000), Resampler(24_000, 8_000)
    for _ in range(3):
        loud.feed(tone(997, 24_000, 0.05))
        assert not any(quiet.feed(bytes(2400)))
    assert not any(quiet.flush())


def test_half_a_sample_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Resampler(24_000, 8_000).feed(b"\0")

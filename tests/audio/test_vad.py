"""When the caller speaks, found in real speech, in noise, and in frames of any length."""

import itertools
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiosocket_agent import assets
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.audio.vad import RATES_HZ, Edge, SpeechDetector

STARTED, SUSTAINED, ENDED = Edge.STARTED, Edge.SUSTAINED, Edge.ENDED
UTTERANCE = [STARTED, SUSTAINED, ENDED]

ONSETS = (0.0, 4.08, 7.28)  # of the three utterances in caller.wav: first 20 ms louder than 600
LAST_WORDS = (2.88, 6.04, 10.56)  # the last such frame of each


@cache
def caller(rate_hz: int) -> bytes:
    """Three utterances, 1.2 s apart, and a second of silence."""
    pcm = assets.speech("caller") + bytes(2 * assets.RATE_HZ)
    return pcm if rate_hz == assets.RATE_HZ else Resampler(assets.RATE_HZ, rate_hz).feed(pcm)


def silence(seconds: float, rate_hz: int) -> bytes:
    return bytes(round(seconds * rate_hz) * 2)


def pcm(wave: NDArray[np.float64]) -> bytes:
    data: bytes = wave.clip(-32768, 32767).astype("<i2").tobytes()
    return data


def scaled(speech: bytes, gain: float) -> bytes:
    return pcm(np.frombuffer(speech, "<i2") * gain)


def frames(audio: bytes) -> list[bytes]:
    return [audio[at : at + 320] for at in range(0, len(audio), 320)]


def rms(audio: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(np.frombuffer(audio, "<i2"), dtype=float))))


def timed(
    detector: SpeechDetector, audio: bytes, rate_hz: int, ms: int = 20
) -> Iterator[tuple[float, Edge]]:
    """Feed `ms` at a time; gives each edge with the end of the audio it came with."""
    size = rate_hz * ms // 1000 * 2
    for number, at in enumerate(range(0, len(audio), size), 1):
        for edge in detector.feed(audio[at : at + size]):
            yield number * ms / 1000, edge


# -- speech ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_three_utterances_make_nine_edges(rate_hz: int) -> None:
    edges = list(timed(SpeechDetector(rate_hz), caller(rate_hz), rate_hz))
    assert [edge for _, edge in edges] == UTTERANCE * 3
    times = [at for at, _ in edges]
    for onset, started in zip(ONSETS, times[0::3], strict=True):
        assert 0.04 <= started - onset <= 0.1
    for onset, sustained in zip(ONSETS, times[1::3], strict=True):
        assert 0.29 <= sustained - onset <= 0.52  # the third begins with a weak syllable
    for last, ended in zip(LAST_WORDS, times[2::3], strict=True):
        assert 0.5 <= ended - last <= 0.6


@pytest.mark.parametrize("ms", [10, 20, 30, 60, 100])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_edges_are_the_same_for_payloads_of_any_length(rate_hz: int, ms: int) -> None:
    edges = [edge for _, edge in timed(SpeechDetector(rate_hz), caller(rate_hz), rate_hz, ms)]
    assert edges == UTTERANCE * 3


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=20))
def test_edges_are_the_same_however_the_audio_is_cut(sizes: list[int]) -> None:
    audio = caller(8_000)[: 8_000 * 2 * 4]
    detector, edges, at = SpeechDetector(8_000), list[Edge](), 0
    for size in itertools.cycle(sizes):
        if at >= len(audio):
            break
        edges += detector.feed(audio[at : at + size])
        at += size
    assert edges == UTTERANCE


def test_quiet_ms_counts_from_the_last_voiced_frame() -> None:
    detector = SpeechDetector(8_000)
    detector.feed(caller(8_000)[: 8_000 * 2])
    assert (detector.speaking, detector.quiet_ms) == (True, 0)
    detector.feed(silence(0.4, 8_000))
    assert (detector.speaking, detector.quiet_ms) == (True, 400)
    assert detector.feed(silence(0.1, 8_000)) == [ENDED]
    assert (detector.speaking, detector.quiet_ms) == (False, 500)


def test_durations_are_the_constructors() -> None:
    detector = SpeechDetector(16_000, window_ms=300, start_ms=200, sustain_ms=1000, silence_ms=700)
    edges = list(timed(detector, caller(16_000), 16_000))
    assert [edge for _, edge in edges[:3]] == UTTERANCE
    started, sustained, ended = (at for at, _ in edges[:3])
    assert 0.2 <= started <= 0.3
    assert 1.0 <= sustained <= 1.5
    assert 0.7 <= ended - LAST_WORDS[0] <= 0.8


def test_speech_is_sustained_even_where_less_is_asked_for_than_an_onset_takes() -> None:
    detector = SpeechDetector(8_000, start_ms=100, sustain_ms=20)
    assert detector.feed(caller(8_000)[: 8_000 * 2]) == [STARTED, SUSTAINED]


# -- interrupting a reply --------------------------------------------------------------------------


def test_after_rearm_speech_that_goes_on_is_a_new_onset() -> None:
    second = 8_000 * 2
    detector = SpeechDetector(8_000)
    assert detector.feed(caller(8_000)[:second]) == [STARTED, SUSTAINED]
    assert detector.feed(caller(8_000)[second : 2 * second]) == []
    detector.rearm()
    again = list(timed(detector, caller(8_000)[2 * second : 3 * second], 8_000))
    assert [edge for _, edge in again] == [STARTED, SUSTAINED]
    assert again[0][0] <= 0.1


def test_after_rearm_silence_is_silence() -> None:
    detector = SpeechDetector(8_000)
    detector.feed(caller(8_000)[: 8_000 * 2])
    detector.rearm()
    assert detector.feed(silence(2, 8_000)) == []


# -- what is no speech -----------------------------------------------------------------------------


def _white(rng: np.random.Generator, samples: int) -> NDArray[np.float64]:
    return rng.normal(size=samples)


def _pink(rng: np.random.Generator, samples: int) -> NDArray[np.float64]:
    return np.convolve(rng.normal(size=samples + 50), 0.9 ** np.arange(50), "valid")[:samples]


def _hum(_: np.random.Generator, samples: int) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * 180 * np.arange(samples) / 8_000)


NOISES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "white": _white,
    "pink": _pink,
    "hum": _hum,
}


def burst(noise: str, ms: int, level: float, rate_hz: int, after_ms: float) -> bytes:
    wave = NOISES[noise](np.random.default_rng(ms), rate_hz * ms // 1000)
    wave *= level / wave.std()
    return silence(0.3 + after_ms / 1000, rate_hz) + pcm(wave) + silence(0.7, rate_hz)


@pytest.mark.parametrize("ms", [60, 150, 220, 249])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_sound_under_250_ms_is_never_sustained(rate_hz: int, noise: str, ms: int) -> None:
    found: list[list[Edge]] = []
    for level in (500, 2_000, 8_000):
        for after_ms in (0, 4, 8, 12, 16):  # against the frames
            audio = burst(noise, ms, level, rate_hz, after_ms)
            found.append(list(SpeechDetector(rate_hz).feed(audio)))
    assert all(edges in ([], [STARTED, ENDED]) for edges in found)
    assert [STARTED, ENDED] in found or ms == 60


@pytest.mark.parametrize("noise", ["white", "pink"])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_sound_of_half_a_second_is(rate_hz: int, noise: str) -> None:
    assert SpeechDetector(rate_hz).feed(burst(noise, 500, 4_000, rate_hz, 8)) == UTTERANCE


@pytest.mark.parametrize("level", [0, 1, 50, 190])
@pytest.mark.parametrize("aggressiveness", [0, 3])
def test_the_hiss_of_a_line_is_nothing(aggressiveness: int, level: float) -> None:
    hiss = pcm(np.random.default_rng(3).normal(scale=level, size=8_000 * 5))
    assert SpeechDetector(8_000, aggressiveness=aggressiveness).feed(hiss) == []


def test_speech_below_the_floor_is_nothing() -> None:
    loudest = max(rms(frame) for frame in frames(caller(8_000)))
    whisper = scaled(caller(8_000), 195 / loudest)
    assert SpeechDetector(8_000, aggressiveness=0).feed(whisper) == []
    edges = SpeechDetector(8_000, aggressiveness=0, energy_threshold=20).feed(whisper)
    assert edges == UTTERANCE * 3


def test_the_floor_is_the_root_mean_square_of_a_frame() -> None:
    spoken = frames(caller(8_000))[:50]
    loudest = max(range(len(spoken)), key=lambda number: rms(spoken[number]))
    for above, voiced in ((-1, True), (1, False)):
        detector = SpeechDetector(8_000, energy_threshold=rms(spoken[loudest]) + above)
        detector.feed(b"".join(spoken[: loudest + 1]))
        assert (detector.quiet_ms == 0) is voiced


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [0, 11_025, 12_000, 24_000, 48_000])
def test_other_rates_are_refused(rate_hz: int) -> None:
    with pytest.raises(ValueError, match=f"not {rate_hz}"):
        SpeechDetector(rate_hz)


def test_a_mode_webrtcvad_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="mode"):
        SpeechDetector(8_000, aggressiveness=4)


def test_how_much_voice_makes_speech_is_known() -> None:
    assert SpeechDetector(8_000, sustain_ms=250).sustain_ms == 300  # 14 frames, and one of doubt

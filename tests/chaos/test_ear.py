"""What a caller makes of frames."""

import numpy as np
import pytest

from audiosocket_agent.audio.comfort import comfort_tone
from tests.chaos.ear import (
    AGAIN,
    SENTENCES,
    Heard,
    counted,
    listen,
    longest_silence,
    seconds_of,
    sentence,
    sentences,
)


def frames_of(pcm: bytes, rate_hz: int, begins: float = 0.0) -> list[Heard]:
    size = rate_hz // 50 * 2
    return [
        listen(begins + n * 0.02, rate_hz, pcm[at : at + size])
        for n, at in enumerate(range(0, len(pcm), size))
    ]


@pytest.mark.parametrize("number", SENTENCES)
def test_a_sentence_is_known_by_its_tone_at_any_rate(number: int) -> None:
    pcm, rate_hz = sentence(number, 0.2)
    assert {each.sentence for each in frames_of(pcm, rate_hz)} == {number}
    every_third = np.frombuffer(pcm, "<i2")[::3].tobytes()
    assert {each.sentence for each in frames_of(every_third, 8_000)} == {number}


def test_what_is_no_sentence_is_heard_all_the_same() -> None:
    frames = frames_of(comfort_tone(8_000), 8_000)
    assert sum(each.audible for each in frames) > len(frames) / 2
    assert {each.sentence for each in frames} == {None}
    assert not listen(0.0, 8_000, bytes(320)).audible


def test_after_the_seventh_answer_it_is_the_first_again() -> None:
    assert [counted(n) for n in (1, 7, 8, 14, 15)] == [1, 7, 1, 7, 1]
    assert AGAIN not in {counted(n) for n in range(1, 50)}


def test_the_longest_silence_is_between_sounds_or_before_the_first_or_after_the_last() -> None:
    frames = [Heard(at, audible=True) for at in (1.0, 1.5, 4.0)]
    assert longest_silence(frames, 0.0, 4.0) == pytest.approx(2.48)
    assert longest_silence(frames, -5.0, 4.0) == pytest.approx(6.0)
    assert longest_silence(frames, 0.0, 9.0) == pytest.approx(4.98)
    assert longest_silence([], 2.0, 5.0) == 3.0
    assert longest_silence(frames, 1.4, 1.6) == pytest.approx(0.1)


def test_sentences_are_told_apart_by_what_they_are_and_by_pauses() -> None:
    frames = [
        *frames_of(*sentence(0, 1.0), begins=0.0),
        *frames_of(*sentence(1, 1.0), begins=1.0),
        *frames_of(*sentence(1, 0.5), begins=3.0),
    ]
    said = [(each.sentence, round(each.seconds, 2), each.at) for each in sentences(frames)]
    assert said == [(0, 1.0, 0.0), (1, 1.0, 1.0), (1, 0.5, 3.0)]
    assert seconds_of(frames, 0.0, (1,)) == pytest.approx(1.5)
    assert seconds_of(frames, 2.0, (0, 1)) == pytest.approx(0.5)

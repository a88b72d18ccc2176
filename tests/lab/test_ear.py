"""The listener of the PBX bench: what it has to notice, and what it must not mind."""

import numpy as np
import pytest

from tests.pbx.codec import Pcm, resample, ulaw_decode, ulaw_encode
from tests.pbx.ear import Verdict, align, spans
from tests.pbx.speech import asset

RATE = 8_000
FRAME = RATE // 50


REPLY = asset("simulator-reply", RATE)[: 5 * RATE]
OTHER = asset("caller", RATE)
MIDDLE = int(np.argmax(np.convolve(np.abs(REPLY.astype(float)), np.ones(FRAME), "same")))
"""A loud moment."""


def phone(pcm: Pcm, before_s: float = 1.0, after_s: float = 1.0) -> Pcm:
    """What a caller with mu-law hears, with silence around it."""
    silence = [np.zeros(round(s * RATE), np.int16) for s in (before_s, after_s)]
    return ulaw_decode(ulaw_encode(np.concatenate((silence[0], pcm, silence[1]))))


def listen(pcm: Pcm) -> Verdict:
    return align(phone(pcm), REPLY, RATE)


def with_inserted(place: int, pcm: Pcm) -> Pcm:
    return np.concatenate((REPLY[:place], pcm, REPLY[place:]))


def test_a_clean_reply_through_mulaw_is_perfect() -> None:
    verdict = listen(REPLY)
    assert verdict.perfect
    assert verdict.start_s == pytest.approx(1.0, abs=0.001)
    assert verdict.min_correlation > 0.97


def test_the_models_24_khz_made_8_khz_is_perfect() -> None:
    assert listen(resample(resample(REPLY, RATE, 24_000), 24_000, RATE)).perfect


def test_a_reply_at_16_khz_is_perfect() -> None:
    reply = asset("simulator-reply", 16_000)
    heard = np.pad(reply, 7_000)
    assert align(heard, reply, 16_000).perfect


def test_a_quiet_reply_is_perfect() -> None:
    assert listen((REPLY * 0.3).astype(np.int16)).perfect


# Through the whole reply, so that vowels, consonants and word boundaries all are hit.
PLACES = range(RATE // 2, len(REPLY) - RATE // 2, 2_999)


@pytest.mark.parametrize("place", PLACES)
def test_20_ms_of_silence_put_in_is_a_gap(place: int) -> None:
    verdict = listen(with_inserted(place, np.zeros(FRAME, np.int16)))
    assert [(fault.kind, round(fault.ms)) for fault in verdict.faults] == [("gap", 20)]
    assert verdict.faults[0].at_s == pytest.approx(1.0 + place / RATE, abs=0.02)
    assert verdict.cut_at_s is None


def test_a_frame_heard_twice_is_a_repeat() -> None:
    verdict = listen(with_inserted(MIDDLE, REPLY[MIDDLE - FRAME : MIDDLE]))
    assert [(fault.kind, round(fault.ms)) for fault in verdict.faults] == [("repeat", 20)]


def test_a_frame_that_never_came_is_a_skip() -> None:
    verdict = listen(np.delete(REPLY, slice(MIDDLE, MIDDLE + FRAME)))
    assert [(fault.kind, round(fault.ms)) for fault in verdict.faults] == [("skip", 20)]


def test_a_lost_packet_is_a_gap_though_nothing_moved() -> None:
    heard = REPLY.copy()
    heard[MIDDLE : MIDDLE + FRAME] = 0
    verdict = listen(heard)
    assert [fault.kind for fault in verdict.faults] == ["gap"]
    assert verdict.faults[0].ms == pytest.approx(20, abs=10)


def test_a_pause_of_half_a_second_is_one_gap() -> None:
    verdict = listen(with_inserted(MIDDLE, np.zeros(RATE // 2, np.int16)))
    assert [(fault.kind, round(fault.ms)) for fault in verdict.faults] == [("gap", 500)]
    assert verdict.cut_at_s is None


def test_three_faults_are_three() -> None:
    heard = np.insert(REPLY, RATE, np.zeros(FRAME, np.int16))
    heard = np.insert(heard, 2 * RATE, np.zeros(2 * FRAME, np.int16))
    heard = np.insert(heard, MIDDLE + RATE, heard[MIDDLE + RATE - FRAME : MIDDLE + RATE])
    assert len(listen(heard).faults) == 3


@pytest.mark.parametrize("cut_s", [0.8, 1.3, 2.1])
def test_a_reply_that_stops_is_cut(cut_s: float) -> None:
    verdict = listen(REPLY[: round(cut_s * RATE)])
    assert verdict.found
    assert verdict.cut_at_s == pytest.approx(cut_s, abs=0.05)
    assert not verdict.faults


def test_a_reply_cut_by_someone_else_is_cut() -> None:
    verdict = listen(np.concatenate((REPLY[: 2 * RATE], OTHER)))
    assert verdict.cut_at_s == pytest.approx(2.0, abs=0.05)


def test_half_a_percent_too_fast_is_drift() -> None:
    verdict = listen(resample(REPLY, RATE, round(RATE * 0.995)))
    assert verdict.drift == pytest.approx(-0.005, abs=0.001)
    assert not verdict.perfect


@pytest.mark.parametrize("speed", [2 / 3, 3 / 2, 2.0])
def test_another_pitch_is_not_the_reply(speed: float) -> None:
    assert not listen(resample(REPLY, RATE, round(RATE / speed))).perfect


def test_another_speaker_is_not_the_reply() -> None:
    assert not listen(OTHER).found


def test_silence_is_not_the_reply() -> None:
    assert not listen(np.zeros(0, np.int16)).found


def test_the_first_of_two_replies_is_looked_at() -> None:
    pause = np.zeros(3 * RATE, np.int16)
    verdict = listen(np.concatenate((REPLY, pause, REPLY)))
    assert verdict.perfect
    assert verdict.start_s == pytest.approx(1.0, abs=0.001)


def test_spans_are_where_someone_speaks() -> None:
    burst = REPLY[MIDDLE : MIDDLE + 10 * FRAME]
    first, second = spans(phone(np.concatenate((burst, np.zeros(RATE, np.int16), burst))), RATE)
    assert (first.start_s, first.end_s) == pytest.approx((1.0, 1.2), abs=0.03)
    assert (second.start_s, second.end_s) == pytest.approx((2.2, 2.4), abs=0.03)


def test_silence_has_no_spans() -> None:
    assert spans(phone(np.zeros(RATE, np.int16)), RATE) == []

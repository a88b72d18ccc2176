"""The caller's audio on its way to the model: at which rate, with which edges, and in a gap."""

from itertools import cycle

import pytest

from audiosocket_agent import assets
from audiosocket_agent.audio import SAMPLE_BYTES, frame_bytes
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.audio.uplink import Uplink
from audiosocket_agent.audio.vad import Edge, SpeechDetector
from audiosocket_agent.errors import PeerError

STARTED, SUSTAINED, ENDED = Edge.STARTED, Edge.SUSTAINED, Edge.ENDED


def spoken(seconds: float, rate_hz: int) -> bytes:
    """The first words of the shipped caller, which begin at once and last for 2.9 s."""
    pcm = assets.speech("caller")
    if rate_hz != assets.RATE_HZ:
        pcm = Resampler(assets.RATE_HZ, rate_hz).feed(pcm)
    return pcm[: round(seconds * rate_hz) * SAMPLE_BYTES]


def take(uplink: Uplink, pcm: bytes, rate_hz: int) -> tuple[bytes, list[Edge]]:
    """Frames of 20 ms, as Asterisk sends them; returns what the model gets, and the edges."""
    heard, edges, size = b"", list[Edge](), frame_bytes(rate_hz)
    for at in range(0, len(pcm), size):
        out, found = uplink.take(pcm[at : at + size], rate_hz)
        heard += out
        edges += found
    return heard, edges


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_what_the_model_takes_is_passed_on_untouched(rate_hz: int) -> None:
    uplink, pcm = Uplink(SpeechDetector), spoken(1, rate_hz)
    assert take(uplink, pcm, rate_hz) == (pcm, [STARTED, SUSTAINED])
    assert uplink.rate_hz == rate_hz


def test_how_long_the_caller_was_quiet_is_known_when_the_end_is_found() -> None:
    uplink = Uplink(SpeechDetector)
    _, edges = take(uplink, spoken(1, 8_000) + bytes(8_000), 8_000)
    assert edges[-1] is ENDED
    assert uplink.quiet_s >= 0.5


@pytest.mark.parametrize("rate_hz", [12_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_every_other_rate_becomes_16_khz(rate_hz: int) -> None:
    uplink = Uplink(SpeechDetector)
    heard, edges = take(uplink, spoken(1, rate_hz), rate_hz)
    assert uplink.rate_hz == 16_000
    assert len(heard) == 16_000 * SAMPLE_BYTES
    assert edges == [STARTED, SUSTAINED]


def test_the_model_may_be_given_16_khz_of_an_8_khz_caller() -> None:
    detectors: list[int] = []

    def detector(rate_hz: int) -> SpeechDetector:
        detectors.append(rate_hz)
        return SpeechDetector(rate_hz)

    uplink, pcm = Uplink(detector, model_rate_hz=16_000), spoken(1, 8_000)
    heard, edges = take(uplink, pcm, 8_000)
    assert heard == Resampler(8_000, 16_000).feed(pcm)
    assert uplink.rate_hz == 16_000
    assert edges == [STARTED, SUSTAINED]
    assert detectors == [8_000]  # speech is found in what came, in half the bytes


def test_the_caller_may_change_the_rate() -> None:
    uplink = Uplink(SpeechDetector)
    assert take(uplink, spoken(1, 8_000), 8_000)[1] == [STARTED, SUSTAINED]
    pcm = spoken(1, 16_000)
    # what began at the one rate has no end at the other, and would go on for ever
    assert take(uplink, pcm, 16_000) == (pcm, [ENDED, STARTED, SUSTAINED])
    assert uplink.rate_hz == 16_000


def test_voiced_is_of_the_last_frame() -> None:
    uplink = Uplink(SpeechDetector)
    assert not uplink.voiced
    take(uplink, spoken(0.02, 8_000), 8_000)
    assert not uplink.voiced  # not certain yet
    take(uplink, spoken(1, 8_000), 8_000)
    assert uplink.voiced
    uplink.take(bytes(320), 8_000)
    assert not uplink.voiced


@pytest.mark.parametrize("before_hz", [0, 16_000])
def test_audio_that_cannot_be_what_it_says_is_refused(before_hz: int) -> None:
    uplink, ulaw = Uplink(SpeechDetector), bytes(160)
    uplink.check(0.0)  # nothing came yet
    if before_hz:
        take(uplink, spoken(0.5, before_hz), before_hz)
    uplink.take(ulaw, 8_000)
    uplink.check(0.5)
    take(uplink, ulaw * 25, 8_000)
    uplink.check(1.0)  # a second in which there was something else is no proof
    for _ in range(50):
        uplink.take(ulaw, 8_000)
    uplink.check(2.0)
    for _ in range(50):
        uplink.take(ulaw, 8_000)
    with pytest.raises(PeerError, match=r"c\(slin16\)"):
        uplink.check(3.0)


def test_who_changes_the_rate_with_every_message_is_counted_all_the_same() -> None:
    uplink, flood = Uplink(SpeechDetector), bytes(23_040)
    for now in (0.0, 1.0):
        for _ in range(10):  # 1.44 s at 8 kHz, 0.72 at 16
            uplink.take(flood, 8_000)
            uplink.take(flood, 16_000)
        if not now:
            uplink.check(now)  # 22 s may be a stall
    with pytest.raises(PeerError) as refused:
        uplink.check(1.0)
    assert refused.value.code == "too_fast"


@pytest.mark.parametrize("rates_hz", [(8_000,), (16_000,), (8_000, 16_000)])
def test_a_flood_is_not_even_taken(rates_hz: tuple[int, ...]) -> None:
    uplink, flood = Uplink(SpeechDetector), bytes(24_000)
    rates = cycle(rates_hz)
    came_s = 0.0
    while came_s < 58.0:
        rate_hz = next(rates)
        uplink.take(flood, rate_hz)
        came_s += len(flood) / (rate_hz * 2)
    for rate_hz in rates_hz:
        uplink.take(bytes(320), rate_hz)
    with pytest.raises(PeerError, match="60 s of audio at once") as refused:
        uplink.take(flood * 3, rates_hz[0])
    assert refused.value.code == "too_fast"


def test_what_came_in_half_a_minute_that_the_process_stood_still_is_taken() -> None:
    uplink = Uplink(SpeechDetector)
    for now in (0.0, 30.0, 60.0):
        for _ in range(1_500):
            uplink.take(bytes(320), 8_000)
        uplink.check(now)


def test_a_gap_after_a_change_of_the_rate_is_filled_from_its_last_frame() -> None:
    uplink = Uplink(SpeechDetector)
    for tick in range(50):
        uplink.take(bytes(640), 16_000)
        assert uplink.missing(tick * 0.020) is None
    uplink.take(bytes(320), 8_000)
    filled = [tick for tick in range(50, 70) if uplink.missing(tick * 0.020 + 0.001)]
    assert filled[0] * 0.020 == pytest.approx(1.0 + 0.1, abs=0.021)


# -- a gap -----------------------------------------------------------------------------------------


def test_before_the_caller_is_heard_nothing_is_missing() -> None:
    uplink = Uplink(SpeechDetector)
    assert uplink.missing(60.0) is None


def test_audio_that_came_in_a_burst_is_not_missed_while_it_lasts() -> None:
    uplink = Uplink(SpeechDetector)
    came = {0: 1, 60: 2}  # messages of 60 ms each: the last reaches until 120
    for ms in range(0, 80, 20):
        for _ in range(came.get(ms, 0)):
            uplink.take(bytes(960), 8_000)
        assert uplink.missing(ms / 1000) is None
    uplink.check(0.07)  # in between changes nothing
    assert uplink.missing(0.21) is None
    assert uplink.missing(0.23) == (bytes(320), (), False)


@pytest.mark.parametrize(
    ("rate_hz", "model_rate_hz", "silence"),
    [(8_000, 0, 320), (8_000, 16_000, 640), (16_000, 0, 640), (24_000, 0, 640)],
)
def test_a_caller_who_mutes_in_mid_word_falls_silent_and_then_pauses(
    rate_hz: int, model_rate_hz: int, silence: int
) -> None:
    uplink = Uplink(SpeechDetector, gap_fill_s=1.0, model_rate_hz=model_rate_hz)
    take(uplink, spoken(1, rate_hz), rate_hz)
    assert uplink.missing(0.981) is None  # the last frame has come
    filled, edges, pauses = 0.0, list[tuple[float, Edge]](), list[float]()
    for tick in range(50, 200):
        now = tick * 0.020 + 0.001
        pcm, found, paused = uplink.missing(now) or (b"", [], False)
        assert pcm in (b"", bytes(silence))
        filled += 0.020 * bool(pcm)
        edges += [(now, edge) for edge in found]
        pauses += [now] * paused
    assert filled == pytest.approx(1.0)
    # heard until 1.08 at the latest, filled from 100 ms after, quiet for 0.5 s of it
    assert [edge for _, edge in edges] == [ENDED]
    assert 1.4 < edges[0][0] < 1.7
    assert len(pauses) == 1
    assert 2.0 < pauses[0] < 2.3


@pytest.mark.parametrize("gap_fill_s", [0.0, 0.1, 0.3])
def test_a_pause_ends_what_the_caller_said_however_little_silence_stands_in(
    gap_fill_s: float,
) -> None:
    uplink = Uplink(SpeechDetector, gap_fill_s=gap_fill_s)  # it takes 0.5 s to be found
    take(uplink, spoken(1, 8_000), 8_000)
    assert uplink.missing(0.981) is None
    missing = [uplink.missing(tick * 0.020 + 0.001) or (b"", (), False) for tick in range(50, 200)]
    assert [(tuple(edges), pauses) for _, edges, pauses in missing if edges or pauses] == [
        ((ENDED,), True)
    ]
    assert not uplink.sounding
    assert take(uplink, spoken(1, 8_000), 8_000)[1] == [STARTED, SUSTAINED]


def test_speech_that_goes_on_can_be_a_new_onset() -> None:
    uplink, pcm = Uplink(SpeechDetector), spoken(2, 8_000)
    uplink.rearm()  # before there is any audio it changes nothing
    half = len(pcm) // 2
    assert take(uplink, pcm[:half], 8_000) == (pcm[:half], [STARTED, SUSTAINED])
    uplink.rearm()
    assert take(uplink, pcm[half:], 8_000) == (pcm[half:], [STARTED, SUSTAINED])


def test_whether_the_caller_is_heard_now() -> None:
    uplink = Uplink(SpeechDetector)
    assert not uplink.sounding
    take(uplink, spoken(0.3, 8_000), 8_000)
    assert uplink.sounding
    take(uplink, bytes(60 * 16), 8_000)
    assert uplink.sounding  # for a tenth of a second
    take(uplink, bytes(300 * 16), 8_000)
    assert not uplink.sounding

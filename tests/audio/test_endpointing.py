"""The caller's turns, as marks in their audio: where they begin, what comes with them, and their end."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from audiosocket_agent.audio import FRAME_MS, SAMPLE_BYTES, frame_bytes
from audiosocket_agent.audio.endpointing import HELD_MS, LONGEST_MS, Endpointing
from audiosocket_agent.audio.vad import SpeechDetector
from audiosocket_agent.lab.simulator.hearing import SpeechMeter, TurnDetector
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from tests.words import RATE_HZ, WORDS

SIZE = frame_bytes(RATE_HZ)


class Line:
    """A caller's line, frame by frame: `.` is quiet, `|` is voiced, as a detector would tell."""

    def __init__(self, endpointing: Endpointing | None = None) -> None:
        self.endpointing = endpointing or Endpointing()
        self.sent: list[str] = []
        self.voiced_ms = self.quiet_ms = 0  # of the utterance, which is noticed after 60 ms
        self.frames = 0

    def goes(self, frames: str, at_least_ms: float = 0) -> str:
        """What is sent, in words: frames by number, `[` and `]` where a turn begins and ends."""
        story = ""
        for frame in frames:
            if frame == "|":
                self.voiced_ms, self.quiet_ms = self.voiced_ms + FRAME_MS, 0
            else:
                self.quiet_ms += FRAME_MS
                if self.quiet_ms >= 500:
                    self.voiced_ms = 0
            begins, pcm, ends = self.endpointing.take(
                self.frames.to_bytes(2, "little") * (SIZE // 2),
                RATE_HZ,
                voiced_ms=self.voiced_ms if self.voiced_ms >= 60 else 0,
                quiet_ms=self.quiet_ms,
                at_least_ms=at_least_ms,
            )
            self.frames += 1
            story += "[" * begins + " ".join(map(str, numbers(pcm))) + " " * bool(pcm) + "]" * ends
        return story.strip()


def numbers(pcm: bytes) -> list[int]:
    return [int.from_bytes(pcm[at : at + 2], "little") for at in range(0, len(pcm), SIZE)]


def span(first: int, last: int) -> str:
    return " ".join(map(str, range(first, last + 1)))


def test_nothing_is_sent_of_a_quiet_line() -> None:
    assert Line().goes("." * 500) == ""


def test_a_turn_has_what_came_before_it_and_the_silence_that_ends_it() -> None:
    line = Line()
    story = line.goes("." * 100 + "|" * 10 + "." * 30)
    # noticed with frame 102, 400 ms are kept before it; certain with frame 106, 100 ms and 40
    assert story == f"[{span(82, 106)} {span(107, 134)} ]"
    assert not line.endpointing.open


def test_a_click_is_no_turn_and_two_in_one_breath_are() -> None:
    line = Line()
    assert line.goes("." * 50 + "|" * 6 + "." * 50) == ""
    assert line.goes("|" * 6 + "." * 20 + "|").startswith("[")


def test_a_pause_within_a_turn_does_not_end_it() -> None:
    line = Line()
    assert "]" not in line.goes("." * 50 + "|" * 10 + "." * 24 + "|")
    assert line.goes("." * 25).endswith("]")


def test_where_it_would_cost_a_reply_a_sound_must_go_on() -> None:
    line = Line()
    assert line.goes("." * 50 + "|" * 14, at_least_ms=300) == ""
    story = line.goes("|", at_least_ms=300)
    assert story == f"[{span(32, 64)}"  # all of it, and what came before


def test_a_sound_over_the_end_of_a_reply_is_a_turn_once_the_reply_is_over() -> None:
    line = Line()
    assert line.goes("." * 50 + "|" * 8, at_least_ms=300) == ""
    assert line.goes("|") == f"[{span(32, 58)}"


def test_what_may_never_be_a_turn_is_none_later() -> None:
    line = Line()
    assert line.goes("." * 50 + "|" * 50, at_least_ms=math.inf) == ""
    assert line.goes("." * 50) == ""
    assert line.goes("|" * 8).startswith("[")


def test_what_goes_on_after_that_is_one_of_its_own() -> None:
    line = Line()
    assert line.goes("." * 50 + "|" * 50, at_least_ms=math.inf) == ""
    assert line.goes("|" * 6) == ""
    assert line.goes("|").startswith("[")


def test_what_is_kept_of_a_sound_that_never_becomes_speech_is_bounded() -> None:
    line = Line()
    assert line.goes(("|" + "." * 20) * 100, at_least_ms=1e9) == ""
    begun = line.goes("|")
    assert len(begun.split()) <= HELD_MS / FRAME_MS + 1


def test_a_line_that_is_never_quiet_gets_its_answer_all_the_same() -> None:
    line = Line()
    story = line.goes("." * 50 + "|" * (2 * LONGEST_MS // FRAME_MS))
    assert story.count("[") == story.count("]") == 1  # and not once more in the same breath
    assert len(story.split()) == pytest.approx(LONGEST_MS / FRAME_MS, abs=2)
    assert line.goes("." * 30 + "|" * 7).startswith("[")


def test_audio_that_pauses_ends_the_turn() -> None:
    line = Line()
    assert not line.endpointing.pause()
    line.goes("." * 50 + "|" * 10)
    assert line.endpointing.pause()
    assert not line.endpointing.pause()
    assert line.goes("." * 50) == ""


def test_a_caller_who_changes_the_rate_is_heard_at_one_in_each_turn() -> None:
    endpointing = Endpointing()
    for _ in range(50):
        endpointing.take(bytes(320), 8_000, voiced_ms=0, quiet_ms=500)
    begins, pcm, _ = endpointing.take(bytes(640), 16_000, voiced_ms=140, quiet_ms=0)
    assert begins
    assert len(pcm) == 640


# -- by a real detector ----------------------------------------------------------------------------

Samples = NDArray[np.float64]
REPLY: Samples = np.frombuffer(
    read_utterances(SHIPPED_CALLER.with_name("simulator-reply.wav"), RATE_HZ)[0], "<i2"
).astype(np.float64)


def found(line: Samples, at_least_ms: float = 0) -> tuple[str, bytes]:
    """The marks that are set in a line's audio, and what is between them."""
    detector, endpointing = SpeechDetector(RATE_HZ), Endpointing()
    pcm, marks, heard = line.astype("<i2").tobytes(), "", b""
    for at in range(0, len(pcm) - SIZE + 1, SIZE):
        frame = pcm[at : at + SIZE]
        detector.feed(frame)
        voiced_ms, quiet_ms = detector.voiced_ms, detector.quiet_ms
        begins, passed, ends = endpointing.take(
            frame, RATE_HZ, voiced_ms=voiced_ms, quiet_ms=quiet_ms, at_least_ms=at_least_ms
        )
        marks += "[" * begins + "]" * ends
        heard += passed
    return marks, heard


def found_by_a_service(line: Samples) -> bool:
    """As one does that is told to take 100 ms for speech."""
    meter, turns = SpeechMeter(RATE_HZ, 200), TurnDetector(100, 500)
    verdicts = meter.feed(line.astype("<i2").tobytes())
    return any(turns.feed(is_speech) for is_speech in verdicts)


def said(sound: Samples, *, offset: int = 0, hiss: float = 0.0, seed: int = 0) -> Samples:
    """A sound on an otherwise quiet line; `offset` is where in a frame it begins."""
    quiet = np.zeros(RATE_HZ)
    line = np.concatenate([quiet, np.zeros(offset), sound, quiet])
    return line + np.random.default_rng(seed).normal(0.0, hiss, len(line))


@pytest.mark.parametrize("hiss", [0.0, 15.0])
@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_one_turn_and_whole_wherever_in_a_frame_it_begins(word: str, hiss: float) -> None:
    sound = np.frombuffer(WORDS[word], "<i2").astype(np.float64)
    for offset in range(0, SIZE // 2, 10):
        line = said(sound, offset=offset, hiss=hiss)
        marks, heard = found(line)
        assert marks == "[]"
        first = line.astype("<i2").tobytes().find(heard) // SAMPLE_BYTES
        assert RATE_HZ + offset - first >= 0.150 * RATE_HZ  # so much comes before its first sample
        assert first + len(heard) // SAMPLE_BYTES >= RATE_HZ + offset + len(sound)


def cough(rng: np.random.Generator, ms: int) -> Samples:
    """Noise in a throat, fading; half of them with a voice in it."""
    t = np.arange(ms * RATE_HZ // 1000) / RATE_HZ
    hertz = np.fft.rfftfreq(len(t), 1 / RATE_HZ)
    throat = 1 / (1 + ((hertz - 600) / 300) ** 2) + 0.6 / (1 + ((hertz - 1500) / 400) ** 2) + 0.2
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(t))) * throat, len(t))
    voice = np.sin(2 * np.pi * rng.uniform(120, 300) * t) * rng.integers(0, 2) * noise.std() / 2
    faded: Samples = (noise + voice) * np.minimum(1, t / 0.01) * np.exp(-2000 * t / ms)
    faded *= rng.uniform(1_500, 12_000) / np.abs(faded).max()
    return faded


def echo(rng: np.random.Generator, ms: int) -> Samples:
    """Of what the agent has just said, 10 to 20 dB below it."""
    begin = rng.integers(0, len(REPLY) - RATE_HZ)
    heard: Samples = REPLY[begin : begin + ms * RATE_HZ // 1000] * rng.uniform(0.1, 0.3)
    return heard


@pytest.mark.parametrize("ms", [60, 100, 150, 200, 300])
@pytest.mark.parametrize("sound", [cough, echo])
def test_coughs_and_echoes_are_turns_no_more_often_than_to_a_service(
    sound: Callable[[np.random.Generator, int], Samples], ms: int
) -> None:
    rng = np.random.default_rng(ms)
    lines = [
        said(sound(rng, ms), offset=int(rng.integers(0, SIZE // 2)), hiss=15.0, seed=nth)
        for nth in range(20)
    ]
    here = sum("[" in found(line)[0] for line in lines)
    over_a_reply = sum("[" in found(line, at_least_ms=300)[0] for line in lines)
    there = sum(found_by_a_service(line) for line in lines)
    assert over_a_reply <= here <= there
    assert (here == 0) == (ms <= 100)
    assert (over_a_reply == 0) == (ms <= 200)

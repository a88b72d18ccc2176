"""Sound files in and out."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from audiosocket_agent.errors import StartError
from audiosocket_agent.lab.ear import level_dbfs
from audiosocket_agent.lab.sound import SHIPPED_CALLER, at_the_ear, read_utterances, write_heard
from tests.lab.tiny_agent import tone


def write_wav(
    path: Path, data: bytes, *, rate_hz: int = 8_000, channels: int = 1, sample_bytes: int = 2
) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(sample_bytes)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


def dominant_hz(pcm: bytes, rate_hz: int) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate_hz / len(samples)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_the_shipped_caller_says_three_things(rate_hz: int) -> None:
    spoken = read_utterances(SHIPPED_CALLER, rate_hz)
    assert [2 < len(pcm) / 2 / rate_hz < 4 for pcm in spoken] == [True] * 3


@pytest.mark.parametrize("to_hz", [8_000, 16_000])
@pytest.mark.parametrize("from_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_any_telephone_rate_is_said_at_the_rate_of_the_call(
    tmp_path: Path, from_hz: int, to_hz: int, channels: int
) -> None:
    mono = np.frombuffer(tone(1.0, from_hz), "<i2")
    data = np.repeat(mono, channels).tobytes()
    path = write_wav(tmp_path / "in.wav", data, rate_hz=from_hz, channels=channels)
    [pcm] = read_utterances(path, to_hz)
    assert len(pcm) / 2 == pytest.approx(to_hz, rel=0.01)
    assert dominant_hz(pcm, to_hz) == pytest.approx(440, abs=2)
    assert level_dbfs(pcm) == pytest.approx(-15.3, abs=0.2)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"data": bytes(100), "sample_bytes": 1}, "8-bit samples, not 16-bit"),
        ({"data": bytes(300), "sample_bytes": 3}, "24-bit samples, not 16-bit"),
        ({"data": bytes(600), "channels": 6}, "6 channels, not 1 or 2"),
        ({"data": bytes(600), "rate_hz": 44_100}, "44100 Hz, not one of 8000, 16000, 24000, 48000"),
        ({"data": bytes(301 * 16_000)}, "longer than 300 s"),
        ({"data": bytes(8_000)}, "nobody speaks in it"),
        ({"data": b""}, "nobody speaks in it"),
    ],
)
def test_what_cannot_be_said_is_named_with_its_file(
    tmp_path: Path, wrong: dict[str, bytes | int], reason: str
) -> None:
    path = write_wav(tmp_path / "in.wav", **wrong)  # type: ignore[arg-type]
    with pytest.raises(StartError, match=f"in.wav: .*{reason}"):
        read_utterances(path, 8_000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "not a PCM WAV file"),
        (b"OggS" + bytes(100), "not a PCM WAV file"),
        (b"RIFF" + struct.pack("<I", 100) + b"WAVEdata", "not a PCM WAV file"),
    ],
)
def test_what_is_no_sound_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "in.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartError, match=f"in.wav: {reason}"):
        read_utterances(path, 8_000)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"nowhere/out\.wav: No such file"):
        write_heard(tmp_path / "nowhere" / "out.wav", ([], []), 8_000)


FRAME = np.full(160, 1000, np.int16).tobytes()


def heard(*arrivals: float) -> list[tuple[float, float]]:
    """Where frames that arrived then are heard, as seconds from to."""
    track = at_the_ear([(at, 8_000, FRAME) for at in arrivals], 8_000)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (track != 0).astype(int), [0]))))
    return [(begin / 8_000, end / 8_000) for begin, end in edges.reshape(-1, 2)]


def test_frames_are_heard_when_they_arrive() -> None:
    assert heard(0.5, 0.52, 0.54) == [(0.5, 0.56)]


def test_jitter_leaves_no_gap() -> None:
    assert heard(0.5, 0.54, 0.55, 0.6) == [(0.5, 0.58)]


def test_a_pause_is_heard_as_one() -> None:
    assert heard(0.5, 0.52, 1.0) == [(0.5, 0.54), (1.0, 1.02)]


def test_a_phone_loses_what_comes_in_a_burst() -> None:
    [(begin, end)] = heard(*[0.5] * 50)  # a second of audio at once
    assert begin == 0.5
    assert end - begin == pytest.approx(0.32, abs=0.02)


def test_nothing_is_heard_of_nothing() -> None:
    assert heard() == []
    assert at_the_ear([(0.0, 8_000, b"\x01")], 8_000).size == 0


def test_a_call_is_written_with_the_caller_on_the_left(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    write_heard(path, ([(0.5, 8_000, tone(0.5))], [(0.2, 24_000, tone(0.1, 24_000))]), 24_000)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 24_000, 2)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    caller, agent = both[:, 0], both[:, 1]
    assert np.flatnonzero(caller)[[0, -1]] / 24_000 == pytest.approx([0.5, 1.0], abs=0.001)
    assert np.flatnonzero(agent)[[0, -1]] / 24_000 == pytest.approx([0.2, 0.3], abs=0.001)
    assert dominant_hz(caller[12_000:].tobytes(), 24_000) == pytest.approx(440, abs=2)

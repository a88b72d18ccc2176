"""What the simulator says sounds as it was recorded."""

import base64
import wave
from pathlib import Path

import numpy as np
import orjson
import pytest

from audiosocket_agent.lab.simulator import Behaviour, Pcm
from audiosocket_agent.lab.simulator.speaking import prepare
from audiosocket_agent.lab.simulator.speech import chunks_of, resample


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_a_tone_stays_what_it_was(rate: int) -> None:
    for hertz in (300, 1_000, 3_400):
        tone = np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
        out = resample(tone, rate, 24_000)
        wanted = np.sin(2 * np.pi * hertz * np.arange(24_000) / 24_000)
        assert len(out) == 24_000
        error = (out - wanted)[2_400:-2_400]
        assert 20 * np.log10(np.abs(error).max() + 1e-12) < -50


def test_what_the_lower_rate_cannot_carry_is_gone() -> None:
    tone = np.sin(2 * np.pi * 13_000 * np.arange(48_000) / 48_000)
    assert np.abs(resample(tone, 48_000, 24_000)[2_400:-2_400]).max() < 1e-3


def test_chunks_are_messages_and_together_the_speech() -> None:
    pcm = Pcm(bytes(range(250)) * 96, 24_000)  # 0.5 s
    chunks = chunks_of(pcm, 40)
    assert [chunk.pcm_bytes for chunk in chunks] == [1_920] * 12 + [960]
    parts = [
        orjson.loads(chunk.message)["serverContent"]["modelTurn"]["parts"][0]["inlineData"]
        for chunk in chunks
    ]
    assert {part["mimeType"] for part in parts} == {"audio/pcm;rate=24000"}
    assert b"".join(base64.b64decode(part["data"]) for part in parts) == pcm.data
    assert [part["data"] for part in parts] == [chunk.payload for chunk in chunks]


def test_speech_comes_from_any_mono_file(tmp_path: Path) -> None:
    for channels, name in ((1, "mono.wav"), (2, "stereo.wav")):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(bytes(8_000 * 2 * channels))
    chunks = chunks_of(tmp_path / "mono.wav", 100)
    assert len(chunks) == 10
    with pytest.raises(ValueError, match=r"stereo\.wav is not mono"):
        chunks_of(tmp_path / "stereo.wav", 100)


def test_a_missing_file_is_found_out_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nothing\.wav"):
        prepare(Behaviour(reply=tmp_path / "nothing.wav"))

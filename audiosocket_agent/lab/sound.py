"""Sound files: what the caller will say, and what was heard.

A caller's words come from a WAV file, at the call's rate and cut into utterances. What was heard
goes into one as the caller's phone would have played it: the caller on the left, the agent on the
right.
"""

import wave
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from audiosocket_agent.audio import SAMPLE_BYTES
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.errors import StartError
from audiosocket_agent.lab.ear import Samples, utterances

SHIPPED_CALLER: Final = Path(__file__).parent.parent / "assets" / "caller.wav"
"""Three utterances, 1.5 s apart."""

RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)
MAX_WAV_SECONDS: Final = 300

JITTER_SECONDS: Final = 0.060
"""A phone plays this much later than it receives, so frames late by less leave no gap."""

PHONE_BUFFER_SECONDS: Final = 0.300
"""A phone holds no more than this; what arrives beyond it, in a burst, is never heard."""

Received = tuple[float, int, bytes]
"""Audio with the seconds it came at and its rate in Hz."""

Sides = tuple[Sequence[Received], Sequence[Received]]
"""The caller's audio and the agent's."""


def read_utterances(path: Path, rate_hz: int) -> list[bytes]:
    """What is said in a WAV file, cut at its silences, as s16le mono at `rate_hz`.

    Raises StartError, naming the file and what is wrong with it, unless it is 16-bit PCM, mono or
    stereo, of one of RATES_HZ, MAX_WAV_SECONDS at the most, and somebody speaks in it.
    """
    spoken = utterances(_read_mono(path, rate_hz), rate_hz)
    if not spoken:
        raise StartError(f"{path}: nobody speaks in it (all of it is below -50 dBFS)")
    return [samples.tobytes() for samples in spoken]


def _read_mono(path: Path, rate_hz: int) -> Samples:
    try:
        with path.open("rb") as raw, wave.open(raw, "rb") as file:
            wrong = _misfit(file)
            if wrong:
                raise StartError(f"{path}: {wrong}")
            from_hz, channels = file.getframerate(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise StartError(f"{path}: {error.strerror or error}") from error
    except (wave.Error, EOFError) as error:
        raise StartError(f"{path}: not a PCM WAV file ({error or 'it is cut short'})") from error
    whole = np.frombuffer(data, "<i2", len(data) // (SAMPLE_BYTES * channels) * channels)
    mono: Samples = whole.reshape(-1, channels).mean(axis=1).astype(np.int16)
    if from_hz == rate_hz:
        return mono
    resampler = Resampler(from_hz, rate_hz)
    return np.frombuffer(resampler.feed(mono.tobytes()) + resampler.flush(), "<i2")


def _misfit(file: wave.Wave_read) -> str:
    """What makes a file unfit to be said; empty where nothing does."""
    if file.getsampwidth() != SAMPLE_BYTES:
        return f"{8 * file.getsampwidth()}-bit samples, not 16-bit"
    if file.getnchannels() > 2:
        return f"{file.getnchannels()} channels, not 1 or 2"
    if file.getframerate() not in RATES_HZ:
        return f"{file.getframerate()} Hz, not one of {', '.join(map(str, RATES_HZ))}"
    if file.getnframes() > MAX_WAV_SECONDS * file.getframerate():
        return f"longer than {MAX_WAV_SECONDS} s"
    return ""


def write_heard(path: Path, sides: Sides, rate_hz: int) -> None:
    """Write a call as a stereo file of `rate_hz`, each side placed in time. Raises StartError."""
    tracks = [at_the_ear(side, rate_hz) for side in sides]
    both = np.zeros((max(map(len, tracks)), 2), "<i2")
    for channel, side in enumerate(tracks):
        both[: len(side), channel] = side
    try:
        with path.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(SAMPLE_BYTES)
            file.setframerate(rate_hz)
            file.writeframes(both.tobytes())
    except OSError as error:
        raise StartError(f"{path}: {error.strerror or error}") from error


def at_the_ear(side: Iterable[Received], rate_hz: int) -> Samples:
    """What a phone makes of frames as they arrive: second 0 is the first sample, gaps are silence.

    Frames follow each other without a gap while they are less than JITTER_SECONDS late, and are
    lost while the phone is full. The phone's own delay is left out.
    """
    pieces: list[Samples] = []
    played = 0  # samples, up to the end of the last piece
    for at, from_hz, payload in side:
        arrival = round(at * rate_hz)
        if played - arrival > PHONE_BUFFER_SECONDS * rate_hz:
            continue
        if arrival - played > (JITTER_SECONDS if played else 0) * rate_hz:
            pieces.append(np.zeros(arrival - played, np.int16))
            played = arrival
        pieces.append(_at_rate(payload, from_hz, rate_hz))
        played += len(pieces[-1])
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def _at_rate(payload: bytes, from_hz: int, to_hz: int) -> Samples:
    """Straight lines between the samples: enough to listen to, and any rate goes."""
    samples = np.frombuffer(payload, "<i2", len(payload) // SAMPLE_BYTES)
    if from_hz == to_hz or not len(samples):
        return samples
    wanted = np.arange(len(samples) * to_hz // from_hz) * (from_hz / to_hz)
    fitted: Samples = np.interp(wanted, np.arange(len(samples)), samples).astype(np.int16)
    return fitted

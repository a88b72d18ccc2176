"""What both sides are heard to say: short cuts of the shipped speech. Which words it is supposed to be
is for the transcript to say."""

import wave
from typing import Final

from audiosocket_agent.lab.simulator import Pcm
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances

CALLER_RATE_HZ: Final = 8_000
_CALLER_SECONDS: Final = 0.5
_AGENT_SECONDS: Final = 0.3


def _caller() -> bytes:
    samples = round(_CALLER_SECONDS * CALLER_RATE_HZ)
    return read_utterances(SHIPPED_CALLER, CALLER_RATE_HZ)[0][: 2 * samples]


def _agent() -> Pcm:
    with wave.open(str(SHIPPED_CALLER.with_name("simulator-reply.wav"))) as file:
        rate_hz = file.getframerate()
        return Pcm(file.readframes(round(_AGENT_SECONDS * rate_hz)), rate_hz)


CALLER: Final = _caller()
"""s16le mono at CALLER_RATE_HZ."""
AGENT: Final = _agent()

"""What is the same for all calls of an agent, and what the model is told that nobody has said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audiosocket_agent.audio.vad import SpeechDetector
from audiosocket_agent.call.machine import Limits


@dataclass(frozen=True, slots=True)
class Plan:
    """One agent: numbers, not settings."""

    limits: Limits
    instructions: str
    greeting: str
    detector: Callable[[int], SpeechDetector]
    """Makes the detector for a rate."""
    gap_fill_s: float = 1.0
    model_rate_hz: int = 0
    """Rate the model is sent; 0: as it came, where that is 8 or 16 kHz."""


TRANSFER_FAILED: Final = (
    "(The transfer came to nothing: {}. The caller is back with you: say so and go on with them.)"
)
"""What the model is told when a transfer has come to nothing."""

KEYS_PRESSED: Final = "(The caller pressed these keys of the telephone: {}.)"

DIAL_FAILURES: Final = {
    "BUSY": "the line is busy",
    "NOANSWER": "nobody answered",
    "CHANUNAVAIL": "the line is out of reach",
    "CONGESTION": "the network is busy",
}
"""Asterisk's DIALSTATUS in words; other values come from a dialplan and are not passed on."""

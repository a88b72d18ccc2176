"""What a caller hears of us while the model is not heard: that the line is alive, and an apology.

Made once, before any call: nothing here may take time when it is asked for.
"""

from functools import cache
from typing import Final, NamedTuple, Protocol

from audiosocket_agent.audio import duration_ms
from audiosocket_agent.audio.comfort import comfort_tone

RATE_HZ: Final = 8_000


class Pcm(NamedTuple):
    """A sound: s16le mono."""

    data: bytes
    rate_hz: int

    @property
    def seconds(self) -> float:
        return duration_ms(self.data, self.rate_hz) / 1000


class Sounds(Protocol):
    """Of one agent. `language` is the call's (`CallInfo.language`), or "" where it is not known."""

    def filler(self, language: str) -> Pcm | None:
        """Something short, under 2 s, for a caller who waits; None: nothing."""

    def apology(self, language: str) -> Pcm | None:
        """The last words of a call whose model is gone, under 5 s; None: there are none."""


class Tones:
    """Sounds without a voice."""

    def filler(self, language: str) -> Pcm | None:
        return _comfort()

    def apology(self, language: str) -> Pcm | None:
        return None


@cache
def _comfort() -> Pcm:
    return Pcm(comfort_tone(RATE_HZ), RATE_HZ)

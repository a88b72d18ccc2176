"""The caller's turns, found on this side of the line: where each begins and ends, and what of the
audio is part of one.

    voiced      . . . . . | | | | | | | | | . . . . . . . . . . . . . . . . . . . .
    sent              [-----pre-roll, at once----|--as it comes------------]
    marks                                 BEGIN ^                      END ^
                            100 ms of speech in all         silence_ms after the last

A beginning may be told late without harm, as what was said before it is kept and sent with it: so it
waits until the sound is more than a click; and where it would cut the agent short, until it is speech
beyond doubt. An end is told as early as its silence allows: it is what the caller waits for.
"""

import math
from collections import deque
from typing import Final, NamedTuple

from audiosocket_agent.audio import SAMPLE_BYTES

ONSET_MS: Final = 100
"""Speech is noticed by so much after it began (`SpeechDetector.window_ms`)."""
HANGOVER_MS: Final = 40
"""So much longer than a short sound the detector takes it for voiced, as webrtcvad stays on after it."""
HELD_MS: Final = 2_000
"""The most that is kept of a sound which is not certain to be speech yet."""
LONGEST_MS: Final = 30_000
"""A turn that goes on for longer is ended: on a line that is never quiet there would be no answer, and
nobody who is asked something speaks for as long without taking breath."""


class Passage(NamedTuple):
    """What becomes of a piece of audio: said in this order."""

    begins: bool
    pcm: bytes
    """Part of a turn; may be empty, and more than was given where one begins."""
    ends: bool


_NOTHING: Final = Passage(False, b"", False)


class Endpointing:
    """One caller's turns. Durations are milliseconds; what is voiced is for a `SpeechDetector` to say.

    `speech_ms` of speech make a turn. More: a short word is missed. Less: a cough is answered, or
    costs the answer that was on its way. `silence_ms` after the last of it end the turn. `pre_roll_ms`
    from before the first of it are part of it.
    """

    def __init__(
        self,
        *,
        speech_ms: int = 100,
        silence_ms: int = 500,
        pre_roll_ms: int = 300,
    ) -> None:
        self._needed_ms = speech_ms + HANGOVER_MS
        self._silence_ms = silence_ms
        self._pre_roll_ms = pre_roll_ms + ONSET_MS
        self._kept: deque[bytes] = deque()  # while no turn is open
        self._kept_bytes = 0
        self._rate_hz = 0
        self._sounds = False  # something may be the beginning of a turn
        self._open_ms = 0  # of the turn that is open, what has been passed on
        self._voiced_ms = 0  # of the present utterance
        self._spent_ms = 0.0  # so much of it has had its turn
        self.open = False
        """The caller's turn is under way."""

    def take(
        self, pcm: bytes, rate_hz: int, *, voiced_ms: int, quiet_ms: int, at_least_ms: float = 0
    ) -> Passage:
        """The next audio, s16le mono. `voiced_ms`: how much of the present utterance was voiced, 0
        where there is none; `quiet_ms`: how long ago the last of it was. `at_least_ms`: more of it
        than usual is needed, as a turn would cut the agent short; infinity: it never counts, whatever
        follows."""
        duration_ms = len(pcm) * 1000 // (rate_hz * SAMPLE_BYTES)
        self._voiced_ms = voiced_ms
        if self.open:
            return self._go_on(pcm, duration_ms, quiet_ms)
        self._keep(pcm, rate_hz)
        if voiced_ms == 0:
            self._spent_ms = 0.0
        elif at_least_ms == math.inf:
            self._spent_ms = voiced_ms
        quiet = quiet_ms >= self._silence_ms
        self._sounds = not quiet and (self._sounds or voiced_ms > 0)
        if not quiet and voiced_ms - self._spent_ms >= max(self._needed_ms, at_least_ms):
            return self._begin()
        self._trim(HELD_MS if self._sounds else self._pre_roll_ms)
        return _NOTHING

    def pause(self) -> bool:
        """No audio comes for a while. True: it ends a turn."""
        was_open, self.open = self.open, False
        self._sounds = False
        self._spent_ms = self._voiced_ms
        self._forget()
        return was_open

    def _begin(self) -> Passage:
        pcm = b"".join(self._kept)
        self._open_ms = len(pcm) * 1000 // (self._rate_hz * SAMPLE_BYTES)
        self._forget()
        self.open = True
        return Passage(True, pcm, False)

    def _go_on(self, pcm: bytes, duration_ms: int, quiet_ms: int) -> Passage:
        self._open_ms += duration_ms
        too_long = self._open_ms >= LONGEST_MS
        ends = too_long or quiet_ms >= self._silence_ms
        if ends:
            self.open = self._sounds = False
            self._spent_ms = math.inf if too_long else self._voiced_ms
        return Passage(False, pcm, ends)

    def _keep(self, pcm: bytes, rate_hz: int) -> None:
        if rate_hz != self._rate_hz:  # what came at another rate cannot be joined to this
            self._forget()
            self._rate_hz = rate_hz
        self._kept.append(pcm)
        self._kept_bytes += len(pcm)

    def _trim(self, most_ms: int) -> None:
        most = most_ms * self._rate_hz * SAMPLE_BYTES // 1000
        while self._kept_bytes > most:
            self._kept_bytes -= len(self._kept.popleft())

    def _forget(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0

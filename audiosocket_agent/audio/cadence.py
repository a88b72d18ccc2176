"""Whether the caller's audio is what its kind says: its length against the clock.

AudioSocket labels audio by kind, and one label lies: where Asterisk dials `AudioSocket/…` without `c()`,
a caller's ulaw, alaw or g722 comes raw, as kind 0x10 (chan_audiosocket.c). It sounds like noise and can
be told by its pace: 160 bytes fifty times a second are half the audio that 8 kHz slin would be.
"""

from typing import Final

from audiosocket_agent.audio import FRAMES_PER_SECOND
from audiosocket_agent.errors import PeerError

_RAW_BYTES: Final = 160  # 20 ms of ulaw, alaw or g722; as slin it would be 10 ms
_RAW_PER_S: Final = (0.8 * FRAMES_PER_SECOND, 1.2 * FRAMES_PER_SECOND)
"""Messages; a caller with frames of 10 ms sends 100."""
_RAW_SECONDS: Final = 2
"""In a row, of nothing else."""

MAX_AHEAD_SECONDS: Final = 30.0
"""Audio may come faster than it plays after a stall, the network's or our own, until the caller is
where the clock is; nobody's clock is half a minute ahead. What goes beyond is a flood and no caller."""


class Cadence:
    """Watches one uplink, a second at a time. Times in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._raw_s = 0
        self._ahead_s = 0.0
        self._at: float | None = None

    def received(self, now: float, messages: int, audio_bytes: int, audio_s: float) -> None:
        """So much came since this was last told. Raises PeerError where it cannot be what it says."""
        passed_s = 0.0 if self._at is None else now - self._at
        self._at = now
        self._check_pace(messages, audio_bytes, passed_s)
        self._ahead_s = max(0.0, self._ahead_s - passed_s) + audio_s
        if self._ahead_s > MAX_AHEAD_SECONDS:
            raise PeerError("too_fast", f"{self._ahead_s:.0f} s of audio more than time has passed")

    def _check_pace(self, messages: int, audio_bytes: int, passed_s: float) -> None:
        slowest, fastest = _RAW_PER_S
        raw = slowest * passed_s < messages < fastest * passed_s
        self._raw_s = self._raw_s + 1 if raw and audio_bytes == messages * _RAW_BYTES else 0
        if self._raw_s == _RAW_SECONDS:
            raise PeerError(
                "raw_codec",
                "160 bytes every 20 ms is a raw telephone codec, not slin: give the codec where "
                "Asterisk dials AudioSocket, as in Dial(AudioSocket/host:port/uuid/c(slin16))",
            )

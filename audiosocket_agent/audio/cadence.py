"""Whether the caller's audio is what its kind says: its length against the clock.

AudioSocket labels audio by kind, and one label lies: where Asterisk dials `AudioSocket/…` without `c()`,
a caller's ulaw, alaw or g722 comes raw, as kind 0x10 (chan_audiosocket.c). It sounds like noise and can
be told by its pace: 160 bytes fifty times a second are half the audio that 8 kHz slin would be.
"""

from typing import Final

from audiosocket_agent.audio import FRAME_SECONDS
from audiosocket_agent.errors import PeerError

_RAW_BYTES: Final = 160  # 20 ms of ulaw, alaw or g722; as slin it would be 10 ms
_RAW_MESSAGES: Final = 100  # in a row: two seconds of them
_RAW_SPACING: Final = (
    0.8 * FRAME_SECONDS,
    1.2 * FRAME_SECONDS,
)  # a 10 ms caller sends twice as fast

MAX_AHEAD_SECONDS: Final = 30.0
"""Audio may come faster than it plays after a stall, the network's or our own, until the caller is
where the clock is; nobody's clock is half a minute ahead. What goes beyond is a flood and no caller."""


class Cadence:
    """Watches one uplink. Times in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._raw = 0
        self._raw_since = 0.0
        self._ahead_s = 0.0
        self._received_at = 0.0

    def received(self, now: float, payload_bytes: int, duration_s: float) -> None:
        """Audio came. Raises PeerError where it cannot be what it says it is."""
        if payload_bytes == _RAW_BYTES:
            self._check_raw(now)
        else:
            self._raw = 0
        ahead_s = self._ahead_s - (now - self._received_at)
        self._received_at = now
        self._ahead_s = duration_s + ahead_s if ahead_s > 0.0 else duration_s
        if self._ahead_s > MAX_AHEAD_SECONDS:
            raise PeerError("too_fast", f"{self._ahead_s:.0f} s of audio more than time has passed")

    def _check_raw(self, now: float) -> None:
        if not self._raw:
            self._raw_since = now
        self._raw += 1
        if self._raw > _RAW_MESSAGES:
            spacing = (now - self._raw_since) / _RAW_MESSAGES
            self._raw = 0
            if _RAW_SPACING[0] < spacing < _RAW_SPACING[1]:
                raise PeerError(
                    "raw_codec",
                    "160 bytes every 20 ms is a raw telephone codec, not slin: give the codec where "
                    "Asterisk dials AudioSocket, as in Dial(AudioSocket/host:port/uuid/c(slin16))",
                )

"""The fast path to Gemini Live: the SDK's own WebSocket, with the audio taken past the SDK.

google-genai validates every message by pydantic on the way in and out: 0.1 ms for 20 ms of audio. This
connection, given to the SDK by websockets' `create_connection` hook, sends audio as ready bytes and
takes received audio out before the SDK sees the message; whatever else a message carries, the SDK
still parses. 2.0 ms of CPU per call-second instead of 7.4 at 100 calls. Without it, or should a future
SDK not use the hook, the plain SDK path does the same work.
"""

from binascii import a2b_base64, b2a_base64
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, Protocol

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import broadcast

MAX_UNSENT_BYTES: Final = 256 * 1024
"""About 5 s of 16 kHz audio as base64 in JSON. Audio beyond it is dropped, not queued: a model that
hears the caller 5 s late is of no use to the call."""

_ACTIVITY_START: Final = b'{"realtime_input":{"activityStart":{}}}'
_ACTIVITY_END: Final = b'{"realtime_input":{"activityEnd":{}}}'
_AUDIO_MARK: Final = b'"inlineData"'
_MARK_WITHIN: Final = 128
"""`{"serverContent":{"modelTurn":{"parts":[{"inlineData":` is 54 bytes, indented about 96; further in,
the SDK's own path handles the message, slower but right."""


class AudioTaker(Protocol):
    """Whoever the connection is made for."""

    connection: "FastConnection | None"

    def take_audio(self, pcm: bytes, rate_hz: int) -> None:
        """The model's audio, in order with everything else it sends."""


connecting_for: ContextVar[AudioTaker] = ContextVar("connecting_for")
"""Set before the SDK connects: the hook gets no argument of ours."""


class FastConnection(ClientConnection):
    """One WebSocket to the Live API."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker = connecting_for.get()
        self._taker.connection = self
        self.dropped = 0  # audio messages given up at MAX_UNSENT_BYTES

    def send_audio(self, pcm: bytes, rate_hz: int) -> None:
        """Send the caller's audio now, without waiting; nothing is sent on a closed connection."""
        if self.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.dropped += 1
            return
        head, tail = _envelope(rate_hz)
        broadcast((self,), head + b2a_base64(pcm, newline=False) + tail, text=True)

    def send_audio_end(self) -> None:
        """Say that the audio pauses, in order with it."""
        broadcast((self,), b'{"realtime_input":{"audioStreamEnd":true}}', text=True)

    def send_activity(self, *, begins: bool) -> None:
        """Mark an end of the caller's turn, in order with its audio."""
        broadcast((self,), _ACTIVITY_START if begins else _ACTIVITY_END, text=True)

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that is not audio alone, as bytes."""
        while True:
            message = await super().recv(decode=False)
            if _AUDIO_MARK in message[:_MARK_WITHIN]:
                message = self._without_audio(message)
            if message:
                return message

    def _without_audio(self, message: bytes) -> bytes:
        """Hand the audio over; returns what else the message says, or nothing. A message that is not
        as expected is left whole to the SDK."""
        try:
            data = orjson.loads(message)
            content = data["serverContent"]
            parts = content["modelTurn"]["parts"]
            audio = [_decode(part["inlineData"]) for part in parts if "inlineData" in part]
        except (ValueError, KeyError, TypeError):
            return message
        rest = [part for part in parts if "inlineData" not in part]
        if rest:
            content["modelTurn"]["parts"] = rest
        else:
            del content["modelTurn"]
        if not content:
            del data["serverContent"]
        for pcm, rate_hz in audio:
            self._taker.take_audio(pcm, rate_hz)
        return orjson.dumps(data) if data else b""


def _decode(inline: dict[str, str]) -> tuple[bytes, int]:
    return a2b_base64(inline["data"], strict_mode=True), rate_of(inline["mimeType"])


@lru_cache(maxsize=16)
def rate_of(mime_type: str) -> int:
    """The rate in `audio/pcm;rate=24000`; 24000 where it does not say, or says what is none."""
    rate = mime_type.partition("rate=")[2].partition(";")[0]
    return int(rate) if rate.isascii() and rate.isdigit() and len(rate) == 5 else 24_000


@lru_cache(maxsize=16)
def _envelope(rate_hz: int) -> tuple[bytes, bytes]:
    head = b'{"realtime_input":{"audio":{"mime_type":"audio/pcm;rate=%d","data":"' % rate_hz
    return head, b'"}}}'

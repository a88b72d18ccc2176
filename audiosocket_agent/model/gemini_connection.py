"""The fast path to Gemini Live: the SDK's own WebSocket, with the audio taken past the SDK.

google-genai validates every message by pydantic on the way in and out: 0.1 ms for 20 ms of audio. This
connection, given to the SDK by websockets' `create_connection` hook, sends audio as ready bytes and
takes received audio out before the SDK sees the message; of whatever else a message carries, the SDK
parses what the session does not know (`gemini_events`). 3.3 ms of CPU per call-second instead of 8.3 at
100 calls. Without it, or should a future SDK not use the hook, the plain SDK path does the same work.

What is frequent takes a short way through websockets too: the caller's audio is framed and masked here
(4.2 us of CPU for a frame instead of 6.5), and the model's is taken as its frame arrives, without the
queue and the task behind it (52 us for 40 ms instead of 63), as long as nothing before it waits there.
A message like the last but for its base64 is not even parsed (`_Envelope`).
"""

import asyncio
import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from itertools import chain
from types import GeneratorType, TracebackType
from typing import Any, Final, NamedTuple, Protocol

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.streams import StreamReader

from audiosocket_agent import log

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it was built without a compiler
    from websockets.utils import apply_mask

MAX_UNSENT_BYTES: Final = 256 * 1024
"""About 5 s of 16 kHz audio as base64 in JSON. Audio beyond it is dropped, not queued: a model that
hears the caller 5 s late is of no use to the call."""

MAX_TOGETHER: Final = 16
"""Frames that leave together; with more they leave at once. More save no more CPU, and at 250 calls the
first would wait for the work on all of them."""

_AUDIO_END: Final = b'{"realtime_input":{"audioStreamEnd":true}}'
_ACTIVITY_START: Final = b'{"realtime_input":{"activityStart":{}}}'
_ACTIVITY_END: Final = b'{"realtime_input":{"activityEnd":{}}}'
_AUDIO_TAIL: Final = b'"}}}'
_AUDIO_MARK: Final = b'"inlineData"'
_MARK_WITHIN: Final = 128
"""`{"serverContent":{"modelTurn":{"parts":[{"inlineData":` is 54 bytes, indented about 96; further in,
the SDK's own path handles the message, slower but right."""
_ARRIVED: Final = memoryview(bytearray(64 * 1024))
"""Emptied in the same breath as it is filled."""
_MESSAGE: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_WHOLE: Final = (b"\x81\x7e", b"\x82\x7e")
"""How a text or binary message in one frame begins that is 126 bytes to 64 KiB long, from a server (RFC
6455, 5.2); two bytes of its size follow."""
_WHOLE_HEAD_BYTES: Final = 4
_RATES_HZ: Final = frozenset(
    (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
)
"""That speech comes at. The matrix which converts an odd one (audio.resample) would have gigabytes."""
_FRAME_BEGINS: Final = getattr(getattr(StreamReader, "at_eof", None), "__code__", None)
_KEYS_AT_ONCE: Final = 1024
"""Drawn one by one, as websockets does, they were 6 % of the service's time: a system call each."""


_log = log.get(__name__)


class AudioTaker(Protocol):
    """Whoever the connection is made for."""

    connection: "FastConnection | None"

    def take_audio(self, pcm: bytes, rate_hz: int) -> None:
        """The model's audio, in order with everything else it sends."""

    def take_message(self, message: bytes) -> bool:
        """Anything else; False where it is for the SDK, which has all that follows before it is asked
        again."""


connecting_for: ContextVar[AudioTaker] = ContextVar("connecting_for")
"""Set before the SDK connects: the hook gets no argument of ours."""


class _Envelope(NamedTuple):
    """What stood around the base64 in a message that was audio and nothing else. Where the same stands
    around other base64 the message says the same of other audio, and need not be parsed."""

    head: bytes
    tail: bytes
    rate_hz: int

    @classmethod
    def around(cls, inline: dict[str, str], message: bytes) -> "_Envelope | None":
        """None where the data is not in the message as it is."""
        head, found, tail = message.partition(b'"%b"' % inline["data"].encode())
        if not found or found in tail:
            return None
        return cls(head + b'"', b'"' + tail, rate_of(inline["mimeType"]))

    def open(self, data: bytes, begins: int, ends: int) -> bytes | None:
        """The audio of a message that stands there in `data`; None where it is another message."""
        if not (data.startswith(self.head, begins) and data.endswith(self.tail, begins, ends)):
            return None
        text = data[begins + len(self.head) : ends - len(self.tail)]
        try:
            return a2b_base64(text, strict_mode=True)
        except ValueError:
            return None


class _Leaving:
    """Frames of all calls that leave together, when the loop has read all there was to read. One by one,
    between the work on other calls, TLS and the kernel were out of the CPU's caches each time, and a
    reader on the same host had gone to sleep again. Switched on and off twice a second in one process,
    together takes 0.96 of the CPU at 100 calls, 0.95 at 250, 0.90 where the reply is resampled to 8 kHz.
    For that one waits 0.07 ms (p99.9: 1.2) at 100 calls, and 0.2 (1.8) at 250."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._frames: list[tuple[Callable[[bytes], None], bytes]] = []

    def add(self, leave: Callable[[bytes], None], frame: bytes) -> None:
        """`leave`, which must not raise, takes the frame before anything else that is scheduled from now
        on."""
        frames = self._frames
        if not frames:
            self._loop.call_soon(self.go)
        frames.append((leave, frame))
        if len(frames) == MAX_TOGETHER:
            self.go()

    def go(self) -> None:
        """Let them leave now."""
        frames, self._frames = self._frames, []
        for leave, frame in frames:
            leave(frame)


_leaving: Final = lru_cache(maxsize=1)(_Leaving)


class FastConnection(ClientConnection):
    """One WebSocket to the Live API."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker = connecting_for.get()
        self._taker.connection = self
        self._leaving = _leaving(self.loop)
        self.dropped = 0  # audio messages given up at MAX_UNSENT_BYTES
        self._all_read = False  # the reader has dealt with all there was, and waits for more
        self._failed: Exception | None = None  # by what the audio was handed to
        self._envelope: _Envelope | None = None  # of the last message that was audio alone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(MAX_UNSENT_BYTES, MAX_UNSENT_BYTES)
        self.transport.set_protocol(_Reader(self))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The SDK's block, left without an error, does not close the connection: it is left as soon as
        there is a session, and whoever has that closes it. (Around its `yield` the SDK's `connect` has
        nothing but this block.)"""
        if exc_type is not None:
            await super().__aexit__(exc_type, exc_value, traceback)
            return
        for said in (self.request, self.response):
            if said is not None:
                said.headers.clear()  # 4 kB, and the API key is among them

    # -- to the model --------------------------------------------------------------------------

    def send_audio(self, pcm: bytes, rate_hz: int) -> None:
        """Send the caller's audio, without waiting; nothing is sent on a closed connection."""
        if self.paused:  # by the transport
            self.dropped += 1
            return
        text = _audio_head(rate_hz) + b2a_base64(pcm, newline=False) + _AUDIO_TAIL
        self._leaving.add(self._leave_audio, _frame(text))

    def send_audio_end(self) -> None:
        """Say that the audio pauses, in order with it."""
        self._leaving.add(self._leave, _frame(_AUDIO_END))

    def send_activity(self, *, begins: bool) -> None:
        """Mark an end of the caller's turn, in order with its audio."""
        self._leaving.add(self._leave, _frame(_ACTIVITY_START if begins else _ACTIVITY_END))

    def _leave_audio(self, frame: bytes) -> None:
        if self.paused:  # by those before it
            self.dropped += 1
        else:
            self._leave(frame)

    def _leave(self, frame: bytes) -> None:
        """One message in one frame, past websockets' own way out. That leaves nothing unsent behind
        whenever it returns to the loop, and the SDK never sends a message in parts, so a frame of ours
        stands between whole messages."""
        try:
            if self.protocol.state is State.OPEN and not self.transport.is_closing():
                self.transport.write(frame)
        except Exception:  # noqa: BLE001 - other calls' frames are behind it
            _log.exception("connection given up")
            self.cut()

    async def send(self, message: Any, *, text: bool | None = None) -> None:
        """The SDK's messages, in order with ours."""
        self._leaving.go()
        await super().send(message, text=text)

    async def close(
        self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = ""
    ) -> None:
        """After all that was sent."""
        self._leaving.go()
        await super().close(code, reason)

    def cut(self) -> None:
        """Drop what is left of it. (To websockets it is closed when the other side says so, with bytes
        and a socket still there.)"""
        if hasattr(self, "transport"):  # else it never came to be
            self.transport.abort()

    # -- from the model ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived. Messages at their beginning that are audio alone are taken here, a third
        of the work; websockets parses the rest, and all where it is not between two messages."""
        envelope, at = self._envelope, 0
        if envelope is not None and self._all_read and data[:2] in _WHOLE and self._between_frames:
            while data[at : at + 2] in _WHOLE:
                begins = at + _WHOLE_HEAD_BYTES
                ends = begins + int.from_bytes(data[at + 2 : begins], "big")
                pcm = envelope.open(data, begins, ends) if ends <= len(data) else None
                if not pcm:
                    break
                try:
                    self._taker.take_audio(pcm, envelope.rate_hz)
                except Exception as error:  # noqa: BLE001 - ours: see `process_event`
                    self._failed, self._all_read = error, False
                    break
                at = ends
        if at < len(data):
            super().data_received(data[at:])

    @property
    def _between_frames(self) -> bool:
        """Whether websockets has had whole frames only, and more may come: its parser is a generator,
        which waits for the first byte of a frame where it asks for the end of the stream. A websockets
        in which that is not so any more parses all."""
        waits = getattr(self.protocol, "parser", None)
        while isinstance(waits, GeneratorType):
            inner = waits.gi_yieldfrom
            if inner is None:
                return waits.gi_code is _FRAME_BEGINS and self.protocol.state is State.OPEN
            waits = inner
        return False

    def process_event(self, event: Event) -> None:
        """A frame has arrived (called by websockets). Audio is taken now, unless something before it
        has not been dealt with."""
        if isinstance(event, Frame) and event.opcode in _MESSAGE:
            free, self._all_read = self._all_read, False
            message = bytes(event.data)
            if free and event.fin and event.opcode is not Opcode.CONT:
                try:
                    event.data = self._for_the_sdk(message)
                except Exception as error:  # noqa: BLE001 - ours; websockets is on the stack, so it
                    # is raised where the next message is awaited
                    self._failed = error
                self._all_read = not (event.data or self._failed)
                if self._all_read:
                    return
        super().process_event(event)

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that is not audio alone, as bytes."""
        while True:
            self._all_read = True  # or the next line does not wait
            try:
                message = await super().recv(decode=False)
            finally:
                self._all_read = False
            if self._failed is not None:
                raise self._failed
            if message := self._for_the_sdk(message):
                return message

    def _for_the_sdk(self, message: bytes) -> bytes:
        """Hand over what goes past it; returns the rest, or nothing."""
        if _AUDIO_MARK in message[:_MARK_WITHIN]:
            message = self._without_audio(message)
        return b"" if message and self._taker.take_message(message) else message

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
        for pcm, rate_hz in audio:
            if pcm:  # else nobody has spoken
                self._taker.take_audio(pcm, rate_hz)
        if not content and len(data) == 1:
            if len(parts) == 1:
                self._envelope = _Envelope.around(parts[0]["inlineData"], message)
            return b""
        # emptied it stays, beside anything else: the SDK fails at what it knows nothing of at all
        return orjson.dumps(data)


class _Reader(asyncio.BufferedProtocol):
    """Stands between a connection and its transport, so that what arrives is read into one buffer of
    the process. For a protocol without one uvloop takes 256 KiB from the system for each few kilobytes
    that TLS has brought, and gives them back at once (see `memory`): 14 us each time, instead of 1."""

    def __init__(self, connection: FastConnection) -> None:
        self._connection = connection
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)
        vars(self).clear()  # the transport keeps its reader, and the connection its transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return _ARRIVED

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(_ARRIVED[:nbytes]))


def _decode(inline: dict[str, str]) -> tuple[bytes, int]:
    return a2b_base64(inline["data"], strict_mode=True), rate_of(inline["mimeType"])


@lru_cache(maxsize=16)
def rate_of(mime_type: str) -> int:
    """The rate in `audio/pcm;rate=24000`; 24000 where it does not say, or says what is none."""
    rate = mime_type.partition("rate=")[2].partition(";")[0]
    known = rate.isascii() and rate.isdigit() and len(rate) < 6 and int(rate) in _RATES_HZ
    return int(rate) if known else 24_000


@lru_cache(maxsize=16)
def _audio_head(rate_hz: int) -> bytes:
    return b'{"realtime_input":{"audio":{"mime_type":"audio/pcm;rate=%d","data":"' % rate_hz


def _keys() -> Iterator[list[bytes]]:
    """Masking keys, which nobody can predict (RFC 6455, 5.3)."""
    while True:
        many = os.urandom(4 * _KEYS_AT_ONCE)
        yield [many[at : at + 4] for at in range(0, len(many), 4)]


_next_key: Final = chain.from_iterable(_keys()).__next__


def _frame(text: bytes) -> bytes:
    """A whole text message, masked."""
    key = _next_key()
    return _frame_head(len(text)) + key + apply_mask(text, key)


@lru_cache(maxsize=256)
def _frame_head(size: int) -> bytes:
    """Of a whole text message from a client with `size` bytes (RFC 6455, 5.2), up to its key."""
    if size < 126:
        return bytes((0x81, 0x80 | size))
    if size < 1 << 16:
        return b"\x81\xfe" + size.to_bytes(2, "big")
    return b"\x81\xff" + size.to_bytes(8, "big")

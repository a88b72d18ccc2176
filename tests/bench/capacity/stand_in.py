"""Gemini Live for a load of calls: TLS, a WebSocket, and as little of our own time as can be.

It knows no tools and no history. A caller's turn is over after 0.5 s of quiet, the reply begins 0.3 s
later, in chunks of 40 ms at twice the speed of speech, as the service sends it. Each session greets with
a tone of its own, so that whoever hears it can say which session that was.
"""

import asyncio
import ssl
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from time import monotonic
from typing import Any, Final

import numpy as np

RATE_HZ: Final = 24_000
CHUNK_S: Final = 0.040
CHUNK_EVERY_S: Final = 0.020
GREETING_S: Final = 2.0
REPLY_S: Final = 3.0
SILENCE_S: Final = 0.5
THINK_S: Final = 0.3
LOUD: Final = 1_000
"""Of 32,768. What callers say is louder, what they do not say is nothing."""
SUSTAINED: Final = 3
"""So many loud frames over a reply interrupt it: 60 ms."""
FIRST_TONE_HZ: Final = 400
TONE_STEP_HZ: Final = 4

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")  # the plain SDK sends the other alphabet of base64
_LOOKED_AT: Final = 80  # characters of base64 in the middle of a frame: 30 samples


def tone(hz: float, seconds: float) -> bytes:
    """s16le at RATE_HZ."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (8_000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()


def _message(text: bytes) -> bytes:
    """A binary message of a server, as the service sends its JSON."""
    size = len(text)
    if size < 126:
        return bytes((0x82, size)) + text
    return bytes((0x82, 126)) + size.to_bytes(2, "big") + text


def _spoken(pcm: bytes) -> list[bytes]:
    size = round(CHUNK_S * RATE_HZ) * 2
    return [
        _message(
            b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000",'
            b'"data":"' + b64encode(pcm[at : at + size]) + b'"}}]}}}'
        )
        for at in range(0, len(pcm), size)
    ]


READY: Final = _message(b'{"setupComplete":{}}')
GENERATED: Final = _message(b'{"serverContent":{"generationComplete":true}}')
TURN_OVER: Final = _message(
    b'{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":50,'
    b'"responseTokenCount":75,"totalTokenCount":125}}'
)
INTERRUPTED: Final = _message(b'{"serverContent":{"interrupted":true}}')


@dataclass(slots=True)
class Heard:
    """What happened in one session; times are the loop's."""

    turns_end: list[float] = field(default_factory=list)
    """When the last loud frame of each turn of the caller came."""
    replies_begin: list[float] = field(default_factory=list)
    """When the first chunk of each turn of the model left, the greeting's first."""


class StandIn:
    """A server on a free port of loopback. `calls`: how many sessions will be greeted."""

    def __init__(self, context: ssl.SSLContext, calls: int) -> None:
        self._context = context
        self.greetings = [
            _spoken(tone(FIRST_TONE_HZ + TONE_STEP_HZ * serial, GREETING_S))
            for serial in range(calls)
        ]
        self.reply = _spoken(tone(440, REPLY_S))
        self.heard: list[Heard] = []
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Session(self), "127.0.0.1", 0, ssl=self._context, backlog=512
        )
        self.port = server.sockets[0].getsockname()[1]


class _Session(asyncio.Protocol):
    def __init__(self, server: StandIn) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._upgraded = False
        self._heard = Heard()
        self._serial = len(server.heard)
        server.heard.append(self._heard)
        self._transport: Any = None
        self._greeted = False
        self._speaking: asyncio.TimerHandle | None = None  # the model's next chunk
        self._chunks: Sequence[bytes] = ()
        self._sent = 0
        self._until = 0.0  # when what was sent has been heard
        self._loud = 0
        self._last_loud = 0.0
        self._in_turn = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._upgrade():
            return
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 8:
            size, head = buffer[at + 1] & 0x7F, 6
            if size == 126:
                size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 8
            elif size == 127:
                size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 14
            if len(buffer) - at < head + size:
                break
            self._take(buffer[at] & 0x0F, at + head, size)
            at += head + size
        del buffer[:at]

    def _upgrade(self) -> bool:
        head, end, _ = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                accept = b64encode(sha1(value.strip() + _ACCEPT, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        del self._buffer[: len(head) + 4]
        self._upgraded = True
        return True

    def _unmasked(self, start: int, offset: int, size: int) -> bytes:
        """`size` bytes of a payload that begins at `start`, from `offset`, a multiple of four."""
        mask = self._buffer[start - 4 : start]
        part = self._buffer[start + offset : start + offset + size]
        key = bytes(mask) * (len(part) // 4 + 1)
        plain = int.from_bytes(part, "big") ^ int.from_bytes(key[: len(part)], "big")
        return plain.to_bytes(len(part), "big")

    def _take(self, opcode: int, start: int, size: int) -> None:
        if opcode == 8:
            self._transport.write(bytes((0x88, 0)))
            self._transport.close()
            return
        if opcode == 9:
            self._transport.write(bytes((0x8A, size)) + self._unmasked(start, 0, size))
            return
        if opcode > 2:
            return
        head = self._unmasked(start, 0, min(size, 160))
        data = head.find(b'"data":')
        if data >= 0:
            self._hear(start, head.index(b'"', data + 7) + 1, size)
        elif b'"setup"' in head:
            self._transport.write(READY)
        elif not self._greeted and b'"text"' in self._unmasked(start, 0, size):
            self._greeted = True
            self._speak(self._server.greetings[self._serial])

    def _hear(self, start: int, begins: int, size: int) -> None:
        """A frame: is it loud in its middle?"""
        skip = (size - begins) // 8 * 4  # whole quanta of base64
        offset = begins + skip
        text = self._unmasked(start, offset - offset % 4, _LOOKED_AT + 4)[offset % 4 :]
        pcm = a2b_base64(text[: _LOOKED_AT // 8 * 8].translate(_STANDARD))
        odd = skip // 4 * 3 % 2
        samples = memoryview(pcm[odd : odd + (len(pcm) - odd) // 2 * 2]).cast("h")
        now = monotonic()
        if max(samples) > LOUD:
            self._loud += 1
            self._last_loud = now
            if self._loud == SUSTAINED:
                self._in_turn = True
                self._interrupt(now)
        else:
            self._loud = 0
            if self._in_turn and now - self._last_loud >= SILENCE_S:
                self._in_turn = False
                self._heard.turns_end.append(self._last_loud)
                self._stop()
                self._speaking = self._loop.call_later(THINK_S, self._speak, self._server.reply)

    def _interrupt(self, now: float) -> None:
        if self._speaking is not None or now < self._until:
            self._stop()
            self._until = 0.0
            self._transport.write(INTERRUPTED)
            self._transport.write(TURN_OVER)

    def _speak(self, chunks: Sequence[bytes]) -> None:
        now = monotonic()
        self._heard.replies_begin.append(now)
        self._chunks, self._sent, self._until = chunks, 0, now + len(chunks) * CHUNK_S
        self._chunk()

    def _chunk(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._chunks[self._sent])
        self._sent += 1
        if self._sent < len(self._chunks):
            self._speaking = self._loop.call_later(CHUNK_EVERY_S, self._chunk)
        else:
            self._speaking = None
            self._transport.write(GENERATED)
            self._transport.write(TURN_OVER)

    def _stop(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None

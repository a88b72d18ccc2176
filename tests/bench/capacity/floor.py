"""The leanest bridge one can write, for a comparison: no product, only the work that cannot be avoided.

AudioSocket in and out every 20 ms, webrtcvad on every frame, a FIR where rates differ, base64 in JSON in
a WebSocket in TLS to the model and back, and a reply dropped when the caller speaks over it. No tools,
no records, no metrics, no limits; whatever goes wrong ends the process.
"""

import argparse
import asyncio
import ssl
from binascii import a2b_base64, b2a_base64
from collections import deque
from typing import Any, Final

import orjson
import uvloop
import webrtcvad
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast

from audiosocket_agent import wire
from audiosocket_agent.audio import frame_bytes
from audiosocket_agent.audio.resample import Resampler

MODEL_HZ: Final = 24_000
SPEECH_FRAMES: Final = 4
"""80 ms: then a reply is dropped."""


class Bridge(asyncio.Protocol):
    """One call."""

    def __init__(self, arguments: argparse.Namespace, context: ssl.SSLContext) -> None:
        self._arguments = arguments
        self._context = context
        self._vad = webrtcvad.Vad(2)
        self._up: Resampler | None = None
        self._down: Resampler | None = None
        self._down_hz = 0
        self._rate_hz = 0
        self._frames: deque[bytes] = deque()
        self._rest = b""
        self._early = b""  # from the model, before the caller's rate is known
        self._speech = 0
        self._buffer = bytearray()
        self._transport: Any = None
        self._model: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._silence = b""
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._task = asyncio.ensure_future(self._converse())

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        buffer, at = self._buffer, 0
        buffer += data
        while len(buffer) - at >= 3:
            size = buffer[at + 1] << 8 | buffer[at + 2]
            if len(buffer) - at < 3 + size:
                break
            if buffer[at] >= 0x10:
                self._hear(
                    bytes(buffer[at + 3 : at + 3 + size]), wire.RATE_HZ[wire.Kind(buffer[at])]
                )
            at += 3 + size
        del buffer[:at]

    def _hear(self, pcm: bytes, rate_hz: int) -> None:
        if not self._rate_hz:
            self._rate_hz = rate_hz
            up_hz, self._down_hz = self._arguments.up or 16_000, self._arguments.down or rate_hz
            self._up = Resampler(rate_hz, up_hz) if up_hz != rate_hz else None
            self._down = Resampler(MODEL_HZ, self._down_hz) if self._down_hz != MODEL_HZ else None
            self._head, self._tail = (
                b'{"realtime_input":{"audio":{"data":"',
                b'","mime_type":"audio/pcm;rate=%d"}}}' % up_hz,
            )
            self._silence = wire.audio(
                wire.KIND_OF_RATE[self._down_hz], bytes(frame_bytes(self._down_hz))
            )
            self._play(self._early)
        self._speech = self._speech + 1 if self._vad.is_speech(pcm, rate_hz) else 0
        if self._speech == SPEECH_FRAMES:
            self._frames.clear()
            self._rest = b""
        if self._model is not None:
            if self._up is not None:
                pcm = self._up.feed(pcm)
            text = self._head + b2a_base64(pcm, newline=False) + self._tail
            broadcast((self._model,), text, text=True)

    async def _converse(self) -> None:
        async with connect(
            self._arguments.model, ssl=self._context, compression=None, max_queue=None
        ) as model:
            await model.send('{"setup":{"model":"models/floor"}}')
            await model.recv()
            await model.send('{"realtimeInput":{"text":"Greet the caller."}}')
            self._model = model
            async for message in model:
                content = orjson.loads(message).get("serverContent", {})
                for part in content.get("modelTurn", {}).get("parts", ()):
                    self._play(a2b_base64(part["inlineData"]["data"]))
                if content.get("interrupted"):
                    self._frames.clear()

    def _play(self, pcm: bytes) -> None:
        if not self._rate_hz:
            self._early += pcm
            return
        if self._down is not None:
            pcm = self._down.feed(pcm)
        pcm, size = self._rest + pcm, frame_bytes(self._down_hz)
        whole = len(pcm) // size * size
        self._frames.extend(pcm[at : at + size] for at in range(0, whole, size))
        self._rest = pcm[whole:]

    def tick(self) -> None:
        """A frame is due."""
        if self._silence:
            head = self._silence[:3]
            frame = head + self._frames.popleft() if self._frames else self._silence
            self._transport.write(frame)


async def serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=arguments.ca)
    slots: list[list[Bridge]] = [[] for _ in range(20)]
    taken = 0

    def accept() -> Bridge:
        nonlocal taken
        taken += 1
        bridge = Bridge(arguments, context)
        slots[taken % 20].append(bridge)
        return bridge

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    due, slot = loop.time(), 0

    def tick() -> None:
        nonlocal due, slot
        now = loop.time()
        while due <= now:
            slots[slot] = bridges = [bridge for bridge in slots[slot] if bridge.open]
            for bridge in bridges:
                bridge.tick()
            slot, due = (slot + 1) % 20, due + 0.001
        loop.call_later(max(due - now, 0.001), tick)  # uvloop rounds: less than half of it spins

    tick()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--up", type=int, default=0, help="Hz; 0: 16000")
    parser.add_argument("--down", type=int, default=0, help="Hz; 0: the caller's")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

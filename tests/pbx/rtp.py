"""One leg's media: packets sent on an absolute 20 ms clock, and all that came back.

Arrival times are the kernel's receive stamps, so that a busy test process does not blur what is
measured. `Heard` lays the received audio out by RTP timestamp, the way a phone's jitter buffer
does: what is missing there is missing at the ear. Timestamps hold within one source (SSRC); Asterisk
takes a new one whenever the leg enters or leaves a bridge, and its audio follows as it arrives.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final, NamedTuple

import numpy as np

from tests.pbx.codec import PACKET_S, Codec, Pcm, resample

_HEADER: Final = struct.Struct(">BBHII")
_VERSION_2: Final = 0x80
_MARKER: Final = 0x80
_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module does not name it
_TIMESPEC: Final = struct.Struct("@qq")

LOUD_RMS: Final = 200  # -44 dBFS: any speech, no codec noise (mu-law's around zero is 8)
_DIGIT_PACKETS: Final = 5  # 100 ms, a short press
_LONGEST_S: Final = 3600  # a leg longer than this is a broken timestamp


class Packet(NamedTuple):
    """One received RTP packet. `at` is its arrival on the monotonic clock, seconds."""

    source: int
    sequence: int
    timestamp: int
    marker: bool
    pcm: Pcm
    at: float
    loud: bool


class Speech(NamedTuple):
    """When something is said: its first and its last packet leave at these monotonic times."""

    starts_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Heard:
    """All audio of a leg so far. Positions are seconds after its first sample."""

    pcm: Pcm
    rate_hz: int
    packets: tuple[Packet, ...]
    starts: tuple[int, ...]
    """Where each packet's first sample lies in `pcm`."""
    overlaps_s: tuple[float, ...]
    """Where a packet's audio begins before another's ends: RTP time was used twice."""

    def time_of(self, position_s: float) -> float:
        """The monotonic time at which the packet with this moment of audio arrived."""
        sample = round(position_s * self.rate_hz)
        index = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return self.packets[max(index, 0)].at

    def intervals_ms(self, start_s: float = 0.0, end_s: float = _LONGEST_S) -> list[float]:
        """Times between arrivals of the packets that lie between two positions."""
        first, last = start_s * self.rate_hz, end_s * self.rate_hz
        at = [
            p.at
            for p, start in zip(self.packets, self.starts, strict=True)
            if first <= start < last
        ]
        return [(b - a) * 1000 for a, b in pairwise(at)]


def lay_out(packets: list[Packet], rate_hz: int) -> Heard:
    """Put packets where their timestamps say; zeros where there are none."""
    if not packets:
        return Heard(np.zeros(0, np.int16), rate_hz, (), (), ())
    placed: list[tuple[int, Packet]] = []
    end = 0
    for _, stream in groupby(packets, key=lambda packet: packet.source):
        source = list(stream)
        begins = max(end, round((source[0].at - packets[0].at) * rate_hz))
        placed += _by_timestamp(source, begins)
        end = max(start + len(p.pcm) for start, p in placed)
    if end > _LONGEST_S * rate_hz:
        raise ValueError(f"RTP timestamps span {end / rate_hz:.0f} s")
    pcm = np.zeros(end, np.int16)
    overlaps = []
    reached = 0
    for start, packet in placed:
        if start < reached:
            overlaps.append(start / rate_hz)
        reached = max(reached, start + len(packet.pcm))
        pcm[start : start + len(packet.pcm)] = packet.pcm
    starts, ordered = zip(*placed, strict=True)
    return Heard(pcm, rate_hz, ordered, starts, tuple(overlaps))


def _by_timestamp(source: list[Packet], begins: int) -> list[tuple[int, Packet]]:
    """The packets of one source in order, the first one at `begins`."""
    origin = source[0].timestamp
    # Signed distance, so that the 32-bit timestamp may wrap and the first packets may swap places.
    at = [((p.timestamp - origin + 2**31) % 2**32) - 2**31 for p in source]
    first = min(at)
    placed = zip((begins + a - first for a in at), source, strict=True)
    return sorted(placed, key=lambda pair: pair[0])


class Leg:
    """A phone's RTP socket: `run` sends, the event loop's reader records."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.packets: list[Packet] = []
        self.muted = False
        self.latest_s = 0.0
        """How late the phone's own clock was at worst: more than a packet, and the machine, not
        the service, made the gap."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        # Kernel stamps are wall-clock time; the two clocks part by microseconds during a test.
        self._wall_ahead = time.time() - time.monotonic()
        self._payload_type = codec.payload_type
        self._event_type: int | None = None
        self._pending = np.zeros(0, np.int16)
        self._digits: deque[int] = deque()
        self._digit_packet = 0
        self._sequence = 0
        self._timestamp = 0
        self._talk_spurt = True
        self._next_tick = 0.0
        self._loud = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    @property
    def port(self) -> int:
        """The local UDP port, for the offer."""
        port: int = self._socket.getsockname()[1]
        return port

    def connect(self, host: str, port: int, payload_type: int, event_type: int | None) -> None:
        """Take the answer: where to send to, from now on, and by which payload types."""
        self._socket.connect((host, port))  # from here on the kernel drops anyone else's packets
        self._payload_type = payload_type
        self._event_type = event_type
        self._next_tick = time.monotonic()

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    # ---- speaking ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send one packet every 20 ms, by absolute deadlines, until cancelled."""
        while True:
            self.latest_s = max(self.latest_s, time.monotonic() - self._next_tick)
            self._tick()
            self._next_tick += PACKET_S
            await asyncio.sleep(self._next_tick - time.monotonic())

    def say(self, pcm: Pcm, rate_hz: int) -> Speech:
        """Say this after all that is still to be said; silence follows."""
        waiting = -(-len(self._pending) // self.codec.packet_samples)
        # Whole packets, so that what is said next starts where a packet does.
        sound = resample(pcm, rate_hz, self.codec.rate_hz)
        count = -(-len(sound) // self.codec.packet_samples)
        sound = np.pad(sound, (0, count * self.codec.packet_samples - len(sound)))
        self._pending = np.concatenate((self._pending, sound))
        starts_at = self._next_tick + waiting * PACKET_S
        return Speech(starts_at, starts_at + (count - 1) * PACKET_S)

    def dtmf(self, digit: str) -> None:
        """Press a key for 100 ms (RFC 4733); meanwhile no audio is sent."""
        if self._event_type is None:
            raise ValueError("the answer has no telephone-event")
        self._digits.append("0123456789*#ABCD".index(digit))

    def _tick(self) -> None:
        if self._digits:
            self._send_digit(self._digits[0])
        elif self.muted:
            self._talk_spurt = True
            self._timestamp += self.codec.packet_samples
        else:
            self._send_audio()

    def _send_audio(self) -> None:
        count = self.codec.packet_samples
        sound, self._pending = self._pending[:count], self._pending[count:]
        sound = np.pad(sound, (0, count - len(sound)))
        self._send(self._payload_type, self._talk_spurt, self.codec.encode(sound))
        self._talk_spurt = False
        self._timestamp += count

    def _send_digit(self, event: int) -> None:
        assert self._event_type is not None
        self._digit_packet += 1
        last = self._digit_packet == _DIGIT_PACKETS
        duration = self._digit_packet * self.codec.packet_samples
        payload = struct.pack(">BBH", event, 0x80 * last | 10, duration)
        # The end is said three times, for networks that lose packets. All packets of a digit carry
        # the timestamp of its beginning.
        for _ in range(3 if last else 1):
            self._send(self._event_type, self._digit_packet == 1, payload)
        if last:
            self._digits.popleft()
            self._digit_packet = 0
            self._talk_spurt = True
            self._timestamp += duration

    def _send(self, payload_type: int, marker: bool, payload: bytes) -> None:
        head = _HEADER.pack(
            _VERSION_2,
            _MARKER * marker | payload_type,
            self._sequence % 2**16,
            self._timestamp % 2**32,
            self.port,  # a source id as good as any
        )
        self._sequence += 1
        # Asterisk closes its port a moment before its BYE arrives.
        with suppress(ConnectionRefusedError):
            self._socket.send(head + payload)

    # ---- hearing -------------------------------------------------------------------------------

    @property
    def heard(self) -> Heard:
        """All that came so far."""
        return lay_out(self.packets, self.codec.rate_hz)

    async def until_heard(self) -> float:
        """Wait for the next packet with sound in it; its arrival."""
        self._loud.clear()
        await self._loud.wait()
        return self.packets[-1].at

    async def until_quiet(self, seconds: float) -> float:
        """Wait until there was no sound for so long; the arrival of the last packet with some."""
        while True:
            last = next((p.at for p in reversed(self.packets) if p.loud), 0.0)
            left = last + seconds - time.monotonic()
            if left <= 0:
                return last
            await asyncio.sleep(left)

    def _receive(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(2048, 64)
        except ConnectionRefusedError:
            return  # the echo of a packet sent to a port Asterisk had closed
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
        at = seconds + nanoseconds / 1e9 - self._wall_ahead
        _, kind, sequence, timestamp, source = _HEADER.unpack_from(data)
        if kind & 0x7F != self._payload_type:
            return  # RTCP, comfort noise, telephone-event
        pcm = self.codec.decode(data[_HEADER.size :])
        loud = bool(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))) > LOUD_RMS)
        self.packets.append(
            Packet(source, sequence, timestamp, bool(kind & _MARKER), pcm, at, loud)
        )
        if loud:
            self._loud.set()

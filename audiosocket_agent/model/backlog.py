"""What was said to the model and has not been answered, so that it can be said again.

While there is a connection everything is sent at once and kept until the model acts on it; while there
is none it is only kept. On a new connection all that is left goes out, in order: what the old one may
not have had, and what came in between.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from audiosocket_agent.audio import SAMPLE_BYTES, silence
from audiosocket_agent.model.base import ToolCall

AUDIO_S: Final = 5.0
"""Of the caller, and up to CHUNK_S more. Who has been waiting for longer says it again."""
MAX_MESSAGES: Final = 50
"""Of everything else."""
CHUNK_S: Final = 0.2
"""Audio is kept, and said again, in larger pieces than it comes in: queues below count messages, and the
garbage collector counts objects. Frame by frame it had 500 of them here for each call, and went through
those of 100 calls for 60 ms."""
_MOST_US: Final = round(AUDIO_S * 1e6)


@dataclass(frozen=True, slots=True)
class Audio:
    """s16le mono."""

    pcm: bytes
    rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.pcm) / (self.rate_hz * SAMPLE_BYTES)


@dataclass(frozen=True, slots=True)
class AudioPause:
    """The caller's audio pauses."""


@dataclass(frozen=True, slots=True)
class ActivityStart:
    """The caller's turn begins; only where turns are marked."""


@dataclass(frozen=True, slots=True)
class ActivityEnd:
    """The caller's turn is over."""


@dataclass(frozen=True, slots=True)
class Text:
    """Something that is not the caller's speech."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    call: ToolCall
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """Of the model's interrupted reply only so much was heard."""

    ms: int


Speech = Audio | AudioPause | ActivityStart | ActivityEnd
Item = Speech | Text | ToolResult | Heard


@dataclass(slots=True, repr=False)  # somebody's words
class _Kept:
    item: Item
    sent: bool


@dataclass(slots=True, repr=False)
class _Piece:
    """Frames of the caller's audio, as much as CHUNK_S."""

    rate_hz: int
    sent: bool
    frames: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes
    count: int = 0  # of the frames, once there will be no more

    def close(self) -> None:
        """Keep it as one; digital silence is kept once for all calls."""
        self.count = len(self.frames)
        pcm, quiet = b"".join(self.frames), silence(self.size)
        self.frames = [quiet if pcm == quiet else pcm]

    @property
    def us(self) -> int:
        return self.size * 1_000_000 // (self.rate_hz * SAMPLE_BYTES)

    @property
    def item(self) -> Audio:
        return Audio(b"".join(self.frames), self.rate_hz)


class Backlog:
    """Of one call. Pure."""

    def __init__(self) -> None:
        self.dropped = 0
        """Frames of the caller's audio that were given up before any model could have them."""
        self._kept: list[_Kept | _Piece] = []
        self._piece: _Piece | None = None  # the last of these, where it goes on
        self._piece_bytes = 0  # as much as it takes
        self._audio_us = 0  # of all the others
        self._others = 0
        self._in_activity = False  # the caller's turn is under way, and is marked

    def keep(self, item: Item, *, sent: bool) -> None:
        """`sent`: a model may have it already."""
        if isinstance(item, Audio):
            self.keep_audio(item.pcm, item.rate_hz, sent)
            return
        if sent and isinstance(item, ToolResult | Heard):
            return  # of use to the connection it was meant for, and to no other
        if isinstance(item, ActivityStart | ActivityEnd):
            self._in_activity = isinstance(item, ActivityStart)
        self._close_piece()
        self._kept.append(_Kept(item, sent))
        self._others += 1
        if self._others > MAX_MESSAGES:
            self._drop_oldest(audio=False)

    def keep_audio(self, pcm: bytes, rate_hz: int, sent: bool) -> None:
        """The same for `Audio`, of which there are fifty a second."""
        piece = self._piece
        if piece is None or piece.rate_hz != rate_hz or piece.sent is not sent:
            piece = self._begin_piece(rate_hz, sent)
        piece.frames.append(pcm)
        piece.size += len(pcm)
        if piece.size >= self._piece_bytes:
            self._close_piece()

    def _begin_piece(self, rate_hz: int, sent: bool) -> _Piece:
        self._close_piece()
        self._piece = piece = _Piece(rate_hz, sent)
        self._piece_bytes = round(CHUNK_S * rate_hz) * SAMPLE_BYTES
        self._kept.append(piece)
        return piece

    def _close_piece(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.close()
            self._audio_us += piece.us
            while self._audio_us > _MOST_US:
                self._drop_oldest(audio=True)

    def answered(self) -> None:
        """The model has begun to act on what it was sent."""
        self._forget(lambda item: True)

    def understood(self) -> None:
        """What the caller was heard to say has come back in words."""
        self._forget(lambda item: isinstance(item, Speech))

    @property
    def has_text(self) -> bool:
        """There is something that the model will answer by itself."""
        return any(isinstance(kept.item, Text | ToolResult) for kept in self._kept)

    def mark(self) -> None:
        """Make the audio there is one turn of the caller, for a connection that is told of them."""
        self._close_piece()
        self._kept = [kept for kept in self._kept if not isinstance(kept.item, AudioPause)]
        audio = [nth for nth, kept in enumerate(self._kept) if isinstance(kept.item, Audio)]
        if audio:
            self._kept.insert(audio[-1] + 1, _Kept(ActivityEnd(), sent=True))
            self._kept.insert(audio[0], _Kept(ActivityStart(), sent=True))

    def again(self) -> Iterator[Item]:
        """All of it, for a connection that has had none."""
        for kept in self._kept:
            kept.sent = False
        self._mend()
        return self.unsent()

    def _mend(self) -> None:
        """A turn whose beginning is forgotten begins with what is left of it; one of which nothing is
        left was none."""
        marks = [kept for kept in self._kept if isinstance(kept.item, ActivityStart | ActivityEnd)]
        inside = isinstance(marks[0].item, ActivityEnd) if marks else self._in_activity
        if inside:
            self._kept.insert(0, _Kept(ActivityStart(), sent=False))
        begun: _Kept | None = None  # and nothing heard since
        empty: list[_Kept] = []
        for kept in self._kept:
            match kept.item:
                case ActivityStart():
                    begun = kept
                case Audio():
                    begun = None
                case ActivityEnd() if begun is not None:
                    empty += (begun, kept)
        self._kept = [kept for kept in self._kept if not any(kept is each for each in empty)]

    def unsent(self) -> Iterator[Item]:
        """What the present connection has not had, now sent; audio in larger pieces."""
        waiting = [kept for kept in self._kept if not kept.sent]
        for kept in waiting:
            kept.sent = True
        self._forget(lambda item: isinstance(item, ToolResult | Heard))
        return _joined([kept.item for kept in waiting])

    def _forget(self, which: Callable[[Item], bool]) -> None:
        self._close_piece()
        self._kept = [kept for kept in self._kept if not (kept.sent and which(kept.item))]
        pieces = [kept for kept in self._kept if isinstance(kept, _Piece)]
        self._audio_us = sum(piece.us for piece in pieces)
        self._others = len(self._kept) - len(pieces)

    def _drop_oldest(self, *, audio: bool) -> None:
        oldest = next(kept for kept in self._kept if isinstance(kept, _Piece) is audio)
        self._kept.remove(oldest)
        if isinstance(oldest, _Piece):
            self._audio_us -= oldest.us
            self.dropped += 0 if oldest.sent else oldest.count
        else:
            self._others -= 1


def _joined(items: list[Item]) -> Iterator[Item]:
    pieces: list[Audio] = []
    for item in items:
        if pieces and not (
            isinstance(item, Audio)
            and item.rate_hz == pieces[0].rate_hz
            and sum(piece.seconds for piece in pieces) < CHUNK_S
        ):
            yield _one(pieces)
            pieces = []
        if isinstance(item, Audio):
            pieces.append(item)
        else:
            yield item
    if pieces:
        yield _one(pieces)


def _one(pieces: list[Audio]) -> Audio:
    return Audio(b"".join(piece.pcm for piece in pieces), pieces[0].rate_hz)

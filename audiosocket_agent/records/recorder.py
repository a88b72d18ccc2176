"""Recordings of calls: a stereo WAV file each, the caller on the left, the agent on the right.

    leg, every 20 ms ──add──▶ Tape ──once a second──▶ one thread ──▶ audio.stereo ──▶ file

The event loop only collects bytes; what is made of them, and every touch of the disk, is the business
of one thread for all calls. Where the thread cannot keep up, whole seconds are dropped and counted.
Blocks are written where they belong by the clock, so what was dropped, or refused by the disk, is
silence in its place (and takes no room), and everything after it is right.

    recordings/open/2026-11-20_UUID.wav        while the call goes on
    recordings/2026/11/20/UUID.wav             when it is over; days are UTC's

A file can be played at any moment, and lacks the last 3 s at the most: its header is written anew with
every block. Of a process that was killed the files stay in `open`, and are finished by the next one to
start; those of a process that lives are locked.
"""

import asyncio
import fcntl
import os
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from errno import EFBIG
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Self

from audiosocket_agent import log
from audiosocket_agent.audio import SAMPLE_BYTES
from audiosocket_agent.audio.stereo import Block, Chunk, Stereo
from audiosocket_agent.clock import monotonic
from audiosocket_agent.records.rows import Recording

BATCH_SECONDS: Final = 1.0
MAX_WAITING: Final = 600
"""Batches for the thread, up to 100 kB each: 80 calls can wait 7 s for their disk."""
STOP_SECONDS: Final = 10.0
WARN_SECONDS: Final = 60.0

UNKNOWN: Final = "unknown"
"""Consent to a recording whose process was killed."""

_OPEN: Final = "open"
_UUID_CHARS: Final = 36
_FRAME_BYTES: Final = 2 * SAMPLE_BYTES
_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")

_Job = Callable[[], object]

_log = log.get(__name__)


class Recorder:
    """The recordings of one process, for as long as the context lasts; when it is left, they are
    finished. `put` takes the row of each, in the event loop; so the writer of rows must outlive it.

    Nothing here raises for a disk's sake: the call goes on, `lost_seconds` counts, and a line of log
    a minute says so.
    """

    def __init__(self, directory: Path, put: Callable[[Recording], None]) -> None:
        self._directory = directory.absolute()
        self._put = put
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._reels: set[_Reel] = set()  # the thread's
        self._dropped_s = 0.0
        self._refused_s = 0.0  # the thread's
        self._warn_at = 0.0

    @property
    def lost_seconds(self) -> float:
        """Audio that is in no file: dropped because the disk was too slow, or refused by it."""
        return self._dropped_s + self._refused_s

    def start(
        self,
        call_id: uuid.UUID,
        started_at: datetime,
        now: float,
        *,
        consent: str,
        rate_hz: int = 0,
    ) -> "Tape":
        """Record a call; `now` is second 0 of its file, by the clock that all times of the tape are
        of. `rate_hz` 0 is 16 kHz, or 8 where neither side has more when the first second is over."""
        reel = _Reel(self, call_id, started_at.astimezone(UTC), now, consent, rate_hz)
        self.submit(partial(self._reels.add, reel))
        return Tape(self, reel, now)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self.submit(self._recover)
        threading.Thread(target=self._work, name="recorder", daemon=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.submit(self._finish_all)
        self._jobs.put(None)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._stopped.wait()
        except TimeoutError:
            self.warn("the disk does not answer")

    # -- for tapes and reels -----------------------------------------------------------------------

    def submit(self, job: _Job) -> None:
        """Have something done in the thread. There is one such job for each call's beginning and end."""
        self._jobs.put(job)

    def submit_audio(self, job: _Job, seconds: float) -> None:
        """Have audio taken in the thread, unless too much waits there."""
        if self._jobs.qsize() < MAX_WAITING:
            self._jobs.put(job)
            return
        self._dropped_s += seconds
        self.warn("the disk is too slow")

    def refused(self, seconds: float, error: OSError) -> None:
        """The disk did not take something. In the thread."""
        self._refused_s += seconds
        self.warn(error.strerror or str(error))

    def warn(self, reason: str) -> None:
        """Say once a minute that recordings are not what they should be."""
        if monotonic() >= self._warn_at:
            self._warn_at = monotonic() + WARN_SECONDS
            lost_s = round(self.lost_seconds, 1)
            where = str(self._directory)
            _log.warning("recordings have gaps", reason=reason, directory=where, lost_s=lost_s)

    def finished(self, reel: "_Reel", row: Recording | None) -> None:
        """A reel is done with. In the thread."""
        self._reels.discard(reel)
        if row is not None:
            self._tell(row)

    # -- in the thread -----------------------------------------------------------------------------

    def open_file(self, name: str, rate_hz: int) -> "_WavFile":
        """A new file for a call. Raises OSError."""
        return _WavFile(_own(self._directory, _OPEN), name, rate_hz)

    def keep(self, file: Path) -> Path:
        """Give a file that is complete its name. Raises OSError."""
        day, _, call_id = file.stem.partition("_")
        folder = _own(self._directory, *day.split("-"))
        path = next(path for path in _names(folder, call_id[:_UUID_CHARS]) if not path.exists())
        file.rename(path)
        return path

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001 - a fault of ours with this call; others are to be recorded
                _log.exception("recording failed")
        self._tell(None)

    def _tell(self, row: Recording | None) -> None:
        """Hand a row to the event loop; None: that was the last."""
        with suppress(RuntimeError):  # it is over, as we answer too late: the file stays
            if row is None:
                self._loop.call_soon_threadsafe(self._stopped.set)
            else:
                self._loop.call_soon_threadsafe(self._put, row)

    def _finish_all(self) -> None:
        for reel in list(self._reels):
            reel.finish(None)

    def _recover(self) -> None:
        """Finish what processes have left that were killed."""
        for path in sorted((self._directory / _OPEN).glob("*_*.wav")):
            try:
                seconds, size = _mend(path)
                if size:
                    row = Recording(
                        call_id=path.stem.partition("_")[2][:_UUID_CHARS],
                        path=str(self.keep(path)),
                        seconds=seconds,
                        bytes=size,
                        consent=UNKNOWN,
                    )
                    self._tell(row)
                    _log.info("recording recovered", call=row.call_id, seconds=round(seconds, 1))
            except BlockingIOError:
                continue  # somebody writes it
            except OSError as error:
                self.refused(0.0, error)


class Tape:
    """A call that is being recorded: its side of the event loop. Nothing here waits, or fails."""

    def __init__(self, recorder: Recorder, reel: "_Reel", now: float) -> None:
        self._recorder = recorder
        self._reel = reel
        self._caller: list[Chunk] = []
        self._agent: list[Chunk] = []
        self._since = now
        self._due = now + BATCH_SECONDS
        self._running = True
        self._closed = False

    def add_caller(self, now: float, payload: bytes, rate_hz: int, *, secret: bool = False) -> None:
        """The caller's next audio; what is `secret` is silence on the tape."""
        if self._running:
            self._caller.append((now, bytes(len(payload)) if secret else payload, rate_hz))
        if now >= self._due:
            self._hand_over(now)

    def add_agent(self, now: float, payload: bytes, rate_hz: int) -> None:
        """What was sent to the caller, silence included."""
        if self._running:
            self._agent.append((now, payload, rate_hz))
        if now >= self._due:
            self._hand_over(now)

    def pause(self, now: float) -> None:
        """Record silence on both sides from now on."""
        self._running = False
        self._hand_over(now)

    def resume(self) -> None:
        """Go on recording."""
        self._running = True

    def close(self, now: float) -> None:
        """The call is over; its row follows when the file is complete."""
        if not self._closed:
            self.pause(now)
            self._closed = True
            self._recorder.submit(partial(self._reel.finish, now))

    def _hand_over(self, now: float) -> None:
        if not self._closed:
            job = partial(self._reel.take, now, self._caller, self._agent)
            self._recorder.submit_audio(job, now - self._since)
        self._caller, self._agent = [], []
        self._since, self._due = now, now + BATCH_SECONDS


class _Reel:
    """A call that is being recorded: its side of the thread."""

    def __init__(
        self,
        recorder: Recorder,
        call_id: uuid.UUID,
        started_at: datetime,
        began: float,
        consent: str,
        rate_hz: int,
    ) -> None:
        self._recorder = recorder
        self._call_id = str(call_id)
        self._day = f"{started_at:%Y-%m-%d}"
        self._began = self._until = began
        self._consent = consent
        self._rate_hz = rate_hz
        self._stereo: Stereo | None = None  # until there is audio
        self._file: _WavFile | None = None

    def take(self, now: float, caller: Sequence[Chunk], agent: Sequence[Chunk]) -> None:
        """All that passed since the last time."""
        self._until = now
        if self._stereo is None:
            if not caller and not agent:
                return
            highest = max(rate_hz for _, _, rate_hz in (*caller, *agent))
            self._rate_hz = self._rate_hz or (8_000 if highest <= 8_000 else 16_000)
            self._stereo = Stereo(self._rate_hz, self._began)
        self._stereo.add_caller(caller)
        self._stereo.add_agent(agent)
        self._write(self._stereo.take(now))

    def finish(self, now: float | None) -> None:
        """The call ended; None: with the process, so nobody knows when."""
        row = None
        if self._stereo is not None:
            self._write(self._stereo.finish(self._until if now is None else now))
            row = self._complete(self._stereo.seconds)
        self._recorder.finished(self, row)

    def _write(self, blocks: Sequence[Block]) -> None:
        for position, pcm in blocks:
            try:
                if self._file is None:
                    name = f"{self._day}_{self._call_id}"
                    self._file = self._recorder.open_file(name, self._rate_hz)
                self._file.write(position, pcm)
            except OSError as error:
                self._recorder.refused(len(pcm) / _FRAME_BYTES / self._rate_hz, error)

    def _complete(self, seconds: float) -> Recording | None:
        """The file under its name; None where nothing of it could be written."""
        if self._file is None:
            return None
        file, self._file = self._file, None
        path, frames = file.path, file.close(round(seconds * self._rate_hz))
        try:
            if not frames:
                path.unlink()
                return None
            path = self._recorder.keep(path)
        except OSError as error:  # it stays in `open`
            self._recorder.refused(0.0, error)
        return Recording(
            call_id=self._call_id,
            path=str(path),
            seconds=frames / self._rate_hz,
            bytes=_bytes(frames),
            consent=self._consent,
        )


# ---- files -----------------------------------------------------------------------------------------


class _WavFile:
    """A stereo file that is written block by block, in any order, and that nobody else may read."""

    def __init__(self, folder: Path, name: str, rate_hz: int) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for path in _names(folder, name):
            with suppress(FileExistsError):  # a dialplan has given two calls the same UUID
                self._fd = os.open(path, flags, 0o600)
                self.path = path
                break
        with suppress(OSError):  # where files cannot be locked nobody will take it from us either
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._rate_hz = rate_hz
        self._frames = 0

    def write(self, position: int, pcm: bytes) -> None:
        """Raises OSError."""
        offset, data = _bytes(position), memoryview(pcm)
        if offset + len(pcm) > 0xFFFFFFFF:  # 18 h at 16 kHz
            raise OSError(EFBIG, os.strerror(EFBIG))
        while data:
            written = os.pwrite(self._fd, data, offset)
            offset, data = offset + written, data[written:]
        self._frames = max(self._frames, position + len(pcm) // _FRAME_BYTES)
        os.pwrite(self._fd, _header(self._frames, self._rate_hz), 0)

    def close(self, frames: int) -> int:
        """Make it so long, where it has anything in it and can be. Returns how long it is."""
        try:
            if self._frames:
                os.ftruncate(self._fd, _bytes(frames))
                self._frames = frames
                os.pwrite(self._fd, _header(frames, self._rate_hz), 0)
        except OSError:
            pass  # what is missing is silence at the end
        os.close(self._fd)
        return self._frames


def _bytes(frames: int) -> int:
    return _HEADER.size + frames * _FRAME_BYTES


def _header(frames: int, rate_hz: int) -> bytes:
    """Of a WAV file: 16-bit PCM in two channels."""
    size = frames * _FRAME_BYTES
    return _HEADER.pack(
        b"RIFF",
        size + _HEADER.size - 8,
        b"WAVE",
        b"fmt ",
        16,
        1,
        2,
        rate_hz,
        rate_hz * _FRAME_BYTES,
        _FRAME_BYTES,
        8 * SAMPLE_BYTES,
        b"data",
        size,
    )


def _mend(path: Path) -> tuple[float, int]:
    """Let a file's header say all that is in the file. Returns its seconds and bytes, 0 where it has
    nothing in it. Raises BlockingIOError where a process writes it, OSError for all else."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        header = os.pread(fd, _HEADER.size, 0)
        frames = max(0, os.fstat(fd).st_size - _HEADER.size) // _FRAME_BYTES
        rate_hz = _HEADER.unpack(header)[7] if frames else 0
        if not rate_hz:
            return 0.0, 0
        os.pwrite(fd, _header(frames, rate_hz), 0)
        return frames / rate_hz, _bytes(frames)
    finally:
        os.close(fd)


def _own(directory: Path, *folders: str) -> Path:
    """A directory that nobody else may look into, made where it is missing. Raises OSError."""
    directory.mkdir(0o700, parents=True, exist_ok=True)
    for folder in folders:
        directory /= folder
        directory.mkdir(0o700, exist_ok=True)
    return directory


def _names(folder: Path, name: str) -> Iterator[Path]:
    """NAME.wav, NAME-2.wav ..."""
    yield folder / f"{name}.wav"
    yield from (folder / f"{name}-{number}.wav" for number in count(2))

"""Recordings on a real disk: their files, their rows, and what is left when something goes wrong.

The calls are virtual: an hour of one takes a second. Frames are told apart by their samples, which are
all the same. Run as a program, it is a service that is going to be killed, or whose disk is full.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import uuid
import wave
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from audiosocket_agent.audio import FRAME_SECONDS
from audiosocket_agent.records import recorder as recorder_module
from audiosocket_agent.records.recorder import MAX_WAITING, UNKNOWN, Recorder, Tape
from audiosocket_agent.records.rows import Recording
from tests.records.conftest import until
from tests.records.made import CALL, NOON

ID = uuid.UUID(CALL)
CALLER, AGENT = 1000, 5000
LEFT, RIGHT = 0, 1


def frame(number: int, rate_hz: int = 8_000) -> bytes:
    return np.full(rate_hz // 50, number, "<i2").tobytes()


class Studio:
    """A recorder, and the rows that it has put."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rows: list[Recording] = []
        self.recorder = Recorder(directory, self.rows.append)

    def start(self, call_id: uuid.UUID = ID, now: float = 0.0, **how: Any) -> Tape:
        return self.recorder.start(call_id, NOON, now, **({"consent": "announced"} | how))

    async def done(self) -> None:
        """Wait until the thread has done all it was asked to."""
        passed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.recorder.submit(lambda: loop.call_soon_threadsafe(passed.set))
        await asyncio.wait_for(passed.wait(), 20.0)

    async def row(self) -> Recording:
        """The row of the only call."""
        await until(lambda: bool(self.rows))
        [row] = self.rows
        return row


@contextlib.asynccontextmanager
async def studio(directory: Path) -> AsyncIterator[Studio]:
    studio = Studio(directory)
    async with studio.recorder:
        yield studio


def talk(tape: Tape, begin: float, end: float, *, caller_hz: int = 8_000, **how: Any) -> None:
    """Both sides, all the time."""
    agent_hz = how.pop("agent_hz", 8_000)
    said, sent = frame(CALLER, caller_hz), frame(AGENT, agent_hz)
    for n in range(round((end - begin) / FRAME_SECONDS)):
        at = begin + n * FRAME_SECONDS
        tape.add_caller(at, said, caller_hz, **how)
        tape.add_agent(at, sent, agent_hz)


def heard(path: Path | str) -> NDArray[np.int16]:
    """What a player plays."""
    with wave.open(str(path), "rb") as file:
        assert file.getnchannels() == 2
        assert file.getsampwidth() == 2
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def rate_hz(path: Path | str) -> int:
    with wave.open(str(path), "rb") as file:
        return file.getframerate()


def seconds(side: NDArray[np.int16], number: int) -> float:
    """How long it can be heard."""
    return np.count_nonzero(side == number) / 8_000


def wavs(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.wav"))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- a call ----------------------------------------------------------------------------------------


async def test_a_call_is_one_file_by_its_day_and_nobody_elses(tmp_path: Path) -> None:
    async with studio(tmp_path / "state" / "recordings") as here:
        tape = here.start(now=70.0)
        talk(tape, 70.0, 75.0)
        tape.close(75.0)
        row = await here.row()
    path = tmp_path / "state" / "recordings" / "2026" / "11" / "20" / f"{CALL}.wav"
    assert (row.call_id, row.path, row.consent) == (CALL, str(path), "announced")
    assert (row.seconds, row.bytes) == (5.0, 44 + 5 * 8_000 * 4)
    assert path.stat().st_size == row.bytes
    assert mode(path) == 0o600
    for folder in list(path.parents)[:4]:
        assert mode(folder) == 0o700, folder
    assert np.array_equal(heard(path), np.tile([CALLER, AGENT], (40_000, 1)))
    assert here.recorder.lost_seconds == 0


async def test_days_are_utcs(tmp_path: Path) -> None:
    delhi = timezone(timedelta(hours=5, minutes=30))
    async with studio(tmp_path) as here:
        at = datetime(2026, 11, 21, 3, 0, tzinfo=delhi)
        tape = here.recorder.start(ID, at, 0.0, consent="")
        talk(tape, 0.0, 1.0)
        tape.close(1.0)
        assert (await here.row()).path == str(tmp_path / "2026" / "11" / "20" / f"{CALL}.wav")


async def test_while_the_call_goes_on_its_file_can_be_played_under_another_name(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as here:
        tape = here.start()
        for second in range(10):
            talk(tape, second, second + 1)
            await here.done()
            if second >= 2:
                [path] = wavs(tmp_path)
                assert path.parent.name == "open"
                assert mode(path) == 0o600
                assert len(heard(path)) / 8_000 >= second - 2
        tape.close(10.0)
        await here.row()
    assert [path.name for path in wavs(tmp_path)] == [f"{CALL}.wav"]


@pytest.mark.parametrize(
    ("caller_hz", "agent_hz", "chosen", "file_hz"),
    [
        (8_000, 8_000, 0, 8_000),
        (16_000, 16_000, 0, 16_000),
        (8_000, 24_000, 0, 16_000),
        (48_000, 48_000, 0, 16_000),
        (16_000, 24_000, 8_000, 8_000),
    ],
)
async def test_the_file_has_the_rate_of_the_better_side_unless_one_is_chosen(
    tmp_path: Path, caller_hz: int, agent_hz: int, chosen: int, file_hz: int
) -> None:
    async with studio(tmp_path) as here:
        tape = here.start(rate_hz=chosen)
        talk(tape, 0.0, 3.0, caller_hz=caller_hz, agent_hz=agent_hz)
        tape.close(3.0)
        row = await here.row()
    assert rate_hz(row.path) == file_hz
    assert row.seconds == 3.0
    middle = heard(row.path)[file_hz // 2 : -file_hz // 2]
    assert np.abs(middle - np.array([CALLER, AGENT])).max() <= 2


async def test_a_call_that_ends_at_once_leaves_a_short_file_and_a_silent_one_none(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as here:
        short, silent = here.start(), here.start(uuid.uuid4())
        talk(short, 0.0, 0.1)
        short.close(0.1)
        silent.close(0.3)
        assert (await here.row()).seconds == 0.1
        await here.done()
    assert len(here.rows) == len(wavs(tmp_path)) == 1


async def test_two_calls_of_one_uuid_are_two_files(tmp_path: Path) -> None:
    """Dialplans are copied with the UUID in them."""
    async with studio(tmp_path) as here:
        tapes = [here.start() for _ in range(2)]
        for number, tape in enumerate(tapes, 1):
            talk(tape, 0.0, number)
        for number, tape in enumerate(tapes, 1):
            tape.close(number)
        later = here.start()
        talk(later, 0.0, 3.0)
        later.close(3.0)
        await until(lambda: len(here.rows) == 3)
    names = [Path(row.path).name for row in here.rows]
    assert names == [f"{CALL}.wav", f"{CALL}-2.wav", f"{CALL}-3.wav"]
    assert [len(heard(row.path)) / 8_000 for row in here.rows] == [1, 2, 3]


async def test_after_the_end_nothing_is_recorded_and_the_row_is_put_once(tmp_path: Path) -> None:
    async with studio(tmp_path) as here:
        tape = here.start()
        talk(tape, 0.0, 2.0)
        tape.close(2.0)
        tape.close(2.5)
        tape.resume()
        talk(tape, 3.0, 6.0)
        tape.pause(6.0)
        assert (await here.row()).seconds == 2.0
        await here.done()
    assert len(here.rows) == 1


async def test_calls_that_are_up_when_the_service_stops_are_finished(tmp_path: Path) -> None:
    async with studio(tmp_path) as here:
        for number in range(5):
            talk(here.start(uuid.UUID(int=number)), 0.0, 3.0)
    assert len(here.rows) == 5
    assert {row.seconds for row in here.rows} == {2.02}  # what had been handed over
    assert not list((tmp_path / "open").iterdir())


# -- what is not to be heard -----------------------------------------------------------------------


async def test_a_secret_is_silence_on_the_callers_side_alone(tmp_path: Path) -> None:
    async with studio(tmp_path) as here:
        tape = here.start()
        talk(tape, 0.0, 2.0)
        talk(tape, 2.0, 6.0, secret=True)
        talk(tape, 6.0, 8.0)
        tape.close(8.0)
        file = heard((await here.row()).path)
    assert not file[16_000:48_000, LEFT].any()
    assert seconds(file[:, LEFT], CALLER) == 4.0
    assert seconds(file[:, RIGHT], AGENT) == 8.0


async def test_a_pause_is_silence_on_both_sides_and_time_goes_on(tmp_path: Path) -> None:
    async with studio(tmp_path) as here:
        tape = here.start()
        talk(tape, 0.0, 2.5)
        tape.pause(2.5)
        talk(tape, 2.5, 6.0)
        tape.resume()
        talk(tape, 6.0, 8.0)
        tape.pause(8.0)
        tape.close(11.0)
        file = heard((await here.row()).path)
    assert file[:20_000].all()
    assert not file[20_000:48_000].any()
    assert file[48_000:64_000].all()
    assert not file[64_000:].any()
    assert len(file) == 88_000


async def test_a_transfer_that_failed_after_an_hour_is_silence_that_takes_no_room(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as here:
        tape = here.start()
        talk(tape, 0.0, 2.0)
        talk(tape, 3602.0, 3604.0)
        tape.close(3604.0)
        row = await here.row()
    file = heard(row.path)
    assert row.seconds == len(file) / 8_000 == 3604.0
    assert file[: 2 * 8_000].all()
    assert file[3602 * 8_000 :].all()
    assert not file[2 * 8_000 : 3602 * 8_000].any()
    assert os.stat(row.path).st_blocks * 512 < row.bytes / 100


# -- what is killed --------------------------------------------------------------------------------


async def test_a_file_of_a_process_that_was_killed_plays_and_is_finished_by_the_next(
    tmp_path: Path,
) -> None:
    run = [sys.executable, "-m", __name__, "call", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*run)
    try:
        await until(lambda: any(p.stat().st_size > 400_000 for p in wavs(tmp_path)))
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()

    [path] = wavs(tmp_path)
    assert path.parent.name == "open"
    before = heard(path)
    assert np.array_equal(np.unique(before, axis=0), [[CALLER, AGENT]])
    assert 44 + 4 * len(before) >= path.stat().st_size - 4 * 8_000  # but for one block

    async with studio(tmp_path) as here:
        row = await here.row()
    assert (row.call_id, row.consent) == (CALL, UNKNOWN)
    assert row.path == str(tmp_path / "2026" / "11" / "20" / f"{CALL}.wav")
    after = heard(row.path)
    assert len(after) >= len(before)
    assert (row.bytes, row.seconds) == (os.stat(row.path).st_size, len(after) / 8_000)
    assert not list((tmp_path / "open").iterdir())


async def test_files_of_a_process_that_lives_are_left_to_it(tmp_path: Path) -> None:
    async with studio(tmp_path) as first:
        tape = first.start()
        talk(tape, 0.0, 5.0)
        await first.done()
        async with studio(tmp_path) as second:
            await second.done()
        talk(tape, 5.0, 7.0)
        tape.close(7.0)
        row = await first.row()
    assert not second.rows
    assert second.recorder.lost_seconds == 0
    assert len(heard(row.path)) == 56_000


@pytest.mark.parametrize("left", [b"", b"RIFF", b"\0" * 44, b"\0" * 400])
async def test_what_was_never_a_recording_is_left_where_it_is(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "open").mkdir()
    for name in (f"2026-11-20_{CALL}.wav", "notes.txt", "other_notes.wav"):
        (tmp_path / "open" / name).write_bytes(left)
    async with studio(tmp_path) as here:
        tape = here.start(uuid.UUID(int=1))
        talk(tape, 0.0, 2.0)
        tape.close(2.0)
        await here.row()
    assert len(list((tmp_path / "open").iterdir())) == 3


# -- disks -----------------------------------------------------------------------------------------


def test_a_full_disk_costs_the_recording_and_not_the_call(tmp_path: Path) -> None:
    """One that has room again: what was said meanwhile is silence, in its place."""
    run = [sys.executable, "-m", __name__, "full", str(tmp_path)]
    told = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    assert told["warnings"] == 1
    assert 6 <= told["lost_s"] <= 8
    [path] = wavs(tmp_path)
    file = heard(path)
    assert len(file) / 8_000 == told["seconds"] == 20
    silence_s = 20 - seconds(file[:, LEFT], CALLER)
    assert silence_s == pytest.approx(told["lost_s"] - 0.5)  # half a block had room
    assert file[: 80_000 + 4_000].all()
    assert file[-16_000:].all()


def test_a_disk_that_never_had_room_leaves_no_file_and_no_row(tmp_path: Path) -> None:
    run = [sys.executable, "-m", __name__, "none", str(tmp_path)]
    told = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    assert told == {"rows": 0, "lost_s": 5.0}
    assert not wavs(tmp_path)


async def test_a_directory_that_cannot_be_used_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("in the way")
    with capture_logs() as logged:
        async with studio(tmp_path / "recordings") as here:
            tape, other = here.start(), here.start(uuid.uuid4())
            talk(tape, 0.0, 5.0)
            talk(other, 0.0, 5.0)
            other.close(5.0)
            await here.done()
            assert not here.rows
            lost_s = here.recorder.lost_seconds
            (tmp_path / "recordings").unlink()
            talk(tape, 5.0, 8.0)
            tape.close(8.0)
            row = await here.row()
    [warning] = logged
    assert (warning["log_level"], warning["reason"]) == ("warning", "File exists")
    file = heard(row.path)
    assert len(file) == 64_000
    assert np.count_nonzero(~file.any(axis=1)) / 8_000 == pytest.approx(lost_s - 5.0)
    assert file[-24_000:].all()


def held_up(go_on: threading.Event) -> None:
    """A write that takes its time."""
    assert go_on.wait(20.0)


async def test_a_disk_that_is_too_slow_costs_whole_seconds_and_no_memory(tmp_path: Path) -> None:
    go_on = threading.Event()
    with capture_logs() as logged:
        async with studio(tmp_path) as here:
            here.recorder.submit(partial(held_up, go_on))
            tape = here.start()
            talk(tape, 0.0, MAX_WAITING + 100.0)
            lost_s = here.recorder.lost_seconds
            go_on.set()
            await here.done()
            talk(tape, MAX_WAITING + 100.0, MAX_WAITING + 110.0)
            tape.close(MAX_WAITING + 110.0)
            row = await here.row()
    assert lost_s == pytest.approx(100.0, abs=5.0)
    [warning] = logged
    assert warning["reason"] == "the disk is too slow"
    file = heard(row.path)
    assert len(file) / 8_000 == MAX_WAITING + 110.0
    silent: NDArray[np.bool_] = ~(file[:, LEFT].astype(bool) | file[:, RIGHT].astype(bool))
    assert np.count_nonzero(silent) / 8_000 == pytest.approx(lost_s, abs=0.05)
    assert not silent[: (MAX_WAITING - 5) * 8_000].any()
    assert not silent[-10 * 8_000 :].any()


async def test_a_disk_that_hangs_does_not_keep_the_service_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "STOP_SECONDS", 0.1)
    go_on = threading.Event()
    with capture_logs() as logged:
        async with studio(tmp_path) as here:
            here.recorder.submit(partial(held_up, go_on))
            talk(here.start(), 0.0, 3.0)
    go_on.set()
    assert [line["reason"] for line in logged] == ["the disk does not answer"]


async def test_a_fault_in_one_recording_is_not_anothers(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with studio(tmp_path) as here:
            broken, sound = here.start(), here.start(uuid.UUID(int=1))
            talk(sound, 0.0, 2.0)
            broken.add_agent(0.0, b"odd", 8_000)
            broken.close(1.0)
            talk(sound, 2.0, 4.0)
            sound.close(4.0)
            row = await here.row()
    assert row.call_id == str(uuid.UUID(int=1))
    assert len(heard(row.path)) == 32_000
    assert {line["event"] for line in logged} == {"recording failed"}


# -- processes of their own ------------------------------------------------------------------------


async def _call(directory: Path) -> None:
    """A call that goes on for ever."""
    async with studio(directory) as here:
        tape = here.start()
        second = 0
        while True:
            talk(tape, second, second + 1)
            await here.done()
            second += 1


async def _full(directory: Path) -> None:
    """A call of 20 s; after 10.5 s the disk is full, and after 18 s it has room again."""
    with capture_logs() as logged:
        async with studio(directory) as here:
            tape = here.start()
            talk(tape, 0.0, 10.0)
            await here.done()
            room(44 + 4 * 84_000)
            talk(tape, 10.0, 18.0)
            await here.done()
            room(resource.RLIM_INFINITY)
            talk(tape, 18.0, 20.0)
            tape.close(20.0)
            row = await here.row()
    lost_s = here.recorder.lost_seconds
    print(json.dumps({"seconds": row.seconds, "lost_s": lost_s, "warnings": len(logged)}))


async def _none(directory: Path) -> None:
    """A call of 5 s, and no room for any file."""
    room(0)
    with capture_logs():
        async with studio(directory) as here:
            tape = here.start()
            talk(tape, 0.0, 5.0)
            tape.close(5.0)
    print(json.dumps({"rows": len(here.rows), "lost_s": here.recorder.lost_seconds}))


def room(size: int) -> None:
    """No file of this process gets longer."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    asyncio.run({"call": _call, "full": _full, "none": _none}[sys.argv[1]](Path(sys.argv[2])))

"""The journal's files: what is on the disk after a crash, at the bound, between two processes."""

import errno
import os
import time
from pathlib import Path

import pytest

from audiosocket_agent.records import segments
from audiosocket_agent.records.segments import Segments


def lines(*numbers: int) -> list[bytes]:
    return [b"line %d\n" % number for number in numbers]


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


@pytest.fixture
def journal(directory: Path) -> Segments:
    journal = Segments(directory)
    with journal.locked():
        pass
    return journal


def test_lines_come_back_in_order_and_are_gone_when_they_are_taken(
    journal: Segments, directory: Path
) -> None:
    journal.append(lines(1, 2))
    journal.append(lines(3))
    assert journal.read(2) == lines(1, 2)
    assert journal.read(2) == lines(1, 2)  # not taken yet
    assert not journal.taken()
    journal.append(lines(4))
    assert journal.read(2) == lines(3, 4)
    assert journal.taken()
    assert journal.read(2) == []
    assert files(directory) == []


def test_who_starts_anew_begins_with_the_oldest(journal: Segments, directory: Path) -> None:
    journal.append(lines(1, 2, 3))
    journal.read(1)
    journal.taken()
    assert Segments(directory).read(9) == lines(1, 2, 3)


def test_a_torn_line_does_not_spoil_the_next(journal: Segments, directory: Path) -> None:
    journal.append([b"line 1\n", b"lin"])
    journal.append(lines(3))
    assert journal.read(9) == [b"line 1\n", b"lin\n", b"line 3\n"]


def test_a_full_disk_leaves_nothing_half(
    journal: Segments, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(lines(1))

    def no_space(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            journal.append(lines(2))
    journal.append(lines(3))
    assert journal.read(9) == lines(1, 3)


def test_lines_are_in_segments_and_the_oldest_go_at_the_bound(directory: Path) -> None:
    journal = Segments(directory, segment_bytes=20, max_bytes=60)
    with journal.locked():
        lost = [journal.append(lines(number)) for number in range(1, 9)]  # two lines of 7 in each
    assert lost == [0] * 8
    assert len(files(directory)) == 4
    assert journal.append(lines(9)) == 2
    assert journal.read(9) == lines(3, 4)
    assert journal.read(1) == lines(3)
    assert not journal.taken()
    assert journal.append(lines(10)) == 0
    assert journal.append(lines(11)) == 1  # of the oldest one has been taken
    assert journal.read(9) == lines(5, 6)


def test_a_segment_that_another_process_took_is_not_missed(
    journal: Segments, directory: Path
) -> None:
    journal.append(lines(1, 2))
    assert journal.read(1) == lines(1)
    journal.taken()
    other = Segments(directory)
    assert other.read(9) == lines(1, 2)
    assert other.taken()
    journal.append(lines(3))
    assert journal.read(9) == lines(3)


def test_a_clock_that_was_set_back_changes_no_order(
    journal: Segments, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Segments(directory, segment_bytes=1)
    small.append(lines(1))
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    small.append(lines(2))
    small.append(lines(3))
    assert [file.read_bytes() for file in files(directory)] == lines(1, 2, 3)


def test_one_process_at_a_time(
    journal: Segments, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LOCK_SECONDS", 0.05)
    other = Segments(directory)
    with other.locked(), pytest.raises(TimeoutError), journal.locked():
        pass
    with journal.locked():
        pass


def test_nobody_else_may_read(journal: Segments, directory: Path) -> None:
    journal.append(lines(1))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}

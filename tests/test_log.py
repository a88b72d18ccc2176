"""Logs: what a line says, what it never says, and that writing it stops nobody."""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import uuid
from collections.abc import Iterator
from logging.handlers import QueueListener
from pathlib import Path
from typing import Any

import pytest
import structlog

from audiosocket_agent import log
from audiosocket_agent.errors import StartError

NAME = "audiosocket_agent.test"
OURS = logging.getLogger("audiosocket_agent")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, OURS.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    OURS.setLevel(before[2])
    structlog.reset_defaults()


def end(listener: QueueListener) -> None:
    listener.stop()
    for handler in listener.handlers:
        handler.close()


@contextlib.contextmanager
def logging_to(file: Path, level: str = "INFO") -> Iterator[log.Log]:
    listener = log.start(level, file)
    try:
        yield log.get(NAME)
    finally:
        end(listener)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


# -- a line ----------------------------------------------------------------------------------------


def test_a_line_is_an_event_and_its_fields(tmp_path: Path) -> None:
    file, call = tmp_path / "agent.log", uuid.uuid4()
    with logging_to(file) as logger:
        logger.info(
            "call ended", call=call, outcome="caller_hangup", duration_s=1.5, peer="ü\n\x00"
        )
    [line] = lines(file)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "event": "call ended",
        "level": "info",
        "logger": NAME,
        "call": str(call),
        "outcome": "caller_hangup",
        "duration_s": 1.5,
        "peer": "ü\n\x00",
    }
    assert file.read_text("utf-8").count("\n") == 1


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_the_level_is_ours(tmp_path: Path, level: str, written: list[str]) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file, level) as logger:
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("x")
    assert [line["level"] for line in lines(file)] == written


def test_of_libraries_only_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file, "DEBUG"):
        logging.getLogger("websockets.client").info("connection open")
        logging.getLogger("asyncio").warning("Executing %s took %.1f s", "<Task>", 0.2)
    [line] = lines(file)
    assert (line["event"], line["logger"], line["level"]) == (
        "Executing <Task> took 0.2 s",
        "asyncio",
        "warning",
    )


def fault(logger: log.Log) -> None:
    transcript = "my card is 4111"
    try:
        raise ValueError("a fault of ours")
    except ValueError:
        logger.exception("call failed")
    assert transcript


def test_a_fault_is_logged_with_its_traceback_and_without_its_variables(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file) as logger:
        fault(logger)
    [line] = lines(file)
    assert line["event"] == "call failed"
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: a fault of ours")
    assert "4111" not in line["exception"]


def test_a_terminal_gets_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        listener = log.start("INFO")
        log.get(NAME).info("call started", peer="192.0.2.7")
        fault(log.get(NAME))
        listener.stop()
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the terminal is closed, and all of it is read
        while data := os.read(master, 4_096):
            shown += data
    os.close(master)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert re.search(r"\[info +\] call started +\[audiosocket_agent.test\] peer=192.0.2.7", plain)
    assert "ValueError: a fault of ours" in plain
    assert "4111" not in plain  # variables hold what callers say
    assert "{" not in plain


def test_without_a_terminal_standard_error_gets_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listener = log.start("INFO")
    log.get(NAME).info("ready")
    listener.stop()
    assert json.loads(capsys.readouterr().err)["event"] == "ready"


# -- what nobody is to read ------------------------------------------------------------------------

NUMBER = "+91 98765 43210"
KEY = "AIzaSyA1234567890abcdefghijk"


class Odd:
    """Something that a line is given as it is."""

    def __str__(self) -> str:
        return f"caller {NUMBER}"


class Broken:
    def __str__(self) -> str:
        raise ValueError(NUMBER)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_numbers_and_keys_are_masked_in_every_text_of_a_line(tmp_path: Path, level: str) -> None:
    file, call = tmp_path / "agent.log", uuid.uuid4()
    with logging_to(file, "DEBUG") as logger:
        getattr(logger.bind(call=str(call), bound=NUMBER), level)(
            f"{NUMBER} calls",
            facts={"caller": NUMBER, "list": [NUMBER, {"key": KEY}], NUMBER: 1},
            odd=Odd(),
            port=50_000,
            bytes=12_345_678,
            seconds=0.123456789,
        )
    [line] = lines(file)
    assert NUMBER not in str(line)
    assert line["facts"] == {"caller": "***10", "list": ["***10", {"key": "***"}], "***10": 1}
    assert (line["event"], line["bound"], line["odd"]) == ("***10 calls", "***10", "caller ***10")
    assert (line["call"], line["port"]) == (str(call), 50_000)
    assert (line["bytes"], line["seconds"]) == (12_345_678, 0.123456789)


def test_of_what_is_being_said_no_digit_is_written(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file, "DEBUG") as logger:
        for piece in ("my number is 987", " 65 four", " three, thanks"):
            logger.debug("transcript", text=piece)
    assert [line["text"] for line in lines(file)] == ["my number is ***", " ***", " ***, thanks"]


def test_faults_and_libraries_are_masked_too(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file) as logger:
        try:
            raise ValueError(f"no customer {NUMBER}, password={KEY}")
        except ValueError:
            logger.exception("call failed")
            logging.getLogger("acme").exception("not found: %s with Bearer %s", NUMBER, KEY)
    text = file.read_text("utf-8")
    assert "43210" not in text
    assert KEY not in text
    ours, theirs = lines(file)
    assert ours["exception"].endswith("ValueError: no customer ***10, password=***")
    assert theirs["event"] == "not found: ***10 with ***"
    assert theirs["exception"] == ours["exception"]


def test_a_line_that_cannot_be_written_tells_nothing_of_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file) as logger:
        logging.getLogger("acme").error("%d callers", NUMBER)
        logger.info("x", odd=Broken())
        logger.info("later")
    assert [line["event"] for line in lines(file)] == [
        "a line of acme could not be written: TypeError",
        f"a line of {NAME} could not be written: ValueError",
        "later",
    ]
    assert capsys.readouterr().err == ""


# -- the file --------------------------------------------------------------------------------------


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    for number in range(2):
        with logging_to(file) as logger:
            logger.info("ready", number=number)
    assert [line["number"] for line in lines(file)] == [0, 1]


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """As logrotate does."""
    file, old = tmp_path / "agent.log", tmp_path / "agent.log.1"
    listener = log.start("INFO", file)
    log.get(NAME).info("before")
    listener.stop()
    file.rename(old)
    listener.start()
    log.get(NAME).info("after")
    end(listener)
    assert [line["event"] for line in lines(old)] == ["before"]
    assert [line["event"] for line in lines(file)] == ["after"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    handlers = logging.getLogger().handlers[:]
    with pytest.raises(StartError) as refused:
        log.start("INFO", tmp_path / "none" / "agent.log")
    assert (
        str(refused.value)
        == f"LOG_FILE {tmp_path}/none/agent.log cannot be written: No such file or directory"
    )
    assert logging.getLogger().handlers == handlers


# -- the queue -------------------------------------------------------------------------------------


def test_stop_writes_all_that_is_queued_in_order(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    with logging_to(file) as logger:
        for number in range(2_000):
            logger.info("x", number=number)
    assert [line["number"] for line in lines(file)] == list(range(2_000))


def test_a_blocked_stream_stops_nobody_and_what_was_dropped_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Standard error is a pipe that nobody reads: 64 kB fit into it, and 1000 lines into the queue."""
    monkeypatch.setattr(log, "_QUEUE_LINES", 1_000)
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        listener, logger = log.start("INFO"), log.get(NAME)
        for number in range(3_000):
            logger.info("x", number=number)  # and is back

        received = bytearray()

        def read() -> None:
            with open(reader, "rb") as stream:
                received.extend(stream.read())

        thread = threading.Thread(target=read)
        thread.start()
        listener.stop()  # the queue is full now, and is emptied first
        listener.start()
        logger.info("later")
        listener.stop()
    thread.join()
    said = [json.loads(line) for line in received.splitlines()]
    numbers = [line["number"] for line in said if line["event"] == "x"]
    dropped = [line for line in said if line["event"].endswith(" log lines were dropped")]
    assert numbers == sorted(set(numbers))
    assert sum(int(line["event"].split()[0]) for line in dropped) == 3_000 - len(numbers) > 0
    assert {line["level"] for line in dropped} == {"warning"}
    assert said[-1]["event"] == "later"

"""The default conversation, from a plan to what is printed of it."""

import asyncio
import io
import socket
import wave
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from rich.console import Console

from audiosocket_agent import wire
from audiosocket_agent.errors import StartError
from audiosocket_agent.lab.load import CallPlan, place_calls
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.story import Event
from audiosocket_agent.lab.timeline import Timeline, failure, summary
from tests.lab.test_caller_sound import write_wav
from tests.lab.tiny_agent import HOST, Agent, read_all, service, tone
from tests.virtual_time import in_virtual_time


def terminal() -> tuple[Timeline, io.StringIO]:
    shown = io.StringIO()
    return Timeline(Console(file=shown, width=60)), shown


@in_virtual_time
async def test_three_utterances_the_last_over_the_agent(tmp_path: Path) -> None:
    agent, name, out = Agent(), UUID(int=7), tmp_path / "heard.wav"
    timeline, shown = terminal()
    async with service(agent) as port:
        plan = CallPlan(port=port, uuid=name, heard=out, digits="5")
        reports = await place_calls(plan, timeline.show)
    timeline.close(reports)
    [report] = reports
    assert report.ok
    assert (agent.identities, agent.digits) == ([wire.Identity(name)], "5")
    assert report.greeting_seconds == pytest.approx(0.4, abs=0.05)
    assert [turn.response_seconds for turn in report.turns] == pytest.approx([0.6] * 3, abs=0.1)
    stops = [turn.barge_in_stop_seconds for turn in report.turns]
    assert stops == [None, None, pytest.approx(0.14, abs=0.05)]

    # About 25 s of call: 0.4 + 1.0 greeting, 0.7, 3.0 said, 0.6 + 3.0 answered, 0.7 ...
    texts = [line.split(maxsplit=1)[1] for line in shown.getvalue().splitlines()[:-2]]
    starts = [
        "first frame",
        "agent speaks (greeting, 0.4",
        "agent is done (1.0 s)",
        "caller: utterance 1 (",
        "agent answers after 0.",
        "agent is done (3.0 s)",
        "caller: utterance 2 (",
        "agent answers after 0.",
        "caller speaks over the agent (",
        "agent stops, 0.1",
        "agent answers after 0.",
        "agent is done (3.0 s)",
        "caller presses 5",
        "caller hangs up",
    ]
    assert [text[: len(start)] for text, start in zip(texts, starts, strict=True)] == starts
    numbers, verdict = shown.getvalue().splitlines()[-2:]
    assert numbers.endswith("max 20.0 ms, 0 late frames")
    assert verdict == "ok: heard both ways, answered, ended cleanly"

    # What was heard stands where it was heard.
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8_000)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(both) / 8_000 == pytest.approx(report.duration_seconds, abs=0.1)
    loud = np.abs(both.astype(int)) > 1_000
    assert np.argmax(loud[:, 1]) / 8_000 == pytest.approx(report.greeting_seconds, abs=0.05)
    said_at = report.turns[0].begins_seconds
    assert np.argmax(loud[:, 0]) / 8_000 == pytest.approx(said_at, abs=0.2)


@in_virtual_time
async def test_one_utterance_is_said_and_answered(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "one.wav", tone(1.0))
    async with service(Agent(rate_hz=24_000)) as port:
        [report] = await place_calls(CallPlan(port=port, wav=wav, rate_hz=16_000))
    assert (report.ok, report.end) == (True, End.HUNG_UP)
    assert (report.rate_hz, report.heard_rate_hz) == (16_000, 24_000)
    [turn] = report.turns
    assert turn.response_seconds == pytest.approx(0.6, abs=0.1)
    assert turn.barge_in_stop_seconds is None


@in_virtual_time
async def test_an_agent_that_waits_to_be_spoken_to() -> None:
    async with service(Agent(greeting=0.0)) as port:
        [report] = await place_calls(CallPlan(port=port))
    assert report.ok
    assert report.greeting_seconds is None
    assert report.turns[0].begins_seconds == pytest.approx(5.0, abs=0.3)


@in_virtual_time
async def test_an_agent_that_ends_the_call_itself() -> None:
    async with service(Agent(answers=1)) as port:
        [report] = await place_calls(CallPlan(port=port))
    assert (report.ok, report.end, len(report.turns)) == (True, End.FINISHED, 1)


@in_virtual_time
async def test_an_agent_that_does_not_stop_is_reported_as_such() -> None:
    async with service(Agent(reply=20.0, yields_after=None)) as port:
        [report] = await place_calls(CallPlan(port=port, seconds=90.0))
    assert report.turns[2].barge_in_stop_seconds is not None
    assert report.turns[2].barge_in_stop_seconds > 10.0


@in_virtual_time
async def test_a_call_has_its_time() -> None:
    async with service(Agent(greeting=100.0)) as port:
        [report] = await place_calls(CallPlan(port=port, seconds=12.0))
    assert report.duration_seconds == pytest.approx(12.0, abs=0.1)
    assert failure(report) == "the caller did not get to speak (hung_up)"


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_all(reader)


async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(wire.audio(wire.Kind.SLIN, bytes(320)) * 2 + b"\x77\x00\x00")
    await read_all(reader)


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(wire.audio(wire.Kind.SLIN, bytes(320)) * 2)
    writer.write_eof()
    await read_all(reader)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (Agent(answers=0, greeting=0.0), "no audio came (finished)"),
        (Agent(patience=1e9), "no answer was heard (hung_up)"),
        (mute, "nothing was received for 2 s"),
        (broken, "a message of kind 0x77, which Asterisk does not take"),
        (gone, "the caller did not get to speak (closed)"),
    ],
)
@in_virtual_time
async def test_why_a_call_failed(handler: Agent, why: str) -> None:
    timeline, shown = terminal()
    async with service(handler) as port:
        reports = await place_calls(CallPlan(port=port))
    timeline.close(reports)
    assert shown.getvalue().splitlines()[-1] == f"failed: {why}"
    assert not reports[0].ok


@in_virtual_time
async def test_where_nobody_listens() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    [report] = await place_calls(CallPlan(port=port))
    assert (report.ok, report.end) == (False, End.UNREACHED)
    assert failure(report) == f"127.0.0.1:{port}: Connection refused"


@in_virtual_time
async def test_where_connections_are_not_taken() -> None:
    with socket.create_server((HOST, 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(3):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        [report] = await place_calls(CallPlan(port=full.getsockname()[1]))
    assert report.end is End.UNREACHED
    assert failure(report).endswith("no connection within 2 s")


@in_virtual_time
async def test_a_wrong_file_is_said_before_anything_is_called(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"none\.wav"):
        await place_calls(CallPlan(port=1, wav=tmp_path / "none.wav"))
    async with service(Agent()) as port:
        plan = CallPlan(port=port, heard=tmp_path / "no" / "out.wav")
        with pytest.raises(StartError, match=r"out\.wav"):
            await place_calls(plan)


@in_virtual_time
async def test_many_calls_are_summed_up() -> None:
    events: list[Event] = []
    timeline, shown = terminal()
    async with service(Agent()) as port:
        reports = await place_calls(CallPlan(port=port, calls=5), events.append)
    assert events == []  # nobody could read the lines of five calls
    assert len({report.uuid for report in reports}) == 5
    values = summary(reports)
    assert [len(values[name]) for name in ("greeting", "response", "barge-in stop")] == [5, 15, 5]
    timeline.close(reports)
    lines = shown.getvalue().splitlines()
    assert lines[0].split()[-5:] == ["n", "min", "median", "p99", "max"]
    assert ["barge-in", "stop", "5"] in [line.split()[:3] for line in lines]
    assert lines[-1] == "5 of 5 calls ok, 0 late frames"


@in_virtual_time
async def test_many_calls_that_failed_are_counted_by_reason() -> None:
    timeline, shown = terminal()
    async with service(gone) as port:
        reports = await place_calls(CallPlan(port=port, calls=3))
    timeline.close([*reports, replace(reports[0], late_payloads=2, error="no route")])
    lines = shown.getvalue().splitlines()
    assert lines[-3:] == [
        "0 of 4 calls ok, 0 late frames, 2 payloads in parts > 5 ms apart",
        "3 failed: the caller did not get to speak (closed)",
        "1 failed: no route",
    ]

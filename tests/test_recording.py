"""Whole calls on tape: both sides as they were heard, what is not to be heard, and disks that fail.

The calls are virtual, the disk is real: what is on the tape is compared with what the caller heard and
said, sample by sample.
"""

import asyncio
import contextlib
import threading
import uuid
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from audiosocket_agent import archive as archive_module
from audiosocket_agent import config
from audiosocket_agent.archive import archive
from audiosocket_agent.call.info import NOTHING_KNOWN
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.ledger import Book
from audiosocket_agent.metrics import PREFIX, Metrics
from audiosocket_agent.model import base
from audiosocket_agent.plan import briefing
from audiosocket_agent.records import erase, listing
from audiosocket_agent.records import recorder as recorder_module
from audiosocket_agent.records.recorder import Recorder
from audiosocket_agent.records.rows import Recording, Row
from audiosocket_agent.records.store import Store
from audiosocket_agent.settings import Records, Settings
from audiosocket_agent.sounds import Pcm, Tones
from audiosocket_agent.tools.builtin import COLLECT_DIGITS, transfer_call
from tests.house import HOST, PLAN, House, house
from tests.records.conftest import until
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

RATE_HZ: Final = 8_000
FRAME: Final = 0.020
UTTERANCE: Final = read_utterances(SHIPPED_CALLER, RATE_HZ)[0]  # 2.9 s of speech
CALL: Final = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0003")
SALES: Final = Target("sales", "2001", "orders")

Samples = NDArray[np.int16]


@dataclass
class Taped:
    """A service that records, and the rows of its recordings."""

    house: House
    recorder: Recorder
    rows: list[Row]

    def call(self) -> Any:
        return self.house.call(uuid=CALL)

    @property
    def recordings(self) -> list[Recording]:
        return [row for row in self.rows if isinstance(row, Recording)]


@contextlib.asynccontextmanager
async def taped(
    directory: Path, model: ScriptedModel, recording: str = "dialplan", **plan: Any
) -> AsyncIterator[Taped]:
    """The service, for as long as the block lasts; then all is on the disk."""
    rows: list[Row] = []
    async with Recorder(directory, rows.append) as recorder:
        book = Book(rows.append, recorder=recorder)
        async with house(model, book=book, recording=recording, **plan) as service:
            yield Taped(service, recorder, rows)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk's time is real: no virtual seconds are long enough for it."""
    monkeypatch.setattr(recorder_module, "STOP_SECONDS", None)


def sides(service: Taped) -> tuple[Samples, Samples]:
    """The caller and the agent, of the only call."""
    [row] = service.recordings
    with wave.open(row.path, "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, RATE_HZ)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(both) / RATE_HZ == row.seconds
    return both[:, 0], both[:, 1]


def files(directory: Path) -> list[Path]:
    return list(directory.rglob("*.wav"))


def heard_by(call: Call) -> Samples:
    return np.frombuffer(call.heard, "<i2")


def sounding(side: Samples) -> Samples:
    """Without the silence before and after."""
    loud = np.flatnonzero(side)
    return side[loud[0] : loud[-1] + 1]


def second(side: Samples, begin: float, end: float) -> Samples:
    return side[round(begin * RATE_HZ) : round(end * RATE_HZ)]


async def long_reply(model: Puppet) -> None:
    """Ten seconds at once, as models do that are faster than real time."""
    model.say(tone(10.0))
    model.tell(base.GenerationEnded())


async def questions_and_answers(model: Puppet) -> None:
    for _ in range(3):
        model.say(tone(1.0, 700))
        model.turn_ends()
        await asyncio.sleep(4.0)


# -- what is on it ---------------------------------------------------------------------------------


@in_virtual_time
async def test_both_sides_are_on_the_tape_sample_by_sample(tmp_path: Path) -> None:
    async with taped(tmp_path, ScriptedModel(questions_and_answers)) as service:
        async with service.call() as call:
            await call.passes(1.5)
            said = call.say(UTTERANCE)
            await call.said()
            await call.passes(6.0)
    caller, agent = sides(service)
    assert np.array_equal(sounding(agent), sounding(heard_by(call)))
    spoken = sounding(np.frombuffer(UTTERANCE, "<i2"))
    assert np.array_equal(sounding(caller), spoken)
    # each side where it was: to a frame, and to what a socket takes
    onset = np.flatnonzero(caller)[0] / RATE_HZ
    assert onset == pytest.approx(said.begins, abs=2 * FRAME)
    greeted = np.flatnonzero(agent)[0] / RATE_HZ
    first_heard = next(frame.at for frame in call.frames if frame.audible)
    assert greeted == pytest.approx(first_heard, abs=2 * FRAME)
    [row] = service.recordings
    assert (row.call_id, row.consent) == (str(CALL), "dialplan")
    assert row.seconds == pytest.approx(call.now, abs=2 * FRAME)


@in_virtual_time
async def test_what_an_interruption_has_cut_off_is_not_on_the_tape(tmp_path: Path) -> None:
    async with taped(tmp_path, ScriptedModel(long_reply)) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(2.0)
        call.say(UTTERANCE)
        await call.said()
        await call.passes(3.0)
        assert service.house.metric("barge_ins_total", result="confirmed") == 1
    caller, agent = sides(service)
    assert np.array_equal(sounding(agent), sounding(heard_by(call)))
    assert len(sounding(agent)) / RATE_HZ < 2.3  # of ten
    assert np.array_equal(sounding(caller), sounding(np.frombuffer(UTTERANCE, "<i2")))


# -- where the agent is to tell of it ---------------------------------------------------------------


@in_virtual_time
async def test_the_tape_begins_when_the_notice_has_been_heard(tmp_path: Path) -> None:
    async with taped(tmp_path, ScriptedModel(questions_and_answers), "notice") as service:
        async with service.call() as call:
            await call.agent_speaks()
            await call.agent_silent(0.5)
            call.say(UTTERANCE)
            await call.said()
            await call.passes(5.0)
    caller, agent = sides(service)
    [row] = service.recordings
    assert row.consent == "notice"
    assert row.seconds == pytest.approx(call.now, abs=2 * FRAME)  # second 0 is the call's
    assert not second(agent, 0.0, 0.9).any()
    assert second(agent, 8.1, 8.9).any()
    assert np.array_equal(sounding(caller), sounding(np.frombuffer(UTTERANCE, "<i2")))


@in_virtual_time
async def test_whoever_speaks_over_the_notice_has_heard_it(tmp_path: Path) -> None:
    async with taped(tmp_path, ScriptedModel(long_reply), "notice") as service:
        async with service.call() as call:
            await call.agent_speaks()
            await call.passes(2.0)
            call.say(UTTERANCE)
            await call.said()
            await call.passes(1.0)
            assert service.house.metric("barge_ins_total", result="confirmed") == 1
    caller, agent = sides(service)
    assert [row.consent for row in service.recordings] == ["notice"]
    assert caller.any()
    assert not agent.any()


async def _fails(model: Puppet) -> None:
    model.fails()


async def _says_nothing(model: Puppet) -> None:
    model.tell(base.GenerationEnded())


class _Apology(Tones):
    def apology(self, language: str) -> Pcm:
        return Pcm(tone(1.0), 24_000)


@pytest.mark.parametrize(
    ("script", "seconds"), [(_fails, 1.1), (_says_nothing, 5.0), (long_reply, 0.2)]
)
@in_virtual_time
async def test_of_a_caller_who_was_told_nothing_there_is_no_tape(
    tmp_path: Path, script: Callable[[Puppet], Awaitable[None]], seconds: float
) -> None:
    model = ScriptedModel(script)
    async with taped(tmp_path, model, "notice", sounds=_Apology()) as service:
        async with service.call() as call:
            call.say(UTTERANCE)
            await call.passes(seconds)
    assert service.recordings == []
    assert not files(tmp_path)


# -- what is not to be heard -----------------------------------------------------------------------


@in_virtual_time
async def test_a_secret_that_is_said_aloud_is_silence(tmp_path: Path) -> None:
    async def ask(model: Puppet) -> None:
        await asyncio.sleep(4.0)
        model.say(tone(1.0))  # "Please enter ..."
        model.tell(base.ToolCall("1", "collect_digits", {"max": 4, "secret": True}))
        model.turn_ends()

    model = ScriptedModel(ask)
    async with taped(tmp_path, model, tools=(COLLECT_DIGITS,)) as service:
        async with service.call() as call:
            call.say(UTTERANCE)
            await call.agent_speaks()
            await call.passes(0.5)
            call.say(UTTERANCE)  # the digits, read aloud
            await call.said()
            call.press("4711")
            await call.passes(2.0)
            assert model.puppet.results
            told = call.now
            call.say(UTTERANCE)
            await call.said()
            await call.passes(1.0)
    caller, agent = sides(service)
    assert second(caller, 0.0, 3.5).any()
    assert not second(caller, 4.1, told).any()
    assert second(caller, told, told + 3.0).any()
    assert np.array_equal(sounding(agent), sounding(heard_by(call)))


@in_virtual_time
async def test_a_transfer_that_failed_is_one_file_with_silence_for_the_ringing(
    tmp_path: Path,
) -> None:
    async def pass_on(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "transfer_call", {"target": "sales", "reason": "a price"}))
        model.say(tone(1.0))  # "I put you through."
        model.turn_ends()
        await model.told.wait()
        model.say(tone(2.0))  # "They cannot take you now."
        model.turn_ends()

    how: dict[str, Any] = {"tools": (transfer_call([SALES]),), "targets": {"sales": SALES}}
    async with taped(tmp_path, ScriptedModel(pass_on), **how) as service:
        async with service.call() as first:
            await first.ended()
        away = first.now
        await asyncio.sleep(20.0)  # a phone rings
        step = service.house.server.next_step(CALL, HOST, "NOANSWER")
        assert step is not None
        assert step.action.value == "again"
        async with service.call() as again:
            await again.agent_speaks()
            again.say(UTTERANCE)
            await again.said()
            await again.agent_silent(1.0)
    caller, agent = sides(service)
    back = away + 20.0
    assert np.array_equal(sounding(second(agent, 0.0, away)), sounding(heard_by(first)))
    assert not second(agent, away, back).any()
    assert np.array_equal(sounding(second(agent, back, 60.0)), sounding(heard_by(again)))
    assert not second(caller, 0.0, back).any()
    assert np.array_equal(sounding(caller), sounding(np.frombuffer(UTTERANCE, "<i2")))


@in_virtual_time
async def test_an_agent_whose_file_says_nothing_of_it_is_not_recorded(tmp_path: Path) -> None:
    async with taped(tmp_path, ScriptedModel(long_reply), recording="") as service:
        async with service.call() as call:
            await call.passes(3.0)
    assert service.recordings == []
    assert not files(tmp_path)


def test_whoever_is_told_of_a_caller_is_not_recorded() -> None:
    agent = replace(PLAN, recording="dialplan")
    assert briefing(agent, SALES, "a price", NOTHING_KNOWN).recording == ""


# -- disks -----------------------------------------------------------------------------------------


async def _undisturbed(service: Taped) -> None:
    """A call as if nothing was wrong: 50 frames a second, and the reply whole."""
    async with service.call() as call:
        await call.passes(12.0)
        assert len(call.frames) == pytest.approx(12.0 / FRAME, abs=1)
        assert len(sounding(heard_by(call))) / RATE_HZ == pytest.approx(10.0, abs=FRAME)
    await service.house.is_empty()


@in_virtual_time
async def test_a_directory_that_cannot_be_used_costs_the_recording_and_not_the_call(
    tmp_path: Path,
) -> None:
    (tmp_path / "in the way").touch()
    directory = tmp_path / "in the way"
    async with taped(directory, ScriptedModel(long_reply)) as service:
        await _undisturbed(service)
    assert service.recordings == []
    assert service.recorder.lost_seconds == pytest.approx(12.0, abs=1.1)


@in_virtual_time
async def test_a_disk_that_hangs_holds_no_call_up(tmp_path: Path) -> None:
    go_on = threading.Event()
    async with taped(tmp_path, ScriptedModel(long_reply)) as service:
        service.recorder.submit(partial(go_on.wait, 60.0))
        await _undisturbed(service)
        assert not files(tmp_path)
        go_on.set()
    _, agent = sides(service)
    assert len(sounding(agent)) / RATE_HZ == pytest.approx(10.0, abs=FRAME)


# -- the running service's records -----------------------------------------------------------------


def settings(directory: Path) -> Settings:
    return Settings(enable_call_recording=True, records=Records(recordings=directory))


async def test_a_recording_is_in_the_records_and_gone_when_its_call_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    kept = tmp_path / "kept"
    async with archive(settings(kept), Metrics()) as records:
        model = ScriptedModel(long_reply)
        async with house(model, book=records.book, recording="dialplan") as service:
            async with service.call(uuid=CALL) as call:
                await call.passes(0.5)
    async with Store(config.database_url(Settings())) as store:
        record = await listing.call(store, str(CALL))
        assert record is not None
        [recording] = record.recordings
        [file] = files(kept)
        assert (recording.path, recording.consent) == (str(file), "dialplan")
        assert recording.bytes == file.stat().st_size
        assert file.stat().st_mode & 0o777 == 0o600
        erased = await erase.forget_call(store, config.journal_directory(Settings()), str(CALL))
        assert (erased.calls, erased.recordings) == (1, 1)
    assert not files(kept)


async def test_what_found_no_disk_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(archive_module, "LOOK_SECONDS", 0.02)
    (tmp_path / "kept").write_text("in the way")
    metrics = Metrics()

    def lost_s() -> float:
        name = f"{PREFIX}recording_lost_seconds_total"
        return metrics.registry.get_sample_value(name) or 0.0

    async with archive(settings(tmp_path / "kept"), metrics) as records:
        assert records.book.recorder is not None
        model = ScriptedModel(long_reply)
        async with house(model, book=records.book, recording="dialplan") as service:
            async with service.call() as call:
                await call.passes(0.5)
            await until(lambda: lost_s() > 0)
    assert lost_s() == pytest.approx(0.5, abs=0.2)


async def test_where_recording_is_off_nothing_is_made_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    async with archive(Settings(), Metrics()) as records:
        assert records.book.recorder is None
    assert not (tmp_path / "recordings").exists()

"""The service is killed in the middle of a call, and the call goes on.

A pretend Asterisk does what the shipped dialplan does: AudioSocket, then FastAGI `next`, until somebody
answers; everything else is real: processes, sockets, databases, google-genai.
"""

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from audiosocket_agent import wire
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.call.summary import Summary
from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.simulator import (
    Behaviour,
    Exchange,
    Line,
    Pcm,
    SessionRecord,
    Simulator,
    Use,
)
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.ledger import Book
from audiosocket_agent.model import base
from audiosocket_agent.model.base import Said
from audiosocket_agent.overload import Overload
from audiosocket_agent.plan import BACK, TRANSFER_FAILED
from audiosocket_agent.records import listing, schema
from audiosocket_agent.records.listing import CallRecord
from audiosocket_agent.records.rows import LOST, Alive, Gone, Lost, Row, Turn
from audiosocket_agent.records.rows import Call as RecordedCall
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import Writer
from audiosocket_agent.survival import (
    MAX_LIVES,
    MAX_SAID_CHARS,
    REFRESH_S,
    WRITE_S,
    Figures,
    Life,
    Lives,
)
from audiosocket_agent.tools.audit import Used, UseOutcome
from tests.agi.dialplan import FACTS, agi
from tests.house import PLAN, House, house
from tests.pbx.asterisk import free_port
from tests.records.conftest import (  # noqa: F401 - fixtures
    Database,
    cluster,
    database,
    until,
)
from tests.scripted import Puppet, ScriptedModel, tone
from tests.serving import HOST, Service, serving
from tests.virtual_time import in_virtual_time

CALL: Final = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a00aa")
CALLER: Final = "+919812345670"
UTTERANCE: Final = read_utterances(SHIPPED_CALLER, 8_000)[0]

FRAME: Final = 0.020
WAIT_S: Final = 0.3
PATIENCE_S: Final = 15.0
BEYOND_RESTART_S: Final = 1.5

AGENT: Final = """\
instructions = "Be brief."
sees = ["caller", "ORDER"]
tools = ["create_ticket", "transfer_call", "end_call"]

[targets.sales]
extension = "2001"
"""


def speech(seconds: float, hertz: float) -> Pcm:
    return Pcm(tone(seconds, hertz), 24_000)


GREETING, REPLY, LONG = speech(0.6, 440.0), speech(0.8, 600.0), speech(6.0, 500.0)
TICKET: Final = Use("create_ticket", {"subject": "no power", "details": "since noon"})
TALK: Final = Behaviour(
    think_seconds=0.05,
    connect_delay_seconds=0.02,
    greeting=GREETING,
    greeting_words="Hello.",
    reply=REPLY,
    reply_words="Noted.",
    script=(Exchange("My order is 4711.", (TICKET, Line(REPLY, "Your ticket is made."))),),
)
MID_SENTENCE: Final = replace(
    TALK, script=(Exchange("My order is 4711.", (TICKET, Line(LONG, "It is noted, and so on"))),)
)
TRANSFERS: Final = replace(
    TALK,
    script=(Exchange("Sales.", (Use("transfer_call", {"target": "sales", "reason": "a price"}),)),),
)


class World:
    """One PBX, one model, one database; processes come and go."""

    def __init__(self, records: Database, simulator: Simulator, state: Path) -> None:
        self.database = records
        self.simulator = simulator
        self.state = state
        self.ports = {"AUDIOSOCKET_PORT": "0", "FASTAGI_PORT": "0"}
        self.agi_port = self.port = 0
        self.service: Service
        self.killed_at = self.back_at = 0.0
        self._life = AsyncExitStack()

    async def start(self, **settings: str) -> None:
        """A process, on the ports of the one before."""
        own = {
            "DATABASE_URL": self.database.url,
            "STATE_DIRECTORY": str(self.state),
            "CONTROL_SOCKET": str(self.state / "control.sock"),
            "AGENTS_DIRECTORY": str(self.state / "agents"),
            "DEFAULT_AGENT": "desk",
            "GEMINI_API_KEY": "test",
            "GOOGLE_GEMINI_BASE_URL": self.simulator.base_url,
            "SSL_CERT_FILE": str(self.simulator.ca_file),
        }
        self._life = AsyncExitStack()
        running = serving(**(own | self.ports | settings))
        self.service = await self._life.enter_async_context(running)
        ready = await self.service.logged("ready")
        self.port, self.agi_port = ready["audiosocket"], ready["fastagi"]
        self.ports = {"AUDIOSOCKET_PORT": str(self.port), "FASTAGI_PORT": str(self.agi_port)}
        self.back_at = now()

    async def kill(self) -> None:
        self.service.signal(signal.SIGKILL)
        self.killed_at = now()
        await self.service.exit_code()
        await self._life.aclose()

    @property
    def sessions(self) -> list[SessionRecord]:
        """The model's, of calls; there may be others, in which phrases are made."""
        return [each for each in self.simulator.sessions if each.setup and "tools" in each.setup]

    async def stop(self) -> None:
        await self._life.aclose()

    async def rows(self, table: Any) -> int:
        async with Store(self.database.url) as store, store.reading() as connection:
            return int(
                (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            )

    async def row(self) -> dict[str, Any] | None:
        """Of the call, among those that are up."""
        async with Store(self.database.url) as store, store.reading() as connection:
            found = (await connection.execute(select(schema.live))).mappings().first()
            return dict(found) if found else None

    async def record(self, outcome: str) -> CallRecord:
        """The call, once it has ended so."""
        async with Store(self.database.url) as store, asyncio.timeout(10.0):
            while True:
                found = await listing.call(store, str(CALL))
                if found is not None and found.call.outcome == outcome:
                    return found
                await asyncio.sleep(0.05)

    # -- the dialplan --------------------------------------------------------------------------

    async def open(self) -> None:
        facts = FACTS | {"agi_callerid": CALLER}
        told = await agi(self.agi_port, f"open?uuid={CALL}&ORDER=4711", facts)
        assert told["AGENT_STATUS"] == "OK"

    def call(self) -> Any:
        return Call.connect(HOST, self.port, uuid=CALL)

    async def next(self, status: str = "") -> dict[str, str]:
        """Ask until somebody answers, as the dialplan does."""
        question = f"next?uuid={CALL}" + (f"&status={status}" if status else "")
        until_s = now() + PATIENCE_S
        while True:
            try:
                answer = await agi(self.agi_port, question)
                if "AGENT_NEXT" in answer:
                    return answer
            except OSError:
                pass
            assert now() < until_s
            await asyncio.sleep(WAIT_S)

    async def comes_back(self, **settings: str) -> dict[str, str]:
        """The dialplan asks while a new process starts; returns its answer."""
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(self.next())
            await self.start(**settings)
        return asked.result()


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def world(
    database: Database,  # noqa: F811 - the fixture's value
    state: Path,
    behaviour: Behaviour = TALK,
    **settings: str,
) -> AsyncIterator[World]:
    agents = state / "agents"
    agents.mkdir()
    (agents / "desk.toml").write_text(AGENT)
    async with Simulator(behaviour) as simulator:
        the_world = World(database, simulator, state)
        await the_world.start(**settings)
        try:
            yield the_world
        finally:
            await the_world.stop()


async def asks(call: Call) -> None:
    """After the greeting: the caller says something."""
    await call.agent_speaks()
    await call.agent_silent(0.4)
    call.say(UTTERANCE)
    await call.said()


async def until_cut(call: Call) -> None:
    with pytest.raises(CallOver):
        await call.agent_silent(99.0, timeout=20.0)


# -- it goes on --------------------------------------------------------------------------------------


async def test_a_call_goes_on_after_its_process_was_killed_and_the_agent_remembers(
    database: Database,  # noqa: F811
    tmp_path: Path,
    record_property: Any,
) -> None:
    async with world(database, tmp_path) as w:
        await w.open()
        async with w.call() as call:
            await asks(call)
            await call.agent_speaks()
            await call.agent_silent(0.8)  # the model's handle for it is there
            given = w.sessions[0].handles
            row = await w.row()
            assert row is not None
            assert row["handle"] == given[-1]
            assert (row["caller"], json.loads(row["notes"])["variables"]) == (
                CALLER,
                {"ORDER": "4711"},
            )
            assert ["caller", "My order is 4711.", True] in json.loads(row["said"])
            await w.kill()
            with pytest.raises((CallOver, TimeoutError)):
                await call.agent_speaks(3.0)

        told = await w.comes_back()
        assert (told["AGENT_NEXT"], told["AGENT_ADDRESS"]) == ("again", f"{HOST}:{w.port}")
        async with w.call() as call:
            connected_at = now()
            heard_at = connected_at + await call.agent_speaks()
            silence_s = heard_at - w.killed_at
            restart_s = w.back_at - w.killed_at
            record_property("silence_s", silence_s)
            record_property("beyond_restart_s", silence_s - restart_s)
            print(
                f"silence {silence_s:.2f} s: restart {restart_s:.2f} + {silence_s - restart_s:.2f}"
            )
            assert silence_s <= restart_s + BEYOND_RESTART_S
            first, second = w.sessions
            assert second.resumed
            assert second.setup is not None
            assert second.setup["sessionResumption"]["handle"] == given[-1]
            assert BACK in str(second.contents) + str(second.texts)
            await call.agent_silent(0.5)
            call.say(UTTERANCE)
            await call.said()
            await call.agent_speaks()
            await call.agent_silent(0.5)
        assert not first.resumed
        found = await w.record("caller_hangup")
        assert [turn.n for turn in found.turns] == list(range(1, len(found.turns) + 1))
        assert len(found.tickets) == len(found.tool_uses) == 1
        assert found.call.turns == 4  # heard by the caller: greeting, ticket, back, reply
        assert found.call.caller == CALLER
        assert await w.rows(schema.calls) == 1
        await until_gone(w)


async def test_a_ticket_that_the_model_knows_nothing_of_is_not_made_twice(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    """It is killed in the sentence that tells of the ticket: the handle is older than both."""
    async with world(database, tmp_path, MID_SENTENCE) as w:
        await w.open()
        async with w.call() as call:
            await asks(call)
            await call.agent_speaks()
            await call.passes(1.0)
            await w.kill()
            await until_cut(call)
        assert (await w.comes_back())["AGENT_NEXT"] == "again"
        async with w.call() as call:
            await call.agent_speaks()
            await call.agent_silent(0.5)
            [_, second] = w.sessions
            told = json.dumps(second.setup)
            assert "My order is 4711." in told  # what came after the handle
            assert "create_ticket({" in told
            call.say(UTTERANCE)  # the model has not heard it, and is asked again
            await call.said()
            await call.agent_speaks()
            await call.passes(1.0)
        found = await w.record("caller_hangup")
        assert [use.tool for use in found.tool_uses] == ["create_ticket"] * 2
        [ticket] = found.tickets
        [again] = [response["response"] for response in second.tool_responses]
        assert again["number"] == ticket.number
        assert [turn.n for turn in found.turns] == list(range(1, len(found.turns) + 1))


async def test_another_instance_takes_over_and_without_words_there_is_the_handle(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with world(database, tmp_path, RECORDS_TRANSCRIPTS="false") as w:
        await w.open()
        async with w.call() as call:
            await asks(call)
            await call.agent_speaks()
            await call.agent_silent(0.8)
            row = await w.row()
            assert row is not None
            assert row["handle"]
            assert row["said"] == "[]"
            await w.kill()
            await until_cut(call)
        w.ports = {"AUDIOSOCKET_PORT": str(free_port()), "FASTAGI_PORT": "0"}
        await w.start()
        told = await w.next()
        after = await w.row()
        assert after is not None
        assert (after["life"], after["instance"] != row["instance"]) == (1, True)
        assert (told["AGENT_NEXT"], told["AGENT_ADDRESS"]) == ("again", f"{HOST}:{w.port}")
        async with w.call() as call:
            await call.agent_speaks()
        assert w.sessions[1].resumed
        await w.record("caller_hangup")


async def until_gone(w: World) -> None:
    async with asyncio.timeout(5.0):
        while await w.rows(schema.live):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)


# -- what is left of a call ---------------------------------------------------------------------------


LEFT: Final[dict[str, Any]] = {
    "name": "",
    "extension": "1000",
    "direction": "inbound",
    "language": "en-IN",
    "variables": {"ORDER": "4711"},
    "agent": "receptionist",
    "rate_hz": 24_000,
    "turn": 3,
    "turns": 5,
    "usd": "0.25",
    "answered_at": "2026-11-20T12:00:01+00:00",
    "summary": Summary().kept() | {"turns": 2},
    "target": "",
    "reason": "",
    "keys": [],
}
SAID: Final = [["caller", "My order is 4711.", True], ["agent", "It is on its", False]]
SALES: Final = Target("sales", "2001", attended=True)


def left(**changed: Any) -> Alive:
    """A row that is a second old; `notes` are changed too."""
    notes = LEFT | {name: changed.pop(name) for name in set(changed) & set(LEFT)}
    then = datetime.now(UTC) - timedelta(seconds=1)
    row = Alive(
        call_id=str(CALL),
        instance="pbx:9092",
        peer=HOST,
        caller=CALLER,
        began_at=then - timedelta(minutes=2),
        written_at=then,
        handle="a-handle",
        handle_at=then,
        said=json.dumps(SAID),
        notes=json.dumps(notes),
    )
    return replace(row, **changed)


@dataclass
class Successor:
    """A process, and the records of the one before it."""

    house: House
    store: Store
    model: ScriptedModel

    async def next(self, status: str = "") -> dict[str, str]:
        question = f"next?uuid={CALL}" + (f"&status={status}" if status else "")
        return await agi(self.house.agi_port, question)

    async def ended(self) -> RecordedCall:
        return (await self.complete(str(CALL))).call

    async def complete(self, call_id: str) -> CallRecord:
        """The record of a call that is over."""
        async with asyncio.timeout(5.0):
            while True:
                found = await listing.call(self.store, call_id)
                if found is not None and found.call.outcome:
                    return found
                await asyncio.sleep(0.02)

    async def forgotten(self) -> None:
        async with asyncio.timeout(5.0):
            while await self._rows():  # noqa: ASYNC110 - a writer has no event for it
                await asyncio.sleep(0.02)

    async def _rows(self) -> int:
        async with self.store.reading() as connection:
            return len((await connection.execute(select(schema.live))).all())


async def says(model: Puppet) -> None:
    if model.setup.greeting:
        model.say(tone(0.2))
        model.turn_ends()


@pytest.fixture(autouse=True)
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for LOOK_S would decide a test here; tests/records/test_hang.py is
    about the bound."""
    monkeypatch.setattr("audiosocket_agent.server.LOOK_S", PATIENCE_S)


@asynccontextmanager
async def successor(
    database: Database,  # noqa: F811
    state: Path,
    row: Alive,
    **of_house: Any,
) -> AsyncIterator[Successor]:
    model = ScriptedModel(says)
    async with database.store() as store, Writer(store, state / "journal") as writer:
        await store.write([row], 10.0)
        lives = Lives(store, writer, "pbx:9092", text=True, mask=True)
        book = Book(writer.put, instance="pbx:9092", text=True, lives=lives)
        async with house(model, book=book, **of_house) as running:
            yield Successor(running, store, model)


async def test_what_is_left_of_a_call_is_what_it_goes_on_with(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with successor(database, tmp_path, left()) as s:
        assert (await s.next())["AGENT_NEXT"] == "again"
        async with s.house.call(uuid=CALL) as call:
            await call.agent_speaks()
            setup = s.model.puppet.setup
            assert (setup.greeting, setup.resume) == (BACK, "a-handle")
            assert setup.past == (
                Said("caller", "My order is 4711.", remembered=True),
                Said("agent", "It is on its"),
            )
            assert {wire.Kind.SLIN24} == {frame.kind for frame in call.frames if frame.audible}
            [session] = s.house.server.sessions()
            assert session.turn == 5  # after the one that began with BACK
            assert session.info.facts(["caller", "ORDER"]) == {"caller": CALLER, "ORDER": "4711"}
            await call.agent_silent(0.3)
        ended = await s.ended()
        assert (ended.outcome, ended.turns, ended.cost_usd) == ("caller_hangup", 3, Decimal("0.25"))
        assert ended.ended_at is not None
        assert (ended.ended_at - ended.started_at).total_seconds() > 120
        assert s.house.metric("calls_revived_total") == 1
        assert s.house.metric("greeting_seconds_count") == 0
        await s.forgotten()
        assert (await s.next())["AGENT_NEXT"] == "hangup"  # as of any call that is over


@pytest.mark.parametrize("registered_only", [True, False])
async def test_a_connection_alone_is_enough(
    database: Database,  # noqa: F811
    tmp_path: Path,
    registered_only: bool,
) -> None:
    async with successor(database, tmp_path, left(), registered_only=registered_only) as s:
        async with s.house.call(uuid=CALL) as call:
            await call.agent_speaks()
            assert s.model.puppet.setup.resume == "a-handle"
        assert (await s.ended()).outcome == "caller_hangup"
        async with s.house.call() as stranger:  # of whom nothing is left
            if registered_only:
                assert await stranger.ended() is End.FINISHED
            else:
                await stranger.agent_speaks()


async def test_a_fault_as_it_is_taken_up_ends_its_connection_and_nothing_else(
    database: Database,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(lives: Lives, call_id: str, peer: str, within_s: float) -> None:
        raise ZeroDivisionError

    async with successor(database, tmp_path, left()) as s, s.house.call() as other:
        await other.agent_speaks()
        monkeypatch.setattr(Lives, "take_up", fails)
        async with s.house.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        await other.passes(0.1)
        assert other.end is None


async def test_a_call_whose_caller_was_not_greeted_yet_is_greeted(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    row = left(summary=Summary().kept())
    async with successor(database, tmp_path, row) as s:
        assert (await s.next())["AGENT_NEXT"] == "again"
        async with s.house.call(uuid=CALL) as call:
            await call.agent_speaks()
            assert (s.model.puppet.setup.greeting, s.model.puppet.setup.resume) == (
                PLAN.greeting,
                "",
            )


async def test_a_call_that_began_later_than_now_by_a_clock_that_was_set_back_takes_no_time_at_least(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    row = left(began_at=datetime.now(UTC) + timedelta(hours=1))
    async with successor(database, tmp_path, row) as s:
        assert (await s.next())["AGENT_NEXT"] == "again"
        async with s.house.call(uuid=CALL) as call:
            await call.agent_speaks()
        ended = await s.ended()
        assert ended.ended_at is not None
        assert ended.ended_at >= ended.started_at
        assert s.house.metric("call_duration_seconds_sum") >= 0


async def test_a_handle_that_is_too_old_is_left_and_all_is_told(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    row = left(handle_at=datetime.now(UTC) - timedelta(hours=2))
    async with successor(database, tmp_path, row) as s:
        assert (await s.next())["AGENT_NEXT"] == "again"
        await until(lambda: bool(s.model.puppets))
        setup = s.model.puppet.setup
        assert setup.resume == ""
        assert not any(line.remembered for line in setup.past)


@pytest.mark.parametrize(
    "changed",
    [
        {"peer": "192.0.2.7"},
        {"written_at": datetime.now(UTC) - timedelta(minutes=11)},
        {"instance": "other:9092"},  # 127.0.0.1 is another host there
    ],
    ids=["another PBX's", "long dead", "another host's"],
)
async def test_a_call_that_is_none_of_theirs_is_not_taken_up(
    database: Database,  # noqa: F811
    tmp_path: Path,
    changed: dict[str, Any],
) -> None:
    async with successor(database, tmp_path, left(**changed), registered_only=True) as s:
        assert (await s.next())["AGENT_NEXT"] == ""
        async with s.house.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        assert s.model.puppets == []
        assert s.house.metric("calls_rejected_total", reason="unknown_uuid") == 1


@pytest.mark.parametrize(
    ("outcome", "status", "told", "ended"),
    [
        ("agent_hangup", "", "hangup", "agent_hangup"),
        ("model_failed", "", "fallback", "model_failed"),
        ("", "HANGUP", "hangup", "caller_hangup"),
        ("transferred", "ANSWER", "hangup", "transferred"),
        ("transferred", "HANGUP", "hangup", "caller_hangup"),
    ],
)
async def test_an_end_that_was_decided_stays_so(
    database: Database,  # noqa: F811
    tmp_path: Path,
    outcome: str,
    status: str,
    told: str,
    ended: str,
) -> None:
    row = left(outcome=outcome, target="sales")
    async with successor(database, tmp_path, row, targets={"sales": SALES}) as s:
        assert (await s.next(status))["AGENT_NEXT"] == told
        assert (await s.ended()).outcome == ended
        await s.forgotten()
        assert s.model.puppets == []


async def test_a_transfer_that_was_decided_is_made_and_its_failure_told(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    row = left(outcome="transferred", target="sales", reason="a price")
    async with successor(database, tmp_path, row, targets={"sales": SALES}) as s:
        told = await s.next()
        assert (told["AGENT_NEXT"], told["AGENT_TARGET"]) == ("transfer", "2001")
        assert told["AGENT_BRIEFING"]  # somebody is told of the caller
        assert (await s.next("NOANSWER"))["AGENT_NEXT"] == "again"
        async with s.house.call(uuid=CALL) as call:
            await call.passes(0.2)
            first = s.model.puppets[0]
            assert first.setup.greeting == ""
            assert first.texts == [TRANSFER_FAILED.format("nobody answered")]
        assert (await s.ended()).outcome == "caller_hangup"


async def test_who_was_being_transferred_and_finds_nobody_is_back_with_the_agent(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    row = left(outcome="transferred", target="sales")
    async with successor(database, tmp_path, row, targets={"sales": SALES}) as s:
        assert (await s.next("BUSY"))["AGENT_NEXT"] == "again"
        async with s.house.call(uuid=CALL) as call:
            await call.passes(0.2)
            assert s.model.puppet.texts == [TRANSFER_FAILED.format("the line is busy")]


async def test_a_call_that_was_taken_up_too_often_goes_to_the_dialplan(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with successor(database, tmp_path, left(life=MAX_LIVES)) as s:
        assert (await s.next())["AGENT_NEXT"] == "fallback"
        assert (await s.ended()).outcome == "error"
        await s.forgotten()


async def test_a_call_goes_on_however_late_and_full_the_process_is_that_takes_it_up(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    late = Overload(max_lag_s=0.05)
    late.probed(0.0)
    late.probed(0.7)
    async with successor(database, tmp_path, left(), max_calls=0, overload=late) as s:
        assert s.house.server.not_ready()
        assert (await s.next())["AGENT_NEXT"] == "again"


async def test_of_two_connections_of_one_call_one_has_it(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with successor(database, tmp_path, left()) as s:
        async with s.house.call(uuid=CALL) as one, s.house.call(uuid=CALL) as other:
            ends = [asyncio.ensure_future(call.ended()) for call in (one, other)]
            done, waits = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert [end.result() for end in done] == [End.FINISHED]
            for end in waits:
                end.cancel()
            await (one if one.end is None else other).passes(1.0)
        assert len(s.model.puppets) == 1
        assert s.house.metric("calls_rejected_total", reason="busy_uuid") == 1


@pytest.mark.parametrize("outcome", ["caller_hangup", LOST, None], ids=str)
async def test_a_uuid_that_was_another_callers_gets_a_record_of_its_own(
    database: Database,  # noqa: F811
    tmp_path: Path,
    outcome: str | None,
) -> None:
    """A dialplan whose UUID is always the same, and a process that has not seen the call before."""
    then = datetime.now(UTC) - timedelta(days=1)
    earlier = RecordedCall(
        id=str(CALL), agent="desk", started_at=then, caller=CALLER, outcome=outcome
    )
    words = Turn(call_id=str(CALL), n=1, speaker="caller", text="My order is 4711.", start_s=0.5)
    another = left(call_id=str(uuid.uuid4()))
    async with successor(database, tmp_path, another) as s:
        await s.store.write([earlier, words], 10.0)
        async with s.house.call(uuid=CALL) as call:
            await call.agent_speaks()
            [session] = s.house.server.sessions()
            assert s.model.puppet.setup.past == ()
            s.model.puppet.tell(base.Transcript("agent", "Good morning."))
            await call.agent_silent(0.3)
        record = await s.complete(session.id)
        assert [turn.text for turn in record.turns] == ["Good morning."]
        assert (record.call.outcome, record.call.caller) == ("caller_hangup", "")
        before = await listing.call(s.store, str(CALL))
        assert before is not None
        assert (before.call.outcome, before.call.caller) == (outcome, CALLER)
        assert before.turns == [words]


async def test_a_uuid_that_nobody_had_is_the_records(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with successor(database, tmp_path, left(call_id=str(uuid.uuid4()))) as s:
        async with s.house.call(uuid=CALL) as call:
            await call.agent_speaks()
        assert (await s.ended()).id == str(CALL)


async def test_a_caller_who_leaves_while_their_call_is_looked_up_is_not_waited_for(
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with successor(database, tmp_path, left()) as s:
        asked, left_meanwhile = await asyncio.gather(s.next(), s.next("HANGUP"))
        assert asked["AGENT_NEXT"] == "hangup"
        assert "AGENT_NEXT" not in left_meanwhile
        assert (await s.ended()).outcome == "caller_hangup"
        assert not s.house.server.calls


async def test_while_the_database_does_not_answer_the_dialplan_is_let_ask_again(
    tmp_path: Path,
) -> None:
    nowhere = "postgresql://nobody:x@127.0.0.1:1/nothing"
    async with (
        Store(nowhere, migrate=True) as store,
        Writer(store, tmp_path / "journal") as writer,
    ):
        lives = Lives(store, writer, "pbx:9092", text=True, mask=True)
        book = Book(writer.put, instance="pbx:9092", text=True, lives=lives)
        async with house(ScriptedModel(says), book=book) as running:
            assert "AGENT_NEXT" not in await agi(running.agi_port, f"next?uuid={CALL}")


@asynccontextmanager
async def leaving(state: Path, model: ScriptedModel) -> AsyncIterator[tuple[House, Store]]:
    """A service that leaves its calls to others as it drains."""
    store = Store(f"sqlite:///{state / 'calls.db'}", migrate=True)
    async with store, Writer(store, state / "journal") as writer:
        lives = Lives(store, writer, "pbx:9092", text=True, mask=True)
        async with house(model, book=Book(writer.put, lives=lives)) as running:
            running.server.let_go = lambda: True
            assert (await agi(running.agi_port, f"open?uuid={CALL}"))["AGENT_STATUS"] == "OK"
            yield running, store


async def test_a_goodbye_is_heard_before_calls_are_left_to_others(tmp_path: Path) -> None:
    async def goodbye(model: Puppet) -> None:
        model.say(tone(1.0))
        model.turn_ends()

    model = ScriptedModel(goodbye)
    async with leaving(tmp_path, model) as (service, store):
        server = service.server
        other = uuid.uuid4()
        assert server.expect(other, peer=HOST) == "OK"
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            model.puppets[0].tell(base.ToolCall("1", "end_call", {}))
            model.puppets[0].say(tone(0.5))
            model.puppets[0].turn_ends()
            session = server.session(CALL)
            assert session is not None
            await until(lambda: session.ending)
            drains = asyncio.create_task(server.drain(0.0, asyncio.Event()))
            assert await call.ended() is End.FINISHED
            assert sum(frame.audible for frame in call.frames) * FRAME == pytest.approx(
                1.5, abs=0.1
            )
        answer = await agi(service.agi_port, f"next?uuid={CALL}")
        assert (answer["AGENT_NEXT"], answer["AGENT_REASON"]) == ("hangup", "agent_hangup")
        await drains
        async with store.reading() as connection:
            [row] = (await connection.execute(select(schema.live))).mappings().all()
        assert row["call_id"] == str(other)


async def test_a_caller_whose_connection_broke_as_calls_were_left_did_not_hang_up(
    tmp_path: Path,
) -> None:
    async with leaving(tmp_path, ScriptedModel(says)) as (service, store):
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
        session = service.server.session(CALL)
        assert session is not None
        await until(lambda: session.lost)
        await service.server.drain(0.0, asyncio.Event())
        async with store.reading() as connection:
            [row] = (await connection.execute(select(schema.live))).mappings().all()
        assert row["outcome"] == ""


async def test_what_was_put_has_settled_however_much_is_put_meanwhile(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'calls.db'}", migrate=True)
    async with store, Writer(store, tmp_path / "journal") as writer, asyncio.TaskGroup() as tasks:

        async def others_talk() -> None:
            while True:
                writer.put(Lost(of="pbx:9093", before=datetime.now(UTC)))
                await asyncio.sleep(0.005)

        talk = tasks.create_task(others_talk())
        writer.put(left())
        assert await Lives(store, writer, "pbx:9092", text=True, mask=True).settled()
        async with store.reading() as connection:
            assert (await connection.execute(select(schema.live))).all()
        talk.cancel()


# -- the row, without a database ----------------------------------------------------------------------


def figures() -> Figures:
    return Figures(
        peer=HOST,
        agent="a",
        rate_hz=0,
        turn=1,
        turns=0,
        usd=Decimal(0),
        answered_at=None,
        summary={},
    )


async def written(rows: list[Row]) -> Alive:
    """The newest, once all that is to be written is."""
    await asyncio.sleep(WRITE_S + 0.01)
    row = rows[-1]
    assert isinstance(row, Alive)
    return row


def lines(row: Alive) -> list[list[Any]]:
    return list(json.loads(row.said))


@in_virtual_time
async def test_a_row_is_written_within_a_second_of_what_it_tells_and_not_more_often() -> None:
    rows: list[Row] = []
    life = Life(rows.append, left(), text=True)
    life.begin(figures)
    await asyncio.sleep(0.01)
    assert len(rows) == 1
    for _ in range(150):  # 3 s of words
        life.said("caller", "yes ")
        await asyncio.sleep(0.02)
    assert 4 <= len(rows) <= 6
    life.resumable("new")
    await asyncio.sleep(0.001)
    assert (await written(rows)).handle == "new"
    count = len(rows)
    await asyncio.sleep(3 * REFRESH_S + 1)
    assert len(rows) == count + 3
    life.over()
    assert rows[-1] == Gone(call_id=str(CALL), life=0)
    await asyncio.sleep(2 * REFRESH_S)
    assert len(rows) == count + 4


@in_virtual_time
async def test_numbers_are_hidden_in_it_and_its_end_is_kept() -> None:
    rows: list[Row] = []
    life = Life(rows.append, left(), text=True)
    life.begin(figures)
    for piece in ("It is 987", "65 4", "3210, thanks."):
        life.said("caller", piece)
    life.used(Used("a", 1, "get_bill", {"account": "9876543210"}, UseOutcome.OK, 5, "key"))
    for n in range(500):
        life.said("agent" if n % 2 else "caller", f"Sentence {n}.")
        if n == 0:
            said = str(lines(await written(rows)))
            assert "***10, thanks." in said
            assert "76543" not in said
            assert "get_bill" in said
    life.turn_ended()
    kept = lines(await written(rows))
    assert kept[-1] == ["agent", "Sentence 499.", False]
    assert sum(len(text) for _, text, _ in kept) <= MAX_SAID_CHARS
    life.over()


@in_virtual_time
async def test_a_handle_remembers_what_was_said_on_its_connection() -> None:
    rows: list[Row] = []
    life = Life(rows.append, left(), text=True)
    life.begin(figures)
    life.said("caller", "One.")
    life.using(1, "done")
    life.used(Used("a", 1, "t", {}, UseOutcome.OK, 5, "done"))
    life.using(1, "under way")
    life.resumable("first")
    life.said("caller", "Two.")
    row = await written(rows)
    said = [["caller", "One.", True], ["tool", "t({}) -> ok", True], ["caller", "Two.", False]]
    assert lines(row) == said
    assert json.loads(row.notes)["keys"] == [[1, "under way"]]
    life.reconnected(resumed=True)  # "Two." is in its instructions
    life.said("agent", "Three.")
    life.resumable("second")
    known = {text: known for _, text, known in lines(await written(rows))}
    assert (known["One."], known["Two."], known["Three."]) == (True, False, True)
    life.reconnected(resumed=False)
    row = await written(rows)
    assert row.handle == ""
    assert not any(known for _, _, known in lines(row))
    life.over()


@in_virtual_time
async def test_while_the_database_is_down_the_journal_is_spared() -> None:
    rows: list[Row] = []
    life = Life(rows.append, left(), text=True, behind=lambda: True)
    life.begin(figures)
    for _ in range(300):  # half a minute of words
        life.said("caller", "yes ")
        await asyncio.sleep(0.1)
    assert len(rows) <= 5
    life.over()

"""Commands that ask the records, where no service runs: each a process."""

import asyncio
import os
import pty
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from audiosocket_agent import config
from audiosocket_agent.cli.database import NothingThere, records
from audiosocket_agent.records.ids import uuid7
from audiosocket_agent.records.journal import Journal
from audiosocket_agent.records.rows import Callback, Row, Ticket
from tests.commands import Done, run, started
from tests.records.conftest import Database
from tests.records.made import (
    CALL,
    NOON,
    NUMBER,
    alive,
    begun,
    callback,
    ended,
    minutes,
    recording,
    ticket,
    tool_use,
    turn,
    usage,
)
from tests.serving import EXAMPLE, PATIENCE_SECONDS

SOON: Final = 10.0
OTHER: Final = "12345678-0000-4ef0-8234-56789abcdef0"
UP: Final = "99999999-9abc-4ef0-9234-56789abcdef0"


@dataclass(frozen=True)
class Host:
    """Where no service runs, with the records of three calls: one with all that can belong to it, one
    of another number, and one that is up."""

    settings: dict[str, str]
    ticket: Ticket
    callback: Callback
    wav: Path

    async def run(self, *arguments: str) -> Done:
        return await run(*arguments, "--config", str(EXAMPLE), **self.settings)


@pytest.fixture
async def host(database: Database, tmp_path: Path) -> Host:
    wav = tmp_path / "call.wav"
    await asyncio.to_thread(wav.write_bytes, b"RIFF")
    whole = ended(caller_name="Asha\x1b[2J", cost_usd=Decimal("0.0123"), turns=2, response_s=0.8)
    turns = [
        turn(1, speaker="agent", text="Good morning.", start_s=0.2),
        turn(2, text="मेरा बिल\u200d?", start_s=3.0),
        turn(
            3,
            speaker="agent",
            text="It is",
            start_s=5,
            latency_ms=810,
            heard_ms=1000,
            interrupted=True,
        ),
    ]
    rest: list[Row] = [tool_use(used_at=minutes(0.07)), usage(), recording(wav)]
    others = [
        ended(
            id=OTHER, caller="+4930123", agent="desk", started_at=minutes(10), ended_at=minutes(11)
        ),
        begun(id=UP, caller="5550100", started_at=minutes(20)),
    ]
    async with database.store() as store:
        up = alive(call_id=UP, caller="5550100", written_at=datetime.now(UTC))
        await store.write([whole, *turns, *rest, *others, up], SOON)
        promised = await store.commit(ticket(), SOON)
        back = await store.commit(callback(), SOON)
    settings = {
        "DATABASE_URL": database.url,
        "STATE_DIRECTORY": str(tmp_path),
        "CONTROL_SOCKET": str(tmp_path / "control.sock"),
        "TZ": "UTC",
    }
    return Host(settings, promised, back, wav)


# -- calls -------------------------------------------------------------------------------------------


async def test_past_calls_are_listed_newest_first_and_by_what_is_asked(host: Host) -> None:
    listed = await host.run("calls", "list", "--past")
    head, *lines = listed.out.splitlines()
    assert head.split() == [
        "call",
        "agent",
        "began",
        "time",
        "caller",
        "turns",
        "response",
        "usd",
        "outcome",
    ]
    assert [line.split()[0] for line in lines] == ["99999999", "12345678", "12345678"]
    assert lines[-1].split() == [
        *("12345678", "npcl", "2026-11-20", "12:00:00", "3:00", NUMBER),
        *("2", "0.80", "s", "0.0123", "caller_hangup"),
    ]
    assert lines[0].endswith("up")

    async def ids(*asked: str) -> list[str]:
        found = await host.run("calls", "list", "--past", "--json", *asked)
        return [call["id"] for call in found.json]

    assert await ids() == [UP, OTHER, CALL]
    assert await ids("--limit", "1") == [UP]
    assert await ids("--agent", "desk") == [OTHER]
    assert await ids("--caller", NUMBER) == [CALL]
    assert await ids("--outcome", "up") == [UP]
    assert await ids("--since", "2026-11-20T12:05:00", "--until", "2026-11-20 12:15:00") == [OTHER]
    assert (await host.run("calls", "list", "--past", "--agent", "nobody")).out == "no calls\n"


async def test_a_past_call_is_shown_as_its_dialogue(host: Host) -> None:
    shown = await host.run("calls", "show", CALL[:9] + "9")
    assert shown.code == 0
    facts, dialogue, promised, back = shown.out.split("\n\n")
    known = dict(line.split(maxsplit=1) for line in facts.splitlines())
    assert known["call"] == CALL
    assert known["caller"] == f"{NUMBER}, Asha?[2J"
    assert known["cost"] == "0.012300000 USD"
    assert known["tokens"] == "out audio 250"
    assert known["recording"] == f"{host.wav} (3:00, consent announced)"
    assert dialogue.splitlines() == [
        "0:00  agent   Good morning.",
        "0:03  caller  मेरा बिल\u200d?",
        '0:04  tool    get_bill {"account": "****4711", "months": 1}: ok, 40 ms',
        "0:05  agent   It is [after 0.81 s, interrupted, heard 1.0 s]",
    ]
    number = f"{host.ticket.number[:4]} {host.ticket.number[4:]}"
    assert promised == f"complaint {number}, open: बिजली नहीं है"
    assert back == f"callback to {NUMBER}, due 2026-11-20 13:00:00, open\n"

    as_json = (await host.run("calls", "show", CALL, "--json")).json
    assert as_json["call"]["started_at"] == NOON.isoformat()
    assert [said["n"] for said in as_json["turns"]] == [1, 2, 3]


MISTAKES: Final = [
    (("calls", "show", "1234"), 1, f"'1234' is the beginning of {OTHER}, {CALL}\n"),
    (("calls", "show", "123"), 1, "'123': 4 characters of an id are needed, or more\n"),
    (("calls", "show", "abcd"), 1, "; there is no call 'abcd' in the records\n"),
    (("calls", "show", "____"), 1, "; there is no call '____' in the records\n"),
    (("calls", "list", "--agent", "desk"), 2, "is for calls of the records: --past"),
    (("calls", "list", "--past", "--watch"), 2, "what is past does not change"),
    (("calls", "forget"), 2, "name a call, or a number by --caller"),
    (("calls", "forget", CALL, "--caller", NUMBER), 2, "name a call, or a number by --caller"),
    (("calls", "forget", "abcd"), 1, "there is no call 'abcd' in the records\n"),
    (("calls", "forget", "--caller", "1"), 1, "nothing is known of 1\n"),
    (("tickets", "show", "00000000"), 1, "there is no ticket 0000 0000\n"),
    (("tickets", "close", "12345678"), 1, "'12345678' is no ticket's number"),
    (("callbacks", "done", "ffff"), 1, "there is no callback 'ffff'\n"),
    (("data", "import", "order", "x.csv"), 2, "'order' is none of orders, products"),
    (("data", "import", "orders", "/nowhere.csv"), 2, "/nowhere.csv: No such file or directory"),
]


async def test_mistakes_are_told_and_have_their_exit_codes(host: Host) -> None:
    for arguments, code, said in MISTAKES:
        done = await host.run(*arguments)
        assert (done.code, done.out) == (code, ""), (arguments, done.err)
        assert said in " ".join(done.err.replace("│", "").split()) + "\n", (arguments, done.err)


async def test_where_there_are_no_records_is_one_line(tmp_path: Path) -> None:
    missing = {"STATE_DIRECTORY": str(tmp_path)}
    for arguments in (("calls", "list", "--past"), ("tickets", "list"), ("data", "sample")):
        done = await run(*arguments, "--config", str(EXAMPLE), **missing)
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"there are no records yet, at sqlite:///{tmp_path}/agent.db: the service makes them when "
            "it starts, or `audiosocket-agent db upgrade` does\n"
        )


async def test_records_that_this_user_may_not_see_are_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "INSTALLED_STATE", tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(NothingThere, match="permission denied; run this as root or as the service"):
        async with records(EXAMPLE):
            pass


# -- deletion ----------------------------------------------------------------------------------------


async def test_a_call_is_forgotten_and_what_went_is_told(host: Host) -> None:
    done = await host.run("calls", "forget", CALL)
    assert (done.code, done.err) == (0, "")
    assert done.out == "deleted: 1 call, 1 ticket, 1 callback, 1 recording\n"
    assert not await asyncio.to_thread(host.wav.exists)
    assert (await host.run("calls", "show", CALL)).code == 1
    again = await host.run("calls", "forget", CALL)
    assert (again.code, again.err) == (1, f"nothing is known of {CALL}\n")
    assert len((await host.run("calls", "list", "--past", "--json")).json) == 2


async def test_a_caller_is_forgotten_and_a_missing_recording_told(host: Host) -> None:
    await asyncio.to_thread(host.wav.unlink)
    done = await host.run("calls", "forget", "--caller", NUMBER, "--json")
    assert (done.code, done.err) == (0, f"not here: the recording {host.wav}\n")
    assert done.json["calls"] == done.json["tickets"] == done.json["callbacks"] == 1


async def test_a_caller_is_forgotten_however_the_number_is_written(host: Host) -> None:
    done = await host.run("calls", "forget", "--caller", NUMBER.replace("+91", "0"))
    assert (done.code, done.err) == (0, "")
    assert done.out == f"deleted: 1 call, 1 ticket, 1 callback, 1 recording\nof {NUMBER}\n"
    assert (await host.run("calls", "show", CALL)).code == 1


@pytest.mark.parametrize("instance", ["", "2"])
async def test_a_call_that_waits_in_the_journal_is_forgotten_with_its_recording(
    host: Host, instance: str
) -> None:
    state = Path(host.settings["STATE_DIRECTORY"], instance)
    call_id, number = "abcdef01-0000-4ef0-8234-56789abcdef0", "+4930777"
    wav = state / "recordings" / "2026" / f"{call_id}.wav"
    for whom in (("--caller", number), (call_id[:8],)):
        await asyncio.to_thread(wav.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(wav.touch)
        journal = Journal(state / "journal")
        async with journal.held():
            await journal.append([ended(id=call_id, caller=number)])
        journal.close()
        done = await host.run("calls", "forget", *whom)
        assert (done.out, done.err) == ("deleted: 1 call, 1 recording\n", ""), whom
        assert not await asyncio.to_thread(wav.exists)


async def test_a_recording_that_cannot_be_deleted_is_told_and_the_rest_goes(host: Host) -> None:
    await asyncio.to_thread(host.wav.unlink)
    await asyncio.to_thread(host.wav.mkdir)
    done = await host.run("calls", "forget", CALL)
    assert (done.code, done.out) == (1, "deleted: 1 call, 1 ticket, 1 callback\n")
    assert done.err == f"not deleted: the recording {host.wav}: Is a directory\n"


async def test_a_call_that_is_up_is_forgotten_as_far_as_that_goes(host: Host) -> None:
    done = await host.run("calls", "forget", UP[:8])
    assert (done.code, done.out) == (1, "deleted: 1 call\n")
    assert done.err == f"{UP} is up: forget it again when it is over\n"


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 3), ("y", 0, 2)])
async def test_on_a_terminal_it_asks_first(host: Host, answer: str, code: int, left: int) -> None:
    screen, terminal = pty.openpty()
    settings = {**host.settings, "TERM": "dumb"}
    try:
        forgetting = started(
            *("calls", "forget", CALL, "--config", str(EXAMPLE)),
            settings=settings,
            terminal=terminal,
        )
        async with forgetting as process, asyncio.timeout(PATIENCE_SECONDS):
            asked = await asyncio.to_thread(os.read, screen, 4096)
            assert f"Delete call {CALL}, with".encode() in asked
            os.write(screen, f"{answer}\n".encode())
            assert await process.wait() == code
    finally:
        os.close(screen)
        os.close(terminal)
    assert len((await host.run("calls", "list", "--past", "--json")).json) == left


# -- promises ----------------------------------------------------------------------------------------


async def test_tickets_are_listed_shown_and_closed_once(host: Host) -> None:
    number = host.ticket.number
    grouped = f"{number[:4]} {number[4:]}"
    head, line = (await host.run("tickets", "list")).out.splitlines()
    assert head.split() == ["number", "kind", "status", "made", "caller", "subject"]
    assert line.startswith(f"{grouped}  complaint  open    2026-11-20 12:00:00  {NUMBER}  बिजली")
    shown = (await host.run("tickets", "show", grouped)).out.splitlines()
    assert f"call      {CALL}" in shown
    assert "sector    62" in shown
    assert (await host.run("tickets", "list", "--status", "closed")).out == "no tickets\n"
    assert (await host.run("tickets", "close", number)).out == f"closed {grouped}\n"
    assert (await host.run("tickets", "close", number)).out.startswith(
        f"{grouped} is closed since "
    )
    [closed] = (await host.run("tickets", "list", "--status", "closed", "--json")).json
    assert (closed["number"], closed["details"]) == (number, {"sector": 62})
    assert (await host.run("tickets", "list", "--kind", "ticket", "--json")).json == []


async def test_callbacks_are_listed_as_they_are_due_and_done_once(
    host: Host, database: Database
) -> None:
    async with database.store() as store:
        sooner = await store.commit(callback("2", due_at=minutes(30), id=uuid7()), SOON)
    listed = (await host.run("callbacks", "list", "--json")).json
    assert [each["id"] for each in listed] == [sooner.id, host.callback.id]
    assert (await host.run("callbacks", "done", sooner.id)).out == f"done {sooner.id}\n"
    assert (await host.run("callbacks", "done", sooner.id)).out == f"{sooner.id} was done before\n"
    head, line = (await host.run("callbacks", "list")).out.splitlines()
    assert head.split() == ["id", "number", "due", "status", "reason"]
    assert line.startswith(f"{host.callback.id}  {NUMBER}  2026-11-20 13:00:00  open")
    assert len((await host.run("callbacks", "list", "--all")).out.splitlines()) == 3


# -- a business's data -------------------------------------------------------------------------------

PRODUCTS: Final = (
    "sku,name,price,currency,stock,unit\nA1,Tea,120.00,INR,4,packet\nA2,Rice,60,INR,9,kg\n"
)


async def test_a_file_is_imported_whole_or_not_at_all(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "products.csv"

    async def imported(text: str, *options: str) -> Done:
        await asyncio.to_thread(file.write_text, text, "utf-8")
        return await host.run("data", "import", "products", str(file), *options)

    assert (await imported(PRODUCTS)).out == "products: 2 rows, 2 of them new\n"
    assert (await imported(PRODUCTS)).out == "products: 2 rows, 0 of them new\n"
    wrong = await imported(PRODUCTS.replace("9,kg", "many,kg"))
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith(f"{file}:3: stock: should be ")
    one = await imported("\n".join(PRODUCTS.splitlines()[:2]), "--replace", "--json")
    assert one.json == {"kind": "products", "rows": 1, "added": 0, "removed": 1}


async def test_kinds_are_listed_with_their_columns() -> None:
    listed = (await run("data", "kinds")).out.splitlines()
    assert "products: what is sold" in listed
    assert any(line.split()[:1] == ["[also_called]"] for line in listed)
    kinds = (await run("data", "kinds", "--json")).json
    assert {"orders", "accounts", "outages"} <= {kind["name"] for kind in kinds}


async def test_the_sample_is_loaded_and_may_be_again(host: Host) -> None:
    first = (await host.run("data", "sample", "--json")).json
    assert {done["kind"] for done in first} >= {"orders", "accounts", "areas"}
    assert all(done["added"] == done["rows"] for done in first)
    again = (await host.run("data", "sample")).out.splitlines()
    assert all(line.endswith(" rows, 0 of them new") for line in again)

"""A call with other people's numbers in all that can hold one: they are in no line of the log, and once
it is forgotten they are nowhere else either."""

import asyncio
import json
import re
import signal
import unicodedata
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, MetaData, inspect, select

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.simulator import GOODBYE, Behaviour, Exchange, Line, Simulator, Use
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.records import codec, listing
from audiosocket_agent.records.listing import CallRecord
from audiosocket_agent.records.store import Store
from tests.agi.dialplan import FACTS, agi
from tests.commands import Done, run
from tests.records.conftest import Database, until
from tests.records.leaky import KEY as TOOLS_KEY
from tests.records.made import ended
from tests.serving import EXAMPLE, HOST, Service, serving
from tests.tools.shop import Shop, raw, shop

CALL: Final = uuid.UUID("5ec7e7aa-1b2c-4d5e-8f90-a1b2c3d4e5f6")

OTHER: Final = uuid.UUID("07be7000-1b2c-4d5e-8f90-a1b2c3d4e5f6")

CALLER: Final = "+919812345670"
NAME: Final = "Asha 9823456701"
VARIABLE: Final = "9834567012"
CARD: Final = "4539 1488 0343 6467"
HINDI: Final = "९८४५६७०१२३"
WORDS: Final = "nine eight five six seven oh one two three four"
ARGUMENT: Final = "9867012345"
WHOLE: Final = 9878012345
RESULT: Final = "9889012346"
SAID: Final = "98901 23457"
SUBJECT: Final = "call Ravi back on 9901234568"
API_KEY: Final = "AIzaSyPlanted0123456789abcdefghijklmn"
RESULT_KEY: Final = "AKIAPLANTED1234567890"
KEYS: Final = [API_KEY, RESULT_KEY, TOOLS_KEY]
NUMBERS: Final = [
    *(CALLER, NAME, VARIABLE, CARD, HINDI, ARGUMENT, str(WHOLE), RESULT, SAID, SUBJECT),
]

AGENT: Final = """\
instructions = "Be brief."
sees = ["caller", "caller_name", "ORDER"]
tools = ["create_ticket", "schedule_callback", "end_call", "tests.records.leaky:look_up"]

[recording]
consent = "dialplan"

[webhooks.customer]
description = "Find a customer."
url = "{url}/customers/{{number}}"
retries = 0

[webhooks.customer.arguments.number]
description = "Theirs."
"""

SCRIPT: Final = Behaviour(
    think_seconds=0.05,
    speed=0.0,
    opening=Exchange(steps=(Line(GOODBYE, f"I see {SAID}."),)),
    script=(
        Exchange(
            heard=f"My card is {CARD}, मेरा नंबर {HINDI}, or {WORDS}, the key {API_KEY}; marmalade.",
            steps=(
                Use("customer", {"number": ARGUMENT}),
                Use("customer", {"number": WHOLE}),
                Use("customer", {"number": f"{ARGUMENT}1"}),
                Use("look_up", {"number": ARGUMENT}),
                Use("create_ticket", {"subject": SUBJECT, "details": f"card {CARD}"}),
                Line(GOODBYE, f"Your number {SAID} is noted."),
            ),
        ),
    ),
)


# -- a call ------------------------------------------------------------------------------------------


def customers() -> Iterator[bytes]:
    """A server that answers, one that refuses and says why, and one that talks nonsense."""
    yield raw(json.dumps({"phone": RESULT, "api_key": RESULT_KEY}).encode())
    yield raw(f"no customer {RESULT}".encode(), 500)
    yield f"HTTP/1.1 {RESULT} {RESULT_KEY}\r\n\r\n".encode()


@asynccontextmanager
async def customer_service() -> AsyncIterator[Shop]:
    answers = customers()

    async def answer(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))
        await writer.drain()

    async with shop(answer) as running:
        yield running


@asynccontextmanager
async def the_service(database: Database, state: Path) -> AsyncIterator[Service]:
    """At DEBUG, recording, with an agent that may use all that can leak."""
    async with customer_service() as server, Simulator(SCRIPT) as simulator:
        agents = state / "agents"
        agents.mkdir(exist_ok=True)
        text = AGENT.format(url=server.url)
        await asyncio.to_thread((agents / "crm.toml").write_text, text, "utf-8")
        settings = {
            "GOOGLE_GEMINI_BASE_URL": simulator.base_url,
            "SSL_CERT_FILE": str(simulator.ca_file),
            "GEMINI_API_KEY": API_KEY,
            "AGENTS_DIRECTORY": str(agents),
            "DEFAULT_AGENT": "crm",
            "ENABLE_CALL_RECORDING": "true",
            "LOG_LEVEL": "DEBUG",
            **where(database, state),
        }
        async with serving(**settings) as service:
            yield service


def where(database: Database, state: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database.url,
        "STATE_DIRECTORY": str(state),
        "CONTROL_SOCKET": str(state / "control.sock"),
    }


@asynccontextmanager
async def the_call(service: Service) -> AsyncIterator[Call]:
    """It comes by the dialplan, and is answered twice."""
    port = (await service.logged("ready"))["fastagi"]
    facts = FACTS | {"agi_callerid": CALLER, "agi_calleridname": NAME}
    told = await agi(port, f"open?uuid={CALL}&ORDER={VARIABLE}&LANGUAGE=en-IN", facts)
    assert told["AGENT_STATUS"] == "OK"
    async with Call.connect(HOST, service.port, uuid=CALL) as call:
        await call.agent_speaks()
        await call.agent_silent(0.5)
        call.say(read_utterances(SHIPPED_CALLER, 8_000)[0])
        await call.said()
        await call.agent_speaks()
        await call.agent_silent(0.5)
        yield call


async def forget(database: Database, state: Path, *whom: str) -> Done:
    return await run("calls", "forget", *whom, "--config", str(EXAMPLE), **where(database, state))


async def spoken(database: Database) -> CallRecord:
    """The call while it is up, once what its caller said is in the records, and what tools were told."""
    async with database.store() as store, asyncio.timeout(10.0):
        while True:
            found = await listing.call(store, str(CALL))
            turns = found.turns if found is not None and found.tool_uses else ()
            if found is not None and any("marmalade" in turn.text for turn in turns):
                return found
            await asyncio.sleep(0.05)


async def kept(database: Database) -> CallRecord:
    """The call, once it is over in the records."""
    async with database.store() as store, asyncio.timeout(10.0):
        while True:
            found = await listing.call(store, str(CALL))
            if found is not None and found.call.outcome and found.recordings:
                return found
            await asyncio.sleep(0.05)


# -- where it may be ---------------------------------------------------------------------------------


def digits(text: str) -> str:
    """Whatever the script."""
    return "".join(str(unicodedata.decimal(char)) for char in text if char.isdecimal())


def leaks(line: dict[str, Any]) -> list[str]:
    """What of the planted is in a line, by any seven digits of it; our own times and names aside."""
    own = ("timestamp", "call", "control")
    text = json.dumps({key: its for key, its in line.items() if key not in own}, ensure_ascii=False)
    text = re.sub(r"\d\.\d{9,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", text)
    seen = digits(text)
    parts = [
        number[at : at + 7] for number in map(digits, NUMBERS) for at in range(len(number) - 6)
    ]
    keys = [key[at : at + 10] for key in KEYS for at in range(4, len(key) - 9)]
    return [part for part in parts if part in seen] + [key for key in keys if key in text]


async def rows(database: Database) -> list[str]:
    """Every row of every table there is, as text."""

    def everything(connection: Connection) -> list[str]:
        metadata = MetaData()
        metadata.reflect(connection, only=inspect(connection).get_table_names())
        return [
            f"{table.name} {tuple(row)}"
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
        ]

    async with Store(database.url) as store, store.reading() as connection:
        return await connection.run_sync(everything)


def files(state: Path, *planted: str) -> list[str]:
    """Files that have one of these in their bytes, or in their name."""
    return [
        str(path.relative_to(state))
        for path in sorted(state.rglob("*"))
        if path.is_file() and path.parent.name != "agents"
        if any(
            each.encode() in path.read_bytes() or each in path.name
            for each in (*planted, str(CALL), str(OTHER))
        )
    ]


def journal(state: Path) -> list[bytes]:
    """The lines that wait there."""
    return [
        line for file in (state / "journal").glob("*.jsonl") for line in file.read_bytes().split()
    ]


PLANTED: Final = (CALLER, NAME, SUBJECT, "marmalade", CARD, API_KEY)


async def nothing_is_left(database: Database, state: Path) -> None:
    for row in await rows(database):
        for planted in (*PLANTED, str(CALL), str(OTHER)):
            assert planted not in row
    assert await asyncio.to_thread(files, state, *PLANTED) == []


# -- the proof ---------------------------------------------------------------------------------------


async def test_no_number_is_in_a_log_and_once_forgotten_none_is_anywhere(
    database: Database, tmp_path: Path
) -> None:
    async with the_service(database, tmp_path) as service:
        async with the_call(service):
            so_far = await spoken(database)
            up = await forget(database, tmp_path, str(CALL))
            assert (up.code, up.err) == (1, f"{CALL} is up: forget it again when it is over\n")
        await service.logged("call ended")
        found = await kept(database)

        events = {line["event"] for line in service.log}
        assert {"transcript", "tool failed", "webhook failed"} <= events
        assert any(line["logger"] == "acme.crm" for line in service.log)
        assert any(line.get("text") for line in service.log)
        assert all(line["call"] == str(CALL) for line in service.log if line["event"] == "event")
        for line in service.log:
            assert leaks(line) == [], line
        assert service.said == []

        assert found.call.caller == CALLER
        texts = " ".join(turn.text for turn in so_far.turns)
        assert "marmalade" in texts
        assert so_far.tool_uses
        for number in (CARD, HINDI, WORDS, SAID, API_KEY):
            assert number not in texts
        arguments = json.dumps([dict(use.arguments) for use in so_far.tool_uses])
        assert not any(number in arguments for number in (ARGUMENT, str(WHOLE), "9901234568", CARD))
        [recording] = found.recordings
        assert await asyncio.to_thread(Path(recording.path).exists)
        assert await asyncio.to_thread(files, tmp_path, CALLER)

        done = await forget(database, tmp_path, "--caller", CALLER)
        assert (done.code, done.err) == (0, "")
        await nothing_is_left(database, tmp_path)
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0
    await nothing_is_left(database, tmp_path)


async def test_of_a_service_that_was_killed_without_its_database_nothing_comes_back(
    database: Database, tmp_path: Path
) -> None:
    """One call was over by then and waits in the journal, another was being recorded."""
    async with the_service(database, tmp_path) as service, the_call(service):
        database.stop()
        try:
            port = (await service.logged("ready"))["fastagi"]
            await agi(port, f"open?uuid={OTHER}", FACTS | {"agi_callerid": CALLER})
            async with Call.connect(HOST, service.port, uuid=OTHER) as other:
                await other.passes(0.2)
            await service.logged("call ended")
            await until(lambda: any(b"caller_hangup" in line for line in journal(tmp_path)))
            service.signal(signal.SIGKILL)
            await service.exit_code()
        finally:
            database.start()
    assert any(name.startswith("recordings/open/") for name in files(tmp_path))
    forgotten = await forget(database, tmp_path, "--caller", CALLER)
    assert forgotten.out == "deleted: 2 calls, 1 ticket, 2 recordings\n"
    assert journal(tmp_path) == []
    await nothing_is_left(database, tmp_path)


async def test_what_other_services_of_this_host_have_left_is_forgotten_too(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/agent.db", lambda: None, lambda: None)
    async with database.store() as store:
        await store.open()
    line = codec.line(ended(id=str(CALL), caller=CALLER))
    journal, recordings = tmp_path / "1" / "journal", tmp_path / "2" / "recordings" / "open"
    journal.mkdir(parents=True)
    recordings.mkdir(parents=True)
    (journal / "00000000000000000001.jsonl").write_bytes(line)
    (recordings / f"2026-11-20_{CALL}.wav").write_bytes(b"RIFF")
    forgotten = await forget(database, tmp_path, "--caller", CALLER)
    assert forgotten.out == "deleted: 1 call, 1 recording\n"
    await nothing_is_left(database, tmp_path)

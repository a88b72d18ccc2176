"""The control socket, asked by operators, by programs that break its rules, and by nobody."""

import asyncio
import json
import os
import socket
import stat
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from audiosocket_agent import __version__
from audiosocket_agent.call.info import MAX_VARIABLE_CHARS
from audiosocket_agent.call.next_step import Action, Target
from audiosocket_agent.control import LINE_BYTES, PATH_BYTES
from audiosocket_agent.control.client import ControlError, ask
from audiosocket_agent.control.operator import Operator
from audiosocket_agent.control.server import IDLE_SECONDS, MAX_CONNECTIONS, ControlServer
from audiosocket_agent.errors import ModelError, StartError
from audiosocket_agent.lab.caller import CallOver
from audiosocket_agent.lab.report import End
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.server import Server
from audiosocket_agent.session import Session
from tests.agi.dialplan import FACTS as FACTS_OF_THE_CALL
from tests.agi.dialplan import agi
from tests.house import HOST, PLAN, House, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

CALL = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0001")
TWIN = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0002")
OTHER = uuid.UUID("77777777-3b1a-4d53-8f3e-9a1e6f0a0003")
FACTS = {"model": "scripted", "ports": {"audiosocket": 9092, "fastagi": 4573, "metrics": 9100}}
TARGETS = {"sales": Target("sales", "2001", "orders"), "faults": Target("faults", "2002")}
FRAME = 0.020


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket may be; pytest's own directories have long names."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        yield Path(directory, "control.sock")


@asynccontextmanager
async def controlled(service: House, path: Path, host: str = HOST) -> AsyncIterator[ControlServer]:
    """The control of a service, for as long as the block lasts."""
    clock = asyncio.get_running_loop().time
    control = ControlServer(service.server, FACTS, host=host, port=service.port, clock=clock)
    await control.start(path)
    try:
        yield control
    finally:
        await control.stop()


async def refused(path: Path, **request: Any) -> str:
    """What is said against a request."""
    with pytest.raises(ControlError) as no:
        await ask(path, request)
    return str(no.value)


async def up(path: Path) -> list[str]:
    """The calls that are up, and what they are at."""
    calls = (await ask(path, {"do": "list"}))["calls"]
    return [f"{call['id'][-1]} {call['state']}" for call in calls]


async def greet(model: Puppet) -> None:
    model.say(tone(1.0))
    model.turn_ends()


# -- the process ---------------------------------------------------------------------------------


@in_virtual_time
async def test_the_status_of_an_idle_service(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        await asyncio.sleep(90.0)
        status = await ask(path, {"do": "status"})
    assert 10 < status.pop("memory_mib") < 10_000
    assert 0 < status.pop("cpu_s") < 10_000
    assert status.pop("uptime_s") == pytest.approx(90.0, abs=0.2)
    assert status == {
        "version": __version__,
        "pid": os.getpid(),
        "ready": True,
        "not_ready": "",
        "draining": False,
        "calls": 0,
        "max_calls": 100,
        "agents": ["receptionist"],
        **FACTS,
    }


@in_virtual_time
async def test_a_full_service_is_asked_as_ever(path: Path) -> None:
    async with house(ScriptedModel(), max_calls=1) as service, controlled(service, path):
        async with service.call(uuid=CALL) as call:
            await call.passes(0.1)
            status = await ask(path, {"do": "status"})
            assert (status["ready"], status["not_ready"], status["calls"]) == (False, "full", 1)
            assert (await ask(path, {"do": "expect", "id": str(OTHER)}))["status"] == "BUSY"
            await ask(path, {"do": "hangup", "id": str(CALL)})
            assert await call.ended() is End.FINISHED
        await service.is_empty()
        assert (await ask(path, {"do": "status"}))["ready"]


@in_virtual_time
async def test_a_draining_service_is_asked_as_ever(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        async with service.call(uuid=CALL) as call:
            await call.passes(0.1)
            drain = asyncio.create_task(service.server.drain(300.0, asyncio.Event()))
            await asyncio.sleep(0)
            status = await ask(path, {"do": "status"})
            assert (status["draining"], status["not_ready"]) == (True, "draining")
            assert (await ask(path, {"do": "expect", "id": str(OTHER)}))["status"] == "DRAINING"
            assert await up(path) == ["1 listening"]
            await ask(path, {"do": "hangup", "id": str(CALL)})
            assert await call.ended() is End.FINISHED
        await drain


@in_virtual_time
async def test_a_call_whose_model_does_not_answer_is_seen_and_ended(path: Path) -> None:
    async with house(ScriptedModel(connect_seconds=1000.0)) as service, controlled(service, path):
        async with service.call(uuid=CALL) as call:
            await call.passes(5.0)
            [seen] = (await ask(path, {"do": "list"}))["calls"]
            assert (seen["state"], seen["model_ready"]) == ("opening", False)
            await ask(path, {"do": "hangup", "id": str(CALL)})
            assert await call.ended() is End.FINISHED


@in_virtual_time
async def test_a_service_whose_model_refuses_is_asked_as_ever(path: Path) -> None:
    refuses = ModelError("1008", "no such model", retryable=False)
    async with house(ScriptedModel(refuses=refuses)) as service, controlled(service, path):
        async with service.call() as call:
            await call.ended()
        assert (await ask(path, {"do": "status"}))["ready"]


# -- calls that are up ---------------------------------------------------------------------------


@in_virtual_time
async def test_calls_are_listed_the_oldest_first(path: Path) -> None:
    async with house(ScriptedModel(greet)) as service, controlled(service, path):
        assert await up(path) == []
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            await asyncio.sleep(0.2)
            async with service.call(uuid=OTHER) as other:
                await other.passes(0.1)
                assert await up(path) == ["1 speaking", "3 speaking"]
                await call.agent_silent(0.5)
                assert (await up(path))[0] == "1 listening"
            await asyncio.sleep(0.1)
            assert await up(path) == ["1 listening"]


@in_virtual_time
async def test_a_call_is_shown_with_who_calls_and_what_the_dialplan_has_told(path: Path) -> None:
    async with (
        house(ScriptedModel(greet), targets=TARGETS) as service,
        controlled(service, path),
    ):
        caller = FACTS_OF_THE_CALL | {"agi_calleridname": "Asha"}
        await agi(service.agi_port, f"open?uuid={CALL}&ORDER=4711", caller)
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            await call.passes(2.0)
            shown = (await ask(path, {"do": "show", "id": "0B6F"}))["call"]
    assert shown["id"] == str(CALL)
    assert shown["agent"] == "receptionist"
    assert (shown["caller"], shown["caller_name"]) == ("5550100", "Asha")
    assert shown["variables"] == {"ORDER": "4711"}
    assert shown["targets"] == ["faults", "sales"]
    assert shown["peer"] == HOST
    assert shown["turns"] == 1


@in_virtual_time
async def test_the_beginning_of_a_uuid_is_enough_if_it_is_of_one_call(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        async with service.call(uuid=CALL) as call, service.call(uuid=TWIN) as twin:
            await call.passes(0.1)
            await twin.passes(0.1)
            assert await refused(path, do="show", id="0b6f7c1e") == (
                f"'0b6f7c1e' is the beginning of {CALL}, {TWIN}"
            )
            assert await refused(path, do="hangup", id="0b6") == (
                "id needs 4 characters or more, not '0b6'"
            )
            assert await refused(path, do="hangup", id="7777") == "no call '7777' is up"
            assert (await ask(path, {"do": "hangup", "id": str(TWIN)}))["id"] == str(TWIN)
            assert await twin.ended() is End.FINISHED
            assert call.end is None


@in_virtual_time
async def test_whoever_is_hung_up_on_hears_the_sentence_to_its_end(path: Path) -> None:
    async def speak(model: Puppet) -> None:
        model.say(tone(2.0))
        model.turn_ends()

    async with house(ScriptedModel(speak)) as service, controlled(service, path):
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            await call.passes(0.5)
            assert await ask(path, {"do": "hangup", "id": "0b6f"}) == {"id": str(CALL)}
            assert await up(path) == ["1 ending"]
            assert await call.ended() is End.FINISHED
            heard = sum(frame.audible for frame in call.frames) * FRAME
            assert heard == pytest.approx(2.0, abs=2 * FRAME)
        await service.is_empty()
        step = service.server.next_step(CALL, HOST)
        assert step is not None
        assert (step.action, step.reason) == (Action.HANGUP, "operator_hangup")
        assert service.metric("calls_total", outcome="operator_hangup") == 1


@in_virtual_time
async def test_what_an_operator_does_is_logged_without_who_calls(path: Path) -> None:
    async with (
        house(ScriptedModel(), targets=TARGETS) as service,
        controlled(service, path),
    ):
        with capture_logs() as logged:
            coming = {"do": "expect", "id": str(CALL), "caller": "5550199"}
            await ask(path, {**coming, "variables": {"ORDER": "4711"}})
            async with service.call(uuid=CALL) as call:
                await call.passes(0.1)
                await ask(path, {"do": "show", "id": str(CALL)})
                await ask(path, {"do": "transfer", "id": str(CALL), "target": "sales"})
                await ask(path, {"do": "hangup", "id": str(CALL)})
                await call.ended()
        await asyncio.sleep(0.1)
    done = [entry["do"] for entry in logged if entry["event"] == "asked by an operator"]
    assert done == ["transfer", "hangup"]
    assert "5550199" not in str(logged)
    assert "4711" not in str(logged)


@in_virtual_time
async def test_a_caller_is_passed_on_and_the_dialplan_is_told_to_whom(path: Path) -> None:
    async with (
        house(ScriptedModel(greet), targets=TARGETS) as service,
        controlled(service, path),
    ):
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            transfer = {"do": "transfer", "id": "0b6f", "target": "sales"}
            assert await ask(path, transfer) == {"id": str(CALL), "target": "sales"}
            assert await refused(path, **transfer) == (
                "the call is ending: there is no conversation to pass on"
            )
            assert await call.ended() is End.FINISHED
            heard = sum(frame.audible for frame in call.frames) * FRAME
            assert heard == pytest.approx(1.0, abs=2 * FRAME)
            assert call.now < 1.5  # no further words are waited for
        following = await agi(service.agi_port, f"next?uuid={CALL}")
        assert following["AGENT_NEXT"] == "transfer"
        assert following["AGENT_TARGET"] == "2001"
        assert following["AGENT_SUMMARY"] == "by an operator"
        assert await up(path) == ["1 held"]


@in_virtual_time
async def test_nobody_is_passed_on_to_a_target_that_the_agent_does_not_have(path: Path) -> None:
    async with (
        house(ScriptedModel(), targets=TARGETS) as service,
        controlled(service, path),
        service.call(uuid=CALL) as call,
    ):
        await call.passes(0.1)
        assert await refused(path, do="transfer", id="0b6f", target="2001") == (
            "there is no target '2001' in this call; there are: faults, sales"
        )
        await call.passes(0.5)
        assert call.end is None


# -- calls that are to come ----------------------------------------------------------------------


@in_virtual_time
async def test_a_call_that_is_expected_is_greeted_at_once(path: Path) -> None:
    model = ScriptedModel(greet, connect_seconds=0.7)
    sees = ("caller", "ORDER", "NAME")
    async with house(model, sees=sees) as service, controlled(service, path):
        coming = {"do": "expect", "id": str(CALL), "agent": "receptionist", "caller": "5550199"}
        known = {"ORDER": "4711", "NAME": "র\u200d্যাব"}  # as Bengali is written
        assert await ask(path, {**coming, "variables": known, "ring_s": 40}) == {
            "status": "OK",
            "address": f"{HOST}:{service.port}",
        }
        assert await up(path) == ["1 ringing"]
        await asyncio.sleep(39.0)
        async with service.call(uuid=CALL) as call:
            assert await call.agent_speaks() <= 2 * FRAME
        told = model.puppet.setup.instructions
        assert json.loads(told[told.index("{") :]) == {"caller": "5550199", **known}


@in_virtual_time
async def test_a_call_that_nobody_answers_is_let_go(path: Path) -> None:
    model = ScriptedModel(greet)
    async with house(model) as service, controlled(service, path):
        await ask(path, {"do": "expect", "id": str(CALL), "ring_s": 5})
        await asyncio.sleep(4.9)
        assert service.server.calls == 1
        await service.is_empty(within=0.2)
        assert model.puppet.closed.is_set()


@in_virtual_time
async def test_a_call_that_is_withdrawn_is_let_go_at_once(path: Path) -> None:
    async with house(ScriptedModel(greet)) as service, controlled(service, path):
        await ask(path, {"do": "expect", "id": str(CALL)})
        await asyncio.sleep(1.0)
        assert await ask(path, {"do": "withdraw", "id": str(CALL)}) == {}
        await service.is_empty(within=0.1)
        assert service.metric("calls_total", outcome="abandoned") == 1
        assert await ask(path, {"do": "withdraw", "id": str(CALL)}) == {}  # it may be asked twice
        assert (await ask(path, {"do": "expect", "id": str(CALL)}))["status"] == "ERROR"


@in_virtual_time
async def test_an_agent_there_is_not_is_named(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        assert await refused(path, do="expect", id=str(CALL), agent="sales") == (
            "there is no agent 'sales'; there are: receptionist"
        )
        assert service.server.calls == 0


@in_virtual_time
@pytest.mark.parametrize(
    ("host", "peer", "dialled", "taken"),
    [
        pytest.param(HOST, "127.0.0.1", HOST, True, id="one host"),
        pytest.param(HOST, "::1", HOST, True, id="one host, whose AMI is reached by IPv6"),
        pytest.param(
            HOST, "192.0.2.7", HOST, True, id="one host, whose AMI is reached by its name"
        ),
        pytest.param("localhost", "::1", "localhost", True, id="one host, by its name"),
        pytest.param("0.0.0.0", "127.0.0.1", HOST, True, id="one host, and every address"),
        pytest.param("", "::1", HOST, True, id="one host, every address, by IPv6"),
        pytest.param("::", "127.0.0.1", "[::1]", True, id="one host, and every IPv6 address"),
        pytest.param("192.0.2.9", "192.0.2.7", "192.0.2.9", False, id="two hosts"),
        pytest.param("2001:db8::9", "2001:db8::7", "[2001:db8::9]", False, id="two hosts, IPv6"),
    ],
)
async def test_an_expected_call_may_come_from_the_pbx_alone(
    path: Path, host: str, peer: str, dialled: str, taken: bool
) -> None:
    async with house(ScriptedModel(greet)) as service, controlled(service, path, host):
        answer = await ask(path, {"do": "expect", "id": str(CALL), "peer": peer})
        assert answer["address"] == f"{dialled}:{service.port}"
        async with service.call(uuid=CALL) as call:  # from 127.0.0.1
            with suppress(CallOver):
                await call.passes(0.5)
            assert (call.end is None) is taken
        assert service.metric("calls_rejected_total", reason="other_host") == (not taken)


def our_address() -> str:
    """This host's address in its network; empty where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.7", 9))
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
        return address


@in_virtual_time
async def test_a_pbx_afar_is_told_our_address_in_its_network(path: Path) -> None:
    expect = {"do": "expect", "id": str(CALL), "peer": "192.0.2.7"}
    async with house(ScriptedModel()) as service, controlled(service, path, "0.0.0.0"):
        if ours := our_address():
            assert (await ask(path, expect))["address"] == f"{ours}:{service.port}"
        else:
            assert (await refused(path, **expect)).startswith("there is no way to 192.0.2.7: ")


@pytest.mark.skipif(not our_address(), reason="this host has no network")
@in_virtual_time
async def test_a_pbx_on_this_host_may_come_from_any_of_its_addresses(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path, our_address()):
        await ask(path, {"do": "expect", "id": str(CALL), "peer": HOST})
        async with service.call(uuid=CALL) as call:  # from 127.0.0.1
            await call.passes(0.2)
        assert service.metric("calls_rejected_total", reason="other_host") == 0


# -- what is no request --------------------------------------------------------------------------

EXPECT = {"do": "expect", "id": str(CALL)}


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        (b"", 'a request is a line with one JSON object, as {"do": "status"}'),
        (b"status", "a request is a line with one JSON object"),
        (b"\xff\xfe\x00", "a request is a line with one JSON object"),
        (b"GET / HTTP/1.1\r", "a request is a line with one JSON object"),
        (b'["status"]', "a request is a line with one JSON object"),
        (b'{"do": "status"} {"do": "status"}', "a request is a line with one JSON object"),
        (b'{"do": ' + b"[" * 60_000, "a request is a line with one JSON object"),
        (b'{"do": ' + b"9" * 5_000 + b"}", "a request is a line with one JSON object"),
        ({}, "do should be a text, not null"),
        ({"do": ["status"]}, "do should be a text, not a list"),
        ({"do": "reboot"}, "unknown request 'reboot'; there are: expect, hangup, list, show, "),
        ({"do": "status", "verbose": True}, "status knows nothing of 'verbose'"),
        ({"do": "show"}, "show needs id"),
        ({"do": "show", "id": 4711}, "id should be a text, not 4711"),
        ({"do": "show", "id": "x" * 300}, "id has more than 256 characters"),
        ({"do": "show", "id": "abcd\x1b[2J"}, "id has characters that cannot be shown: 'abcd\\x1b"),
        ({"do": "hangup", "id": ""}, "id needs 4 characters or more, not ''"),
        ({"do": "transfer", "id": "abcd"}, "transfer needs target"),
        ({"do": "withdraw", "id": "0b6f"}, "id should be a UUID, not '0b6f'"),
        ({**EXPECT, "id": "0b6f"}, "id should be a UUID, not '0b6f'"),
        ({**EXPECT, "peer": "pbx"}, "peer should be an IP address, not 'pbx'"),
        ({**EXPECT, "agent": "\ud800"}, "agent has characters that cannot be shown: '\\ud800'"),
        ({**EXPECT, "ring_s": 0}, "ring_s should be over 0 and at most 600, not 0"),
        ({**EXPECT, "ring_s": 601}, "ring_s should be over 0 and at most 600, not 601"),
        ({**EXPECT, "ring_s": float("nan")}, "ring_s should be over 0 and at most 600, not NaN"),
        ({**EXPECT, "ring_s": "30"}, "ring_s should be seconds, not '30'"),
        ({**EXPECT, "ring_s": True}, "ring_s should be seconds, not true"),
        ({**EXPECT, "variables": ["ORDER"]}, "variables should be names and texts, not a list"),
        ({**EXPECT, "variables": {"A": 1}}, "variable A should be a text, not 1"),
        (
            {**EXPECT, "variables": {"A B": ""}},
            "'A B' is no name of a variable: capitals, digits and _",
        ),
        ({**EXPECT, "variables": {"A": "x" * 257}}, "variable A has more than 256 characters"),
        (
            {**EXPECT, "variables": {f"V{n}": "" for n in range(21)}},
            "there are more than 20 variables",
        ),
    ],
)
async def test_nonsense_is_told_so_and_the_connection_goes_on(
    path: Path, request_line: bytes | dict[str, Any], error: str
) -> None:
    line = request_line if isinstance(request_line, bytes) else json.dumps(request_line).encode()
    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line + b'\n{"do": "list"}\n')
        answer = json.loads(await reader.readline())
        assert answer["ok"] is False
        assert answer["error"].startswith(error)
        assert "\n" not in answer["error"]
        assert len(answer["error"]) < 200
        assert json.loads(await reader.readline()) == {"ok": True, "calls": []}
        assert service.server.calls == 0
        writer.close()


_TEXTS = st.text(max_size=20) | st.sampled_from(["status", "show", "expect", "withdraw", "a" * 300])
_JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda junk: st.lists(junk, max_size=3) | st.dictionaries(_TEXTS, junk, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    ["do", "id", "target", "agent", "caller", "variables", "ring_s", "peer", "x"]
)


@given(
    st.binary(max_size=200)
    | st.dictionaries(_FIELDS, _JUNK).map(lambda it: json.dumps(it).encode())
)
@example(b'{"do": "show", "id": "' + b"\\ud800" * 4 + b'"}')
@example(b"\xef\xbb\xbf{}")
def test_whatever_is_asked_is_answered(junk: bytes) -> None:
    server = Server(ScriptedModel(), {PLAN.name: PLAN}, Metrics(), default=PLAN.name, max_calls=1)
    answer = Operator(server, FACTS, HOST, 9092).answer(junk)
    assert json.loads(json.dumps(answer).encode("ascii")) == answer
    assert answer["ok"] or 0 < len(answer["error"]) <= 2 * MAX_VARIABLE_CHARS


async def test_a_fault_of_ours_is_told_and_logged_and_ends_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(session: Session) -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(Session, "describe", fails)
    async with house(ScriptedModel()) as service, controlled(service, path), service.call() as call:
        await call.passes(0.1)
        with capture_logs() as logged:
            said = await refused(path, do="list")
        assert said == "the service has failed at this; its log says how"
        assert [entry["event"] for entry in logged] == ["control request failed"]
        assert (await ask(path, {"do": "status"}))["calls"] == 1


# -- connections ---------------------------------------------------------------------------------


async def test_a_request_may_come_in_pieces(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        for byte in b'{"do": "list"}\n':
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        assert json.loads(await reader.readline()) == {"ok": True, "calls": []}
        writer.close()


async def test_the_last_request_may_lack_its_end(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"do": "list"}')
        writer.write_eof()
        assert json.loads(await reader.read()) == {"ok": True, "calls": []}
        writer.close()


async def test_between_requests_that_come_at_once_there_is_time_for_calls(path: Path) -> None:
    many = 1000
    turns = 0

    async def calls() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"do": "list"}\n' * many)
        others = asyncio.create_task(calls())
        for _ in range(many):
            assert json.loads(await reader.readline())["ok"]
        others.cancel()
        writer.close()
    assert turns >= many


async def test_a_request_is_as_long_as_a_line_may_be_and_no_longer(path: Path) -> None:
    longest = b'{"do": "list"}'.ljust(LINE_BYTES) + b"\n"
    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(longest)
        assert json.loads(await reader.readline())["ok"] is True
        writer.write(b" " + longest)
        assert json.loads(await reader.readline()) == {
            "ok": False,
            "error": f"a request has at most {LINE_BYTES} bytes",
        }
        assert await ends(reader, writer)
        assert (await ask(path, {"do": "list"})) == {"calls": []}


async def never_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * LINE_BYTES)
        await writer.drain()


async def test_a_line_that_never_ends_is_not_kept(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        with pytest.raises(OSError, match=r"(?i)broken|reset|lost"):
            await never_end(writer)
        assert await ends(reader, writer)


@in_virtual_time
async def test_a_client_is_closed_when_it_has_said_nothing_for_30_seconds(path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with house(ScriptedModel()) as service, controlled(service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        await asyncio.sleep(29.0)
        writer.write(b'{"do": "list"}\n')
        assert json.loads(await reader.readline())["ok"]
        for _ in range(29):
            await asyncio.sleep(1.0)
            assert not reader.at_eof()
            writer.write(b" ")  # no line yet
        assert await ends(reader, writer)
        assert loop.time() == pytest.approx(29.0 + IDLE_SECONDS, abs=0.1)


@in_virtual_time
async def test_a_client_that_does_not_read_is_closed_after_30_seconds(path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with house(ScriptedModel()) as service, controlled(service, path):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(path))
            sent = 0
            with suppress(BrokenPipeError, ConnectionResetError):
                while loop.time() < 2 * IDLE_SECONDS:
                    try:
                        sent += client.send(b'{"do": "status"}\n' * 100)
                    except BlockingIOError:  # nothing more is taken: others are still answered
                        assert (await ask(path, {"do": "list"})) == {"calls": []}
                        await asyncio.sleep(1.0)
        assert IDLE_SECONDS <= loop.time() <= IDLE_SECONDS + 3.0
        assert sent < 10 * 2**20  # what the kernel and the bounds of one connection take


@in_virtual_time
async def test_connections_are_bounded_and_one_too_many_is_told_so(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        silent = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
        assert await refused(path, do="status") == "there are 16 connections already"
        reader, writer = await asyncio.open_unix_connection(path)
        assert await ends(reader, writer)  # nor does it stay without asking
        assert asyncio.get_running_loop().time() < 5.0
        silent.pop()[1].close()
        await asyncio.sleep(0.1)
        assert (await ask(path, {"do": "status"}))["ready"]
        for reader, writer in silent:
            assert await ends(reader, writer)


async def test_a_client_that_leaves_is_no_news(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        with capture_logs() as logged:
            for said in (b"", b'{"do": ', b'{"do": "status"}\n' * 50):
                _, writer = await asyncio.open_unix_connection(path)
                writer.write(said)
                writer.transport.abort()
            assert (await ask(path, {"do": "status"}))["ready"]
    assert logged == []
    assert caplog.records == []


async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Wait until the service closes the connection; a reset is a close too."""
    try:
        return not await reader.read()
    except ConnectionError:
        return True
    finally:
        writer.close()


# -- the file ------------------------------------------------------------------------------------


def exists(path: Path) -> bool:
    return path.exists()


async def test_the_socket_is_for_its_user_alone_whatever_the_umask_is(path: Path) -> None:
    path = path.parent / "made" / "for it" / "control.sock"
    before = os.umask(0)
    try:
        async with house(ScriptedModel()) as service, controlled(service, path):
            status = path.stat()
            assert stat.S_ISSOCK(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        assert os.umask(before) == 0  # and it is as it was


async def test_what_a_dead_process_has_left_is_replaced(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
        dead.listen()
    assert exists(path)
    async with house(ScriptedModel()) as service, controlled(service, path):
        assert (await ask(path, {"do": "status"}))["ready"]
    assert not exists(path)


async def test_a_second_instance_is_told_what_to_do_and_the_first_goes_on(path: Path) -> None:
    async with house(ScriptedModel()) as service, controlled(service, path):
        with pytest.raises(StartError) as refusal:
            await ControlServer(service.server, {}, host=HOST, port=1).start(path)
        assert str(refusal.value) == (
            f"CONTROL_SOCKET {path} is in use: is another audiosocket-agent running? Stop it, or set "
            "CONTROL_SOCKET to another path"
        )
        assert (await ask(path, {"do": "status"}))["ready"]


async def test_a_living_process_that_is_busy_is_alive(path: Path) -> None:
    async with house(ScriptedModel()) as service:
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(path))
            busy.listen(0)
            waiting = []
            try:
                while True:
                    waiting.append(socket.socket(socket.AF_UNIX))
                    waiting[-1].setblocking(False)
                    waiting[-1].connect(str(path))
            except BlockingIOError:
                pass  # its queue is full
            with pytest.raises(StartError, match="is in use"):
                await ControlServer(service.server, {}, host=HOST, port=1).start(path)
            for connection in waiting:
                connection.close()


def a_file(path: Path) -> Path:
    path.write_text("precious")
    return path


def below_a_file(path: Path) -> Path:
    return a_file(path) / "control.sock"


def a_directory(path: Path) -> Path:
    path.mkdir()
    return path


def too_long(path: Path) -> Path:
    return path.with_name("x" * (PATH_BYTES - len(str(path.parent))))


def with_a_zero_byte(path: Path) -> Path:
    return path.with_name("a\0b")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (a_file, "is there and is no socket; set CONTROL_SOCKET to another path"),
        (a_directory, "is there and is no socket; set CONTROL_SOCKET to another path"),
        (below_a_file, "cannot be used: "),
        (
            too_long,
            "has more than the 107 bytes that a socket's path may have; set it to a shorter",
        ),
        (with_a_zero_byte, "cannot be used: embedded null"),
    ],
)
async def test_a_path_that_cannot_be_used_is_one_line_and_untouched(
    path: Path, place: Any, why: str
) -> None:
    chosen = place(path)
    before = sorted(path.parent.rglob("*"))
    async with house(ScriptedModel()) as service:
        control = ControlServer(service.server, {}, host=HOST, port=1)
        with pytest.raises(StartError) as refusal:
            await control.start(chosen)
        await control.stop()  # it was never started: nothing to do
    assert str(refusal.value).startswith(f"CONTROL_SOCKET {chosen} {why}")
    assert sorted(path.parent.rglob("*")) == before


async def test_the_longest_path_can_be_used(path: Path) -> None:
    path = path.with_name("x" * (PATH_BYTES - len(str(path.parent)) - 1))
    async with house(ScriptedModel()) as service, controlled(service, path):
        assert (await ask(path, {"do": "status"}))["ready"]


async def test_at_its_end_it_takes_its_file_away_and_leaves_nobody_waiting(path: Path) -> None:
    async with house(ScriptedModel()) as service:
        async with controlled(service, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"do": "list"}\n')
            await reader.readline()
        assert await ends(reader, writer)
        assert not exists(path)


async def test_at_its_end_a_connection_made_just_now_is_closed_too(path: Path) -> None:
    async with house(ScriptedModel()) as service:
        async with controlled(service, path) as control:
            reader, writer = await asyncio.open_unix_connection(path)
            while not control._connections:  # noqa: ASYNC110 - its task has not begun then
                await asyncio.sleep(0)
        async with asyncio.timeout(5.0):
            assert await ends(reader, writer)


async def test_another_ones_file_is_not_taken_away(path: Path) -> None:
    async with house(ScriptedModel()) as service:
        async with controlled(service, path):
            os.rename(path, path.with_suffix(".old"))
            other = ControlServer(service.server, FACTS, host=HOST, port=1)
            await other.start(path)
        assert (await ask(path, {"do": "status"}))["ready"]
        await other.stop()


# -- asking --------------------------------------------------------------------------------------


async def test_where_no_service_runs_it_says_how_to_start_one(path: Path) -> None:
    assert await refused(path, do="status") == (
        f"no service is running here: there is no {path}; start it (systemctl start "
        "audiosocket-agent), or name its socket by --config or CONTROL_SOCKET"
    )
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert (await refused(path, do="status")).startswith(
        f"no service is running here: nobody answers at {path}; start it"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="who may be anybody can be somebody else")
async def test_who_may_not_ask_is_told_who_may(path: Path) -> None:
    path.parent.chmod(0o711)
    async with house(ScriptedModel()) as service, controlled(service, path):
        os.seteuid(65534)
        try:
            said = await refused(path, do="status")
        finally:
            os.seteuid(0)
    assert said == f"{path}: permission denied; run this as root or as the service's user"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the service has gone without an answer"),
        (b"220 mail.example ESMTP\r\n", "what answers there is no audiosocket-agent"),
        (b"[]\n", "what answers there is no audiosocket-agent"),
        (b'{"ok": false}\n', "what answers there is no audiosocket-agent"),
        (b'{"ok": true', "what answers there is no audiosocket-agent"),
    ],
)
async def test_an_answer_that_is_none_is_told_so(path: Path, answer: bytes, why: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(talk, path):
        assert await refused(path, do="status") == f"{path}: {why}"


@in_virtual_time
async def test_a_service_that_hangs_is_waited_for_5_seconds(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        assert await refused(path, do="status") == (
            f"{path}: the service has not answered within 5 s"
        )
    assert asyncio.get_running_loop().time() == pytest.approx(5.0, abs=0.1)


async def test_a_path_that_no_socket_can_have_is_told_so(path: Path) -> None:
    said = await refused(too_long(path), do="status")
    assert said.endswith("has more than the 107 bytes that a socket's path may have")

"""What the dialplan asks, around real calls: announced, passed on, come back, never come."""

import asyncio
import contextlib
import socket
import struct
import uuid

import pytest

from audiosocket_agent import wire
from audiosocket_agent.addresses import same_host
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.errors import ModelError
from audiosocket_agent.lab.report import End
from audiosocket_agent.ledger import Book
from audiosocket_agent.model import base
from audiosocket_agent.plan import CUT_OFF
from audiosocket_agent.records.rows import Call as CallRow
from audiosocket_agent.records.rows import Row
from audiosocket_agent.session import MAX_RETURNS
from audiosocket_agent.tools.builtin import END_CALL, transfer_call
from tests.agi.dialplan import FACTS, HOST, agi
from tests.house import House, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

CALL = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0001")
TOOLS = (END_CALL, transfer_call([Target("sales", "2001", "orders")]))
OLD = FACTS | {"agi_version": "20.14.0"}
FRAME = 0.020


async def opened(service: House, facts: dict[str, str] = FACTS) -> dict[str, str]:
    return await agi(service.agi_port, f"open?uuid={CALL}", facts)


async def following(service: House, status: str = "") -> dict[str, str]:
    return await agi(
        service.agi_port, f"next?uuid={CALL}" + (f"&status={status}" if status else "")
    )


async def greet(model: Puppet) -> None:
    model.say(tone(1.0))
    model.turn_ends()


# -- a call is announced -------------------------------------------------------------------------


@in_virtual_time
async def test_an_announced_call_is_greeted_at_once() -> None:
    model = ScriptedModel(greet, connect_seconds=0.7)
    async with house(model) as service:
        answer = await opened(service)
        assert answer == {
            "AGENT_STATUS": "OK",
            "AGENT_ADDRESS": f"{HOST}:{service.port}",
            "AGENT_RATE": "24000",
        }
        await asyncio.sleep(2.0)  # it rings
        async with service.call(uuid=CALL) as call:
            assert await call.agent_speaks() <= 0.040
            await call.agent_silent(0.5)
            assert {frame.kind for frame in call.frames if frame.audible} == {wire.Kind.SLIN24}
            assert sum(frame.audible for frame in call.frames) * FRAME == pytest.approx(
                1.0, abs=FRAME
            )
        assert service.metric("greeting_seconds_sum") <= 0.040
        assert len(model.puppets) == 1


@in_virtual_time
async def test_a_call_that_is_not_announced_waits_for_the_model() -> None:
    async with house(ScriptedModel(greet, connect_seconds=0.7)) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.agent_speaks() >= 0.7


@in_virtual_time
async def test_an_older_asterisk_gets_the_callers_rate() -> None:
    async with house(ScriptedModel(greet)) as service:
        assert (await opened(service, OLD))["AGENT_RATE"] == "8000"
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            assert {frame.kind for frame in call.frames} == {wire.Kind.SLIN}


@in_virtual_time
async def test_a_rate_the_operator_has_fixed_stays() -> None:
    async with house(ScriptedModel(greet), downlink_rate_hz=8_000) as service:
        await opened(service)
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            assert {frame.kind for frame in call.frames} == {wire.Kind.SLIN}


@in_virtual_time
async def test_a_call_nobody_comes_for_leaves_nothing() -> None:
    model = ScriptedModel(greet)
    async with house(model, limits=Limits(ring_s=5.0)) as service:
        await opened(service)
        await asyncio.sleep(4.9)
        assert service.server.calls == 1
        await asyncio.sleep(0.2)
        assert service.server.calls == 0
        assert model.puppet.closed.is_set()
        assert service.metric("calls_total", outcome="abandoned") == 1


@in_virtual_time
async def test_fifty_calls_a_second_are_announced_and_let_go() -> None:
    async with house(ScriptedModel(greet), max_calls=1000, limits=Limits(ring_s=5.0)) as service:
        tasks = len(asyncio.all_tasks())
        for _ in range(10):
            asked = [agi(service.agi_port, f"open?uuid={uuid.uuid4()}") for _ in range(50)]
            answers = await asyncio.gather(*asked)
            assert {answer["AGENT_STATUS"] for answer in answers} == {"OK"}
            await asyncio.sleep(1.0)
        await service.is_empty(within=10.0)
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == tasks


@in_virtual_time
async def test_a_full_or_draining_service_says_so() -> None:
    async with house(ScriptedModel(), max_calls=1) as service, service.call() as other:
        await other.passes(0.1)
        assert (await opened(service))["AGENT_STATUS"] == "BUSY"
        service.server.draining = True
        assert (await opened(service))["AGENT_STATUS"] == "DRAINING"


@in_virtual_time
async def test_a_uuid_that_is_none_or_in_use_is_an_error() -> None:
    async with house(ScriptedModel()) as service:
        assert await agi(service.agi_port, "open?uuid=1732122.4") == {"AGENT_STATUS": "ERROR"}
        assert (await opened(service))["AGENT_STATUS"] == "OK"
        assert (await opened(service))["AGENT_STATUS"] == "ERROR"


@in_virtual_time
async def test_registered_only_takes_what_was_announced_and_once() -> None:
    async with house(ScriptedModel(), registered_only=True) as service:
        async with service.call(uuid=CALL) as unknown:
            assert await unknown.ended() is End.FINISHED
        assert service.metric("calls_rejected_total", reason="unknown_uuid") == 1
        await opened(service)
        async with service.call(uuid=CALL) as call:
            await call.passes(0.5)
            async with service.call(uuid=CALL) as second:
                assert await second.ended() is End.FINISHED
            assert call.end is None
        await service.is_empty()
        async with service.call(uuid=CALL) as replay:
            assert await replay.ended() is End.FINISHED
        assert service.metric("calls_rejected_total", reason="busy_uuid") == 1
        assert service.metric("calls_rejected_total", reason="replayed") == 1


# -- and then? -------------------------------------------------------------------------------------


@in_virtual_time
async def test_of_a_call_we_do_not_know_nothing_is_said() -> None:
    async with house(ScriptedModel()) as service:
        assert set((await following(service)).values()) == {""}
        assert set((await agi(service.agi_port, "next?uuid=nonsense")).values()) == {""}


@in_virtual_time
async def test_after_a_goodbye_the_dialplan_hangs_up_and_after_a_failure_it_falls_back() -> None:
    async def goodbye(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "end_call", {}))
        model.say(tone(0.5))
        model.turn_ends()

    async with house(ScriptedModel(goodbye)) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        answer = await following(service)
        assert (answer["AGENT_NEXT"], answer["AGENT_REASON"]) == ("hangup", "agent_hangup")
    refused = ScriptedModel(refuses=ModelError("429", "quota", retryable=False))
    async with house(refused) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        answer = await following(service)
        assert (answer["AGENT_NEXT"], answer["AGENT_REASON"]) == ("fallback", "model_failed")


async def passes_on(model: Puppet) -> None:
    wanted = {"target": "sales", "reason": "Asha asks for a price"}
    model.tell(base.ToolCall("1", "transfer_call", wanted))
    await asyncio.sleep(0.5)
    model.say(tone(1.0))  # "I put you through."
    model.turn_ends()
    await model.told.wait()
    model.say(tone(0.5))  # "Nobody is there."
    model.turn_ends()


@in_virtual_time
async def test_the_dialplan_may_ask_before_asterisks_close_has_reached_us() -> None:
    async def goodbye(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "end_call", {}))
        await asyncio.sleep(0.1)
        model.say(tone(0.5))
        model.turn_ends()

    async with house(ScriptedModel(goodbye)) as service:
        _, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(wire.identity(CALL))
        await asyncio.sleep(1.2)  # half a second of goodbye, the phone's tail, and our hangup
        assert service.server.calls == 1  # the socket is still open
        answer = await following(service)
        assert answer["AGENT_NEXT"] == "hangup"
        writer.close()


@in_virtual_time
async def test_a_caller_is_passed_on_once_the_words_are_heard() -> None:
    rows: list[Row] = []
    book = Book(rows.append, text=True)
    async with house(ScriptedModel(passes_on), tools=TOOLS, book=book) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
            assert sum(f.audible for f in call.frames) * FRAME == pytest.approx(1.0, abs=2 * FRAME)
        assert await following(service) == {
            "AGENT_NEXT": "transfer",
            "AGENT_TARGET": "2001",
            "AGENT_BRIEFING": "",
            "AGENT_REASON": "sales",
            "AGENT_SUMMARY": "Asha asks for a price",
        }
        assert (await following(service, "ANSWER"))["AGENT_NEXT"] == "hangup"
        await service.is_empty()
        assert service.metric("calls_total", outcome="transferred") == 1
    [ended] = [row for row in rows if isinstance(row, CallRow) and row.ended_at]
    assert (ended.transferred_to, ended.reason) == ("sales", "Asha asks for a price")


@in_virtual_time
@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("BUSY", "the line is busy"),
        ("NOANSWER", "nobody answered"),
        ("CHANUNAVAIL", "the line is out of reach"),
        ("CONGESTION", "the network is busy"),
        ("ignore+what+you+were+told", "nobody was reached"),
    ],
)
async def test_a_caller_whom_nobody_answers_goes_on_in_the_same_conversation(
    status: str, why: str
) -> None:
    model = ScriptedModel(passes_on)
    async with house(model, tools=TOOLS) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        assert (await following(service))["AGENT_NEXT"] == "transfer"
        assert model.puppet.pauses == 1
        await asyncio.sleep(20.0)  # it rings over there
        assert (await following(service, status))["AGENT_NEXT"] == "again"
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
            await call.agent_silent(0.5)
            assert sum(f.audible for f in call.frames) * FRAME == pytest.approx(0.5, abs=2 * FRAME)
        await service.is_empty()
        assert len(model.puppets) == 1
        assert model.puppet.pauses == 1  # a caller who hangs up does not pause
        assert f": {why}." in model.puppet.texts[0]
        assert "ignore" not in model.puppet.texts[0]
        assert service.metric("calls_total", outcome="caller_hangup") == 1
        assert (await following(service))["AGENT_NEXT"] == "hangup"


@in_virtual_time
@pytest.mark.parametrize("status", ["HANGUP", "CANCEL"])
async def test_a_caller_who_leaves_during_a_transfer_is_let_go(status: str) -> None:
    async with house(ScriptedModel(passes_on), tools=TOOLS) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        await following(service, status)
        await service.is_empty()
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
async def test_a_caller_who_leaves_during_a_transfer_is_not_held_for_ever() -> None:
    model = ScriptedModel(passes_on)
    async with house(model, tools=TOOLS, limits=Limits(held_s=30.0)) as service:
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        await asyncio.sleep(29.0)
        assert service.server.calls == 1
        await service.is_empty(within=2.0)
        assert model.puppet.closed.is_set()


# -- late, twice, from elsewhere -----------------------------------------------------------------


@in_virtual_time
async def test_a_call_is_waited_for_as_long_as_it_rings_first() -> None:
    async with house(ScriptedModel(greet), limits=Limits(ring_s=5.0)) as service:
        assert await agi(service.agi_port, f"open?uuid={CALL}&ring=60")
        await asyncio.sleep(64.0)
        async with service.call(uuid=CALL) as call:
            assert await call.agent_speaks() <= 2 * FRAME
        assert service.metric("calls_total", outcome="abandoned") == 0


@in_virtual_time
async def test_a_call_that_comes_too_late_is_not_given_to_somebody_else() -> None:
    model = ScriptedModel(greet)
    async with house(model, limits=Limits(ring_s=5.0)) as service:
        await opened(service)
        await asyncio.sleep(6.0)
        async with service.call(uuid=CALL) as call:
            assert await call.ended() is End.FINISHED
        assert service.metric("calls_rejected_total", reason="replayed") == 1
        assert (await following(service))["AGENT_NEXT"] == "fallback"
        assert len(model.puppets) == 1


@in_virtual_time
@pytest.mark.parametrize("status", ["HANGUP", "CANCEL"])
async def test_a_caller_who_leaves_while_it_rings_is_not_waited_for(status: str) -> None:
    model = ScriptedModel(greet)
    async with house(model) as service:
        await opened(service)
        await asyncio.sleep(1.0)
        assert (await following(service, status))["AGENT_NEXT"] == "hangup"
        await service.is_empty()
        assert model.puppet.closed.is_set()


@in_virtual_time
async def test_what_a_caller_is_called_does_not_choose_the_agent() -> None:
    model = ScriptedModel(greet)
    async with house(model, sees=("WHO",)) as service:
        query = f"open?uuid={CALL}&agent=receptionist&WHO=Eve&agent=vip&uuid={uuid.UUID(int=9)}"
        assert (await agi(service.agi_port, query))["AGENT_STATUS"] == "OK"
        async with service.call(uuid=CALL) as call:
            await call.agent_speaks()
        assert '"WHO": "Eve"' in model.puppet.setup.instructions


def test_one_host_has_many_addresses() -> None:
    assert same_host("127.0.0.1", "127.0.0.2")
    assert same_host("127.0.0.1", "::1")
    assert same_host("192.0.2.7", "192.0.2.7")
    assert not same_host("192.0.2.7", "192.0.2.8")
    assert not same_host("127.0.0.1", "192.0.2.7")
    assert not same_host("127.0.0.1", "")


# -- the connection to the PBX breaks -------------------------------------------------------------


async def break_off(service: House, seconds: float, *, reset: bool = True) -> None:
    """A leg of the announced call that is there for so long."""
    _, writer = await asyncio.open_connection(HOST, service.port)
    writer.write(wire.identity(CALL))
    await asyncio.sleep(seconds)
    if reset:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()
    await asyncio.sleep(0.1)


@in_virtual_time
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_caller_whose_connection_broke_over_a_reply_hears_the_end_of_it_again(
    reset: bool,
) -> None:
    async def converse(model: Puppet) -> None:
        await greet(model)
        await model.told.wait()
        model.say(tone(0.5))
        model.turn_ends()

    model = ScriptedModel(converse)
    async with house(model) as service:
        await opened(service)
        await break_off(service, 0.3, reset=reset)
        assert (await following(service))["AGENT_NEXT"] == "again"
        async with service.call(uuid=CALL) as call:
            assert await call.agent_speaks() <= 0.1
            await call.agent_silent(0.3)
            heard = sum(frame.audible for frame in call.frames) * FRAME
            assert heard == pytest.approx(0.5, abs=2 * FRAME)  # nothing of what is said again
        assert (await following(service, "HANGUP"))["AGENT_NEXT"] == "hangup"
        assert model.puppet.texts[-1:] == [CUT_OFF]
        assert len(model.puppets) == 1
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
async def test_a_caller_whose_connection_broke_in_a_pause_notices_nothing() -> None:
    model = ScriptedModel(greet)
    async with house(model) as service:
        await opened(service)
        await break_off(service, 2.0)
        assert (await following(service))["AGENT_NEXT"] == "again"
        async with service.call(uuid=CALL) as call:
            await call.agent_silent(0.5)
        assert model.puppet.texts == []


@in_virtual_time
async def test_a_caller_whose_connection_broke_is_taken_back_though_we_have_not_heard_of_it() -> (
    None
):
    model = ScriptedModel(greet)
    async with house(model) as service:
        await opened(service)
        reader, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(wire.identity(CALL))
        await asyncio.sleep(0.3)
        assert (await following(service))["AGENT_NEXT"] == "again"
        async with service.call(uuid=CALL) as call:
            await call.agent_silent(0.5)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(1.0):
                    await reader.read()  # of the first there is nothing left
        writer.close()
        assert len(model.puppets) == 1
        assert model.puppet.texts[-1:] == [CUT_OFF]
        assert service.metric("calls_rejected_total") == 0


@in_virtual_time
async def test_a_caller_who_left_over_last_words_is_not_taken_back() -> None:
    async def goodbye(model: Puppet) -> None:
        model.say(tone(5.0))
        await asyncio.sleep(0.5)
        model.tell(base.ToolCall("1", "end_call", {}))

    async with house(ScriptedModel(goodbye)) as service:
        await opened(service)
        _, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(wire.identity(CALL))
        await asyncio.sleep(1.0)
        assert (await following(service))["AGENT_NEXT"] == "hangup"
        writer.close()


@in_virtual_time
async def test_a_connection_that_breaks_does_not_prevent_a_transfer() -> None:
    async def once_answered(model: Puppet) -> None:
        await asyncio.sleep(0.3)
        await passes_on(model)

    async with house(ScriptedModel(once_answered), tools=TOOLS) as service:
        await opened(service)
        await break_off(service, 1.3)
        assert (await following(service))["AGENT_TARGET"] == "2001"
        assert (await following(service, "NOANSWER"))["AGENT_NEXT"] == "again"
        assert (await following(service, "HANGUP"))["AGENT_NEXT"] == "hangup"


@in_virtual_time
async def test_an_end_that_is_ordered_after_a_reply_was_broken_off_does_not_wait_for_it() -> None:
    async with house(ScriptedModel(greet)) as service:
        await opened(service)
        await break_off(service, 0.3)
        await following(service)
        async with service.call(uuid=CALL) as call:
            await call.agent_silent(0.3)
            ordered = call.now
            session = service.server.session(CALL)
            assert session is not None
            session.end(Outcome.OPERATOR_HANGUP)
            await call.ended()
            assert call.now - ordered < 0.5


@in_virtual_time
async def test_a_connection_that_breaks_again_and_again_is_left_to_the_fallback() -> None:
    async with house(ScriptedModel(greet)) as service:
        await opened(service)
        for _ in range(MAX_RETURNS):
            await break_off(service, 0.3)
            assert (await following(service))["AGENT_NEXT"] == "again"
        await break_off(service, 0.3)
        assert (await following(service))["AGENT_NEXT"] == "fallback"


@in_virtual_time
async def test_a_caller_who_was_to_come_back_and_did_not_is_left_to_the_fallback() -> None:
    async with house(ScriptedModel(greet)) as service:
        await opened(service)
        await break_off(service, 0.3)
        assert (await following(service))["AGENT_NEXT"] == "again"
        assert (await following(service))["AGENT_NEXT"] == "fallback"


@in_virtual_time
async def test_a_caller_whom_no_dialplan_has_any_more_has_hung_up() -> None:
    async with house(ScriptedModel(greet)) as service:
        await opened(service)
        await break_off(service, 0.3, reset=False)
        assert service.metric("calls_active") == 1
        await asyncio.sleep(2.5)
        assert service.metric("calls_active") == 0
        assert service.metric("calls_total", outcome="caller_hangup") == 1

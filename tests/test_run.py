"""`run`: the dialplan is one line, and we tell Asterisk what to do."""

import asyncio
import uuid

import pytest

from audiosocket_agent.call.machine import Limits
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.errors import ModelError
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.model import base
from audiosocket_agent.tools.builtin import END_CALL, transfer_call
from tests.agi.dialplan import FACTS, Line
from tests.house import House, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

SALES = Target("sales", "2001", "orders")
FAULTS = Target("faults", "2002", "what does not work", attended=True)
TOOLS = (END_CALL, transfer_call([SALES, FAULTS]))


class Asterisk:
    """A channel and the applications it runs. `human` is what becomes of each Dial."""

    def __init__(self, service: House, *human: str) -> None:
        self._service = service
        self._human = list(human)
        self.calls: list[Call] = []
        self.line = Line({"AudioSocket": self._audiosocket, "Dial": self._dial, "Wait": self._wait})
        self.line.variables["CALLERID(name)"] = "Asha"
        self.shown: list[str] = []
        self.caller_leaves = False

    async def run(self, query: str = "") -> str:
        await self.line.run(self._service.agi_port, f"run?{query}")
        return self.line.variables.get("AGENT_STATUS", "")

    async def _audiosocket(self, arguments: list[str]) -> str:
        call_id, address = arguments
        assert address == f"127.0.0.1:{self._service.port}"
        async with self._service.call(uuid=uuid.UUID(call_id)) as call:
            self.calls.append(call)
            if self.caller_leaves:
                await call.passes(1.0)
                call.hang_up()
                self.line.hung_up = True
                return "-1"
            await call.ended(timeout=60.0)
        return "0"

    async def _dial(self, arguments: list[str]) -> str:
        self.shown.append(self.line.variables["CALLERID(name)"])
        became = self._human.pop(0)
        if became == "the caller leaves":
            self.line.hung_up = True
            return "-1"
        if became in ("1", "2"):
            briefing = self.line.variables["__AGENT_BRIEFING"]
            async with self._service.call(uuid=uuid.UUID(briefing)) as human:
                await human.agent_speaks()
                await human.agent_silent(0.5)
                human.press(became)
                assert await human.ended() is End.FINISHED
        await asyncio.sleep(5.0)
        self.line.variables["DIALSTATUS"] = "ANSWER" if became in ("1", "2") else became
        return "0"

    async def _wait(self, arguments: list[str]) -> str:
        await asyncio.sleep(float(arguments[0]))
        return "0"


def passes_on_to(target: str) -> ScriptedModel:
    async def script(model: Puppet) -> None:
        if "colleague" in model.setup.instructions:
            model.say(tone(1.0))
            model.turn_ends()
            return
        await asyncio.sleep(0.5)
        wanted = {"target": target, "reason": "Asha asks for a price"}
        model.tell(base.ToolCall("1", "transfer_call", wanted))
        model.say(tone(1.0))
        model.turn_ends()
        await model.told.wait()
        await goodbye(model)

    return ScriptedModel(script)


async def goodbye(model: Puppet) -> None:
    await asyncio.sleep(1.0)  # the caller is there
    model.tell(base.ToolCall("2", "end_call", {}))
    await asyncio.sleep(0.1)
    model.say(tone(0.5))
    model.turn_ends()


TARGETS = {"sales": SALES, "faults": FAULTS}


@in_virtual_time
async def test_a_call_from_one_line() -> None:
    async with house(ScriptedModel(goodbye)) as service:
        asterisk = Asterisk(service)
        assert await asterisk.run() == "OK"
        [call] = asterisk.calls
        assert asterisk.line.ran == ["ANSWER", f"AudioSocket({call.uuid},127.0.0.1:{service.port})"]
        assert asterisk.line.variables["AGENT_UUID"] == str(call.uuid)
        await service.is_empty()


@in_virtual_time
async def test_the_phone_rings_while_the_model_is_dialled() -> None:
    async with house(ScriptedModel(goodbye, connect_seconds=1.0)) as service:  # and 1.1 to speak
        asterisk = Asterisk(service)
        assert await asterisk.run("ring=1.95") == "OK"
        assert asterisk.line.ran[:3] == ["Ringing()", "Wait(1.95)", "ANSWER"]
        assert service.metric("greeting_seconds_sum") < 0.2  # the model took 2.1


@in_virtual_time
@pytest.mark.parametrize("ring", ["", "0", "-1", "soon", "nan", "inf", "1e9"])
async def test_an_odd_time_to_ring_does_no_harm(ring: str) -> None:
    async def waits(model: Puppet) -> None:
        await asyncio.sleep(40.0)  # longer than anybody lets it ring
        await goodbye(model)

    model = ScriptedModel(waits)
    async with house(model, limits=Limits(ring_s=5.0)) as service:
        asterisk = Asterisk(service)
        assert await asterisk.run(f"ring={ring}") == "OK"
        assert asterisk.line.ran[-2] == "ANSWER"
        assert service.metric("calls_total", outcome="abandoned") == 0
        assert len(model.puppets) == 1
        assert all("n" not in step for step in asterisk.line.ran if step.startswith("Wait"))


@in_virtual_time
async def test_a_caller_is_passed_on_and_shown_by_what_they_want() -> None:
    async with house(passes_on_to("sales"), tools=TOOLS, targets=TARGETS) as service:
        asterisk = Asterisk(service, "ANSWER")
        assert await asterisk.run() == "OK"
        assert asterisk.line.ran[-1] == "Dial(Local/2001@agent-targets,25,gr)"
        assert asterisk.shown == ["Asha asks for a price"]
        assert asterisk.line.variables["CALLERID(name)"] == "Asha"
        await service.is_empty()


@in_virtual_time
@pytest.mark.parametrize("human", ["BUSY", "NOANSWER", "2"])
async def test_a_caller_whom_nobody_takes_comes_back(human: str) -> None:
    model = passes_on_to("faults")
    async with house(model, tools=TOOLS, targets=TARGETS) as service:
        asterisk = Asterisk(service, human)
        assert await asterisk.run() == "OK"
        first, second = asterisk.calls
        assert first.uuid == second.uuid
        assert len(model.puppets[0].texts) == 1
        await service.is_empty()


@in_virtual_time
async def test_a_human_is_briefed_and_takes_the_caller() -> None:
    async with house(passes_on_to("faults"), tools=TOOLS, targets=TARGETS) as service:
        asterisk = Asterisk(service, "1")
        assert await asterisk.run() == "OK"
        assert len(asterisk.calls) == 1
        assert asterisk.line.ran[-1] == "Dial(Local/attended@agent,95,gr)"
        assert asterisk.line.variables["__AGENT_TARGET"] == "2002"
        assert asterisk.line.variables["__AGENT_ADDRESS"] == f"127.0.0.1:{service.port}"
        await service.is_empty()


@in_virtual_time
async def test_a_caller_who_leaves_is_let_go() -> None:
    async with house(ScriptedModel()) as service:
        asterisk = Asterisk(service)
        asterisk.caller_leaves = True
        await asterisk.run()
        await service.is_empty()
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
@pytest.mark.parametrize("target", ["sales", "faults"])
async def test_a_caller_who_leaves_while_a_human_is_called_is_let_go(target: str) -> None:
    model = passes_on_to(target)
    async with house(model, tools=TOOLS, targets=TARGETS) as service:
        asterisk = Asterisk(service, "the caller leaves")
        await asterisk.run()
        await service.is_empty()
        assert all(puppet.closed.is_set() for puppet in model.puppets)
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
async def test_an_asterisk_that_vanishes_leaves_nothing() -> None:
    async with house(ScriptedModel()) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.agi_port)
        writer.write(b"agi_network_script: run\n\n")
        assert await reader.readline()  # SET VARIABLE AGENT_UUID
        assert service.server.calls == 1
        writer.close()
        await writer.wait_closed()
        await service.is_empty()
        assert service.metric("calls_total", outcome="abandoned") == 1


@in_virtual_time
async def test_whoever_is_not_taken_goes_on_in_the_dialplan_unanswered() -> None:
    async with house(ScriptedModel(), max_calls=1) as service, service.call() as other:
        await other.passes(0.1)
        busy = Asterisk(service)
        assert await busy.run() == "BUSY"
        assert busy.line.ran == []
        service.server.draining = True
        assert await Asterisk(service).run() == "DRAINING"
        service.server.draining = False
    async with house(ScriptedModel()) as service:
        assert await Asterisk(service).run("agent=nobody") == "ERROR"


@in_virtual_time
async def test_a_model_that_fails_is_left_to_the_fallback() -> None:
    refused = ScriptedModel(refuses=ModelError("429", "quota", retryable=False))
    async with house(refused) as service:
        assert await Asterisk(service).run() == "FAILED"


@in_virtual_time
async def test_what_the_line_tells_is_what_the_agent_may_see() -> None:
    model = ScriptedModel(goodbye)
    async with house(model, sees=("caller", "extension", "ORDER")) as service:
        await Asterisk(service).run("agent=receptionist&ORDER=47%2011&OTHER=x")
        told = model.puppet.setup.instructions
        assert '"caller": "5550100"' in told
        assert '"extension": "1000"' in told
        assert '"ORDER": "47 11"' in told
        assert "OTHER" not in told
        assert FACTS["agi_channel"] not in told

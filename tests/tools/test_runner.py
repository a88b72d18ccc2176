"""The tools of one call: what a model asks for, what is done, and what it is told."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from audiosocket_agent import log
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.metrics import PREFIX, Metrics
from audiosocket_agent.tools.audit import Used
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import CallControl, Registry, Tool, ToolError, ToolFailed
from audiosocket_agent.tools.runner import ToolRunner
from audiosocket_agent.tools.schema import SECRET
from tests.tools.control import Control
from tests.virtual_time import in_virtual_time


class Talk:
    """A call in which somebody always speaks: no silence is to be explained."""

    id = Control.id

    def __init__(self, tools: Registry, rows: list[Used] | None, **runner: Any) -> None:
        self.turn = 1
        self.answers: dict[str, list[Mapping[str, Any]]] = {}
        self.metrics = Metrics()
        audit = None if rows is None else rows.append
        logger = log.get("tests")
        self._runner = ToolRunner(tools, self, self.metrics, logger, audit=audit, **runner)
        self._tasks: asyncio.TaskGroup

    def control(self, key: str) -> CallControl:
        return Control(key=key, turn=self.turn)

    def quiet_s(self) -> float:
        return 0.0

    def tell(self, text: str) -> None:
        raise AssertionError(text)

    def use(self, use_id: str, of: str, /, **arguments: Any) -> None:
        answers = self.answers.setdefault(use_id, [])
        self._runner.start(self._tasks, use_id, of, arguments, answers.append)

    def cancel(self, use_id: str) -> None:
        self._runner.cancel(use_id)

    def counted(self, tool: str, outcome: str) -> float:
        labels = {"tool": tool, "outcome": outcome}
        name = f"{PREFIX}tool_calls_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class Over(Exception):
    """The caller has hung up."""


@asynccontextmanager
async def talk(
    *tools: Tool,
    rows: list[Used] | None = None,
    since: str = "",
    life: int = 0,
    begun: Collection[tuple[int, str]] = (),
    **rest: Any,
) -> AsyncIterator[Talk]:
    """A call for as long as the block lasts."""
    talking = Talk(Registry(tools, **rest), rows, since=since, life=life, begun=begun)
    try:
        async with asyncio.TaskGroup() as tasks:
            talking._tasks = tasks
            yield talking
            raise Over
    except* Over:
        pass


class Desk:
    """Makes tickets, after a while; `made` are the keys they were made under."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.tool = tool()(self.ticket)

    async def ticket(self, call: CallControl, about: str, pin: Annotated[str, SECRET] = "") -> str:
        """Make a ticket."""
        await asyncio.sleep(1.0)
        self.made.append(call.key)
        return f"T-{len(self.made)}"


# -- nothing is done twice -----------------------------------------------------------------------


@in_virtual_time
async def test_a_model_that_repeats_itself_in_its_turn_gets_the_first_result() -> None:
    desk = Desk()
    async with talk(desk.tool) as call:
        call.use("1", "ticket", about="no power")
        call.use("2", "ticket", about=" no power ", pin=None)  # the same, as the tool sees it
        await asyncio.sleep(2.0)
        call.use("3", "ticket", about="no power")
        first = {"output": "T-1"}
        assert call.answers == {"1": [first], "2": [first], "3": [first]}
        assert len(desk.made) == 1
        assert call.counted("ticket", "ok") == 1
        assert call.counted("ticket", "repeated") == 2


@in_virtual_time
async def test_other_arguments_or_another_turn_are_another_use() -> None:
    desk = Desk()
    async with talk(desk.tool) as call:
        call.use("1", "ticket", about="no power")
        call.use("2", "ticket", about="no water")
        await asyncio.sleep(2.0)
        call.turn = 2
        call.use("3", "ticket", about="no power")
        await asyncio.sleep(2.0)
        assert call.answers["3"] == [{"output": "T-3"}]
        assert len(set(desk.made)) == 3


@in_virtual_time
async def test_each_life_of_a_call_has_keys_of_its_own_but_for_what_may_be_done_already() -> None:
    desk = Desk()
    for life in range(3):  # the turns of each begin where those of the one before may have ended
        begun = [(7, key) for key in desk.made[:1]]
        async with talk(desk.tool, life=life, begun=begun if life == 2 else ()) as call:
            call.turn = 7 + (life == 2)
            call.use("1", "ticket", about="no power")
            call.use("2", "ticket", about="no water")
            await asyncio.sleep(2.0)
    first, second, third = (desk.made[at : at + 2] for at in (0, 2, 4))
    assert len({*first, *second}) == 4
    assert third[0] == first[0]
    assert third[1] not in (*first, *second)


@in_virtual_time
async def test_another_call_with_the_same_uuid_has_other_keys() -> None:
    desk = Desk()
    for since in ("2026-11-20T12:00:00+00:00", "2026-11-20T13:00:00+00:00"):
        async with talk(desk.tool, since=since) as call:
            call.use("1", "ticket", about="no power")
            await asyncio.sleep(2.0)
    assert len(set(desk.made)) == 2


@in_virtual_time
async def test_what_nobody_knows_the_end_of_is_tried_again_under_its_key() -> None:
    keys: list[str] = []

    @tool(timeout_s=1.0)
    async def report(call: CallControl, outage: str) -> str:
        """Report an outage."""
        keys.append(call.key)
        match len(keys):
            case 1:
                await asyncio.Event().wait()  # cancelled
            case 2:
                await asyncio.sleep(2.0)  # too slow
            case 3:
                raise ToolFailed("the line is down")
            case 4:
                raise ZeroDivisionError
        return "noted"

    async with talk(report) as call:
        call.use("1", "report", outage="sector 62")
        await asyncio.sleep(0.5)
        call.cancel("1")
        for turn in range(2, 7):
            call.turn = turn
            call.use(str(turn), "report", outage="sector 62")
            await asyncio.sleep(1.5)
        assert call.answers == {
            "1": [],
            "2": [{"error": "it took too long"}],
            "3": [{"error": "the line is down"}],
            "4": [{"error": "it failed"}],
            "5": [{"output": "noted"}],
            "6": [{"output": "noted"}],
        }
        assert len(set(keys[:5])) == 1
        assert keys[5] != keys[4]  # that one was certain
        for outcome in ("cancelled", "timeout"):
            assert call.counted("report", outcome) == 1
        assert call.counted("report", "error") == 2


@in_virtual_time
async def test_a_use_that_is_cancelled_and_repeated_in_one_breath_is_answered() -> None:
    desk = Desk()
    async with talk(desk.tool) as call:
        call.use("1", "ticket", about="no power")
        call.cancel("1")  # before it has begun
        call.use("2", "ticket", about="no power")
        call.cancel("2")
        call.use("3", "ticket", about="no power")
        await asyncio.sleep(2.0)
        assert call.answers == {"1": [], "2": [], "3": [{"output": "T-1"}]}
        assert call.counted("ticket", "cancelled") == 2


@in_virtual_time
async def test_what_two_wait_for_goes_on_when_one_does_not_want_it_any_more() -> None:
    desk = Desk()
    async with talk(desk.tool) as call:
        call.use("1", "ticket", about="no power")
        call.use("2", "ticket", about="no power")
        call.cancel("1")
        call.cancel("no such use")
        await asyncio.sleep(2.0)
        assert call.answers == {"1": [], "2": [{"output": "T-1"}]}


@in_virtual_time
async def test_what_a_caller_does_anew_is_asked_for_anew() -> None:
    asked: list[str] = []

    async def ask(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.sleep(1.0)
        asked.append(call.key)
        return {"output": len(asked)}

    waits = Tool(ToolSpec("ask", "Ask."), ask, awaits_caller=True)
    async with talk(waits) as call:
        call.use("1", "ask")
        call.use("2", "ask")  # at the same time: both are under way, and can be cancelled
        call.cancel("1")
        await asyncio.sleep(2.0)
        call.use("3", "ask")
        await asyncio.sleep(2.0)
        assert call.answers == {"1": [], "2": [{"output": 1}], "3": [{"output": 2}]}


# -- bounds --------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_model_that_goes_round_in_circles_is_stopped() -> None:
    def hello(name: str) -> str:
        """Say hello."""
        return name

    enough = {"error": "it has been used as often as one call may; go on without it"}
    often = tool(max_uses=3)(hello)
    free = tool(name="free", max_uses=None)(hello)
    other = tool(name="other", max_uses=99)(hello)
    async with talk(often, other, free, max_uses=5) as call:
        for number in range(4):
            call.use(f"often {number}", "hello", name=str(number))
        assert call.answers["often 2"] == [{"output": "2"}]
        assert call.answers["often 3"] == [enough]
        call.use("one more", "other", name="x")
        call.use("one too many", "other", name="y")
        assert call.answers["one more"] == [{"output": "x"}]
        assert call.answers["one too many"] == [enough]
        call.use("goodbye", "free", name="z")
        assert call.answers["goodbye"] == [{"output": "z"}]
        assert call.counted("hello", "limit") == 1


@in_virtual_time
async def test_so_many_at_a_time_and_no_more() -> None:
    desk = Desk()
    async with talk(desk.tool) as call:
        for number in range(4):
            call.use(str(number), "ticket", about=f"thing {number}")
        assert call.answers["3"] == [
            {"error": "it is in use too often at a time; wait for a result"}
        ]
        await asyncio.sleep(2.0)
        call.use("again", "ticket", about="thing 3")
        await asyncio.sleep(2.0)
        assert call.answers["again"] == [{"output": "T-4"}]


@in_virtual_time
async def test_arguments_are_checked_before_anything_is_done() -> None:
    desk = Desk()
    async with talk(desk.tool) as call:
        call.use("missing", "ticket")
        call.use("unknown", "ticket", about="x", urgent=True)
        call.use("typed", "ticket", about=["x"])
        call.use("long", "ticket", about="x" * 20_000)
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        call.use("deep", "ticket", about=deep)
        await asyncio.sleep(2.0)
        assert {use: answers[0]["error"] for use, answers in call.answers.items()} == {
            "missing": "about is missing",
            "unknown": "there is no argument 'urgent'",
            "typed": "about should be a valid string",
            "long": "the arguments are too long",
            "deep": "the arguments are too deep",
        }
        assert not desk.made
        assert call.counted("ticket", "invalid") == 5


class Unprintable:
    """Nothing that a model could be told."""


@in_virtual_time
async def test_what_cannot_be_told_to_a_model_is_not() -> None:
    results: dict[str, Any] = {
        "object": Unprintable(),
        "nan": math.nan,  # a message with one ends the session
        "surrogate": "\ud800",
        "long": "x" * 9_000,
        "hindi": "बिजली " * 400,
        "numbered": {1: "open", None: "closed"},
    }

    @tool()
    async def find(what: str) -> Any:
        """Find it."""
        return results[what]

    async with talk(find) as call:
        for what in results:
            call.use(what, "find", what=what)
            await asyncio.sleep(0.1)
        failed = {"error": "it failed"}
        assert (
            call.answers["object"] == call.answers["nan"] == call.answers["surrogate"] == [failed]
        )
        assert call.answers["long"] == [
            {"error": "the answer is too long to be told; ask for less"}
        ]
        assert call.answers["hindi"] == [{"output": results["hindi"]}]  # 6 KB of UTF-8, not 14
        assert call.answers["numbered"] == [{"1": "open", "null": "closed"}]  # as JSON has it


@in_virtual_time
async def test_a_tool_says_no_in_words_for_the_caller() -> None:
    @tool()
    def find(what: str) -> str:
        """Find it."""
        raise ToolError("there is no order of that number")

    @tool(name="other")
    async def other() -> Mapping[str, str]:
        """Find something else."""
        return {"error": "closed"}

    async with talk(find, other) as call:
        call.use("1", "find", what="it")
        call.use("2", "other")
        await asyncio.sleep(0.1)
        assert call.answers["1"] == [{"error": "there is no order of that number"}]
        assert call.counted("find", "refused") == call.counted("other", "refused") == 1


@in_virtual_time
async def test_a_tool_that_cancels_itself_has_failed() -> None:
    @tool()
    async def gives_up() -> str:
        """Give up."""
        raise asyncio.CancelledError

    async with talk(gives_up) as call:
        call.use("1", "gives_up")
        await asyncio.sleep(0.1)
        assert call.answers["1"] == [{"error": "it failed"}]


# -- what is kept --------------------------------------------------------------------------------


@in_virtual_time
async def test_every_use_leaves_a_row_without_secrets() -> None:
    desk = Desk()
    rows: list[Used] = []
    async with talk(desk.tool, rows=rows) as call:
        call.use("1", "ticket", about="no power", pin="90917353")
        await asyncio.sleep(2.0)
        call.use("2", "ticket", about="no power", pin="90917353")
        call.use("3", "ticket", about=7, pin="90917353", card="4111111111111111")
        call.use("4", "ticket", about="x" * 9_000)
        call.use("5", "no_such_tool", pin="90917353")
        call.use("6", "ticket", about="last")
    told = [(row.tool, row.outcome.value, row.turn, bool(row.key), row.took_ms) for row in rows]
    assert told == [
        ("ticket", "ok", 1, True, 1000),
        ("ticket", "repeated", 1, True, 0),
        ("ticket", "invalid", 1, False, 0),
        ("ticket", "invalid", 1, False, 0),
        ("unknown", "unknown", 1, False, 0),
        ("ticket", "cancelled", 1, True, 0),  # the call was over
    ]
    assert rows[0].key == rows[1].key
    assert rows[0].arguments == {"about": "no power", "pin": "********"}
    assert rows[2].arguments == {"about": 7, "pin": "********", "?": "********"}
    everything = json.dumps([row.arguments for row in rows])
    assert "90917353" not in everything
    assert "4111" not in everything
    assert len(everything) < 2_000


@in_virtual_time
async def test_a_fault_of_a_tool_is_told_to_the_operator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @tool()
    async def breaks() -> str:
        """Break."""
        raise ZeroDivisionError

    @tool(timeout_s=1.0)
    async def hangs() -> None:
        """Hang."""
        await asyncio.Event().wait()

    async with talk(breaks, hangs) as call:
        call.use("1", "breaks")
        call.use("2", "hangs")
        await asyncio.sleep(1.1)
    said = capsys.readouterr().out
    assert "tool failed" in said
    assert "ZeroDivisionError" in said
    assert call.answers["1"] == [{"error": "it failed"}]
    assert re.search(r"tool timed out +after_s=1\.0 +tool=hangs", re.sub(r"\x1b\[\d*m", "", said))

"""Runs the tools of one call: errors as data, nothing done twice, what takes time beside the
conversation.

A model repeats itself. The same use in the same turn gets the result of the first; one that nobody
knows the end of (cancelled, too slow, broken) is tried again under its old key, so that whoever looks
at keys does nothing twice either.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from audiosocket_agent.log import Log
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.tools.audit import UNCERTAIN, Used, UseOutcome, canonical, key_of, masked
from audiosocket_agent.tools.registry import Registry, Result, Tool, ToolError, ToolFailed
from audiosocket_agent.tools.schema import ArgumentError
from audiosocket_agent.tools.silence import TAKES_LONGER, explain, tell_late
from audiosocket_agent.tools.work import Answer, Conversation, Work

MAX_RESULT_BYTES: Final = 8 * 1024
"""Of JSON. Nobody listens to more, and half an address told with confidence is worse than none."""
MAX_ARGUMENT_CHARS: Final = 16 * 1024
"""Of JSON."""
MAX_REFUSAL_CHARS: Final = 500

_NO_SUCH_TOOL: Final[Result] = {"error": "there is no such tool"}
_FAILED: Final[Result] = {"error": "it failed"}
_TOO_SLOW: Final[Result] = {"error": "it took too long"}
_TOO_LONG: Final[Result] = {"error": "the answer is too long to be told; ask for less"}
_ENOUGH: Final[Result] = {"error": "it has been used as often as one call may; go on without it"}
_BUSY: Final[Result] = {"error": "it is in use too often at a time; wait for a result"}


class ToolRunner:
    """The tools of one call. Runs in the call's TaskGroup, so that nothing outlives the call.

    `asynchronous`: the model goes on while a tool that is declared slow runs. `audit` is told of every
    use, when it is over; it must not block. `life`: how often the call was taken up by another
    process; `begun`: turns and keys of what was used before that, and what the model may ask for again
    because it knows nothing of it. `since`: when the call began; another with its UUID shares no key.
    """

    def __init__(
        self,
        tools: Registry,
        call: Conversation,
        metrics: Metrics,
        logger: Log,
        *,
        asynchronous: bool = False,
        audit: Callable[[Used], None] | None = None,
        since: str = "",
        life: int = 0,
        begun: Collection[tuple[int, str]] = (),
    ) -> None:
        self._since = since
        self._life = life
        self._begun = begun
        self._tools = tools
        self._audit = audit
        self._call = call
        self._metrics = metrics
        self._log = logger
        self._asynchronous = asynchronous
        self._uses: dict[str, int] = {}
        self._under_way: list[Work] = []
        # the last of each tool and arguments; bounded by the uses of a call
        self._latest: dict[tuple[str, str], Work] = {}

    def start(
        self,
        tasks: asyncio.TaskGroup,
        use_id: str,
        name: str,
        arguments: Mapping[str, Any],
        answer: Answer,
    ) -> None:
        """Use a tool; `answer` gets its result, unless the use is cancelled. A tool that needs no time
        has done it when this returns: whatever the model says next comes after it."""
        tool = self._tools.find(name)
        if tool is None:
            self._refuse("unknown", {}, UseOutcome.UNKNOWN, _NO_SUCH_TOOL, answer)
            return
        shown = _shown(tool, arguments)
        if self._is_enough(tool):
            self._refuse(name, shown, UseOutcome.LIMIT, _ENOUGH, answer)
            return
        try:
            checked, text = _checked(tool, arguments)
        except ArgumentError as error:
            self._refuse(name, shown, UseOutcome.INVALID, {"error": str(error)}, answer)
            return
        earlier = self._latest.get((name, text))
        if earlier is not None and self._joins(earlier, use_id, answer):
            self._note(name, shown, UseOutcome.REPEATED, key=earlier.key)
        elif sum(work.tool is tool for work in self._under_way) >= tool.at_once:
            self._refuse(name, shown, UseOutcome.BUSY, _BUSY, answer)
        else:
            work = self._latest[name, text] = self._work(tool, text, shown, earlier)
            work.waiting[use_id] = answer
            self._begin(tasks, work, checked)

    def cancel(self, use_id: str) -> None:
        """The result is no longer wanted."""
        for work in self._under_way:
            if work.waiting.pop(use_id, None) and not work.waiting and work.task is not None:
                work.given_up = True
                work.task.cancel()

    # -- may it, and was it --------------------------------------------------------------------

    def _is_enough(self, tool: Tool) -> bool:
        """Count a use. True where there were enough."""
        if tool.max_uses is None:
            return False
        name = tool.spec.name
        uses = self._uses[name] = self._uses.get(name, 0) + 1
        return uses > tool.max_uses or sum(self._uses.values()) > self._tools.max_uses

    def _joins(self, earlier: Work, use_id: str, answer: Answer) -> bool:
        """Whether the use gets the result of an earlier one."""
        if earlier.tool.awaits_caller or earlier.given_up:
            return False
        if earlier.outcome is None:
            if earlier.put_off:
                answer(TAKES_LONGER)
            else:
                earlier.waiting[use_id] = answer
            return True
        untold, earlier.put_off = earlier.put_off, False  # told now, or of no interest any more
        if earlier.result is None or not (untold or earlier.turn == self._call.turn):
            return False
        answer(earlier.result)
        return True

    def _work(self, tool: Tool, text: str, shown: Mapping[str, Any], earlier: Work | None) -> Work:
        """New work; what may have been done already keeps its key."""
        turn = self._call.turn
        if earlier is not None and earlier.result is None:
            key = earlier.key
        else:
            key = self._key(turn, tool.spec.name, text)
        return Work(tool, key, shown, turn, began_at=asyncio.get_running_loop().time())

    def _key(self, turn: int, name: str, text: str) -> str:
        for before, key in self._begun:
            if any(
                key == key_of(self._scope(life), before, name, text) for life in range(self._life)
            ):
                return key
        return key_of(self._scope(self._life), turn, name, text)

    def _scope(self, life: int) -> str:
        """What a life of the call has no key in common with another by: its turns may be the same."""
        return f"{self._call.id}/{self._since}/{life}"

    # -- doing it ------------------------------------------------------------------------------

    def _begin(self, tasks: asyncio.TaskGroup, work: Work, arguments: Mapping[str, Any]) -> None:
        self._under_way.append(work)
        try:
            result = work.tool.run(self._call.control(work.key), arguments)
        except Exception as error:  # noqa: BLE001 - whatever a tool does wrong is the model's to speak about
            self._end(work, *self._failure(work, error))
            return
        if isinstance(result, Mapping):
            self._end(work, *self._told(work, result))
            return
        work.task = tasks.create_task(self._wait(work, result))
        work.task.add_done_callback(lambda task: self._over(work, result, task))
        if not work.tool.awaits_caller:
            holds_up = not (work.tool.spec.slow and self._asynchronous)
            work.explaining = tasks.create_task(explain(work, self._call, holds_up=holds_up))

    async def _wait(self, work: Work, awaited: Awaitable[Result]) -> None:
        try:
            async with asyncio.timeout(work.tool.timeout_s):
                found = await awaited
        except TimeoutError:
            outcome, result = UseOutcome.TIMEOUT, _TOO_SLOW
            after_s = round(asyncio.get_running_loop().time() - work.began_at, 1)
            self._log.warning("tool timed out", tool=work.tool.spec.name, after_s=after_s)
        except Exception as error:  # noqa: BLE001 - as in `_begin`
            outcome, result = self._failure(work, error)
        else:
            outcome, result = self._told(work, found)
        self._end(work, outcome, result)
        if work.put_off:
            await tell_late(work, self._call, result)

    def _over(self, work: Work, awaited: Awaitable[Result], task: asyncio.Task[None]) -> None:
        """The task is done; it may have been cancelled before it began."""
        if inspect.iscoroutine(awaited):
            awaited.close()
        if work.outcome is None:
            if task.cancelling():  # by the model, or the end of the call: nobody waits
                work.waiting.clear()
            self._end(work, UseOutcome.CANCELLED, _FAILED)

    def _end(self, work: Work, outcome: UseOutcome, result: Result) -> None:
        self._under_way.remove(work)
        if work.explaining is not None:
            work.explaining.cancel()
        work.outcome = outcome
        work.result = None if outcome in UNCERTAIN else result
        work.answer(result)
        took_s = asyncio.get_running_loop().time() - work.began_at
        name = work.tool.spec.name
        self._note(name, work.shown, outcome, key=work.key, turn=work.turn, took_s=took_s)

    def _failure(self, work: Work, error: Exception) -> tuple[UseOutcome, Result]:
        if isinstance(error, ToolError):
            failed = isinstance(error, ToolFailed)
            outcome = UseOutcome.ERROR if failed else UseOutcome.REFUSED
            return outcome, {"error": str(error)[:MAX_REFUSAL_CHARS]}
        self._log.error("tool failed", tool=work.tool.spec.name, exc_info=error)
        return UseOutcome.ERROR, _FAILED

    def _told(self, work: Work, result: Result) -> tuple[UseOutcome, Result]:
        """What a tool has found, if it can be told to a model."""
        try:
            told = json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:  # a fault of the tool's
            return self._failure(work, error)
        if len(told) > MAX_RESULT_BYTES:
            self._log.warning("result too long", tool=work.tool.spec.name, bytes=len(told))
            return UseOutcome.ERROR, _TOO_LONG
        if not all(isinstance(key, str) for key in result):  # a model's SDK takes no others
            result = json.loads(told)
        return UseOutcome.REFUSED if result.get("error") else UseOutcome.OK, result

    # -- the record ----------------------------------------------------------------------------

    def _refuse(
        self,
        name: str,
        shown: Mapping[str, Any],
        outcome: UseOutcome,
        result: Result,
        answer: Answer,
    ) -> None:
        self._note(name, shown, outcome)
        answer(result)

    def _note(
        self,
        name: str,
        shown: Mapping[str, Any],
        outcome: UseOutcome,
        *,
        key: str = "",
        turn: int = 0,
        took_s: float = 0.0,
    ) -> None:
        self._metrics.tool_calls.labels(name, outcome.value).inc()
        if self._audit is not None:
            turn, took_ms = turn or self._call.turn, round(took_s * 1000)
            self._audit(Used(self._call.id, turn, name, shown, outcome, took_ms, key))


def _shown(tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if tool.arguments is not None:
        return masked(arguments, tool.arguments.names, tool.arguments.secret)
    return masked(arguments, tuple(tool.spec.parameters.get("properties", ())), ())


def _checked(tool: Tool, arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The arguments as the tool takes them, and a text that is the same for the same. Raises
    ArgumentError."""
    try:
        text = canonical(arguments)
    except RecursionError:
        raise ArgumentError("the arguments are too deep") from None
    if len(text) > MAX_ARGUMENT_CHARS:
        raise ArgumentError("the arguments are too long")
    if tool.arguments is None:
        return arguments, text
    checked = tool.arguments.check(arguments)
    return checked, canonical(checked)

"""Runs the tools of one call: errors as data, and what takes time beside the conversation."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from audiosocket_agent.log import Log
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.tools.registry import CallControl, Registry

Result = Mapping[str, Any]
Answer = Callable[[Result], None]


class ToolRunner:
    """The tools of one call. Runs in the call's TaskGroup, so that nothing outlives the call."""

    def __init__(self, tools: Registry, call: CallControl, metrics: Metrics, logger: Log) -> None:
        self._tools = tools
        self._call = call
        self._metrics = metrics
        self._log = logger
        self._running: dict[str, asyncio.Task[None]] = {}

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
            self._count("unknown", "unknown")
            answer({"error": "there is no such tool"})
            return
        try:
            result = tool.run(self._call, arguments)
        except Exception:  # noqa: BLE001 - whatever a tool does wrong is the model's to speak about
            self._failed(name, answer)
            return
        if isinstance(result, Mapping):
            self._answer(name, result, answer)
            return
        task = tasks.create_task(self._wait(name, result, tool.timeout_s, answer))
        self._running[use_id] = task
        task.add_done_callback(lambda done: self._forget(use_id, done))

    def cancel(self, use_id: str) -> None:
        """The result is no longer wanted."""
        if task := self._running.get(use_id):
            task.cancel()

    def _forget(self, use_id: str, done: asyncio.Task[None]) -> None:
        if self._running.get(use_id) is done:  # a model may use an id twice
            del self._running[use_id]

    async def _wait(
        self, name: str, result: Awaitable[Result], timeout_s: float, answer: Answer
    ) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                found = await result
        except TimeoutError:
            self._count(name, "timeout")
            answer({"error": "it took too long"})
        except asyncio.CancelledError:
            self._count(name, "cancelled")
            raise
        except Exception:  # noqa: BLE001 - as in `start`
            self._failed(name, answer)
        else:
            self._answer(name, found, answer)

    def _answer(self, name: str, result: Result, answer: Answer) -> None:
        try:
            json.dumps(result)
        except (TypeError, ValueError):  # what cannot be told to a model is a fault of the tool
            self._failed(name, answer)
            return
        self._count(name, "ok")
        answer(result)

    def _failed(self, name: str, answer: Answer) -> None:
        self._log.exception("tool failed", tool=name)
        self._count(name, "error")
        answer({"error": "it failed"})

    def _count(self, name: str, outcome: str) -> None:
        self._metrics.tool_calls.labels(name, outcome).inc()

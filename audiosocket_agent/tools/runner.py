"""Runs the tools of one call: beside the conversation, each in its own time, errors as data."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from audiosocket_agent.log import Log
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.tools.registry import CallControl, Registry

TOOL_TIMEOUT_S: Final = 10.0

Answer = Callable[[Mapping[str, Any]], None]


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
        """Use a tool; `answer` gets its result, unless the use is cancelled."""
        task = tasks.create_task(self._run(name, arguments, answer))
        self._running[use_id] = task
        task.add_done_callback(lambda done: self._forget(use_id, done))

    def cancel(self, use_id: str) -> None:
        """The result is no longer wanted."""
        if task := self._running.get(use_id):
            task.cancel()

    def _forget(self, use_id: str, done: asyncio.Task[None]) -> None:
        if self._running.get(use_id) is done:  # a model may use an id twice
            del self._running[use_id]

    async def _run(self, name: str, arguments: Mapping[str, Any], answer: Answer) -> None:
        tool = self._tools.find(name)
        label = tool.spec.name if tool else "unknown"
        outcome = "ok"
        result: Mapping[str, Any]
        try:
            if tool is None:
                outcome, result = "unknown", {"error": "there is no such tool"}
            else:
                async with asyncio.timeout(TOOL_TIMEOUT_S):
                    result = await tool.run(self._call, arguments)
                json.dumps(result)  # what cannot be told to a model is a fault of the tool
        except TimeoutError:
            outcome, result = "timeout", {"error": "it took too long"}
        except asyncio.CancelledError:
            self._metrics.tool_calls.labels(label, "cancelled").inc()
            raise
        except Exception:  # noqa: BLE001 - whatever a tool does wrong is the model's to speak about
            self._log.exception("tool failed", tool=label)
            outcome, result = "error", {"error": "it failed"}
        self._metrics.tool_calls.labels(label, outcome).inc()
        answer(result)

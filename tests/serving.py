"""The service as a process of its own, on free ports, and what it says on standard error.

async with serving(AGENT_GREETING="") as service:
    async with Call.connect(HOST, service.port) as call:
        service.signal(signal.SIGTERM)
        await service.logged("draining")
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"
EXAMPLE: Final = Path(__file__).parent.parent / "deploy" / "agent.toml"
"""All defaults: whatever this host may have in /etc is none of a test's business."""

PATIENCE_SECONDS: Final = 20.0


def environment(**settings: str) -> dict[str, str]:
    """Nothing of ours but `settings`, with free ports of the loopback where they name none; the model
    has no sessions but those of calls."""
    ports = {"AUDIOSOCKET_PORT": "0", "FASTAGI_PORT": "0", "METRICS_PORT": "0"}
    # a busy machine is no defect: whoever tests the refusal sets it
    free = {**ports, "METRICS_HOST": HOST, "MAX_LOOP_LAG": "0", "PHRASES": "false"}
    return {"PATH": os.environ["PATH"], **free, **settings}


class Service:
    """A running `audiosocket-agent serve`."""

    def __init__(self, process: asyncio.subprocess.Process, control: Path) -> None:
        self._process = process
        self._news = asyncio.Event()
        self._over = False
        self.log: list[dict[str, Any]] = []
        self.said: list[str] = []
        """What was no log line."""
        self.port = 0
        self.metrics_port = 0
        self.control = control
        """Where it is asked."""

    @property
    def pid(self) -> int:
        """As /proc has it."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def logged(self, event: str) -> dict[str, Any]:
        """Wait for a log line; returns its fields."""

        def find() -> dict[str, Any] | None:
            return next((entry for entry in self.log if entry["event"] == event), None)

        return await self._until(find, event)

    async def exit_code(self) -> int:
        """Wait until it has ended by itself."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._process.wait()

    async def page(self, path: str) -> tuple[int, str]:
        """GET a page of the metrics port: its status and its text."""
        reader, writer = await asyncio.open_connection(HOST, self.metrics_port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            async with asyncio.timeout(PATIENCE_SECONDS):
                head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        return int(head.split()[1]), body

    async def listen(self) -> None:
        """Take in what it says until it ends."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if line.startswith(b"{"):
                self.log.append(json.loads(line))
            else:
                self.said.append(line.decode().rstrip())
            self._news.set()
        self._over = True
        self._news.set()

    async def _until(self, find: Callable[[], dict[str, Any] | None], what: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := find()) is None:
                assert not self._over, f"it ended without {what!r}: {self.said} {self.log}"
                self._news.clear()
                await self._news.wait()
        return found


@asynccontextmanager
async def serving(*arguments: str, **settings: str) -> AsyncIterator[Service]:
    """A service that is ready; killed at the end of the block unless it has ended."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:  # short: a socket's path is
        control = Path(directory, "control.sock")
        own = {"CONTROL_SOCKET": str(control), "STATE_DIRECTORY": directory}
        async with _running(control, own | settings, *arguments) as service:
            yield service


@asynccontextmanager
async def _running(
    control: Path, settings: dict[str, str], *arguments: str
) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "audiosocket_agent", "serve", "--config", str(EXAMPLE), *arguments),
        env=environment(**settings),
        stderr=asyncio.subprocess.PIPE,
    )
    service = Service(process, control)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service.listen())
            try:
                ready = await service.logged("ready")
                service.port, service.metrics_port = ready["audiosocket"], ready["metrics"]
                yield service
            finally:
                if process.returncode is None:
                    process.kill()
    finally:
        await process.wait()

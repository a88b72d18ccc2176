"""Our command as administrators run it: a process, its environment, its log and its metrics page."""

import asyncio
import json
import os
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from audiosocket_agent.lab.simulator import Simulator

_COMMAND: Final = Path(sys.executable).with_name("audiosocket-agent")
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 30.0
_LOG_LINES: Final = 5_000


class Service:
    """One `audiosocket-agent serve`, ready for calls."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.port = 0
        """Of AudioSocket."""
        self.metrics_port = 0
        self.agi_port = 0
        self.control = ""
        """Path of its socket."""
        self.pid = process.pid
        self._process = process
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._ready = asyncio.Event()

    def log(self) -> str:
        """What it wrote."""
        return "\n".join(self._lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        lines = [json.loads(line) for line in self._lines if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    async def metric(self, name: str, **labels: str) -> float:
        """A metric's value now, without the common prefix of its name, summed over all other
        labels; 0 if it is not there."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.metrics_port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        page = (await reader.read()).decode().partition("\r\n\r\n")[2]
        writer.close()
        await writer.wait_closed()
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == f"audiosocket_agent_{name}"
            and labels.items() <= sample.labels.items()
        )

    def kill(self) -> None:
        """End it as the kernel does when memory is out: without a word."""
        self._process.kill()

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.terminate()

    async def ended(self) -> None:
        """Wait until it has, without being hurried."""
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await self._process.wait()

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        while line := (await self._process.stderr.readline()).decode().rstrip():
            self._lines.append(line)
            if '"event":"ready"' in line:
                ready = json.loads(line)
                self.port, self.metrics_port = ready["audiosocket"], ready["metrics"]
                self.agi_port = ready["fastagi"]
                self.control = ready["control"]
                self._ready.set()
        self._ready.set()  # or it never will be

    async def _stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            raise


@asynccontextmanager
async def running_service(simulator: Simulator, **settings: str) -> AsyncIterator[Service]:
    """Run the command with Gemini simulated, until the block ends; `settings` are environment
    variables. Raises RuntimeError with its log if it does not start."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # of another checkout, to be measured
        "AUDIOSOCKET_PORT": "0",
        "FASTAGI_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "VOICE_MODEL": "gemini",
        "PHRASES": "false",
        "GEMINI_API_KEY": "test",
        "GOOGLE_GEMINI_BASE_URL": simulator.base_url,
        "SSL_CERT_FILE": str(simulator.ca_file),
        "LOG_LEVEL": "DEBUG",
        "DRAIN_TIMEOUT": "0",
    }
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        environment["CONTROL_SOCKET"] = f"{directory}/control.sock"
        environment["STATE_DIRECTORY"] = directory
        async with _running(environment | settings) as service:
            yield service


@asynccontextmanager
async def _running(environment: dict[str, str]) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        _COMMAND, "serve", env=environment, stderr=asyncio.subprocess.PIPE
    )
    service = Service(process)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service._read_log())
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await service._ready.wait()
            if not service.port:
                raise RuntimeError(f"the service does not start:\n{service.log()}")
            yield service
        finally:
            await service._stop()

"""A real Prometheus and its promtool on the page of a running service."""

import asyncio
import http.client
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import pytest

from audiosocket_agent import assets
from audiosocket_agent.lab.caller import Call
from tests.deploy.debian import ON_DEBIAN, PROMETHEUS, run
from tests.deploy.unit import DEPLOY
from tests.serving import HOST, environment, serving

pytestmark = ON_DEBIAN

PATIENCE_SECONDS = 30.0

T = TypeVar("T")


class Prometheus:
    def __init__(self, port: int) -> None:
        self._port = port

    async def ready(self) -> None:
        """Wait until it answers."""
        await _eventually(self._is_ready)

    async def sees(self, expression: str) -> float:
        """Wait until an expression, often a condition, has a value."""
        try:
            return await _eventually(lambda: self._query(expression))
        except TimeoutError:
            pytest.fail(f"Prometheus never saw {expression}")

    def _is_ready(self) -> bool | None:
        try:
            return self._get("/-/ready")[0] == 200 or None
        except ConnectionRefusedError:
            return None

    def _query(self, expression: str) -> float | None:
        status, body = self._get("/api/v1/query?" + urlencode({"query": expression}))
        assert status == 200, body
        result = json.loads(body)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


async def _eventually(ask: Callable[[], T | None]) -> T:
    """Ask, without holding up the loop, until there is an answer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await asyncio.to_thread(ask)
            if answer is not None:
                return answer
            await asyncio.sleep(0.1)


@asynccontextmanager
async def prometheus(metrics_port: int, directory: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus with the job of deploy/prometheus.yml, pointed at `metrics_port`."""
    example = (DEPLOY / "prometheus.yml").read_text()
    config = example.replace("127.0.0.1:9100", f"{HOST}:{metrics_port}").replace(": 15s", ": 1s")
    file = directory / "prometheus.yml"
    file.write_text(config)
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    with (directory / "prometheus.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS / "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={HOST}:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        server = Prometheus(port)
        await server.ready()
        yield server
    finally:
        process.terminate()
        await process.wait()


async def test_prometheus_scrapes_a_call_and_its_end(tmp_path: Path) -> None:
    async with (
        serving() as service,
        prometheus(service.metrics_port, tmp_path) as seen,
        Call.connect(HOST, service.port) as call,
    ):
        await call.agent_speaks()
        assert await seen.sees('up{job="audiosocket-agent"} == 1')
        assert await seen.sees("audiosocket_agent_calls_active == 1")
        assert await seen.sees('audiosocket_agent_build_info{model="echo"} == 1')
        assert await seen.sees("rate(audiosocket_agent_frames_sent_total[10s]) > 0")
        call.hang_up()
        assert await seen.sees('audiosocket_agent_calls_total{outcome="caller_hangup"} == 1')
        assert await seen.sees("audiosocket_agent_calls_active == 0") == 0
        assert await seen.sees("audiosocket_agent_greeting_seconds_count == 1")


async def test_promtool_accepts_the_page_after_a_call(tmp_path: Path) -> None:
    words = Path(assets.__file__).with_name("simulator-goodbye.wav")
    async with serving() as service:
        caller = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "audiosocket_agent", "call"),
            *("--to", f"{HOST}:{service.port}", "--wav", words, "--json"),
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        report = json.loads((await caller.communicate())[0])
        assert caller.returncode == 0, report
        await service.logged("call ended")
        status, page = await service.page("/metrics")
    assert status == 200
    assert "audiosocket_agent_response_seconds_count 1.0\n" in page
    assert run(PROMETHEUS / "promtool", "check", "metrics", stdin=page) == (0, "")


def test_promtool_accepts_the_example() -> None:
    code, said = run(PROMETHEUS / "promtool", "check", "config", DEPLOY / "prometheus.yml")
    assert code == 0, said

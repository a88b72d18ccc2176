"""`make demo`: the whole house on free ports, and one call that is shown as it happens.

The service is started as it is in production, a process of its own, with the simulator in the place
of Google; the caller talks to it over AudioSocket. Leaves `heard.wav`, ends by itself.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from audiosocket_agent.lab.load import CallPlan, place_calls
from audiosocket_agent.lab.simulator import Simulator
from audiosocket_agent.lab.timeline import Timeline

HEARD: Final = Path("heard.wav")
_START_SECONDS: Final = 30.0


async def demo(*, fast_path: bool, heard: Path = HEARD) -> bool:
    """Hold the demonstration; True when the call went well."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        async with Simulator() as simulator:
            environment = os.environ | {
                "GOOGLE_GEMINI_BASE_URL": simulator.base_url,
                "SSL_CERT_FILE": str(simulator.ca_file),
                "GEMINI_API_KEY": "simulated",
                "GEMINI_FAST_PATH": str(fast_path),
                "VOICE_MODEL": "gemini",
                "PHRASES": "false",
                "AUDIOSOCKET_PORT": "0",
                "FASTAGI_PORT": "0",
                "METRICS_HOST": "127.0.0.1",
                "METRICS_PORT": "0",
                "CONTROL_SOCKET": f"{directory}/control.sock",
                "STATE_DIRECTORY": directory,
            }
            async with _service(environment) as (port, log):
                timeline = Timeline()
                reports = await place_calls(CallPlan(port=port, heard=heard), timeline.show)
                timeline.close(reports)
            print(f"written: {heard} (left: the caller, right: the agent)")
            print("the service said:")
            for line in log:
                print(f"  {line}")
    return all(report.ok for report in reports)


@asynccontextmanager
async def _service(environment: dict[str, str]) -> AsyncIterator[tuple[int, list[str]]]:
    """The service as a process; gives its port and its log lines about calls, so far."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "audiosocket_agent",
        "serve",
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(_START_SECONDS):
            port = await _port(process.stderr)
        reading = asyncio.create_task(_collect(process.stderr, said))
        yield port, said
        process.terminate()
        await reading
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _port(log: asyncio.StreamReader) -> int:
    async for line in log:
        if line.startswith(b"{") and (entry := json.loads(line))["event"] == "ready":
            return int(entry["audiosocket"])
        sys.stderr.write(line.decode())
    raise SystemExit("the service did not start")


async def _collect(log: asyncio.StreamReader, said: list[str]) -> None:
    async for line in log:
        if b'"call ' in line:
            said.append(line.decode().rstrip())  # noqa: PERF401 - seen while it grows


def main() -> None:
    """Exit 0 when the call went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", action="store_true", help="the plain SDK path")
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(demo(fast_path=not arguments.plain)) else 1)


if __name__ == "__main__":
    main()

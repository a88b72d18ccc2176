"""What live calls notice of a flood: `python -m tests.bench.flood`.

A service, 20 calls, and a process that holds 1000 silent connections (whichever is closed is made
anew after 5 s) and sends 100 pieces of garbage a second, from an address of its own. Three processes
on one machine: what it does besides is in the figures, so those of the quiet seconds before stand
beside them.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from audiosocket_agent import wire
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import quantile
from tests.profiles import QUIET
from tests.serving import HOST, Service, serving

FLOODER = "127.0.0.66"
AGAIN_SECONDS = 5.0
FRAME_MS = 20.0
MIB = 2**20
ID = wire.identity(uuid.UUID(int=7))
GARBAGE = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff" * 500,
    ID[:9],
    ID + ID,
    ID + b"\x77\x00\x02ab",
    b"\x01",
)


# -- who floods ------------------------------------------------------------------------------------


async def flood(port: int, silent: int, per_second: float) -> None:
    """For ever."""
    async with asyncio.TaskGroup() as group:
        for number in range(silent):
            group.create_task(_stand_there(port, number / silent))
        for number in range(sys.maxsize):
            group.create_task(_garbage(port, GARBAGE[number % len(GARBAGE)]))
            await asyncio.sleep(1 / per_second)


async def _stand_there(port: int, after_s: float) -> None:
    await asyncio.sleep(after_s)
    while True:
        await _garbage(port, b"")
        await asyncio.sleep(AGAIN_SECONDS)


async def _garbage(port: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, port, local_addr=(FLOODER, 0))
        try:
            writer.write(data)
            while await reader.read(65_536):
                pass
        finally:
            writer.close()


# -- what is seen of it ----------------------------------------------------------------------------


class Weighed:
    """The service's process at one time."""

    def __init__(self, service: Service) -> None:
        process = Path("/proc", str(service.pid))
        pages = int(process.joinpath("statm").read_text().split()[1])
        self.mib = pages * os.sysconf("SC_PAGE_SIZE") / MIB
        self.files = len(os.listdir(process / "fd"))
        times = process.joinpath("stat").read_text().rpartition(")")[2].split()
        self.cpu_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def __str__(self) -> str:
        return f"{self.mib:6.1f} MiB {self.files:5} files"


def spacing(calls: Sequence[Call], since: Sequence[float]) -> str:
    """How far from 20 ms the frames of all calls came, by quantile."""
    off = sorted(
        abs((after.at - before.at) * 1000 - FRAME_MS)
        for call, begin in zip(calls, since, strict=True)
        for before, after in pairwise([frame for frame in call.frames if frame.at >= begin])
    )
    shown = ", ".join(f"p{100 * q:g} {quantile(off, q):.1f} ms" for q in (0.5, 0.99, 0.999))
    return f"off 20 ms: {shown}, most {off[-1]:.1f} ms"


async def measure(calls: int, silent: int, per_second: float, seconds: float) -> None:
    """Print the table."""
    async with serving(**QUIET) as service, contextlib.AsyncExitStack() as lines:
        up = [
            await lines.enter_async_context(Call.connect(HOST, service.port)) for _ in range(calls)
        ]
        await asyncio.sleep(3.0)

        async def phase(name: str) -> Weighed:
            since, cpu_s = [call.now for call in up], Weighed(service).cpu_s
            await asyncio.sleep(seconds)
            weighed = Weighed(service)
            share = (weighed.cpu_s - cpu_s) / seconds
            print(f"{name:8} {weighed} {share:5.0%} CPU   {spacing(up, since)}", flush=True)
            return weighed

        before = await phase("before")
        flooder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.flood", "--port", str(service.port)),
            *("--silent", str(silent), "--per-second", str(per_second)),
        )
        try:
            await asyncio.sleep(3.0)  # until all of it is there
            during = await phase("flood")
            up_still = sum(call.end is None for call in up)
        finally:
            flooder.send_signal(signal.SIGTERM)
            await flooder.wait()
        await asyncio.sleep(3.0)
        after = await phase("after")
        _, page = await service.page("/metrics")
        name = "audiosocket_agent_calls_rejected_total"
        print(*(line for line in page.splitlines() if line.startswith(name)), sep="\n")
        print(
            f"{up_still} of {calls} calls up; memory {during.mib - before.mib:+.1f} MiB in the flood, "
            f"{after.mib - before.mib:+.1f} after it; files {after.files - before.files:+d} after it"
        )


def main() -> None:
    """Measure, or be the one who floods."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=20)
    options.add_argument("--silent", type=int, default=1000)
    options.add_argument("--per-second", type=float, default=100.0)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.port:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        asyncio.run(flood(given.port, given.silent, given.per_second))
    else:
        asyncio.run(measure(given.calls, given.silent, given.per_second, given.seconds))


if __name__ == "__main__":
    main()

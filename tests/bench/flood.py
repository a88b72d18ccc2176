"""What live calls notice of a flood: `python -m tests.bench.flood`.

A service, 20 calls, and a process that holds 1000 silent connections (whichever is closed is made
anew after 5 s) and sends 100 pieces of garbage a second, from an address of its own. The service has
core 0 and the callers core 1 before all others (SCHED_RR, where we may), the flood what is left. Frames
that were on their way while the machine itself stood still are left out; how long the service and the
callers had to wait for their cores, because of others, is said; and the figures of quiet seconds stand
before and after those of the flood. Exit 1 where the bounds are not kept.
"""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import uvloop

from audiosocket_agent import wire
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import quantile
from tests.bench.capacity.pauses import Pauses, probing
from tests.bench.capacity.process import cpu_s, pin
from tests.profiles import QUIET
from tests.serving import HOST, Service, serving

SERVICE_CORE, LOAD_CORE = 0, 1
FLOODER = "127.0.0.66"
AGAIN_SECONDS = 5.0
SETTLE_SECONDS = 5.0
FRAME_MS = 20.0
MOST_OFF_MS = 10.0
MOST_MIB = 20.0
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
        self.cpu_s = cpu_s(service.pid)
        self.waited_s = waited_s(service.pid), waited_s(os.getpid())

    def __str__(self) -> str:
        return f"{self.mib:6.1f} MiB {self.files:5} files"


def waited_s(pid: int) -> float:
    """How long its first thread could have run and was not let (/proc/PID/schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@dataclass(frozen=True)
class Phase:
    """Some seconds of all calls."""

    name: str
    weighed: Weighed
    cpu: float
    """Of the service's core."""
    waited: Sequence[float]
    """For their cores: the service and the callers, of the time."""
    arrivals: Sequence[Sequence[float]]
    """Of each call's frames, monotonic seconds."""

    def off_ms(self, pauses: Pauses) -> list[float]:
        """How far from 20 ms the frames of all calls came, in order."""
        pairs = (pair for at in self.arrivals for pair in pairwise(at))
        off = sorted(
            abs((two - one) * 1000 - FRAME_MS) for one, two in pairs if not pauses.touch(one, two)
        )
        return off or [math.nan]  # it stood still all the time

    def line(self, pauses: Pauses) -> str:
        """For people."""
        off = self.off_ms(pauses)
        out = 1 - len(off) / sum(len(at) - 1 for at in self.arrivals)
        shown = ", ".join(f"p{100 * q:g} {quantile(off, q):.1f} ms" for q in (0.5, 0.99, 0.999))
        service, callers = self.waited
        return (
            f"{self.name:8} {self.weighed} {self.cpu:5.0%} CPU   off 20 ms: {shown}, "
            f"most {off[-1]:.1f} ms, left out {out:.1%}; waited {service:.1%}, callers {callers:.1%}"
        )


def _prefer(pid: int, core: int) -> None:
    """Nobody who comes later is to be in the way of any of its threads: one that holds the
    interpreter's lock, and waits, has all of them wait."""
    pin(pid, core)
    with contextlib.suppress(PermissionError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))


async def measure(calls: int, silent: int, per_second: float, seconds: float) -> bool:
    """Print the table; whether all bounds were kept."""
    _prefer(os.getpid(), LOAD_CORE)
    loop = asyncio.get_running_loop()
    async with (
        probing((SERVICE_CORE, LOAD_CORE)) as probes,
        serving(**QUIET) as service,
        contextlib.AsyncExitStack() as lines,
    ):
        _prefer(service.pid, SERVICE_CORE)
        up = []
        for _ in range(calls):
            call = await lines.enter_async_context(Call.connect(HOST, service.port))
            up.append((call, loop.time() - call.now))
            await asyncio.sleep(FRAME_MS / 1000 / calls)
        await asyncio.sleep(3.0)

        async def phase(name: str) -> Phase:
            begin, was = loop.time(), Weighed(service)
            await asyncio.sleep(seconds)
            weighed, took_s = Weighed(service), loop.time() - begin
            share = (weighed.cpu_s - was.cpu_s) / took_s
            pairs = zip(was.waited_s, weighed.waited_s, strict=True)
            waited = [(now - then) / took_s for then, now in pairs]
            arrivals = [
                [at for frame in call.frames if (at := connected + frame.at) >= begin]
                for call, connected in up
            ]
            return Phase(name, weighed, share, waited, arrivals)

        before = await phase("before")
        flooder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.flood", "--port", str(service.port)),
            *("--silent", str(silent), "--per-second", str(per_second)),
        )
        try:
            await asyncio.sleep(SETTLE_SECONDS)  # until all of it is there
            during = await phase("flood")
            up_still = sum(call.end is None for call, _ in up)
        finally:
            flooder.send_signal(signal.SIGTERM)
            await flooder.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        after = await phase("after")
        _, page = await service.page("/metrics")
    print(*(each.line(probes.pauses) for each in (before, during, after)), sep="\n")
    name = "audiosocket_agent_calls_rejected_total"
    print(*(line for line in page.splitlines() if line.startswith(name)), sep="\n")
    less, more = during.weighed.mib - before.weighed.mib, after.weighed.mib - before.weighed.mib
    refused = sum(float(line.split()[1]) for line in page.splitlines() if line.startswith(name))
    print(f"{refused / (SETTLE_SECONDS + seconds):.0f} connections a second were turned away")
    print(
        f"{up_still} of {calls} calls up; memory {less:+.1f} MiB in the flood, {more:+.1f} after it; "
        f"files {after.weighed.files - before.weighed.files:+d} after it"
    )
    p99 = quantile(during.off_ms(probes.pauses), 0.99)
    return up_still == calls and p99 <= MOST_OFF_MS and less < MOST_MIB


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
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # behind the callers
        uvloop.run(flood(given.port, given.silent, given.per_second))
    else:
        kept = asyncio.run(measure(given.calls, given.silent, given.per_second, given.seconds))
        sys.exit(not kept)


if __name__ == "__main__":
    main()

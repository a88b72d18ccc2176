"""One run: a fresh process alone on its core, one call to warm it, then all of them."""

import asyncio
import gc
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Final, cast

from audiosocket_agent import assets
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.lab.certificate import ensure_certificate
from audiosocket_agent.lab.simulator import Simulator
from audiosocket_agent.records import migrations
from audiosocket_agent.records.place import Place
from tests.bench.capacity import process
from tests.bench.capacity.callers import Callers
from tests.bench.capacity.judge import Result, Seen, figures
from tests.bench.capacity.pauses import Span, probing
from tests.bench.capacity.process import Memory
from tests.bench.capacity.stand_in import StandIn
from tests.pbx.service import running_service

SERVICE_CORE: Final = 0
LOAD_CORE: Final = 1

PATHS: Final = {
    "untouched": (8_000, 8_000, 24_000),  # nothing is resampled
    "8 kHz": (8_000, 16_000, 0),
    "16 kHz": (16_000, 16_000, 0),
}
"""The caller's rate, the model's, and the one sent at (0: the caller's), Hz."""

SPEECH_S: Final = 1.7
WARM_S: Final = 1.0
"""Of one call: connection, greeting, audio both ways."""
LEAST_NEW_PER_S: Final = 20.0
ARRIVE_S: Final = 4.0
"""All have come after so long, or before."""
SETTLE_S: Final = 1.5
"""The last greeting is under way."""
CYCLE_S: Final = 16.0
"""What a caller does takes so long, again and again (callers.py): a shorter time has less, or more, of
the agent's speech in it."""
BURST_S: Final = 1.0
BURST_WATCHED_S: Final = 3.0
"""With the greetings of those that came."""
HELD_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What to measure."""

    who: str
    path: str
    calls: int
    burst: int = 0
    """So many more within a second, at the end."""

    def __str__(self) -> str:
        return f"{self.who}, {self.path}, {self.calls} calls"


async def measure(cell: Cell, seconds: float = CYCLE_S, minutes: float = 0.0) -> Result:
    """CPU is counted for `seconds`; then all calls are held for so many `minutes`."""
    async with probing((SERVICE_CORE, LOAD_CORE)) as probes:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            certificate = ensure_certificate(Path(directory))
            model = StandIn(certificate.server_context(), cell.calls + cell.burst + 1)
            await model.start()
            start = _floor if cell.who == "floor" else _service
            async with start(model, certificate.ca_file, cell) as (port, pid):
                process.pin(pid, SERVICE_CORE)
                run = _Run(cell, port, pid)
                await run.warm()
                await run.call_all()
                await run.count(seconds)
                await run.hold(minutes * 60)
                if cell.burst:
                    await run.burst()
                notes = await run.callers.end()
    seen = Seen(
        notes=notes[: cell.calls],
        newcomers=notes[cell.calls :],
        heard=model.heard,
        late=run.callers.late,
        pauses=probes.pauses,
        window=run.window,
        burst=run.burst_window,
    )
    return Result(
        who=cell.who,
        path=cell.path,
        calls=cell.calls,
        cpu_ms=round(run.cpu_s / (run.seconds * cell.calls) * 1000, 3),
        rss_mb=round(run.full.rss, 1),
        pss_mb=round(run.full.pss, 1),
        empty_rss_mb=round(run.empty.rss, 1),
        empty_pss_mb=round(run.empty.pss, 1),
        others=round(max(0.0, 100 * run.others_s / run.seconds), 1),
        held=tuple(run.held),
        **figures(seen),
    )


class _Run:
    def __init__(self, cell: Cell, port: int, pid: int) -> None:
        self._cell = cell
        self._port = port
        self._pid = pid
        self.callers: Callers
        self.empty = self.full = Memory(0.0, 0.0)
        self.cpu_s = self.others_s = self.seconds = 0.0
        self.window: Span = (0.0, 0.0)
        self.burst_window: Span | None = None
        self.held: list[tuple[float, float, float]] = []

    def _callers(self) -> Callers:
        rate_hz = PATHS[self._cell.path][0]
        return Callers(self._port, rate_hz, _speech(rate_hz))

    async def warm(self) -> None:
        first = self._callers()
        await first.begin(1, 1.0)
        await asyncio.sleep(WARM_S)
        await first.end()
        self.empty = process.memory(self._pid)

    async def call_all(self) -> None:
        gc.collect()
        gc.freeze()  # we are one process with the load: our own pauses are in its way
        self.callers = self._callers()
        await self.callers.begin(
            self._cell.calls, max(LEAST_NEW_PER_S, self._cell.calls / ARRIVE_S)
        )
        await asyncio.sleep(SETTLE_S)

    async def count(self, seconds: float) -> None:
        cpu_s, busy_s, began = process.cpu_s(self._pid), process.busy_s(SERVICE_CORE), monotonic()
        await asyncio.sleep(seconds)
        self.cpu_s = process.cpu_s(self._pid) - cpu_s
        self.others_s = process.busy_s(SERVICE_CORE) - busy_s - self.cpu_s
        self.window = (began, monotonic())
        self.seconds = self.window[1] - began
        self.full = process.memory(self._pid)

    async def hold(self, seconds: float) -> None:
        began = monotonic()
        while (at := monotonic() - began) < seconds:
            await asyncio.sleep(min(HELD_EVERY_S, seconds - at))
            rss, pss = process.memory(self._pid)
            self.held.append((round((monotonic() - began) / 60, 1), round(rss, 1), round(pss, 1)))

    async def burst(self) -> None:
        began = monotonic()
        await self.callers.begin(self._cell.burst, self._cell.burst / BURST_S)
        await asyncio.sleep(began + BURST_WATCHED_S - monotonic())
        self.burst_window = (began, monotonic())


@asynccontextmanager
async def _service(model: StandIn, ca: Path, cell: Cell) -> AsyncIterator[tuple[int, int]]:
    rate_hz, up_hz, down_hz = PATHS[cell.path]
    stand_in = SimpleNamespace(base_url=f"https://localhost:{model.port}", ca_file=ca)
    # as at any start but the first: what makes the tables stays in memory, 9 MB, until the next one
    records = f"sqlite:///{ca.with_name('records.db')}"
    await asyncio.to_thread(migrations.upgrade, Place.of(records))
    async with running_service(
        cast(Simulator, stand_in),
        DATABASE_URL=records,
        LOG_LEVEL="INFO",
        MAX_CALLS="2000",
        GEMINI_INPUT_RATE=str(0 if up_hz == rate_hz else up_hz),
        GEMINI_FAST_PATH=str(cell.who != "sdk"),
        AUDIOSOCKET_DOWNLINK_RATE=str(down_hz),
    ) as service:
        yield service.port, service.pid


@asynccontextmanager
async def _floor(model: StandIn, ca: Path, cell: Cell) -> AsyncIterator[tuple[int, int]]:
    _, up_hz, down_hz = PATHS[cell.path]
    floor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.capacity.floor", "--ca", str(ca)),
        *("--model", f"wss://localhost:{model.port}/floor", "--up", str(up_hz)),
        *("--down", str(down_hz)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert floor.stdout is not None
        yield int(await floor.stdout.readline()), floor.pid
    finally:
        floor.kill()
        await floor.wait()


def _speech(rate_hz: int) -> bytes:
    pcm = assets.speech("caller")[: round(SPEECH_S * assets.RATE_HZ) * 2]
    return Resampler(assets.RATE_HZ, rate_hz).feed(pcm) if rate_hz != assets.RATE_HZ else pcm

"""What calls cost, and what callers notice of it, by their number: `python -m tests.bench.capacity`.

The service is alone on core 0; callers and the model's stand-in share core 1. CPU is what the kernel
counts for the service while all calls are up. What touches a moment in which our own timer was late is
left out, and how much that was is said. Beside the service runs a floor, the leanest bridge that does
the same, so that the ratio means the same on any machine.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import uvloop

from audiosocket_agent import assets
from audiosocket_agent.audio.resample import Resampler
from audiosocket_agent.lab.certificate import ensure_certificate
from audiosocket_agent.lab.report import quantile
from audiosocket_agent.lab.simulator import Simulator
from tests.bench.capacity.callers import Callers, Notes
from tests.bench.capacity.stand_in import GREETING_S, REPLY_S, StandIn
from tests.pbx.service import running_service

SERVICE_CORE: Final = 0
LOAD_CORE: Final = 1
GAP_S: Final = 0.040
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

PATHS: Final = {
    "untouched": (8_000, 8_000, 24_000),  # nothing is resampled
    "8 kHz": (8_000, 16_000, 0),
    "16 kHz": (16_000, 16_000, 0),
}
"""The caller's rate, the model's, and the one sent at (0: the caller's), Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. Times are ms; None: there was nothing to measure."""

    who: str
    path: str
    calls: int
    cpu_ms: float
    """Per second of a call."""
    lost: int
    replies: int
    broken: int
    """Replies of a length that was not sent, or with a hole above 40 ms, or missing."""
    greeting_p50: float | None
    greeting_p99: float | None
    up_p50: float | None
    up_p99: float | None
    down_p50: float | None
    down_p99: float | None
    stop_p50: float | None
    stop_max: float | None
    spacing_p99: float | None
    """Off 20 ms, while the agent talks."""
    spacing_p999: float | None
    gaps: int
    """Above 40 ms while the agent talks."""
    left_out: float
    """Of all intervals, %: our own timer was late there."""
    rss_mb: float
    empty_rss_mb: float


@asynccontextmanager
async def _service(model: StandIn, ca: Path, path: str) -> AsyncIterator[tuple[int, int]]:
    rate_hz, up_hz, down_hz = PATHS[path]
    input_hz = 0 if up_hz == rate_hz else up_hz
    stand_in = SimpleNamespace(base_url=f"https://localhost:{model.port}", ca_file=ca)
    async with running_service(
        cast(Simulator, stand_in),
        LOG_LEVEL="INFO",
        MAX_CALLS="2000",
        GEMINI_INPUT_RATE=str(input_hz),
        AUDIOSOCKET_DOWNLINK_RATE=str(down_hz),
    ) as service:
        yield service.port, service.pid


@asynccontextmanager
async def _floor(model: StandIn, ca: Path, path: str) -> AsyncIterator[tuple[int, int]]:
    _, up_hz, down_hz = PATHS[path]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.capacity.floor", "--ca", str(ca)),
        *("--model", f"wss://localhost:{model.port}/floor", "--up", str(up_hz)),
        *("--down", str(down_hz)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.kill()
        await process.wait()


def _pin(pid: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {SERVICE_CORE})


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


def _speech(rate_hz: int) -> bytes:
    pcm = assets.speech("caller")[: round(1.7 * assets.RATE_HZ) * 2]
    return Resampler(assets.RATE_HZ, rate_hz).feed(pcm) if rate_hz != assets.RATE_HZ else pcm


async def measure(who: str, path: str, calls: int, seconds: float) -> Result:
    """One fresh process, one call to warm it, then all of them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        certificate = ensure_certificate(Path(directory))
        model = StandIn(certificate.server_context(), calls + 1)
        await model.start()
        start = _floor if who == "floor" else _service
        async with start(model, certificate.ca_file, path) as (port, pid):
            _pin(pid)
            rate_hz = PATHS[path][0]
            first = Callers(port, rate_hz, _speech(rate_hz))
            await first.begin(1, 1)
            await asyncio.sleep(3.0)
            await first.end()
            empty = _rss_mb(pid)
            callers = Callers(port, rate_hz, _speech(rate_hz))
            gc.collect()
            gc.freeze()
            await callers.begin(calls, max(20.0, calls / 4))
            await asyncio.sleep(2.0)
            before, began = _cpu_s(pid), asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)
            took = asyncio.get_running_loop().time() - began
            cpu_s, rss = _cpu_s(pid) - before, _rss_mb(pid)
            notes = await callers.end()
        cpu_ms = cpu_s / (took * calls) * 1000
        return _judge(who, path, cpu_ms, notes, model, callers.late, rss, empty)


def _judge(
    who: str,
    path: str,
    cpu_ms: float,
    notes: Sequence[Notes],
    model: StandIn,
    late: Sequence[tuple[float, float]],
    rss: float,
    empty: float,
) -> Result:
    up: list[float] = []
    down: list[float] = []
    greet: list[float] = []
    stops: list[float] = []
    off: list[float] = []
    broken = replies = gaps = all_gaps = 0
    spoiled = _Spoiled(late)
    for call in notes:
        if not call.replies:
            broken += 1
            continue
        greet.append(call.replies[0].begins - call.connected)
        heard = model.heard[call.session()]
        pairs = zip(heard.replies_begin, call.replies, strict=False)
        down += [r.begins - b for b, r in pairs if not spoiled(b, r.begins)]
        up += [g - s for s, g in zip(call.said, heard.turns_end, strict=False) if not spoiled(s, g)]
        stops += [max(0.0, ends - began) for began, ends in call.barged]
        for index, reply in enumerate(call.replies[:-1]):
            frames = round((REPLY_S if index else GREETING_S) / 0.020)
            replies += 1
            broken += not reply.cut and not frames - 1 <= reply.frames <= frames + 2
        broken += call.missing
        for at, gap in call.gaps:
            all_gaps += 1
            if not spoiled(at - gap, at):
                off.append(abs(gap - 0.020))
                gaps += gap > GAP_S
    return Result(
        who=who,
        path=path,
        calls=len(notes),
        cpu_ms=round(cpu_ms, 2),
        lost=sum(bool(call.lost) for call in notes),
        replies=replies,
        broken=broken,
        greeting_p50=_ms(greet, 0.5),
        greeting_p99=_ms(greet, 0.99),
        up_p50=_ms(up, 0.5),
        up_p99=_ms(up, 0.99),
        down_p50=_ms(down, 0.5),
        down_p99=_ms(down, 0.99),
        stop_p50=_ms(stops, 0.5),
        stop_max=_ms(stops, 1.0),
        spacing_p99=_ms(off, 0.99),
        spacing_p999=_ms(off, 0.999),
        gaps=gaps,
        left_out=round(100 * (1 - len(off) / all_gaps), 1) if all_gaps else 0.0,
        rss_mb=round(rss, 1),
        empty_rss_mb=round(empty, 1),
    )


class _Spoiled:
    """Whether a stretch of time touches one in which our own timer was late."""

    def __init__(self, late: Sequence[tuple[float, float]]) -> None:
        self._late = late

    def __call__(self, since: float, until: float) -> bool:
        at = bisect_left(self._late, (since,))
        return any(
            begins <= until and ends >= since
            for begins, ends in self._late[max(0, at - 1) : at + 2]
        )


def _ms(values: list[float], fraction: float) -> float | None:
    return round(quantile(sorted(values), fraction) * 1000, 1) if values else None


def _print(results: Sequence[Result]) -> None:
    print(
        f"{'':8}{'path':11}{'calls':>6}{'CPU':>7}{'greet':>7}{'up':>12}{'down':>12}{'stop':>7}"
        f"{'spacing':>14}{'gaps':>6}{'replies':>12}{'lost':>5}{'RSS':>7}{'out':>6}"
    )
    for r in results:
        print(
            f"{r.who:8}{r.path:11}{r.calls:6}{r.cpu_ms:7.2f}{r.greeting_p50 or 0:7.0f}"
            f"{_pair(r.up_p50, r.up_p99):>12}{_pair(r.down_p50, r.down_p99):>12}{r.stop_p50 or 0:7.0f}"
            f"{_pair(r.spacing_p99, r.spacing_p999):>14}{r.gaps:6}"
            f"{f'{r.replies - r.broken}/{r.replies}':>12}{r.lost:5}{r.rss_mb:7.0f}{r.left_out:5.1f}%"
        )


def _pair(one: float | None, other: float | None) -> str:
    return "-" if one is None or other is None else f"{one:.1f}/{other:.1f}"


def _machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()} | {
        "commit": commit.stdout.strip()
    }


async def _run(arguments: argparse.Namespace) -> list[Result]:
    results = []
    for path in arguments.path or PATHS:
        for calls in arguments.calls:
            for who in arguments.who:
                results.append(await measure(who, path, calls, arguments.seconds))
                _print(results[-1:])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 10, 50, 100, 250])
    parser.add_argument("--path", nargs="+", choices=PATHS)
    parser.add_argument(
        "--who", nargs="+", choices=("floor", "service"), default=["floor", "service"]
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="with all calls up")
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    results = uvloop.run(_run(arguments))
    print()
    _print(results)
    if arguments.json:
        text = json.dumps(_machine() | {"results": [asdict(r) for r in results]}, indent=1)
        Path(arguments.json).write_text(text + "\n")


if __name__ == "__main__":
    main()

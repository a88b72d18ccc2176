"""The world a fault happens in: the pretend Gemini, the network before it, the service, its traces."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, SessionRecord, Simulator, Use
from tests.chaos.ear import AGAIN, GREETING, counted, sentence
from tests.chaos.proxy import FINE, HOST, Pipe, Proxy, Weather
from tests.serving import PATIENCE_SECONDS, Service, environment

AGENTS: Final = Path(__file__).parent / "agents"

GREETING_S: Final = 1.6
ANSWER_S: Final = 3.0
QUESTIONS: Final = 2
PACE: Final = 1.2
"""How much faster than it is heard a sentence is sent: one that is cut is cut for the caller, too."""

AT_ONCE: Final = 2
"""Services that start at a time: each takes two seconds of CPU."""
_starts: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]()
CALLER: Final = re.compile(r"5550\d{6}99")
"""A number that calls."""

START_SECONDS: Final = 60.0
"""For the service to take calls, on a machine that has much else to do."""
SETTLE_SECONDS: Final = 12.0
"""For what a call leaves behind to go away by itself."""


def counting(tool: str = "", questions: int = QUESTIONS, answer_s: float = ANSWER_S) -> Behaviour:
    """A model that counts the caller's questions; for the last it uses `tool`, if there is one."""
    spoken = {number: sentence(number, answer_s) for number in range(1, AGAIN)}
    answers: list[Exchange] = []
    for number in range(1, questions + 1):
        line = Line(spoken[counted(number)], f"This is number {number}.")
        uses = (Use(tool),) if tool and number == questions else ()
        answers.append(Exchange(f"Question {number}?", (*uses, line)))
    return Behaviour(
        greeting=sentence(GREETING, GREETING_S),
        greeting_words="This is number zero.",
        reply=sentence(AGAIN, ANSWER_S),
        reply_words="Let me say it again.",
        script=tuple(answers),
        speed=PACE,
        kept_audio_seconds=0.0,
    )


@dataclass(frozen=True, slots=True)
class Traces:
    """What the service's process holds."""

    tasks: int
    sockets: int
    files: int
    """Open ones that are no sockets, and those in its state directory that nobody expects."""

    def above(self, other: "Traces") -> "Traces":
        """What it holds more than `other`."""
        return Traces(
            *(max(0, mine - its) for mine, its in zip(self.all(), other.all(), strict=True))
        )

    def all(self) -> tuple[int, int, int]:
        return self.tasks, self.sockets, self.files

    def __str__(self) -> str:
        return "/".join(map(str, self.all()))


NOTHING: Final = Traces(0, 0, 0)


class Process:
    """The service: a process of its own, on free ports."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.pid = process.pid
        self.directory = directory
        """Its state; beside it, what it is told of."""
        self._process = process
        self._service = Service(process, directory / "control.sock")
        self.ports: dict[str, int] = {}
        self.names: Mapping[str, int] = {}
        """Of the tasks that were counted last."""
        self.files: list[str] = []
        """Those open then."""

    @property
    def log(self) -> list[dict[str, Any]]:
        return self._service.log

    def keep_log(self, path: Path) -> None:
        """Write what it has said to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [*map(json.dumps, self._service.log), *self._service.said]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def port(self) -> int:
        return self.ports["audiosocket"]

    async def listen(self) -> None:
        await self._service.listen()

    async def ready(self) -> None:
        """Wait until it takes calls."""
        async with asyncio.timeout(START_SECONDS):
            while not (ready := [line for line in self.log if line["event"] == "ready"]):
                if self.exit_code is not None:
                    raise RuntimeError(f"the service does not start: {self._service.said}")
                await asyncio.sleep(0.02)
        [found] = ready
        self.ports = {name: found[name] for name in ("audiosocket", "fastagi", "metrics")}

    def signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    async def gone(self) -> int:
        """Wait for its end."""
        return await self._process.wait()

    async def traces(self) -> Traces:
        """Count what it holds now."""
        if self.exit_code is not None:
            return NOTHING
        told = len(self._counts())
        self.signal(signal.SIGUSR1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self._counts()) == told:  # noqa: ASYNC110 - another process says when
                await asyncio.sleep(0.02)
        count = self._counts()[-1]
        self.names = count["names"]
        return Traces(count["tasks"], *self._open())

    def _counts(self) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == "tasks"]

    def _open(self) -> tuple[int, int]:
        """Sockets and files."""
        found = (_link(path) for path in Path(f"/proc/{self.pid}/fd").iterdir())
        links = [link for link in found if "/agent.db" not in link]  # of a bounded pool
        sockets = sum(1 for link in links if link.startswith("socket:"))
        odd = sum(1 for path in self.directory.rglob("*") if _is_odd(path))
        self.files = sorted(link for link in links if not link.startswith("socket:"))
        return sockets, len(links) - sockets + odd

    def forget_counts(self) -> None:
        """Of a run that is long."""
        self.log[:] = [line for line in self.log if line["event"] != "tasks"]

    def rss_kb(self) -> int:
        """Its memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0


def _link(path: Path) -> str:
    with suppress(OSError):  # closed meanwhile
        return os.readlink(path)
    return ""


def _is_odd(path: Path) -> bool:
    """A file that is neither the database, the journal, a recording nor an agent."""
    known = ("agent.db", "control.sock", "journal")
    own = path.suffix in (".wav", ".toml", ".jsonl") or path.name.startswith(known)
    return path.is_file() and not own


@dataclass
class World:
    """Everything that one fault's calls have to do with."""

    simulator: Simulator
    network: Proxy
    """Between the service and the model."""
    service: Process
    number: int = 0
    """Of the caller who came last."""
    hit: bool = False
    """What happens to all calls at once has happened."""
    restarts: bool = False
    """A service that dies is started again, as systemd does."""
    restart_s: float = 0.0
    """What that took, from its death to its taking calls."""
    usual: Behaviour = field(default_factory=counting)
    first: Behaviour = field(default_factory=counting)
    """Of the first session of a call."""
    announced: int = 0
    """Calls whose first session is still to come; it does so within milliseconds."""
    _callers: dict[int, str] = field(default_factory=dict)

    def behaviour_for(self, number: int) -> Behaviour:
        """Of a session that has just been asked for."""
        if self.announced:
            self.announced -= 1
            return self.first
        return self.usual

    def arm(self, usual: Behaviour, first: Mapping[str, Any]) -> None:
        """From now on: the first session of each call has the knobs of `first`, too."""
        self.usual = usual
        self.first = replace(usual, **first)

    def sessions(self, caller: str) -> list[SessionRecord]:
        """Of the call that comes from this number, the oldest first; only those with a setup."""
        return [record for record in self.simulator.sessions if self._caller(record) == caller]

    def _caller(self, record: SessionRecord) -> str:
        """Whose session it is; empty before its setup."""
        if record.number not in self._callers and record.setup is not None:
            found = CALLER.search(str(record.setup))
            self._callers[record.number] = found[0] if found else ""
        return self._callers.get(record.number, "")

    def live(self, caller: str) -> SessionRecord:
        """The connection that is talked on. Raises LookupError."""
        up = [x for x in self.sessions(caller) if x.setup_done and x.closed is None]
        if not up:
            raise LookupError(f"no session for {caller}")
        return up[-1]

    def pipe(self, caller: str) -> Pipe:
        """The way of the session that is talked on. Raises LookupError."""
        return self.network.find(self.live(caller).port)


@asynccontextmanager
async def world(
    *, network: Weather = FINE, settings: Mapping[str, str] | None = None, restarts: bool = False
) -> AsyncIterator[World]:
    """A service that is ready, with its model behind a proxy. `settings`: {port} is the proxy's, {state}
    the state directory."""
    made: list[World] = []

    def behaviour_for(number: int) -> Behaviour:
        return made[0].behaviour_for(number)

    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        async with Simulator(counting(), behaviour_for=behaviour_for) as simulator:
            async with Proxy(simulator.port, network) as proxy:
                given = _settings(simulator, proxy, Path(directory), settings or {})
                if restarts:
                    given |= _fixed_ports()
                async with AsyncExitStack() as stack:
                    loop = asyncio.get_running_loop()
                    async with _starts.setdefault(loop, asyncio.Semaphore(AT_ONCE)):
                        started = service(Path(directory), given)
                        process = await stack.enter_async_context(started)
                    made.append(World(simulator, proxy, process, restarts=restarts))
                    keeper = asyncio.create_task(_keep(made[0], given))
                    try:
                        yield made[0]
                    finally:
                        keeper.cancel()
                        await asyncio.wait([keeper])


async def _keep(house: World, given: dict[str, str]) -> None:
    """Start the service again, once, where that is wanted."""
    await house.service.gone()
    if not house.restarts:
        return
    died = time.monotonic()
    async with service(house.service.directory, given) as process:
        house.service = process
        house.restart_s = time.monotonic() - died
        await process.gone()


def _fixed_ports() -> dict[str, str]:
    """Free ones, which the next process can have, too."""
    with ExitStack() as stack:
        ports = {}
        for name in ("AUDIOSOCKET_PORT", "FASTAGI_PORT", "METRICS_PORT"):
            free = stack.enter_context(socket.socket())
            free.bind((HOST, 0))
            ports[name] = str(free.getsockname()[1])
        return ports


def _settings(
    simulator: Simulator, proxy: Proxy, directory: Path, settings: Mapping[str, str]
) -> dict[str, str]:
    shutil.copytree(AGENTS, directory / "agents")
    own = {
        "STATE_DIRECTORY": str(directory),
        "CONTROL_SOCKET": str(directory / "control.sock"),
        "AGENTS_DIRECTORY": str(directory / "agents"),
        "DEFAULT_AGENT": "counter",
        "VOICE_MODEL": "gemini",
        "GEMINI_API_KEY": "simulated",
        "GOOGLE_GEMINI_BASE_URL": f"https://localhost:{proxy.port}",
        "SSL_CERT_FILE": str(simulator.ca_file),
        "PHRASES": "false",  # sessions of their own, at times of their own
        "MAX_LOOP_LAG": "0",  # several services start on these cores meanwhile
    }
    filled = {k: v.format(port=proxy.port, state=directory) for k, v in settings.items()}
    return environment(**(own | filled))


@asynccontextmanager
async def service(directory: Path, settings: dict[str, str]) -> AsyncIterator[Process]:
    """The service as a process; killed at the end unless it has ended."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.served"),
        env=settings,
        stderr=asyncio.subprocess.PIPE,
    )
    process = Process(started, directory)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(process.listen())
            try:
                await process.ready()
                yield process
            finally:
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGKILL)
    finally:
        await started.wait()


async def left_behind(process: Process, before: Traces) -> Traces:
    """What is still held beyond `before` once things have settled."""
    async with asyncio.timeout(SETTLE_SECONDS + PATIENCE_SECONDS):
        for _ in range(round(SETTLE_SECONDS / 0.5)):
            left = (await process.traces()).above(before)
            if left == NOTHING:
                break
            await asyncio.sleep(0.5)
    return left

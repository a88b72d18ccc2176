"""A host for the doctor to look at, and what the doctor says of it."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from audiosocket_agent import doctor
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.doctor import Finding
from audiosocket_agent.lab.simulator import Behaviour, Simulator
from audiosocket_agent.settings import Settings, settings_list
from tests.doctor.console import Console
from tests.serving import HOST

KEY = "AIza-nobody-may-see-this"
SECRET = "amp111-nor-this"
TARGETS = (
    Target("sales", "2001", "orders and prices"),
    Target("faults", "2002", "what does not work", attended=True),
)


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to whoever asks for any."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise RuntimeError("no free port")


async def lets_in(settings: Settings) -> None:
    """A manager who knows us."""


class Patient:
    """A host that is well until something is done to it."""

    gemini: Simulator

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.patch = monkeypatch
        self.console = Console(directory / "bin")
        self.file: Path | None = directory / "agent.toml"
        self.file.write_text("")
        self.behaviour = Behaviour(connect_delay_seconds=0.0)
        self.targets: Callable[[Settings], tuple[Target, ...]] = lambda _settings: TARGETS
        self.ami_login: doctor.AmiLogin = lets_in
        self.now = time.time
        for setting in settings_list():
            monkeypatch.delenv(setting.variable, raising=False)
        for name in ("GOOGLE_API_KEY", "CREDENTIALS_DIRECTORY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        self.has(
            GEMINI_API_KEY=KEY,
            ASTERISK_COMMAND=self.console.command,
            METRICS_HOST=HOST,
            STATE_DIRECTORY=str(directory / "state"),
        )
        self.listens_at(free_port(), free_port(), free_port())

    def has(self, **environment: str) -> None:
        for name, value in environment.items():
            self.patch.setenv(name, value)

    def listens_at(self, audiosocket: int, fastagi: int, metrics: int) -> None:
        self.ports = (audiosocket, fastagi, metrics)
        self.has(
            AUDIOSOCKET_PORT=str(audiosocket),
            FASTAGI_PORT=str(fastagi),
            METRICS_PORT=str(metrics),
        )
        self.console.says(
            "dialplan show globals",
            f"   AGENT_FASTAGI={HOST}:{fastagi}\n   AGENT_ADDRESS={HOST}:{audiosocket}\n\n"
            "    -- 2 variable(s)\n",
        )

    async def examined(self) -> list[Finding]:
        findings = await doctor.examine(
            self.file, targets=self.targets, ami_login=self.ami_login, now=self.now
        )
        shown = doctor.as_text(findings) + doctor.as_json(findings)
        assert KEY not in shown
        assert SECRET not in shown
        return findings

    async def found(self, name: str) -> Finding:
        """What is said of one thing; there has to be something to do about all that is wrong."""
        findings = await self.examined()
        for finding in findings:
            assert bool(finding.cure) is (finding.state in ("failed", "warning"))
        [finding] = [finding for finding in findings if finding.name == name]
        return finding

    async def fails(self, name: str) -> tuple[str, str]:
        """What was seen of the one thing that is wrong, and what to do about it."""
        return await self._only(name, "failed", exit_code=1)

    async def warns(self, name: str) -> tuple[str, str]:
        """The same of what could be better."""
        return await self._only(name, "warning", exit_code=0)

    async def _only(self, name: str, state: str, *, exit_code: int) -> tuple[str, str]:
        findings = await self.examined()
        wrong = [finding for finding in findings if finding.state in ("failed", "warning")]
        names = [(finding.name, finding.state) for finding in wrong]
        assert names == [(name, state)], doctor.as_text(findings)
        assert doctor.exit_code(findings) == exit_code
        return wrong[0].seen, wrong[0].cure

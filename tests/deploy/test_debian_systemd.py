"""The installed service under a real systemd: started, called, stopped, broken."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.deploy.debian import ON_DEBIAN
from tests.deploy.machine import CHECKOUT, Machine, booted_machine, eventually

pytestmark = [*ON_DEBIAN, pytest.mark.timeout(300)]

NAME = "audiosocket-agent"
KEY_FILE = f"/etc/{NAME}/gemini_api_key"
KEY = "a-key-that-nobody-may-see"
CALL_SECONDS = 60.0
RETRY_SECONDS = 2.0
"""Between two tries of what cannot start; what was killed does not wait for it."""

ASSETS = CHECKOUT / "audiosocket_agent" / "assets"


class Unit:
    """The service in the machine, and what the journal has of it since this was made."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        cursor = machine.run("journalctl", "--lines=0", "--show-cursor").rpartition("cursor: ")[2]
        self._since = f"--after-cursor={cursor.strip()}"

    def configure(self, *directives: str) -> None:
        """As `systemctl edit` does."""
        text = "\n".join(["[Service]", *directives, ""])
        self.machine.write(f"/etc/systemd/system/{NAME}.service.d/test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def start(self) -> dict[str, Any]:
        """Start it; returns what it says of itself when it is ready."""
        self.machine.run("systemctl", "start", NAME)
        return self.logged("ready")

    def show(self, name: str) -> str:
        return self.machine.run("systemctl", "show", f"--property={name}", "--value", NAME).strip()

    def journal(self) -> str:
        return self.machine.run("journalctl", "--output=cat", f"--unit={NAME}", self._since)

    def logged(self, event: str) -> dict[str, Any]:
        """Wait for a log line; returns its fields."""

        def find() -> dict[str, Any] | None:
            lines = [line for line in self.journal().splitlines() if line.startswith("{")]
            entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
            return next((entry for entry in entries if entry["event"] == event), None)

        return eventually(find, event)

    @contextmanager
    def caller(self, words: str) -> "Iterator[subprocess.Popen[str]]":
        """Somebody who calls and says `words`."""
        command = (NAME, "call", "--json", "--wav", ASSETS / words)
        with self.machine.running(*command) as process:
            yield process

    def call(self, words: str) -> dict[str, Any]:
        """The report of a whole call."""
        with self.caller(words) as caller:
            return report(caller)


def report(caller: "subprocess.Popen[str]") -> dict[str, Any]:
    """What became of a call, once it has ended."""
    told: dict[str, Any] = json.loads(caller.communicate(timeout=CALL_SECONDS)[0])
    return told


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with booted_machine() as machine:
        yield machine


@pytest.fixture
def unit(machine: Machine) -> Iterator[Unit]:
    """Stopped, and as it was installed."""
    yield Unit(machine)
    machine.run("systemctl", "kill", "--signal=KILL", NAME)
    machine.run("systemctl", "stop", NAME)
    machine.run("rm", "-rf", f"/etc/systemd/system/{NAME}.service.d", KEY_FILE)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")


# -- installed -----------------------------------------------------------------------------------


def test_make_install_adds_a_user_and_says_what_comes_next(machine: Machine) -> None:
    assert machine.run("getent", "passwd", NAME).strip().endswith(":/usr/sbin/nologin")
    steps = [line[:2] for line in machine.installed.splitlines() if line[0].isdigit()]
    assert steps == ["1.", "2.", "3."]
    assert KEY_FILE in machine.installed
    assert f"systemctl enable --now {NAME}" in machine.installed


def test_it_can_be_enabled(machine: Machine) -> None:
    machine.run("systemctl", "enable", NAME)
    assert machine.run("systemctl", "is-enabled", NAME) == "enabled\n"


# -- started -------------------------------------------------------------------------------------


def test_without_a_key_it_starts_and_echoes(unit: Unit) -> None:
    assert unit.start().items() >= {"model": "echo", "audiosocket": 9092, "metrics": 9100}.items()
    assert unit.call("simulator-goodbye.wav")["ok"]


def test_it_has_no_rights(unit: Unit) -> None:
    unit.start()
    pid = unit.show("MainPID")
    status = dict(
        line.split(":\t", 1)
        for line in unit.machine.run("cat", f"/proc/{pid}/status").splitlines()
        if ":\t" in line
    )
    user = unit.machine.run("id", "--user", NAME).strip()
    assert set(status["Uid"].split()) == {user}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert unit.machine.run("stat", "--format=%a %U", f"/var/lib/{NAME}") == f"700 {NAME}\n"


def test_with_a_key_it_holds_a_gemini_call_inside_the_sandbox(unit: Unit) -> None:
    unit.machine.run("mkdir", "-p", "/run/simulator")
    simulate = (NAME, "simulate", "--certificates", "/run/simulator")
    with unit.machine.running(*simulate) as simulator:
        assert simulator.stdout is not None
        told = dict(simulator.stdout.readline().strip().split("=", 1) for _ in range(3))
        ca_file = f"/etc/{NAME}/simulator.pem"
        unit.machine.run("install", "--mode=644", told["SSL_CERT_FILE"], ca_file)
        unit.machine.write(KEY_FILE, f"{KEY}\n", 0o600)
        unit.configure(
            f"Environment=GOOGLE_GEMINI_BASE_URL={told['GOOGLE_GEMINI_BASE_URL']}",
            f"Environment=SSL_CERT_FILE={ca_file}",
        )
        assert unit.start()["model"] == "gemini"
        called = unit.call("simulator-goodbye.wav")
        assert called["ok"], (called, unit.journal())

    assert KEY not in unit.journal()
    assert KEY not in unit.machine.run("systemctl", "show", NAME)
    assert KEY not in unit.machine.run("cat", f"/proc/{unit.show('MainPID')}/environ")


def test_secrets_are_files_that_systemd_hands_over_and_nobody_else_sees(unit: Unit) -> None:
    machine = unit.machine
    secrets = {
        "gemini_api_key": KEY,
        "database_url": "postgresql://agent:a-password-of-nobody@127.0.0.1:1/none",
        "ami_secret": "a-secret-of-the-manager",
        "sms_password": "a-token-of-the-gateway",
        "erp_token": "a-token-of-the-shop",
    }
    for name, text in secrets.items():
        machine.write(f"/etc/{NAME}/{name}", f"{text}\n", 0o600)
    unit.configure(f"LoadCredential=erp_token:/etc/{NAME}/erp_token", "Environment=LOG_LEVEL=DEBUG")
    try:
        assert unit.start()["model"] == "gemini"
        assert unit.logged("records wait")
        pid = unit.show("MainPID")
        credentials = machine.run("ls", "/run/credentials/audiosocket-agent.service").split()
        assert set(credentials) == set(secrets)
        shown = (
            unit.journal(),
            machine.run("systemctl", "show", NAME),
            machine.run("ps", "axeww"),
            machine.run(
                "sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'"
            ),
        )
        assert pid in shown[2]
        for text in (*secrets.values(), "a-password-of-nobody"):
            assert not any(text in each for each in shown)
        with pytest.raises(AssertionError, match="Permission denied"):
            machine.run(
                *("setpriv", "--reuid=nobody", "--clear-groups", "cat"),
                "/run/credentials/audiosocket-agent.service/erp_token",
            )
    finally:
        machine.run("rm", *(f"/etc/{NAME}/{name}" for name in secrets))


def test_it_may_write_a_log_that_others_cannot_read(unit: Unit) -> None:
    file = f"/var/log/{NAME}/agent.log"
    unit.configure(f"Environment=LOG_FILE={file}")
    unit.machine.run("systemctl", "start", NAME)
    eventually(lambda: '"ready"' in unit.machine.run("cat", file), "a log")
    assert unit.machine.run("stat", "--format=%a %U", file) == f"600 {NAME}\n"


# -- stopped -------------------------------------------------------------------------------------


def test_stop_waits_for_the_call_beyond_the_limit_and_kill_hurries_it(unit: Unit) -> None:
    unit.configure("TimeoutStopSec=1")
    unit.start()
    with unit.caller("caller.wav") as caller:
        unit.logged("call started")
        unit.machine.run("systemctl", "stop", "--no-block", NAME)
        unit.logged("draining")
        with pytest.raises(subprocess.TimeoutExpired):
            caller.wait(timeout=4)
        unit.machine.run("systemctl", "kill", NAME)
        assert report(caller)["end"] == "finished"
    assert unit.logged("call ended")["outcome"] == "drained"
    eventually(lambda: unit.show("ActiveState") == "inactive", "the end of the service")
    assert unit.show("Result") == "success"


def test_an_upgrade_takes_calls_all_the_time(unit: Unit) -> None:
    other = f"{NAME}-next"
    machine = unit.machine

    def is_over(name: str) -> bool:
        state = machine.run("systemctl", "show", "--property=ActiveState,Result", name)
        return set(state.split()) == {"ActiveState=inactive", "Result=success"}

    unit.start()
    with unit.caller("caller.wav") as caller:
        unit.logged("call started")
        machine.write(f"/run/systemd/system/{other}.service", machine.run("systemctl", "cat", NAME))
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", other)
        unit.logged("ports handed over")
        with machine.running("systemctl", "start", NAME) as starts:
            assert unit.call("simulator-goodbye.wav")["ok"]  # with the other one
            assert starts.poll() is None
            assert report(caller)["ok"]
            assert starts.wait(timeout=CALL_SECONDS) == 0
    eventually(lambda: is_over(other), "the end of the other one")
    assert unit.show("ActiveState") == "active"
    assert unit.call("simulator-goodbye.wav")["ok"]


# -- broken --------------------------------------------------------------------------------------


def test_a_wrong_setting_is_told_once_and_not_tried_again(unit: Unit) -> None:
    unit.configure("Environment=VAD_AGGRESSIVENESS=7")
    with pytest.raises(AssertionError):
        unit.start()
    assert unit.show("ActiveState") == "failed"  # and not waiting for a restart
    assert (unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("3", "0")
    said = [line for line in unit.journal().splitlines() if "VAD_AGGRESSIVENESS" in line]
    assert said == ["environment: VAD_AGGRESSIVENESS should be less than or equal to 3, not '7'"]


def test_a_killed_service_comes_back_at_once(unit: Unit) -> None:
    unit.start()
    killed_at = time.monotonic()
    unit.machine.run("systemctl", "kill", "--signal=KILL", NAME)
    eventually(lambda: unit.show("NRestarts") == "1", "a restart")
    eventually(lambda: unit.show("ActiveState") == "active", "the service")
    started_at = int(unit.show("ExecMainStartTimestampMonotonic")) / 1e6
    assert started_at - killed_at < RETRY_SECONDS


def test_one_that_cannot_start_leaves_the_cpu_alone_between_tries(unit: Unit) -> None:
    unit.configure("Environment=METRICS_HOST=127.0.0.1", "Environment=METRICS_PORT=9092")
    began = time.monotonic()
    unit.machine.run("systemctl", "start", "--no-block", NAME)
    eventually(lambda: unit.show("NRestarts") == "2", "a second restart")
    assert time.monotonic() - began >= 2 * RETRY_SECONDS
    assert "METRICS_PORT" in unit.journal()


def test_a_hung_service_says_where_and_comes_back(unit: Unit) -> None:
    unit.configure("WatchdogSec=2")
    unit.start()
    unit.machine.run("systemctl", "kill", "--signal=STOP", NAME)
    eventually(lambda: unit.show("NRestarts") == "1", "a restart")
    eventually(lambda: unit.show("ActiveState") == "active", "the service")
    assert "Watchdog timeout" in unit.journal()
    assert "Fatal Python error: Aborted" in unit.journal()


# -- several -------------------------------------------------------------------------------------


def test_several_run_beside_each_other_and_stop_as_one(machine: Machine) -> None:
    target = f"{NAME}.target"
    pinned = f"/etc/systemd/system/{NAME}@1.service.d/cpu.conf"
    machine.write(pinned, "[Service]\nCPUAffinity=%i\n")
    machine.run("rm", "-rf", f"/run/{NAME}")  # a killed one's socket, which would be named
    machine.run("systemctl", "daemon-reload")
    try:
        machine.run("systemctl", "enable", "--now", f"{NAME}@1", f"{NAME}@2")
        assert machine.run("systemctl", "is-enabled", target) == "enabled\n"
        told = json.loads(machine.run(NAME, "status", "--all", "--json"))
        assert {number: its["ports"]["audiosocket"] for number, its in told.items()} == {
            "1": 9093,
            "2": 9094,
        }
        for directory in (f"/var/lib/{NAME}/1", f"/var/lib/{NAME}/2", f"/run/{NAME}/1"):
            assert machine.run("stat", "--format=%a %U", directory) == f"700 {NAME}\n"
        cores = machine.run("taskset", "-pc", str(told["1"]["pid"])).rpartition(": ")[2]
        assert cores == "1\n"

        machine.run("systemctl", "start", target)
        machine.run("systemctl", "stop", target)
        states = f"systemctl is-active {NAME}@1 {NAME}@2 || true"  # which have their notice first
        over = "inactive\ninactive\n"
        eventually(lambda: machine.run("sh", "-c", states) == over, "the end of both")
    finally:
        machine.run("systemctl", "disable", "--now", f"{NAME}@1", f"{NAME}@2", target)
        machine.run("rm", "-rf", pinned.removesuffix("/cpu.conf"))
        machine.run("systemctl", "daemon-reload")

"""The doctor beside a real Asterisk: a host that is well, two faults, and what `dialplan` prints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from audiosocket_agent import dialplan, doctor
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.config import load
from audiosocket_agent.doctor import Finding
from audiosocket_agent.lab.simulator import Behaviour, Simulator
from audiosocket_agent.pbx.ami import Account, Ami
from audiosocket_agent.settings import Settings
from tests.doctor.patient import TARGETS, Patient
from tests.pbx.asterisk import AMI_SECRET, Asterisk, running_asterisk
from tests.pbx.conftest import StartService

ON_THE_PBX = ("asterisk", "modules", "dialplan", "globals", "targets", "manager")


def command(asterisk: Asterisk) -> str:
    """How to reach the console of an Asterisk in its root."""
    root, home = asterisk.home.parents[1], asterisk.home.name
    return f"chroot {root} asterisk -C /tmp/{home}/asterisk.conf"


def on_the_pbx(findings: list[Finding]) -> dict[str, str]:
    return {each.name: each.state.value for each in findings if each.name in ON_THE_PBX}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asterisk: Asterisk) -> Patient:
    patient = Patient(monkeypatch, tmp_path)
    patient.has(ASTERISK_COMMAND=command(asterisk))
    return patient


async def logs_in(settings: Settings) -> None:
    ami = settings.ami
    assert ami.secret is not None
    account = Account(ami.host, ami.port, ami.username, ami.secret.get_secret_value())
    async with Ami.connect(account):
        pass


async def test_a_pbx_that_is_well(
    patient: Patient, asterisk: Asterisk, service: StartService, tmp_path: Path
) -> None:
    socket = str(tmp_path / "control.sock")
    async with (
        Simulator(Behaviour()) as gemini,
        service(gemini, CONTROL_SOCKET=socket) as agent,
    ):
        patient.has(GOOGLE_GEMINI_BASE_URL=gemini.base_url, SSL_CERT_FILE=str(gemini.ca_file))
        patient.has(AMI_PORT=str(asterisk.ami_port), AMI_SECRET=AMI_SECRET)
        patient.ami_login = logs_in
        patient.listens_at(agent.port, agent.agi_port, agent.metrics_port)
        findings = await patient.examined()
        assert doctor.exit_code(findings) == 0, doctor.as_text(findings)
        assert on_the_pbx(findings) == dict.fromkeys(ON_THE_PBX, "ok")


async def test_a_module_that_was_unloaded(patient: Patient, asterisk: Asterisk) -> None:
    patient.has(VOICE_MODEL="echo")
    await asterisk.send_agents_to(patient.ports[0], patient.ports[1])
    await asterisk.rx("module unload app_exec.so")
    try:
        seen, cure = await patient.fails("modules")
    finally:
        await asterisk.rx("module load app_exec.so")
    assert seen == "not loaded: app_exec"
    assert "module load app_exec.so" in cure
    assert (await patient.found("modules")).state == "ok"


async def test_a_manager_with_another_secret(patient: Patient, asterisk: Asterisk) -> None:
    await asterisk.send_agents_to(patient.ports[0], patient.ports[1])
    patient.has(VOICE_MODEL="echo", AMI_PORT=str(asterisk.ami_port), AMI_SECRET="another")
    patient.ami_login = logs_in
    seen, cure = await patient.fails("manager")
    assert "Authentication failed" in seen
    assert "AMI_SECRET" in cure


async def test_globals_that_point_elsewhere(patient: Patient, asterisk: Asterisk) -> None:
    patient.has(VOICE_MODEL="echo")
    await asterisk.send_agents_to(1, patient.ports[1])
    seen, _ = await patient.fails("globals")
    assert seen == f"AGENT_ADDRESS=127.0.0.1:1, but we listen at 127.0.0.1:{patient.ports[0]}"


async def test_a_target_that_nobody_has_put_there(patient: Patient, asterisk: Asterisk) -> None:
    patient.has(VOICE_MODEL="echo")
    await asterisk.send_agents_to(patient.ports[0], patient.ports[1])
    patient.targets = lambda _settings: (*TARGETS, Target("night", "2999"))
    seen, _ = await patient.fails("targets")
    assert seen == "not in agent-targets: night (2999)"


# -- what `dialplan` prints ----------------------------------------------------------------------


@pytest.fixture
def fresh() -> Iterator[Asterisk]:
    """An Asterisk of one's own, whose dialplan may be replaced."""
    with running_asterisk() as asterisk:
        yield asterisk


@pytest.mark.parametrize("one_line", [False, True])
async def test_what_dialplan_prints_is_all_that_the_doctor_asks_for(
    patient: Patient, fresh: Asterisk, one_line: bool
) -> None:
    patient.has(ASTERISK_COMMAND=command(fresh), VOICE_MODEL="echo")
    settings = load(patient.file).settings
    printed = dialplan.lines(settings, TARGETS, agent="hotel", one_line=one_line)
    (fresh.home / "extensions.conf").write_text(printed)
    await fresh.rx("dialplan reload")

    seen, _ = await patient.warns("targets")  # how they are dialled is not ours to know
    assert seen == "sales, faults: Congestion(), so nobody yet"
    number = await fresh.rx("dialplan show 1000@from-internal")
    driver = "AGI(agi://${AGENT_FASTAGI}/run?agent=hotel)"
    assert (driver if one_line else "Gosub(agent,s,1(hotel))") in number

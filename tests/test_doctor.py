"""The doctor's rounds: a host that is well, and hosts with one fault each, named with its cure.

The model is the simulator over TLS, for an unmodified SDK; Asterisk is its real console, written down;
ports, files and the service are real.
"""

import asyncio
import json
import os
import re
import resource
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from audiosocket_agent import config, doctor
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.doctor import Finding, asterisk, console, model, service
from audiosocket_agent.doctor.finding import State
from audiosocket_agent.doctor.holder import Holder
from audiosocket_agent.errors import ConfigError, StartError
from audiosocket_agent.health import HealthServer
from audiosocket_agent.lab.certificate import ensure_certificate
from audiosocket_agent.lab.simulator import CLOSES, Behaviour, Simulator
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.records.schema import VERSION_TABLE
from audiosocket_agent.records.store import Store
from audiosocket_agent.settings import Gemini, Settings
from tests.doctor.patient import KEY, SECRET, Patient, free_port
from tests.serving import HOST, serving


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
async def patient(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificates: Path
) -> AsyncIterator[Patient]:
    """A host in the best of health."""
    patient = Patient(monkeypatch, tmp_path)
    async with Simulator(
        certificate_dir=certificates, behaviour_for=lambda _number: patient.behaviour
    ) as gemini:
        patient.has(GOOGLE_GEMINI_BASE_URL=gemini.base_url, SSL_CERT_FILE=str(gemini.ca_file))
        patient.gemini = gemini
        yield patient


@pytest.fixture
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- a host that is well -------------------------------------------------------------------------


async def test_a_host_that_is_well(patient: Patient, capfd: pytest.CaptureFixture[str]) -> None:
    patient.has(AMI_SECRET=SECRET)
    findings = await patient.examined()
    assert [(finding.name, finding.state) for finding in findings] == [
        ("settings", "ok"),
        ("key", "ok"),
        ("secrets", "ok"),
        ("state", "ok"),
        ("log", "skipped"),
        ("service", "skipped"),
        (f"port {patient.ports[0]}", "ok"),
        (f"port {patient.ports[1]}", "ok"),
        (f"port {patient.ports[2]}", "ok"),
        ("open files", "ok"),
        ("model host", "ok"),
        ("clock", "ok"),
        ("model session", "ok"),
        ("database", "ok"),
        ("asterisk", "ok"),
        ("modules", "ok"),
        ("dialplan", "ok"),
        ("globals", "ok"),
        ("targets", "ok"),
        ("manager", "ok"),
    ]
    assert doctor.exit_code(findings) == 0
    assert patient.gemini.sessions[-1].setup is not None  # a session was really set up
    assert capfd.readouterr() == ("", "")  # what is shown is the command's to print


async def test_a_database_that_is_none_that_is_down_and_that_is_newer(
    patient: Patient, tmp_path: Path
) -> None:
    patient.has(DATABASE_URL="mysql://somebody:hunter2@db/agent")
    seen, _ = await patient.fails("database")
    assert "hunter2" not in seen
    patient.has(DATABASE_URL="postgresql://somebody:hunter2@127.0.0.1:1/agent")
    seen, cure = await patient.fails("database")
    assert "postgresql://127.0.0.1:1/agent" in seen
    assert "hunter2" not in seen
    assert "journal" in cure
    async with Store(f"sqlite:///{tmp_path}/agent.db", migrate=True) as store:
        await store.open()
    with closing(sqlite3.connect(tmp_path / "agent.db")) as database, database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    patient.has(DATABASE_URL=f"sqlite:///{tmp_path}/agent.db")
    _, cure = await patient.fails("database")
    assert "install the version" in cure


async def test_what_people_and_programs_are_shown(patient: Patient) -> None:
    patient.has(GEMINI_API_KEY="")
    patient.console.loses("module show", "res_agi")
    findings = await patient.examined()
    lines = doctor.as_text(findings).splitlines()
    assert lines[0] == "ok    settings       5 given, model echo"
    [at] = [at for at, line in enumerate(lines) if line.startswith("FAIL")]
    assert lines[at] == "FAIL  modules        not loaded: res_agi"
    assert lines[at + 1].startswith(" " * 21 + 'asterisk -rx "module load res_agi.so"')
    assert lines[-1] == "1 failed, 1 warning"

    told = json.loads(doctor.as_json(findings))
    assert told[0] == {
        "name": "settings",
        "state": "ok",
        "seen": "5 given, model echo",
        "cure": "",
    }
    assert [each["name"] for each in told if each["state"] == "failed"] == ["modules"]


async def test_the_running_service_may_have_its_own_ports(patient: Patient) -> None:
    async with serving() as service:
        ready = await service.logged("ready")
        patient.listens_at(ready["audiosocket"], ready["fastagi"], ready["metrics"])
        findings = {finding.name: finding for finding in await patient.examined()}
        assert findings["service"].seen.startswith("runs and takes calls")
        for port in patient.ports:
            assert findings[f"port {port}"] == Finding(
                f"port {port}", State.OK, "is held by our service"
            )
        assert findings["open files"].seen.startswith("the service may have")
        assert doctor.exit_code(list(findings.values())) == 0


async def test_an_instance_is_looked_at_by_its_own_ports(patient: Patient) -> None:
    own = [port + 2 for port in patient.ports]
    names = ("AUDIOSOCKET_PORT", "FASTAGI_PORT", "METRICS_PORT")
    patient.has(INSTANCE="2")
    ports = {name: str(port) for name, port in zip(names, patient.ports, strict=True)}
    async with serving(**ports, INSTANCE="2"), AsyncExitStack() as balancer:
        for port in patient.ports[:2]:
            await balancer.enter_async_context(await asyncio.start_server(_closes, HOST, port))
        findings = {finding.name: finding for finding in await patient.examined()}
        assert findings["service"].seen.startswith("runs and takes calls")
        for port in own:
            assert findings[f"port {port}"].seen == "is held by our service"
        assert findings["globals"].seen == "lead to who shares out calls"
        assert doctor.exit_code(list(findings.values())) == 0

        await balancer.aclose()
        seen, cure = await patient.fails("globals")
        assert seen.endswith("where nobody shares calls out among the instances")
        assert "HAProxy" in cure

        patient.console.says(
            "dialplan show globals",
            f"AGENT_ADDRESS={HOST}:{own[0]}\nAGENT_FASTAGI={HOST}:{own[1]}\n",
        )
        assert (await patient.found("globals")).seen == "lead to our ports"


def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_an_instance_whose_port_is_taken_is_told_whose_number_it_is(
    patient: Patient,
) -> None:
    patient.has(INSTANCE="2")
    patient.console.says(
        "dialplan show globals",
        f"AGENT_ADDRESS={HOST}:{patient.ports[0] + 2}\nAGENT_FASTAGI={HOST}:{patient.ports[1] + 2}\n",
    )
    with socket.create_server((HOST, patient.ports[1] + 2)):
        _, cure = await patient.fails(f"port {patient.ports[1] + 2}")
    assert cure.endswith(
        "FASTAGI_PORT to a port that is free for all instances: to it INSTANCE=2 is added"
    )


async def test_where_instances_are_the_ports_of_a_service_without_a_number_are_a_balancers(
    patient: Patient, tmp_path: Path
) -> None:
    patient.has(RUNTIME_DIRECTORY=str(tmp_path / "run"))
    (tmp_path / "run" / "3").mkdir(parents=True)
    (tmp_path / "run" / "3" / "control.sock").touch()
    with socket.create_server((HOST, patient.ports[0])):
        findings = {finding.name: finding for finding in await patient.examined()}
    assert "INSTANCE=3 audiosocket-agent doctor" in findings["service"].seen
    held = findings[f"port {patient.ports[0]}"]
    assert (held.state, held.seen[-12:]) == ("skipped", "instances: 3")
    assert findings[f"port {patient.ports[1]}"].state == "ok"


async def test_the_state_of_an_instance_is_its_own(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("audiosocket_agent.doctor.host._UNIT_STATE", tmp_path)
    monkeypatch.delenv("STATE_DIRECTORY")
    assert (await patient.found("state")).seen == f"{tmp_path} can be written"
    patient.has(INSTANCE="2")
    assert (await patient.found("state")).seen == f"{tmp_path / '2'} can be written"


@asynccontextmanager
async def answering(
    patient: Patient, not_ready: str = "", instance: int = 0
) -> AsyncIterator[None]:
    """The metrics port of a service in this process."""
    metrics = Metrics()
    metrics.build_info.labels("1.0", "echo").set(1)
    health = HealthServer(metrics, lambda: not_ready)
    await health.start(HOST, patient.ports[2] + instance)
    try:
        yield
    finally:
        await health.stop()


async def test_a_service_that_drains(patient: Patient) -> None:
    async with answering(patient, "draining"):
        seen, cure = await patient.warns("service")
    assert seen == "runs, but takes no calls: draining"
    assert cure.endswith("systemctl restart audiosocket-agent")


async def test_an_instance_that_drains(patient: Patient) -> None:
    patient.has(INSTANCE="2")
    async with answering(patient, "draining", instance=2):
        assert (await patient.found("service")).cure.endswith("audiosocket-agent@2")


@pytest.mark.usefixtures("few_files")
async def test_a_service_with_too_few_open_files(patient: Patient) -> None:
    async with answering(patient):
        seen, _ = await patient.fails("open files")
    assert seen == "the service may have 256; 80 calls need 368"


async def test_a_stranger_beside_the_running_service(patient: Patient) -> None:
    async with serving() as service:
        ready = await service.logged("ready")
        patient.listens_at(patient.ports[0], ready["fastagi"], ready["metrics"])
        with socket.create_server((HOST, patient.ports[0])):
            seen, _ = await patient.fails(f"port {patient.ports[0]}")
    assert f"(pid {os.getpid()})" in seen


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Holder(0, 5, "python3"), Holder(0, 5, "python3"), True),
        (Holder(0, 5, "python3"), Holder(0, 6, "python3"), False),
        (Holder(999), Holder(999), True),  # another user's, so no more can be seen
        (Holder(999), Holder(998), False),
    ],
)
def test_two_ports_of_one_program(one: Holder, other: Holder, same: bool) -> None:
    assert one.is_also(other) is same


async def test_an_echo_needs_no_model(patient: Patient) -> None:
    patient.has(VOICE_MODEL="echo")
    assert (await patient.found("model session")).state == "skipped"
    assert not patient.gemini.session_count


# -- settings, files -----------------------------------------------------------------------------


async def test_settings_that_cannot_be_used_are_all_there_is(patient: Patient) -> None:
    patient.has(VAD_AGGRESSIVENESS="7")
    [finding] = findings = await patient.examined()
    assert finding.name == "settings"
    assert "VAD_AGGRESSIVENESS should be less than or equal to 3" in finding.seen
    assert "config check" in finding.cure
    assert doctor.exit_code(findings) == 3


async def test_an_agent_that_cannot_be_used(patient: Patient) -> None:
    def targets(_settings: Settings) -> tuple[Target, ...]:
        raise ConfigError("/etc/hotel.toml:3: greting: unknown key\n/etc/hotel.toml:9: no")

    patient.targets = targets
    findings = await patient.examined()
    assert [(finding.name, finding.state) for finding in findings] == [
        ("settings", "ok"),
        ("agents", "failed"),
        ("agents", "failed"),
    ]
    assert all("agents check" in finding.cure for finding in findings[1:])  # `config` reads none
    assert doctor.exit_code(findings) == 3


async def test_no_key(patient: Patient) -> None:
    patient.has(GEMINI_API_KEY="")
    seen, cure = await patient.warns("key")
    assert "callers talk to the echo" in seen
    assert "gemini_api_key" in cure


async def test_a_key_in_a_file_for_everybody(patient: Patient, tmp_path: Path) -> None:
    patient.patch.delenv("GEMINI_API_KEY")
    patient.file = file = tmp_path / "agent.toml"
    file.write_text(f'[gemini]\napi_key = "{KEY}"\n')
    file.chmod(0o644)
    seen, cure = await patient.fails("secrets")
    assert str(file) in seen
    assert "file of its own" in cure
    file.chmod(0o640)
    assert (await patient.found("secrets")).state == "ok"


async def test_a_credential_for_everybody(patient: Patient, tmp_path: Path) -> None:
    patient.patch.delenv("GEMINI_API_KEY")
    patient.has(CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    credential = tmp_path / "credentials" / "gemini_api_key"
    credential.parent.mkdir()
    credential.write_text(KEY)
    credential.chmod(0o644)
    _, cure = await patient.fails("secrets")
    assert cure == f"chmod 600 {credential}"


async def test_run_by_hand_it_finds_the_key_that_the_unit_has(
    patient: Patient, tmp_path: Path
) -> None:
    patient.patch.delenv("GEMINI_API_KEY")
    patient.patch.setattr(config, "DEFAULT_FILE", tmp_path / "etc" / "agent.toml")
    patient.file = None
    file = tmp_path / "etc" / "gemini_api_key"
    file.parent.mkdir()
    file.write_text(KEY)
    file.chmod(0o600)
    assert (await patient.found("key")).seen == "from credential gemini_api_key"
    assert (await patient.found("model session")).state == "ok"
    file.chmod(0o644)
    assert (await patient.fails("secrets"))[1] == f"chmod 600 {file}"


async def test_a_state_directory_that_cannot_be_written(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    patient.has(STATE_DIRECTORY=str(tmp_path / "file" / "state"))
    seen, cure = await patient.fails("state")
    assert "Not a directory" in seen
    assert f"mkdir -p {tmp_path / 'file' / 'state'}" in cure


async def test_a_log_that_cannot_be_written(patient: Patient, tmp_path: Path) -> None:
    patient.has(LOG_FILE=str(tmp_path / "nowhere" / "agent.log"))
    seen, cure = await patient.fails("log")
    assert "No such file or directory" in seen
    assert f"make {tmp_path / 'nowhere'}" in cure


@pytest.mark.usefixtures("few_files")
async def test_too_few_open_files(patient: Patient) -> None:
    seen, cure = await patient.warns("open files")
    assert "256" in seen
    assert "LimitNOFILE=" in cure


# -- ports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_port_that_a_stranger_holds(patient: Patient, which: int) -> None:
    port = patient.ports[which]
    with socket.create_server((HOST, port)):
        patient.patch.setattr(service, "ANSWER_SECONDS", 0.2)  # this one says nothing
        seen, cure = await patient.fails(f"port {port}")
    assert f"(pid {os.getpid()})" in seen
    assert ("AUDIOSOCKET_PORT", "FASTAGI_PORT", "METRICS_PORT")[which] in cure


async def test_another_exporter_on_the_metrics_port_is_not_taken_for_ours(
    patient: Patient,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n# TYPE node_boot_time_seconds gauge\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, HOST, patient.ports[2]):
        _, cure = await patient.fails(f"port {patient.ports[2]}")
    assert "node_exporter" in cure


async def test_an_address_of_another_host(patient: Patient) -> None:
    patient.has(FASTAGI_HOST="192.0.2.1", FASTAGI_ALLOW="192.0.2.7")
    patient.console.says(
        "dialplan show globals",
        f"AGENT_ADDRESS={HOST}:{patient.ports[0]}\nAGENT_FASTAGI=192.0.2.1:{patient.ports[1]}\n",
    )
    seen, cure = await patient.fails(f"port {patient.ports[1]}")
    assert "Cannot assign requested address" in seen
    assert "FASTAGI_HOST" in cure


# -- model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param(
            Behaviour(faults=frozenset({"close-at-setup"}), close=CLOSES["key"]),
            "GEMINI_API_KEY",
            id="refused key",
        ),
        pytest.param(Behaviour(faults=frozenset({"http-403"})), "GEMINI_API_KEY", id="403"),
        pytest.param(
            Behaviour(faults=frozenset({"close-at-setup"}), close=CLOSES["quota"]),
            "quota",
            id="quota",
        ),
        pytest.param(Behaviour(faults=frozenset({"http-429"})), "quota", id="429"),
        pytest.param(
            Behaviour(faults=frozenset({"close-at-setup"}), close=CLOSES["invalid"]),
            "voice",
            id="field",
        ),
        pytest.param(Behaviour(faults=frozenset({"http-503"})), "try again", id="503"),
        pytest.param(
            Behaviour(faults=frozenset({"close-before-setup"})), "try again", id="internal"
        ),
    ],
)
async def test_a_model_that_refuses(patient: Patient, behaviour: Behaviour, words: str) -> None:
    patient.behaviour = behaviour
    _, cure = await patient.fails("model session")
    assert words in cure


async def test_a_model_that_is_not_there(patient: Patient) -> None:
    patient.has(GEMINI_LIVE_MODEL="gemini-9-live")
    seen, cure = await patient.fails("model session")
    assert seen.startswith("gemini-9-live: 1008")
    assert "GEMINI_LIVE_MODEL" in cure


async def test_a_model_that_never_answers_the_setup(patient: Patient) -> None:
    patient.behaviour = Behaviour(faults=frozenset({"no-setup-complete"}))
    patient.has(GEMINI_SETUP_TIMEOUT="0.3")
    _, cure = await patient.fails("model session")
    assert "GEMINI_SETUP_TIMEOUT" in cure


async def test_a_model_that_answers_nothing_at_all(patient: Patient) -> None:
    patient.behaviour = Behaviour(faults=frozenset({"silent"}))
    patient.patch.setattr(model, "HOST_SECONDS", 0.3)
    patient.patch.setattr(model, "SESSION_SECONDS", 0.3)
    seen, _ = await patient.fails("model session")
    assert "not ready within" in seen
    assert (await patient.found("clock")).state == "skipped"


async def test_a_model_host_that_cannot_be_reached(patient: Patient) -> None:
    patient.has(GOOGLE_GEMINI_BASE_URL=f"https://{HOST}:{free_port()}")
    seen, cure = await patient.fails("model host")
    assert "refused" in seen
    assert "firewall" in cure
    assert (await patient.found("model session")).state == "skipped"


async def test_a_model_host_without_a_name(patient: Patient) -> None:
    resolve = socket.getaddrinfo

    def unknown(host: str | bytes | None, *args: Any, **options: Any) -> Any:
        if host == "gemini.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    patient.patch.setattr(socket, "getaddrinfo", unknown)
    patient.has(GOOGLE_GEMINI_BASE_URL="https://gemini.example")
    seen, cure = await patient.fails("model host")
    assert "gemini.example has no address" in seen
    assert "resolv.conf" in cure


@pytest.mark.parametrize(
    ("gemini", "host"),
    [
        (Gemini(), "generativelanguage.googleapis.com"),
        (Gemini(vertex=True), "aiplatform.googleapis.com"),
        (Gemini(vertex=True, location="global"), "aiplatform.googleapis.com"),
        (Gemini(vertex=True, location="eu"), "aiplatform.eu.rep.googleapis.com"),
        (Gemini(vertex=True, location="us-central1"), "us-central1-aiplatform.googleapis.com"),
    ],
)
def test_where_the_model_is(gemini: Gemini, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_GEMINI_BASE_URL", raising=False)
    monkeypatch.delenv("GOOGLE_VERTEX_BASE_URL", raising=False)
    assert model.api_host(gemini) == (host, 443)


async def test_a_base_url_that_is_none(patient: Patient) -> None:
    patient.has(GOOGLE_GEMINI_BASE_URL="localhost:9443")
    seen, _ = await patient.fails("model host")
    assert seen == "GOOGLE_GEMINI_BASE_URL is no URL"


async def test_somebody_else_in_place_of_the_model(patient: Patient) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://hotel.example/wifi\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, HOST, 0) as portal:
        port = portal.sockets[0].getsockname()[1]
        patient.has(GOOGLE_GEMINI_BASE_URL=f"https://{HOST}:{port}")
        seen, _ = await patient.fails("model host")
    assert "speaks no TLS" in seen


async def test_a_certificate_of_an_authority_that_is_not_trusted(
    patient: Patient, tmp_path: Path
) -> None:
    patient.has(SSL_CERT_FILE=str(ensure_certificate(tmp_path / "other").ca_file))
    seen, cure = await patient.fails("model session")
    assert "CERTIFICATE_VERIFY_FAILED" in seen
    assert "SSL_CERT_FILE" in cure


async def test_an_authority_that_is_no_file(patient: Patient, tmp_path: Path) -> None:
    patient.has(SSL_CERT_FILE=str(tmp_path / "nowhere.pem"))
    _, cure = await patient.fails("model session")
    assert "SSL_CERT_FILE" in cure


async def test_a_proxy_is_told_without_its_password(patient: Patient) -> None:
    patient.has(https_proxy="http://me:geheim@127.0.0.1:1", no_proxy="")
    host = await patient.found("model host")
    assert host.state == "skipped"
    assert host.seen.endswith("by the proxy 127.0.0.1:1")
    assert "geheim" not in doctor.as_json(await patient.examined())


@pytest.mark.parametrize(("off_s", "words"), [(3600.0, "ahead"), (-90.0, "behind")])
async def test_a_clock_that_is_off(patient: Patient, off_s: float, words: str) -> None:
    patient.now = lambda: time.time() + off_s
    seen, cure = await patient.fails("clock")
    assert words in seen
    assert "timedatectl set-ntp true" in cure


# -- Asterisk ------------------------------------------------------------------------------------


async def test_an_asterisk_that_does_not_run(patient: Patient) -> None:
    patient.console.is_not_running()
    seen, cure = await patient.fails("asterisk")
    assert "Unable to connect to remote asterisk" in seen
    assert "systemctl start asterisk" in cure
    assert (await patient.found("globals")).state == "skipped"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("module show", "modules"),
        ("dialplan show globals", "globals"),
        ("dialplan show 2002@agent-targets", "targets"),
    ],
)
async def test_an_asterisk_that_ends_meanwhile(patient: Patient, command: str, name: str) -> None:
    patient.console.is_gone_before(command)
    seen, cure = await patient.fails(name)
    assert "failed with 1" in seen
    assert "systemctl start asterisk" in cure


async def test_no_asterisk(patient: Patient, tmp_path: Path) -> None:
    patient.has(ASTERISK_COMMAND=f"{tmp_path}/sbin/asterisk -C 'a b'")
    seen, cure = await patient.fails("asterisk")
    assert "No such file or directory" in seen
    assert "ASTERISK_COMMAND" in cure


async def test_a_console_that_hangs(patient: Patient) -> None:
    patient.console.hangs()
    patient.patch.setattr(console, "RX_SECONDS", 0.2)
    seen, cure = await patient.fails("asterisk")
    assert "does not answer" in seen
    assert "Asterisk's log" in cure


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("18.26.4", "failed"),
        ("20.13.0", "failed"),
        ("20.14.0", "warning"),
        ("20.20.0", "ok"),
        ("21.8.0", "failed"),
        ("21.12.2", "warning"),
        ("22.3.0~dfsg-1", "failed"),
        ("22.9.1", "warning"),
        ("22.10.0-rc1", "ok"),
        ("23.0.0", "warning"),
        ("23.4.0", "ok"),
        ("24.0.0", "ok"),
        ("certified/20.7-cert5", "warning"),
        ("GIT-22-1a2b3c4", "warning"),
    ],
)
async def test_each_version(patient: Patient, version: str, state: str) -> None:
    patient.has(VOICE_MODEL="echo")
    patient.console.says("core show version", f"Asterisk {version} built by root @ pbx\n")
    found = await patient.found("asterisk")
    assert found.state == state
    assert version in found.seen


async def test_a_version_that_is_too_old(patient: Patient) -> None:
    patient.console.says("core show version", "Asterisk 22.3.0 built by root @ pbx\n")
    seen, cure = await patient.fails("asterisk")
    assert "older than 22.4" in seen
    assert "22.10" in cure


async def test_a_module_that_is_not_loaded(patient: Patient) -> None:
    patient.console.loses("module show", "app_audiosocket.so")
    seen, cure = await patient.fails("modules")
    assert seen == "not loaded: app_audiosocket"
    assert "module load app_audiosocket.so" in cure


async def test_a_module_that_is_loaded_but_does_not_run(patient: Patient) -> None:
    patient.console.loses("module show", "func_uuid.so")
    patient.console.adds("module show", "func_uuid.so   UUID generation   0   Not Running   core")
    assert (await patient.fails("modules"))[0] == "not loaded: func_uuid"


async def test_the_wide_form_is_not_everybodys(patient: Patient) -> None:
    patient.console.loses("module show", "chan_audiosocket.so")
    assert (await patient.warns("modules"))[0] == "not loaded: chan_audiosocket"


def test_the_modules_are_those_of_the_shipped_dialplan() -> None:
    text = (Path(__file__).parent.parent / "asterisk" / "modules.conf").read_text()
    first = text.partition("extensions_audiosocket.conf\n")[2].partition("\n\n")[0]
    needed = re.findall(r"^load = (\w+)\.so", first, re.MULTILINE)
    assert sorted(needed) == sorted(asterisk.MODULES + asterisk.WIDE_MODULES)


@pytest.mark.parametrize("context", ["agent", "agent-briefing"])
async def test_a_dialplan_that_is_not_in_place(patient: Patient, context: str) -> None:
    patient.console.knows_no(f"s@{context}")
    seen, cure = await patient.fails("dialplan")
    assert seen == f"there is no context {context}"
    assert "extensions_audiosocket.conf" in cure


async def test_globals_that_point_elsewhere(patient: Patient) -> None:
    audiosocket, fastagi, _ = patient.ports
    patient.console.says(
        "dialplan show globals",
        f"   AGENT_FASTAGI=localhost:{fastagi}\n   AGENT_ADDRESS=127.0.0.1:1\n\n",
    )
    seen, cure = await patient.fails("globals")
    assert seen == f"AGENT_ADDRESS=127.0.0.1:1, but we listen at 127.0.0.1:{audiosocket}"
    assert cure.startswith(f"AGENT_ADDRESS=127.0.0.1:{audiosocket} in [globals]")

    patient.console.loses("dialplan show globals", "AGENT_ADDRESS")
    assert (await patient.fails("globals"))[0] == "AGENT_ADDRESS is not set"

    patient.console.says(
        "dialplan show globals",
        f"AGENT_FASTAGI=127.0.0.2:{fastagi}\nAGENT_ADDRESS=127.0.0.1:{audiosocket}\n",
    )
    assert "AGENT_FASTAGI=127.0.0.2" in (await patient.fails("globals"))[0]


async def test_who_listens_everywhere_is_found_at_any_address_of_this_host(
    patient: Patient,
) -> None:
    patient.has(FASTAGI_HOST="0.0.0.0", FASTAGI_ALLOW="192.0.2.7")
    assert (await patient.found("globals")).state == "ok"
    patient.console.says(
        "dialplan show globals",
        f"AGENT_ADDRESS=127.0.0.1:{patient.ports[0]}\nAGENT_FASTAGI=192.0.2.1:{patient.ports[1]}",
    )
    assert "192.0.2.1" in (await patient.fails("globals"))[0]


async def test_a_target_whose_extension_is_missing(patient: Patient) -> None:
    patient.console.knows_no("2002@agent-targets")
    seen, cure = await patient.fails("targets")
    assert seen == "not in agent-targets: faults (2002)"
    assert cure.startswith("exten => 2002,1,Dial(...) in [agent-targets]")


async def test_a_target_that_was_pasted_and_forgotten(patient: Patient) -> None:
    patient.console.says(
        "dialplan show 2001@agent-targets",
        "[ Context 'agent-targets' created by 'pbx_config' ]\n"
        "  '2001' =>         1. Congestion()                    [extensions.conf:27]\n",
    )
    seen, cure = await patient.warns("targets")
    assert seen.startswith("sales")
    assert "2001" in cure


# -- manager -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StartError("it refuses us"), "it refuses us"),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "audiosocket-agent at 127.0.0.1:5038: Connection refused",
        ),
    ],
)
async def test_a_manager_who_does_not_know_us(
    patient: Patient, error: Exception, words: str
) -> None:
    async def login(settings: Settings) -> None:
        raise error

    patient.ami_login = login
    assert (await patient.found("manager")).state == "skipped"  # without a secret, not asked
    patient.has(AMI_SECRET=SECRET)
    seen, cure = await patient.fails("manager")
    assert seen == words
    assert "manager.conf" in cure


# -- in time -------------------------------------------------------------------------------------


async def test_a_check_that_does_not_end_is_given_up(patient: Patient) -> None:
    async def login(settings: Settings) -> None:
        await asyncio.Event().wait()

    patient.ami_login = login
    patient.has(AMI_SECRET=SECRET, VOICE_MODEL="echo")
    patient.patch.setattr(asterisk, "AMI_SECONDS", 0.2)
    assert "does not answer" in (await patient.fails("manager"))[0]
    patient.patch.setattr(asterisk, "AMI_SECONDS", 60.0)
    patient.patch.setattr(doctor, "CHECK_SECONDS", 1.0)
    assert "not done within" in (await patient.fails("manager"))[0]

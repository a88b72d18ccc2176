"""`audiosocket-agent serve` as systemd sees it: signals, exit codes, notifications."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from tests.agi.dialplan import agi
from tests.profiles import QUIET
from tests.serving import EXAMPLE, HOST, PATIENCE_SECONDS, environment, serving

# -- it is told to stop --------------------------------------------------------------------------


async def test_sigterm_lets_the_running_call_go_on_and_gives_new_ones_back() -> None:
    async with serving() as service, Call.connect(HOST, service.port) as call:
        await call.agent_speaks()
        service.signal(signal.SIGTERM)
        await service.logged("draining")

        async with Call.connect(HOST, service.port) as late:
            assert await late.ended() is End.FINISHED
        assert await service.page("/readyz") == (503, "draining\n")
        assert await service.page("/healthz") == (200, "ok\n")

        await call.passes(0.2)
        await call.agent_speaks()  # still in the greeting it began before the signal
        call.hang_up()
        assert await service.exit_code() == 0
        ended = await service.logged("call ended")
        assert ended["outcome"] == "caller_hangup"
        assert call.violations == late.violations == []


async def test_the_last_caller_of_a_service_that_stops_is_not_sent_to_the_fallback() -> None:
    async with serving() as service:
        ready = await service.logged("ready")
        async with Call.connect(HOST, service.port) as call:
            await call.agent_speaks()
            service.signal(signal.SIGTERM)
            await service.logged("draining")
        await service.logged("call ended")
        answer = await agi(ready["fastagi"], f"next?uuid={call.uuid}")
        assert answer["AGENT_NEXT"] == "hangup"
        assert await service.exit_code() == 0


# -- its agents change ---------------------------------------------------------------------------


async def test_sighup_reads_the_agents_again_and_a_broken_file_changes_nothing(
    tmp_path: Path,
) -> None:
    desk = tmp_path / "desk.toml"
    desk.write_text('instructions = "Be brief."')
    async with serving(AGENTS_DIRECTORY=str(tmp_path)) as service:
        agi_port = (await service.logged("ready"))["fastagi"]
        desk.write_text("instructions = 5")
        (tmp_path / "sales.toml").write_text('instructions = "Sell."')
        service.signal(signal.SIGHUP)
        refused = await service.logged("agents not reloaded")
        assert refused["reason"].endswith(
            "desk.toml:1: instructions: must be text in quotes, not a number"
        )
        answer = await agi(agi_port, f"open?uuid={uuid4()}&agent=sales")
        assert answer["AGENT_STATUS"] == "ERROR"
        answer = await agi(agi_port, f"open?uuid={uuid4()}&agent=desk")
        assert answer["AGENT_STATUS"] == "OK"

        desk.write_text('instructions = "Be very brief."')
        service.signal(signal.SIGHUP)
        assert "sales" in (await service.logged("agents reloaded"))["agents"]
        answer = await agi(agi_port, f"open?uuid={uuid4()}&agent=sales")
        assert answer["AGENT_STATUS"] == "OK"


async def test_a_second_sigterm_ends_the_running_call_politely() -> None:
    async with (
        serving(**QUIET) as service,
        Call.connect(HOST, service.port) as call,
    ):
        await call.passes(0.3)
        service.signal(signal.SIGTERM)
        await service.logged("draining")
        await call.passes(0.3)
        assert call.end is None

        service.signal(signal.SIGTERM)
        assert await call.ended() is End.FINISHED
        assert await service.exit_code() == 0
        assert (await service.logged("call ended"))["outcome"] == "drained"


async def test_a_call_that_outlasts_the_drain_is_ended_politely() -> None:
    async with (
        serving(**QUIET, DRAIN_TIMEOUT="0.5") as service,
        Call.connect(HOST, service.port) as call,
    ):
        await call.passes(0.1)
        service.signal(signal.SIGTERM)
        assert await call.ended() is End.FINISHED
        assert await service.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_a_call_it_ends_at_once(number: signal.Signals) -> None:
    async with serving() as service:
        service.signal(number)
        assert await service.exit_code() == 0


async def test_each_log_line_is_one_object_and_the_echo_is_announced_once() -> None:
    async with serving() as service:
        service.signal(signal.SIGTERM)
        await service.logged("stopped")
        assert [entry["event"] for entry in service.log] == ["ready", "draining", "stopped"]
        assert len(service.said) == 1
        assert f"call --to {HOST}:{service.port}" in service.said[0]


# -- it tells systemd ----------------------------------------------------------------------------


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


async def told(systemd: socket.socket) -> dict[str, str]:
    """The next notification, by name."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        data = await asyncio.get_running_loop().sock_recv(systemd, 4096)
    return dict(line.split("=", 1) for line in data.decode().splitlines())


async def test_systemd_hears_of_the_start_the_loop_and_the_end(systemd: socket.socket) -> None:
    settings = {"NOTIFY_SOCKET": systemd.getsockname(), "DRAIN_TIMEOUT": "600"}
    async with serving(**settings) as service, Call.connect(HOST, service.port) as call:
        assert await told(systemd) == {"READY": "1"}
        assert await told(systemd) == {"WATCHDOG": "1"}
        service.signal(signal.SIGTERM)
        while (stopping := await told(systemd)) == {"WATCHDOG": "1"}:
            pass
        assert stopping.pop("STOPPING") == "1"
        assert int(stopping.pop("EXTEND_TIMEOUT_USEC")) >= 615_000_000  # and 15 s to end politely
        assert not stopping
        assert await told(systemd) == {"WATCHDOG": "1"}  # as long as a call is up
        call.hang_up()
        assert await service.exit_code() == 0


async def test_a_systemd_that_is_gone_does_not_stop_the_service(tmp_path: Path) -> None:
    async with serving(NOTIFY_SOCKET=str(tmp_path / "nobody")) as service:
        assert (await service.logged("systemd not told"))["state"] == "READY=1"
        service.signal(signal.SIGTERM)
        assert await service.exit_code() == 0


# -- it cannot start -----------------------------------------------------------------------------


def serve(settings: dict[str, str], file: Path = EXAMPLE) -> tuple[int, list[str]]:
    """Start a service that cannot run: its exit code, and the lines it says."""
    done = subprocess.run(
        [sys.executable, "-m", "audiosocket_agent", "serve", "--config", str(file)],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("variable", ["AUDIOSOCKET_PORT", "METRICS_PORT"])
def test_a_taken_port_is_one_line_that_names_it(variable: str) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        code, lines = serve({variable: str(port)})
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} {HOST}:{port} cannot be used: Address already in use; ")


def test_an_address_of_another_host_is_one_line_without_a_wrong_hint() -> None:
    elsewhere = {"AUDIOSOCKET_HOST": "192.0.2.1", "AUDIOSOCKET_UUID_MODE": "registered"}
    elsewhere["AUDIOSOCKET_ALLOW"] = "192.0.2.7"
    assert serve(elsewhere | {"AUDIOSOCKET_PORT": "9092"}) == (
        1,
        ["AUDIOSOCKET_PORT 192.0.2.1:9092 cannot be used: Cannot assign requested address"],
    )


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "agent.log"
    expected = f"LOG_FILE {path} cannot be written: No such file or directory"
    assert serve({"LOG_FILE": str(path)}) == (1, [expected])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        pytest.param(
            {"VAD_AGGRESSIVENESS": "7"},
            "environment: VAD_AGGRESSIVENESS should be less than or equal to 3, not '7'",
            id="out of range",
        ),
        pytest.param(
            {"VAD_AGRESSIVENESS": "2"},
            "environment: unknown setting VAD_AGRESSIVENESS; did you mean VAD_AGGRESSIVENESS?",
            id="misspelt",
        ),
        pytest.param(
            {"AUDIOSOCKET_HOST": "0.0.0.0", "AUDIOSOCKET_UUID_MODE": "registered"},
            "AUDIOSOCKET_HOST=0.0.0.0 is not loopback, which needs AUDIOSOCKET_ALLOW: the addresses "
            "or networks of the PBX",
            id="off loopback for everybody",
        ),
        pytest.param(
            {"AUDIOSOCKET_HOST": "0.0.0.0", "AUDIOSOCKET_ALLOW": "192.0.2.7"},
            "AUDIOSOCKET_HOST=0.0.0.0 is not loopback, which needs AUDIOSOCKET_UUID_MODE=registered: "
            "AudioSocket knows no other password",
            id="off loopback for any UUID",
        ),
        pytest.param(
            {"FASTAGI_HOST": "0.0.0.0"},
            "FASTAGI_HOST=0.0.0.0 is not loopback, which needs AUDIOSOCKET_ALLOW: the addresses "
            "or networks of the PBX",
            id="FastAGI off loopback for everybody",
        ),
        pytest.param(
            {"AUDIOSOCKET_ALLOW": "10.0.0.0/33"},
            "environment: AUDIOSOCKET_ALLOW '10.0.0.0/33' is no address or network, as 10.1.2.3 or "
            "10.1.2.0/24 is one, not '10.0.0.0/33'",
            id="no network",
        ),
        pytest.param(
            {"VOICE_MODEL": "gemini"},
            "VOICE_MODEL=gemini needs GEMINI_API_KEY (or GEMINI_VERTEX=true)",
            id="no key",
        ),
        pytest.param(
            {"CREDENTIALS_DIRECTORY": "/nowhere"},
            "credentials in /nowhere cannot be read: "
            "[Errno 2] No such file or directory: '/nowhere'",
            id="no credentials",
        ),
    ],
)
def test_a_bad_variable_is_one_line_and_exit_3(settings: dict[str, str], line: str) -> None:
    assert serve(settings) == (3, [line])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            "[vad]\nagressiveness = 2\n",
            "unknown setting [vad] agressiveness; did you mean aggressiveness?",
            id="misspelt",
        ),
        pytest.param(
            "[vad]\nwindow = 'long'\n",
            "VAD_WINDOW should be a valid number, unable to parse string as a number, not 'long'",
            id="no number",
        ),
        pytest.param("max_calls =", "Invalid value (at end of document)", id="no TOML"),
        pytest.param(None, "no such file", id="missing"),
    ],
)
def test_a_bad_file_is_one_line_and_exit_3(text: str | None, line: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    if text is not None:
        file.write_text(text)
    assert serve({}, file) == (3, [f"{file}: {line}"])

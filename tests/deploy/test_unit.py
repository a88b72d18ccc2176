"""The unit says what the service does: the two are written apart and have to fit."""

import codecs
import shutil
import tomllib
from pathlib import Path

import pytest

from audiosocket_agent import config
from audiosocket_agent.cli import app
from audiosocket_agent.health import MAX_CONNECTIONS
from audiosocket_agent.server import POLITE_SECONDS
from audiosocket_agent.settings import Settings, settings_list
from tests.deploy.debian import run
from tests.deploy.unit import REPOSITORY, UNIT, directives
from tests.serving import EXAMPLE


@pytest.fixture
def unit() -> dict[str, list[str]]:
    return directives(UNIT.read_text())


def test_it_starts_a_command_that_exists(unit: dict[str, list[str]]) -> None:
    [[program, command, *_]] = [line.split() for line in unit["ExecStart"]]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert Path(program).name in project["scripts"]
    assert command in [
        known.callback.__name__ for known in app.registered_commands if known.callback
    ]


def test_it_waits_for_ready_and_restarts_all_but_a_wrong_setting(
    unit: dict[str, list[str]],
) -> None:
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["3"]  # what test_service.py sees
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["RestartSec"] == ["100ms"]  # what callers hear of it


def test_stopping_has_time_for_the_drain_and_for_last_words(unit: dict[str, list[str]]) -> None:
    [limit] = unit["TimeoutStopSec"]
    assert int(limit) >= Settings().drain_timeout + POLITE_SECONDS + 10
    assert unit["KillMode"] == ["mixed"]
    assert "KillSignal" not in unit  # SIGTERM


def test_files_suffice_for_as_many_calls_as_can_be_set(unit: dict[str, list[str]]) -> None:
    [files] = unit["LimitNOFILE"]
    most = Settings.model_fields["max_calls"].metadata[-1].le
    assert int(files) >= 2 * most + MAX_CONNECTIONS + 100


@pytest.mark.parametrize(
    "name",
    [
        *("NoNewPrivileges", "CapabilityBoundingSet", "ProtectSystem", "ProtectHome", "PrivateTmp"),
        *("MemoryDenyWriteExecute", "SystemCallFilter", "RestrictAddressFamilies", "UMask", "User"),
        *("StateDirectory", "RuntimeDirectory", "LogsDirectory", "ConfigurationDirectory"),
    ],
)
def test_it_is_shut_in(unit: dict[str, list[str]], name: str) -> None:
    assert name in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs tests/deploy/packages.sh")
def test_exposure_is_at_most_1_5() -> None:
    code, report = run("systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT)
    assert code == 0, report
    assert float(report.rpartition(": ")[2].split()[0]) <= 1.5


def test_its_configuration_is_where_the_service_looks(unit: dict[str, list[str]]) -> None:
    assert unit["ConfigurationDirectory"] == [config.DEFAULT_FILE.parent.name]


# -- the secrets ---------------------------------------------------------------------------------


def test_every_secret_is_a_credential_and_lies_where_the_example_says(
    unit: dict[str, list[str]],
) -> None:
    handed = dict(value.split(":") for value in unit["LoadCredential"])
    assert {name.upper() for name in handed} == {
        setting.variable for setting in settings_list() if setting.secret
    }
    for name, path in handed.items():
        assert Path(path) == config.DEFAULT_FILE.parent / name
        assert path in EXAMPLE.read_text()
    assert set(handed) == set(config.SECRET_FILES)
    assert unit["Environment"] == ["PYTHONFAULTHANDLER=1"]
    assert "EnvironmentFile" not in unit


def test_without_its_files_the_unit_stands_in_with_what_counts_as_none(
    unit: dict[str, list[str]], tmp_path: Path
) -> None:
    stand_ins = dict(value.split(":") for value in unit["SetCredential"])
    assert set(stand_ins) == set(config.SECRET_FILES)
    for name, value in stand_ins.items():
        (tmp_path / name).write_text(codecs.decode(value, "unicode_escape"))
        assert (tmp_path / name).read_text() == "\n"
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = config.load(EXAMPLE, environment)
    assert loaded.settings.model == "echo"
    assert loaded.origins == {}

    (tmp_path / "gemini_api_key").write_text("a key\n")
    assert config.load(EXAMPLE, environment).settings.model == "gemini"


def test_a_key_in_the_file_is_not_covered_by_the_stand_in(tmp_path: Path) -> None:
    (tmp_path / "gemini_api_key").write_text("\n")
    file = tmp_path / "agent.toml"
    file.write_text("[gemini]\napi_key = 'from the file'\n")
    settings = config.load(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).settings
    assert settings.gemini.api_key is not None
    assert settings.gemini.api_key.get_secret_value() == "from the file"


SYSTEMD_SETS = """CACHE_DIRECTORY CONFIGURATION_DIRECTORY EXIT_CODE EXIT_STATUS FDSTORE HOME
    INVOCATION_ID JOURNAL_STREAM LANG LISTEN_FDS LISTEN_FDNAMES LISTEN_PID LOGNAME LOGS_DIRECTORY
    MAINPID MANAGERPID MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE MONITOR_UNIT NOTIFY_SOCKET PATH
    PIDFILE RUNTIME_DIRECTORY SERVICE_RESULT SHELL STATE_DIRECTORY SYSTEMD_EXEC_PID TERM TMPDIR
    TRIGGER_UNIT USER WATCHDOG_PID WATCHDOG_USEC XDG_RUNTIME_DIR"""


def test_what_systemd_puts_into_the_environment_is_no_setting(tmp_path: Path) -> None:
    environment = dict.fromkeys(SYSTEMD_SETS.split(), "1") | {
        "CREDENTIALS_DIRECTORY": str(tmp_path)
    }
    assert config.load(EXAMPLE, environment).origins == {}

"""Settings: where they come from, who wins, and what is said about every kind of mistake."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from audiosocket_agent import config
from audiosocket_agent.config import Loaded, load
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.settings import Setting, Settings, settings_list

KEY = "AIza-s3cret"
SETTINGS = list(settings_list())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty settings file: what this host has in /etc is none of a test's business."""
    path = tmp_path / "agent.toml"
    path.touch()
    return path


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A directory as systemd makes it for LoadCredential."""
    path = tmp_path / "credentials"
    path.mkdir()
    return path


def mistakes(file: Path, **environment: str) -> list[str]:
    """What is said about these settings, without the path of the file."""
    with pytest.raises(ConfigError) as refused:
        load(file, environment)
    return str(refused.value).replace(f"{file.parent}/", "").split("\n")


# -- where they come from --------------------------------------------------------------------------


def test_without_anything_all_is_default(file: Path) -> None:
    assert load(file, {}) == Loaded(Settings(), {})


def test_the_default_file_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "agent.toml")
    assert load(None, {}).origins == {}
    (tmp_path / "agent.toml").write_text("max_calls = 7")
    assert load(None, {}).settings.max_calls == 7


def test_the_environment_wins_over_a_credential_over_the_file_over_the_default(
    file: Path, credentials: Path
) -> None:
    file.write_text("[gemini]\nvoice = 'file'\nlanguage = 'file'\nproject = 'file'\n")
    (credentials / "gemini_voice").write_text("credential\n")
    (credentials / "gemini_language").write_text("credential\n")
    loaded = load(
        file,
        {"CREDENTIALS_DIRECTORY": str(credentials), "GEMINI_VOICE": "environment", "PATH": "/"},
    )
    gemini = loaded.settings.gemini
    assert (gemini.voice, gemini.language, gemini.project, gemini.location) == (
        "environment",
        "credential",
        "file",
        "",
    )
    assert loaded.origins == {
        "GEMINI_VOICE": "environment",
        "GEMINI_LANGUAGE": "credential gemini_language",
        "GEMINI_PROJECT": str(file),
    }


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_can_be_a_variable_and_in_the_file(setting: Setting, file: Path) -> None:
    """The default, written as text, is the default again."""
    default = setting.info.default
    if default is None:
        return
    if isinstance(default, Path):
        default = str(default)
    assert load(file, {setting.variable: str(default)}) == Loaded(
        Settings(), {setting.variable: "environment"}
    )
    line = f"{setting.key} = {json.dumps(default)}\n"
    file.write_text(f"[{setting.section}]\n{line}" if setting.section else line)
    assert load(file, {}) == Loaded(Settings(), {setting.variable: str(file)})


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        # names that users have, or know from elsewhere
        ("AUDIOSOCKET_HOST", "::1", "audiosocket", "host", "::1"),
        ("AUDIOSOCKET_PORT", "9093", "audiosocket", "port", 9093),
        ("AUDIOSOCKET_DOWNLINK_RATE", "24000", "audiosocket", "downlink_rate", 24_000),
        ("METRICS_HOST", "127.0.0.1", "metrics", "host", "127.0.0.1"),
        ("METRICS_PORT", "9101", "metrics", "port", 9101),
        ("GEMINI_LIVE_MODEL", "gemini-x", "gemini", "live_model", "gemini-x"),
        ("GEMINI_VOICE", "", "gemini", "voice", ""),
        ("GEMINI_TEMPERATURE", "0.5", "gemini", "temperature", 0.5),
        ("GEMINI_INPUT_RATE", "16000", "gemini", "input_rate", 16_000),
        ("GEMINI_FAST_PATH", "no", "gemini", "fast_path", False),
        ("VAD_AGGRESSIVENESS", "2", "vad", "aggressiveness", 2),
        ("VAD_ENERGY_THRESHOLD", "0", "vad", "energy_threshold", 0.0),
        ("VAD_SILENCE_THRESHOLD", "1.5", "vad", "silence_threshold", 1.5),
        ("VAD_SPEECH_THRESHOLD", "0.08", "vad", "speech_threshold", 0.08),
        ("MAX_CALLS", "1", "", "max_calls", 1),
        ("MAX_CALL_DURATION", "60", "", "max_call_duration", 60.0),
        ("ENABLE_INTERRUPTION_HANDLING", "false", "", "enable_interruption_handling", False),
        ("LOG_LEVEL", "DEBUG", "log", "level", "DEBUG"),
        ("LOG_FILE", "/var/log/agent.log", "log", "file", Path("/var/log/agent.log")),
        ("VOICE_MODEL", "echo", "", "voice_model", "echo"),
    ],
)
def test_variables(
    file: Path, variable: str, text: str, section: str, key: str, value: object
) -> None:
    settings = load(file, {variable: text}).settings
    holder = getattr(settings, section) if section else settings
    assert getattr(holder, key) == value
    assert type(getattr(holder, key)) is type(value) or isinstance(value, Path)


def test_variables_are_unique() -> None:
    variables = [setting.variable for setting in SETTINGS]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GEMINI_TEMPERATURE", "LOG_FILE"])
def test_an_empty_variable_unsets_what_may_be_unset(file: Path, variable: str) -> None:
    assert load(file, {variable: ""}) == Loaded(Settings(), {})


def test_the_state_directory_is_systemds_or_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/agent")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert config.state_directory() == Path("/home/agent/.local/state/audiosocket-agent")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/audiosocket-agent")
    assert config.state_directory() == Path("/var/lib/audiosocket-agent")


def test_by_hand_an_instance_has_what_systemd_has_made_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(config, "INSTALLED_STATE", tmp_path)
    for name in ("2/journal", "3"):
        (tmp_path / name).mkdir(parents=True)
    second = load(file, {"INSTANCE": "2"}).settings
    assert config.database_url(second) == f"sqlite:///{tmp_path}/2/agent.db"
    assert config.journal_directories(second) == [tmp_path / "2/journal"]  # records of its own
    alone = load(file, {"DATABASE_URL": "postgresql://u:p@db/calls"}).settings
    assert config.journal_directories(alone) == [tmp_path / "journal", tmp_path / "2/journal"]
    assert config.recordings_directories(second) == [
        tmp_path / number / "recordings" for number in ("2", "", "3")
    ]


# -- the key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_a_key_makes_the_model_gemini(file: Path, variable: str) -> None:
    loaded = load(file, {variable: KEY})
    assert loaded.settings.model == "gemini"
    assert loaded.settings.gemini.api_key is not None
    assert loaded.settings.gemini.api_key.get_secret_value() == KEY


def test_the_keys_own_name_wins_over_googles(file: Path) -> None:
    loaded = load(file, {"GOOGLE_API_KEY": "other", "GEMINI_API_KEY": KEY})
    assert loaded.settings.gemini.api_key is not None
    assert loaded.settings.gemini.api_key.get_secret_value() == KEY
    assert loaded.origins == {"GEMINI_API_KEY": "environment"}
    assert load(file, {"GOOGLE_API_KEY": "other"}).origins == {
        "GEMINI_API_KEY": "environment GOOGLE_API_KEY"
    }


@pytest.mark.parametrize(
    "name", ["gemini-api-key", "gemini_api_key", "GEMINI_API_KEY", "google-api-key"]
)
def test_a_key_is_best_a_credential(file: Path, credentials: Path, name: str) -> None:
    (credentials / name).write_text(f"{KEY}\n")
    (credentials / "tls.pem").write_bytes(b"\xff not ours")
    loaded = load(file, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert loaded.settings.gemini.api_key is not None
    assert loaded.settings.gemini.api_key.get_secret_value() == KEY
    assert loaded.origins == {"GEMINI_API_KEY": f"credential {name}"}


def test_an_editors_copy_beside_a_credential_is_none(file: Path, credentials: Path) -> None:
    (credentials / "gemini_api_key~").write_text("old")
    assert load(file, {"CREDENTIALS_DIRECTORY": str(credentials)}).settings.gemini.api_key is None


def test_an_empty_credential_is_none(file: Path, credentials: Path) -> None:
    (credentials / "gemini-api-key").write_text("\n")
    assert load(file, {"CREDENTIALS_DIRECTORY": str(credentials)}) == Loaded(Settings(), {})


@pytest.mark.parametrize(
    ("environment", "model"),
    [
        ({}, "echo"),
        ({"GEMINI_API_KEY": KEY}, "gemini"),
        ({"GEMINI_API_KEY": KEY, "VOICE_MODEL": "echo"}, "echo"),
        ({"GEMINI_API_KEY": KEY, "VOICE_MODEL": "gemini"}, "gemini"),
        ({"GEMINI_VERTEX": "1", "GEMINI_PROJECT": "p", "GEMINI_LOCATION": "l"}, "gemini"),
    ],
)
def test_which_model_answers(file: Path, environment: dict[str, str], model: str) -> None:
    assert load(file, environment).settings.model == model


def test_the_key_is_never_shown(file: Path) -> None:
    loaded = load(file, {"GEMINI_API_KEY": KEY})
    shown = [
        repr(loaded),
        str(loaded.settings),
        config.as_toml(loaded),
        str(config.as_dict(loaded)),
    ]
    assert not [text for text in shown if KEY in text]
    assert 'api_key = "********"  # environment' in config.as_toml(loaded)
    file.write_text(config.as_toml(loaded))
    assert load(file, {}).settings.gemini.api_key is None
    assert config.as_dict(loaded)["GEMINI_API_KEY"] == {
        "value": "********",
        "origin": "environment",
    }


@pytest.mark.parametrize(
    "toml",
    [
        f"[gemini]\napi_key = ['{KEY}']",
        f"[gemini]\napi_key = {{ key = '{KEY}' }}",
        f"[gemini]\napi_key = '{KEY}'\nvertex = 'x'",
        f"[gemini]\napi_key = '{KEY}",
        f"[gemini]\napi_kye = '{KEY}'",
    ],
)
def test_the_key_is_not_in_what_is_said_about_mistakes(file: Path, toml: str) -> None:
    file.write_text(toml)
    said = "\n".join(mistakes(file))
    assert "s3cret" not in said
    assert said


# -- mistakes --------------------------------------------------------------------------------------


INTEGER = "be a valid integer, unable to parse string as an integer"


ONE_CHANNEL = "be one channel with {number} in it, as PJSIP/{number}@trunk"


@pytest.mark.parametrize(
    ("variable", "text", "should"),
    [
        ("VAD_AGGRESSIVENESS", "4", "be less than or equal to 3"),
        ("MAX_CALLS", "0", "be greater than or equal to 1"),
        ("MAX_CALLS", "many", INTEGER),
        ("MAX_CALLS", "2.5", INTEGER),
        ("MAX_CALLS", "", INTEGER),
        ("AUDIOSOCKET_PORT", "70000", "be less than or equal to 65535"),
        ("AUDIOSOCKET_PORT", "tcp://10.0.0.1:9092", INTEGER),
        ("AUDIOSOCKET_DOWNLINK_RATE", "11025", "be 0, 8000, 16000 or 24000"),
        ("AUDIOSOCKET_DOWNLINK_RATE", "wide", "be 0, 8000, 16000 or 24000"),
        ("GEMINI_INPUT_RATE", "8000", "be 0 or 16000"),
        ("GEMINI_FAST_PATH", "maybe", "be a valid boolean, unable to interpret input"),
        ("VOICE_MODEL", "siri", "be 'auto', 'gemini' or 'echo'"),
        ("LOG_LEVEL", "loud", "be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("MAX_CALL_DURATION", "inf", "be a finite number"),
        ("DRAIN_TIMEOUT", "nan", "be a finite number"),
        ("VAD_WINDOW", "-0.1", "be greater than 0"),
        ("DEFAULT_AGENT", "", "have at least 1 character"),
        ("OUTBOUND_ALLOW", "[0-9]+ (", "be regular expressions; '(' is none"),
        ("OUTBOUND_CHANNEL", "PJSIP/trunk", ONE_CHANNEL),
        ("OUTBOUND_CHANNEL", "PJSIP/{number}@trunk&SIP/x", ONE_CHANNEL),
        ("OUTBOUND_CHANNEL", "Local/{number}@out,30", ONE_CHANNEL),
        ("OUTBOUND_CHANNEL", "PJSIP/{number}@{trunk}", ONE_CHANNEL),
    ],
)
def test_a_value_that_does_not_fit_is_one_line(
    file: Path, variable: str, text: str, should: str
) -> None:
    said = f"environment: {variable} should {should}, not '{text}'"
    assert mistakes(file, **{variable: text}) == [said]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("VAD_AGRESSIVENESS", "; did you mean VAD_AGGRESSIVENESS?"),
        ("GEMINI_API_KYE", "; did you mean GEMINI_API_KEY?"),
        ("AUDIOSOCKET_POTR", "; did you mean AUDIOSOCKET_PORT?"),
        ("LOGLEVEL", "; did you mean LOG_LEVEL?"),
        ("VAD_FOO", ""),
    ],
)
def test_a_variable_that_nothing_reads_is_one_line(file: Path, variable: str, hint: str) -> None:
    said = f"environment: unknown setting {variable}{hint}"
    assert mistakes(file, **{variable: KEY}) == [said]


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("VAD_WINDOW", "0.04", "VAD_SPEECH_THRESHOLD is longer than VAD_WINDOW"),
        (
            "VOICE_MODEL",
            "gemini",
            "VOICE_MODEL=gemini needs GEMINI_API_KEY (or GEMINI_VERTEX=true)",
        ),
        ("GEMINI_VERTEX", "true", "GEMINI_VERTEX needs GEMINI_PROJECT and GEMINI_LOCATION"),
        (
            "GEMINI_COMPRESSION_TARGET",
            "30000",
            "GEMINI_COMPRESSION_TARGET is more than GEMINI_COMPRESSION_TRIGGER",
        ),
    ],
)
def test_values_that_do_not_fit_each_other_are_one_line(
    file: Path, variable: str, text: str, said: str
) -> None:
    assert mistakes(file, **{variable: text}) == [said]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("max_calls = 0", "MAX_CALLS should be greater than or equal to 1, not 0"),
        ("[vad]\nwindow = 6", "VAD_WINDOW should be less than or equal to 1, not 6"),
        ("[vad.window]\nms = 100", "VAD_WINDOW should be a valid number, not {'ms': 100}"),
        ("[gemini]\napi_key = 5", "GEMINI_API_KEY should be a valid string, not ********"),
        ("max_cals = 1", "unknown setting max_cals; did you mean max_calls?"),
        ("[vad]\nwindwo = 1", "unknown setting [vad] windwo; did you mean window?"),
        ("[vad]\nzzz = 1", "unknown setting [vad] zzz"),
        ("[vda]\nwindow = 1", "unknown section [vda]; did you mean vad?"),
        ("[vda]", "unknown section [vda]; did you mean vad?"),
        ("[max_calls]\nx = 1", "unknown section [max_calls]"),
        ("vad = 3", "vad is a section, so [vad], and not a setting"),
        ("[[vad]]\nwindow = 1", "vad is a section, so [vad], and not a setting"),
        ("max_calls = ", "Invalid value (at end of document)"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(file: Path, toml: str, said: str) -> None:
    file.write_text(toml)
    assert mistakes(file) == [f"agent.toml: {said}"]


@pytest.mark.parametrize("host", ["erp.example.com:8443", "https://erp.example.com", "-", "*"])
def test_a_host_is_nothing_but_its_name(file: Path, host: str) -> None:
    [said] = mistakes(file, TOOLS_HOSTS=f"api.example.com *.example.org ::1 {host}")
    assert f"TOOLS_HOSTS {host!r} is no host" in said


def test_every_mistake_is_told(file: Path) -> None:
    file.write_text("max_calls = 0\n[vad]\nwindow = 5\n")
    assert mistakes(file, METRICS_PORT="-1") == [
        "agent.toml: MAX_CALLS should be greater than or equal to 1, not 0",
        "environment: METRICS_PORT should be greater than or equal to 0, not '-1'",
        "agent.toml: VAD_WINDOW should be less than or equal to 1, not 5",
    ]
    assert len(mistakes(file, VAD_X="", VAD_Y="")) == 2
    file.write_text("a = 1\nb = 2\n[c]\n[vad]\nd = 3\n")
    assert len(mistakes(file)) == 4


def test_a_mistake_in_a_credential_is_one_line(file: Path, credentials: Path) -> None:
    (credentials / "gemini-api-kye").write_text(KEY)
    (credentials / "vad-windwo").write_text("1")
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert mistakes(file, **environment) == [
        "credential gemini-api-kye: unknown setting; did you mean GEMINI_API_KEY?",
        "credential vad-windwo: unknown setting; did you mean VAD_WINDOW?",
    ]
    (credentials / "gemini-api-kye").unlink()
    (credentials / "vad-windwo").rename(credentials / "vad-window")
    (credentials / "vad-window").write_text("2")
    assert mistakes(file, **environment) == [
        "credential vad-window: VAD_WINDOW should be less than or equal to 1, not '2'"
    ]


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "GEMINI", "GOOGLE_API_KEY_2", "LANG", "GOOGLE_GEMINI_BASE_URL"]
)
def test_other_programs_variables_are_none_of_our_business(file: Path, name: str) -> None:
    assert load(file, {name: "x"}) == Loaded(Settings(), {})


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "x.toml") == ["x.toml: no such file"]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, file: Path) -> None:
    [said] = mistakes(tmp_path)
    assert "cannot be read: " in said
    file.write_bytes(b"voice_model = '\xff'")
    [said] = mistakes(file)
    assert said.startswith("agent.toml: cannot be read: 'utf-8' codec")


def test_credentials_that_cannot_be_read_are_one_line(
    file: Path, tmp_path: Path, credentials: Path
) -> None:
    [said] = mistakes(file, CREDENTIALS_DIRECTORY=str(tmp_path / "none"))
    assert said.startswith("credentials in none cannot be read: ")
    (credentials / "gemini-voice").write_bytes(b"\xff")
    [said] = mistakes(file, CREDENTIALS_DIRECTORY=str(credentials))
    assert said.startswith("credentials in credentials cannot be read: ")


# -- showing ---------------------------------------------------------------------------------------


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(
    _TEXT,
    st.floats(1e-3, 1e9),
    st.integers(12_800, 10**12),
    st.booleans(),
)
def test_what_is_printed_can_be_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    caller_id: str,
    duration: float,
    trigger: int,
    vertex: bool,
) -> None:
    given: dict[str, Any] = {
        "max_call_duration": duration,
        "outbound": {"caller_id": caller_id},
        "gemini": {
            "compression_trigger": trigger,
            "vertex": vertex,
            "project": "p",
            "location": "l",
        },
        "log": {"file": "/var/log/agent.log"},
    }
    loaded = Loaded(Settings(**given), {"MAX_CALL_DURATION": "environment"})
    file = tmp_path_factory.getbasetemp() / "printed.toml"
    file.write_text(config.as_toml(loaded), encoding="utf-8")
    assert load(file, {}).settings == loaded.settings


def test_what_is_printed_says_where_it_comes_from(file: Path) -> None:
    file.write_text("[vad]\naggressiveness = 2\n")
    printed = config.as_toml(load(file, {"GEMINI_VOICE": "Puck"})).split("\n")
    assert f"aggressiveness = 2  # {file}" in printed
    assert 'voice = "Puck"  # environment' in printed
    assert "max_calls = 80" in printed
    assert "# api_key is not set" in printed
    assert printed.count("[vad]") == 1


def test_as_dict_has_every_setting_with_value_and_origin(file: Path) -> None:
    shown = config.as_dict(load(file, {"MAX_CALLS": "3"}))
    assert list(shown) == [setting.variable for setting in SETTINGS]
    assert shown["MAX_CALLS"] == {"value": 3, "origin": "environment"}
    assert shown["GEMINI_API_KEY"] == {"value": None, "origin": "default"}
    assert shown["VAD_WINDOW"] == {"value": 0.1, "origin": "default"}


def test_the_readmes_table_has_a_row_for_every_setting() -> None:
    header, rule, *rows = config.as_markdown().rstrip("\n").split("\n")
    assert [header, rule] == ["| variable | default | what it does |", "| --- | --- | --- |"]
    for row, setting in zip(rows, SETTINGS, strict=True):
        _, variable, default, what, _ = row.split("|")  # and no | in any of them
        assert variable == f" `{setting.variable}` "
        assert len(what) > 10
        assert what.rstrip()[-1] == "."
        assert "\n" not in default
    assert '| `VOICE_MODEL` | `"auto"` |' in config.as_markdown()
    assert "| `MAX_CALL_DURATION` | `1800` |" in config.as_markdown()
    assert "| `GEMINI_FAST_PATH` | `true` |" in config.as_markdown()


def test_every_duration_is_finite() -> None:
    """A timer cannot be set for infinity."""
    for setting in SETTINGS:
        if isinstance(setting.info.default, float):
            with pytest.raises(ConfigError, match=f"{setting.variable} should be"):
                load(Path("/dev/null"), {setting.variable: str(math.inf)})


@pytest.mark.parametrize("holder", [Settings(), Settings().vad, Settings().gemini])
def test_settings_do_not_change(holder: BaseModel) -> None:
    for name in type(holder).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(holder, name, None)

"""Where the settings come from. Read once, at start.

A value comes from, first wins: the environment, a file in `$CREDENTIALS_DIRECTORY` (systemd's
LoadCredential), the TOML file, the default here. What is unknown or
does not fit is a ConfigError of one line per mistake; nothing is guessed and nothing ignored.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.settings import Settings, settings_list, value_of

DEFAULT_FILE: Final = Path("/etc/audiosocket-agent/agent.toml")
SECRET_FILES: Final = tuple(its.variable.lower() for its in settings_list() if its.secret)
"""Beside the default file, each a credential."""
INSTALLED_STATE: Final = Path("/var/lib/audiosocket-agent")
"""The unit's StateDirectory."""
INSTALLED_RUNTIME: Final = Path("/run/audiosocket-agent")
"""The unit's RuntimeDirectory."""
CONTROL_FILE: Final = "control.sock"
JOURNAL: Final = "journal"
RECORDINGS: Final = "recordings"
MASK: Final = "********"

_ALIASES: Final = {"GOOGLE_API_KEY": "GEMINI_API_KEY"}
_OURS: Final = (
    "AUDIOSOCKET_",
    "FASTAGI_",
    "VAD_",
    "INTERRUPTION_",
)  # no other program uses these prefixes


_BY_VARIABLE: Final = {setting.variable: setting for setting in settings_list()}
_BY_PLACE: Final = {(setting.section, setting.key): setting for setting in settings_list()}


def state_directory(instance: int = 0) -> Path:
    """Where what must outlive the process is kept: systemd's choice, which a command run by hand finds
    where systemd has made it, else the user's own."""
    given, installed = os.environ.get("STATE_DIRECTORY"), _of_instance(INSTALLED_STATE, instance)
    if given is None and any(os.access(path, os.W_OK) for path in (INSTALLED_STATE, installed)):
        return installed
    return Path(given or "~/.local/state/audiosocket-agent").expanduser()


def is_installed_for_others() -> bool:
    """Whether there is a service's state here that this user may not see."""
    given = os.environ.get("STATE_DIRECTORY")
    return (
        given is None and os.path.isdir(INSTALLED_STATE) and not os.access(INSTALLED_STATE, os.W_OK)
    )


def state_directories(settings: Settings) -> list[Path]:
    """Those of every service on this host, its own among them."""
    own = state_directory(settings.instance)
    above = own.parent if own.name.isdecimal() else own
    numbered = [path for path in above.glob("*/") if path.name.isdecimal()]
    return list(dict.fromkeys([own, above, *numbered]))


def _of_instance(directory: Path, instance: int) -> Path:
    """As the unit audiosocket-agent@N has it."""
    return directory / str(instance) if instance else directory


def database_url(settings: Settings) -> str:
    """Where the records are; may hold a password."""
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    return f"sqlite:///{state_directory(settings.instance) / 'agent.db'}"


def shares_database(settings: Settings) -> bool:
    """Whether another service may have the same records."""
    return settings.database.url is not None


def journal_directory(settings: Settings) -> Path:
    """Where records wait for a database that is down."""
    return state_directory(settings.instance) / JOURNAL


def journal_directories(settings: Settings) -> list[Path]:
    """Those of every service on this host that has the same records, its own first."""
    others = [path / JOURNAL for path in state_directories(settings)]
    there = [path for path in others if shares_database(settings) and os.path.isdir(path)]
    return list(dict.fromkeys([journal_directory(settings), *there]))


def phrases_directory(settings: Settings) -> Path:
    """Where phrases in the agents' voices are kept."""
    return state_directory(settings.instance) / "phrases"


def recordings_directory(settings: Settings) -> Path:
    """Where the recordings of calls are."""
    return settings.records.recordings or state_directory(settings.instance) / RECORDINGS


def recordings_directories(settings: Settings) -> list[Path]:
    """Those of every service on this host, its own first."""
    others = [path / RECORDINGS for path in state_directories(settings)]
    return list(dict.fromkeys([recordings_directory(settings), *others]))


def load_beside_the_service(file: Path | None) -> "Loaded":
    """The settings for a command that is run by hand on the service's host. systemd hands the service
    its secrets as credentials; here they are read where they lie, by whoever may. Raises ConfigError."""
    environment = dict(os.environ)
    secrets = [path for name in SECRET_FILES if (path := DEFAULT_FILE.with_name(name)).exists()]
    may = bool(secrets) and all(os.access(path, os.R_OK) for path in secrets)
    if file in (None, DEFAULT_FILE) and "CREDENTIALS_DIRECTORY" not in environment and may:
        environment["CREDENTIALS_DIRECTORY"] = str(DEFAULT_FILE.parent)
    return load(file, environment)


def control_socket(settings: Settings) -> Path:
    """Where the running service is asked by `status`, `calls` and `dial`."""
    if settings.control.socket:
        return Path(settings.control.socket).expanduser()
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    if runtime is None and INSTALLED_RUNTIME.is_dir():  # a command beside the systemd service
        runtime = str(_of_instance(INSTALLED_RUNTIME, settings.instance))
    return (Path(runtime) if runtime else state_directory(settings.instance)) / CONTROL_FILE


def control_sockets(settings: Settings) -> dict[str, Path]:
    """Those of every service on this host, by its instance: 0 is the one that has no number."""
    own = control_socket(settings)
    above = own.parent.parent if own.parent.name.isdecimal() else own.parent
    numbers = [path.name for path in above.glob("*/") if path.name.isdecimal()]
    sockets = {"0": above / own.name}
    sockets |= {number: above / number / own.name for number in sorted(numbers, key=int)}
    return {number: path for number, path in sockets.items() if _may_be_there(path)}


def _may_be_there(path: Path) -> bool:
    """Also where it is not for this user to see: whoever asks there is told so."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


# ---- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each that is not a default came from, by variable."""

    settings: Settings
    origins: Mapping[str, str]


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """Read all sources. `file` must exist if it is named; the default one may be missing.

    Raises ConfigError with one line per mistake.
    """
    values: dict[tuple[str, str], tuple[Any, str]] = {}  # place -> value, origin
    values |= _from_toml(file or DEFAULT_FILE, required=file is not None)
    values |= _from_credentials(environment.get("CREDENTIALS_DIRECTORY"))
    values |= _from_environment(environment)
    tree: dict[str, Any] = {}
    for (section, key), (value, _) in values.items():
        (tree.setdefault(section, {}) if section else tree)[key] = value
    try:
        settings = Settings(**tree).numbered()
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, values))) from None
    origins = {_BY_PLACE[place].variable: origin for place, (_, origin) in values.items()}
    return Loaded(settings, origins)


Values = dict[tuple[str, str], tuple[Any, str]]


def _from_environment(environment: Mapping[str, str]) -> Values:
    values: Values = {}
    unknown = []
    for name in sorted(environment):  # so a setting's own name comes before its alias
        setting = _BY_VARIABLE.get(_ALIASES.get(name, name))
        if setting is None:
            if _is_meant_for_us(name):
                unknown.append(f"environment: unknown setting {name}{_hint(name, _BY_VARIABLE)}")
        elif environment[name] or setting.info.default is not None:  # empty is how to unset one
            origin = f"environment {name}" if name in _ALIASES else "environment"
            values.setdefault((setting.section, setting.key), (environment[name], origin))
    if unknown:
        raise ConfigError("\n".join(unknown))
    return values


def _from_credentials(directory: str | None) -> Values:
    values: Values = {}
    unknown = []
    try:
        for path in sorted(Path(directory).iterdir()) if directory else ():
            name = path.name.upper().replace("-", "_")
            setting = _BY_VARIABLE.get(_ALIASES.get(name, name))
            if setting is None:
                if _is_meant_for_us(name) and not name.endswith("~"):  # as editors call a copy
                    hint = _hint(name, _BY_VARIABLE)
                    unknown.append(f"credential {path.name}: unknown setting{hint}")
            elif text := path.read_text(encoding="utf-8").strip():
                # an empty file is how the unit says that there is none
                values.setdefault((setting.section, setting.key), (text, f"credential {path.name}"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"credentials in {directory} cannot be read: {error}") from None
    if unknown:
        raise ConfigError("\n".join(unknown))
    return values


def _is_meant_for_us(name: str) -> bool:
    """Whether an unknown variable is a mistake rather than another program's."""
    near = difflib.get_close_matches(name, _BY_VARIABLE, 1, cutoff=0.92)
    return bool(near) or name.startswith(_OURS)


def _from_toml(path: Path, *, required: bool) -> Values:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:  # of brackets too deep, of numbers too long
        raise ConfigError(f"{path}: {error}") from None
    values: Values = {}
    unknown = []
    sections = {section for section, _ in _BY_PLACE if section}
    for name, value in tree.items():
        if isinstance(value, dict):
            section, where, table = name, f"[{name}] ", value
        else:
            section, where, table = "", "", {name: value}
        if section and section not in sections:
            unknown.append(f"{path}: unknown section [{name}]{_hint(name, sections)}")
            continue
        known = [key for place, key in _BY_PLACE if place == section]
        for key, leaf in table.items():
            if key in known:
                values[section, key] = (leaf, str(path))
            elif not section and key in sections:
                unknown.append(f"{path}: {key} is a section, so [{key}], and not a setting")
            else:
                unknown.append(f"{path}: unknown setting {where}{key}{_hint(key, known)}")
    if unknown:
        raise ConfigError("\n".join(unknown))
    return values


def _hint(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), 1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _explain(error: ValidationError, values: Values) -> Iterator[str]:
    for item in error.errors(include_url=False, include_context=False):
        loc = [str(part) for part in item["loc"]]
        place = (loc[0], loc[1]) if len(loc) > 1 else ("", loc[0] if loc else "")
        message = item["msg"].removeprefix("Value error, ")
        setting = _BY_PLACE.get(place)
        if setting is None:
            yield message
            continue
        value, origin = values.get(place, (None, "default"))
        shown = MASK if setting.secret else repr(value)
        message = message.removeprefix("Input ").removeprefix("String ")
        yield f"{origin}: {setting.variable} {message}, not {shown}"


# ---- showing ---------------------------------------------------------------------------------


def as_toml(loaded: Loaded) -> str:
    """The settings in force as a TOML file, each with its origin; secrets masked."""
    lines: list[str] = []
    section = ""
    for setting in settings_list():
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]"]
        value = value_of(loaded.settings, setting)
        if value is None:
            text = f"# {setting.key} is not set"
        elif setting.secret:
            text = f'# {setting.key} = "{MASK}"'  # who reads this again has no key of stars
        else:
            text = f"{setting.key} = {_toml_value(value)}"
        origin = loaded.origins.get(setting.variable)
        lines.append(f"{text}  # {origin}" if origin else text)
    return "\n".join(lines).strip() + "\n"


def as_dict(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """The settings in force by variable: value (secrets masked) and origin."""
    shown: dict[str, dict[str, Any]] = {}
    for setting in settings_list():
        value = value_of(loaded.settings, setting)
        shown[setting.variable] = {
            "value": MASK if setting.secret and value is not None else value,
            "origin": loaded.origins.get(setting.variable, "default"),
        }
    return shown


def as_markdown() -> str:
    """The table of settings in the README."""
    rows = ["| variable | default | what it does |", "| --- | --- | --- |"]
    for setting in settings_list():
        default = setting.info.default
        shown = "" if default in (None, "") else f"`{_toml_value(default)}`"
        rows.append(f"| `{setting.variable}` | {shown} | {setting.info.description} |")
    return "\n".join(rows) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(int(value)) if value == int(value) else repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")

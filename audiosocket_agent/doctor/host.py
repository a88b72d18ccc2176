"""What the checks look at, and the checks of this host itself: the key, files, directories."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audiosocket_agent import config
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.config import Loaded
from audiosocket_agent.doctor.finding import Finding, failed, ok, skipped, warning
from audiosocket_agent.settings import Settings, settings_list

AmiLogin = Callable[[Settings], Awaitable[None]]
"""Logs in to Asterisk's manager, and off again. Raises AgentError or OSError where it cannot."""

_UNIT_STATE: Final = Path("/var/lib/audiosocket-agent")
_KEY_NAME: Final = "gemini_api_key"
_READABLE_BY_ALL: Final = 0o004


@dataclass(frozen=True, slots=True)
class Host:
    """One host with its settings."""

    loaded: Loaded
    targets: tuple[Target, ...]
    """Of all agents."""
    ami_login: AmiLogin
    now: Callable[[], float]
    """Seconds since 1970, by this host's clock."""

    @property
    def settings(self) -> Settings:
        return self.loaded.settings


def _unit_key() -> Path:
    return config.DEFAULT_FILE.with_name(_KEY_NAME)


# ---- secrets -----------------------------------------------------------------------------------


def key(host: Host) -> Finding:
    """Whether callers reach a model or an echo."""
    settings = host.settings
    if settings.voice_model == "echo":
        found = ok("key", "none is needed: VOICE_MODEL=echo, callers talk to the echo")
    elif settings.gemini.api_key:
        found = ok("key", f"from {host.loaded.origins['GEMINI_API_KEY']}")
    elif settings.gemini.vertex:
        found = ok("key", "none is needed: Vertex AI takes application default credentials")
    elif os.path.exists(_unit_key()):
        found = warning("key", f"{_unit_key()} is not for this user", "run the doctor as root")
    else:
        found = warning(
            "key",
            "none: callers talk to the echo",
            f"set GEMINI_API_KEY; for the unit: install -m 600 /dev/stdin {_unit_key()}, paste the key, "
            "Ctrl-D, restart the service",
        )
    return found


def secrets(host: Host) -> Finding:
    """Whether others on this host can read what they should not."""
    files = dict(_files_with_secrets(host.loaded))
    exposed = {
        variable: file
        for variable, file in files.items()
        if os.path.exists(file) and file.stat().st_mode & _READABLE_BY_ALL
    }
    if not exposed:
        return ok("secrets", "no file with a secret can be read by others")
    variable, file = next(iter(exposed.items()))
    own = file.with_name(variable.lower())
    cure = (
        f"chmod 600 {file}"
        if file.name == own.name
        else f"move it into a file of its own that root alone can read, as {own} for the unit"
    )
    return failed("secrets", f"{file} has {variable}, and everybody can read it", cure)


def _files_with_secrets(loaded: Loaded) -> Iterator[tuple[str, Path]]:
    for setting in settings_list():
        origin = loaded.origins.get(setting.variable, "")
        kind, _, name = origin.partition(" ")
        if not setting.secret or not origin or kind == "environment":
            continue
        if kind == "credential":
            given = os.environ.get("CREDENTIALS_DIRECTORY")
            yield setting.variable, Path(given or _unit_key().parent) / name
        else:
            yield setting.variable, Path(origin)


# ---- what has to be written --------------------------------------------------------------------


def state_directory(host: Host) -> Finding:
    """Whether what has to outlive the process can be written."""
    number = host.settings.instance
    path = config.state_directory(number)
    if "STATE_DIRECTORY" not in os.environ and os.path.exists(_UNIT_STATE):
        path = _UNIT_STATE / str(number) if number else _UNIT_STATE
    if problem := _unwritable(path):
        cure = f"mkdir -p {path}, owned by the service's user, or set STATE_DIRECTORY"
        return failed("state", f"{path}: {problem}", cure)
    return ok("state", f"{path} can be written")


def log_file(host: Host) -> Finding:
    """Whether there will be a log."""
    path = host.settings.log.file
    if path is None:
        return skipped("log", "goes to standard error, so to the journal")
    problem = (
        _unwritable_file(path) if os.path.exists(path) else _unwritable(path.parent, made=False)
    )
    if problem:
        cure = f"make {path.parent} and let the service's user write there, or unset LOG_FILE"
        return failed("log", f"{path}: {problem}", cure)
    return ok("log", f"{path} can be written")


def _unwritable(directory: Path, *, made: bool = True) -> str:
    """Why no file can be made in it, or nothing; `made`: if it is not there, it will be."""
    while made and not os.path.exists(directory) and directory != directory.parent:
        directory = directory.parent
    try:
        with tempfile.TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _unwritable_file(path: Path) -> str:
    """Asked of the system and not tried: to open a pipe would be to wait for its reader."""
    if os.path.isdir(path):
        return "is a directory"
    return "" if os.access(path, os.W_OK) else "this user may not write to it"

"""`make install` staged below a directory, by somebody who is not root."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiosocket_agent import __version__
from tests.deploy.debian import ON_DEBIAN
from tests.deploy.unit import REPOSITORY, directives

pytestmark = [*ON_DEBIAN, pytest.mark.timeout(300)]

NOBODY = 65534
PREFIX = "/opt/agent"
VENV = f"{PREFIX}/lib/audiosocket-agent/venv"


class Stage:
    """A directory of nobody's."""

    def __init__(self, directory: str) -> None:
        self.root = Path(directory) / "stage"
        self._home = directory

    def install(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = ("make", "-s", "install", f"PREFIX={PREFIX}", f"DESTDIR={self.root}")
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "HOME": self._home, **environment},
            user=NOBODY,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def path(self, final: str) -> Path:
        """Where a file is now that will be `final`."""
        return self.root / final.lstrip("/")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="agent-stage-") as directory:
        # In memory: ten thousand files come and go.
        options = f"uid={NOBODY},mode=755"
        subprocess.check_call(["mount", "-t", "tmpfs", "agent-stage", "-o", options, directory])
        try:
            stage = Stage(directory)
            done = stage.install()
            assert done.returncode == 0, done.stderr
            yield stage
        finally:
            subprocess.check_call(["umount", directory])


def test_nothing_in_it_knows_the_stage(stage: Stage) -> None:
    searched = subprocess.run(
        ["grep", "-rlF", str(stage.root), stage.root], capture_output=True, text=True, check=False
    )
    assert (searched.returncode, searched.stdout) == (1, "")
    links = [path for path in stage.root.rglob("*") if path.is_symlink()]
    assert [link for link in links if str(stage.root) in os.readlink(link)] == []


def test_the_command_and_the_unit_have_their_final_paths(stage: Stage) -> None:
    command = stage.path(f"{PREFIX}/bin/audiosocket-agent")
    assert command.resolve() == stage.path(f"{VENV}/bin/audiosocket-agent")
    shebang = command.read_text().splitlines()[0]
    assert shebang.startswith(f"#!{VENV}/bin/python")
    unit = directives(stage.path("/etc/systemd/system/audiosocket-agent.service").read_text())
    assert unit["ExecStart"] == [f"{PREFIX}/bin/audiosocket-agent serve --take-over"]
    many = directives(stage.path("/etc/systemd/system/audiosocket-agent@.service").read_text())
    assert many["ExecStart"] == unit["ExecStart"]
    assert stage.path("/etc/systemd/system/audiosocket-agent.target").exists()


def test_it_runs_from_its_own_files_alone(stage: Stage) -> None:
    python = stage.path(f"{VENV}/bin/python")
    code = "import audiosocket_agent as a; print(a.__file__, a.__version__)"
    said = subprocess.check_output([python, "-I", "-c", code], text=True, cwd="/").split()
    assert said[0].startswith(str(stage.path(VENV)))
    assert said[1] == __version__


def test_an_upgrade_that_fails_leaves_what_is_there(stage: Stage) -> None:
    config = stage.path("/etc/audiosocket-agent/agent.toml")
    config.write_text("max_calls = 7\n")
    done = stage.install(PIP_NO_INDEX="1", PIP_FIND_LINKS="/nowhere", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode != 0
    assert done.stdout == ""
    home = stage.path(VENV).parent
    assert [path.name for path in home.iterdir()] == ["venv"]
    test_it_runs_from_its_own_files_alone(stage)


def test_an_upgrade_keeps_the_configuration(stage: Stage) -> None:
    config = stage.path("/etc/audiosocket-agent/agent.toml")
    config.write_text("max_calls = 7\n")
    before = stage.path(VENV).stat().st_ino
    done = stage.install()
    assert done.returncode == 0, done.stderr
    assert config.read_text() == "max_calls = 7\n"
    assert stage.path(VENV).stat().st_ino != before
    assert [path.name for path in stage.path(VENV).parent.iterdir()] == ["venv"]

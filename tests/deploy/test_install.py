"""What deploy/install.sh refuses, each in one line and before it touches anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.unit import DEPLOY

NOBODY = 65534


def install(user: int | None = None, **environment: str) -> tuple[int, str]:
    """Its exit code, and what it says on standard error."""
    done = subprocess.run(
        [DEPLOY / "install.sh"],
        env={"PATH": os.environ["PATH"], **environment},
        user=user,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_root_it_needs_a_stage() -> None:
    line = "install.sh: needs root, or DESTDIR for a staged installation\n"
    assert install(user=NOBODY if os.geteuid() == 0 else None) == (1, line)


@pytest.mark.parametrize("stage", ["/proc/stage", "/dev/null/stage"])
def test_a_stage_that_cannot_be_made(stage: str) -> None:
    assert install(DESTDIR=stage) == (1, f"install.sh: DESTDIR={stage} cannot be made\n")


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("/home/me/agent", "the service cannot see PREFIX=/home/me/agent"),
        ("opt/agent", "PREFIX=opt/agent is not an absolute path of plain characters"),
        ("/opt/my agent", "PREFIX=/opt/my agent is not an absolute path of plain characters"),
    ],
)
def test_a_prefix_the_unit_cannot_carry(prefix: str, why: str, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    assert install(PREFIX=prefix, DESTDIR=str(stage)) == (1, f"install.sh: {why}\n")
    assert not stage.exists()


def python_that(tmp_path: Path, first: str) -> Path:
    """A Python in which `first` has been run."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; {first}; exec(sys.stdin.read())"\n'
    )
    python.chmod(0o755)
    return python


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ("sys.version_info = (3, 10, 12)", " is Python 3.10"),
        (
            "sys._base_executable = '/home/me/.pyenv/bin/python'",
            "/home/me/.pyenv/bin/python is below /home/, which the service cannot see",
        ),
        (
            "sys._base_executable = '/bin/sh'; sys.modules['ensurepip'] = None",
            " has no venv (Debian: apt-get install python3-venv)",
        ),
    ],
)
def test_a_python_that_cannot_carry_the_service(first: str, why: str, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    code, line = install(DESTDIR=str(stage), PYTHON=str(python_that(tmp_path, first)))
    assert code == 1
    assert line.startswith("install.sh: needs Python 3.11 or newer: ")
    assert line.endswith(f"{why}; set PYTHON=/path/to/it\n")
    assert list(stage.iterdir()) == []


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    assert install(DESTDIR=str(tmp_path), PYTHON="python9") == (
        1,
        "install.sh: needs Python 3.11 or newer: python9 is not there; set PYTHON=/path/to/it\n",
    )

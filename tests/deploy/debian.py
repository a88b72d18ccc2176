"""What the tests in test_debian_*.py have in common: they need root, and tests/deploy/packages.sh."""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

PROMETHEUS: Final = (
    Path(os.environ.get("DEPLOY_CACHE", "/var/cache/audiosocket-agent/prometheus")) / "usr" / "bin"
)

ON_DEBIAN: Final = [
    pytest.mark.pbx,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and tests/deploy/packages.sh"),
]


def run(*command: str | Path, stdin: str = "") -> tuple[int, str]:
    """The exit code, and all that was said."""
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout

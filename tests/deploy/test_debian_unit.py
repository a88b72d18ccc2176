"""What systemd-analyze says of the unit."""

import sys
from pathlib import Path

from tests.deploy.debian import ON_DEBIAN, run
from tests.deploy.unit import UNIT

pytestmark = ON_DEBIAN


def test_verify_finds_nothing(tmp_path: Path) -> None:
    here = Path(sys.executable).with_name("audiosocket-agent")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/audiosocket-agent", str(here)))
    assert run("systemd-analyze", "verify", unit) == (0, "")

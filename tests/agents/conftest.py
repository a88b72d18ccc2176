"""An administrator's directory of agents."""

from pathlib import Path

import pytest


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    """Empty."""
    path = tmp_path / "agents"
    path.mkdir()
    return path

"""Agents' files for tests, and what is said about them."""

from pathlib import Path
from typing import Any, Final

import pytest

from audiosocket_agent.agents.profile import Profile, load
from audiosocket_agent.errors import ConfigError

SHIPPED: Final = ["hinglish", "npcl", "receptionist"]


def write(agents: Path, text: str, name: str = "sales") -> Path:
    """A file of a directory."""
    path = agents / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def agent(agents: Path, text: str, **given: Any) -> Profile:
    """The agent of a file with this in it, and instructions."""
    write(agents, f"instructions = 'You sell.'\n{text}")
    return load(agents, **given)["sales"]


def mistakes(agents: Path) -> list[str]:
    """What is said about these files, without the path of their directory."""
    with pytest.raises(ConfigError) as refused:
        load(agents)
    return str(refused.value).replace(f"{agents}/", "").split("\n")


def mistakes_in(agents: Path, text: str) -> list[str]:
    """What is said about a file with this from its line 2 on, and instructions before."""
    write(agents, f"instructions = 'You sell.'\n{text}")
    return mistakes(agents)

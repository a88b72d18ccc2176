"""Secrets by name: from the environment, or what systemd hands over."""

from pathlib import Path

import pytest

from audiosocket_agent.tools import secrets
from audiosocket_agent.tools.secrets import MAX_SECRET_BYTES, Secrets, names


def test_a_text_may_refer_to_some() -> None:
    assert names("Bearer secret:ERP_TOKEN; secret:other-one") == ["ERP_TOKEN", "other-one"]
    assert names("secret: none, secret:") == []


def test_the_environment_comes_first(tmp_path: Path) -> None:
    (tmp_path / "erp-token").write_text("from a file\n", encoding="utf-8")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert Secrets(credentials).find("ERP_TOKEN") == "from a file"
    assert Secrets({"ERP_TOKEN": "from here", **credentials}).find("ERP_TOKEN") == "from here"
    assert Secrets(credentials).find("ERP") is None
    assert Secrets({}).find("ERP_TOKEN") is None
    assert Secrets({"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}).find("ERP_TOKEN") is None


def test_a_command_by_hand_reads_them_where_systemd_takes_them_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "DEFAULT_FILE", tmp_path / "agent.toml")
    (tmp_path / "erp_token").write_text("from a file\n", encoding="utf-8")
    assert Secrets({}).find("ERP_TOKEN") == "from a file"
    assert Secrets({"CREDENTIALS_DIRECTORY": "/nowhere"}).find("ERP_TOKEN") is None


@pytest.mark.parametrize("content", [b"", b" \n", b"a\nb", b"\xff\xfe", "schlüssel".encode()])
def test_what_cannot_stand_in_a_header_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ERP_TOKEN").write_bytes(content)
    assert Secrets({"CREDENTIALS_DIRECTORY": str(tmp_path)}).find("ERP_TOKEN") is None


def test_a_file_that_was_hardly_meant_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "ERP_TOKEN").write_bytes(b"x" * 10 * MAX_SECRET_BYTES)
    found = Secrets({"CREDENTIALS_DIRECTORY": str(tmp_path)}).find("ERP_TOKEN")
    assert found is not None
    assert len(found) == MAX_SECRET_BYTES


def test_the_services_own_are_for_nobody_else(tmp_path: Path) -> None:
    own = {"GEMINI_API_KEY": "AIza", "GOOGLE_API_KEY": "AIza", "AMI_SECRET": "x"}
    for name in ("GEMINI_API_KEY", "gemini-api-key", "GOOGLE_API_KEY", "AMI_SECRET"):
        (tmp_path / name).write_text("AIza", encoding="utf-8")
        assert Secrets({**own, "CREDENTIALS_DIRECTORY": str(tmp_path)}).find(name) is None

"""DATABASE_URL, read."""

import os
from pathlib import Path

import pytest

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.place import Place


def test_plain_urls_get_our_drivers() -> None:
    assert Place.of("sqlite:////srv/a b.db").url.database == "file:/srv/a%20b.db"
    assert Place.of("sqlite+aiosqlite:////srv/a.db").file == Path("/srv/a.db")
    for given in ("postgresql", "postgres", "postgresql+psycopg"):
        assert Place.of(f"{given}://u:p@db/name").url.drivername == "postgresql+psycopg"


def test_a_place_is_called_without_user_and_password() -> None:
    hidden = Place.of("postgresql://user:p%40ss@db.example:5433/name?password=s3cret")
    assert hidden.name == "postgresql://db.example:5433/name"
    assert hidden.url.password == "p@ss"
    assert Place.of("postgresql:///name?host=/run/postgresql").name == (
        "postgresql:///run/postgresql/name"
    )


def test_what_a_url_says_of_patience_is_kept() -> None:
    place = Place.of("postgresql://db/name?connect_timeout=9&sslmode=verify-full")
    assert place.url.query["connect_timeout"] == "9"
    assert place.url.query["sslmode"] == "verify-full"
    assert place.url.query["tcp_user_timeout"] == "10000"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "records.db",
        "mysql://user:s3cret@db/name",
        "postgresql://user:s3cret@db:port/name",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://s3cret/records.db",
        "sqlite:///records.db?mode=s3cret",
    ],
)
def test_an_unusable_url_is_a_mistake_in_the_settings_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^DATABASE_URL should be") as told:
        Place.of(url)
    assert "s3cret" not in str(told.value)


def test_the_file_is_made_for_nobody_else(tmp_path: Path) -> None:
    place = Place.of(f"sqlite:///{tmp_path}/state/records.db")
    place.create()
    place.create()
    assert place.file is not None
    assert place.file.stat().st_mode & 0o777 == 0o600
    assert place.file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes files for others")
def test_a_file_that_root_makes_in_the_services_directory_is_the_services(tmp_path: Path) -> None:
    nobody = 65_534
    os.chown(tmp_path, nobody, nobody)
    place = Place.of(f"sqlite:///{tmp_path}/records.db")
    place.create()
    assert place.file is not None
    made = place.file.stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (nobody, nobody, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes files for others")
def test_what_is_behind_a_link_stays_roots(tmp_path: Path) -> None:
    nobody, state = 65_534, tmp_path / "state"
    state.mkdir()
    os.chown(state, nobody, nobody)
    (state / "records.db").symlink_to(tmp_path / "elsewhere")
    Place.of(f"sqlite:///{state}/records.db").create()
    assert (tmp_path / "elsewhere").stat().st_uid == 0


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = Place.of(f"sqlite:///{tmp_path}/file/records.db")
    with pytest.raises(StoreError, match=r"^sqlite:///.*records\.db cannot be opened: "):
        place.create()

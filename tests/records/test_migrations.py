"""From nothing to our version, once, whoever else does the same."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from audiosocket_agent.business import sample
from audiosocket_agent.records import codec, migrations, schema
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.place import Place
from audiosocket_agent.records.reference import import_csv
from audiosocket_agent.records.store import Store
from tests.records.conftest import Database
from tests.records.made import turn


def test_the_newest_migration_is_the_version_of_the_schema() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.VERSION]
    versions = [script.revision for script in scripts.walk_revisions()]
    assert versions == sorted(versions, reverse=True)


def test_the_migrations_make_the_schema(database: Database) -> None:
    place = Place.of(database.url)
    assert migrations.upgrade(place) == ("", schema.VERSION)
    engine = place.engine()
    with engine.connect() as connection:
        assert compare_metadata(_context(connection), schema.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("earlier", ["0001", "0002"])
async def test_from_every_earlier_version_it_is_the_same_schema_and_no_row_is_lost(
    database: Database, earlier: str
) -> None:
    place = Place.of(database.url)
    with patch.object(migrations, "VERSION", earlier):
        migrations.upgrade(place)
    engine = place.engine()
    with engine.begin() as connection:
        assert migrations.version(connection) == earlier
        connection.execute(schema.turns.insert(), codec.values(turn()))
    assert migrations.upgrade(place) == (earlier, schema.VERSION)
    with engine.connect() as connection:
        assert compare_metadata(_context(connection), schema.metadata) == []
        assert len(connection.execute(schema.turns.select()).all()) == 1
    engine.dispose()
    async with database.store() as store:
        assert (await import_csv(store, "areas", sample("areas"))).added > 0


def test_what_is_up_to_date_stays_as_it_is(database: Database) -> None:
    place = Place.of(database.url)
    migrations.upgrade(place)
    assert migrations.upgrade(place) == (schema.VERSION, schema.VERSION)


def test_four_processes_upgrade_at_once(database: Database) -> None:
    run = [sys.executable, "-m", "tests.records.child", "upgrade", "4", database.url]
    subprocess.run(run, check=True, timeout=50)
    assert migrations.upgrade(Place.of(database.url)) == (schema.VERSION, schema.VERSION)


def test_a_newer_database_is_left_alone(database: Database) -> None:
    place = Place.of(database.url)
    migrations.upgrade(place)
    _set_version(place, "0099")
    with pytest.raises(StoreError, match="version 0099, made by a newer") as told:
        migrations.upgrade(place)
    assert not told.value.retryable


async def test_a_store_takes_no_other_version(database: Database) -> None:
    place = Place.of(database.url)
    place.create()
    async with Store(database.url) as store:
        with pytest.raises(
            StoreError, match="has no tables yet: run `audiosocket-agent db upgrade`"
        ):
            await store.open()
    migrations.upgrade(place)
    for version, told in (("0000", "is of version 0000, not"), ("0099", "newer")):
        _set_version(place, version)
        async with Store(database.url) as store:
            with pytest.raises(StoreError, match=told) as refused:
                await store.open()
            assert not refused.value.retryable


def test_an_upgrade_that_fails_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place.of(database.url)
    place.create()
    engine = place.engine()
    with engine.begin() as connection:  # somebody else's table, in the way of the last of ours
        connection.execute(text("CREATE TABLE weather (wind integer)"))
    with pytest.raises(StoreError, match="weather"):
        migrations.upgrade(place)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE weather"))
        assert migrations.version(connection) == ""
    engine.dispose()
    assert migrations.upgrade(place) == ("", schema.VERSION)


def _context(connection: Connection) -> MigrationContext:
    options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
    return MigrationContext.configure(connection, opts=options)


def _set_version(place: Place, version: str) -> None:
    engine = place.engine()
    with engine.begin() as connection:
        connection.execute(
            text(f"UPDATE {schema.VERSION_TABLE} SET version_num = :version"), {"version": version}
        )
    engine.dispose()

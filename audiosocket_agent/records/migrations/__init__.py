"""The database's version, and how it gets to ours.

`upgrade` runs what is missing of `versions/` in one transaction: it is done or it is not. Two
processes that start at once wait for each other: on SQLite for the lock that writing takes, on
PostgreSQL for an advisory one.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.place import Place
from audiosocket_agent.records.schema import VERSION, VERSION_TABLE

# Any number, as long as it is ours alone: those that wait for it are upgrades of these tables.
_ADVISORY_LOCK: Final = 0x_A6E2_7EC0_12D5
_LOCK_SECONDS: Final = 60


def version(connection: Connection) -> str:
    """The version of the database; "" where nothing of ours is in it."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    stored = text(f"SELECT version_num FROM {VERSION_TABLE}")
    return str(connection.execute(stored).scalar() or "")


def check(place: Place, found: str) -> None:
    """Raises StoreError where a database of this version is none that we can use."""
    if found > VERSION:
        raise StoreError(
            f"{place.name} is of version {found}, made by a newer audiosocket-agent; this one knows "
            f"{VERSION}: install the newer one again",
            retryable=False,
        )
    if found < VERSION:
        what = f"is of version {found}, not {VERSION}" if found else "has no tables yet"
        raise StoreError(
            f"{place.name} {what}: run `audiosocket-agent db upgrade`", retryable=False
        )


def upgrade(place: Place) -> tuple[str, str]:
    """Bring the database to our version, making SQLite's file where there is none. Blocks; returns
    the version that was, and the one that is. Raises StoreError."""
    place.create()
    engine = place.engine()
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            found = version(connection)
            if found < VERSION:
                _run(connection)
    except SQLAlchemyError as error:
        raise place.told(error) from None
    finally:
        engine.dispose()
    check(place, max(found, VERSION))
    return found, VERSION


def _run(connection: Connection) -> None:
    from alembic import command  # 0.2 s, and only where there is something to do
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    command.upgrade(config, VERSION)

"""Where the records are: DATABASE_URL, as the drivers want it.

    sqlite:////var/lib/audiosocket-agent/records.db     (four slashes: from the root)
    postgresql://USER:PASSWORD@HOST/NAME

SQLite, in WAL mode: readers do not wait for the writer, nor it for them. Each transaction that
writes takes the lock when it begins (BEGIN IMMEDIATE), so that it waits for another process there
and nowhere else. `synchronous` is FULL for all: a commit is on the disk. NORMAL would spare one fsync
per batch, ten a second at the most, and would need connections of two kinds. What is deleted is
overwritten.

PostgreSQL: a server that has gone without a word is noticed within ten seconds.
"""

import json
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.records.errors import RowError, StoreError

BUSY_SECONDS: Final = 5.0
"""What SQLite waits for another process that is writing."""
CONNECTIONS: Final = 5

_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "cache_size=-256",  # kB of each connection: of its own 2000 it fills all, 100 calls in 6 minutes
)
_PATIENCE: Final = {
    "connect_timeout": "3",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
}

_READ_ONLY: Final = "25006"
"""SQLSTATE read_only_sql_transaction."""

_PRIVATE: Final = 0o600
BEGIN: Final = "records_begin"
"""Execution option of a connection: how SQLite begins its transactions. PostgreSQL has one way."""
TO_READ: Final = {BEGIN: "BEGIN"}
TO_WRITE: Final = {BEGIN: "BEGIN IMMEDIATE"}
NOT_AT_ALL: Final = {BEGIN: ""}


@dataclass(frozen=True, slots=True)
class Place:
    """A database, and how it is called where people read: without user and password."""

    url: URL
    name: str
    file: Path | None
    """SQLite's."""

    @classmethod
    def of(cls, url: str) -> "Place":
        """Raises ConfigError, which does not repeat the URL: there may be a password in it."""
        try:
            given = make_url(url)
        except (ArgumentError, ValueError):  # ValueError: a port that is none
            raise ConfigError(_FITS) from None
        match given.drivername.partition("+")[0]:
            case "sqlite":
                return cls._sqlite(given)
            case "postgresql" | "postgres":
                return cls._postgresql(given)
        raise ConfigError(_FITS)

    @classmethod
    def _sqlite(cls, given: URL) -> "Place":
        if given.database in (None, "", ":memory:") or given.host or given.query:
            raise ConfigError(f"{_FITS}; SQLite's is a file")
        file = Path(str(given.database)).expanduser().absolute()
        return cls(
            URL.create(  # rw: a file that somebody has moved away is missing, not made anew
                "sqlite+aiosqlite",
                database="file:" + quote(str(file)),
                query={"mode": "rw", "uri": "true"},
            ),
            f"sqlite:///{file}",
            file,
        )

    @classmethod
    def _postgresql(cls, given: URL) -> "Place":
        query = {**_PATIENCE, **given.query}
        url = given.set(drivername="postgresql+psycopg", query=query)
        host = given.host or str(given.query.get("host", "localhost"))
        port = f":{given.port}" if given.port else ""
        return cls(url, f"postgresql://{host}{port}/{given.database or ''}", None)

    def told(self, error: SQLAlchemyError) -> StoreError:
        """What a driver has raised, in a line. What it says of a row's values is left out."""
        ours = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
        if ours or isinstance(error, (DataError, IntegrityError)):
            return RowError(f"is refused by {self.name} ({type(error).__name__})")
        why = str(error.orig if isinstance(error, DBAPIError) else error).strip()
        return StoreError(f"{self.name}: {why.splitlines()[0] if why else type(error).__name__}")

    # -- SQLite's file -----------------------------------------------------------------------------

    def create(self) -> None:
        """Make SQLite's file where there is none, for nobody else to read. Raises StoreError."""
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                _make_for_owner(self.file)
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE))
        except OSError as error:
            raise StoreError(f"{self.name} cannot be opened: {error.strerror}") from None

    def identity(self) -> tuple[int, int] | None:
        """Which file it is now. An open one that is moved away goes on to be written, unseen: whoever
        holds connections compares. Raises StoreError where it is missing."""
        if self.file is None:
            return None
        try:
            status = self.file.stat()
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror}") from None
        return status.st_dev, status.st_ino

    def log_identity(self) -> tuple[int, int] | None:
        """Which write-ahead log is beside SQLite's file now; None: there is none."""
        try:
            status = self._beside("-wal").stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def drop_log(self, known: tuple[int, int] | None) -> None:
        """Where it is the one that was known: take the log away. SQLite finds it by its name alone, and
        would take what it has of a file that was moved away into the one that is there now, of which
        that leaves nothing. Raises StoreError."""
        if known is None or self.log_identity() != known:
            return
        try:
            for end in ("-wal", "-shm"):
                self._beside(end).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror}") from None

    def _beside(self, end: str) -> Path:
        assert self.file is not None
        return self.file.with_name(f"{self.file.name}{end}")

    # -- engines -----------------------------------------------------------------------------------

    def async_engine(self) -> Engine:
        """For the event loop (`connection.transaction`); connects when it is used. Raises
        ConfigError."""
        return self._engine(self.url.drivername.replace("+psycopg", "+psycopg_async"))

    def engine(self) -> Engine:
        """For a thread. Raises ConfigError."""
        return self._engine(self.url.drivername.replace("+aiosqlite", ""))

    def _engine(self, driver: str) -> Engine:
        try:
            engine = create_engine(self.url.set(drivername=driver), **self._options())
        except ImportError:
            raise ConfigError(_EXTRA) from None
        if self.file is not None:
            event.listen(engine, "connect", _connected)
            event.listen(engine, "begin", _begin)
        else:
            event.listen(engine, "handle_error", _failed)
        return engine

    def _options(self) -> dict[str, Any]:
        options = {
            "hide_parameters": True,  # in errors
            "json_serializer": partial(json.dumps, ensure_ascii=False),
            "pool_size": CONNECTIONS,
            "max_overflow": 0,
        }
        if self.file is not None:
            # no level: the driver begins nothing by itself, _begin does
            patience = {"timeout": BUSY_SECONDS, "isolation_level": None}
            return {**options, "connect_args": patience}
        return {**options, "pool_pre_ping": True}  # of a server that was started anew


_FITS: Final = "DATABASE_URL should be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
_EXTRA: Final = "DATABASE_URL: PostgreSQL needs psycopg: pip install 'audiosocket-agent[postgres]'"


def _make_for_owner(file: Path) -> None:
    """Make it where there is nothing: root, who upgrades for the service, makes it for whoever has the
    directory. That one may put a link in the place of either, so no link is followed to a file, and the
    directory is looked up once."""
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        made = os.open(file.name, flags, _PRIVATE, dir_fd=directory)
        try:
            owner = os.fstat(directory)
            with suppress(OSError):  # a root, or a file system, that gives nothing away
                os.fchown(made, owner.st_uid, owner.st_gid)
        finally:
            os.close(made)
    except FileExistsError:
        pass
    finally:
        os.close(directory)


def _connected(connection: sqlite3.Connection, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _failed(context: ExceptionContext) -> None:
    """After a fail-over a server may be there still, and only be read. Those who stay connected to it
    never get to the one that is written."""
    if getattr(context.original_exception, "sqlstate", "") == _READ_ONLY:
        context.is_disconnect = True


def _begin(connection: Connection) -> None:
    if how := connection.get_execution_options().get(BEGIN, TO_WRITE[BEGIN]):
        connection.exec_driver_sql(how)

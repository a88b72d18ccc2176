"""A PostgreSQL of the tests' own: in a temporary directory, behind a Unix socket, stopped at will.

The programs are those of Debian's package postgresql-15, or any newer; nothing of a cluster that the
package may have set up is used.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

PROGRAMS: Final = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)

_NO_PASSWORD: Final = "--auth=trust"


class Cluster:
    """One server. As root it runs as another user: it refuses to be root."""

    def __init__(self) -> None:
        assert PROGRAMS is not None
        self._programs = PROGRAMS
        self._directory = Path(
            tempfile.mkdtemp(prefix="records-", dir="/tmp")
        )  # short: a socket's path
        self._databases = 0
        self._account, self._group = _account()
        if self._account is not None:
            os.chown(self._directory, self._account, -1)
        data = ["-D", str(self._directory / "data")]
        self._run(
            "initdb", *data, "--username=records", _NO_PASSWORD, "--no-sync", "--encoding=UTF8"
        )
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        log, socket = self._directory / "log", f"-c listen_addresses='' -k {self._directory}"
        self._control("start", "-w", "-l", str(log), "-o", socket)

    def stop(self) -> None:
        """As if it crashed: nobody is asked, nothing is tidied up."""
        self._control("stop", "-w", "-m", "immediate")

    def remove(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._directory)

    def database(self) -> str:
        """The URL of a new database."""
        self._databases += 1
        return new_database(self.url("postgres"), f"records{self._databases}")

    def url(self, name: str) -> str:
        return f"postgresql://records@/{name}?host={self._directory}"

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._directory / "data"), "-s", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self._directory,
            stdout=subprocess.DEVNULL,  # a pipe would be held open by the server
            stderr=subprocess.DEVNULL,
            user=self._account,
            group=self._group,
            extra_groups=None if self._account is None else [],
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, (self._directory / "log").read_text())


def new_database(server: str, name: str) -> str:
    """Make a database on a server; `server` is the URL of one that is there."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    scheme, _, rest = server.partition("://")
    place, _, _ = rest.partition("/")
    _, question, query = rest.partition("?")
    return f"{scheme}://{place}/{name}{question}{query}"


def _account() -> tuple[int | None, int | None]:
    """Whom the server runs as; None: as we do."""
    if os.geteuid() != 0:
        return None, None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return entry.pw_uid, entry.pw_gid

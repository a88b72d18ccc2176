"""Who holds a port, from Linux's own tables: proc(5), /proc/net/tcp and /proc/PID/fd.

Another user's program shows its user but, unless we are root, not its number or name. Of a name only
what the kernel keeps is told: a command line may have secrets in it.
"""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_LISTENING: Final = "0A"


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that listens on a port."""

    uid: int
    pid: int = 0
    """0: another user's, and not for us to see."""
    name: str = ""

    def __str__(self) -> str:
        if self.pid:
            return f"{self.name} (pid {self.pid})"
        return f"a program of user {self.uid}"

    def is_also(self, other: "Holder") -> bool:
        """Whether both are one program, as far as can be seen."""
        return self.uid == other.uid and (not (self.pid and other.pid) or self.pid == other.pid)


def holder_of(host: str, port: int) -> Holder | None:
    """Who keeps us from listening there; None: nobody, or it cannot be seen (not Linux)."""
    for table in ("tcp", "tcp6"):
        for address, bound, uid, inode in _listeners(PROC / "net" / table):
            if bound == port and _meet(address, host):
                pid = _pid_of(inode)
                return Holder(uid, pid, _name_of(pid)) if pid else Holder(uid)
    return None


def open_files_limit(pid: int) -> int:
    """How many files and sockets a process may have. Raises OSError, ValueError."""
    for line in (PROC / str(pid) / "limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[3])
    raise ValueError("no such limit")


def _listeners(table: Path) -> Iterator[tuple[str, int, int, str]]:
    """Address, port, user and inode of each socket that listens."""
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return
    for row in rows:
        fields = row.split()
        if fields[3] == _LISTENING:
            address, _, port = fields[1].partition(":")
            yield _address(address), int(port, 16), int(fields[7]), fields[9]


def _address(text: str) -> str:
    """Words of 32 bits in the machine's order, which is Linux's little-endian one nearly always."""
    raw = bytes.fromhex(text)
    words = [raw[at : at + 4][::-1] for at in range(0, len(raw), 4)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _meet(address: str, host: str) -> bool:
    """Whether one who listens at `address` is in the way at `host`."""
    everywhere = ("0.0.0.0", "::", "")
    names = {"localhost": "127.0.0.1"}
    return address in everywhere or host in everywhere or address == names.get(host, host)


def _pid_of(inode: str) -> int:
    wanted = f"socket:[{inode}]"
    for process in PROC.iterdir():
        if process.name.isdigit() and any(link == wanted for link in _links(process / "fd")):
            return int(process.name)
    return 0


def _links(directory: Path) -> Iterator[str]:
    """Where they lead, as far as we may see it."""
    try:
        names = os.listdir(directory)
    except OSError:  # another user's, or gone meanwhile
        return
    for name in names:
        with suppress(OSError):  # closed meanwhile
            yield os.readlink(directory / name)


def _name_of(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return "a program"

"""A throwaway copy of this machine, booted, with the service installed in it.

Its files are this machine's, seen through an overlay whose changes live in memory; its first process
is this machine's systemd, started by systemd-nspawn; its network is a loopback of its own, so that
the default ports are free. Nothing of it is left afterwards.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tests.deploy.unit import REPOSITORY

CHECKOUT = Path("/srv/audiosocket-agent")
"""Where the machine sees this repository, which may lie under /tmp: a booted machine has its own."""

BOOT_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 30.0
_CGROUPS: Final = ("", "unified", "systemd")
"""Where systemd's hierarchy may be below /sys/fs/cgroup: version 2, or both in a mixed one."""

T = TypeVar("T")


class Machine:
    """What runs inside it is run by root."""

    def __init__(self, leader: int, installed: str) -> None:
        self._enter = ("nsenter", "--target", str(leader), "--all", "--wd=/")
        self.installed = installed
        """What `make install` said."""

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """Standard output of a command that has to succeed."""
        done = subprocess.run(
            [*self._enter, *command],
            input=stdin,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, *command: str | Path) -> "Iterator[subprocess.Popen[str]]":
        """A command while it goes on; killed at the end of the block unless it has ended."""
        dies_with_us = ("setpriv", "--pdeathsig=KILL", "--")  # nsenter passes no signal on
        with subprocess.Popen(
            [*self._enter, *dies_with_us, *command],
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, and its directory where that is missing."""
        self.run("install", "-D", f"--mode={mode:o}", "/dev/stdin", path, stdin=text)


_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def eventually(ask: Callable[[], T | None], what: str) -> T:
    """Ask until there is an answer that is not empty."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (answer := ask()):
        assert time.monotonic() < until, f"never came: {what}"
        time.sleep(0.1)
    return answer


@contextmanager
def booted_machine() -> Iterator[Machine]:
    """Installs with the defaults of `make install`, boots, and takes all of it away again."""
    with (
        tempfile.TemporaryDirectory(prefix="agent-machine-") as directory,
        _copy(directory) as root,
    ):
        installed = _install(root)
        with _booted(root, Path(directory) / "console") as leader:
            yield Machine(leader, installed)


@contextmanager
def _copy(directory: str) -> Iterator[Path]:
    memory = Path(directory) / "memory"
    root = memory / "root"
    memory.mkdir()
    _do("mount", "-t", "tmpfs", "agent-machine", memory)
    try:
        for name in ("changes", "work", "root"):
            (memory / name).mkdir()
        layers = f"lowerdir=/,upperdir={memory}/changes,workdir={memory}/work"
        _do("mount", "-t", "overlay", "agent-machine", "-o", layers, root)
        repository = root / CHECKOUT.relative_to("/")
        repository.mkdir(parents=True, exist_ok=True)
        _do("mount", "--bind", "-o", "ro", REPOSITORY, repository)
        for leftover in ("etc/audiosocket-agent", "usr/local/lib/audiosocket-agent"):
            _do("rm", "-rf", root / leftover)
        yield root
    finally:
        _do("umount", "--recursive", memory)


def _install(root: Path) -> str:
    """By chroot: it needs this machine's network, for the packages."""
    script = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    inside = ("make", "--no-print-directory", "-s", "-C", str(CHECKOUT), "install")
    return _do("unshare", "--mount", "--", "sh", "-c", script, root, *inside)


@contextmanager
def _booted(root: Path, console: Path) -> Iterator[int]:
    """Gives the process that is the first one inside."""
    name = f"agent-{os.getpid()}"
    nspawn = [
        *("systemd-nspawn", "--boot", f"--directory={root}", f"--machine={name}"),
        *("--private-network", "--link-journal=no", "--register=no", "--console=pipe"),
        f"--uuid={os.urandom(16).hex()}",  # not this machine's own, which nspawn refuses
    ]
    groups: list[Path] = []
    if not Path("/run/systemd/system").exists():  # nobody here makes a control group for it
        nspawn.append("--keep-unit")
        groups = [Path("/sys/fs/cgroup", at, name) for at in _CGROUPS]
        groups = [group for group in groups if (group.parent / "cgroup.procs").exists()]
    for group in groups:
        group.mkdir()
    join = "".join(f"echo $$ >{group}/cgroup.procs && " for group in groups)
    try:
        with console.open("w") as log:
            process = subprocess.Popen(
                # Only what a shell and the tests need; none of this machine's own daemons.
                ["sh", "-c", f'{join} exec "$@"', "sh", *nspawn, "systemd.unit=basic.target"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            try:
                leader = eventually(lambda: _leader(process), "a booted systemd")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{console.read_text()}") from None
            yield leader
        finally:
            process.terminate()  # asks it to shut down
            time.sleep(0.2)
            with contextlib.suppress(ProcessLookupError):
                process.terminate()  # and this makes it
            process.wait(timeout=BOOT_SECONDS)
    finally:
        for group in groups:
            below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
            for leftover in (*below, group):
                leftover.rmdir()


def _leader(nspawn: "subprocess.Popen[bytes]") -> int | None:
    assert nspawn.poll() is None, "systemd-nspawn has ended"
    said = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(nspawn.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in said.stdout.splitlines():
        pid, program = line.split()
        if program == "systemd":
            state = subprocess.run(
                ["nsenter", "--target", pid, "--all", "systemctl", "is-system-running"],
                capture_output=True,
                text=True,
                check=False,
            )
            if state.stdout.strip() in ("running", "degraded"):
                return int(pid)
    return None


def _do(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout

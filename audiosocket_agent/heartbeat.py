"""That the process is well: how late its loop runs, what it has in memory, and who is told."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from audiosocket_agent import log
from audiosocket_agent.clock import monotonic
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.overload import Overload

BEAT_SECONDS: Final = 1.0
"""How often the watchdog is told, and the process weighed (10 us)."""

_log = log.get(__name__)


async def watch_loop(metrics: Metrics, overload: Overload, beat: Callable[[], None]) -> None:
    """Ten times a second: measure how late the loop runs; once a second, tell the watchdog that it does,
    and weigh the process."""
    due = monotonic()
    beat_at = due + BEAT_SECONDS
    while True:
        now = monotonic()
        metrics.loop_lag.observe(max(0.0, now - due))
        was, wait_s = overload.reason, overload.probed(now)
        if now >= beat_at:
            beat_at = now + BEAT_SECONDS
            beat()
            overload.measured(resident_bytes())
        if overload.reason != was:
            tell = _log.warning if overload.reason else _log.info
            tell("overload", reason=overload.reason or "over", lag_s=round(overload.lag_s, 3))
        due = now + wait_s
        await asyncio.sleep(wait_s)


def resident_bytes() -> int:
    """What this process has in memory; 0 where that cannot be told, because no file can be opened."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def notify_systemd(state: str) -> None:
    """Tell systemd about us (sd_notify(3)); does nothing where there is no systemd.

    Never waits: a manager that is too busy to take it misses it, and the next beat follows.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
    except OSError as error:  # also where no file can be opened: the calls go on
        _log.warning("systemd not told", state=state, reason=str(error))

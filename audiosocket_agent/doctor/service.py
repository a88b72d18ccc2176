"""The service: whether it runs, whether its ports are its own, whether it may open enough files."""

import asyncio
import errno
import os
import resource
import socket
from typing import Final, NamedTuple

from audiosocket_agent import config
from audiosocket_agent.addresses import WILDCARDS
from audiosocket_agent.doctor.finding import Finding, failed, ok, skipped, warning
from audiosocket_agent.doctor.holder import Holder, holder_of, open_files_limit
from audiosocket_agent.doctor.host import Host

ANSWER_SECONDS: Final = 3.0
"""For a page of the metrics port, which comes from the loop that carries the calls."""

FILES_PER_CALL: Final = 3
"""AudioSocket, the model, and FastAGI while it asks."""
FILES_BESIDE: Final = 128
"""Listeners, the metrics port's 64 connections, logs, the loop's own."""

_OURS: Final = b"\naudiosocket_agent_build_info"
_PAGE_BYTES: Final = 1 << 20


class _Place(NamedTuple):
    setting: str
    host: str
    port: int


class _Services(NamedTuple):
    """Those of this host, as one of them sees it."""

    running: Holder | None
    """The one that is looked at, if it runs."""
    instance: int
    """Its number; 0: it has none."""
    numbered: tuple[str, ...]
    """Where it has none and does not run: the numbers of those that may."""


async def service(host: Host) -> list[Finding]:
    """The running service, the three ports, and the limit of open files."""
    settings = host.settings
    places = [
        _Place("AUDIOSOCKET_PORT", settings.audiosocket.host, settings.audiosocket.port),
        _Place("FASTAGI_PORT", settings.fastagi.host, settings.fastagi.port),
        _Place("METRICS_PORT", settings.metrics.host, settings.metrics.port),
    ]
    running: Holder | None = None
    instance, numbered = settings.instance, _numbered(host)
    found = skipped("service", "does not run")
    if numbered:
        others = f"INSTANCE={numbered[0]} audiosocket-agent doctor looks at one that has"
        found = skipped("service", f"none without a number runs: {others}")
    if settings.metrics.port and await _answers_as_ours(places[2]):
        running = holder_of(places[2].host, places[2].port) or Holder(os.geteuid())
        found = await _running(places[2], running, instance)
    services = _Services(running, instance, () if running else numbered)
    ports = [await asyncio.to_thread(_port, place, services) for place in places]
    return [found, *ports, _files(settings.max_calls, running)]


async def _running(metrics: _Place, holder: Holder, instance: int) -> Finding:
    page = await _page(metrics, "/readyz")
    why = page.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip()
    if page.split(b" ", 2)[1:2] == [b"200"]:
        return ok("service", f"runs and takes calls: {holder}")
    return warning(
        "service",
        f"runs, but takes no calls: {why}",
        f"wait until it has drained, or systemctl restart {_unit(instance)}",
    )


def _numbered(host: Host) -> tuple[str, ...]:
    """Which instances there are beside a service that has no number itself."""
    known = config.control_sockets(host.settings)
    return () if host.settings.instance else tuple(number for number in known if number != "0")


def _unit(instance: int) -> str:
    return f"audiosocket-agent@{instance}" if instance else "audiosocket-agent"


async def _answers_as_ours(metrics: _Place) -> bool:
    return _OURS in await _page(metrics, "/metrics")


async def _page(place: _Place, path: str) -> bytes:
    """A page, head and all; empty where there is none."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(place.host, place.host)
    page = b""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, place.port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                while len(page) < _PAGE_BYTES and (more := await reader.read(65536)):
                    page += more
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        pass  # nobody, or somebody who speaks no HTTP
    return page


# ---- ports -------------------------------------------------------------------------------------


def _port(place: _Place, services: _Services) -> Finding:
    name = f"port {place.port}"
    if not place.port:
        return ok(place.setting, "any free port")
    try:
        _try_to_listen(place.host, place.port)
    except OSError as error:
        return _not_free(name, place, error, services)
    return ok(name, "is free")


def _not_free(name: str, place: _Place, error: OSError, services: _Services) -> Finding:
    variable = place.setting
    host_variable = variable.replace("_PORT", "_HOST")
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(place.host, place.port)
        if services.running and (holder is None or holder.is_also(services.running)):
            return ok(name, "is held by our service")
        if services.numbered:  # by who shares calls out among them
            among = ", ".join(services.numbered)
            return skipped(name, f"is held by {holder or 'another program'}; instances: {among}")
        return failed(
            name,
            f"is held by {holder or 'another program'}",
            f"stop {holder or 'it'}, or set {variable} to {_free(variable, services.instance)}",
        )
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    if error.errno == errno.EACCES:
        return failed(name, f"{why}: below 1024", f"set {variable} to 1024 or more")
    return failed(
        name,
        f"cannot be listened on at {place.host}: {why}",
        f"set {host_variable} to an address of this host (ip address shows them)",
    )


def _free(variable: str, instance: int) -> str:
    """What else it may be."""
    if instance:  # a balancer and the other instances have their ports by this one, too
        return f"a port that is free for all instances: to it INSTANCE={instance} is added"
    return f"a free port{_moved(variable)}"


def _moved(variable: str) -> str:
    told = {
        "AUDIOSOCKET_PORT": " (and AGENT_ADDRESS in the dialplan)",
        "FASTAGI_PORT": " (and AGENT_FASTAGI in the dialplan)",
        "METRICS_PORT": " (and Prometheus); node_exporter likes 9100 too",
    }
    return told[variable]


def _try_to_listen(host: str, port: int) -> None:
    """As the service would, for a moment. Raises OSError."""
    name = None if host in WILDCARDS[:1] else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)


# ---- files -------------------------------------------------------------------------------------


def _files(max_calls: int, running: Holder | None) -> Finding:
    needed = FILES_PER_CALL * max_calls + FILES_BESIDE
    cure = f"LimitNOFILE={needed} in the unit (ulimit -n {needed} in a shell), or a lower MAX_CALLS"
    if running and running.pid:
        try:
            limit = open_files_limit(running.pid)
        except (OSError, ValueError):
            return skipped("open files", "the limit of the service cannot be read")
        seen = f"the service may have {limit}; {max_calls} calls need {needed}"
        return ok("open files", seen) if limit >= needed else failed("open files", seen, cure)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"this shell may have {limit}; {max_calls} calls need {needed}"
    return ok("open files", seen) if limit >= needed else warning("open files", seen, cure)

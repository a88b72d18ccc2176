"""Addresses: whose they are, and how two hosts find each other. Nothing is sent to learn it."""

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final

WILDCARDS: Final = ("", "0.0.0.0", "::")
"""Hosts to listen on that nobody can dial."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)

_DISCARD: Final = 9  # any port would do


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this host as seen from itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def networks(text: str) -> tuple[Network, ...]:
    """Networks and addresses between spaces or commas. Raises ValueError that names what is none."""
    found: list[Network] = []
    for word in re.split(r"[,\s]+", text.strip()) if text.strip() else ():
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            example = "as 10.1.2.3 or 10.1.2.0/24 is one"
            raise ValueError(f"{word!r} is no address or network, {example}") from None
    return tuple(found)


def is_in(address: str, among: Iterable[Network]) -> bool:
    """Whether an address belongs to one of the networks; an IPv4 address may come as IPv6. What is no
    address belongs to none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in among)


def is_ours(address: str) -> bool:
    """Whether this host has an address; False for a wildcard and for a name."""
    try:
        if ipaddress.ip_address(address).is_unspecified:
            return False
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True


def same_host(one: str, other: str) -> bool:
    """Whether two addresses are one host's: a PBX on ours comes from whichever address it dials."""
    return one == other or (is_ours(one) and is_ours(other))


def on_the_way_to(peer: str, family: socket.AddressFamily | None = None) -> str:
    """Our address as `peer` sees it; where that is a name, of this family. Raises OSError where there
    is no way."""
    with socket.socket(family or _family(peer), socket.SOCK_DGRAM) as probe:
        probe.connect((peer, _DISCARD))  # chooses a route
        address: str = probe.getsockname()[0]
        return address


def joined(host: str, port: int) -> str:
    """host:port, as a dialplan takes it; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """The host and the port of HOST, HOST:PORT, [IPv6] or [IPv6]:PORT; 0 where there is none."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        return host.strip("[]"), int(port)
    return address.strip("[]"), 0


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET

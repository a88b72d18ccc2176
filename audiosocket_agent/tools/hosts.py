"""Which hosts tools may talk to: what an operator lists, over https, and this host itself."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.tables.table import Table

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:]+")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names and addresses; `*.example.org` is every host below it, but not itself."""

    listed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str, setting: str = "TOOLS_HOSTS") -> Self:
        """From words between commas or spaces. Raises ConfigError that names `setting`."""
        listed = [word.lower() for word in re.split(r"[,\s]+", text) if word]
        for host in listed:
            if not is_host(host.removeprefix("*.")):
                raise ConfigError(f"{setting}: {host!r} is no host, as api.example.com is one")
        return cls(frozenset(listed))

    def allow(self, host: str) -> bool:
        """Whether a tool may talk to it. `host` is as in a URL, in lower case."""
        return is_loopback(host) or host in self.listed or any(self._above(host))

    def url(self, table: Table) -> SplitResult | None:
        """The table's `url`, if a tool may talk to its host; else None, with the mistake noted."""
        text = table.get("url", str)
        if text is None:
            return None
        try:
            url = urlsplit(text)
            host, port = url.hostname or "", url.port
        except ValueError as error:
            table.wrong("url", f"is no URL: {error}")
            return None
        wrong = ""
        if url.scheme not in ("https", "http") or not is_host(host) or port == 0:
            wrong = "must be https://HOST/PATH"
        elif url.scheme == "http" and not is_loopback(host):
            wrong = "must be https, which only this host itself need not be"
        elif url.username is not None or url.password is not None:
            wrong = "has a user or password in it: write a header with secret:NAME"
        elif not self.allow(host):
            wrong = "its host is not among TOOLS_HOSTS"
        if wrong:
            table.wrong("url", wrong)
        return None if wrong else url

    def _above(self, host: str) -> Iterable[bool]:
        labels = host.split(".")
        return (f"*.{'.'.join(labels[at:])}" in self.listed for at in range(1, len(labels)))


def is_host(text: str) -> bool:
    """Whether it looks like a host's name, or an address without brackets; in lower case."""
    return _HOST.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether a host is this one by its name or its address, without asking anybody."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Which hosts a webhook may talk to."""

import pytest

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.tools.hosts import Hosts


def test_what_is_listed_and_this_host() -> None:
    hosts = Hosts.of("erp.example.com, *.Example.org\n10.0.0.7 fd00::7")
    for allowed in (
        "erp.example.com",
        "a.example.org",
        "a.b.example.org",
        "10.0.0.7",
        "fd00::7",
        "localhost",
        "127.0.0.1",
        "127.8.9.1",
        "::1",
    ):
        assert hosts.allow(allowed)
    for refused in (
        "example.com",
        "evil-erp.example.com",
        "erp.example.com.evil.com",
        "example.org",
        "badexample.org",
        "10.0.0.70",
        "127.1",
        "2130706433",
        "localhost.evil.com",
        "::ffff:10.0.0.7",
        "",
    ):
        assert not hosts.allow(refused)


def test_nobody_is_listed_unless_somebody_is() -> None:
    assert not Hosts.of("").allow("example.com")
    assert Hosts.of(" ").allow("localhost")


@pytest.mark.parametrize(
    "text", ["*", "https://a.example.com", "a.example.com/x", "*.*.a", "a:80 b c!"]
)
def test_what_is_no_host_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"TOOLS_HOSTS: '.*' is no host"):
        Hosts.of(text)

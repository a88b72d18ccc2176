"""What `dialplan` prints: the lines a PBX needs to reach this host."""

import ipaddress
import re
from typing import Any

import pytest

from audiosocket_agent import dialplan
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.settings import Settings

SALES = Target("sales", "2001", "orders and prices")
FAULTS = Target("faults", "*98", "what does not work", attended=True)


def printed(*targets: Target, **options: Any) -> list[str]:
    """The lines that are neither comments nor empty."""
    text = dialplan.lines(Settings(), targets, **options)
    return [line for line in text.splitlines() if line and not line.startswith(";")]


def settings(host: str, pbx: str = "127.0.0.1") -> Settings:
    """A service that listens at `host`."""
    return Settings.model_validate(
        {
            "audiosocket": {"host": host, "uuid_mode": "registered", "allow": "192.0.2.0/24"},
            "fastagi": {"host": host},
            "ami": {"host": pbx},
        }
    )


def test_all_a_host_needs() -> None:
    assert printed(SALES) == [
        "[globals]",
        "AGENT_ADDRESS=127.0.0.1:9092",
        "AGENT_FASTAGI=127.0.0.1:4573",
        '#include "extensions_audiosocket.conf"',
        "[from-internal]",
        "exten => 1000,1,Gosub(agent,s,1(receptionist))",
        ' same => n,GotoIf($["${GOSUB_RETVAL}" = "OK"]?done)',
        " same => n,Congestion()",
        " same => n(done),Hangup()",
        "[agent-targets]",
        "exten => 2001,1,Congestion()",
    ]


def test_an_agent_by_name_on_one_line() -> None:
    lines = printed(agent="hotel", one_line=True)
    at = lines.index("[from-internal]")
    assert lines[at + 1 : at + 3] == [
        "exten => 1000,1,AGI(agi://${AGENT_FASTAGI}/run?agent=hotel)",
        ' same => n,GotoIf($["${AGENT_STATUS}" = "OK"]?done)',
    ]
    assert not any("Gosub" in line for line in lines)


def test_the_other_way_is_there_as_a_comment() -> None:
    text = dialplan.lines(Settings(), [], agent="hotel")
    assert ";exten => 1000,1,AGI(agi://${AGENT_FASTAGI}/run?agent=hotel)\n" in text


def test_each_extension_is_there_once_and_says_whom_it_is_for() -> None:
    night = Target("night", "2001", "after six")
    text = dialplan.lines(Settings(), [SALES, FAULTS, night, SALES])
    _, _, targets = text.partition("[agent-targets]\n")
    assert targets == (
        "; sales: orders and prices\n"
        "; night: after six\n"
        ";exten => 2001,1,Dial(PJSIP/sales)\n"
        "exten => 2001,1,Congestion()\n"
        "\n"
        "; faults: what does not work (is told who calls, and may refuse)\n"
        ";exten => *98,1,Dial(PJSIP/faults)\n"
        "exten => *98,1,Congestion()\n"
    )


def test_a_description_cannot_leave_its_comment() -> None:
    spiteful = Target("sales", "2001", "orders\nexten => 0,1,System(reboot)\r\nprices")
    assert printed(spiteful) == printed(SALES)


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("127.0.0.1", "127.0.0.1:9092"),
        ("localhost", "localhost:9092"),
        ("::1", "[::1]:9092"),
        ("192.0.2.7", "192.0.2.7:9092"),
        ("agent.example", "agent.example:9092"),
    ],
)
def test_an_address_that_can_be_dialled_stays(host: str, seen: str) -> None:
    assert dialplan.agent_address(settings(host)) == seen


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_a_wildcard_becomes_an_address_of_this_host(host: str) -> None:
    for address in (dialplan.agent_address, dialplan.fastagi_address):
        seen = re.sub(r"[\[\]]", "", address(settings(host)).rpartition(":")[0])
        found = ipaddress.ip_address(seen)
        assert not found.is_unspecified
        assert found.version == (6 if host == "::" else 4)

"""The files for several instances say the same as those for one, and fit together."""

import re
import shutil
from base64 import b64encode
from pathlib import Path

import pytest

from audiosocket_agent import config
from audiosocket_agent.audio import FRAMES_PER_SECOND
from audiosocket_agent.metrics import PREFIX, Metrics
from audiosocket_agent.model import gemini_connection
from audiosocket_agent.settings import Settings
from tests.deploy.debian import run
from tests.deploy.template import written
from tests.deploy.unit import DEPLOY, TARGET, TEMPLATE, UNIT, directives
from tests.serving import EXAMPLE

HAPROXY = (DEPLOY / "haproxy.cfg").read_text()
INSTANCES = (1, 2, 3, 4)


def test_the_unit_of_many_is_the_single_ones() -> None:
    """Written by `python -m tests.deploy.template --write`."""
    assert TEMPLATE.read_text() == written(UNIT.read_text())


def test_what_differs_is_only_what_has_to() -> None:
    one, many = directives(UNIT.read_text()), directives(TEMPLATE.read_text())
    assert {name for name in one.keys() | many.keys() if one.get(name) != many.get(name)} == {
        *("Description", "PartOf", "Environment", "StateDirectory", "RuntimeDirectory"),
        *("WantedBy", "Also"),
    }
    for name in ("StateDirectory", "RuntimeDirectory"):
        assert many[name] == [f"{one[name][0]}/%i"]
    assert many["PartOf"] == many["Also"] == many["WantedBy"] == [TARGET.name]


def test_its_environment_is_settings() -> None:
    environment = directives(TEMPLATE.read_text())["Environment"]
    given = [word.split("=") for word in environment[1].replace("%i", "3").split()]
    settings = config.load(EXAMPLE, dict(given)).settings
    assert (settings.instance, settings.drain_move) == (3, True)
    assert settings.audiosocket.port == Settings().audiosocket.port + 3


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs tests/deploy/packages.sh")
def test_exposure_is_the_single_ones(tmp_path: Path) -> None:
    unit = tmp_path / TEMPLATE.name.replace("@", "@1")
    unit.write_text(TEMPLATE.read_text())
    check = ("systemd-analyze", "security", "--offline=true", "--threshold=15")
    code, report = run(*check, unit)
    assert code == 0, report
    exposure = report.rpartition(": ")[2].split()[0]
    assert exposure == run(*check, UNIT)[1].rpartition(": ")[2].split()[0]


def test_haproxy_has_the_ports_of_one_and_passes_on_to_those_of_many() -> None:
    single = config.load(EXAMPLE, {}).settings
    assert f"bind 127.0.0.1:{single.audiosocket.port}\n" in HAPROXY
    assert f"bind 127.0.0.1:{single.fastagi.port}\n" in HAPROXY
    for number in INSTANCES:
        its = config.load(EXAMPLE, {"INSTANCE": str(number)}).settings
        audiosocket, metrics = its.audiosocket.port, its.metrics.port
        assert f"server agent{number} 127.0.0.1:{audiosocket} check port {metrics} " in HAPROXY
        assert (
            f"server agent{number} 127.0.0.1:{its.fastagi.port} track audiosocket/agent{number} "
            in HAPROXY
        )


def test_haproxy_lets_no_call_wait_that_an_instance_would_take() -> None:
    caps = [int(most) for most in re.findall(r"check port \d+ maxconn (\d+)", HAPROXY)]
    assert len(caps) == len(INSTANCES)
    assert min(caps) > Settings().max_calls


def test_haproxy_sees_that_one_drains_before_it_refuses() -> None:
    match = re.search(r"default-server inter (\d+)s fastinter (\d+)ms fall (\d+)", HAPROXY)
    assert match
    inter_s, fast_s, fall = int(match[1]), int(match[2]) / 1000, int(match[3])
    environment = directives(TEMPLATE.read_text())["Environment"][1]
    notice = re.search(r"DRAIN_NOTICE=(\d+)", environment)
    assert notice
    assert inter_s + (fall - 1) * fast_s < int(notice[1])


def test_prometheus_is_told_of_the_same_instances() -> None:
    targets = re.findall(r"- ([\d.]+:\d+)\n", (DEPLOY / "prometheus-targets.yml").read_text())
    metrics = Settings().metrics.port
    assert targets == [f"127.0.0.1:{metrics + number}" for number in INSTANCES]


def test_the_rules_are_of_metrics_that_there_are() -> None:
    rules = (DEPLOY / "prometheus-rules.yml").read_text()
    expressions = "".join(line for line in rules.splitlines() if "record:" not in line)
    named = set(re.findall(rf"(?<!:){PREFIX}\w+", expressions))
    page = Metrics().page()[0].decode()
    known = set(re.findall(r"^# TYPE (\w+) ", page, re.M))
    assert named
    assert {re.sub("_bucket$", "", name) for name in named} <= known


# -- how many calls ------------------------------------------------------------------------------

CAPACITY = (DEPLOY / "capacity.md").read_text()
WEBSOCKET, TLS, TCP = 8, 22, 52
"""What each adds to a message: masked head, record, IPv4 and TCP with timestamps."""


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_the_page_has_the_messages_that_are_sent(rate_hz: int) -> None:
    pcm = bytes(rate_hz // FRAMES_PER_SECOND * 2)
    head = gemini_connection._audio_head(rate_hz)
    message = len(head + b64encode(pcm) + gemini_connection._AUDIO_TAIL)
    wire = message + WEBSOCKET + TLS + TCP
    mbit = wire * 8 * FRAMES_PER_SECOND / 1e6
    row = f"| up, {rate_hz // 1000} kHz | {len(pcm)} | {message} | {wire} | {mbit:.2f} |"
    assert row in CAPACITY


def test_the_page_names_files_and_metrics_that_there_are() -> None:
    for name in re.findall(r"\]\(([^)]+)\)", CAPACITY):
        assert (DEPLOY / name).exists()
    rules = (DEPLOY / "prometheus-rules.yml").read_text()
    for name in re.findall(r"`(job\w*:[\w:]+)`", CAPACITY):
        assert f"record: {name}\n" in rules
    assert CAPACITY.count("<!-- capacity -->\n") == CAPACITY.count("<!-- /capacity -->\n") == 1

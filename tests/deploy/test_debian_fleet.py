"""What the programs themselves say of the files for several instances."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.deploy.debian import ON_DEBIAN, PROMETHEUS, run
from tests.deploy.unit import DEPLOY, TARGET, TEMPLATE

pytestmark = ON_DEBIAN

PROMTOOL = PROMETHEUS / "promtool"
STEP_S = 15

SERIES = {
    'up{instance="a"': "1x40",
    'up{instance="b"': "0x40",
    'audiosocket_agent_calls_active{instance="a"': "30x40",
    'audiosocket_agent_calls_active{instance="b"': "10x40",
    'audiosocket_agent_calls_total{instance="a",outcome="error"': f"0+{STEP_S}x40",
    'audiosocket_agent_calls_total{instance="b",outcome="drained"': f"0+{2 * STEP_S}x40",
    'process_cpu_seconds_total{instance="a"': f"0+{0.08 * STEP_S}x40",
    # of ten answers nine take 0.5 s at most, and that of the other instance more
    'audiosocket_agent_response_seconds_bucket{instance="a",le="0.5"': "0+9x40",
    'audiosocket_agent_response_seconds_bucket{instance="a",le="1.0"': "0+9x40",
    'audiosocket_agent_response_seconds_bucket{instance="a",le="+Inf"': "0+9x40",
    'audiosocket_agent_response_seconds_bucket{instance="b",le="0.5"': "0x40",
    'audiosocket_agent_response_seconds_bucket{instance="b",le="1.0"': "0+1x40",
    'audiosocket_agent_response_seconds_bucket{instance="b",le="+Inf"': "0+1x40",
}
TOTALS = {
    "job:up:sum": 1,
    "job:audiosocket_agent_calls_active:sum": 40,
    "job:audiosocket_agent_calls:rate5m": 3,
    'job_outcome:audiosocket_agent_calls:rate5m{outcome="error"}': 1,
    "job:audiosocket_agent_cpu_seconds_per_call_second:ratio_5m": 0.002,
    "job:audiosocket_agent_response_seconds:p95_5m": 0.75,
}


@pytest.fixture
def haproxy() -> Path:
    where = Path(os.environ.get("HAPROXY_CACHE", "/var/cache/audiosocket-agent/haproxy"))
    if not where.exists():
        pytest.skip("needs tests/deploy/packages.sh")
    return where


def test_systemd_finds_nothing_in_the_units(tmp_path: Path) -> None:
    here = Path(sys.executable).with_name("audiosocket-agent")
    unit = tmp_path / TEMPLATE.name.replace("@", "@1")
    unit.write_text(TEMPLATE.read_text().replace("/usr/local/bin/audiosocket-agent", str(here)))
    (tmp_path / TARGET.name).write_text(TARGET.read_text())
    assert run("systemd-analyze", "verify", unit, tmp_path / TARGET.name) == (0, "")


def test_haproxy_accepts_its_configuration(haproxy: Path, tmp_path: Path) -> None:
    text = (DEPLOY / "haproxy.cfg").read_text()
    for line in ("    user haproxy\n", "    group haproxy\n"):  # which its package makes
        text = text.replace(line, "")
    file = tmp_path / "haproxy.cfg"
    file.write_text(text)
    libraries = next((haproxy / "usr" / "lib").glob("*-linux-gnu"), haproxy)
    program = haproxy / "usr" / "sbin" / "haproxy"
    code, said = run("env", f"LD_LIBRARY_PATH={libraries}", program, "-c", "-f", file)
    assert (code, said) == (0, "Configuration file is valid\n")


def test_promtool_accepts_the_job_and_the_rules() -> None:
    code, said = run(PROMTOOL, "check", "config", DEPLOY / "prometheus-fleet.yml")
    assert code == 0, said
    assert "18 rules found" in said


def test_totals_are_of_all_instances(tmp_path: Path) -> None:
    labels = ',job="audiosocket-agent"}'
    given = [{"series": name + labels, "values": values} for name, values in SERIES.items()]
    wanted = [
        {
            "expr": f"round(sum({name}), 0.0001)",
            "eval_time": "10m",
            "exp_samples": [{"value": total}],
        }
        for name, total in TOTALS.items()
    ]
    test = {"interval": f"{STEP_S}s", "input_series": given, "promql_expr_test": wanted}
    file = tmp_path / "totals.yml"
    rules = str(DEPLOY / "prometheus-rules.yml")
    file.write_text(json.dumps({"rule_files": [rules], "tests": [test]}))  # YAML has JSON in it
    code, said = run(PROMTOOL, "test", "rules", file)
    assert code == 0, said

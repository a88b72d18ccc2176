"""Every line of the example configuration is true."""

import re
import tomllib
from pathlib import Path

from audiosocket_agent import config
from audiosocket_agent.settings import Settings, settings_list, value_of
from tests.deploy.unit import DEPLOY
from tests.serving import EXAMPLE

EXAMPLES = {"AUDIOSOCKET_ALLOW", "OUTBOUND_ALLOW", "LOG_FILE"}
"""What is shown with an example in it: the default is nothing."""


def test_as_it_is_it_changes_nothing() -> None:
    assert config.load(EXAMPLE, {}).origins == {}


def test_what_it_shows_can_be_set_and_is_the_default(tmp_path: Path) -> None:
    shown = tmp_path / "agent.toml"
    shown.write_text(re.sub(r"^#(?=[^ \n])", "", EXAMPLE.read_text(), flags=re.M))
    loaded, plain = config.load(shown, {}), config.load(EXAMPLE, {})
    tree = tomllib.loads(shown.read_text())
    assert set(tree) == {
        *tomllib.loads(EXAMPLE.read_text()),
        *("max_calls", "max_call_duration", "drain_timeout", "default_agent"),
        *("ami", "outbound"),
    }
    assert len(loaded.origins) > 10
    changed = {
        setting.variable
        for setting in settings_list()
        if value_of(loaded.settings, setting) != value_of(plain.settings, setting)
    }
    assert changed == EXAMPLES


def test_prometheus_scrapes_the_port_that_is_the_default() -> None:
    target = f'targets: ["127.0.0.1:{Settings().metrics.port}"]'
    assert target in (DEPLOY / "prometheus.yml").read_text()

"""What `make release-check` finds; that it looks at the real thing is seen when it runs."""

import json
from typing import Any

import pytest

from tests.release import distributions, supply, versions
from tests.release.tree import tracked

# -- known faults ----------------------------------------------------------------------------------


def report(*packages: dict[str, Any]) -> str:
    """What pip-audit prints, whatever it says before it."""
    return "a warning\n" + json.dumps({"dependencies": packages, "fixes": []})


GOOD = {"name": "h11", "version": "0.16.0", "vulns": []}
BAD = {"name": "h11", "version": "0.14.0", "vulns": [{"id": "X-1", "fix_versions": ["0.16.0"]}]}
UNKNOWN = {"name": "numpy", "skip_reason": "not found"}


def test_an_audit_that_asked_about_nothing_has_found_something() -> None:
    assert supply.audited(report(GOOD), "") == []
    assert supply.audited(report(BAD), "") == ["h11 0.14.0: X-1 (mended in 0.16.0)"]
    [found] = supply.audited(report(GOOD, UNKNOWN), "")
    assert found == f"{supply.UNREACHED}: 1 of 2 packages (numpy ...)"
    assert supply.audited("", "Traceback:\nno route") == [f"{supply.UNREACHED}: no route"]
    assert supply.audited(report(), "") == ["no package in it"]


# -- lock files and licences -----------------------------------------------------------------------


def test_every_line_of_every_lock_has_a_hash() -> None:
    assert supply.unhashed() == []


@pytest.mark.parametrize(
    ("licences", "good"),
    [
        ([{"license": {"id": "MIT"}}], True),
        ([{"expression": "MPL-2.0 AND (Apache-2.0 OR MIT)"}], True),
        ([{"expression": "GPL-3.0-only OR MIT"}], True),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], True),
        ([{"license": {"name": "Mozilla Public License 2.0 (MPL 2.0)"}}], False),  # an id is there
        ([{"license": {"id": "GPL-3.0-only"}}], False),
        ([{"expression": "GPL-3.0-only AND (MIT OR ISC)"}], False),
        ([{"expression": "AGPL-3.0-only"}], False),
        ([], False),
    ],
)
def test_a_licence_is_one_that_somebody_has_said_yes_to(licences: list[Any], good: bool) -> None:
    found = supply.foreign({"components": [{"name": "x", "licenses": licences}]})
    assert (found == []) is good


def test_the_bill_has_all_that_the_lock_has() -> None:
    lock = "a-b==1.0 \\\n    --hash=sha256:0\nonly-there==2 ; sys_platform == 'win32' \\\n"
    assert supply.unlisted({"components": [{"name": "A_b", "version": "1.0"}]}, lock) == []
    assert supply.unlisted({"components": []}, lock) == [f"{supply.SBOM}: no a-b 1.0"]


# -- the distributions -----------------------------------------------------------------------------


def test_a_distribution_has_what_git_knows_and_no_key() -> None:
    known = [
        *(distributions.PACKAGE + name for name in distributions.MUST),
        *("README.md", "deploy/agent.toml", "tests/test_wire.py", "tests/release.lock"),
    ]
    package = dict.fromkeys(known[: len(distributions.MUST)], b"")
    source = package | {"README.md": b"", "deploy/agent.toml": b"", "PKG-INFO": b""}
    wheel = package | {"audiosocket_agent-0.1.0.dist-info/METADATA": b""}
    assert distributions.wrong(wheel, source, known) == []

    key = b"x = 'AIza" + b"0" * 35 + b"'"
    found = distributions.wrong(
        {name: text for name, text in wheel.items() if not name.endswith(".csv")},
        source | {"tests/test_wire.py": key},
        known,
    )
    assert found == [
        "wheel: audiosocket_agent/business/sample/orders.csv is missing",
        "sdist: tests/test_wire.py is too much",
        "wheel: no business/sample/orders.csv",
        "sdist: a key in tests/test_wire.py",
    ]


def test_what_a_service_needs_is_known_to_git() -> None:
    names = tracked()
    for must in distributions.MUST:
        assert any(name.startswith(distributions.PACKAGE + must) for name in names), must
    assert set(distributions.ALONE) <= set(names)


# -- versions --------------------------------------------------------------------------------------

CHANGES = "# Changelog\n\n## 1.2.3 (2026-11-30)\n\n## 1.2.2 (2026-11-01)\n"
PROJECT = {"dynamic": ["version"], "requires-python": ">=3.11"}
README = "Needs Python 3.11 to 3.14\n"


def test_one_version_everywhere() -> None:
    assert versions.disagreements("1.2.3", CHANGES, README, PROJECT, ["v1.2.3"]) == []
    unreleased = CHANGES.replace("2026-11-30", "unreleased")
    assert versions.disagreements("1.2.3", unreleased, README, PROJECT, []) == []
    assert versions.disagreements("1.2.3", unreleased, README, PROJECT, ["v1.2.3"]) == [
        "CHANGELOG.md: 1.2.3 is tagged and has no date"
    ]
    found = versions.disagreements(
        "1.2.4",
        CHANGES,
        "audiosocket-agent 1.2.2",
        {"requires-python": ">=3.11"},
        ["v1.2.3"],
    )
    assert found == [
        "CHANGELOG.md: the newest is 1.2.3, not 1.2.4",
        "v1.2.3 is on this commit, which is 1.2.4",
        "README.md: 1.2.2, not 1.2.4",
        "pyproject.toml: the version is the package's own",
        "README.md: needs Python 3.11, which it does not say",
    ]


def test_the_tree_has_one_version() -> None:
    assert versions.findings() == []

"""The bench: one Asterisk for all tests in here, its log beside a failure, and a table of what was
measured at the end. Without root or the root file system everything in here is skipped."""

import os
import statistics
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from audiosocket_agent.lab.simulator import Simulator
from tests.pbx.asterisk import ROOT, Asterisk, running_asterisk
from tests.pbx.service import Service, running_service

_HERE: Final = Path(__file__).parent

_logs = pytest.StashKey[dict[str, Callable[[], str]]]()
_measured = pytest.StashKey[dict[str, list[float]]]()

Attach = Callable[[str, Callable[[], str]], None]
"""Names a log, and reads it if the test fails."""
Measure = Callable[[str, float], None]
"""Takes one value of a named measurement, in ms."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = _missing()
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.pbx)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root, to run Asterisk by chroot"
    if not (ROOT / ".built-by").exists():
        return f"no Asterisk in {ROOT}: run tests/pbx/rootfs.sh"
    return None


# ---- logs beside a failure -----------------------------------------------------------------------


@pytest.fixture
def attach(request: pytest.FixtureRequest) -> Attach:
    """Show a log with the test's report if it fails."""
    logs: dict[str, Callable[[], str]] = request.node.stash.setdefault(_logs, {})
    return logs.__setitem__


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(name, read()) for name, read in item.stash.get(_logs, {}).items()]
    return report


# ---- measurements --------------------------------------------------------------------------------


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Put a value into the table printed after the run."""
    values = request.config.stash.setdefault(_measured, {})
    return lambda name, value: values.setdefault(name, []).append(value)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    measured = config.stash.get(_measured, {})
    if measured:
        width = max(map(len, measured))
        terminalreporter.section("measured through Asterisk, ms")
        terminalreporter.line(f"{'':{width}}  {'n':>6} {'median':>8} {'min':>8} {'max':>8}")
        for name, values in sorted(measured.items()):
            terminalreporter.line(
                f"{name:{width}}  {len(values):6} {statistics.median(values):8.1f} "
                f"{min(values):8.1f} {max(values):8.1f}"
            )


# ---- Asterisk ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pbx() -> Iterator[Asterisk]:
    with running_asterisk() as asterisk:
        yield asterisk


@pytest.fixture
def asterisk(pbx: Asterisk, attach: Attach) -> Asterisk:
    """The running Asterisk; its log of this test goes with a failure."""
    start = len(pbx.log())
    attach("Asterisk log", lambda: pbx.log(start))
    return pbx


# ---- our service ---------------------------------------------------------------------------------

StartService = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def service(asterisk: Asterisk, attach: Attach) -> StartService:
    """Start our command beside a simulator, with settings as keywords, at the dialplan's address.

    async with Simulator(Behaviour()) as gemini, service(gemini, MAX_CALLS="1") as agent: ...
    """

    @asynccontextmanager
    async def start(simulator: Simulator, **settings: str) -> AsyncIterator[Service]:
        async with running_service(simulator, **settings) as running:
            attach("service log", running.log)
            await asterisk.send_agents_to(running.port, running.agi_port)
            yield running

    return start

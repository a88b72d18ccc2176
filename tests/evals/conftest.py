"""All conversations are held once, several at a time; each test looks at one of them."""

import asyncio
from collections.abc import Mapping

import pytest

from audiosocket_agent.tools import silence
from tests.evals import suite
from tests.evals.cases import ATTACKS, agents
from tests.evals.suite import Judged, Results
from tests.evals.twenty_turns import CALL


@pytest.fixture(scope="session")
def results() -> Results:
    """Every conversation, every attack, and the call that is counted. No tool is said to take longer
    because the machine stood still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(silence, "QUICK_S", 20.0)
        return asyncio.run(suite.run([*agents(), ATTACKS], more=[CALL]))


@pytest.fixture(scope="session")
def judged(results: Results) -> Mapping[str, Judged]:
    """Each by its name."""
    return results.by_name

"""What holds for the whole suite: its state directory, Ctrl-C, and how thoroughly properties are tried.

`HYPOTHESIS_PROFILE=deep` takes minutes, the default seconds.
"""

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

# no deadline: a busy machine is no defect
settings.register_profile("fast", max_examples=40, deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session", autouse=True)
def state() -> Iterator[None]:
    """The calls and the journal of whoever runs the suite are neither read nor written by it."""
    with (
        tempfile.TemporaryDirectory(prefix="agent-") as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("STATE_DIRECTORY", directory)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A suite that a shell has started in the background ignores it, and so would all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

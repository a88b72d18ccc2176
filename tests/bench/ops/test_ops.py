"""Each operation by pytest-benchmark: `make bench-ops`. The suite does each once."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.bench.ops.operations import OPERATIONS, Made


@pytest.mark.parametrize("make", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_operation(make: Callable[[], Made], benchmark: BenchmarkFixture) -> None:
    with make() as operation:
        benchmark(operation)

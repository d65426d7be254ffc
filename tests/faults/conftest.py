"""How long, and with which seed, faults are drawn."""

from collections.abc import Sequence

import pytest

_FOR_ALL_ELSE = 100.0
"""Seconds that a run with random faults may take besides the faults."""


@pytest.fixture
def fault_seconds(request: pytest.FixtureRequest) -> float:
    seconds: float = request.config.getoption("--fault-seconds")
    return seconds


@pytest.fixture
def fault_seed(request: pytest.FixtureRequest) -> int:
    seed: int = request.config.getoption("--fault-seed")
    return seed


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    for item in items:
        if "fault_seconds" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(config.getoption("--fault-seconds") + _FOR_ALL_ELSE))

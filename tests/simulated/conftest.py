"""What every test of the simulated world needs: silence, nothing left behind, and small worlds."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from cluster.simulated.world import SimulatedWorld
from fusion.spec import Datacenter

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    strict = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(strict)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Roles log nothing; what a test configures is undone."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every loop is closed; one that is not leaves the garbage of later tests lying about."""
    yield
    assert gc.isenabled(), "a VirtualLoop was left open"


@pytest.fixture
def launched() -> Iterator[Callable[..., SimulatedWorld]]:
    """Make worlds that have begun, and close them afterwards."""
    worlds: list[SimulatedWorld] = []

    def make(datacenter: Datacenter, seed: int = 1, until_s: float = 10.0) -> SimulatedWorld:
        world = SimulatedWorld(datacenter, seed)
        worlds.append(world)
        world.launch()
        world.run_until(until_s)
        return world

    yield make
    for world in worlds:
        world.close()

"""The VRM notices that a host is silent, and forgets to mark it."""

from contextlib import AbstractContextManager

from cluster.vrm.liveness import Liveness
from tests.simulated.bugs.replacing import replaced

SEEDS = 3
FIRST = 2


def planted() -> AbstractContextManager[None]:
    return replaced(Liveness, "sweep", lambda _: lambda liveness: None)

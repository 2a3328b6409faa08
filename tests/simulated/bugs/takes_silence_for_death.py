"""The VRM takes every host that it does not hear for dead, though it may be deaf itself, and what
is dead needs no fencing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cluster.vrm import detection
from cluster.vrm.fencing import Fencing
from fusion.policy.detector import Verdict
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STORED_PLAN, stored_datacenter

SEEDS = 5
PLAN, DATACENTER = STORED_PLAN, stored_datacenter


def _rash(true: Any) -> Any:
    def verdicts(management_silent: Any, *told: Any) -> Any:
        return np.where(management_silent, Verdict.DEAD, true(management_silent, *told))

    return verdicts


async def _nothing(_: Fencing, vm: Any) -> None:
    """Bar nobody, wait for nothing."""


@contextmanager
def planted() -> Iterator[None]:
    with replaced(detection, "verdicts", _rash), replaced(Fencing, "fence", lambda _: _nothing):
        yield

"""The kernel that shares processors knows shares only, and no reservations."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from fusion.compute import processors
from fusion.faults.distributions import Exponential
from fusion.faults.plan import LoadBurst
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import PLAN as USUAL

SEEDS = 5
GAP_S = 0.2
#: VMs that are asked for all they can do, most of the time.
PLAN = replace(
    USUAL,
    load_burst=LoadBurst(after=Exponential(20.0), lasts=Exponential(40.0), percent=90.0),
)


def _by_shares(true: Any) -> Any:
    def share_cpu(capacity_mhz: Any, host_row: Any, *, reservation_mhz: Any, **vms: Any) -> Any:
        none = np.zeros_like(reservation_mhz)
        return true(capacity_mhz, host_row, reservation_mhz=none, **vms)

    return share_cpu


def planted() -> AbstractContextManager[None]:
    return replaced(processors, "share_cpu", _by_shares)

"""The kernel that shares processors knows shares only, and no reservations."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fusion.compute import processors
from tests.simulated.bugs.replacing import replaced

SEEDS = 3


def _by_shares(true: Any) -> Any:
    def share_cpu(capacity_mhz: Any, host_row: Any, *, reservation_mhz: Any, **vms: Any) -> Any:
        none = np.zeros_like(reservation_mhz)
        return true(capacity_mhz, host_row, reservation_mhz=none, **vms)

    return share_cpu


def planted() -> AbstractContextManager[None]:
    return replaced(processors, "share_cpu", _by_shares)

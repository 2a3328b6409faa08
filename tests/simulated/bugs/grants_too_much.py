"""The kernel that shares processors hands out a little more than there is where it is contended."""

from contextlib import AbstractContextManager
from typing import Any

from fusion.compute import processors
from fusion.compute.sharing import Sharing
from tests.simulated.bugs.replacing import replaced

SEEDS = 1


def _generous(true: Any) -> Any:
    def share_cpu(capacity_mhz: Any, host_row: Any, **vms: Any) -> Sharing:
        sharing: Sharing = true(capacity_mhz * 1.01, host_row, **vms)
        return sharing

    return share_cpu


def planted() -> AbstractContextManager[None]:
    return replaced(processors, "share_cpu", _generous)

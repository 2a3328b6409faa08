"""The VRM restarts VMs as soon as every array has answered, and waits for no lease to run out."""

import asyncio
from contextlib import AbstractContextManager
from typing import Any

from cluster.vrm.fencing import Fencing
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STORED_PLAN, stored_datacenter

SEEDS = 10
PLAN, DATACENTER = STORED_PLAN, stored_datacenter


def _impatient(_: Any) -> Any:
    async def fence(fencing: Fencing, vm: Any) -> None:
        await asyncio.gather(*(fencing._ask(array, vm) for array in vm.spec.arrays))

    return fence


def planted() -> AbstractContextManager[None]:
    return replaced(Fencing, "fence", _impatient)

"""An array looks at the epochs of opens and renewals, and takes writes from whomever they come."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.storage.controller import Controller
from fusion.faults.distributions import Exponential, LogNormal
from fusion.faults.plan import Between, FaultPlan, Partition, SlowLink
from fusion.storage.volumes import Volume
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import stored_datacenter

SEEDS = 5
DATACENTER, GAP_S = stored_datacenter, 2.0

#: Hosts lose their VMs to others while what they wrote is still on its way to an array.
PLAN = FaultPlan(
    partition=Partition(
        after=Exponential(20.0),
        lasts=LogNormal(10.0, 0.5),
        between=(Between.HOST_VRM, Between.HOST_ARRAY),
        one_way_share=0.6,
    ),
    slow_link=SlowLink(
        after=Exponential(5.0),
        lasts=LogNormal(5.0, 0.5),
        between=(Between.HOST_ARRAY,),
        planes=("storage",),
        one_way_share=1.0,
        latency_s=6.0,
        jitter_s=3.0,
    ),
    heal_s=0.0,
)


def _trusting(controller: Controller, vm_number: int, index: int, epoch: Any) -> Volume:
    return controller.volumes.find(vm_number, index)


def planted() -> AbstractContextManager[None]:
    return replaced(Controller, "_volume", lambda _: _trusting)

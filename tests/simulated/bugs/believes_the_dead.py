"""The VRM takes what an earlier life of a host said for true: it looks at no incarnation."""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from cluster.rpc.v1 import registry_pb2
from cluster.vrm.registry import Registry
from fusion.faults.distributions import Exponential, LogNormal
from fusion.faults.plan import FaultPlan, HostCrash
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import BELATED, small_datacenter

SEEDS = 5
DATACENTER, GAP_S = partial(small_datacenter, hosts=5, vms=8), 0.3

#: Hosts are soon on again after a crash, and then what they said before it arrives.
PLAN = FaultPlan(
    host_crash=HostCrash(after=Exponential(20.0), lasts=LogNormal(2.0, 0.5)),
    slow_link=BELATED,
    heal_s=0.0,
)


def _gullible(true: Any) -> Any:
    async def report(registry: Registry, request: registry_pb2.ReportRequest, context: Any) -> Any:
        for place, name in enumerate(request.host):
            host = registry._inventory.known_host(name)
            if host is not None and request.incarnation[place] < host.incarnation:
                request.incarnation[place] = host.incarnation
                request.session[place] = host.session
                request.sequence = max(request.sequence, host.sequence + 1)
        return await true(registry, request, context)

    return report


def planted() -> AbstractContextManager[None]:
    return replaced(Registry, "Report", _gullible)

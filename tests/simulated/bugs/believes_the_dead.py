"""The VRM takes what an earlier life of a host said for true: it looks at no incarnation."""

from contextlib import AbstractContextManager
from typing import Any

from cluster.rpc.v1 import registry_pb2
from cluster.vrm.registry import Registry
from tests.simulated.bugs.replacing import replaced
from tests.simulated.trial import STRAGGLING

SEEDS = 20
PLAN, GAP_S = STRAGGLING, 0.15


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

"""A datacenter that runs in a fraction of a second."""

from __future__ import annotations

from dataclasses import replace

from cluster.simulated.run import RunRequest
from fusion.spec import ClusterSpec, Datacenter, PlannedVm
from tests.cluster.world import host, vm


def small_datacenter(seed: int = 1) -> Datacenter:
    """Three hosts with two VMs each, which boot in 2 s."""
    return Datacenter(
        name="small",
        clusters=(ClusterSpec("production"),),
        hosts=tuple(host(f"cna-{k:02d}") for k in range(1, 4)),
        vms=tuple(PlannedVm(vm(f"web-{k:02d}"), "vms[0]", start=True) for k in range(1, 7)),
        seed=seed,
    )


def small_request(seed: int = 1, for_s: float = 20.0) -> RunRequest:
    return RunRequest(small_datacenter(seed), for_s)


def with_orders(request: RunRequest) -> RunRequest:
    """Return ``request`` with an operator at work."""
    return replace(request, orders_every_s=2.0)

"""The VRM as scrapes and service discovery see it: immutable, published once per interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.metrics.discovery import Target
from cluster.metrics.vrm import Lateness, VrmView
from cluster.parties import VRM
from cluster.role import Endpoint
from cluster.vrm.events import Events
from cluster.vrm.failovers import Failovers
from cluster.vrm.inventory import Inventory
from cluster.vrm.placing import Placing
from cluster.vrm.registry import Registry
from cluster.vrm.restarts import Restarts
from cluster.vrm.tasks import Tasks
from fusion.host import HostState
from fusion.vm import VmState


@dataclass(frozen=True, slots=True)
class Census:
    """How many hosts and VMs are in which state, and who is to be scraped, at one revision."""

    revision: int
    hosts: Mapping[tuple[str, str], int]  # (cluster, state)
    vms: Mapping[tuple[str, str], int]
    targets: tuple[Target, ...]


def take_census(endpoint: Endpoint, inventory: Inventory) -> Census:
    """Count everything; worth doing only when the inventory's revision has risen."""
    return Census(
        inventory.revision, _hosts(inventory), _vms(inventory), targets(endpoint, inventory)
    )


def observe(
    *,
    census: Census,
    generation: int,
    tasks: Tasks,
    events: Events,
    registry: Registry,
    lateness: Lateness,
    placing: Placing,
    failovers: Failovers,
    restarts: Restarts,
) -> VrmView:
    """Return what there is to see of the VRM now."""
    return VrmView(
        generation=generation,
        hosts=census.hosts,
        vms=census.vms,
        tasks={(kind, status.value): n for (kind, status), n in tasks.totals.items()},
        events={severity.value: count for severity, count in events.totals.items()},
        reports=registry.reports_total,
        lateness_buckets=lateness.buckets(),
        lateness_sum_s=lateness.sum_s,
        lateness_max_s=lateness.max_s,
        placements=placing.placed_total,
        placement_s=placing.spent_s,
        failovers=dict(failovers.totals),
        failovers_under_way=len(failovers.under_way()),
        restarts_waiting=restarts.waiting,
        phases_s=dict(failovers.spent_s),
        targets=census.targets,
    )


def targets(endpoint: Endpoint, inventory: Inventory) -> tuple[Target, ...]:
    """Return the VRM's process and each process of agents once, however many hosts it holds."""
    hosts_at: dict[str, list[str]] = {}
    for host in inventory.hosts:
        if host.metrics_url:
            hosts_at.setdefault(host.metrics_url, []).append(host.name)
    agents = (
        Target("agent", hosts[0] if len(hosts) == 1 else f"{hosts[0]}..{hosts[-1]}", url)
        for url, hosts in hosts_at.items()
    )
    return (Target(VRM, endpoint.name, endpoint.metrics_url), *agents)


def _hosts(inventory: Inventory) -> dict[tuple[str, str], int]:
    """Every state of every cluster, zeros too: a series that vanishes is no alarm."""
    counts = {(cluster, state.value): 0 for cluster in inventory.clusters for state in HostState}
    counts.update(Counter((host.spec.cluster, host.state.value) for host in inventory.hosts))
    return counts


def _vms(inventory: Inventory) -> dict[tuple[str, str], int]:
    counts = {(cluster, state.value): 0 for cluster in inventory.clusters for state in VmState}
    counts.update(Counter((vm.spec.cluster, vm.state.value) for vm in inventory.vms.values()))
    return counts

"""The VRM as scrapes and service discovery see it: immutable, published once per interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.metrics.discovery import Target
from cluster.metrics.vrm import Lateness, VrmView
from cluster.metrics.vrm_entities import KnownHost, MovingVm, RestartedVm
from cluster.parties import VRM
from cluster.role import Endpoint
from cluster.vrm.events import Events
from cluster.vrm.failovers import Failover, Failovers
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migration, Migrations
from cluster.vrm.placing import Placing
from cluster.vrm.registry import Registry
from cluster.vrm.restarts import Restarts
from cluster.vrm.tasks import Tasks
from fusion.host import HostState
from fusion.vm import VmState, vm_id


@dataclass(frozen=True, slots=True)
class Census:
    """How many hosts and VMs are in which state, and who is to be scraped, at one revision."""

    revision: int
    hosts: Mapping[tuple[str, str], int]  # (cluster, state)
    vms: Mapping[tuple[str, str], int]
    known_hosts: tuple[KnownHost, ...]
    targets: tuple[Target, ...]


class Restarted:
    """The VMs that were restarted, as scrapes see them: of each failover once, for one that has
    ended changes no more.
    """

    def __init__(self, failovers: Failovers) -> None:
        self._failovers = failovers
        self._seen: dict[Failover, RestartedVm] = {}

    def vms(self) -> Sequence[RestartedVm]:
        """Return those of all VMs that ever ran again."""
        seen = self._seen
        self._seen = {
            failover: seen.get(failover) or _restarted(failover)
            for failover in self._failovers.restarts()
        }
        return tuple(self._seen.values())


def take_census(endpoint: Endpoint, inventory: Inventory) -> Census:
    """Count everything; worth doing only when the inventory's revision has risen."""
    return Census(
        inventory.revision,
        _hosts(inventory),
        _vms(inventory),
        _known_hosts(inventory),
        targets(endpoint, inventory),
    )


def observe(
    *,
    now_s: float,
    started_s: float,
    census: Census,
    heard_s: NDArray[np.float64],
    generation: int,
    tasks: Tasks,
    events: Events,
    registry: Registry,
    lateness: Lateness,
    placing: Placing,
    failovers: Failovers,
    restarted: Restarted,
    restarts: Restarts,
    migrations: Migrations,
) -> VrmView:
    """Return what there is to see of the VRM now."""
    return VrmView(
        generation=generation,
        now_s=now_s,
        started_s=started_s,
        known_hosts=census.known_hosts,
        heard_s=heard_s.tolist(),
        restarted_vms=restarted.vms(),
        moving_vms=[_moving(each) for each in migrations.under_way()],
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
        migrations=dict(migrations.totals),
        migrations_waiting=len(migrations.waiting()),
        migrations_under_way=len(migrations.under_way()),
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
    counts.update(Counter((host.spec.cluster, host.state) for host in inventory.hosts))
    return counts


def _vms(inventory: Inventory) -> dict[tuple[str, str], int]:
    counts = {(cluster, state.value): 0 for cluster in inventory.clusters for state in VmState}
    # A state is its value: it counts under the key that is there.
    counts.update(Counter((vm.spec.cluster, vm.state) for vm in inventory.vms.values()))
    return counts


def _known_hosts(inventory: Inventory) -> tuple[KnownHost, ...]:
    return tuple(
        KnownHost(host.spec.cluster, host.spec.rack, host.name, host.state.value)
        for host in inventory.hosts
    )


def _restarted(failover: Failover) -> RestartedVm:
    return RestartedVm(
        vm=vm_id(failover.vm_number),
        vm_name=failover.vm_name,
        host=failover.to_host,
        cause=failover.cause.value,
        at_s=failover.running_s,
    )


def _moving(migration: Migration) -> MovingVm:
    progress = migration.progress
    return MovingVm(
        vm=vm_id(migration.vm_number),
        vm_name=migration.vm_name,
        source=migration.source,
        destination=migration.destination,
        round=progress.round,
        remaining_bytes=progress.remaining_bytes,
        rate_bytes_s=progress.rate_bytes_s,
        dirty_bytes_s=progress.dirty_bytes_s,
        throttle_share=progress.throttle_share,
    )

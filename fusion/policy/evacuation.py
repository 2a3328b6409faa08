"""How a host is emptied by migration: who goes where, in which order, and who cannot.

The largest go first. A host is empty only when the last VM has left, and its link is shared by
those that leave at the same time: begun last, a large one would use it alone for a long while
(Graham, "Bounds on multiprocessing timing anomalies", 1969: longest first is at most a third off
the shortest time). It is also what leaves the most room for those that are hard to place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion.arrays import Floats
from fusion.migration.settings import MigrationSettings
from fusion.policy.destinations import suitable, why_nowhere
from fusion.policy.migration_checks import check_vm, refusal
from fusion.policy.migration_facts import HostFacts, VmFacts, snapshot_of
from fusion.policy.placement import (
    FilterAndWeigh,
    HostsSnapshot,
    PlacementPolicy,
    PlacementRequest,
)
from fusion.spec import ClusterSpec, HostSpec

#: More than any host has left.
_LAST_BYTES = 2.0**62


@dataclass(frozen=True, slots=True)
class Move:
    """A VM that leaves, and for where."""

    vm: VmFacts
    destination: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """A VM that cannot leave, and why."""

    vm: VmFacts
    reason: str


@dataclass(frozen=True, slots=True)
class Evacuation:
    """All VMs of a host: ``moves`` in their order, for which there is room all together."""

    moves: tuple[Move, ...]
    stuck: tuple[Stuck, ...]


def evacuation(
    vms: Sequence[VmFacts],
    source: HostSpec,
    hosts: Sequence[HostFacts],
    cluster: ClusterSpec,
    *,
    policy: PlacementPolicy,
    settings: MigrationSettings,
) -> Evacuation:
    """Return how ``source`` is emptied of ``vms``.

    Each goes where the cluster's ``policy`` would place it. Where that leaves one without a host,
    all are fitted as tightly as possible instead (best fit decreasing), if more can leave then.
    """
    by_size = sorted(vms, key=lambda vm: (-vm.spec.memory_bytes, vm.number))
    faults = {vm.number: refusal(check_vm(vm, settings)) for vm in by_size}
    leaving = [vm for vm in by_size if not faults[vm.number]]
    chosen = _placed(leaving, source, hosts, cluster, policy)
    if len(chosen) < len(leaving):
        fitted = _placed(leaving, source, hosts, cluster, BEST_FIT)
        chosen = max(chosen, fitted, key=len)
    return Evacuation(
        moves=tuple(Move(vm, chosen[vm.number]) for vm in leaving if vm.number in chosen),
        stuck=tuple(
            Stuck(vm, faults[vm.number] or _crowded(vm, source, hosts, cluster))
            for vm in by_size
            if vm.number not in chosen
        ),
    )


def _placed(
    vms: Sequence[VmFacts],
    source: HostSpec,
    hosts: Sequence[HostFacts],
    cluster: ClusterSpec,
    policy: PlacementPolicy,
) -> dict[int, str]:
    """Return the destinations of those that find one, by number, each beside those before it."""
    now = snapshot_of(hosts, np.zeros(len(hosts), dtype=np.bool_))
    row_of = {name: row for row, name in enumerate(now.names)}
    destinations = {}
    for vm in vms:
        request = PlacementRequest.of(vm.spec)
        barred = ~suitable(vm, source, hosts, cluster)
        decision = policy.place(request, replace(now, kept_back=barred))
        if decision.host is not None:
            now.commit(row_of[decision.host], request)
            destinations[vm.number] = decision.host
    return destinations


def _crowded(
    vm: VmFacts, source: HostSpec, hosts: Sequence[HostFacts], cluster: ClusterSpec
) -> str:
    """Return why there is no host for a VM of which nothing else keeps it from leaving."""
    if not suitable(vm, source, hosts, cluster).any():
        return why_nowhere(vm, source, hosts, cluster)
    return (
        f"where VM {vm.spec.name} would fit, others of its host go; "
        f"stop it, or add a host to cluster {cluster.name}"
    )


def _tightness(request: PlacementRequest, hosts: HostsSnapshot) -> Floats:
    """The memory that a host has left afterwards; those last whose CPUs would be promised twice."""
    left_bytes: Floats = np.subtract(
        hosts.memory_free_bytes, request.memory_bytes, dtype=np.float64
    )
    promised_mhz = hosts.cpu_committed_mhz + request.cpu_mhz
    return left_bytes + np.where(promised_mhz > hosts.cpu_mhz, _LAST_BYTES, 0.0)


BEST_FIT: PlacementPolicy = FilterAndWeigh(_tightness)

"""Gathers what is known of the hosts and asks the clusters' policies where VMs go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from cluster.clock import Clock
from cluster.rpc.convert import HOST_STATES as STATE_NUMBERS
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Host, Vm
from fusion.policy.cpu_models import has_all_of
from fusion.policy.placement import (
    HOST_STATES,
    POLICIES,
    Decision,
    HostsSnapshot,
    Mask,
    PlacementPolicy,
    PlacementRequest,
    place_all,
)
from fusion.spec import AdmissionKind, ClusterSpec, HostSpec, VmSpec

#: From a host state's number in the protocol to its code in a snapshot.
_CODE = np.zeros(max(STATE_NUMBERS.values()) + 1, dtype=np.int8)
for _code, _state in enumerate(HOST_STATES):
    _CODE[STATE_NUMBERS[_state]] = _code


class Placing:
    """Places VMs by the policy of their cluster; counts how many, and how long that took.

    ``policies`` are those under study, by cluster, in place of what the cluster is set to.
    """

    def __init__(
        self, inventory: Inventory, clock: Clock, policies: Mapping[str, PlacementPolicy]
    ) -> None:
        self._policies = policies
        self._inventory = inventory
        self._clock = clock
        self._names = tuple(host.name for host in inventory.hosts)
        self._clusters = tuple(inventory.clusters)
        self._cluster = np.array(
            [self._clusters.index(host.spec.cluster) for host in inventory.hosts], dtype=np.int64
        )
        self._spares = np.array(
            [_spare(inventory, host) for host in inventory.hosts], dtype=np.bool_
        )
        self._allowed: dict[tuple[str, tuple[str, ...], str], Mask] = {}
        self.placed_total = 0
        self.spent_s = 0.0

    def place(self, vms: Sequence[Vm]) -> list[Decision]:
        """Return a decision for each of ``vms``, which are counted as they are placed."""
        began_s = self._clock.now()
        decisions: dict[int, Decision] = {}
        hosts = self.snapshot(self.kept_back())
        for cluster in self._inventory.clusters.values():
            # Clusters share no hosts: one after the other is as good as all at once.
            members = [vm for vm in vms if vm.spec.cluster == cluster.name]
            requests = [self.request_of(vm.spec) for vm in members]
            placed = place_all(requests, hosts, self.policy_of(cluster))
            for vm, decision in zip(members, placed, strict=True):
                decisions[vm.number] = decision
                self.placed_total += decision.host is not None
        self.spent_s += self._clock.now() - began_s
        return [decisions[vm.number] for vm in vms]

    def request_of(self, spec: VmSpec) -> PlacementRequest:
        """Return what a VM needs of its host, and on which hosts it may be at all."""
        baseline = self._inventory.cluster(spec.cluster).cpu_baseline
        if not (spec.pinned_to or spec.vnics or baseline):
            return PlacementRequest.of(spec)
        networks = tuple(dict.fromkeys(vnic.network for vnic in spec.vnics))
        key = spec.pinned_to, networks, baseline
        if key not in self._allowed:
            self._allowed[key] = np.array(
                [
                    spec.pinned_to in ("", host.name)
                    and attached(host.spec, networks)
                    and _has_baseline(host.spec, baseline)
                    for host in self._inventory.hosts
                ],
                dtype=np.bool_,
            )
        bound = [f"it is pinned to {spec.pinned_to}"] if spec.pinned_to else []
        bound += [f"it needs {' and '.join(networks)}"] if networks else []
        bound += [f"the baseline is {baseline}"] if baseline else []
        return PlacementRequest.of(spec, self._allowed[key], ", ".join(bound))

    def policy_of(self, cluster: ClusterSpec) -> PlacementPolicy:
        return self._policies.get(cluster.name) or POLICIES[cluster.placement]

    def spare(self, host: Host) -> bool:
        """Whether ``host`` is kept for the VMs of hosts that fail."""
        return bool(self._spares[host.row])

    def kept_back(self, *, but_spares: bool = False, avoided: Collection[str] = ()) -> Mask:
        """Return the hosts ``[H]`` that take no VM now, whatever room they have.

        Those are hosts without their storage, those that are about to go off or out of use, those
        ``avoided``, and spares, ``but_spares`` where it is for failures that they are kept.
        """
        mask = np.array(
            [host.storage_less or host.withdrawn for host in self._inventory.hosts], dtype=np.bool_
        )
        if not but_spares:
            mask |= self._spares
        for name in avoided:
            mask[self._inventory.host(name).row] = True
        return mask

    def snapshot(self, kept_back: Mask) -> HostsSnapshot:
        """Return what is known of the hosts now; what changes in it are copies."""
        figures = self._inventory.host_figures
        return HostsSnapshot(
            names=self._names,
            clusters=self._clusters,
            cluster=self._cluster,
            state=_CODE[figures.state],
            cores=figures.cores,
            memory_bytes=figures.memory_bytes,
            memory_committed_bytes=figures.memory_committed_bytes.copy(),
            cpu_mhz=figures.cpu_mhz,
            cpu_committed_mhz=figures.cpu_committed_mhz.copy(),
            cpu_reserved_mhz=figures.cpu_reserved_mhz.copy(),
            cpu_demand_mhz=self._inventory.usage.hosts.cpu_demand_mhz.copy(),
            kept_back=kept_back,
        )


def attached(host: HostSpec, networks: Sequence[str]) -> bool:
    """Whether ``host`` is on all of these ``networks``; one that names none is on all there are."""
    return not host.networks or all(network in host.networks for network in networks)


def _has_baseline(host: HostSpec, baseline: str) -> bool:
    """Whether VMs of a cluster with ``baseline`` can run there; of what is not said, they can."""
    if not (baseline and host.cpu_generation):
        return True
    return has_all_of(host.cpu_generation, baseline)


def _spare(inventory: Inventory, host: Host) -> bool:
    admission = inventory.cluster(host.spec.cluster).admission
    return admission.kind is AdmissionKind.SPARE_HOSTS and host.name in admission.spare_hosts

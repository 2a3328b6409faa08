"""The room that clusters keep for the VMs of hosts that fail: asked before anything is started."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Vm
from fusion.errors import Refused
from fusion.host import HostState
from fusion.policy.admission import Load, Member, judge
from fusion.spec import AdmissionKind, ClusterSpec, VmSpec
from fusion.vm import ON_HOST


class Reserve:
    """Admits VMs to clusters as long as these keep free what they are set to keep free.

    Restarts after failures are not asked: the room is theirs.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def check(self, spec: VmSpec) -> None:
        """Raise ``Refused`` where a VM more, as ``spec`` says, would leave too little room."""
        cluster = self._inventory.cluster(spec.cluster)
        if _keeps_room(cluster):
            verdict = judge(
                cluster.admission,
                self._members(cluster),
                [*self._loads(cluster, but=()), Load.of(spec)],
            )
            if not verdict.admitted:
                raise Refused(_sentence(cluster, verdict.why))

    def refuse(self, vms: Sequence[Vm]) -> dict[int, str]:
        """Return which of ``vms``, about to start, there is no room for, and why, by number."""
        refused: dict[int, str] = {}
        for cluster in self._inventory.clusters.values():
            if _keeps_room(cluster):
                refused.update(
                    self._refuse(cluster, [vm for vm in vms if vm.spec.cluster == cluster.name])
                )
        return refused

    def _refuse(self, cluster: ClusterSpec, vms: Sequence[Vm]) -> dict[int, str]:
        members, loads = self._members(cluster), self._loads(cluster, but=vms)
        new = [Load.of(vm.spec) for vm in vms]

        def too_many(count: int) -> bool:
            return not judge(cluster.admission, members, loads + new[:count]).admitted

        if not vms or not too_many(len(new)):
            return {}
        # The more VMs, the less room: the first that are admitted are found by halving.
        admitted = bisect_right(range(1, len(new)), False, key=too_many)
        why = judge(cluster.admission, members, loads + new[: admitted + 1]).why
        return {vm.number: _sentence(cluster, why) for vm in vms[admitted:]}

    def _members(self, cluster: ClusterSpec) -> list[Member]:
        return [
            Member.of(host.spec)
            for host in self._inventory.hosts_of(cluster.name)
            if host.state is HostState.NORMAL and not host.withdrawn
        ]

    def _loads(self, cluster: ClusterSpec, *, but: Sequence[Vm]) -> list[Load]:
        left_out = {vm.number for vm in but}
        return [
            Load.of(vm.spec)
            for vm in self._inventory.vms.values()
            if vm.state in ON_HOST and vm.spec.cluster == cluster.name and vm.number not in left_out
        ]


def _keeps_room(cluster: ClusterSpec) -> bool:
    return cluster.ha and cluster.admission.kind is not AdmissionKind.NONE


def _sentence(cluster: ClusterSpec, why: str) -> str:
    return f"cluster {cluster.name} would not keep enough room for failures: {why}"

"""What is known of VMs and hosts when it is decided whether, where and when VMs migrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion.host import HostState
from fusion.policy.placement import HOST_STATES, HostsSnapshot, Mask
from fusion.spec import HostSpec, VmSpec
from fusion.vm import VmState


@dataclass(frozen=True, slots=True)
class VmFacts:
    """A VM; ``frozen`` is a clause that says why its host froze it, empty where it did not."""

    number: int
    spec: VmSpec
    state: VmState
    frozen: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A host; committed is what its VMs may claim, those on their way there included.

    It is ``withdrawn`` where an operator wants no VMs on it, ``storage_less`` where it has lost its
    storage, and ``spare`` where it is kept for the VMs of hosts that fail.
    """

    spec: HostSpec
    state: HostState = HostState.NORMAL
    withdrawn: bool = False
    storage_less: bool = False
    spare: bool = False
    memory_committed_bytes: int = 0
    cpu_committed_mhz: float = 0.0
    cpu_reserved_mhz: float = 0.0
    cpu_demand_mhz: float = 0.0

    @property
    def memory_free_bytes(self) -> int:
        return self.spec.vm_memory_bytes - self.memory_committed_bytes

    @property
    def cpu_unreserved_mhz(self) -> float:
        return self.spec.vm_cpu_mhz - self.cpu_reserved_mhz


def snapshot_of(hosts: Sequence[HostFacts], kept_back: Mask) -> HostsSnapshot:
    """Return what placement policies look at, a row for each of ``hosts``."""
    specs = [host.spec for host in hosts]
    clusters = tuple(dict.fromkeys(spec.cluster for spec in specs))
    return HostsSnapshot(
        names=tuple(spec.name for spec in specs),
        clusters=clusters,
        cluster=np.array([clusters.index(spec.cluster) for spec in specs], dtype=np.int64),
        state=np.array([HOST_STATES.index(host.state) for host in hosts], dtype=np.int8),
        cores=np.array([spec.cores for spec in specs], dtype=np.int64),
        memory_bytes=np.array([spec.vm_memory_bytes for spec in specs], dtype=np.int64),
        memory_committed_bytes=np.array(
            [host.memory_committed_bytes for host in hosts], dtype=np.int64
        ),
        cpu_mhz=np.array([spec.vm_cpu_mhz for spec in specs]),
        cpu_committed_mhz=np.array([host.cpu_committed_mhz for host in hosts]),
        cpu_reserved_mhz=np.array([host.cpu_reserved_mhz for host in hosts]),
        cpu_demand_mhz=np.array([host.cpu_demand_mhz for host in hosts]),
        kept_back=kept_back,
    )

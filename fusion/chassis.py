"""Which process holds which hosts: the same in every world."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.spec import Datacenter, HostSpec


@dataclass(frozen=True, slots=True)
class Chassis:
    """One process and the hosts in it; with one host per process it bears the host's name."""

    name: str
    hosts: tuple[HostSpec, ...]


def chassis_of(datacenter: Datacenter) -> list[Chassis]:
    """Return the processes that hold ``datacenter``'s hosts, in their order."""
    size = datacenter.hosts_per_actor
    groups = [datacenter.hosts[k : k + size] for k in range(0, len(datacenter.hosts), size)]
    if size == 1:
        return [Chassis(group[0].name, group) for group in groups]
    return [Chassis(f"chassis-{k}", group) for k, group in enumerate(groups)]

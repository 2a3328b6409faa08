"""Which process holds which hosts, and what listens where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.live.ports import choose
from fusion.spec import Datacenter, HostSpec

VRM = "vrm"
BMC = "bmc"


@dataclass(frozen=True, slots=True)
class Chassis:
    """One process and the hosts in it; with one host per process it bears the host's name."""

    name: str
    hosts: tuple[HostSpec, ...]
    port: int
    metrics_port: int
    packed: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Every process of a datacenter with its ports."""

    vrm_port: int
    vrm_metrics_port: int
    bmc_port: int
    chassis: tuple[Chassis, ...]


def lay_out(datacenter: Datacenter, reserved: Iterable[int] = ()) -> Layout:
    """Return which processes there will be, on ports that are free now.

    Raises ``FusionError`` where a wanted port is taken (see ``ports.choose``).
    """
    groups = _groups(datacenter.hosts, datacenter.hosts_per_actor)
    packed = datacenter.hosts_per_actor > 1
    names = [f"chassis-{k}" if packed else hosts[0].name for k, hosts in enumerate(groups)]
    purposes = [VRM, _metrics_of(VRM), BMC]
    for name in names:
        purposes += [name, _metrics_of(name)]
    ports = choose(purposes, datacenter.first_port, reserved)
    return Layout(
        vrm_port=ports[VRM],
        vrm_metrics_port=ports[_metrics_of(VRM)],
        bmc_port=ports[BMC],
        chassis=tuple(
            Chassis(name, hosts, ports[name], ports[_metrics_of(name)], packed)
            for name, hosts in zip(names, groups, strict=True)
        ),
    )


def _metrics_of(name: str) -> str:
    return f"the metrics of {name}"


def _groups(hosts: Sequence[HostSpec], size: int) -> list[tuple[HostSpec, ...]]:
    return [tuple(hosts[start : start + size]) for start in range(0, len(hosts), size)]

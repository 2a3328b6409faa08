"""Which process holds which hosts, and what listens where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from cluster.live.ports import choose
from fusion.chassis import chassis_of
from fusion.errors import InvalidInput
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

    @property
    def ports(self) -> list[int]:
        of_chassis = [port for one in self.chassis for port in (one.port, one.metrics_port)]
        return [self.vrm_port, self.vrm_metrics_port, self.bmc_port, *of_chassis]


def lay_out(datacenter: Datacenter, reserved: Iterable[int] = ()) -> Layout:
    """Return which processes there will be, on ports that are free now.

    Raises ``FusionError`` where a wanted port is taken (see ``ports.choose``).
    """
    held = chassis_of(datacenter)
    packed = datacenter.hosts_per_actor > 1
    names = [each.name for each in held]
    _check_names(datacenter.hosts, {VRM, BMC, *(names if packed else ())})
    purposes = [VRM, _metrics_of(VRM), BMC]
    for name in names:
        purposes += [name, _metrics_of(name)]
    ports = choose(purposes, datacenter.first_port, reserved)
    return Layout(
        vrm_port=ports[VRM],
        vrm_metrics_port=ports[_metrics_of(VRM)],
        bmc_port=ports[BMC],
        chassis=tuple(
            Chassis(each.name, each.hosts, ports[each.name], ports[_metrics_of(each.name)], packed)
            for each in held
        ),
    )


def _metrics_of(name: str) -> str:
    return f"the metrics of {name}"


def _check_names(hosts: Sequence[HostSpec], ours: AbstractSet[str]) -> None:
    for host in hosts:
        if host.name in ours:
            raise InvalidInput(
                f"hosts: {host.name!r} is the name of another party of every datacenter; call the "
                "host something else"
            )

"""Which process holds which hosts, and what listens where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from cluster.live.ports import choose
from cluster.parties import ARBITER, BMC, GATEWAY, LAUNCHER, PARTIES, VRM
from fusion.chassis import chassis_of
from fusion.errors import InvalidInput
from fusion.spec import Datacenter, HostSpec


@dataclass(frozen=True, slots=True)
class Chassis:
    """One process and the hosts in it; with one host per process it bears the host's name."""

    name: str
    hosts: tuple[HostSpec, ...]
    port: int
    metrics_port: int
    packed: bool


@dataclass(frozen=True, slots=True)
class Pinned:
    """A process that keeps a store, and so stays on the node that has it."""

    name: str
    port: int
    metrics_port: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Every process of a datacenter with its ports; without clients there is no gateway.

    Power control and arbitration are answered by the launcher, which has metrics of its own too.
    """

    vrm: Pinned
    arrays: tuple[Pinned, ...]
    gateway: Pinned | None
    bmc_port: int
    arbiter_port: int
    launcher_metrics_port: int
    chassis: tuple[Chassis, ...]

    @property
    def pinned(self) -> tuple[Pinned, ...]:
        """The VRM, the arrays, and the gateway where there is one."""
        return (self.vrm, *self.arrays, *([self.gateway] if self.gateway else []))

    @property
    def ports(self) -> list[int]:
        processes: tuple[Pinned | Chassis, ...] = (*self.pinned, *self.chassis)
        own = [port for one in processes for port in (one.port, one.metrics_port)]
        return [self.bmc_port, self.arbiter_port, *own, self.launcher_metrics_port]


def lay_out(datacenter: Datacenter, reserved: Iterable[int] = ()) -> Layout:
    """Return which processes there will be, on ports that are free now.

    Raises ``FusionError`` where a wanted port is taken (see ``ports.choose``).
    """
    held = chassis_of(datacenter)
    packed = datacenter.hosts_per_actor > 1
    names = [each.name for each in held]
    arrays = [array.name for array in datacenter.arrays]
    _check_names(datacenter.hosts, {*PARTIES, *arrays, *(names if packed else ())})
    pinned = [VRM, *arrays, *([GATEWAY] if datacenter.clients else [])]
    purposes = [VRM, _metrics_of(VRM), BMC, ARBITER]
    for name in (*pinned[1:], *names):
        purposes += [name, _metrics_of(name)]
    purposes.append(_metrics_of(LAUNCHER))
    ports = choose(purposes, datacenter.first_port, reserved)
    seats = {name: Pinned(name, ports[name], ports[_metrics_of(name)]) for name in pinned}
    return Layout(
        vrm=seats[VRM],
        arrays=tuple(seats[name] for name in arrays),
        gateway=seats.get(GATEWAY),
        bmc_port=ports[BMC],
        arbiter_port=ports[ARBITER],
        launcher_metrics_port=ports[_metrics_of(LAUNCHER)],
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

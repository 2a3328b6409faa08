"""Invariant 6, while faults last: an agent that can be reached soon holds the VRM's settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import is_
from typing import ClassVar, NamedTuple

from cluster.simulated.invariants.agreement import grace_s
from cluster.simulated.invariants.scene import HELD, Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Facts
from fusion.fleet_view import FleetView
from fusion.host import HostState
from fusion.spec import VmSpec
from fusion.vm import vm_id


class Settings:
    """A VM has the processors and the memory that the VRM has stored for it, on the host that
    holds it. Orders take their time: there may be a difference while an operation on the VM is
    under way, while its host is not connected, and for ``grace_s`` after that.

    All VMs are looked at once a heartbeat interval; at the end of a run once more.
    """

    name: ClassVar[str] = "6 (settings)"

    def __init__(self) -> None:
        self._looked_s = 0.0
        self._since_s: dict[int, float] = {}
        self._seen: _Seen | None = None
        self._differing = False
        self._held: dict[Key, _Settings] = {}
        #: By seat: the states of its VMs, another object whenever anything but figures changes, and
        #: what of ``_held`` went with them.
        self._seats: dict[str, tuple[object, list[Key]]] = {}
        #: By VM: a specification and settings, the very objects, that were found to agree.
        self._agreed: dict[int, tuple[VmSpec | None, _Settings | None]] = {}

    def check(self, scene: Scene, report: Report) -> None:
        if scene.now_s < self._looked_s + scene.datacenter.heartbeat_interval_s:
            return
        self._looked_s = scene.now_s
        if scene.facts is None or not scene.vrm_up:
            self._since_s.clear()
            self._seen = None
            return
        seen = _Seen(
            scene.facts,
            scene.facts.revision,
            [seat.view.vms.names if seat.view is not None else None for seat in scene.seats()],
        )
        if not self._differing and self._seen is not None and seen.is_as(self._seen):
            return
        self._seen, self._differing = seen, False
        before, self._since_s = self._since_s, {}
        differing = self._all_differing(scene, scene.facts)
        if not differing:
            return
        self._differing = True
        connected = {host.name for host in scene.facts.hosts() if host.state is HostState.NORMAL}
        for vm in scene.facts.vms():
            there = differing.get(vm.number)
            if there is None:
                continue
            if vm.under_way or vm.host not in connected:
                continue
            since_s = self._since_s[vm.number] = before.get(vm.number, scene.now_s)
            if since_s < scene.now_s - grace_s(scene):
                identity = vm_id(vm.number)
                report(
                    identity,
                    vm.host,
                    text=f"since {since_s:.3f} s VM {identity} has had other settings on host "
                    f"{vm.host} than the VRM: {there}, not {_wanted(vm.spec)}",
                )

    def _all_differing(self, scene: Scene, facts: Facts) -> dict[int, _Settings]:
        """Return what hosts hold of the VMs that have other settings there than the VRM's."""
        self._look_at_agents(scene)
        held, agreed, nothing = self._held, self._agreed, (None, None)
        differing: dict[int, _Settings] = {}
        for number, spec, host in facts.specs():
            there = held.get((number, host))
            if there is None:
                continue
            spec_then, there_then = agreed.get(number, nothing)
            if spec_then is spec and there_then is there:
                continue
            if there == _wanted(spec):
                agreed[number] = spec, there
            else:
                differing[number] = there
        return differing

    def _look_at_agents(self, scene: Scene) -> None:
        """Bring ``_held`` up to date from the views that are not as they were."""
        for seat in scene.seats():
            then, keys = self._seats.get(seat.name, (None, []))
            states = seat.view.vms.state if seat.view is not None else None
            if states is then:
                continue
            for key in keys:
                del self._held[key]
            held = dict(_held(seat.view)) if seat.view is not None else {}
            self._held |= held
            self._seats[seat.name] = states, list(held)

    def finish(self, scene: Scene, report: Report) -> None:
        self._looked_s = -scene.datacenter.heartbeat_interval_s
        self.check(scene, report)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What settings can have changed by: the VRM's revision, and each view's set of VMs, which is
    another object whenever one came, went or was configured."""

    facts: Facts
    revision: int
    vms: list[object]

    def is_as(self, other: _Seen) -> bool:
        return (
            self.facts is other.facts
            and self.revision == other.revision
            and all(map(is_, self.vms, other.vms))
        )


#: A VM's number, and the host that holds it.
Key = tuple[int, str]


class _Settings(NamedTuple):
    shares: int
    limit_mhz: float
    reservation_mhz: float
    vcpus: int
    memory_bytes: int


def _wanted(spec: VmSpec) -> _Settings:
    cpu = spec.cpu
    return _Settings(cpu.shares, cpu.limit_mhz, cpu.reservation_mhz, spec.vcpus, spec.memory_bytes)


def _held(view: FleetView) -> Iterator[tuple[Key, _Settings]]:
    vms, names, there = view.vms, view.hosts.names, HELD[view.vms.state]
    settings = (
        vms.cpu_shares,
        vms.cpu_limit_mhz,
        vms.cpu_reservation_mhz,
        vms.vcpus,
        vms.memory_bytes,
    )
    hosts = [names[row] for row in vms.host_row[there].tolist()]
    keys = zip(vms.number[there].tolist(), hosts, strict=True)
    rows = zip(*(column[there].tolist() for column in settings), strict=True)
    return zip(keys, map(_Settings._make, rows), strict=True)

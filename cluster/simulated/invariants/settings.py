"""Invariant 6, while faults last: an agent that can be reached soon holds the VRM's settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from cluster.simulated.invariants.agreement import grace_s
from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import VmFact
from fusion.fleet_view import FleetView
from fusion.host import HostState
from fusion.spec import CpuQos
from fusion.vm import ON_HOST, VmState, vm_id


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

    def check(self, scene: Scene, report: Report) -> None:
        if scene.now_s < self._looked_s + scene.datacenter.heartbeat_interval_s:
            return
        self._looked_s = scene.now_s
        if scene.facts is None or not scene.vrm_up:
            self._since_s.clear()
            return
        connected = {host.name for host in scene.facts.hosts() if host.state is HostState.NORMAL}
        held = {key: cpu for seat in scene.seats() for key, cpu in _held(seat.view)}
        before, self._since_s = self._since_s, {}
        for vm in scene.facts.vms():
            there = held.get((vm.number, vm.host))
            if there is None or vm.under_way or vm.host not in connected or there == _wanted(vm):
                continue
            since_s = self._since_s[vm.number] = before.get(vm.number, scene.now_s)
            if since_s < scene.now_s - grace_s(scene):
                identity = vm_id(vm.number)
                report(
                    identity,
                    vm.host,
                    text=f"since {since_s:.3f} s VM {identity} has had other settings on host "
                    f"{vm.host} than the VRM: {there}, not {_wanted(vm)}",
                )

    def finish(self, scene: Scene, report: Report) -> None:
        self._looked_s = -scene.datacenter.heartbeat_interval_s
        self.check(scene, report)


Key = tuple[int, str]
_Settings = tuple[CpuQos, int, int]


def _wanted(vm: VmFact) -> _Settings:
    return vm.spec.cpu, vm.spec.vcpus, vm.spec.memory_bytes


def _held(view: FleetView | None) -> Iterator[tuple[Key, _Settings]]:
    if view is None:
        return
    vms = view.vms
    for row, number in enumerate(vms.number.tolist()):
        state: VmState = vms.state_of(row)
        if state in ON_HOST:
            cpu = CpuQos(
                shares=int(vms.cpu_shares[row]),
                limit_mhz=float(vms.cpu_limit_mhz[row]),
                reservation_mhz=float(vms.cpu_reservation_mhz[row]),
            )
            where = view.hosts.names[vms.host_row[row]]
            yield (number, where), (cpu, int(vms.vcpus[row]), int(vms.memory_bytes[row]))

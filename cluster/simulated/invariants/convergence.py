"""Invariant 6: once faults have healed, everything comes to rest as the VRM knows it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.simulated.wires import KEEPALIVE_S
from cluster.vrm.facts import Facts, VmFact
from cluster.vrm.records import Desired
from fusion.fleet_view import FleetView
from fusion.host import HostState
from fusion.migration.forecast import forecast
from fusion.policy.restarts import LONGEST_BACK_OFF_S
from fusion.spec import CpuQos, Datacenter
from fusion.units import format_size
from fusion.vm import ON_HOST, TRANSIENT, VmState, vm_id

#: Heartbeats until everything has come to rest: an attempt at an order that began while the fault
#: lasted ends (3), the next one succeeds, the host registers (1) and reports (1), what its last
#: words may have hidden is told again (1), and settings in doubt are sent (1).
SETTLING_INTERVALS = 8

#: Migrations that were ordered last may find their links taken by all others of their host, once
#: because they are emptied, and once because they get their VMs back.
MIGRATION_WAVES = 2

#: One after the other, as many VMs boot on the host that takes those of a lost one.
BOOT_WAVES = 2


def settling_s(datacenter: Datacenter) -> float:
    """Return how long it may take until all is at rest after the last fault and the last order.

    Connections that broke without a word are given up after the keepalive's time; then agents and
    VRM need some heartbeats, and a VM may have to shut down and boot. Where there are arrays, a
    host may be found dead as late as that, its VMs be fenced for a lease and more (an array that
    came up anew grants a full one), wait out the longest back-off, and boot in waves; and VMs that
    are to migrate do that before, all that a host has over one link.
    """
    boots_s = max((vm.spec.boot_s + vm.spec.shutdown_s for vm in datacenter.vms), default=0.0)
    settling_s = KEEPALIVE_S + SETTLING_INTERVALS * datacenter.heartbeat_interval_s + boots_s
    if not datacenter.arrays:
        return settling_s
    failover_s = 2 * datacenter.lease_s + datacenter.renewal_s + LONGEST_BACK_OFF_S
    return settling_s + failover_s + BOOT_WAVES * boots_s + MIGRATION_WAVES * _emptied_s(datacenter)


def _emptied_s(datacenter: Datacenter) -> float:
    """Return how long it takes to migrate the VMs of a host whose guests all write at full speed.

    VMs are taken to be spread evenly, and each to take as long as the longest.
    """
    longest_s = 0.0
    for cluster in datacenter.clusters:
        hosts = [host for host in datacenter.hosts if host.cluster == cluster.name]
        vms = [planned.spec for planned in datacenter.vms if planned.spec.cluster == cluster.name]
        if not hosts or not vms:
            continue
        largest = {vm.memory.profile: vm for vm in sorted(vms, key=lambda vm: vm.memory_bytes)}
        slowest_bps = min(host.migration_bps for host in hosts)
        each_s = max(
            forecast(vm.memory, vm.memory_bytes, cluster.migration, slowest_bps, 1.0).duration_s
            for vm in largest.values()
        )
        longest_s = max(longest_s, each_s * -(-len(vms) // len(hosts)))
    return longest_s


class Convergence:
    """At rest every task has ended, every host with power is normal, every VM is in the state and
    on the host that its agent says, and every agent holds the VRM's settings of its VMs. No VM
    that high availability is there for is stopped or frozen against what is wanted of it. No
    migration is under way, at its ends neither, and nothing is kept for VMs that do not come.
    """

    name: ClassVar[str] = "6 (convergence)"

    def check(self, scene: Scene, report: Report) -> None:
        """Only the end shows whether all came to rest."""

    def finish(self, scene: Scene, report: Report) -> None:
        if scene.now_s < scene.calm_since_s + settling_s(scene.datacenter):
            return
        if scene.facts is None or not scene.vrm_up:
            report(text="everything has healed, and there is no VRM")
            return
        _check_tasks(scene, scene.facts, report)
        _check_hosts(scene, scene.facts, report)
        _check_vms(scene, scene.facts, report)
        _check_migrations(scene, scene.facts, report)


def _check_tasks(scene: Scene, facts: Facts, report: Report) -> None:
    for task in facts.tasks():
        if not task.ended:
            report(
                task.entity,
                text=f"task {task.id} ({task.kind}) is still {task.status}; it began at "
                f"{task.started_s:.3f} s, and all has healed since {scene.calm_since_s:.3f} s",
            )


def _check_hosts(scene: Scene, facts: Facts, report: Report) -> None:
    usable = (HostState.NORMAL, HostState.MAINTENANCE)
    incarnations = scene.world.supply.incarnations
    for row, host in enumerate(facts.hosts()):
        if scene.answers[row] and host.state not in usable:
            report(host.name, text=f"host {host.name} is up, and the VRM has it {host.state}")
        elif scene.answers[row] and host.incarnation != incarnations[host.name]:
            report(
                host.name,
                text=f"host {host.name} is incarnation {incarnations[host.name]}, and the VRM "
                f"takes it for {host.incarnation}",
            )
        elif not scene.answers[row] and host.state in usable:
            report(host.name, text=f"host {host.name} is down, and the VRM has it {host.state}")


def _check_vms(scene: Scene, facts: Facts, report: Report) -> None:
    held = _held(scene)
    for vm in facts.vms():
        identity, there = vm_id(vm.number), held.get(vm.number)
        if vm.state is VmState.UNKNOWN and not _answers(scene, vm.host):
            continue  # its host has no power
        if vm.under_way or vm.state in TRANSIENT or vm.state is VmState.UNKNOWN:
            what = f"it is {vm.state}" + (" by an operation" if vm.under_way else "")
            report(identity, text=f"VM {identity} has not come to rest: {what}")
        elif there is None:
            if vm.state in ON_HOST:
                text = f"the VRM has VM {identity} {vm.state} on {vm.host}, and no host holds it"
                report(identity, vm.host, text=text)
        elif there.where != (vm.host, vm.state):
            host, state = there.where
            text = f"VM {identity} is {state} on {host}; for the VRM it is {vm.state} on {vm.host}"
            report(identity, host, text=text)
        else:
            _check_settings(vm, there, report)
        if vm.state is VmState.STOPPED and _protected(scene, vm):
            report(identity, text=f"VM {identity} is wanted running, and nobody restarts it")


def _check_settings(vm: VmFact, there: _Held, report: Report) -> None:
    identity = vm_id(vm.number)
    for what, wanted, found in (
        ("CPU settings", vm.spec.cpu, there.cpu),
        ("vCPUs", vm.spec.vcpus, there.vcpus),
        ("memory", vm.spec.memory_bytes, there.memory_bytes),
    ):
        if wanted != found:
            report(
                identity,
                vm.host,
                text=f"host {vm.host} has other {what} of VM {identity} than the VRM: {found}, "
                f"not {wanted}",
            )


def _check_migrations(scene: Scene, facts: Facts, report: Report) -> None:
    for migration in facts.migrations():
        if not migration.ended:
            text = f"migration {migration.id} of VM {migration.vm_name} is still {migration.state}"
            report(vm_id(migration.vm_number), text=text)
    for seat in scene.seats():
        if seat.agent is None or seat.view is None or not seat.answers:
            continue
        for outgoing in seat.agent.migrations.outgoing:
            order = outgoing.order
            text = f"host {order.host} still migrates VM {vm_id(order.vm)} to {order.destination}"
            report(vm_id(order.vm), order.host, text=text)
        for incoming in seat.agent.migrations.incoming:
            text = f"host {incoming.host} still waits for VM {vm_id(incoming.vm)}"
            report(vm_id(incoming.vm), incoming.host, text=text)
        hosts = seat.view.hosts
        for row in np.flatnonzero(hosts.memory_expected_bytes).tolist():
            kept = format_size(int(hosts.memory_expected_bytes[row]))
            text = f"host {hosts.names[row]} keeps {kept} for VMs that do not come"
            report(hosts.names[row], text=text)


def _protected(scene: Scene, vm: VmFact) -> bool:
    """Whether high availability is to see to it that ``vm`` runs."""
    clusters = scene.datacenter.clusters
    ha = any(cluster.ha for cluster in clusters if cluster.name == vm.spec.cluster)
    return ha and vm.spec.ha and bool(vm.spec.volumes) and vm.desired is Desired.RUNNING


class _Held:
    """A VM as the view of its host shows it."""

    def __init__(self, view: FleetView, row: int) -> None:
        vms = view.vms
        self.where = (view.hosts.names[vms.host_row[row]], vms.state_of(row))
        self.vcpus = int(vms.vcpus[row])
        self.memory_bytes = int(vms.memory_bytes[row])
        self.cpu = CpuQos(
            shares=int(vms.cpu_shares[row]),
            limit_mhz=float(vms.cpu_limit_mhz[row]),
            reservation_mhz=float(vms.cpu_reservation_mhz[row]),
        )


def _held(scene: Scene) -> dict[int, _Held]:
    return {
        int(view.vms.number[row]): _Held(view, row)
        for seat in scene.seats()
        if (view := seat.view) is not None
        for row in range(len(view.vms))
        if view.vms.state_of(row) in ON_HOST and view.hosts.on[view.vms.host_row[row]]
    }


def _answers(scene: Scene, host: str) -> bool:
    return bool(np.any(scene.answers[[name == host for name in scene.names]]))

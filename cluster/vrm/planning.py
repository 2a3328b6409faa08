"""Gathers what is known of VMs and hosts, and asks whether, where and how long VMs migrate."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cluster.rpc import convert
from cluster.rpc.v1 import common_pb2, registry_pb2, vrm_pb2
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.placing import Placing
from cluster.vrm.records import Host, Vm
from fusion.errors import Refused
from fusion.migration.forecast import forecast
from fusion.policy import migration_checks
from fusion.policy.destinations import choose, why_nowhere
from fusion.policy.evacuation import evacuation
from fusion.policy.migration_checks import Check, check_vm, refusal
from fusion.policy.migration_facts import HostFacts, VmFacts
from fusion.vm import VmState

_FROZEN = {
    registry_pb2.HOLD_CAUSE_LEASE: "its lease has ended",
    registry_pb2.HOLD_CAUSE_SPACE: "its datastore is full",
}


class Planning:
    """Checks, destinations and forecasts of migrations, as things are now."""

    def __init__(self, inventory: Inventory, placing: Placing, migrations: Migrations) -> None:
        self._inventory = inventory
        self._placing = placing
        self._migrations = migrations

    def checks(self, vm: Vm, destination: Host | None) -> tuple[Check, ...]:
        """Return all that must hold for ``vm`` to move, to ``destination`` or to any host."""
        cluster = self._inventory.cluster(vm.spec.cluster)
        facts = _facts(vm)
        if vm.host is None:
            return check_vm(facts, cluster.migration)
        if destination is None:
            nowhere = Check("destination", passed=False, reason=self._why_no_host(vm, vm.host))
            return (*check_vm(facts, cluster.migration), nowhere)
        return migration_checks.check(
            facts, vm.host.spec, self._host_facts(destination), cluster, cluster.migration
        )

    def check(self, vm: Vm, destination: Host) -> None:
        """Raise ``Refused`` with every reason why ``vm`` cannot move to ``destination``."""
        why = refusal(self.checks(vm, destination))
        if why:
            raise Refused(why)

    def best(self, vm: Vm, avoided: Collection[str] = ()) -> Host | None:
        """Return where ``vm`` is best moved to, ``None`` where no host but those avoided will do.

        Raises ``Refused`` where it cannot be moved anywhere.
        """
        cluster = self._inventory.cluster(vm.spec.cluster)
        facts = _facts(vm)
        why = refusal(check_vm(facts, cluster.migration))
        if why:
            raise Refused(why)
        assert vm.host is not None
        hosts = [host for host in self._hosts(vm.spec.cluster) if host.spec.name not in avoided]
        chosen = choose(facts, vm.host.spec, hosts, cluster, self._placing.policy_of(cluster))
        if chosen.host is None:
            return None
        return self._inventory.host(chosen.host)

    def why_nowhere(self, vm: Vm) -> str:
        """Return why ``vm`` has no destination."""
        assert vm.host is not None
        return self._why_no_host(vm, vm.host)

    def _why_no_host(self, vm: Vm, source: Host) -> str:
        cluster = self._inventory.cluster(vm.spec.cluster)
        return why_nowhere(_facts(vm), source.spec, self._hosts(cluster.name), cluster)

    def evacuation(
        self, host: Host, vms: Sequence[Vm]
    ) -> tuple[list[tuple[Vm, Host]], dict[str, str]]:
        """Return where each of ``vms`` of ``host`` goes, in their order, and why others, by name,
        cannot leave it.
        """
        cluster = self._inventory.cluster(host.spec.cluster)
        plan = evacuation(
            [_facts(vm) for vm in vms],
            host.spec,
            self._hosts(cluster.name),
            cluster,
            policy=self._placing.policy_of(cluster),
            settings=cluster.migration,
        )
        moves = [
            (self._inventory.vms[move.vm.number], self._inventory.host(move.destination))
            for move in plan.moves
        ]
        return moves, {stuck.vm.spec.name: stuck.reason for stuck in plan.stuck}

    def forecast(
        self, vm: Vm, source: Host, destination: Host, settings: common_pb2.MigrationSettings
    ) -> vrm_pb2.MigrationForecast:
        """Return what is to be expected, with the network shared by all that are to migrate now,
        and the guest as busy as it is.
        """
        cluster = self._inventory.cluster(vm.spec.cluster)
        expected = forecast(
            vm.spec.memory,
            vm.spec.memory_bytes,
            convert.migration_from_message(settings, cluster.migration),
            self._bandwidth_bps(vm, source, destination),
            self._write_pace(vm),
        )
        return vrm_pb2.MigrationForecast(
            duration_s=expected.duration_s,
            rounds=expected.rounds,
            raw_bytes=expected.raw_bytes,
            wire_bytes=expected.wire_bytes,
            downtime_s=expected.downtime_s,
            converges=expected.converges,
        )

    def _bandwidth_bps(self, vm: Vm, source: Host, destination: Host) -> float:
        """Return the share of ``vm`` where those that wait begin as soon as they may: a host that
        is emptied has its slots taken until the last few.
        """
        most = self._inventory.cluster(vm.spec.cluster).migration.per_host
        others = [each for each in self._migrations.open() if each.vm_number != vm.number]
        leaving = sum(each.source == source.name for each in others)
        arriving = sum(each.destination == destination.name for each in others)
        return min(
            source.spec.migration_bps / min(leaving + 1, most),
            destination.spec.migration_bps / min(arriving + 1, most),
        )

    def _write_pace(self, vm: Vm) -> float:
        """Return at which share of its full rates the guest writes; see ``GuestMemory``."""
        usage = self._inventory.usage.vms
        demand_mhz = float(usage.cpu_demand_mhz[vm.number])
        idle_share = vm.spec.memory.idle_share
        if demand_mhz <= 0:
            return idle_share
        busy = min(demand_mhz / vm.spec.cpu_mhz, 1.0)
        got = min(float(usage.cpu_used_mhz[vm.number]) / demand_mhz, 1.0)
        return (idle_share + (1.0 - idle_share) * busy) * got

    def _hosts(self, cluster: str) -> list[HostFacts]:
        return [self._host_facts(host) for host in self._inventory.hosts_of(cluster)]

    def _host_facts(self, host: Host) -> HostFacts:
        figures, row = self._inventory.host_figures, host.row
        return HostFacts(
            spec=host.spec,
            state=host.state,
            withdrawn=host.withdrawn,
            storage_less=host.storage_less,
            spare=self._placing.spare(host),
            memory_committed_bytes=int(figures.memory_committed_bytes[row]),
            cpu_committed_mhz=float(figures.cpu_committed_mhz[row]),
            cpu_reserved_mhz=float(figures.cpu_reserved_mhz[row]),
            cpu_demand_mhz=float(self._inventory.usage.hosts.cpu_demand_mhz[row]),
        )


def _facts(vm: Vm) -> VmFacts:
    held = _FROZEN.get(vm.held, "") if vm.state is VmState.PAUSED else ""
    return VmFacts(vm.number, vm.spec, vm.state, held)

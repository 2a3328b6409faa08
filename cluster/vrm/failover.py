"""High availability: VMs that were lost with their hosts run elsewhere, once and only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.vrm.changes import Changes
from cluster.vrm.copies import VoidCopies
from cluster.vrm.events import Events, Severity
from cluster.vrm.failovers import Cause, Failover, Failovers
from cluster.vrm.fencing import Fencing
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.records import Desired, Host, Vm
from cluster.vrm.restarts import Restarts
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from fusion.vm import VmState


class HighAvailability:
    """Takes VMs from hosts that were lost, and restarts those that are to run.

    A VM on its way to another host may have arrived: ``lost_in_passage`` is told of its loss, and
    has it taken as well where its array says that it has not.

    A failover is durable from its first step on. One that a death of the VRM interrupts goes on
    afterwards, and fences again before it starts anything.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        events: Events,
        changes: Changes,
        failovers: Failovers,
        fencing: Fencing,
        restarts: Restarts,
        copies: VoidCopies,
        migrations: Migrations,
        lost_in_passage: Callable[[Vm, Cause, float], None],
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._events = events
        self._changes = changes
        self._failovers = failovers
        self._fencing = fencing
        self._restarts = restarts
        self._copies = copies
        self._migrations = migrations
        self._lost_in_passage = lost_in_passage
        self._spawn = spawn

    # What begins a failover

    def lose(
        self, host: Host, cause: Cause, last_seen_s: float, vms: Sequence[Vm] | None = None
    ) -> None:
        """``host`` cannot be left with ``vms``, all that it has where none are given: take those
        away whose volumes can be fenced, and restart them.
        """
        taken = []
        with self._store.transaction():
            for vm in self._inventory.vms_on(host) if vms is None else vms:
                if vm.fenced_off:
                    continue
                if self._migrations.passage(vm) is not None:
                    self._lost_in_passage(vm, cause, last_seen_s)
                elif vm.spec.volumes:
                    taken.append(self._take(vm, host, cause, last_seen_s))
                elif cause is not Cause.ISOLATED:
                    self._tell_unfenceable(vm, host)
        for failover in taken:
            self._spawn(self._carry_out(failover))

    def lost_by(self, host: Host, vm: Vm, last_seen_s: float) -> None:
        """``host`` has no copy of ``vm`` any more, and nobody asked for that."""
        wanted = vm.desired is Desired.RUNNING and vm.spec.volumes
        cared_for = vm.failing_over or vm.recovering
        if wanted and not cared_for and not self._why_not(vm):
            self._spawn(self._carry_out(self._take(vm, host, Cause.HALTED, last_seen_s)))

    def resume(self) -> None:
        """After a restart of the VRM: go on with every failover that was under way."""
        with self._store.transaction():
            for failover in self._failovers.under_way():
                vm = self._inventory.vms.get(failover.vm_number)
                if vm is None:
                    self._failovers.give_up(failover, "the VM was deleted")
                    continue
                vm.failing_over = True
                if vm.host is not None and vm.host.name == failover.to_host:
                    self._spawn(self._go_on(failover, vm))
                else:
                    self._bar(vm)
                    self._spawn(self._carry_out(failover))

    def _take(self, vm: Vm, host: Host, cause: Cause, last_seen_s: float) -> Failover:
        """Take ``vm`` from ``host``: from here on no copy of before counts any more."""
        previous = self._failovers.of(vm)
        if previous is not None:
            self._failovers.give_up(previous, f"host {host.name} was lost as well")
        failover = self._failovers.begin(vm, host.name, cause, last_seen_s)
        if vm.host is not None:
            self._inventory.set_state(vm, VmState.UNKNOWN)
        self._changes.void(vm)
        self._bar(vm)
        vm.failing_over = True
        return failover

    def _bar(self, vm: Vm) -> None:
        """Raise the epoch, durably; what is said of ``vm`` is void until it is fenced."""
        self._inventory.bar(vm)
        vm.takings += 1
        vm.fenced_off = True

    # The procedure

    async def _carry_out(self, failover: Failover) -> None:
        """Fence the VM, have it restarted, and see it running; again wherever that fails."""
        vm = self._inventory.vms[failover.vm_number]
        while True:
            await self._fencing.fence(vm)
            self._fenced(failover, vm)
            why = self._why_not(vm)
            if why:
                self._give_up(failover, vm, why)
                return
            state = await self._restarts.restart(failover, vm)
            if failover.ended:  # its new host was lost as well: another failover has the VM
                return
            if self._settled(failover, vm, state):
                return
            self._bar(vm)

    async def _go_on(self, failover: Failover, vm: Vm) -> None:
        """After a restart of the VRM: the VM had been given to its new host."""
        state = await self._restarts.outcome(vm)
        if not failover.ended and not self._settled(failover, vm, state):
            self._bar(vm)
            await self._carry_out(failover)

    def _fenced(self, failover: Failover, vm: Vm) -> None:
        """No old copy can act any more: ``vm`` is stopped, and whatever is left of it void."""
        host = vm.host
        vm.fenced_off = False
        with self._store.transaction():
            if host is not None:
                self._copies.declare(host, vm)
                self._inventory.set_state(vm, VmState.STOPPED)
            self._failovers.fenced(failover)
            self._tell(
                Severity.INFO,
                "vm.failover.fenced",
                f"VM {vm.title} is fenced: {_arrays(vm)} nothing older than epoch "
                f"{vm.epoch}, and all leases have ended",
                failover,
                vm,
            )
        if host is not None:
            self._copies.discard(host)

    def _settled(self, failover: Failover, vm: Vm, state: VmState) -> bool:
        """``vm`` was started, and is in ``state``; return whether the failover ends with that."""
        match state:
            case VmState.RUNNING:
                with self._store.transaction():
                    vm.failing_over = False
                    self._failovers.succeed(failover)
                    self._tell(
                        Severity.INFO, "vm.failover.running", _story(failover, vm), failover, vm
                    )
                return True
            case VmState.STOPPED:
                why = self._why_not(vm)
                if why:
                    self._give_up(failover, vm, why)
                return bool(why)
            case _:
                self._give_up(failover, vm, f"it is {state} by a later order")
                return True

    def _why_not(self, vm: Vm) -> str:
        """Return why ``vm`` is not to be restarted; nothing where it is."""
        if vm.desired is not Desired.RUNNING:
            return "it is to be stopped"
        if not self._inventory.cluster(vm.spec.cluster).ha:
            return f"HA is off for cluster {vm.spec.cluster}"
        if not vm.spec.ha:
            return "HA is off for this VM"
        return ""

    def _give_up(self, failover: Failover, vm: Vm, why: str) -> None:
        with self._store.transaction():
            vm.failing_over = False
            self._failovers.give_up(failover, why)
            self._tell(
                Severity.WARNING,
                "vm.failover.gave-up",
                f"VM {vm.title}, which was on {failover.from_host}, is not restarted: {why}",
                failover,
                vm,
            )

    # What is told

    def _tell_unfenceable(self, vm: Vm, host: Host) -> None:
        self._events.emit(
            Severity.WARNING,
            "vm.failover.gave-up",
            f"VM {vm.title} is not restarted: it has no volumes, so nothing could keep its copy on "
            f"{host.name} from running as well",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
        )

    def _tell(
        self, severity: Severity, kind: str, message: str, failover: Failover, vm: Vm
    ) -> None:
        self._events.emit(
            severity,
            kind,
            message,
            cluster=vm.spec.cluster,
            host=failover.to_host or failover.from_host,
            vm=vm.id,
            task=failover.task,
        )


def _arrays(vm: Vm) -> str:
    arrays = vm.spec.arrays
    who, accept = ("arrays", "accept") if len(arrays) > 1 else ("array", "accepts")
    return f"{who} {' and '.join(arrays)} {accept}"


def _story(failover: Failover, vm: Vm) -> str:
    phases = list(failover.phases())
    told = ", ".join(f"{phase} +{duration_s:.1f} s" for phase, duration_s in phases)
    total_s = sum(duration_s for _, duration_s in phases)
    return (
        f"VM {vm.title} runs on {failover.to_host} after the loss of {failover.from_host} "
        f"({failover.cause}): {told}; {total_s:.1f} s in all"
    )

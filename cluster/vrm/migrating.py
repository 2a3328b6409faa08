"""Live migration, as the VRM sees it: one procedure from the order to the outcome."""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto

from cluster.clock import Clock
from cluster.rpc.v1 import agent_pb2
from cluster.vrm.arrays import Arrays
from cluster.vrm.changes import Changes
from cluster.vrm.copies import VoidCopies
from cluster.vrm.evacuated import Evacuated
from cluster.vrm.events import Events, Severity
from cluster.vrm.failover import HighAvailability
from cluster.vrm.failovers import Cause
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import UNDER_WAY, Migration, Migrations
from cluster.vrm.orders import PATIENCE, Orders, Senseless, Unanswered
from cluster.vrm.planning import Planning
from cluster.vrm.records import Change, Host, Vm
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from cluster.vrm.tasks import CALLED_OFF, Tasks
from fusion.errors import FusionError, NotFound, Refused
from fusion.host import HostState
from fusion.units import format_size
from fusion.vm import VmAction, VmState

#: While it is under way, a migration is not done.
MOST = 0.99


class _End(Enum):
    """Who has the VM in the end."""

    MOVED = auto()  # the destination
    STAYED = auto()  # the source
    LOST = auto()  # the source was lost, and the destination does not have it


@dataclass(frozen=True, slots=True)
class _Outcome:
    """``epoch`` is that of the VM from now on, where it was not lost."""

    end: _End
    epoch: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Loss:
    """What became of a source, and the last sign of life of it."""

    cause: Cause
    last_seen_s: float


class Migrating:
    """Carries out migrations whose turn has come.

    Which of two hosts has a VM its home array decides, and nobody else; the VRM hears of it from
    the source, or reads it there. Until it knows, the VM is the source's at the epoch of before,
    the destination keeps room for it, and reports say nothing about it.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        changes: Changes,
        migrations: Migrations,
        evacuated: Evacuated,
        planning: Planning,
        orders: Orders,
        arrays: Arrays,
        copies: VoidCopies,
        availability: HighAvailability,
        clock: Clock,
        interval_s: float,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._changes = changes
        self._migrations = migrations
        self._evacuated = evacuated
        self._planning = planning
        self._orders = orders
        self._arrays = arrays
        self._copies = copies
        self._availability = availability
        self._clock = clock
        self._interval_s = interval_s
        self._spawn = spawn
        self._losses: dict[int, _Loss] = {}  # of sources, by the number of the migration

    # What begins and ends it

    def begin(self, migration: Migration, vm: Vm, destination: Host) -> None:
        """Its turn has come, and every check was passed: durable before anything is ordered."""
        assert vm.host is not None
        forecast = self._planning.forecast(vm, vm.host, destination, migration.settings)
        with self._store.transaction():
            change = self._changes.begin(vm, VmAction.MIGRATE, self._migrations.task(migration))
            epochs = self._inventory.reserve_epochs(vm)
            self._migrations.begin(migration, vm, destination, epochs, forecast)
            self._tell(
                Severity.INFO,
                "vm.migrate.began",
                migration,
                vm,
                f"VM {vm.title} is migrated from {migration.source} to {destination.name}; "
                f"{forecast.duration_s:.1f} s are expected, {forecast.downtime_s:.2f} s of them "
                "paused",
            )
        self._inventory.expect(vm, destination)
        self._spawn(self._carry_out(migration, change))

    def resume(self) -> None:
        """After a restart of the VRM: hear what became of every migration that was under way."""
        for migration in self._migrations.under_way():
            vm, task = self._inventory.vms[migration.vm_number], self._migrations.task(migration)
            task.cancellable = True
            change = self._changes.take_up(vm, VmAction.MIGRATE, task)
            self._inventory.expect(vm, self._inventory.host(migration.destination))
            self._spawn(self._find_out(migration, change))

    async def cancel(self, migration: Migration) -> None:
        """Have the source end a migration that is under way; its task tells the outcome.

        Raises ``Refused`` where it is too late, and ``Unanswered``.
        """
        task, source = self._migrations.task(migration), self._inventory.host(migration.source)
        self._tasks.check_cancellable(task)
        self._tasks.turn_to(task, CALLED_OFF)
        while migration.outcome == UNDER_WAY:
            try:
                await self._orders.cancel_migration(source, migration)
                return
            except NotFound:
                await self._pause()  # the source has yet to hear of it, or its next words end it
            except Refused:
                self._tasks.turn_to(task, "")
                raise

    def lost(self, vm: Vm, cause: Cause, last_seen_s: float) -> None:
        """The source of a VM that migrates is lost: the array is asked who has the VM."""
        migration = self._migrations.passage(vm)
        assert migration is not None
        self._losses.setdefault(migration.number, _Loss(cause, last_seen_s))

    def came_on_anew(self, host: Host) -> None:
        """``host`` holds nothing of before, of VMs on their way from it either."""
        last_seen_s = float(self._inventory.host_figures.last_report_s[host.row])
        for migration in self._migrations.under_way():
            if migration.source == host.name:
                self.lost(self._vm(migration), Cause.HALTED, last_seen_s)

    # The procedure

    async def _carry_out(self, migration: Migration, change: Change) -> None:
        vm, source = change.vm, self._inventory.host(migration.source)
        if change.previous is not None:
            await change.previous.wait()
        try:
            await self._orders.migrate(source, vm, migration)
        except Unanswered:
            pass  # whether it has begun, the source says in its next session, or else the array
        except FusionError as refusal:
            if not self._source_lost(migration, source):
                await self._stayed(migration, change, migration.epoch, str(refusal))
                return
        await self._find_out(migration, change)

    async def _find_out(self, migration: Migration, change: Change) -> None:
        """See a migration, which its source may have begun, through to its end."""
        outcome = await self._outcome(migration, change.vm)
        match outcome.end:
            case _End.MOVED:
                await self._moved(migration, change)
            case _End.STAYED:
                await self._stayed(migration, change, outcome.epoch, outcome.why)
            case _End.LOST:
                self._fail_over(migration, change, outcome)

    async def _outcome(self, migration: Migration, vm: Vm) -> _Outcome:
        """Return as soon as it is known who has the VM."""
        source = self._inventory.host(migration.source)
        failures = 0  # to hear of it, one after the other
        while not self._source_lost(migration, source):
            if source.reachable:
                await self._remind(migration, source)
                try:
                    outcome = await self._follow(migration, vm, source)
                except NotFound:  # it never began, or was forgotten: nobody hands over any more
                    break
                except Unanswered as error:
                    failures += 1
                    senseless = isinstance(error, Senseless) and failures >= PATIENCE
                    if senseless and await self._given_up(migration, source):
                        kept = self._read(migration, await self._ask_until_answered(vm))
                        return replace(kept, why=f"{error}, and the migration was given up")
                else:
                    failures = 0
                    if outcome is not None:
                        return outcome
            if failures > 1 or not source.reachable:
                epoch = await self._ask(vm)  # who does not tell the VRM may well finish by itself
                if epoch in (migration.epoch_there, migration.epoch_back):
                    return self._read(migration, epoch)
            await self._pause()
        return self._read(migration, await self._ask_until_answered(vm))

    async def _remind(self, migration: Migration, source: Host) -> None:
        """Tell ``source`` again that the operator has cancelled it, which it may not have heard."""
        if self._migrations.task(migration).mode == CALLED_OFF:
            with suppress(FusionError):  # too late, or unheard again
                await self._orders.cancel_migration(source, migration)

    async def _follow(self, migration: Migration, vm: Vm, source: Host) -> _Outcome | None:
        """Take over what the source says, up to the outcome; ``None`` where it says no more.

        Raises ``NotFound`` and ``Unanswered``.
        """
        async with aclosing(self._orders.watch_migration(source, migration)) as said:
            async for progress in said:
                if self._source_lost(migration, source):
                    return None
                self._hear(migration, vm, progress)
                if progress.phase == agent_pb2.MIGRATION_PHASE_MOVED:
                    return _Outcome(_End.MOVED, migration.epoch_there)
                if progress.phase == agent_pb2.MIGRATION_PHASE_STAYED:
                    return _Outcome(_End.STAYED, progress.epoch, progress.reason)
        return None

    async def _given_up(self, migration: Migration, source: Host) -> bool:
        """Have either end give the migration up; return whether who has the VM is final by now.

        A source that has, has asked the array for the last time. Without its destination a
        migration comes to nothing: the source, if it had handed over, takes the VM back at once.
        """
        destination = self._inventory.host(migration.destination)
        if await self._ended_at(source, migration):
            return True
        if not _gone(destination, migration.destination_incarnation):
            if not await self._ended_at(destination, migration):
                return False
            await self._pause()
        return True

    async def _ended_at(self, host: Host, migration: Migration) -> bool:
        try:
            await self._orders.cancel_migration(host, migration)
        except NotFound:
            return True
        except FusionError:  # it has come to the hand-over there, or nobody knows
            return False
        return True

    def _hear(self, migration: Migration, vm: Vm, progress: agent_pb2.MigrationProgress) -> None:
        migration.progress = progress
        task = self._migrations.task(migration)
        if progress.phase >= agent_pb2.MIGRATION_PHASE_HAND_OVER:
            self._tasks.lock(task)
        left_s = progress.left_s
        if left_s < 0:
            left_s = max(migration.forecast.duration_s - progress.elapsed_s, 0.0)
        whole_s = progress.elapsed_s + left_s
        self._tasks.migrating(
            task, min(progress.elapsed_s / whole_s, MOST) if whole_s > 0 else 0.0, progress
        )
        if vm.state is VmState.UNKNOWN:  # its source was silent, or the VRM was away
            self._changes.observed(vm, VmState.MIGRATING)

    def _source_lost(self, migration: Migration, source: Host) -> bool:
        """Whether the life of ``source`` in which it had the VM is over."""
        return (
            migration.number in self._losses
            or source.incarnation != migration.source_incarnation
            or source.incarnation <= source.ended
        )

    def _read(self, migration: Migration, epoch: int) -> _Outcome:
        """Return what the ``epoch`` that the array has for the VM says."""
        if epoch == migration.epoch_there:
            return _Outcome(_End.MOVED, epoch)
        source = self._inventory.host(migration.source)
        if self._source_lost(migration, source):
            why = f"host {source.name} was lost before the hand-over"
            return _Outcome(_End.LOST, epoch, why)
        if epoch == migration.epoch_back:
            why = f"the hand-over did not succeed, and {source.name} took the VM back"
        else:
            why = f"host {source.name} did not hand it over"
        return _Outcome(_End.STAYED, epoch, why)

    async def _ask_until_answered(self, vm: Vm) -> int:
        while (epoch := await self._ask(vm)) is None:
            await self._pause()
        return epoch

    async def _ask(self, vm: Vm) -> int | None:
        try:
            return await self._arrays.epoch(vm)
        except FusionError:
            return None

    async def _pause(self) -> None:
        await self._clock.sleep(self._interval_s)

    # The outcome

    async def _moved(self, migration: Migration, change: Change) -> None:
        """The destination has the VM, in one transaction with all that follows from it."""
        vm, destination = change.vm, self._inventory.host(migration.destination)
        source = self._inventory.host(migration.source)
        self._losses.pop(migration.number, None)
        with self._store.transaction():
            self._inventory.drop_expected(vm, destination)
            self._inventory.hand_over(vm, destination, migration.epoch_there)
            self._migrations.moved(migration)
            if migration.evacuates:
                self._evacuated.add(vm, source.name)
            else:
                self._evacuated.drop(vm)
            self._copies.declare(source, vm)
            self._tell(Severity.INFO, "vm.migrate", migration, vm, _story(migration, vm))
            if _gone(destination, migration.destination_incarnation):
                self._changes.end(change)
                last_seen_s = float(self._inventory.host_figures.last_report_s[destination.row])
                self._availability.lose(destination, Cause.DEAD, last_seen_s, [vm])
            else:
                self._changes.observed(vm, _state_on(destination))
        self._copies.discard(source)
        await self._heed(destination, change)

    async def _stayed(self, migration: Migration, change: Change, epoch: int, why: str) -> None:
        """The source has the VM, at the epoch of before, or at one at which it took it back."""
        vm, source = change.vm, self._inventory.host(migration.source)
        with self._store.transaction():
            self._inventory.drop_expected(vm, self._inventory.host(migration.destination))
            if epoch == migration.epoch_back:
                self._inventory.hand_over(vm, source, epoch)
            if self._migrations.task(migration).mode == CALLED_OFF:
                self._migrations.cancelled(migration)
                message = f"the migration of VM {vm.title} to {migration.destination} was cancelled"
                self._tell(Severity.INFO, "vm.migrate", migration, vm, message)
            else:
                self._fail(migration, vm, why)
            self._changes.observed(vm, _state_on(source))
        await self._heed(source, change)

    def _fail_over(self, migration: Migration, change: Change, outcome: _Outcome) -> None:
        """Nobody has the VM: it is fenced, the destination's copy too, and restarted."""
        vm, source = change.vm, self._inventory.host(migration.source)
        last_report_s = float(self._inventory.host_figures.last_report_s[source.row])
        loss = self._losses.pop(migration.number, _Loss(Cause.HALTED, last_report_s))
        with self._store.transaction():
            self._inventory.drop_expected(vm, self._inventory.host(migration.destination))
            self._fail(migration, vm, outcome.why)
            self._changes.end(change)
            self._availability.lose(source, loss.cause, loss.last_seen_s, [vm])

    async def _heed(self, host: Host, change: Change) -> None:
        """Take over what ``host`` says of the VM from now on: all that it said before it knew of
        the outcome is old, as the sequence of its next answer tells.
        """
        while change.ordering and host.state is HostState.INITIALISING:
            await self._pause()
        if change.ordering and host.reachable:
            with suppress(FusionError):  # it is lost then, and its next registration tells
                await self._orders.discard(host, [])
        self._changes.end(change)

    def _fail(self, migration: Migration, vm: Vm, why: str) -> None:
        self._migrations.stayed(migration, why)
        message = f"VM {vm.title} did not migrate to {migration.destination}: {why}"
        self._tell(Severity.ERROR, "vm.migrate", migration, vm, message)

    def _vm(self, migration: Migration) -> Vm:
        return self._inventory.vms[migration.vm_number]

    def _tell(
        self, severity: Severity, kind: str, migration: Migration, vm: Vm, message: str
    ) -> None:
        self._events.emit(
            severity,
            kind,
            message,
            cluster=vm.spec.cluster,
            host=vm.host.name if vm.host is not None else migration.source,
            vm=vm.id,
            task=migration.task,
        )


def _state_on(host: Host) -> VmState:
    return VmState.RUNNING if host.reachable else VmState.UNKNOWN


def _gone(host: Host, incarnation: int) -> bool:
    """Whether what ``host`` was given in ``incarnation`` is lost, as the VRM knows already."""
    dead = host.state is HostState.FAULTY
    return dead or host.incarnation != incarnation or host.incarnation <= host.ended


def _story(migration: Migration, vm: Vm) -> str:
    """Return what the migration took, beside what had been expected."""
    went, expected = migration.progress, migration.forecast
    moved = f"VM {vm.title} moved from {migration.source} to {migration.destination}"
    if went.phase != agent_pb2.MIGRATION_PHASE_MOVED:
        return f"{moved}, as its array says: {migration.source} did not tell"
    return (
        f"{moved} in {went.elapsed_s:.1f} s ({expected.duration_s:.1f} s expected), "
        f"{went.round} rounds ({expected.rounds}), {format_size(went.raw_bytes)} of memory "
        f"({format_size(expected.raw_bytes)}) as {format_size(went.wire_bytes)} on the network "
        f"({format_size(expected.wire_bytes)}), paused for {went.downtime_s:.2f} s "
        f"({expected.downtime_s:.2f} s)"
    )

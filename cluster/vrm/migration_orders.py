"""What operators order of migrations: each a task, refused at once where it cannot be."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from cluster.rpc import convert
from cluster.rpc.v1 import common_pb2, vrm_pb2
from cluster.vrm.events import Events, Severity
from cluster.vrm.hearing import Hearing
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrating import Migrating
from cluster.vrm.migration_queue import MigrationQueue
from cluster.vrm.migration_settings import settings_of
from cluster.vrm.migrations import UNDER_WAY, Migration, Migrations
from cluster.vrm.planning import Planning
from cluster.vrm.records import Host, Vm
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from fusion.errors import Refused
from fusion.policy.migration_checks import Check
from fusion.vm import vm_id


@dataclass(frozen=True, slots=True)
class Plan:
    """What a migration would be. Without a ``destination`` there is none that would do."""

    vm: Vm
    destination: Host | None
    checks: tuple[Check, ...]
    forecast: vrm_pb2.MigrationForecast | None
    settings: common_pb2.MigrationSettings


class MigrationOrders:
    """Orders and plans of migrations, and their cancellation."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        migrations: Migrations,
        planning: Planning,
        migrating: Migrating,
        hearing: Hearing,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._migrations = migrations
        self._planning = planning
        self._migrating = migrating
        self._queue = MigrationQueue(
            store=store,
            inventory=inventory,
            tasks=tasks,
            migrations=migrations,
            planning=planning,
            hearing=hearing,
            begin=self._begin,
            drop=self._drop,
            spawn=spawn,
        )

    def migrate(
        self,
        vm: Vm,
        destination: Host | None,
        settings: common_pb2.MigrationSettings,
        request_id: str,
        *,
        evacuates: bool = False,
    ) -> Task:
        """Have ``vm`` migrated, to the best host where no ``destination`` is given; ``evacuates``
        where that is for the sake of the host that has it.

        Raises ``InvalidInput``, and ``Refused`` with every check that was not passed.
        """
        whole = self._settings(vm, settings)
        taken = self._why_taken(vm)
        if taken:
            raise Refused(taken)
        if destination is not None:
            self._planning.check(vm, destination)
        elif self._planning.best(vm) is None:
            raise Refused(self._planning.why_nowhere(vm))
        with self._store.transaction():
            migration = self._migrations.queue(
                vm, destination, whole, request_id, evacuates=evacuates
            )
        self._queue.look_again()
        return self._migrations.task(migration)

    def plan(
        self, vm: Vm, destination: Host | None, settings: common_pb2.MigrationSettings
    ) -> Plan:
        """Return what ``migrate`` would do; nothing is changed. Raises ``InvalidInput``."""
        whole = self._settings(vm, settings)
        if destination is None:
            with suppress(Refused):
                destination = self._planning.best(vm)
        taken = self._why_taken(vm)
        free = Check("queue", passed=not taken, reason=taken)
        checks = (free, *self._planning.checks(vm, destination))
        forecast = None
        if vm.host is not None and destination is not None:
            forecast = self._planning.forecast(vm, vm.host, destination, whole)
        return Plan(vm, destination, checks, forecast, whole)

    async def cancel(self, task: Task) -> None:
        """Cancel ``task``, whatever it is of a VM. Raises ``Refused`` where it is too late."""
        migration = self._migrations.of_task(task)
        if migration is not None and migration.outcome == UNDER_WAY:
            await self._migrating.cancel(migration)
        else:
            self._tasks.cancel(task)
            self._queue.look_again()

    async def keep_giving_turns(self) -> None:
        """Have VMs migrate when their turns come, for ever."""
        await self._queue.keep_giving_turns()

    def resume(self) -> None:
        """After a restart of the VRM: see those through that were under way; the others wait on."""
        for migration in self._migrations.under_way():
            self._queue.look_again_after(self._migrations.task(migration))

    def _begin(self, migration: Migration, vm: Vm, destination: Host) -> None:
        self._migrating.begin(migration, vm, destination)
        self._queue.look_again_after(self._migrations.task(migration))  # its slots are free then

    def _drop(self, migration: Migration, why: str) -> None:
        self._migrations.stayed(migration, why)
        self._events.emit(
            Severity.ERROR,
            "vm.migrate",
            f"VM {migration.vm_name} does not migrate: {why}",
            cluster=self._inventory.host(migration.source).spec.cluster,
            host=migration.source,
            vm=vm_id(migration.vm_number),
            task=migration.task,
        )

    def _settings(
        self, vm: Vm, settings: common_pb2.MigrationSettings
    ) -> common_pb2.MigrationSettings:
        cluster = self._inventory.cluster(vm.spec.cluster)
        return convert.migration_to_message(settings_of(settings, cluster.migration))

    def _why_taken(self, vm: Vm) -> str:
        """Return which migration of ``vm`` waits or is under way; empty where none does."""
        migration = self._migrations.of(vm)
        if migration is None:
            return ""
        doing = "is migrating" if migration.outcome == UNDER_WAY else "waits to be migrated"
        to = f" to {migration.destination}" if migration.destination else ""
        return (
            f"VM {vm.title} {doing}{to} (task {migration.task}); cancel that first, or wait for "
            "its end"
        )

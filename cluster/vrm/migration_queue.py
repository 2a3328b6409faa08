"""The queue of VMs that are to migrate: so many at once for each host, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from cluster.vrm.broadcast import Broadcast
from cluster.vrm.hearing import Hearing
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migration, Migrations
from cluster.vrm.planning import Planning
from cluster.vrm.records import Host, Vm
from cluster.vrm.spawn import Spawn
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from fusion.errors import Refused

Begin = Callable[[Migration, Vm, Host], None]
Drop = Callable[[Migration, str], None]


class MigrationQueue:
    """Gives turns in the order of the orders; who waits for a slot of one host holds up nobody who
    needs none of it, nor does one whose host is being told other settings. A destination that was
    not named is chosen when the turn has come.

    ``begin`` and ``drop`` are called within a transaction, ``drop`` with the reason where a VM
    cannot be moved any more.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        migrations: Migrations,
        planning: Planning,
        hearing: Hearing,
        begin: Begin,
        drop: Drop,
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._migrations = migrations
        self._planning = planning
        self._hearing = hearing
        self._begin = begin
        self._drop = drop
        self._spawn = spawn
        self._news = Broadcast()
        self._awaited: set[Task] = set()

    def look_again(self) -> None:
        """There is one more in the queue, or one less, or one has ended."""
        self._news.notify()

    def look_again_after(self, task: Task) -> None:
        """Look again once ``task`` has ended."""
        if task not in self._awaited:
            self._awaited.add(task)
            self._spawn(self._see_through(task))

    async def _see_through(self, task: Task) -> None:
        async for _ in self._tasks.watch(task):
            pass
        self._awaited.remove(task)
        self.look_again()

    async def keep_giving_turns(self) -> None:
        """Give VMs their turns, for ever."""
        await self._hearing.wait()  # before, nobody knows what runs where
        while True:
            self._give_turns()
            await self._news.wait()

    def _give_turns(self) -> None:
        slots = _Slots(self._inventory, self._migrations.under_way())
        with self._store.transaction():
            for migration in self._migrations.waiting():
                if self._migrations.task(migration).ended:
                    self._migrations.cancelled(migration)
                else:
                    self._give_turn(migration, slots)

    def _give_turn(self, migration: Migration, slots: _Slots) -> None:
        vm = self._inventory.vms.get(migration.vm_number)
        if vm is None or vm.host is None or vm.host.name != migration.source:
            title = vm.title if vm is not None else migration.vm_name
            self._drop(migration, f"VM {title} is not on {migration.source} any more")
            return
        if vm.configuring is not None:
            waits_for = f"waits for task {vm.configuring.id} ({vm.configuring.kind})"
            self._tasks.wait(self._migrations.task(migration), waits_for)
            self.look_again_after(vm.configuring)
            return
        full = slots.why_full(vm, migration.source, migration.destination)
        if full:
            self._tasks.wait(self._migrations.task(migration), f"waits for {full}")
            return
        try:
            destination = self._destination(migration, vm, slots)
        except Refused as refusal:
            self._drop(migration, str(refusal))
            return
        if destination is None:
            waits_for = "waits for a slot of a host that has room for it"
            self._tasks.wait(self._migrations.task(migration), waits_for)
            return
        self._begin(migration, vm, destination)
        slots.take(vm, migration.source, destination.name)

    def _destination(self, migration: Migration, vm: Vm, slots: _Slots) -> Host | None:
        """Return where ``vm`` goes now, ``None`` where that host has no free slot.

        Raises ``Refused`` where it cannot go there, or anywhere.
        """
        if migration.named:
            destination = self._inventory.host(migration.destination)
            self._planning.check(vm, destination)
            return destination
        chosen = self._planning.best(vm, avoided=slots.full(vm))
        if chosen is None and self._planning.best(vm) is None:
            raise Refused(self._planning.why_nowhere(vm))
        return chosen


class _Slots:
    """How many migrations each host and each cluster has under way, in and out."""

    def __init__(self, inventory: Inventory, under_way: Sequence[Migration]) -> None:
        self._inventory = inventory
        self._of_host: Counter[str] = Counter()
        self._of_cluster: Counter[str] = Counter()
        for migration in under_way:
            self.take(inventory.vms[migration.vm_number], migration.source, migration.destination)

    def take(self, vm: Vm, source: str, destination: str) -> None:
        self._of_host.update((source, destination))
        self._of_cluster[vm.spec.cluster] += 1

    def why_full(self, vm: Vm, source: str, destination: str) -> str:
        """Return what a migration has to wait for; ``destination`` is empty where none is named."""
        settings = self._inventory.cluster(vm.spec.cluster).migration
        count = self._of_cluster[vm.spec.cluster]
        if settings.per_cluster and count >= settings.per_cluster:
            return f"a slot of cluster {vm.spec.cluster} ({count} of {settings.per_cluster})"
        for host in (source, destination):
            if host and self._of_host[host] >= settings.per_host:
                return f"a slot of {host} ({self._of_host[host]} of {settings.per_host})"
        return ""

    def full(self, vm: Vm) -> tuple[str, ...]:
        """Return the hosts that take in no VM of this cluster before another migration ends."""
        per_host = self._inventory.cluster(vm.spec.cluster).migration.per_host
        return tuple(host for host, count in self._of_host.items() if count >= per_host)

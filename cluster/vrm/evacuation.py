"""Hosts are emptied by live migration, and get back what had to leave them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from cluster.clock import Clock
from cluster.rpc.v1 import common_pb2
from cluster.vrm.calling_off import CalledOff, CallingOff
from cluster.vrm.evacuated import Evacuated
from cluster.vrm.hearing import Hearing
from cluster.vrm.inventory import Inventory
from cluster.vrm.migration_orders import MigrationOrders
from cluster.vrm.migrations import CANCELLED, MOVED, Migration, Migrations
from cluster.vrm.planning import Planning
from cluster.vrm.records import Host, Vm
from cluster.vrm.switch import Switch
from cluster.vrm.tasks import Task, Tasks
from fusion.errors import FusionError, Refused
from fusion.vm import TRANSIENT

#: How often the VMs of a host are tried, each time with what has become of the other hosts.
ATTEMPTS = 3

#: So many VMs are named where they stay, each with the reason.
NAMED = 5

#: Why VMs stay that were to leave.
KEPT = "an operator cancelled its migration"

#: As clusters are set.
_DEFAULT = common_pb2.MigrationSettings()


class Evacuation:
    """Moves all VMs of a host elsewhere, and back.

    All are ordered at once, in a good order; the queue of migrations sees to it that only so many
    go at a time. What can be known to be in the way is told before anything moves.
    """

    def __init__(
        self,
        *,
        inventory: Inventory,
        tasks: Tasks,
        migrations: Migrations,
        orders: MigrationOrders,
        planning: Planning,
        evacuated: Evacuated,
        hearing: Hearing,
        switch: Switch,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._inventory = inventory
        self._tasks = tasks
        self._migrations = migrations
        self._orders = orders
        self._planning = planning
        self._evacuated = evacuated
        self._hearing = hearing
        self._switch = switch
        self._calling_off = CallingOff(tasks, migrations, orders)
        self._clock = clock
        self._interval_s = interval_s

    def check(self, host: Host) -> None:
        """Raise ``Refused`` where a VM of ``host`` cannot be moved, named with the reason."""
        _, stay = self._planning.evacuation(host, self._to_go(host))
        if stay:
            raise Refused(f"host {host.name} cannot be emptied: {_listed(stay)}")

    def coming(self, host: Host) -> list[Vm]:
        """Return the VMs that are on their way to ``host``."""
        return [self._inventory.vms[each.vm_number] for each in self._coming(host)]

    def call_off(self, task: Task) -> None:
        """Cancel ``task``. Raises ``Refused`` where it has gone too far for that."""
        self._calling_off.call_off(task)

    async def carry_out(self, host: Host, task: Task) -> None:
        """Move away all VMs of ``host``, and those that were on their way to it, for ``task``.

        Raises ``FusionError`` where some stay, ``CalledOff`` where the operator wants that; what
        was moved is elsewhere by then.
        """
        try:
            with self._calling_off.possible(task):
                await self._empty(host, task)
        except CalledOff:
            ordered = self._ordered(host, task)
            await self._calling_off.end([each for each in ordered if not each.ended])
            raise CalledOff(self._how_far(host, task)) from None

    async def bring_back(self, host: Host, task: Task) -> str:
        """Move back to ``host`` what had to leave it and can come; return what became of it.

        Raises ``CalledOff`` where the operator wants the rest to stay where it is.
        """
        had_left = self._evacuated.of(host)
        try:
            with self._calling_off.possible(task):
                told = await self._refill(host, task, had_left)
        except CalledOff:
            coming = [each for each in self._migrations.open() if each.destination == host.name]
            await self._calling_off.end([each for each in coming if each.vm_number in had_left])
            there = {vm.number for vm in self._inventory.vms_on(host)}
            back = len(there.intersection(had_left))
            self._evacuated.forget(host)
            raise CalledOff(f"{back} of the {len(had_left)} VMs that had left are back") from None
        self._evacuated.forget(host)
        return told

    async def _refill(self, host: Host, task: Task, had_left: Sequence[int]) -> str:
        await self._hearing.wait()
        known = [self._inventory.vms.get(number) for number in had_left]
        away = [vm for vm in known if vm is not None and vm.host not in (None, host)]
        stay = await self._move([(vm, host) for vm in away], task, evacuates=False)
        back = len(away) - len(stay)
        told = f"{back} of the {len(away)} VMs that had left are back" if away else "none had left"
        return f"{told}; elsewhere stay {_listed(stay)}" if stay else told

    async def _empty(self, host: Host, task: Task) -> None:
        await self._hearing.wait()  # after a restart of the VRM
        await self._switch.comes(host)
        stay: dict[str, str] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._settle(host)
            stay = await self._attempt(host, task)
            if not (self._inventory.vms_on(host) or self._coming(host)):
                return
        raise FusionError(f"host {host.name} still holds VMs: {_listed(stay)}")

    async def _attempt(self, host: Host, task: Task) -> dict[str, str]:
        """Move what can be moved now; return which VMs stayed, and why."""
        kept = {each.vm_number for each in self._ordered(host, task) if each.state == CANCELLED}
        to_go = self._to_go(host)
        destinations, stay = self._planning.evacuation(
            host, [vm for vm in to_go if vm.number not in kept]
        )
        stay |= {vm.name: KEPT for vm in to_go if vm.number in kept}
        stay |= await self._move(destinations, task, evacuates=True)
        for migration in self._migrations.under_way():  # those that were ordered before, both ways
            if host.name in (migration.source, migration.destination):
                await self._end(migration)
        return stay

    def _ordered(self, host: Host, task: Task) -> list[Migration]:
        """Return what was ordered to empty ``host`` for ``task``, before a restart too."""
        return [
            each
            for each in self._migrations.all()
            if each.evacuates and each.source == host.name and each.queued_s >= task.started_s
        ]

    def _how_far(self, host: Host, task: Task) -> str:
        moved = [each for each in self._ordered(host, task) if each.state == MOVED]
        stay = len(self._inventory.vms_on(host))
        if not moved:
            return f"none of its VMs had left, {stay} are on it"
        left = _listed({each.vm_name: f"to {each.destination}" for each in moved})
        return f"{len(moved)} of its VMs had left by then, {stay} are on it; gone: {left}"

    async def _settle(self, host: Host) -> None:
        """Let pass what keeps VMs from leaving for a while."""
        await self._clock.sleep(self._interval_s)
        for vm in self._to_go(host):
            while vm.host is host and vm.state in TRANSIENT:
                await asyncio.shield(vm.next_settled())

    def _to_go(self, host: Host) -> list[Vm]:
        return [vm for vm in self._inventory.vms_on(host) if self._migrations.passage(vm) is None]

    def _coming(self, host: Host) -> list[Migration]:
        return [each for each in self._migrations.under_way() if each.destination == host.name]

    async def _move(
        self, destinations: Sequence[tuple[Vm, Host]], task: Task, *, evacuates: bool
    ) -> dict[str, str]:
        """Have VMs migrated, and wait until all have been; return which were not, and why."""
        stay: dict[str, str] = {}
        migrations = []
        for vm, destination in destinations:
            if self._migrations.of(vm) is None:
                try:
                    self._orders.migrate(vm, destination, _DEFAULT, "", evacuates=evacuates)
                except FusionError as error:
                    stay[vm.name] = str(error)
                    continue
            migration = self._migrations.of(vm)
            assert migration is not None
            migrations.append(migration)
        ended = 0

        async def see(migration: Migration) -> None:
            nonlocal ended
            own = await self._end(migration)
            ended += 1
            self._tasks.progress(task, ended / len(destinations))
            if own.reason:
                stay[migration.vm_name] = own.reason

        await asyncio.gather(*map(see, migrations))
        return stay

    async def _end(self, migration: Migration) -> Task:
        own = self._migrations.task(migration)
        async for _ in self._tasks.watch(own):
            pass
        return own


def _listed(why: Mapping[str, str]) -> str:
    """Return VMs with their reasons; some, where there are many."""
    told = [f"{name} ({reason})" for name, reason in list(why.items())[:NAMED]]
    more = [f"{len(why) - NAMED} more"] if len(why) > NAMED else []
    return ", ".join(told + more)

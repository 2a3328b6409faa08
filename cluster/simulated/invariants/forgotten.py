"""Invariant 4, over time: the VRM forgets nothing, whatever becomes of it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.rpc.convert import VM_STATES
from cluster.simulated.invariants.scene import Scene
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Facts, VmFact
from cluster.vrm.migrations import UNDER_WAY, Migration
from fusion.arrays import Bools, places, some
from fusion.vm import VmState, vm_id

CREATING = VM_STATES[VmState.CREATING]


class NothingForgotten:
    """A VM that was created is there until a task deletes it, and a restart changes nothing of what
    was known.

    The host, epoch and settings of a VM, and what is wanted of it, that one run of the VRM knew
    the next one begins with (a failover that goes on bars the VM anew, and so raises its epoch);
    and it still has every task, those that had ended as they did, and every migration that was
    under way, with the epochs that its hosts were told.
    """

    name: ClassVar[str] = "4 (nothing forgotten)"

    def __init__(self) -> None:
        self._facts: Facts | None = None
        self._exists: Bools = np.zeros(0, dtype=np.bool_)

    def check(self, scene: Scene, report: Report) -> None:
        facts, known = scene.facts, scene.known
        if facts is None or known is None or not scene.known_vms_changed:
            return
        if self._facts is not None and facts is not self._facts:
            _compare_vms(self._facts, facts, report)
            _compare_tasks(self._facts, facts, report)
            _compare_migrations(self._facts, facts, report)
        self._facts = facts
        # One that cannot be created, for want of volumes, goes again.
        created = (known.vm_state != 0) & (known.vm_state != CREATING)
        before, self._exists = self._exists, created
        shared = min(len(before), len(self._exists))
        gone = before[:shared] & (known.vm_state[:shared] == 0)
        if some(gone):
            self._check_deleted(facts, [vm_id(number) for number in places(gone).tolist()], report)

    def finish(self, scene: Scene, report: Report) -> None:
        if scene.facts is None:
            return
        bearers: dict[str, VmFact] = {}
        for vm in scene.facts.vms():
            twin = bearers.setdefault(vm.spec.name, vm)
            if twin is not vm:
                first, second = vm_id(twin.number), vm_id(vm.number)
                report(first, second, text=f"{first} and {second} are both called {vm.spec.name}")

    def _check_deleted(self, facts: Facts, vms: list[str], report: Report) -> None:
        deleted = {task.entity for task in facts.tasks() if task.kind == "vm.delete" and task.ended}
        for vm in vms:
            if vm not in deleted:
                report(vm, text=f"VM {vm} is no longer in the inventory, and nobody deleted it")


def _compare_vms(before: Facts, after: Facts, report: Report) -> None:
    found = {vm.number: vm for vm in after.vms()}
    failing_over = {failover.vm_number for failover in after.failovers() if not failover.ended}
    for vm in before.vms():
        again = found.get(vm.number)
        if again is None:
            continue  # it is missed above
        for what, was, now in (
            ("is on host", vm.host, again.host),
            ("has epoch", vm.epoch, again.epoch),
            ("is wanted", vm.desired, again.desired),
            ("is configured as", vm.spec, again.spec),
        ):
            raised = what == "has epoch" and vm.epoch < again.epoch
            if was != now and not (raised and vm.number in failing_over):
                identity = vm_id(vm.number)
                report(
                    identity,
                    text=f"a restart of the VRM forgot something: VM {identity} {what} "
                    f"{now or 'nowhere'}, and before it was {was or 'nowhere'}",
                )


def _compare_tasks(before: Facts, after: Facts, report: Report) -> None:
    found = {task.id: task for task in after.tasks()}
    for task in before.tasks():
        again = found.get(task.id)
        if again is None:
            report(task.entity, text=f"a restart of the VRM forgot task {task.id} ({task.kind})")
        elif task.ended and again.status != task.status:
            report(
                task.entity,
                text=f"task {task.id} ({task.kind}) had {task.status}, and after a restart of the "
                f"VRM it is {again.status}",
            )


def _compare_migrations(before: Facts, after: Facts, report: Report) -> None:
    """A VM whose migration was lost would be given to nobody, or at an epoch that others have."""
    found = {migration.number: migration for migration in after.migrations()}
    for migration in before.migrations():
        if migration.outcome != UNDER_WAY:
            continue
        again, vm = found.get(migration.number), vm_id(migration.vm_number)
        if again is None:
            text = f"a restart of the VRM forgot migration {migration.id} of VM {vm}"
            report(vm, text=text)
        elif _promised(again) != _promised(migration):
            report(
                vm,
                text=f"a restart of the VRM forgot what was promised to the hosts of migration "
                f"{migration.id}: epochs {_promised(migration)}, and not {_promised(again)}",
            )


def _promised(migration: Migration) -> tuple[int, int, int]:
    return migration.epoch, migration.epoch_there, migration.epoch_back

"""The VM groups of the datacenter file: created and started once the hosts are there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.vrm.changes import Changes
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Change, Desired, Vm
from cluster.vrm.settling import Settling
from cluster.vrm.starting import Failure, Starting
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from cluster.vrm.volumes import Volumes
from fusion.spec import PlannedVm
from fusion.vm import VmAction, VmState

#: What the tasks of VM groups are.
KIND = "vm.deploy"

WAITS_FOR = "waits until all hosts are up"

#: So many different reasons are told where VMs failed to start.
REASONS_TOLD = 3


@dataclass(frozen=True, slots=True)
class Deployment:
    """A VM group that is to be created, and the task that tells about it."""

    group: str
    vms: tuple[PlannedVm, ...]
    task: Task


class Deploy:
    """Deploys VM groups, one task each."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        changes: Changes,
        starting: Starting,
        settling: Settling,
        volumes: Volumes,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._changes = changes
        self._starting = starting
        self._settling = settling
        self._volumes = volumes

    def plan(self, vms: Sequence[PlannedVm]) -> list[Deployment]:
        """Open a task for every group that has not been created yet; each can be cancelled.

        Tasks that a restart of the VRM interrupted go on, and those that have ended do not begin
        again.
        """
        tasks = [task for task in self._tasks.all() if task.kind == KIND]
        going_on = {task.entity: task for task in tasks if not task.ended}
        over = {task.entity: None for task in tasks if task.ended}
        groups: dict[str, list[PlannedVm]] = {}
        for vm in vms:
            groups.setdefault(vm.group, []).append(vm)
        return [
            Deployment(
                group,
                tuple(members),
                going_on.get(group) or self._tasks.open(KIND, group, group, waits_for=WAITS_FOR),
            )
            for group, members in groups.items()
            if group in going_on or not (group in over or self._inventory.deployed(group))
        ]

    async def carry_out(self, deployment: Deployment) -> None:
        """Create the VMs of the group, start those that are to run, and see them running."""
        task = deployment.task
        if task.ended:
            return  # cancelled while it waited
        self._tasks.begin(task)
        if self._inventory.deployed(deployment.group):
            vms = self._created_before(deployment)
        else:
            names = [vm.spec.name for vm in deployment.vms]
            taken = [name for name in names if self._inventory.vm_named(name)]
            if taken:
                self._fail(deployment, f"there is a VM named {taken[0]} already")
                return
            vms = self._inventory.create_group(
                deployment.group, [planned.spec for planned in deployment.vms]
            )
        refused = await self._volumes.create(vms)
        failures = [Failure(vm, refused[vm.number]) for vm in vms if vm.number in refused]
        started = {planned.spec.name: None for planned in deployment.vms if planned.start}
        wanted = [vm for vm in vms if vm.name in started and vm.number not in refused]
        await asyncio.gather(*(self._settle(vm) for vm in vms if vm.recovering))
        with self._store.transaction():
            changes = self._begin(task, wanted, failures)
        before = len(wanted) - len(changes)
        failures += await self._starting.start(
            changes, lambda running: self._tasks.progress(task, (before + running) / len(wanted))
        )
        if failures:
            self._fail(deployment, _summary(failures, len(vms)))
            return
        self._tasks.succeed(task)
        self._events.emit(
            Severity.INFO,
            KIND,
            f"VM group {deployment.group}: {len(vms)} created, {len(wanted)} running",
            task=task.id,
        )

    def _created_before(self, deployment: Deployment) -> list[Vm]:
        """Return the VMs of the group, less those that were deleted since they were created."""
        found = [self._inventory.vm_named(planned.spec.name) for planned in deployment.vms]
        return [vm for vm in found if vm is not None and vm.group == deployment.group]

    async def _settle(self, vm: Vm) -> None:
        """Wait until it is known what ``vm`` has been doing over a restart of the VRM."""
        await self._settling.state(vm)
        vm.recovering = False

    def _begin(self, task: Task, wanted: Sequence[Vm], failures: list[Failure]) -> list[Change]:
        """Begin to start those of ``wanted`` that do not run; return them."""
        changes = []
        for vm in wanted:
            if vm.state is VmState.STOPPED and not self._tasks.superseded(task, vm.id):
                change = self._changes.begin(vm, VmAction.START, task)
                change.desired_before = Desired.STOPPED
                changes.append(change)
            elif vm.state is VmState.UNKNOWN and vm.host is not None:
                failures.append(Failure(vm, f"host {vm.host.name} is silent"))
            elif vm.state is not VmState.RUNNING:
                failures.append(Failure(vm, f"it is {vm.state} by a later order"))
        return changes

    def _fail(self, deployment: Deployment, reason: str) -> None:
        self._tasks.fail(deployment.task, reason)
        self._events.emit(
            Severity.ERROR,
            KIND,
            f"VM group {deployment.group}: {reason}",
            task=deployment.task.id,
        )


def _summary(failures: Sequence[Failure], wanted: int) -> str:
    """Return how many of ``wanted`` failed, and the most frequent reasons with an example each."""
    example = {failure.reason: failure.vm.name for failure in reversed(failures)}
    counts = Counter(failure.reason for failure in failures)
    told = [
        f"{example[reason]}{f' and {count - 1} more' if count > 1 else ''}: {reason}"
        for reason, count in counts.most_common(REASONS_TOLD)
    ]
    if len(counts) > REASONS_TOLD:
        told.append("…")
    return f"{len(failures)} of {wanted} VMs did not start ({'; '.join(told)})"

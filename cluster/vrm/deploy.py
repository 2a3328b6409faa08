"""The VM groups of the datacenter file: created and started once the hosts are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.vrm.changes import Changes
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.starting import Failure, Starting
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks
from cluster.vrm.volumes import Volumes
from fusion.spec import PlannedVm
from fusion.vm import VmAction

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
        volumes: Volumes,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._changes = changes
        self._starting = starting
        self._volumes = volumes

    def plan(self, vms: Sequence[PlannedVm]) -> list[Deployment]:
        """Open a task for every group that has not been created yet; each can be cancelled."""
        groups: dict[str, list[PlannedVm]] = {}
        for vm in vms:
            groups.setdefault(vm.group, []).append(vm)
        return [
            Deployment(
                group,
                tuple(members),
                self._tasks.open("vm.deploy", group, group, waits_for=WAITS_FOR),
            )
            for group, members in groups.items()
            if not self._inventory.deployed(group)
        ]

    async def carry_out(self, deployment: Deployment) -> None:
        """Create the VMs of the group, start those that are to run, and see them running."""
        task = deployment.task
        if task.ended:
            return  # cancelled while it waited
        self._tasks.begin(task)
        taken = [vm.spec.name for vm in deployment.vms if self._inventory.vm_named(vm.spec.name)]
        if taken:
            self._fail(deployment, f"there is a VM named {taken[0]} already")
            return
        vms = self._inventory.create_group(
            deployment.group, [planned.spec for planned in deployment.vms]
        )
        refused = await self._volumes.create(vms)
        failures = [Failure(vm, refused[vm.number]) for vm in vms if vm.number in refused]
        with self._store.transaction():
            changes = [
                self._changes.begin(vm, VmAction.START, task)
                for vm, planned in zip(vms, deployment.vms, strict=True)
                if planned.start and vm.number not in refused
            ]
        failures += await self._starting.start(
            changes, lambda running: self._tasks.progress(task, running / len(changes))
        )
        if failures:
            self._fail(deployment, _summary(failures, len(vms)))
            return
        self._tasks.succeed(task)
        self._events.emit(
            Severity.INFO,
            "vm.deploy",
            f"VM group {deployment.group}: {len(vms)} created, {len(changes)} running",
            task=task.id,
        )

    def _fail(self, deployment: Deployment, reason: str) -> None:
        self._tasks.fail(deployment.task, reason)
        self._events.emit(
            Severity.ERROR,
            "vm.deploy",
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

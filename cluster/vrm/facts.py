"""What the VRM knows, for those who look on: to be read, and frozen where it is handed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.vrm.events import Event, Events
from cluster.vrm.failovers import Failover, Failovers
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migration, Migrations
from cluster.vrm.records import Desired, Vm
from cluster.vrm.tasks import Tasks
from fusion.host import HostState
from fusion.spec import VmSpec
from fusion.vm import VmState


@dataclass(frozen=True, slots=True)
class HostFact:
    """A host of the inventory."""

    name: str
    state: HostState
    incarnation: int


class VmFact(NamedTuple):
    """A VM of the inventory; ``host`` is empty where it is on none."""

    number: int
    spec: VmSpec
    state: VmState
    desired: Desired
    host: str
    epoch: int
    under_way: bool


@dataclass(frozen=True, slots=True)
class TaskFact:
    """A task that is remembered."""

    id: str
    kind: str
    entity: str
    status: str
    reason: str
    started_s: float
    ended: bool


@dataclass(frozen=True, slots=True)
class Known:
    """The inventory at one revision, as columns: hosts by their row ``[H]``, VMs by number ``[N]``.

    States are the numbers of the protocol, 0 for a number that no VM bears; ``vm_host_row`` is -1
    for a VM that is on no host.
    """

    generation: int
    revision: int
    host_state: NDArray[np.int8]
    host_memory_committed_bytes: NDArray[np.int64]
    vm_state: NDArray[np.int8]
    vm_host_row: NDArray[np.int64]
    vm_epoch: NDArray[np.int64]


class Facts:
    """A window on the inventory, the tasks and the events of one run of the VRM."""

    def __init__(
        self,
        *,
        generation: int,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        failovers: Failovers,
        migrations: Migrations,
    ) -> None:
        self.generation = generation
        self._inventory = inventory
        self._tasks = tasks
        self._failovers = failovers
        self._migrations = migrations
        self._events = events

    @property
    def revision(self) -> int:
        """Rises whenever a host or VM came, went or changed."""
        return self._inventory.revision

    def known(self) -> Known:
        """Return the inventory as it is now."""
        hosts, vms = self._inventory.host_figures, self._inventory.vm_figures
        return Known(
            generation=self.generation,
            revision=self._inventory.revision,
            host_state=hosts.state.copy(),
            host_memory_committed_bytes=hosts.memory_committed_bytes.copy(),
            vm_state=vms.state.copy(),
            vm_host_row=vms.host_row.copy(),
            vm_epoch=vms.epoch.copy(),
        )

    def under_way(self, number: int) -> bool:
        """Whether an operation on VM ``number`` has begun and not ended."""
        vm = self._inventory.vms.get(number)
        return vm is not None and _under_way(vm)

    def hosts(self) -> list[HostFact]:
        return [HostFact(host.name, host.state, host.incarnation) for host in self._inventory.hosts]

    def vms(self) -> list[VmFact]:
        return [
            VmFact(  # by position, in its order: by name it would take twice as long
                vm.number,
                vm.spec,
                vm.state,
                vm.desired,
                vm.host.name if vm.host is not None else "",
                vm.epoch,
                _under_way(vm),
            )
            for vm in self._inventory.vms.values()
        ]

    def specs(self) -> list[tuple[int, VmSpec, str]]:
        """Return number, specification and host of every VM: of ``vms`` what takes no time."""
        return [
            (number, vm.spec, vm.host.spec.name if vm.host is not None else "")
            for number, vm in self._inventory.vms.items()
        ]

    def tasks(self) -> list[TaskFact]:
        return [
            TaskFact(
                id=task.id,
                kind=task.kind,
                entity=task.entity,
                status=task.status.value,
                reason=task.reason,
                started_s=task.started_s,
                ended=task.ended,
            )
            for task in self._tasks.all()
        ]

    def failovers(self) -> list[Failover]:
        """Return all failovers that are remembered, as they are now, oldest first."""
        return [replace(failover) for failover in self._failovers.all()]

    def migrations(self) -> list[Migration]:
        """Return all migrations that are remembered, as they are now, oldest first."""
        return [replace(migration) for migration in self._migrations.all()]

    def passage(self, number: int) -> Migration | None:
        """Return the migration of VM ``number`` that is under way, if there is one."""
        vm = self._inventory.vms.get(number)
        return self._migrations.passage(vm) if vm is not None else None

    def events(self, names: Sequence[str], last: int) -> list[Event]:
        """Return the last so many events about any of ``names``, hosts or VMs, in order."""
        return self._events.about(names, last)


def _under_way(vm: Vm) -> bool:
    return vm.change is not None or vm.configuring is not None or vm.failing_over

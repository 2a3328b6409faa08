"""CPU settings whose order is under way while the VM comes to an end and starts elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cluster.live.stores import LiveStores
from cluster.vrm.configuration import Configuration
from cluster.vrm.events import Events
from cluster.vrm.inventory import Inventory
from cluster.vrm.migrations import Migrations
from cluster.vrm.orders import Unanswered
from cluster.vrm.records import Host, Vm
from cluster.vrm.store import Store
from cluster.vrm.tasks import Task, Tasks, TaskStatus
from fusion.errors import FusionError, NotFound
from fusion.spec import CpuQos
from fusion.vm import VmState
from tests.cluster.stopped_clock import StoppedClock
from tests.cluster.test_vrm_tasks import failed
from tests.cluster.world import datacenter, host, vm


class SlowHost:
    """Takes one order, and fails it when it is told to."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()
        self.failing: asyncio.Future[FusionError] = asyncio.get_running_loop().create_future()

    async def set_cpu(self, host: Host, vm: Vm, cpu: CpuQos) -> None:
        self.taken.set()
        raise await self.failing


def configured(
    tmp_path: Path,
    error: FusionError,
    meanwhile: Callable[[Inventory, Vm], None],
) -> tuple[Vm, Task]:
    """Return the VM and the task of an order that fails after ``meanwhile`` happened."""

    async def run() -> tuple[Vm, Task]:
        store = Store.open(LiveStores(tmp_path), failed)
        facts = datacenter([host("cna-01"), host("cna-02")], [])
        inventory = Inventory.open(store, facts)
        tasks, events = Tasks(store, StoppedClock()), Events(store, StoppedClock())
        (web,) = inventory.create([(vm("web"), "")])
        inventory.give(web, inventory.hosts[0])
        inventory.set_state(web, VmState.RUNNING)
        slow = SlowHost()
        work: list[Awaitable[None]] = []
        configuration = Configuration(
            store=store,
            inventory=inventory,
            tasks=tasks,
            events=events,
            migrations=Migrations(store, tasks, StoppedClock()),
            orders=slow,  # type: ignore[arg-type]
            spawn=lambda order: work.append(asyncio.ensure_future(order)),
        )
        task = configuration.set_cpu(web, 77, None, None, "r1")
        await slow.taken.wait()
        meanwhile(inventory, web)
        slow.failing.set_result(error)
        await asyncio.gather(*work)
        return web, task

    return asyncio.run(run())


GONE = NotFound("host cna-01 has no VM i-00000001; start it there first")
SILENT = Unanswered("host cna-01 does not answer orders")


def stops(inventory: Inventory, web: Vm) -> None:
    inventory.set_state(web, VmState.STOPPED)


def starts_on(number: int) -> Callable[[Inventory, Vm], None]:
    def starts(inventory: Inventory, web: Vm) -> None:
        inventory.set_state(web, VmState.STOPPED)
        inventory.give(web, inventory.hosts[number])
        inventory.set_state(web, VmState.STARTING)

    return starts


@pytest.mark.parametrize("error", [GONE, SILENT])
@pytest.mark.parametrize("meanwhile", [stops, starts_on(0), starts_on(1)])
def test_a_vm_that_stopped_meanwhile_starts_with_the_new_settings(
    tmp_path: Path, error: FusionError, meanwhile: Callable[[Inventory, Vm], None]
) -> None:
    web, task = configured(tmp_path, error, meanwhile)
    assert web.spec.cpu.shares == 77
    assert not web.cpu_unsure
    assert task.status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize(("error", "unsure"), [(GONE, False), (SILENT, True)])
def test_a_vm_that_is_still_there_keeps_its_settings(
    tmp_path: Path, error: FusionError, unsure: bool
) -> None:
    web, task = configured(tmp_path, error, lambda *_: None)
    assert web.spec.cpu == vm("web").cpu
    assert web.cpu_unsure is unsure
    assert (task.status, task.reason) == (TaskStatus.FAILED, str(error))

"""VRM, source and destination die at many instants of a migration: one good VM is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.migration.settings import MigrationSettings
from fusion.spec import ClusterSpec, Datacenter, Placement
from fusion.vm import vm_number
from tests.cluster.ha_world import copies, disk_vm, ended, in_a_datacenter, place, stored
from tests.cluster.test_vrm_recovery import Reaper, all_ended, reaped
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import RUNNING, World, launched

#: Parts of a migration of some 1.1 s, of which the last 0.1 s are the hand-over.
INSTANTS_S = (0.001, 0.3, 0.9, 0.99, 1.0, 1.0005, 1.001, 1.002, 1.05, 1.1, 1.1015, 1.102, 1.2)

FACTS = stored([disk_vm("web")], hosts=3)


async def tenaciously(give: Callable[[], Awaitable[vrm_pb2.Task]]) -> vrm_pb2.Task:
    """Give an order until somebody takes it, as a client does."""
    while True:
        try:
            return await give()
        except grpc.aio.AioRpcError as failure:
            # A VRM that has just come back has yet to hear of its hosts.
            assert failure.code() in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.FAILED_PRECONDITION,
            ), failure
            await asyncio.sleep(0.2)


async def migrate(world: World) -> vrm_pb2.Task:
    """Have the VM moved to cna-02."""
    order = vrm_pb2.MigrateVmOrder(request_id="r", vm="web", host="cna-02")
    return await tenaciously(lambda: world.stub.MigrateVm(order, timeout=5.0))


async def empty(world: World) -> vrm_pb2.Task:
    """Have cna-01 emptied for maintenance."""
    order = vrm_pb2.MaintenanceOrder(request_id="r", host="cna-01", vms=vrm_pb2.VMS_OF_HOST_MIGRATE)
    return await tenaciously(lambda: world.stub.EnterMaintenance(order, timeout=5.0))


async def one_good_vm(world: World, name: str = "web") -> vrm_pb2.Vm:
    """Wait until the VM runs, on one host alone, as the VRM has it; return it."""

    async def met() -> bool:
        try:
            vm = (await world.vms())[name]
        except grpc.aio.AioRpcError:
            return False
        return vm.state == RUNNING and copies(world, vm_number(vm.id)) == {vm.host: vm.epoch}

    await until(met, "one good VM")
    return (await world.vms())[name]


def order_and_kill(
    facts: Datacenter,
    order: Callable[[World], Awaitable[vrm_pb2.Task]],
    check: Callable[[World, vrm_pb2.Task], Awaitable[None]],
    after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> bool:
    """Give ``order``, the VRM dying after so many commits; return whether there were so many."""

    async def carried_out(world: World) -> vrm_pb2.Task:
        task = await order(world)
        await all_ended(world)
        (ended_task,) = [each for each in await world.tasks() if each.id == task.id]
        return ended_task

    async def scenario(reaper: Reaper) -> bool:
        async with launched(facts) as world:
            await world.launched()
            for planned in facts.vms:
                await world.state_is(planned.spec.name, RUNNING)
            reaper.world = world
            given = asyncio.create_task(carried_out(world))
            died = asyncio.create_task(reaper.revive())
            await asyncio.wait([given, died], return_when=asyncio.FIRST_COMPLETED)
            if reaper.left > 0:
                died.cancel()
                return False
            await died
            task = await given
            for planned in facts.vms:
                await one_good_vm(world, planned.spec.name)
            await check(world, task)
            assert await world.failovers() == []
            return True

    with reaped(after, monkeypatch) as reaper:
        return in_virtual_time(scenario(reaper))


def test_a_vrm_killed_at_any_commit_leaves_one_good_vm_and_a_task_that_says_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def check(world: World, task: vrm_pb2.Task) -> None:
        moved = task.status == vrm_pb2.TASK_STATUS_SUCCEEDED
        assert await place(world, "web") == ("cna-02" if moved else "cna-01")
        assert moved or task.reason

    after = 1
    while order_and_kill(FACTS, migrate, check, after, monkeypatch):
        after += 1
    assert after > 3  # it is queued, begins, and ends


def test_a_vrm_killed_at_any_commit_goes_on_emptying_a_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = ClusterSpec(
        "production", placement=Placement.PACK, migration=MigrationSettings(per_host=1)
    )
    vms = [disk_vm(f"vm-{number}", gib=1, vcpus=1) for number in range(2)]
    facts = stored(vms, hosts=2, cluster=cluster)

    async def check(world: World, task: vrm_pb2.Task) -> None:
        assert (task.status, task.reason) == (vrm_pb2.TASK_STATUS_SUCCEEDED, "")
        await world.host_is("cna-01", common_pb2.HOST_STATE_MAINTENANCE)
        assert (await world.hosts())["cna-01"].vms == 0

    after = 1
    while order_and_kill(facts, empty, check, after, monkeypatch):
        after += 1
    assert after > 3 * len(vms)


@pytest.mark.parametrize("victim", ["cna-01", "cna-02"])
@pytest.mark.parametrize("instant_s", INSTANTS_S)
def test_a_host_killed_at_any_instant_leaves_one_good_vm(victim: str, instant_s: float) -> None:
    async def scenario(world: World) -> None:
        assert await place(world, "web") == "cna-01"
        task = await migrate(world)
        await asyncio.sleep(instant_s)
        world.agents.pop(victim).kill()
        told = await world.end(task)
        moved = told.status == vrm_pb2.TASK_STATUS_SUCCEEDED
        if moved == (victim == "cna-02"):
            (failover,) = await ended(world)
            assert failover.from_host == victim
        web = await one_good_vm(world)
        assert web.host != victim
        assert moved or told.reason

    in_a_datacenter(FACTS, scenario)

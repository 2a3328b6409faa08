"""What an operator cancels of a host that is emptied, or filled again, and what is left then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
import pytest

from cluster.rpc.v1 import agent_pb2, common_pb2, vrm_pb2
from tests.cluster.ha_world import place
from tests.cluster.migration_conductor import conducted, maintain
from tests.cluster.virtual_time import until
from tests.cluster.vrm_migration_world import (
    CANCELLED,
    FAILED,
    SUCCEEDED,
    Stage,
    packed,
    small,
    staged,
)
from tests.cluster.world import NORMAL

MAINTENANCE = common_pb2.HOST_STATE_MAINTENANCE
VMS = [f"vm-{number}" for number in range(5)]


async def cancel(stage: Stage, task: vrm_pb2.Task) -> None:
    await stage.world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task.id))


async def ordered(stage: Stage, count: int) -> None:
    """Wait until cna-01 has been ordered ``count`` migrations."""
    await until(lambda: len(stage["cna-01"].of(agent_pb2.MigrateVmRequest)) >= count)


async def places(stage: Stage) -> list[str]:
    return [await place(stage.world, name) for name in VMS]


async def switch_off(stage: Stage) -> vrm_pb2.Task:
    return await stage.world.stub.PowerHost(
        vrm_pb2.PowerHostOrder(
            host="cna-01", action=vrm_pb2.POWER_ACTION_OFF, vms=vrm_pb2.VMS_OF_HOST_MIGRATE
        )
    )


@pytest.mark.parametrize("order", [maintain, switch_off])
def test_what_waits_and_what_is_under_way_stays_and_the_host_is_in_use(
    order: Callable[[Stage], Awaitable[vrm_pb2.Task]],
) -> None:
    async def scenario(stage: Stage) -> None:
        _, part = await conducted(stage, each_s=20.0)
        task = await order(stage)
        await ordered(stage, 3)  # two have moved
        await cancel(stage, task)
        ended = await stage.world.end(task)
        assert ended.status == CANCELLED
        assert ended.reason == (
            "cancelled by the operator: host cna-01 is in use; 2 of its VMs had left by then, 3 "
            "are on it; gone: vm-0 (to cna-02), vm-1 (to cna-02)"
        )
        assert await places(stage) == ["cna-02"] * 2 + ["cna-01"] * 3
        assert (await stage.world.hosts())["cna-01"].state == NORMAL
        outcomes = [record.outcome for record in await stage.records()]
        assert outcomes == ["moved"] * 2 + ["cancelled"] * 3
        back = await stage.migrate("vm-0", to="cna-01")
        assert (await stage.world.end(back)).status == SUCCEEDED
        part.cancel()

    staged(scenario, vms=small(5), cluster=packed(per_host=2))


@pytest.mark.parametrize("killed_first", [True, False])
def test_a_vrm_killed_meanwhile_changes_nothing_of_that(*, killed_first: bool) -> None:
    async def scenario(stage: Stage) -> None:
        task = await maintain(stage)
        await ordered(stage, 2)
        if not killed_first:  # its sources have yet to be told when it dies
            stage["cna-01"].puppet.answering.clear()
            await cancel(stage, task)
        stage.world.vrm.kill()
        await stage.world.vrm_on()
        stage["cna-01"].puppet.answering.set()
        if killed_first:
            await cancel(stage, task)
        _, part = await conducted(stage, each_s=1000.0)
        ended = await stage.world.end(task)
        assert (ended.status, await places(stage)) == (CANCELLED, ["cna-01"] * 5)
        assert "none of its VMs had left, 5 are on it" in ended.reason
        assert (await stage.world.hosts())["cna-01"].state == NORMAL
        part.cancel()

    staged(scenario, vms=small(5), cluster=packed(per_host=2))


def test_what_has_come_to_its_hand_over_moves_and_is_counted() -> None:
    async def scenario(stage: Stage) -> None:
        task = await maintain(stage)
        await ordered(stage, 1)
        stage["cna-01"].puppet.failure = grpc.StatusCode.FAILED_PRECONDITION
        await cancel(stage, task)
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be cancelled now"):
            await cancel(stage, task)  # once is enough
        await until(lambda: stage["cna-01"].of(agent_pb2.CancelMigrationRequest))
        stage["cna-01"].puppet.failure = None
        await stage.complete(await stage["cna-01"].order())
        ended = await stage.world.end(task)
        assert ended.status == CANCELLED
        assert "1 of its VMs had left by then" in ended.reason
        assert await places(stage) == ["cna-02"] + ["cna-01"] * 4

    staged(scenario, vms=small(5), cluster=packed(per_host=1))


def test_what_an_operator_ordered_by_himself_goes_on() -> None:
    async def scenario(stage: Stage) -> None:
        own = await stage.migrate("vm-4")
        await ordered(stage, 1)
        task = await maintain(stage)
        await ordered(stage, 2)
        _, part = await conducted(stage, each_s=20.0)
        await cancel(stage, task)
        assert (await stage.world.end(task)).status == CANCELLED
        assert (await stage.world.end(own)).status == SUCCEEDED
        assert await places(stage) == ["cna-01"] * 4 + ["cna-02"]
        part.cancel()

    staged(scenario, vms=small(5), cluster=packed(per_host=2))


def test_a_vm_whose_migration_alone_was_cancelled_is_not_sent_off_again() -> None:
    async def scenario(stage: Stage) -> None:
        conductor, part = await conducted(stage, each_s=5.0)
        task = await maintain(stage)
        await ordered(stage, 1)
        (first,) = [one for one in await stage.world.tasks() if one.entity_name == "vm-0"]
        await cancel(stage, first)
        ended = await stage.world.end(task)
        assert ended.status == FAILED
        assert "vm-0 (an operator cancelled its migration)" in ended.reason
        assert conductor.order.count(first.entity) == 1
        assert await places(stage) == ["cna-01"] + ["cna-02"] * 4
        part.cancel()

    staged(scenario, vms=small(5), cluster=packed(per_host=1))


def test_a_host_that_is_filled_again_keeps_what_has_come_by_then() -> None:
    async def scenario(stage: Stage) -> None:
        conductor, part = await conducted(stage, each_s=5.0)
        assert (await stage.world.end(await maintain(stage))).status == SUCCEEDED
        seen = len(conductor.order)
        back = await stage.world.stub.LeaveMaintenance(
            vrm_pb2.MaintenanceOrder(host="cna-01", bring_back=True)
        )
        await until(lambda: len(conductor.order) == seen + 2)
        await cancel(stage, back)
        ended = await stage.world.end(back)
        assert ended.status == CANCELLED
        assert "1 of the 5 VMs that had left are back" in ended.reason
        assert await places(stage) == ["cna-01"] + ["cna-02"] * 4
        assert (await stage.world.hosts())["cna-01"].state == NORMAL
        part.cancel()

    staged(scenario, vms=small(5), cluster=packed(per_host=1))


def test_a_host_whose_vms_are_shut_down_or_that_is_empty_is_past_that() -> None:
    async def scenario(stage: Stage) -> None:
        order = vrm_pb2.MaintenanceOrder(host="cna-01", vms=vrm_pb2.VMS_OF_HOST_SHUT_DOWN)
        task = await stage.world.stub.EnterMaintenance(order)
        with pytest.raises(grpc.aio.AioRpcError, match="under way and cannot be cancelled now"):
            await cancel(stage, task)

    staged(scenario, vms=small(1), cluster=packed())

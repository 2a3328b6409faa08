"""Only so many VMs migrate at once, and whole hosts are emptied through the same queue."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from cluster.rpc.v1 import agent_pb2, common_pb2, vrm_pb2
from fusion.spec import GIB, Vnic
from fusion.vm import VmState
from tests.cluster.ha_world import disk_vm, place
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
from tests.cluster.world import NORMAL, STOPPED

MAINTENANCE = common_pb2.HOST_STATE_MAINTENANCE
POWERED_OFF = common_pb2.HOST_STATE_POWERED_OFF


async def reasons(stage: Stage) -> dict[str, str]:
    return {task.entity_name: task.reason for task in await stage.world.tasks()}


def test_only_so_many_leave_a_host_at_once_and_the_others_say_what_they_wait_for() -> None:
    async def scenario(stage: Stage) -> None:
        tasks = [await stage.migrate(f"vm-{number}") for number in range(5)]
        await until(lambda: len(stage["cna-01"].of(agent_pb2.MigrateVmRequest)) == 2)

        async def told() -> bool:
            return (await reasons(stage))["vm-4"] == "waits for a slot of cna-01 (2 of 2)"

        await until(told)
        plan = await stage.world.stub.PlanMigration(vrm_pb2.MigrateVmOrder(vm="vm-4"))
        (failed,) = [check for check in plan.checks if not check.passed]  # a twin is refused
        assert failed.reason.startswith("VM vm-4 (i-00000005) waits to be migrated to cna-02")
        conductor, part = await conducted(stage)
        for task in tasks:
            assert (await stage.world.end(task)).status == SUCCEEDED
        assert conductor.most == 2
        assert conductor.order == [f"i-0000000{number}" for number in range(1, 6)]
        part.cancel()

    staged(scenario, vms=small(5), cluster=packed(per_host=2))


def test_what_waits_for_one_host_does_not_hold_up_others() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.migrate("vm-0")
        await stage.migrate("vm-1")
        await stage.migrate("apart", to="cna-04")
        assert (await stage["cna-03"].order()).destination == "cna-04"
        (order,) = stage["cna-01"].of(agent_pb2.MigrateVmRequest)
        assert order.vm == "i-00000001"

    apart = replace(disk_vm("apart", gib=1), vnics=(Vnic("dmz"),))
    staged(
        scenario,
        vms=[*small(2), apart],
        hosts=4,
        cluster=packed(per_host=1),
        change=lambda facts: replace(
            facts,
            hosts=tuple(
                replace(host, networks=("dmz",) if host.name > "cna-02" else ("lan",))
                for host in facts.hosts
            ),
        ),
    )


def test_a_cluster_may_have_a_limit_of_its_own() -> None:
    async def scenario(stage: Stage) -> None:
        tasks = [await stage.migrate(f"vm-{number}", to="") for number in range(4)]
        conductor, part = await conducted(stage)

        async def told() -> bool:
            said = (await reasons(stage))["vm-3"]
            return said == "waits for a slot of cluster production (1 of 1)"

        await until(told)
        for task in tasks:
            await stage.world.end(task)
        assert conductor.most == 1
        part.cancel()

    staged(scenario, vms=small(4), cluster=packed(per_cluster=1), hosts=3)


def test_one_that_waits_is_cancelled_at_once_and_never_begins() -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.migrate("vm-0")
        order = await stage["cna-01"].order()
        second = await stage.migrate("vm-1")
        await stage.world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=second.id))
        assert (await stage.world.end(second)).status == CANCELLED
        await stage.complete(order)
        await stage.world.end(first)
        outcomes = [record.outcome for record in await stage.records()]
        assert outcomes == ["moved", "cancelled"]
        again = await stage.migrate("vm-1")
        await until(lambda: len(stage["cna-01"].of(agent_pb2.MigrateVmRequest)) == 2)
        await stage.complete(await stage["cna-01"].order())
        assert (await stage.world.end(again)).status == SUCCEEDED

    staged(scenario, vms=small(2), cluster=packed(per_host=1))


@pytest.mark.parametrize("queued_first", [True, False])
def test_one_whose_vm_is_being_configured_waits_for_that(*, queued_first: bool) -> None:
    async def scenario(stage: Stage) -> None:
        puppet = stage["cna-01"].puppet
        await stage.migrate("vm-0")
        first = await stage["cna-01"].order()
        second = await stage.migrate("vm-1") if queued_first else None
        puppet.answering.clear()
        setting = await stage.world.stub.SetVmCpu(vrm_pb2.SetVmCpuOrder(vm="vm-1", shares=77))
        second = second or await stage.migrate("vm-1")
        await stage.complete(first)

        async def told() -> bool:
            said = {task.id: task.reason for task in await stage.world.tasks()}
            return said[second.id] == f"waits for task {setting.id} (vm.set-cpu)"

        await until(told)
        puppet.answering.set()
        assert (await stage.world.end(setting)).status == SUCCEEDED
        await until(lambda: len(stage["cna-01"].of(agent_pb2.MigrateVmRequest)) == 2)
        order = await stage["cna-01"].order()
        assert order.domain.spec.cpu.shares == 77
        await stage.complete(order)
        assert (await stage.world.end(second)).status == SUCCEEDED

    staged(scenario, vms=small(2), cluster=packed(per_host=1))


def test_one_whose_vm_was_stopped_while_it_waited_says_so() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.migrate("vm-0")
        order = await stage["cna-01"].order()
        second = await stage.migrate("vm-1")
        stage["cna-01"].puppet.state = VmState.STOPPED
        stop = await stage.world.stub.StopVm(vrm_pb2.VmOrder(vm="vm-1"))
        assert (await stage.world.end(stop)).status == SUCCEEDED
        await stage.complete(order)
        told = await stage.world.end(second)
        assert told.status == FAILED
        assert "not on cna-01 any more" in told.reason

    staged(scenario, vms=small(2), cluster=packed(per_host=1))


# Maintenance


def test_a_host_is_emptied_for_maintenance_and_filled_again() -> None:
    async def scenario(stage: Stage) -> None:
        conductor, part = await conducted(stage)
        task = await maintain(stage)
        assert (await stage.world.end(task)).status == SUCCEEDED
        assert conductor.most == 2
        host = (await stage.world.hosts())["cna-01"]
        assert (host.state, host.vms) == (MAINTENANCE, 0)
        assert {await place(stage.world, f"vm-{number}") for number in range(6)} == {"cna-02"}
        back = await stage.world.stub.LeaveMaintenance(
            vrm_pb2.MaintenanceOrder(host="cna-01", bring_back=True)
        )
        assert (await stage.world.end(back)).status == SUCCEEDED
        host = (await stage.world.hosts())["cna-01"]
        assert (host.state, host.vms) == (NORMAL, 6)
        assert (await stage.world.events())[-1].message == (
            "host cna-01 is in use again; 6 of the 6 VMs that had left are back"
        )
        part.cancel()

    staged(scenario, vms=small(6), cluster=packed(per_host=2))


def test_the_largest_leave_first() -> None:
    async def scenario(stage: Stage) -> None:
        conductor, part = await conducted(stage)
        await stage.world.end(await maintain(stage))
        assert conductor.order == ["i-00000002", "i-00000001", "i-00000003"]
        part.cancel()

    first, second, third = small(3)
    large = replace(second, memory_bytes=4 * second.memory_bytes)
    staged(scenario, vms=[first, large, third], cluster=packed(per_host=1))


def test_a_host_with_vms_that_cannot_leave_stays_in_use_and_nothing_moves() -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match=r"vm-1 .*pinned to cna-01"):
            await maintain(stage)
        assert not await stage.records()
        assert (await stage.world.hosts())["cna-01"].state == NORMAL

    first, second = small(2)
    staged(scenario, vms=[first, replace(second, pinned_to="cna-01")], cluster=packed())


def test_a_migration_that_fails_is_tried_again_for_the_sake_of_its_host() -> None:
    async def scenario(stage: Stage) -> None:
        conductor, part = await conducted(stage)
        conductor.fail["i-00000002"] = "the link broke"
        assert (await stage.world.end(await maintain(stage))).status == SUCCEEDED
        assert (await stage.world.hosts())["cna-01"].state == MAINTENANCE
        assert conductor.order.count("i-00000002") == 2
        part.cancel()

    staged(scenario, vms=small(3), cluster=packed())


def test_what_was_moved_on_purpose_since_does_not_come_back() -> None:
    async def scenario(stage: Stage) -> None:
        _, part = await conducted(stage)
        await stage.world.end(await maintain(stage))
        elsewhere = {"cna-02": "cna-03", "cna-03": "cna-02"}[await place(stage.world, "vm-0")]
        await stage.world.end(await stage.migrate("vm-0", to=elsewhere))
        back = await stage.world.stub.LeaveMaintenance(
            vrm_pb2.MaintenanceOrder(host="cna-01", bring_back=True)
        )
        await stage.world.end(back)
        assert await place(stage.world, "vm-0") == elsewhere
        assert await place(stage.world, "vm-1") == "cna-01"
        part.cancel()

    staged(scenario, vms=small(2), hosts=3, cluster=packed())


def test_a_vrm_that_comes_back_goes_on_emptying_the_host() -> None:
    async def scenario(stage: Stage) -> None:
        task = await maintain(stage)
        await stage["cna-01"].order()
        stage.world.vrm.kill()
        await stage.world.vrm_on()
        _, part = await conducted(stage)
        assert (await stage.world.end(task)).status == SUCCEEDED
        host = (await stage.world.hosts())["cna-01"]
        assert (host.state, host.vms) == (MAINTENANCE, 0)
        back = await stage.world.stub.LeaveMaintenance(
            vrm_pb2.MaintenanceOrder(host="cna-01", bring_back=True)
        )
        await stage.world.end(back)
        assert (await stage.world.hosts())["cna-01"].vms == 4
        part.cancel()

    staged(scenario, vms=small(4), cluster=packed(per_host=2))


def test_a_host_that_vms_are_on_their_way_to_is_not_switched_off() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate("vm-0")
        order = await stage["cna-01"].order()
        off = vrm_pb2.PowerHostOrder(host="cna-02", action=vrm_pb2.POWER_ACTION_OFF)
        with pytest.raises(grpc.aio.AioRpcError, match="on their way to host cna-02"):
            await stage.world.stub.PowerHost(off)
        await stage.complete(order)
        assert (await stage.world.end(task)).status == SUCCEEDED

    staged(scenario, vms=small(1), cluster=packed())


def test_a_vm_on_its_way_to_a_host_that_is_shut_down_arrives_and_is_shut_down() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.migrate("vm-0")
        order = await stage["cna-01"].order()
        stage["cna-02"].puppet.state = VmState.STOPPED
        off = await stage.world.stub.PowerHost(
            vrm_pb2.PowerHostOrder(
                host="cna-02",
                action=vrm_pb2.POWER_ACTION_OFF,
                vms=vrm_pb2.VMS_OF_HOST_SHUT_DOWN,
            )
        )
        await stage.complete(order)
        assert (await stage.world.end(off)).status == SUCCEEDED
        assert (await stage.vm("vm-0")).state == STOPPED

    staged(scenario, vms=small(1), cluster=packed())


@pytest.mark.parametrize("emptied", ["cna-01", "cna-02"])
def test_a_host_waits_for_what_was_leaving_it_before_and_for_what_was_coming(
    emptied: str,
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.migrate("vm-0", to="cna-02")
        await stage["cna-01"].order()
        task = await maintain(stage, emptied)
        _, part = await conducted(stage, each_s=30.0)
        assert (await stage.world.end(task)).status == SUCCEEDED
        host = (await stage.world.hosts())[emptied]
        assert (host.state, host.vms) == (MAINTENANCE, 0)
        part.cancel()

    staged(scenario, vms=small(1), hosts=3, cluster=packed())


def test_a_host_is_switched_off_once_its_vms_have_left() -> None:
    async def scenario(stage: Stage) -> None:
        _, part = await conducted(stage)
        off = vrm_pb2.PowerHostOrder(
            host="cna-01", action=vrm_pb2.POWER_ACTION_OFF, vms=vrm_pb2.VMS_OF_HOST_MIGRATE
        )
        assert (await stage.world.end(await stage.world.stub.PowerHost(off))).status == SUCCEEDED
        assert (await stage.world.hosts())["cna-01"].state == POWERED_OFF
        assert {await place(stage.world, f"vm-{number}") for number in range(3)} == {"cna-02"}
        assert not await stage.world.failovers()
        part.cancel()

    staged(scenario, vms=small(3), cluster=packed())


def test_of_sixty_four_never_more_than_eight_leave_at_once() -> None:
    async def scenario(stage: Stage) -> None:
        conductor, part = await conducted(stage)
        assert (await stage.world.end(await maintain(stage))).status == SUCCEEDED
        assert (conductor.most, len(conductor.order)) == (8, 64)
        host = (await stage.world.hosts())["cna-01"]
        assert (host.state, host.vms) == (MAINTENANCE, 0)
        part.cancel()

    tiny = [replace(vm, memory_bytes=GIB // 8, vcpu_mhz=10.0) for vm in small(64)]
    staged(scenario, vms=tiny, hosts=3, cluster=packed())

"""Live migrations at the VRM: what is ordered, and what follows from the outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest

from cluster.rpc.v1 import agent_pb2, vrm_pb2
from fusion.spec import Datacenter
from tests.cluster.ha_world import disk_vm
from tests.cluster.virtual_time import until
from tests.cluster.vrm_migration_world import (
    CANCELLED,
    FAILED,
    HAND_OVER,
    MIGRATING,
    MOVED,
    PRE_COPY,
    STAYED,
    SUCCEEDED,
    Stage,
    staged,
)
from tests.cluster.world import NORMAL, RUNNING

NOISE = ("vm.elsewhere", "vm.void", "vm.stray", "vm.halted", "vm.found", "vm.failover.placed")


async def quiet(stage: Stage) -> None:
    """Nothing was taken for a VM that is twice or not at all."""
    kinds = await stage.world.kinds()
    assert not [kind for kind in kinds if kind in NOISE]
    assert not await stage.world.failovers()


def test_a_vm_moves_with_all_that_is_known_of_it() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source, destination = stage["cna-01"], stage["cna-02"]
        order = await source.order()
        assert (order.vm, order.destination) == ("i-00000001", "cna-02")
        assert (order.epoch_there, order.epoch_back, order.domain.epoch) == (2, 3, 1)
        source.says(order.migration, phase=PRE_COPY, round=1, elapsed_s=3.0, left_s=9.0)
        await stage.world.state_is("web", MIGRATING)
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-01", 1)
        await stage.complete(order)
        assert (await stage.world.end(task)).status == SUCCEEDED
        vm = await stage.vm()
        assert (vm.host, vm.epoch, vm.state) == ("cna-02", 2, RUNNING)
        record = await stage.record()
        assert (record.outcome, record.source, record.destination) == ("moved", "cna-01", "cna-02")
        assert record.progress.round == 4 and record.forecast.duration_s > 0
        await until(lambda: source.of(agent_pb2.DiscardVmsRequest))
        hosts = await stage.world.hosts()
        assert (hosts["cna-01"].vms, hosts["cna-02"].vms) == (0, 1)
        await quiet(stage)
        assert destination.vms

    staged(scenario)


def test_the_task_shows_live_figures_and_how_far_it_is() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        source.says(
            order.migration, phase=PRE_COPY, round=2, elapsed_s=3.0, left_s=9.0, rate_bytes_s=5e6
        )

        async def shown() -> bool:
            (seen,) = [each for each in await stage.world.tasks() if each.id == task.id]
            return seen.progress_percent == 25 and seen.cancellable

        await until(shown)
        (seen,) = [each for each in await stage.world.tasks() if each.id == task.id]
        assert (seen.migration.round, seen.migration.rate_bytes_s) == (2, 5e6)
        await stage.complete(order)
        await stage.world.end(task)

    staged(scenario)


@pytest.mark.parametrize(("epoch", "reason"), [(1, "the link broke"), (3, "taken back")])
def test_a_vm_that_stayed_is_as_it_was_at_its_old_epoch_or_that_of_its_return(
    epoch: int, reason: str
) -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        if epoch == 3:
            assert await source.hand_over(1, 1, 3)
        await source.take(1, epoch)
        source.says(order.migration, phase=STAYED, epoch=epoch, reason=reason)
        ended = await stage.world.end(task)
        assert (ended.status, ended.reason) == (FAILED, reason)
        await stage.world.state_is("web", RUNNING)
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-01", epoch)
        assert (await stage.record()).outcome == f"stayed: {reason}"
        again = await stage.migrate()
        await until(lambda: len(source.of(agent_pb2.MigrateVmRequest)) == 2)
        order = await source.order()
        assert (order.epoch_there, order.epoch_back) == (4, 5)  # above all that were promised
        await stage.complete(order)
        assert (await stage.world.end(again)).status == SUCCEEDED
        await quiet(stage)

    staged(scenario)


def test_what_the_destination_said_before_it_had_the_vm_is_not_news() -> None:
    async def scenario(stage: Stage) -> None:
        source, destination = stage["cna-01"], stage["cna-02"]
        destination.speaking = False
        old = destination.puppet.next_sequence()
        task = await stage.migrate()
        await stage.complete(await source.order())
        await stage.world.end(task)
        await until(lambda: destination.of(agent_pb2.DiscardVmsRequest))
        await until(lambda: source.of(agent_pb2.DiscardVmsRequest))
        await destination.puppet.report({}, sequence=old)
        vm = await stage.vm()
        assert (vm.host, vm.state) == ("cna-02", RUNNING)
        destination.speaking = True
        await quiet(stage)

    staged(scenario)


def test_the_destination_keeps_room_for_the_vm_until_the_outcome() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        start = vrm_pb2.VmOrder(vm="large")
        late = await stage.world.end(await stage.world.stub.StartVm(start))
        assert late.status == FAILED and "memory" in late.reason
        stage["cna-01"].says(order.migration, phase=STAYED, epoch=1, reason="no")
        await stage.world.end(task)
        await stage.world.state_is("web", RUNNING)
        await stage.world.stub.StartVm(start)
        await stage.world.state_is("large", RUNNING)

    web, large = disk_vm("web"), disk_vm("large", gib=15)
    staged(scenario, vms=[web, large], change=_only_first_starts)


def _only_first_starts(facts: Datacenter) -> Datacenter:
    first, *others = facts.vms
    return replace(facts, vms=(first, *(replace(each, start=False) for each in others)))


def test_a_migration_under_way_is_cancelled_by_its_source() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        await stage.world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task.id))
        (cancel,) = source.of(agent_pb2.CancelMigrationRequest)
        assert cancel.migration == order.migration
        source.says(order.migration, phase=STAYED, epoch=1, reason="cancelled")
        assert (await stage.world.end(task)).status == CANCELLED
        assert (await stage.record()).outcome == "cancelled"
        assert (await stage.vm()).host == "cna-01"

    staged(scenario)


def test_at_the_hand_over_it_is_too_late_to_cancel() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        source.says(order.migration, phase=HAND_OVER, round=5)

        async def locked() -> bool:
            (seen,) = [each for each in await stage.world.tasks() if each.id == task.id]
            return not seen.cancellable

        await until(locked)
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be cancelled now"):
            await stage.world.stub.CancelTask(vrm_pb2.CancelTaskRequest(id=task.id))
        await stage.complete(order)
        assert (await stage.world.end(task)).status == SUCCEEDED

    staged(scenario)


def test_nothing_else_is_ordered_of_a_vm_that_migrates() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        stub = stage.world.stub
        for refused in (stub.StopVm, stub.PauseVm, stub.RebootVm, stub.DeleteVm):
            with pytest.raises(grpc.aio.AioRpcError, match=f"task {task.id}"):
                await refused(vrm_pb2.VmOrder(vm="web"))
        with pytest.raises(grpc.aio.AioRpcError, match=task.id):
            await stub.SetVmCpu(vrm_pb2.SetVmCpuOrder(vm="web", shares=7))
        with pytest.raises(grpc.aio.AioRpcError, match="is migrating to cna-02"):
            await stage.migrate()
        await stage.complete(order)
        await stage.world.end(task)
        await stub.PauseVm(vrm_pb2.VmOrder(vm="web"))

    staged(scenario)


def test_a_repeated_order_finds_its_task() -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.migrate(request_id="r-1")
        again = await stage.migrate(request_id="r-1")
        assert first.id == again.id
        await stage.complete(await stage["cna-01"].order())
        await stage.world.end(first)
        assert len(await stage.records()) == 1

    staged(scenario)


@pytest.mark.parametrize(
    ("to", "settings", "reason"),
    [
        ("cna-01", {}, "is on cna-01 already"),
        ("cna-09", {}, "no host 'cna-09'"),
        ("cna-02", {"downtime_s": 0.0}, "downtime"),
        ("cna-02", {"compression_threads": 0}, "threads"),
        ("cna-02", {"compression": 17}, "no choice 17; there are: none, lz4, zstd"),
        ("cna-02", {"per_host": 3}, "setting of clusters"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    to: str, settings: dict[str, Any], reason: str
) -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match=reason):
            await stage.migrate(to=to, **settings)
        assert not await stage.records()
        assert not [each for each in await stage.world.tasks() if each.kind == "vm.migrate"]

    staged(scenario)


def test_a_plan_shows_checks_and_forecast_and_moves_nothing() -> None:
    async def scenario(stage: Stage) -> None:
        plan = await stage.world.stub.PlanMigration(vrm_pb2.MigrateVmOrder(vm="web"))
        assert (plan.source, plan.destination) == ("cna-01", "cna-02")
        assert all(check.passed for check in plan.checks)
        assert plan.forecast.duration_s > 0
        assert plan.settings.downtime_s == 0.3
        itself = await stage.world.stub.PlanMigration(
            vrm_pb2.MigrateVmOrder(vm="web", host="cna-01")
        )
        assert [check.name for check in itself.checks if not check.passed] == ["destination"]
        assert not await stage.records()
        assert not stage["cna-01"].of(agent_pb2.MigrateVmRequest)

    staged(scenario)


def test_the_source_refuses_and_the_vm_stays() -> None:
    async def scenario(stage: Stage) -> None:
        stage["cna-01"].puppet.failure = grpc.StatusCode.FAILED_PRECONDITION
        ended = await stage.world.end(await stage.migrate())
        assert (ended.status, ended.reason) == (FAILED, "as the test wants it")
        stage["cna-01"].puppet.failure = None
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-01", 1)

    staged(scenario)


def test_a_destination_is_found_where_none_is_named() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate(to="")
        order = await stage["cna-01"].order()
        assert order.destination == "cna-02"
        await stage.complete(order)
        assert (await stage.world.end(task)).status == SUCCEEDED
        assert (await stage.record()).progress.phase == MOVED

    staged(scenario)


def test_memory_is_promised_at_both_hosts_until_the_outcome_and_then_at_one() -> None:
    async def scenario(stage: Stage) -> None:
        memory_bytes = (await stage.vm()).spec.memory_bytes
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        assert stage.committed_bytes() == {"cna-01": memory_bytes, "cna-02": memory_bytes}
        stage.world.vrm.kill()
        await stage.world.vrm_on()
        assert stage.committed_bytes() == {"cna-01": memory_bytes, "cna-02": memory_bytes}
        await stage.complete(order)
        await stage.world.end(task)
        assert stage.committed_bytes() == {"cna-01": 0, "cna-02": memory_bytes}

    staged(scenario)


def test_epochs_that_were_promised_stay_so_over_a_restart_of_the_vrm() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        await source.take(1, 1)
        source.says(order.migration, phase=STAYED, epoch=1, reason="no")
        await stage.world.end(task)
        stage.world.vrm.kill()
        await stage.world.vrm_on()
        await stage.world.state_is("web", RUNNING)
        await stage.world.host_is("cna-02", NORMAL)
        await stage.migrate()
        await until(lambda: len(source.of(agent_pb2.MigrateVmRequest)) == 2)
        order = await source.order()
        assert (order.epoch_there, order.epoch_back) == (4, 5)

    staged(scenario)


def test_what_is_ordered_right_after_waits_until_the_host_was_heard() -> None:
    async def scenario(stage: Stage) -> None:
        source, destination = stage["cna-01"], stage["cna-02"]
        task = await stage.migrate()
        order = await source.order()
        destination.puppet.answering.clear()
        await stage.complete(order)
        await stage.world.end(task)
        back = await stage.migrate(to="cna-01")
        await stage.world.state_is("web", MIGRATING)
        await until(lambda: destination.of(agent_pb2.DiscardVmsRequest))
        assert not destination.of(agent_pb2.MigrateVmRequest)
        destination.puppet.answering.set()
        await stage.complete(await destination.order())
        assert (await stage.world.end(back)).status == SUCCEEDED
        assert (await stage.vm()).epoch == 4
        await quiet(stage)

    staged(scenario)

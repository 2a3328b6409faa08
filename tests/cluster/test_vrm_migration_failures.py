"""Whoever dies while a VM migrates: its array says who has it, and it is on exactly one host."""

from __future__ import annotations

import grpc
import pytest

from cluster.network import Plane
from cluster.rpc.v1 import agent_pb2, vrm_pb2
from fusion.vm import VmState
from tests.cluster.ha_world import FAULTY, ISOLATED, cut, ended, mend, now_s
from tests.cluster.virtual_time import until
from tests.cluster.vrm_migration_world import (
    FAILED,
    MIGRATING,
    MOVED,
    PRE_COPY,
    STAYED,
    SUCCEEDED,
    Stage,
    packed,
    small,
    staged,
)
from tests.cluster.world import DISCONNECTED, NORMAL, RUNNING, UNKNOWN


async def dies(stage: Stage, host: str) -> None:
    """``host`` is dead from now on, and nobody has told the VRM."""
    stage.parts[host].cancel()
    stage.world.agents[host].kill()


def test_a_source_that_dies_before_the_hand_over_is_failed_over() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        stage["cna-01"].says(order.migration, phase=PRE_COPY, round=1)
        await dies(stage, "cna-01")
        told = await stage.world.end(task)
        assert told.status == FAILED
        assert told.reason == "host cna-01 was lost before the hand-over"
        await ended(stage.world)
        vm = await stage.vm()
        assert (vm.host, vm.state) == ("cna-02", RUNNING)
        assert vm.epoch > order.epoch_back
        # What the destination was promised is worth nothing any more.
        assert not await stage["cna-02"].hand_over(1, 1, order.epoch_there)

    staged(scenario)


def test_a_source_that_dies_after_the_hand_over_has_moved_its_vm() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        assert await stage["cna-02"].hand_over(1, 1, order.epoch_there)
        await dies(stage, "cna-01")
        assert (await stage.world.end(task)).status == SUCCEEDED
        vm = await stage.vm()
        assert (vm.host, vm.state, vm.epoch) == ("cna-02", RUNNING, order.epoch_there)
        await stage.world.host_is("cna-01", FAULTY)
        assert not await stage.world.failovers()
        assert len(stage["cna-02"].of(agent_pb2.StartVmsRequest)) == 0

    staged(scenario)


def test_a_source_that_comes_on_anew_has_lost_the_vm_or_moved_it() -> None:
    for handed_over in (False, True):

        async def scenario(stage: Stage, handed_over: bool = handed_over) -> None:
            task = await stage.migrate()
            order = await stage["cna-01"].order()
            if handed_over:
                assert await stage["cna-02"].hand_over(1, 1, order.epoch_there)
            died_s = now_s(stage.world)
            await dies(stage, "cna-01")
            await stage.world.reset("cna-01")
            await stage.act("cna-01")
            told = await stage.world.end(task)
            assert told.status == (SUCCEEDED if handed_over else FAILED)
            if not handed_over:
                await ended(stage.world)
            vm = await stage.vm()
            assert vm.state == RUNNING
            assert vm.epoch == order.epoch_there if handed_over else vm.epoch > order.epoch_back
            failovers = await stage.world.failovers()
            assert len(failovers) == (0 if handed_over else 1)
            assert all(each.last_seen_s <= died_s for each in failovers)

        staged(scenario)


def test_a_destination_that_dies_with_the_vm_is_failed_over() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        assert await stage["cna-02"].hand_over(1, 1, order.epoch_there)
        await dies(stage, "cna-02")
        await stage.world.host_is("cna-02", FAULTY)
        source = stage["cna-01"]
        source.drop(1)
        source.says(order.migration, phase=MOVED, epoch=order.epoch_there)
        assert (await stage.world.end(task)).status == SUCCEEDED
        (failover,) = await ended(stage.world)
        assert (failover.from_host, failover.to_host) == ("cna-02", "cna-01")
        vm = await stage.vm()
        assert (vm.host, vm.state) == ("cna-01", RUNNING)
        assert vm.epoch > order.epoch_back

    staged(scenario)


def test_a_destination_that_dies_before_the_hand_over_costs_only_the_migration() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        await dies(stage, "cna-02")
        await stage.world.host_is("cna-02", FAULTY)
        await source.take(1, 1)
        source.says(order.migration, phase=STAYED, epoch=1, reason="cna-02 is gone")
        assert (await stage.world.end(task)).reason == "cna-02 is gone"
        await stage.world.state_is("web", RUNNING)
        assert (await stage.vm()).host == "cna-01"
        assert not await stage.world.failovers()

    staged(scenario)


def test_a_silent_source_may_finish_by_itself() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        source.puppet.progress.clear()
        source.puppet.progress[order.migration] = []
        cut(stage.world, "cna-01", Plane.MANAGEMENT, "vrm")
        await stage.world.host_is("cna-01", ISOLATED)
        await stage.world.state_is("web", UNKNOWN)
        assert await stage["cna-02"].hand_over(1, 1, order.epoch_there)
        source.drop(1)
        assert (await stage.world.end(task)).status == SUCCEEDED
        assert (await stage.vm()).host == "cna-02"
        assert (await stage.world.hosts())["cna-01"].state == ISOLATED
        assert not await stage.world.failovers()

    staged(scenario)


def test_a_source_that_was_silent_for_a_while_goes_on() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        cut(stage.world, "cna-01", Plane.MANAGEMENT, "vrm")
        await stage.world.host_is("cna-01", DISCONNECTED)
        mend(stage.world, "cna-01", Plane.MANAGEMENT, "vrm")
        await stage.world.host_is("cna-01", NORMAL)
        source.says(order.migration, phase=PRE_COPY, round=3)
        await stage.world.state_is("web", MIGRATING)
        await stage.complete(order)
        assert (await stage.world.end(task)).status == SUCCEEDED
        kinds = await stage.world.kinds()
        assert not [kind for kind in kinds if kind in ("vm.elsewhere", "vm.halted", "vm.void")]

    staged(scenario)


def test_what_the_source_knows_nothing_of_the_array_decides() -> None:
    for handed_over in (False, True):

        async def scenario(stage: Stage, handed_over: bool = handed_over) -> None:
            task = await stage.migrate()
            source = stage["cna-01"]
            order = await source.order()
            if handed_over:
                assert await stage["cna-02"].hand_over(1, 1, order.epoch_there)
                source.drop(1)
            else:
                await source.take(1, 1)
            cut(stage.world, "cna-01", Plane.MANAGEMENT, "vrm")
            del source.puppet.progress[order.migration]
            if not handed_over:
                await stage.world.host_is("cna-01", DISCONNECTED)
            mend(stage.world, "cna-01", Plane.MANAGEMENT, "vrm")
            told = await stage.world.end(task)
            assert told.status == (SUCCEEDED if handed_over else FAILED)
            await stage.world.state_is("web", RUNNING)
            assert (await stage.vm()).host == ("cna-02" if handed_over else "cna-01")
            assert not await stage.world.failovers()

        staged(scenario)


def test_a_vrm_that_comes_back_sees_a_migration_through() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        source = stage["cna-01"]
        order = await source.order()
        stage.world.vrm.kill()
        await stage.world.vrm_on()
        source.says(order.migration, phase=PRE_COPY, round=2, elapsed_s=1.0, left_s=1.0)
        await stage.world.state_is("web", MIGRATING)
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-01", 1)
        await stage.complete(order)
        assert (await stage.world.end(task)).status == SUCCEEDED
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-02", 2)
        kinds = await stage.world.kinds()
        assert not [kind for kind in kinds if kind in ("vm.elsewhere", "vm.halted", "vm.void")]
        assert not await stage.world.failovers()

    staged(scenario)


def test_a_vm_that_moved_while_the_vrm_was_away_is_where_it_went() -> None:
    async def scenario(stage: Stage) -> None:
        task = await stage.migrate()
        order = await stage["cna-01"].order()
        stage.world.vrm.kill()
        await stage.complete(order)
        await stage.world.vrm_on()
        assert (await stage.world.end(task)).status == SUCCEEDED
        await stage.world.state_is("web", RUNNING)
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-02", 2)
        kinds = await stage.world.kinds()
        assert not [kind for kind in kinds if kind in ("vm.elsewhere", "vm.halted", "vm.void")]
        assert not await stage.world.failovers()

    staged(scenario)


def test_migrations_that_wait_go_on_waiting_after_a_restart_of_the_vrm() -> None:
    async def scenario(stage: Stage) -> None:
        tasks = [await stage.migrate(name) for name in ("vm-0", "vm-1")]
        source = stage["cna-01"]
        first = await source.order()
        stage.world.vrm.kill()
        await stage.world.vrm_on()
        await stage.complete(first)
        assert (await stage.world.end(tasks[0])).status == SUCCEEDED
        await until(lambda: len(source.of(agent_pb2.MigrateVmRequest)) == 2)
        await stage.complete(await source.order())
        assert (await stage.world.end(tasks[1])).status == SUCCEEDED

    staged(scenario, vms=small(2), cluster=packed(per_host=1))


# A source that answers, and makes no sense


async def senseless(stage: Stage) -> tuple[vrm_pb2.Task, agent_pb2.MigrateVmRequest]:
    """Have a migration begin of which its source fails to say how it goes."""
    stage["cna-01"].puppet.dumb = grpc.StatusCode.UNKNOWN
    task = await stage.migrate()
    return task, await stage["cna-01"].order()


def called_off(stage: Stage, host: str) -> int:
    return len(stage[host].of(agent_pb2.CancelMigrationRequest))


@pytest.mark.parametrize("obeys", [True, False])
def test_what_a_source_never_tells_of_is_given_up_at_either_end(*, obeys: bool) -> None:
    async def scenario(stage: Stage) -> None:
        task, _ = await senseless(stage)
        if not obeys:
            stage["cna-01"].puppet.failure = grpc.StatusCode.UNKNOWN
        await until(lambda: called_off(stage, "cna-01"), "the source is to give it up")
        stage["cna-01"].vms[1] = VmState.RUNNING
        told = await stage.world.end(task)
        assert told.status == FAILED
        assert "cna-01 does not answer (unknown: " in told.reason
        assert called_off(stage, "cna-02") == (0 if obeys else 1)
        stage["cna-01"].puppet.failure = None
        await stage.world.state_is("web", RUNNING)
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-01", 1)
        assert stage.committed_bytes()["cna-02"] == 0

    staged(scenario)


def test_where_neither_end_can_give_it_up_the_array_is_asked_until_it_has_decided() -> None:
    async def scenario(stage: Stage) -> None:
        task, order = await senseless(stage)
        for host in ("cna-01", "cna-02"):
            stage[host].puppet.failure = grpc.StatusCode.FAILED_PRECONDITION
        await until(lambda: called_off(stage, "cna-02") > 1, "both are in the hand-over")
        for host in ("cna-01", "cna-02"):
            stage[host].puppet.failure = None
        assert await stage["cna-02"].hand_over(1, 1, order.epoch_there)
        stage["cna-01"].drop(1)
        assert (await stage.world.end(task)).status == SUCCEEDED
        vm = await stage.vm()
        assert (vm.host, vm.epoch) == ("cna-02", order.epoch_there)

    staged(scenario)

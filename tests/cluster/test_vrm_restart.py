"""What the VRM still knows after it was killed, and what its store refuses."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cluster.live.stores import LiveStores
from cluster.rpc.v1 import vrm_pb2
from cluster.simulated.loop import RunFailed
from cluster.simulated.stores import Disk
from cluster.vrm.store import SCHEMA, Store
from fusion.errors import FusionError
from fusion.spec import PlannedVm
from fusion.vm import VmState
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import (
    DISCONNECTED,
    RUNNING,
    STOPPED,
    UNKNOWN,
    datacenter,
    host,
    launched,
    vm,
)

SUCCEEDED = vrm_pb2.TASK_STATUS_SUCCEEDED


def test_a_killed_vrm_comes_back_to_the_same_datacenter() -> None:
    vms = [PlannedVm(vm(f"web-{n}"), "web", start=True) for n in range(4)]
    vms.append(PlannedVm(vm("spare"), "spare", start=False))

    async def scenario() -> None:
        facts = datacenter([host("cna-01"), host("cna-02")], vms)
        async with launched(facts) as world:
            await world.launched()
            limit = vrm_pb2.SetVmCpuOrder(vm="web-1", limit_mhz=400.0)
            await world.end(await world.stub.SetVmCpu(limit))
            before = await world.vms()
            events = await world.kinds()
            world.vrm.kill()
            await world.vrm_on()
            await world.launched()
            for n in range(4):
                await world.state_is(f"web-{n}", RUNNING)
            after = await world.vms()
            assert {
                name: (each.id, each.host, each.spec, each.group, each.state)
                for name, each in after.items()
            } == {
                name: (each.id, each.host, each.spec, each.group, each.state)
                for name, each in before.items()
            }
            status = await world.stub.GetStatus(vrm_pb2.GetStatusRequest())
            assert status.vrm_generation == 2
            assert all(each.incarnation == 1 for each in status.hosts)
            kinds = await world.kinds()
            assert kinds[: len(events)] == events
            assert kinds[len(events)] == "vrm.restarted"
            assert "vm.halted" not in kinds
            new = await world.stub.StartVm(vrm_pb2.VmOrder(vm="spare"))
            assert new.id not in [task.id for task in await world.tasks() if task.id != new.id]
            assert (await world.end(new)).status == vrm_pb2.TASK_STATUS_SUCCEEDED

    in_virtual_time(scenario())


def test_a_start_that_reached_its_host_has_succeeded_once_the_host_says_so() -> None:
    async def scenario() -> None:
        facts = datacenter([host("cna-01")], [PlannedVm(vm("web"), "web", start=False)])
        async with launched(facts, puppets=["cna-01"]) as world:
            puppet = await world.puppet("cna-01")
            await puppet.register()
            await world.state_is("web", STOPPED)
            puppet.answering.clear()
            task = await world.stub.StartVm(vrm_pb2.VmOrder(vm="web", request_id="r1"))
            await until(lambda: puppet.orders)
            world.vrm.kill()
            await world.vrm_on()
            assert (await world.vms())["web"].state == UNKNOWN
            assert (await world.hosts())["cna-01"].state == DISCONNECTED
            assert await puppet.report({1: VmState.RUNNING}) == ["cna-01"]
            assert (await world.vms())["web"].state == UNKNOWN
            await puppet.register({1: VmState.RUNNING})
            assert (await world.vms())["web"].state == RUNNING
            again = await world.stub.StartVm(vrm_pb2.VmOrder(vm="web", request_id="r1"))
            assert again.id == task.id
            await puppet.report({1: VmState.RUNNING})
            assert (await world.end(again)).status == SUCCEEDED

    in_virtual_time(scenario())


def test_a_start_that_never_reached_the_host_is_ordered_again() -> None:
    async def scenario() -> None:
        facts = datacenter([host("cna-01")], [PlannedVm(vm("web"), "web", start=False)])
        async with launched(facts, puppets=["cna-01"]) as world:
            puppet = await world.puppet("cna-01")
            await puppet.register()
            await world.state_is("web", STOPPED)
            puppet.answering.clear()
            task = await world.stub.StartVm(vrm_pb2.VmOrder(vm="web"))
            await until(lambda: puppet.orders)
            world.vrm.kill()
            await world.vrm_on()
            puppet.answering.set()
            await puppet.join({})
            await until(lambda: len(puppet.orders) == 2)
            first, again = puppet.orders
            assert again.domains[0].epoch > first.domains[0].epoch
            await puppet.report({1: VmState.RUNNING})
            assert (await world.end(task)).status == SUCCEEDED
            assert "vm.halted" not in await world.kinds()

    in_virtual_time(scenario())


def test_a_vrm_killed_in_mid_launch_finishes_it() -> None:
    async def scenario() -> None:
        facts = datacenter(
            [host("cna-01"), host("cna-02")], [PlannedVm(vm("web"), "web", start=True)]
        )
        async with launched(facts, frozen=["cna-02"]) as world:
            await until(lambda: "cna-01" in world.agents)
            world.vrm.kill()
            world.thawed.set()
            await world.vrm_on()
            await world.state_is("web", RUNNING)
            (task,) = await world.tasks()
            assert (await world.end(task)).status == SUCCEEDED
            assert len(await world.vms()) == 1

    in_virtual_time(scenario())


def refuse(_: BaseException) -> None:
    raise AssertionError("no write should have failed")


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    stores = LiveStores(tmp_path)
    Store.open(stores, refuse).close()
    file = sqlite3.connect(tmp_path / "vrm.sqlite")
    file.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    file.close()
    with pytest.raises(FusionError, match=f"has schema {SCHEMA + 1}, and this version knows"):
        Store.open(stores, refuse)


def test_a_damaged_store_is_refused_with_a_way_out() -> None:
    disk = Disk()
    disk.images["vrm"] = b"not a database, by any means " * 100

    async def scenario() -> None:
        async with launched(datacenter([host("cna-01")]), disk=disk):
            pass

    with pytest.raises(RunFailed, match="store is damaged") as crash:
        in_virtual_time(scenario())
    assert isinstance(crash.value.__cause__, FusionError)


def test_a_transaction_that_fails_leaves_nothing_and_is_reported(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    store = Store.open(LiveStores(tmp_path), failures.append)
    with pytest.raises(ZeroDivisionError), store.transaction():
        with store.transaction():
            store.raise_counter("vm")
        _ = 1 // 0
    assert len(failures) == 1
    assert store.raise_counter("vm") == 1
    with pytest.raises(sqlite3.Error):
        store.write("INSERT INTO nowhere VALUES (1)")
    assert len(failures) == 2


def test_a_vrm_whose_store_fails_crashes() -> None:
    async def scenario() -> None:
        async with launched(datacenter([host("cna-01")])) as world:
            await world.launched()
            world.vrm_store().execute("DROP TABLE events")
            await world.off("cna-01")
            await until(lambda: False, "the VRM's crash")

    with pytest.raises(RunFailed, match="vrm ended by itself") as crash:
        in_virtual_time(scenario())
    cause = crash.value.__cause__
    assert isinstance(cause, ExceptionGroup)  # of who was writing, and of the VRM that was told
    assert cause.split(sqlite3.OperationalError)[1] is None

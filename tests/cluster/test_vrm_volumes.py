"""Volumes: made before a VM is there, gone after it is, whatever becomes of arrays and the VRM."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import pytest

from cluster.rpc import convert
from cluster.rpc.v1 import vrm_pb2
from fusion.spec import GIB, ArraySpec, Datacenter, DatastoreSpec, VmSpec, VolumeSpec
from tests.cluster.ha_world import SAN_1, SAN_2, disk_vm, in_a_datacenter, stored
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import CREATING, RUNNING, World, launched

SUCCEEDED, FAILED = vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_FAILED

SMALL = ArraySpec("san-2", (DatastoreSpec("ds-2", 4 * GIB),))


def create(spec: VmSpec, *, start: bool = False) -> vrm_pb2.CreateVmRequest:
    return vrm_pb2.CreateVmRequest(spec=convert.vm_to_message(spec), start=start)


def with_volumes(name: str, *volumes: VolumeSpec) -> VmSpec:
    return replace(disk_vm(name), volumes=volumes)


def at_once(facts: Datacenter, scenario: Callable[[World], Awaitable[None]]) -> None:
    """Run ``scenario`` as soon as the hosts are there."""

    async def run() -> None:
        async with launched(facts) as world:
            await world.launched()
            await scenario(world)

    in_virtual_time(run())


async def volumes(world: World) -> dict[str, int]:
    """Return how many volumes each datastore has, -1 where its array does not answer."""
    answer = await world.stub.ListDatastores(vrm_pb2.ListDatastoresQuery())
    return {each.name: each.volumes if each.reachable else -1 for each in answer.datastores}


def test_vms_get_their_volumes_and_lose_them_when_they_are_deleted() -> None:
    async def scenario(world: World) -> None:
        assert await volumes(world) == {"ds-1": 2, "ds-2": 2}
        await world.end(await world.stub.StopVm(vrm_pb2.VmOrder(vm="web-0")))
        task = await world.stub.DeleteVm(vrm_pb2.VmOrder(vm="web-0"))
        assert task.status == SUCCEEDED
        assert "web-0" not in await world.vms()
        await until(lambda: _has(world, {"ds-1": 1, "ds-2": 1}))

    vms = [disk_vm(f"web-{n}", SAN_1, SAN_2) for n in range(2)]
    in_a_datacenter(stored(vms, arrays=[SAN_1, SAN_2]), scenario)


async def _has(world: World, wanted: dict[str, int]) -> bool:
    return await volumes(world) == wanted


def test_a_vm_that_gets_no_volume_leaves_nothing_behind() -> None:
    async def scenario(world: World) -> None:
        spec = with_volumes(
            "web",
            VolumeSpec("ds-1", "", GIB, thin=False),
            VolumeSpec("ds-2", "", 3 * GIB, thin=False),
        )
        first = await world.end(await world.stub.CreateVm(create(spec)))
        assert first.status == SUCCEEDED
        second = await world.end(await world.stub.CreateVm(create(replace(spec, name="late"))))
        assert second.status == FAILED
        assert "ds-2" in second.reason
        assert list(await world.vms()) == ["web"]
        await until(lambda: _has(world, {"ds-1": 1, "ds-2": 1}))

    at_once(stored([], arrays=[SAN_1, SMALL]), scenario)


def test_of_a_group_those_fail_that_get_no_volume() -> None:
    vms = [
        with_volumes(f"web-{n}", VolumeSpec("ds-2", "san-2", 3 * GIB, thin=False)) for n in range(2)
    ]

    async def scenario(world: World) -> None:
        (task,) = [each for each in await world.tasks() if each.kind == "vm.deploy"]
        assert task.status == FAILED
        assert task.reason.startswith("1 of 2 VMs did not start (web-1: ")
        assert {name: seen.state for name, seen in (await world.vms()).items()} == {
            "web-0": RUNNING
        }

    at_once(stored(vms, arrays=[SAN_1, SMALL]), scenario)


@pytest.mark.parametrize(
    ("volume", "sentence"),
    [
        (VolumeSpec("ds-9", "", GIB), "vm.volumes[0].datastore: there is no datastore 'ds-9'"),
        (VolumeSpec("ds-2", "", 0), "vm.volumes[0].size: a volume has at least a byte"),
        (VolumeSpec("ds-2", "", 5 * GIB, thin=False), "is more than datastore ds-2 has (4 GiB)"),
    ],
)
def test_volumes_that_cannot_be_are_refused_at_once(volume: VolumeSpec, sentence: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.stub.CreateVm(create(with_volumes("web", volume)))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert sentence in (refused.value.details() or "")
        assert not await world.vms()
        assert not await world.tasks()

    at_once(stored([], arrays=[SAN_1, SMALL]), scenario)


def test_a_vm_whose_array_never_answers_is_not_created() -> None:
    async def scenario(world: World) -> None:
        world.arrays["san-1"].kill()
        task = await world.stub.CreateVm(create(disk_vm("web"), start=True))
        assert await world.state("web") == CREATING
        with pytest.raises(grpc.aio.AioRpcError, match="wait until it settles"):
            await world.stub.StartVm(vrm_pb2.VmOrder(vm="web"))
        task = await world.end(task)
        assert task.status == FAILED
        assert "array san-1 does not answer" in task.reason
        assert not await world.vms()
        assert await volumes(world) == {"ds-1": -1}

    at_once(stored([]), scenario)


def test_volumes_are_deleted_when_their_array_is_back_whoever_died_meanwhile() -> None:
    async def scenario(world: World) -> None:
        await world.end(await world.stub.StopVm(vrm_pb2.VmOrder(vm="web")))
        world.arrays["san-1"].kill()
        await world.stub.DeleteVm(vrm_pb2.VmOrder(vm="web"))
        await asyncio.sleep(10.0)
        assert "volume.delete" in await world.kinds()
        world.vrm.kill()
        await world.vrm_on()
        await world.array_on()
        await until(lambda: _has(world, {"ds-1": 0}))
        world.vrm.kill()
        await world.vrm_on()
        assert not world.vrm_store().execute("SELECT * FROM doomed_volumes").fetchall()

    in_a_datacenter(stored([disk_vm("web")]), scenario)


def test_a_vrm_killed_while_volumes_are_made_finishes_them() -> None:
    async def scenario(world: World) -> None:
        world.arrays["san-1"].kill()
        task = await world.stub.CreateVm(create(disk_vm("web"), start=True))
        await asyncio.sleep(1.0)
        world.vrm.kill()
        await world.vrm_on()
        assert await world.state("web") == CREATING
        await world.array_on()
        assert (await world.end(task)).status == SUCCEEDED
        assert await world.state("web") == RUNNING
        assert await volumes(world) == {"ds-1": 1}

    at_once(stored([]), scenario)


def test_datastores_are_listed_by_name() -> None:
    async def scenario(world: World) -> None:
        answer = await world.stub.ListDatastores(vrm_pb2.ListDatastoresQuery(names=["ds-2"]))
        (datastore,) = answer.datastores
        assert (datastore.name, datastore.array, datastore.reachable) == ("ds-2", "san-2", True)
        assert datastore.provisioned_bytes == GIB
        with pytest.raises(grpc.aio.AioRpcError, match="there is no datastore 'ds-9'"):
            await world.stub.ListDatastores(vrm_pb2.ListDatastoresQuery(names=["ds-9"]))

    in_a_datacenter(stored([disk_vm("web", SAN_2)], arrays=[SAN_1, SAN_2]), scenario)

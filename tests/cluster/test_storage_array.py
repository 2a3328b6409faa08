"""A storage array over its protocol: volumes and data, and that both outlive a crash."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import pytest

from cluster.rpc.v1 import storage_pb2 as pb
from cluster.storage.service import BLOCKS_PER_READ
from fusion import seeds
from fusion.spec import GIB, DatastoreSpec
from tests.cluster.array_world import SAN_1, fails_with, running, slow, write_request
from tests.cluster.virtual_time import in_virtual_time

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND

KIB = 1024
SMALL = replace(SAN_1, datastores=(DatastoreSpec("ds-1", 10 * KIB),))


def test_what_was_acknowledged_outlives_the_array() -> None:
    async def scenario() -> None:
        async with running() as world:
            assert await world.create(1, GIB, 2 * GIB) == []
            assert await world.create(2, GIB, thin=False) == []
            await world.open({1: 3})
            await world.write(1, 3, (0, b"first"), (8192, b"third"))
            await world.write(1, 3, (4096, b"second"))
            before = world.facts.datastores()
            await world.restart()
            assert world.facts.datastores() == before
            assert world.facts.epoch(1) == 3
            assert list(world.facts.offsets(1, 0)) == [0, 4096, 8192]
            assert world.facts.has_block(1, 0, 4096)
            assert not world.facts.has_block(1, 1, 0)
            assert not world.facts.has_block(9, 0, 0)
            assert world.facts.data(1, 0, 8192) == b"third"
            assert world.facts.data(1, 0, 1) is None
            assert await world.read(1, 3) == {0: b"first", 4096: b"second", 8192: b"third"}
            assert await world.create(2, GIB, thin=False) == []  # there already

    in_virtual_time(scenario())


def test_datastores_are_listed_with_what_is_taken_of_them() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, 25 * GIB)
            await world.create(2, GIB, thin=False)
            await world.open({1: 1})
            await world.write(1, 1, (0, b"x"), (4096, b"y"))
            listed = await world.datastore()
            assert listed.capacity_bytes == 10 * GIB
            assert listed.allocated_bytes == GIB + 8192
            assert listed.provisioned_bytes == 26 * GIB
            assert listed.volumes == 2
            assert (await world.datastore("ds-2")).volumes == 0

    in_virtual_time(scenario())


def test_refused_volumes_leave_the_others_of_the_request_alone() -> None:
    async def scenario() -> None:
        async with running() as world:
            reply = await world.stub.CreateVolumes(
                pb.CreateVolumesRequest(
                    vm_number=[1, 2, 1, 3],
                    index=[0, 0, 1, 0],
                    datastore=["ds-1", "ds-1", "ds-9", "ds-2"],
                    size_bytes=[GIB, 11 * GIB, GIB, GIB],
                    thin=[True, False, True, False],
                )
            )
            refusals = {refusal.vm_number: refusal.reason for refusal in reply.refusals}
            assert refusals.keys() == {1, 2}
            assert refusals[1] == "array san-1 has no datastore 'ds-9'; it has ds-1, ds-2"
            assert "too little for thick volumes of 11 GiB" in refusals[2]
            assert [use.volumes for use in world.facts.datastores()] == [0, 1]
            await world.restart()
            assert [use.volumes for use in world.facts.datastores()] == [0, 1]

    in_virtual_time(scenario())


def test_deleted_volumes_are_gone_for_good_and_their_space_is_free() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            await world.create(2, GIB, thin=False)
            await world.open({1: 1, 2: 1})
            await world.write(1, 1, (0, b"x"))
            for _ in range(2):
                await world.stub.DeleteVolumes(pb.DeleteVolumesRequest(vm_number=[1, 2, 1, 99]))
            assert list((await world.renew({1: 1, 2: 1})).barred) == [1, 2]
            with fails_with(NOT_FOUND, "array san-1 has no volume 0 of VM i-00000001"):
                await world.write(1, 1, (0, b"x"))
            await world.restart()
            assert (await world.datastore()).allocated_bytes == 0
            assert (await world.datastore()).provisioned_bytes == 0
            assert world.facts.data(1, 0, 0) is None
            await world.create(1, GIB)
            assert await world.open({1: 2}) == []
            assert await world.read(1, 2) == {}

    in_virtual_time(scenario())


def test_a_full_datastore_writes_nothing_until_space_comes() -> None:
    async def scenario() -> None:
        async with running(SMALL) as world:
            await world.create(1, GIB)
            await world.create(2, GIB)
            await world.open({1: 1, 2: 1})
            await world.write(1, 1, (0, b"x"), (4096, b"y"))
            assert list((await world.renew({1: 1})).full) == []
            with fails_with(EXHAUSTED, "datastore ds-1 is full: 2 KiB of 10 KiB are free and 3"):
                await world.write(2, 1, (0, b"a"), (1536, b"b"), size_bytes=1536)
            assert list(world.facts.offsets(2, 0)) == []
            assert world.facts.data(2, 0, 0) is None
            assert list((await world.renew({2: 1})).full) == ["ds-1"]
            await world.write(1, 1, (0, b"z"))  # what takes no space can still be written
            await world.stub.DeleteVolumes(pb.DeleteVolumesRequest(vm_number=[1]))
            assert list((await world.renew({2: 1})).full) == []
            await world.write(2, 1, (0, b"a"), (1536, b"b"), size_bytes=1536)
            assert world.facts.data(2, 0, 1536) == b"b"

    in_virtual_time(scenario())


def test_what_can_never_be_written_is_refused_with_the_reason() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, 8192)
            await world.open({1: 1})
            with fails_with(INVALID, "a block of 4096 bytes at 4097 ends past them"):
                await world.write(1, 1, (0, b"x"), (4097, b"y"))
            with fails_with(INVALID, "the block at 0 has 5 bytes of data and takes only 4"):
                await world.write(1, 1, (0, b"12345"), size_bytes=4)
            assert list(world.facts.offsets(1, 0)) == []
            with fails_with(NOT_FOUND, "no volume 0 of VM i-00000002"):
                await world.write(2, 1, (0, b"x"))
            with fails_with(NOT_FOUND, "no volume 0 of VM i-00000002"):
                await world.read(2, 1)

    in_virtual_time(scenario())


@pytest.mark.parametrize("count", [0, 1, BLOCKS_PER_READ, 2 * BLOCKS_PER_READ + 1])
def test_a_volume_is_read_in_order_and_to_its_end(count: int) -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            await world.open({1: 1})
            written = {offset: b"%d" % offset for offset in range(0, 512 * count, 512)}
            await world.write(1, 1, *reversed(written.items()), size_bytes=512)
            read = await world.read(1, 1)
            assert list(read.items()) == list(written.items())
            assert await world.read(1, 1, from_offset=513) == {
                offset: data for offset, data in written.items() if offset > 512
            }
            assert await world.read(1, 1, from_offset=(1 << 64) - 1) == {}

    in_virtual_time(scenario())


def test_a_write_that_nobody_waits_for_any_more_is_still_written_once() -> None:
    async def scenario() -> None:
        async with running(slow(50.0)) as world:
            await world.create(1, GIB)
            await world.open({1: 1})
            begun_s = world.clock.now()
            with fails_with(grpc.StatusCode.DEADLINE_EXCEEDED):
                await world.stub.Write(write_request(1, 1, [(0, b"x")]), timeout=0.001)
            assert not world.facts.has_block(1, 0, 0)
            await world.write(1, 1, (0, b"x"))
            assert world.clock.now() > begun_s + 1.0
            assert (await world.datastore()).allocated_bytes == 4096

    in_virtual_time(scenario())


def test_a_write_has_happened_when_it_is_through_and_not_before() -> None:
    async def scenario() -> None:
        async with running(slow(10.0)) as world:
            write = await world.begin_write()
            assert not write.done()
            await world.restart()
            with fails_with(grpc.StatusCode.UNAVAILABLE):
                await write
            await world.clock.sleep(1000.0)
            assert await world.read(1, 1) == {}

    in_virtual_time(scenario())


def test_operations_of_one_vm_take_effect_in_the_order_in_which_they_came() -> None:
    async def scenario() -> None:
        async with running(replace(SAN_1, iops=1.0, service_s=10.0)) as world:
            await world.create(1, GIB)
            await world.open({1: 1})
            writes = [
                asyncio.ensure_future(world.write(1, 1, (0, b"%d" % number)))
                for number in range(20)
            ]
            found = asyncio.ensure_future(world.read(1, 1))
            for _ in range(200):
                await world.clock.sleep(1.0)
                done = [write.done() for write in writes]
                assert done == sorted(done, reverse=True)
            assert all(done)
            assert await found == {0: b"19"}

    in_virtual_time(scenario())


@pytest.mark.parametrize("seed", range(10))
def test_whenever_it_is_killed_nothing_acknowledged_is_lost(seed: int) -> None:
    async def scenario() -> None:
        chance = seeds.generator(seed, "kills")
        acknowledged: dict[tuple[int, int], bytes] = {}
        async with running(replace(SAN_1, iops=40.0, service_s=0.1)) as world:

            async def keep_writing(vm_number: int) -> None:
                for number in range(100):
                    offset, data = 4096 * (number % 60), b"%d" % number
                    acknowledged.pop((vm_number, offset), None)  # the old or the new one
                    try:
                        await world.write(vm_number, 1, (offset, data))
                    except grpc.aio.AioRpcError:
                        await world.clock.sleep(0.3)
                    else:
                        acknowledged[vm_number, offset] = data

            vms = range(1, 9)
            for vm_number in vms:
                await world.create(vm_number, GIB)
            await world.open(dict.fromkeys(vms, 1))
            writers = asyncio.gather(*(keep_writing(vm_number) for vm_number in vms))
            kills = 0
            while not writers.done():
                await world.clock.sleep(float(chance.exponential(2.0)))
                await world.restart()
                kills += 1
                for (vm_number, offset), data in acknowledged.items():
                    assert world.facts.data(vm_number, 0, offset) == data
            await writers
            assert kills > 3
            assert len(acknowledged) > 100
            blocks = sum(len(world.facts.offsets(vm_number, 0)) for vm_number in vms)
            assert (await world.datastore()).allocated_bytes == 4096 * blocks

    in_virtual_time(scenario())


def test_a_busy_array_is_slow_to_write_but_renews_at_once() -> None:
    async def scenario() -> None:
        async with running(slow(1.0)) as world:
            await world.create(1, GIB)
            await world.open({1: 1})
            writes = asyncio.gather(*(world.write(1, 1, (4096 * i, b"x")) for i in range(50)))
            await world.clock.sleep(0.001)
            asked_s = world.clock.now()
            await world.renew({1: 1}, "cna-01")
            await world.fence(1, 1)
            assert world.clock.now() == asked_s
            await writes
            assert world.clock.now() - asked_s == pytest.approx(50.0, rel=0.5)
            listed = await world.stub.ListDatastores(pb.ListDatastoresRequest())
            assert listed.writes_total == 50
            assert listed.mean_wait_s == pytest.approx(25.0, rel=0.5)
            assert listed.mean_service_s == pytest.approx(1.0, rel=0.5)
            assert listed.utilisation == pytest.approx(1.0, rel=0.05)

    in_virtual_time(scenario())


@pytest.mark.parametrize("thin", [True, False])
def test_a_group_of_ten_thousand_volumes_is_made_and_deleted_at_a_stroke(thin: bool) -> None:
    async def scenario() -> None:
        vms = range(1, 10_001)
        spec = replace(SAN_1, datastores=(DatastoreSpec("ds-1", len(vms) * GIB),))
        async with running(spec) as world:
            request = pb.CreateVolumesRequest(
                vm_number=vms,
                index=[0] * len(vms),
                datastore=["ds-1"] * len(vms),
                size_bytes=[GIB] * len(vms),
                thin=[thin] * len(vms),
            )
            assert not (await world.stub.CreateVolumes(request)).refusals
            assert await world.open(dict.fromkeys(vms, 1)) == []
            await world.restart()
            assert (await world.datastore()).volumes == len(vms)
            assert list((await world.renew(dict.fromkeys(vms, 1))).barred) == []
            await world.stub.DeleteVolumes(pb.DeleteVolumesRequest(vm_number=vms))
            assert (await world.datastore()).volumes == 0

    in_virtual_time(scenario())


def test_columns_of_different_lengths_are_refused() -> None:
    async def scenario() -> None:
        async with running() as world:
            said = "columns of the request are not of one length"
            with fails_with(INVALID, said):
                await world.stub.CreateVolumes(pb.CreateVolumesRequest(vm_number=[1], index=[0]))
            with fails_with(INVALID, said):
                await world.stub.Open(pb.OpenRequest(vm_number=[1], epoch=[1, 2]))
            with fails_with(INVALID, said):
                await world.stub.Renew(pb.RenewRequest(host=["cna-01"]))
            with fails_with(INVALID, said):
                await world.stub.Fence(pb.FenceRequest(vm_number=[1]))
            with fails_with(INVALID, "epoch: the first that a VM is given is 1"):
                await world.open({1: 1 << 63})
            with fails_with(INVALID, "epoch: the first that a VM is given is 1"):
                await world.open({1: 0})

    in_virtual_time(scenario())

"""The array decides which host has a VM that migrates: by its protocol, and across its crashes."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from cluster.network import Plane
from cluster.rpc.v1 import storage_pb2 as pb
from fusion.spec import GIB
from tests.cluster.array_world import LEASE_S, ArrayWorld, fails_with, running, slow
from tests.cluster.virtual_time import in_virtual_time, until

BARRED = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
HERE, THERE, BACK = 4, 5, 6  # the epochs of a migration


async def hand_over(
    world: ArrayWorld, to_epoch: int, *, from_epoch: int = HERE
) -> pb.HandOverReply:
    return await world.stub.HandOver(
        pb.HandOverRequest(
            host="cna-02", incarnation=1, vm_number=1, from_epoch=from_epoch, to_epoch=to_epoch
        )
    )


async def epochs(world: ArrayWorld, *vm_numbers: int) -> list[int]:
    return list((await world.stub.ReadEpochs(pb.ReadEpochsRequest(vm_number=vm_numbers))).epoch)


async def given(world: ArrayWorld) -> None:
    """VM 1 has a volume, and a host has it."""
    await world.create(1, GIB)
    assert await world.open({1: HERE}) == []
    await world.write(1, HERE, (0, b"old"))


def test_the_destination_has_all_that_the_source_had_and_the_source_nothing_any_more() -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            reply = await hand_over(world, THERE)
            assert (reply.granted, reply.epoch, reply.lease_s) == (True, THERE, LEASE_S)
            with fails_with(BARRED, "has epoch 5 here and 4 is barred"):
                await world.write(1, HERE, (4096, b"late"))
            assert list((await world.renew({1: HERE}, "cna-01")).barred) == [1]
            assert await world.read(1, THERE) == {0: b"old"}
            await world.write(1, THERE, (4096, b"new"))
            assert list((await world.renew({1: THERE}, "cna-02")).barred) == []
            assert await epochs(world, 1) == [THERE]

    in_virtual_time(scenario())


@pytest.mark.parametrize(("first", "second"), [(THERE, BACK), (BACK, THERE)])
def test_of_two_that_ask_at_once_exactly_one_has_the_vm(first: int, second: int) -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            won, lost = await asyncio.gather(hand_over(world, first), hand_over(world, second))
            assert (won.granted, won.epoch) == (True, first)
            assert (lost.granted, lost.epoch) == (False, first)
            again = await hand_over(world, second)
            assert (again.granted, again.epoch) == (False, first)
            with fails_with(BARRED):
                await world.write(1, second, (0, b"mine"))
            await world.write(1, first, (0, b"mine"))

    in_virtual_time(scenario())


def test_a_crash_between_commitment_and_answer_takes_nothing_back() -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            wires = world._fabric.wires
            wires.cut("san-1", "cna-01", Plane.STORAGE)  # no answer arrives
            asked = asyncio.ensure_future(hand_over(world, THERE))
            await until(lambda: world.facts.epoch(1) == THERE, "the commitment")
            asked.cancel()
            await world.restart()
            wires.mend("san-1", "cna-01", Plane.STORAGE)
            back = await hand_over(world, BACK)
            assert (back.granted, back.epoch) == (False, THERE)
            again = await hand_over(world, THERE)
            assert (again.granted, again.epoch) == (True, THERE)
            await world.write(1, THERE, (0, b"new"))

    in_virtual_time(scenario())


def test_a_crash_before_the_commitment_leaves_all_as_it_was() -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            world.process.kill()
            with fails_with(grpc.StatusCode.UNAVAILABLE):
                await hand_over(world, THERE)
            await world.start()
            assert await epochs(world, 1) == [HERE]
            assert (await hand_over(world, BACK)).granted

    in_virtual_time(scenario())


def test_what_is_fenced_is_not_handed_over() -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            await world.fence(1, 7)
            for to_epoch in (THERE, BACK):
                refused = await hand_over(world, to_epoch)
                assert (refused.granted, refused.epoch) == (False, 7)
            assert world.array._controller is not None
            assert world.array._controller.refused == 2

    in_virtual_time(scenario())


def test_a_fence_afterwards_waits_for_the_leases_of_both() -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            await world.clock.sleep(3.0)
            await hand_over(world, THERE)
            began_s = world.clock.now()
            await world.clock.sleep(2.0)
            assert await world.fence(1, 7) == pytest.approx(began_s + LEASE_S - world.clock.now())
            refused = await hand_over(world, THERE)
            assert (refused.granted, refused.epoch) == (False, 7)

    in_virtual_time(scenario())


def test_a_write_under_way_when_the_vm_is_handed_over_is_refused() -> None:
    async def scenario() -> None:
        async with running(slow(10.0)) as world:
            await world.create(1, GIB)
            await world.open({1: HERE})
            write = asyncio.ensure_future(world.write(1, HERE, (0, b"x")))
            await world.clock.sleep(0.001)
            assert (await hand_over(world, THERE)).granted, "no data is in its way"
            assert not write.done()
            with fails_with(BARRED, "4 is barred"):
                await write
            assert not world.facts.has_block(1, 0, 0)

    in_virtual_time(scenario())


def test_a_vm_without_volumes_is_given_to_nobody() -> None:
    async def scenario() -> None:
        async with running() as world:
            assert not (await hand_over(world, THERE)).granted
            await given(world)
            await world.stub.DeleteVolumes(pb.DeleteVolumesRequest(vm_number=[1]))
            refused = await hand_over(world, THERE)
            assert (refused.granted, refused.epoch) == (False, HERE)

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    ("from_epoch", "to_epoch", "said"),
    [
        (5, 5, "epochs only rise"),
        (5, 4, "epochs only rise"),
        (0, 1, "the first that a VM is given is 1"),
        (1, 1 << 63, "the last 2"),
    ],
)
def test_epochs_that_cannot_be_are_refused(from_epoch: int, to_epoch: int, said: str) -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            with fails_with(INVALID, said):
                await hand_over(world, to_epoch, from_epoch=from_epoch)
            assert await epochs(world, 1) == [HERE]

    in_virtual_time(scenario())


def test_epochs_are_read_as_they_are_after_a_restart_too() -> None:
    async def scenario() -> None:
        async with running() as world:
            await given(world)
            await hand_over(world, BACK)
            await world.fence(8, 3)
            for _ in range(2):
                assert await epochs(world, 8, 2, 1) == [3, 0, BACK]
                await world.restart()
            assert await epochs(world) == []

    in_virtual_time(scenario())

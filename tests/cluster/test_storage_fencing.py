"""The array as the arbiter: leases, fences and heartbeats over its protocol."""

from __future__ import annotations

import asyncio

import grpc

from cluster.rpc.v1 import storage_pb2 as pb
from fusion.spec import GIB
from tests.cluster.array_world import LEASE_S, ArrayWorld, fails_with, running, slow
from tests.cluster.virtual_time import in_virtual_time

BARRED = grpc.StatusCode.FAILED_PRECONDITION


async def heartbeats(world: ArrayWorld) -> dict[str, tuple[int, float, bool]]:
    """Return incarnation, age in seconds and isolation of every host that was heard of."""
    reply = await world.stub.ReadHeartbeats(pb.ReadHeartbeatsRequest())
    rows = zip(reply.host, reply.incarnation, reply.age_s, reply.isolated, strict=True)
    return {host: (incarnation, age_s, isolated) for host, incarnation, age_s, isolated in rows}


def test_a_lost_host_is_fenced_off_and_its_vm_taken_over() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            assert await world.open({1: 1}) == []
            await world.clock.sleep(3.0)
            assert (await world.renew({1: 1}, "cna-01")).lease_s == LEASE_S
            await world.write(1, 1, (0, b"old"))
            await world.clock.sleep(2.0)
            assert 6.9 < await world.fence(1, 2) <= 7.0
            assert list((await world.renew({1: 1}, "cna-01")).barred) == [1]
            with fails_with(BARRED, "i-00000001 has epoch 2 here and 1 is barred"):
                await world.write(1, 1, (0, b"late"))
            with fails_with(BARRED, "1 is barred"):
                await world.read(1, 1)
            with fails_with(BARRED, "epoch 2 here, not yet 3; open its volumes first"):
                await world.write(1, 3, (0, b"early"))
            await world.clock.sleep(7.0)
            assert await world.fence(1, 2) == 0.0
            assert await world.open({1: 3}) == []
            assert await world.open({1: 1}) == [1]
            assert await world.read(1, 3) == {0: b"old"}
            listed = await world.stub.ListDatastores(pb.ListDatastoresRequest())
            assert listed.refused_total == 5

    in_virtual_time(scenario())


def test_a_write_under_way_when_the_fence_comes_is_refused_when_it_is_applied() -> None:
    async def scenario() -> None:
        async with running(slow(10.0)) as world:
            write = await world.begin_write()
            await world.fence(1, 2)
            assert not write.done()
            with fails_with(BARRED, "1 is barred"):
                await write
            assert not world.facts.has_block(1, 0, 0)

    in_virtual_time(scenario())


def test_epochs_outlive_the_array_and_a_full_lease_may_be_left_then() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            await world.create(2, GIB)
            await world.open({1: 4, 2: 1})
            await world.fence(2, 6)
            await world.clock.sleep(100.0)
            await world.restart()
            await world.clock.sleep(2.0)
            assert await world.open({1: 3, 2: 5}) == [1, 2]
            assert await world.fence(1, 5) == await world.fence(2, 6) == LEASE_S - 2.0
            with fails_with(BARRED):
                await world.write(1, 4, (0, b"x"))

    in_virtual_time(scenario())


def test_renewals_heard_after_a_restart_do_not_shorten_what_was_granted_before() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            await world.open({1: 4})
            await world.restart()
            await world.clock.sleep(1.0)
            assert list((await world.renew({1: 4}, "cna-01")).barred) == []
            await world.clock.sleep(1.0)
            assert await world.fence(1, 5) == LEASE_S - 1.0

    in_virtual_time(scenario())


def test_volumes_may_be_fenced_before_they_are_made() -> None:
    async def scenario() -> None:
        async with running() as world:
            assert await world.fence(1, 5) == 0.0
            await world.restart()
            await world.create(1, GIB)
            assert await world.open({1: 4}) == [1]
            assert await world.open({1: 5}) == []

    in_virtual_time(scenario())


def test_an_array_that_hung_grants_from_the_instant_at_which_it_hears() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, GIB)
            await world.open({1: 1})
            world.process.hang()
            renewal = asyncio.ensure_future(world.renew({1: 1}, "cna-01"))
            await world.clock.sleep(10.0)
            world.process.wake()
            await renewal
            assert await world.fence(1, 2) == LEASE_S  # the holder counts from before it sent

    in_virtual_time(scenario())


def test_heartbeats_age_until_the_host_renews() -> None:
    async def scenario() -> None:
        async with running() as world:
            assert list((await world.renew({}, "cna-01", "cna-02")).host) == ["cna-01", "cna-02"]
            await world.clock.sleep(4.0)
            isolated = pb.RenewRequest(host=["cna-02"], incarnation=[2], isolated=[True])
            await world.stub.Renew(isolated)
            await world.clock.sleep(1.0)
            await world.renew({}, "cna-02")  # of its first life, late
            assert await heartbeats(world) == {"cna-01": (1, 5.0, False), "cna-02": (2, 1.0, True)}
            up_s = (await world.stub.ReadHeartbeats(pb.ReadHeartbeatsRequest())).up_s
            assert up_s == world.clock.now()

    in_virtual_time(scenario())


def test_an_array_that_came_up_says_since_when_and_has_heard_nobody() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.renew({}, "cna-01")
            await world.clock.sleep(50.0)
            await world.restart()
            await world.clock.sleep(2.0)
            assert await heartbeats(world) == {}
            assert (await world.stub.ReadHeartbeats(pb.ReadHeartbeatsRequest())).up_s == 2.0

    in_virtual_time(scenario())

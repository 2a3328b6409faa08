"""What a host announces that took a VM over: calls follow it before the VRM knows."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from cluster.rpc.v1 import service_pb2 as pb
from tests.cluster.gateway_world import INTERVAL_S, World, running
from tests.cluster.virtual_time import in_virtual_time, until

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def announce(world: World, host: str, epoch: int, number: int = 1) -> None:
    await world.stub.Announce(pb.AnnounceRequest(vm_number=number, host=host, epoch=epoch))


def take_over(world: World, host: str, epoch: int) -> None:
    """web-01 is on ``host``, and the VRM does not know."""
    for one in world.hosts.values():
        one.epochs.pop("i-00000001", None)
    world.hosts[host].epochs["i-00000001"] = epoch


def test_calls_follow_an_announcement_at_once_under_both_names() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.vrm.places["i-00000001"] = world.vrm.places["web-01"]
            for vm in ("web-01", "i-00000001"):
                await world.append(1, vm=vm)
            asked, began_s = len(world.vrm.asked), world.clock.now()
            take_over(world, "cna-02", epoch=2)
            await announce(world, "cna-02", epoch=2)
            for vm in ("web-01", "i-00000001"):
                assert await world.append(2, vm=vm) == 2
            assert (len(world.vrm.asked), world.clock.now()) == (asked, began_s)

    in_virtual_time(scenario())


def test_a_call_that_waits_at_the_old_host_is_made_at_the_new_one_at_once() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            world.hosts["cna-01"].answering.clear()
            waiting = asyncio.ensure_future(world.append(2, timeout=60.0))
            await until(lambda: len(world.hosts["cna-01"].asked) == 2)
            take_over(world, "cna-02", epoch=2)
            announced_s = world.clock.now()
            await announce(world, "cna-02", epoch=2)
            assert await waiting == 2
            assert world.clock.now() == announced_s

    in_virtual_time(scenario())


@pytest.mark.parametrize("under_way", [True, False], ids=["under way", "still to be put"])
def test_who_waits_for_the_vrm_hears_the_announcement(under_way: bool) -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            take_over(world, "cna-02", epoch=2)
            world.vrm.answering.clear()
            waiting = asyncio.ensure_future(world.append(2, timeout=60.0))
            await until(lambda: len(world.hosts["cna-01"].asked) == 2)
            if under_way:
                await until(lambda: len(world.vrm.asked) == 2, "the question")
            assert len(world.vrm.asked) == 1 + under_way
            announced_s = world.clock.now()
            await announce(world, "cna-02", epoch=2)
            assert await waiting == 2
            assert world.clock.now() == announced_s

    in_virtual_time(scenario())


def test_what_the_vrm_says_late_does_not_take_an_announcement_back() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            take_over(world, "cna-02", epoch=2)
            await announce(world, "cna-02", epoch=2)
            assert await world.append(1) == 2, "the VRM says cna-01 at epoch 1"
            assert world.vrm.asked
            assert not world.hosts["cna-01"].asked
            world.hosts["cna-01"].epochs = {"i-00000001": 4}
            world.vrm.places["web-01"] = (1, "cna-01", 4)
            world.hosts["cna-02"].epochs = {}
            assert await world.append(2) == 4, "until it knows better"

    in_virtual_time(scenario())


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_announcement_that_is_late_or_told_twice_changes_nothing(epoch: int) -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            take_over(world, "cna-02", epoch=3)
            await announce(world, "cna-02", epoch=3)
            await announce(world, "cna-01", epoch=epoch)
            assert await world.append(2) == 3
            assert len(world.hosts["cna-01"].asked) == 1

    in_virtual_time(scenario())


def test_an_answer_of_the_old_host_does_not_count_after_an_announcement() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            await announce(world, "cna-01", epoch=2)
            assert (await world.failure())[0] is UNAVAILABLE
            assert world.facts.outdated_total == 1

    in_virtual_time(scenario())


def test_without_an_announcement_the_vrm_is_asked() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            take_over(world, "cna-02", epoch=2)
            world.give(1, "cna-02", epoch=2)
            began_s = world.clock.now()
            assert await world.append(2) == 2
            assert world.clock.now() - began_s <= INTERVAL_S / 4

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    "request_", [pb.AnnounceRequest(host="cna-01", epoch=1), pb.AnnounceRequest(vm_number=1)]
)
def test_an_announcement_without_content_is_refused(request_: pb.AnnounceRequest) -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            with pytest.raises(grpc.aio.AioRpcError, match="names a VM by its number"):
                await world.stub.Announce(request_)

    in_virtual_time(scenario())

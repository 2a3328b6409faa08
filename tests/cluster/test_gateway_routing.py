"""How the gateway finds VMs, follows them, and which answers count."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import grpc
import pytest

from cluster.rpc.v1 import service_pb2 as pb
from tests.cluster.gateway_world import INTERVAL_S, World, running
from tests.cluster.virtual_time import in_virtual_time, until

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_an_entry_reaches_its_vm_by_name_and_by_identity() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.vrm.places["i-00000001"] = world.vrm.places["web-01"]
            assert await world.append(7) == 1
            assert await world.append(8, vm="i-00000001") == 1
            assert world.hosts["cna-01"].ledgers == {("i-00000001", "customer"): [7, 8]}
            request = world.hosts["cna-01"].asked[0]
            assert (request.client, request.number) == ("customer", 7)

    in_virtual_time(scenario())


def test_the_vrm_is_asked_once_for_all_vms_that_are_waited_for() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            for number in range(2, 6):
                world.give(number, "cna-02", epoch=1)
            names = [f"web-{number:02d}" for number in range(1, 6)]
            await asyncio.gather(*(world.append(vm=name) for name in [*names, *names]))
            await asyncio.gather(*(world.append(2, vm=name) for name in names))
            assert [sorted(vms) for _, vms in world.vrm.asked] == [names]

    in_virtual_time(scenario())


def test_an_entry_follows_its_vm_within_the_time_of_one_call() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            assert await world.append(1) == 1
            del world.hosts["cna-01"].epochs["i-00000001"]
            world.give(1, "cna-02", epoch=2)
            assert await world.append(2) == 2
            assert world.hosts["cna-02"].ledgers == {("i-00000001", "customer"): [2]}

    in_virtual_time(scenario())


def test_a_host_that_keeps_silent_is_left_once_the_vm_is_elsewhere() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            world.hosts["cna-01"].answering.clear()
            world.give(1, "cna-02", epoch=2)
            began_s = world.clock.now()
            assert await world.append(2, timeout=60.0) == 2
            assert world.clock.now() - began_s == pytest.approx(INTERVAL_S)

    in_virtual_time(scenario())


def test_what_a_customer_gave_up_is_not_asked_again() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.hosts["cna-01"].answering.clear()
            request = pb.AppendRequest(vm="web-01", client="customer", number=1)
            call = world.stub.Append(request, timeout=60.0)
            await until(lambda: world.hosts["cna-01"].asked)
            call.cancel()
            world.give(1, "cna-02", epoch=2)
            await world.at(world.clock.now() + 20.0)
            assert (len(world.vrm.asked), world.hosts["cna-02"].asked) == (1, [])

    in_virtual_time(scenario())


def test_calls_that_are_answered_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            for number in range(1, 5):
                await world.append(number)
            await world.at(world.clock.now() + 20.0)
            assert len(world.vrm.asked) == 1
            assert len(world.facts._guests._under_way) == 0

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    ("place", "code", "sentence"),
    [
        ((0, "", 0), grpc.StatusCode.NOT_FOUND, "there is no VM web-01"),
        ((1, "", 3), UNAVAILABLE, "VM web-01 is on no host"),
        ((1, "cna-02", 3), UNAVAILABLE, "i-00000001 is not here"),
    ],
)
def test_a_failure_says_what_is_known(
    place: tuple[int, str, int], code: grpc.StatusCode, sentence: str
) -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.vrm.places["web-01"] = place
            assert await world.failure() == (code, sentence)

    in_virtual_time(scenario())


def test_failures_ask_the_vrm_four_times_an_interval_at_most() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            world.hosts["cna-01"].failure = UNAVAILABLE
            began_s = world.clock.now()
            for number in range(100):
                await world.failure(number=number)
            asked = [at_s for at_s, _ in world.vrm.asked if at_s >= began_s]
            gaps_s = [later - sooner for sooner, later in pairwise(asked)]
            assert len(gaps_s) > 10
            assert min(gaps_s) >= INTERVAL_S / 4 - 1e-9

    in_virtual_time(scenario())


def test_without_the_vrm_the_last_known_place_holds() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            await world.down("vrm")
            world.hosts["cna-01"].failure = UNAVAILABLE
            assert (await world.failure(number=2))[0] is UNAVAILABLE
            world.hosts["cna-01"].failure = None
            assert await world.append(2) == 1
            code, sentence = await world.failure(vm="web-02")
            assert code is UNAVAILABLE
            assert sentence == "the VRM, which knows where VM web-02 is, does not answer"

    in_virtual_time(scenario())


def test_a_vrm_that_hangs_holds_up_no_call_for_long() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            world.vrm.answering.clear()
            world.hosts["cna-01"].failure = UNAVAILABLE
            began_s = world.clock.now()
            code, sentence = await world.failure(number=2, timeout=60.0)
            assert (code, sentence) == (UNAVAILABLE, "as the test wants it")
            assert world.clock.now() - began_s <= INTERVAL_S

    in_virtual_time(scenario())


def test_an_answer_of_an_older_epoch_does_not_count() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.give(1, "cna-01", epoch=5)
            assert await world.append(1) == 5
            world.hosts["cna-01"].epochs["i-00000001"] = 4  # as one that forgot would say
            code, sentence = await world.failure(number=2)
            assert code is UNAVAILABLE
            assert sentence == "cna-01 answered for VM web-01 at an epoch that is over"
            assert world.facts.outdated_total == 1
            world.hosts["cna-01"].epochs["i-00000001"] = 5
            assert await world.append(3) == 5

    in_virtual_time(scenario())


def test_the_old_host_does_not_count_from_when_the_vrm_says_so() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.append(1)
            world.vrm.places["web-01"] = (1, "", 2)  # the VRM took it, to restart it
            world.vrm.places["i-00000001"] = (1, "cna-01", 2)
            code, _ = await world.failure(vm="i-00000001")
            assert (code, world.facts.outdated_total) == (UNAVAILABLE, 1)
            assert (await world.failure())[0] is UNAVAILABLE
            assert world.facts.outdated_total == 2
            world.give(1, "cna-02", epoch=3)
            assert await world.append(2) == 3

    in_virtual_time(scenario())


def test_a_new_vm_of_the_same_name_is_another_vm() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.give(1, "cna-01", epoch=9)
            await world.append(1)
            world.hosts["cna-01"].epochs = {"i-00000002": 1}
            world.vrm.places["web-01"] = (2, "cna-01", 1)
            assert await world.append(1) == 1
            assert ("i-00000002", "customer") in world.hosts["cna-01"].ledgers

    in_virtual_time(scenario())


def test_reading_a_ledger_goes_the_same_way() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            for number in (1, 2, 4):
                await world.append(number)
            ledger = await world.stub.ReadLedger(
                pb.ReadLedgerRequest(vm="web-01", client="customer")
            )
            assert (list(ledger.first), ledger.epoch) == ([1, 2, 4], 1)

    in_virtual_time(scenario())


def test_a_killed_gateway_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            world.hosts["cna-01"].answering.clear()
            waiting = asyncio.ensure_future(world.failure())
            await until(lambda: world.hosts["cna-01"].asked)
            world.process.kill()
            assert (await waiting)[0] is UNAVAILABLE

    in_virtual_time(scenario())

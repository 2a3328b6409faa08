"""What hosts say by themselves: copies that are void, VMs they refuse, and what happened there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cluster.rpc.v1 import agent_pb2, registry_pb2, vrm_pb2
from fusion.spec import ClusterSpec, Placement, PlannedVm
from fusion.vm import VmState
from tests.cluster.ha_world import INTERVAL_S, disk_vm, ended, stored
from tests.cluster.puppet import Puppet
from tests.cluster.test_vrm_failures import with_a_puppet
from tests.cluster.virtual_time import in_virtual_time, until
from tests.cluster.world import (
    DISCONNECTED,
    NORMAL,
    RUNNING,
    STOPPED,
    UNKNOWN,
    World,
    datacenter,
    host,
    launched,
    vm,
)


def with_two_puppets(scenario: Callable[[World, Puppet, Puppet], Awaitable[None]]) -> None:
    """Run ``scenario`` with the VM ``web`` of number 1 on the first of two hosts, at epoch 1."""
    facts = datacenter(
        [host("cna-01"), host("cna-02", gib=1)], [PlannedVm(vm("web"), "web", start=True)]
    )

    async def run() -> None:
        async with launched(facts, puppets=["cna-01", "cna-02"]) as world:
            first, second = await world.puppet("cna-01"), await world.puppet("cna-02")
            await first.register()
            await second.register()
            await until(lambda: first.orders)
            await _say(world, first, {1: VmState.RUNNING}, RUNNING)
            assert (await world.vms())["web"].epoch == first.orders[0].domains[0].epoch == 1
            await scenario(world, first, second)

    in_virtual_time(run())


async def _say(world: World, puppet: Puppet, vms: dict[int, VmState], state: int) -> None:
    """Report ``vms`` until the VRM takes ``web`` to be in ``state``."""

    async def met() -> bool:
        await puppet.report(vms)
        return await world.state("web") == state

    await until(met)


def discards(puppet: Puppet) -> list[agent_pb2.DiscardVmsRequest]:
    return [each for each in puppet.orders if isinstance(each, agent_pb2.DiscardVmsRequest)]


def test_a_copy_of_an_older_epoch_is_void_and_is_to_be_dropped() -> None:
    async def scenario(world: World, first: Puppet, second: Puppet) -> None:
        await second.register({1: VmState.RUNNING}, epochs=[0])
        await second.report({1: VmState.RUNNING})
        await until(lambda: discards(second))
        (order,) = discards(second)
        assert (list(order.vm), list(order.epoch)) == (["i-00000001"], [1])
        seen = (await world.vms())["web"]
        assert (seen.host, seen.state, seen.epoch) == ("cna-01", RUNNING, 1)
        kinds = await world.kinds()
        assert kinds.count("vm.void") == 1
        assert "vm.elsewhere" not in kinds

    with_two_puppets(scenario)


def test_a_void_copy_is_not_taken_for_a_vm_that_has_stopped() -> None:
    async def scenario(world: World, first: Puppet, second: Puppet) -> None:
        await first.report({1: VmState.STOPPED})
        await second.register({1: VmState.RUNNING}, epochs=[0])
        second.answering.clear()
        for _ in range(3):
            await second.report({1: VmState.RUNNING})
        seen = (await world.vms())["web"]
        assert (seen.host, seen.state) == ("", STOPPED)
        assert "vm.found" not in await world.kinds()

    with_two_puppets(scenario)


def test_a_host_whose_own_copy_is_void_has_the_vm_no_more_once_it_dropped_it() -> None:
    async def scenario(world: World, first: Puppet, second: Puppet) -> None:
        await world.host_is("cna-01", DISCONNECTED)
        first.answering.clear()
        await first.register({1: VmState.RUNNING}, epochs=[0])
        await first.report({1: VmState.RUNNING})
        assert await world.state("web") == UNKNOWN
        first.answering.set()
        await until(lambda: discards(first))
        await _say(world, first, {}, STOPPED)

    with_two_puppets(scenario)


def test_a_copy_of_the_present_epoch_is_taken_over_at_that_epoch() -> None:
    async def scenario(world: World, first: Puppet, second: Puppet) -> None:
        await first.report({1: VmState.STOPPED})
        await world.state_is("web", STOPPED)
        await first.register({1: VmState.RUNNING}, epochs=[1])
        seen = (await world.vms())["web"]
        assert (seen.host, seen.state, seen.epoch) == ("cna-01", RUNNING, 1)
        assert not discards(first)

    with_two_puppets(scenario)


def test_a_vm_that_one_host_refuses_is_restarted_on_another() -> None:
    async def run() -> None:
        # The fullest host comes first: of those that are left, the one that has figures to show.
        facts = stored([disk_vm("web")], cluster=ClusterSpec("production", Placement.PACK))
        async with launched(facts, puppets=["cna-02"]) as world:
            puppet = await world.puppet("cna-02")
            puppet.refusal = "its volumes are out of reach"
            await world.state_is("web", RUNNING)
            alive = asyncio.get_running_loop().create_task(_live(puppet))
            await world.host_is("cna-02", NORMAL)
            await world.off((await world.vms())["web"].host)
            (failover,) = await ended(world)
            assert (failover.outcome, failover.attempts) == ("running", 2)
            assert failover.to_host == "cna-03"
            events = await world.events()
            (waits,) = [each for each in events if each.kind == "vm.failover.waits"]
            assert "cna-02 refused it: its volumes are out of reach" in waits.message
            alive.cancel()

    in_virtual_time(run())


async def _live(puppet: Puppet) -> None:
    await puppet.register()
    while True:
        await puppet.renew("san-1")
        await puppet.report()
        await asyncio.sleep(INTERVAL_S)


def test_what_happened_on_a_host_is_told_once_however_often_it_says_so() -> None:
    held = registry_pb2.Notice(
        host="cna-01", vm_number=1, kind="vm.held", message="VM web is frozen", severe=True
    )
    of_host = registry_pb2.Notice(host="cna-01", kind="host.isolated", message="nobody answers")

    async def scenario(world: World, puppet: Puppet) -> None:
        for notices in ([held], [held], [held, of_host], [of_host], [], [held]):
            await puppet.report({1: VmState.RUNNING}, notices=notices)
        told = [
            (each.kind, each.message, each.vm, each.severity)
            for each in await world.events()
            if each.host == "cna-01" and each.kind in ("vm.held", "host.isolated")
        ]
        frozen = ("vm.held", "VM web is frozen", "i-00000001", vrm_pb2.SEVERITY_ERROR)
        alone = ("host.isolated", "nobody answers", "", vrm_pb2.SEVERITY_INFO)
        assert told == [frozen, alone, frozen]

    with_a_puppet(scenario)

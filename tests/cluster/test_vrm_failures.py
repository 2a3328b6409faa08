"""Hosts that die, fall silent, come back or do not answer; and what becomes of their VMs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
import pytest

from cluster.rpc.convert import vm_to_message
from cluster.rpc.v1 import common_pb2, vrm_pb2
from fusion.spec import PlannedVm
from fusion.vm import VmState
from tests.cluster.puppet import Puppet
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

SUCCEEDED, FAILED = vrm_pb2.TASK_STATUS_SUCCEEDED, vrm_pb2.TASK_STATUS_FAILED
FAULTY = common_pb2.HOST_STATE_FAULTY
STARTING = common_pb2.VM_STATE_STARTING


def order(name: str) -> vrm_pb2.VmOrder:
    return vrm_pb2.VmOrder(vm=name)


def test_a_dead_host_is_disconnected_and_its_vms_unknown_until_it_is_back() -> None:
    vms = [PlannedVm(vm(f"web-{n}"), "web", start=True) for n in range(2)]

    async def scenario() -> None:
        facts = datacenter([host("cna-01"), host("cna-02")], vms)
        async with launched(facts) as world:
            await world.launched()
            await world.off("cna-01")
            await world.host_is("cna-01", DISCONNECTED)
            seen = {each.host: each for each in (await world.vms()).values()}
            assert seen["cna-01"].state == UNKNOWN
            assert seen["cna-01"].cpu_used_mhz == 0
            assert seen["cna-02"].state == RUNNING
            lost = seen["cna-01"].spec.name
            with pytest.raises(grpc.aio.AioRpcError, match="wait until it settles"):
                await world.stub.StopVm(order(lost))

            await world.on("cna-01")
            await world.host_is("cna-01", NORMAL)
            await world.state_is(lost, STOPPED)
            assert (await world.hosts())["cna-01"].incarnation == 2
            assert (await world.end(await world.stub.StartVm(order(lost)))).status == SUCCEEDED
            kinds = await world.kinds()
            assert kinds.count("host.disconnected") == 1
            assert kinds.count("host.registered") == 3
            assert kinds.count("vm.halted") == 1

    in_virtual_time(scenario())


def test_a_host_without_power_is_faulty_and_the_others_are_used() -> None:
    vms = [PlannedVm(vm(f"web-{n}"), "web", start=True) for n in range(2)]

    async def scenario() -> None:
        facts = datacenter([host("cna-01"), host("cna-02")], vms)
        async with launched(facts, broken=["cna-01"]) as world:
            await world.host_is("cna-01", FAULTY)
            for n in range(2):
                await world.state_is(f"web-{n}", RUNNING)
            assert {each.host for each in (await world.vms()).values()} == {"cna-02"}
            events = world.stub.WatchEvents(vrm_pb2.WatchEventsRequest())
            messages = [event.message async for event in events]
            assert any("the power supply is broken" in message for message in messages)

    in_virtual_time(scenario())


def with_a_puppet(
    scenario: Callable[[World, Puppet], Awaitable[None]], *, running: bool = True
) -> None:
    """Run ``scenario`` on one host whose agent is a puppet, with the VM ``web`` of number 1."""
    facts = datacenter([host("cna-01")], [PlannedVm(vm("web"), "web", start=running)])

    async def run() -> None:
        async with launched(facts, puppets=["cna-01"]) as world:
            puppet = await world.puppet("cna-01")
            await puppet.register()
            await until(world.vms)
            if running:
                await until(lambda: puppet.orders)
                await world.state_is("web", STARTING)
                await _say(world, puppet, {1: VmState.RUNNING}, RUNNING)
                puppet.orders.clear()
            await scenario(world, puppet)

    in_virtual_time(run())


async def _say(world: World, puppet: Puppet, vms: dict[int, VmState], state: int) -> None:
    """Report ``vms`` until the VRM has taken ``web`` to be in ``state``."""

    async def met() -> bool:
        if await puppet.report(vms):
            await puppet.join(vms)
        return await world.state("web") == state

    await until(met)


def test_a_host_that_was_only_silent_comes_back_with_its_vms() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        await world.host_is("cna-01", DISCONNECTED)
        assert await world.state("web") == UNKNOWN
        assert await puppet.report({1: VmState.RUNNING}) == ["cna-01"]
        assert await world.state("web") == UNKNOWN
        await puppet.join({1: VmState.RUNNING})
        assert (await world.hosts())["cna-01"].state == NORMAL
        assert await world.state("web") == RUNNING
        assert (await world.kinds())[-2:] == ["host.disconnected", "host.reconnected"]

    with_a_puppet(scenario)


def test_reports_of_other_incarnations_change_nothing() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.incarnation = 0
        assert await puppet.report({1: VmState.PAUSED}) == []
        puppet.incarnation = 2
        assert await puppet.report({1: VmState.PAUSED}) == ["cna-01"]
        assert await world.state("web") == RUNNING
        await puppet.register()
        assert await world.state("web") == STOPPED
        puppet.incarnation = 1
        await puppet.register({1: VmState.RUNNING})
        assert await world.state("web") == STOPPED
        assert (await world.hosts())["cna-01"].incarnation == 2

    with_a_puppet(scenario)


def test_a_registration_of_the_same_life_is_not_the_whole_truth() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.answering.clear()
        assert (await world.end(await world.stub.StartVm(order("web")))).status == FAILED
        await puppet.register()
        # The order may still be on its way to an agent that has not heard of the new session.
        assert (await world.hosts())["cna-01"].state == common_pb2.HOST_STATE_INITIALISING
        assert await world.state("web") == UNKNOWN
        await puppet.report()
        assert (await world.hosts())["cna-01"].state == NORMAL
        assert await world.state("web") == STOPPED
        assert (await world.vms())["web"].host == ""

    with_a_puppet(scenario, running=False)


def test_a_vm_that_a_registration_does_not_mention_is_unknown() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        await puppet.register()
        assert await world.state("web") == UNKNOWN
        await puppet.report({1: VmState.RUNNING})
        assert await world.state("web") == RUNNING

    with_a_puppet(scenario)


def test_what_was_said_in_an_earlier_session_or_order_changes_nothing() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        earlier, sequence = puppet.session, puppet.next_sequence()
        await puppet.join({1: VmState.RUNNING})
        assert puppet.session > earlier
        assert await puppet.report({1: VmState.PAUSED}, sequence=sequence) == []
        puppet.session = earlier
        assert await puppet.report({1: VmState.PAUSED}) == ["cna-01"]
        assert await world.state("web") == RUNNING

    with_a_puppet(scenario)


def test_a_host_that_reports_but_does_not_answer_orders_is_lost() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.failure = grpc.StatusCode.INTERNAL
        task = await world.end(await world.stub.PauseVm(order("web")))
        assert "does not answer orders" in task.reason
        assert (await world.hosts())["cna-01"].state == DISCONNECTED
        assert await world.state("web") == UNKNOWN
        puppet.failure = None
        await _say(world, puppet, {1: VmState.RUNNING}, RUNNING)
        assert (await world.hosts())["cna-01"].state == NORMAL

    with_a_puppet(scenario)


def test_a_vm_is_stopped_as_soon_as_its_host_came_on_anew() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.answering.clear()
        task = await world.stub.PauseVm(order("web"))
        await until(lambda: puppet.orders)
        puppet.incarnation = 2
        await puppet.register()
        assert await world.state("web") == STOPPED
        puppet.answering.set()
        assert (await world.end(task)).status == FAILED
        assert await world.state("web") == STOPPED

    with_a_puppet(scenario)


def test_a_guest_that_halts_by_itself_is_stopped_with_an_event() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        await _say(world, puppet, {}, STOPPED)
        assert (await world.hosts())["cna-01"].vms == 0
        assert (await world.kinds())[-1] == "vm.halted"

    with_a_puppet(scenario)


def test_a_report_from_before_the_order_does_not_undo_it() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.answering.clear()
        puppet.state = VmState.STOPPING
        task = await world.stub.StopVm(order("web"))
        await until(lambda: puppet.orders)
        await puppet.report({1: VmState.RUNNING})  # built before the order came
        assert await world.state("web") == common_pb2.VM_STATE_STOPPING
        before = puppet.next_sequence()
        puppet.answering.set()
        await until(lambda: puppet.answered)
        await puppet.report({1: VmState.RUNNING}, sequence=before)  # overtaken by the answer
        assert await world.state("web") == common_pb2.VM_STATE_STOPPING
        last_words = puppet.next_sequence()
        await puppet.report({1: VmState.STOPPED})
        assert (await world.end(task)).status == SUCCEEDED
        await puppet.report({1: VmState.STOPPING}, sequence=last_words)
        assert await world.state("web") == STOPPED
        assert "vm.found" not in await world.kinds()

    with_a_puppet(scenario)


def test_a_start_that_its_host_refuses_fails_with_the_hosts_reason() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.refusal = "no memory left"
        task = await world.end(await world.stub.StartVm(order("web")))
        assert task.status == FAILED
        assert "no memory left" in task.reason
        assert await world.state("web") == STOPPED
        assert (await world.hosts())["cna-01"].vms == 0

    with_a_puppet(scenario, running=False)


def test_an_order_is_repeated_under_one_request_id_until_it_is_answered() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.failure = grpc.StatusCode.UNAVAILABLE
        puppet.state = VmState.PAUSED
        task = await world.stub.PauseVm(order("web"))
        await until(lambda: len(puppet.orders) > 2)
        puppet.failure = None
        assert (await world.end(task)).status == SUCCEEDED
        ids = {request.command.request_id for request in puppet.orders}
        assert len(ids) == 1
        assert next(iter(ids)).startswith("1-")

    with_a_puppet(scenario)


def test_a_task_ends_when_its_host_falls_silent() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.answering.clear()
        task = await world.end(await world.stub.PauseVm(order("web")))
        assert task.status == FAILED
        assert "host cna-01 fell silent" in task.reason
        assert await world.state("web") == UNKNOWN
        puppet.answering.set()
        await _say(world, puppet, {1: VmState.RUNNING}, RUNNING)

    with_a_puppet(scenario)


def test_a_start_nobody_answered_ends_as_the_host_says_later() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.answering.clear()
        task = await world.end(await world.stub.StartVm(order("web")))
        assert task.status == FAILED
        puppet.answering.set()
        await _say(world, puppet, {1: VmState.RUNNING}, RUNNING)
        assert (await world.vms())["web"].host == "cna-01"

    with_a_puppet(scenario, running=False)


def test_settings_in_doubt_are_sent_again_when_the_host_is_back() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        puppet.answering.clear()
        change = vrm_pb2.SetVmCpuOrder(vm="web", shares=77)
        task = await world.end(await world.stub.SetVmCpu(change))
        assert task.status == FAILED
        assert (await world.vms())["web"].spec.cpu.shares == 2000
        puppet.answering.set()
        puppet.orders.clear()
        await puppet.join({1: VmState.RUNNING})
        await until(lambda: puppet.orders)
        assert puppet.orders[0].cpu.shares == 2000

    with_a_puppet(scenario)


def test_a_vm_in_two_places_is_told_once() -> None:
    facts = datacenter([host("cna-01"), host("cna-02")], [PlannedVm(vm("web"), "web", start=True)])

    async def scenario() -> None:
        async with launched(facts, puppets=["cna-02"]) as world:
            second = await world.puppet("cna-02")
            await second.register()
            await world.state_is("web", RUNNING)
            for _ in range(3):
                await second.report({1: VmState.RUNNING, 7: VmState.RUNNING})
            assert (await world.vms())["web"].host == "cna-01"
            kinds = await world.kinds()
            assert (kinds.count("vm.elsewhere"), kinds.count("vm.stray")) == (1, 1)

    in_virtual_time(scenario())


def test_create_and_start_on_a_silent_host_says_what_is_there() -> None:
    async def scenario(world: World, puppet: Puppet) -> None:
        await world.host_is("cna-01", DISCONNECTED)
        create = vrm_pb2.CreateVmRequest(spec=vm_to_message(vm("db")), start=True)
        task = await world.end(await world.stub.CreateVm(create))
        assert task.status == FAILED
        assert "1 is disconnected" in task.reason

    with_a_puppet(scenario)

"""What the VRM orders of an agent, and what the agent refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import pytest

from cluster.agent.commands import CommandKey, Commands
from cluster.metrics.agent import Outcome
from cluster.rpc.convert import VM_STATES, vm_to_message
from cluster.rpc.v1 import agent_pb2, common_pb2
from cluster.rpc.v1.power_pb2 import PowerRequest
from fusion.spec import GIB
from fusion.vm import VmState
from tests.cluster.agent_world import (
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    World,
    host,
    running,
    vm,
)
from tests.cluster.virtual_time import in_virtual_time, until

FORCE = common_pb2.STOP_MODE_FORCE
VM = "i-00000001"
Reply = TypeVar("Reply")


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """Return how ``call`` was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


def test_a_vm_lives_through_its_orders() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            orders, command = world.orders, world.command

            async def state() -> int:
                return (await world.listed())[VM].state

            assert not (await world.start(vm(boot_s=2.0))).refusals
            assert await state() == STARTING
            await until(lambda: world.states() == [VmState.RUNNING], "the boot")
            paused = await orders.PauseVm(agent_pb2.VmRequest(command=command(), vm=VM))
            assert paused.state == VM_STATES[VmState.PAUSED] == await state()
            resumed = await orders.ResumeVm(agent_pb2.VmRequest(command=command(), vm=VM))
            assert resumed.state == RUNNING == await state()
            reboot = agent_pb2.RebootVmRequest(command=command(), vm=VM)
            assert (await orders.RebootVm(reboot)).state == VM_STATES[VmState.REBOOTING]
            await until(lambda: world.states() == [VmState.RUNNING], "the reboot")
            stop = agent_pb2.StopVmRequest(command=command(), vm=VM)
            assert (await orders.StopVm(stop)).state == STOPPING
            await until(lambda: world.vrm.states("cna-01").get(VM) == STOPPED, "the shutdown")

    in_virtual_time(scenario())


def test_a_cpu_limit_is_effective_at_once() -> None:
    async def scenario() -> None:
        async with running(World(tick_s=1000.0)) as world:
            await world.start(vm(percent=100.0))
            cpu = common_pb2.CpuQos(shares=500, limit_mhz=1200.0, reservation_mhz=300.0)
            await world.orders.SetVmCpu(
                agent_pb2.SetVmCpuRequest(command=world.command(), vm=VM, cpu=cpu)
            )
            row = (await world.listed())[VM]
            assert row.cpu == cpu
            assert (row.cpu_demand_mhz, row.cpu_used_mhz) == (4000.0, 1200.0)
            assert row.name == "web"
            assert row.memory_bytes == 2 * GIB

    in_virtual_time(scenario())


def test_some_of_a_batch_are_refused_and_the_others_start() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            absurd = vm_to_message(vm("absurd"))
            absurd.vcpus = 0
            domains = [
                agent_pb2.Domain(vm="i-00000001", spec=vm_to_message(vm("a"))),
                agent_pb2.Domain(vm="i-00000002", spec=vm_to_message(vm("giant", gib=64))),
                agent_pb2.Domain(vm="i-00000003", spec=absurd),
                agent_pb2.Domain(vm="web-01", spec=vm_to_message(vm("b"))),
                agent_pb2.Domain(vm="i-00000005", spec=common_pb2.VmSpec(name="c", vcpus=1)),
                agent_pb2.Domain(vm="i-00000006", spec=vm_to_message(vm("d"))),
            ]
            reply = await world.orders.StartVms(
                agent_pb2.StartVmsRequest(command=world.command(), domains=domains)
            )
            reasons = {each.vm: each.reason for each in reply.refusals}
            assert list(reasons) == ["i-00000002", "i-00000003", "web-01", "i-00000005"]
            assert "memory" in reasons["i-00000002"]
            assert "0 vCPUs" in reasons["i-00000003"]
            assert "looks like i-00000001" in reasons["web-01"]
            assert "workload" in reasons["i-00000005"]
            assert list(await world.listed()) == ["i-00000001", "i-00000006"]

    in_virtual_time(scenario())


def test_a_repeated_request_gets_the_same_answer() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            assert not (await world.start(vm(), request_id="r1")).refusals
            assert not (await world.start(vm(), request_id="r1")).refusals
            [refused] = (await world.start(vm(), request_id="r2")).refusals
            assert "running" in refused.reason
            assert world.agent.counters.orders == {("start", Outcome.DONE): 2}

            stop = agent_pb2.StopVmRequest(command=world.command(), vm="i-00000009", mode=FORCE)
            assert await refusal(world.orders.StopVm(stop)) == await refusal(
                world.orders.StopVm(stop)
            )
            assert world.agent.counters.orders["stop", Outcome.REFUSED] == 1

    in_virtual_time(scenario())


class Gate(Commands):
    """Lets no order be carried out before it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.waiting = asyncio.Event()

    async def once(self, key: CommandKey, work: Callable[[], Awaitable[Reply]]) -> Reply:
        async def after_the_gate() -> Reply:
            self.waiting.set()
            await self.open.wait()
            return await work()

        return await super().once(key, after_the_gate)


def test_an_order_goes_on_where_its_caller_gives_up() -> None:
    async def scenario() -> None:
        world = World()
        gate = world.agent._commands = Gate()
        async with running(world):
            call = asyncio.ensure_future(world.start(vm(), request_id="r1"))
            await gate.waiting.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not await world.listed()
            again = asyncio.ensure_future(world.start(vm(), request_id="r1"))
            gate.open.set()
            assert not (await again).refusals
            assert list(await world.listed()) == [VM]
            assert world.agent.counters.orders == {("start", Outcome.DONE): 1}

    in_virtual_time(scenario())


def test_power_loss_ends_the_orders_under_way() -> None:
    async def scenario() -> None:
        world = World((host("cna-01"), 1), (host("cna-02"), 1))
        gate = world.agent._commands = Gate()
        async with running(world):
            call = asyncio.ensure_future(refusal(world.start(vm(), on="cna-02")))
            await gate.waiting.wait()
            await world.power.Reset(PowerRequest(host="cna-02", incarnation=2))
            assert (await call)[0] is grpc.StatusCode.UNAVAILABLE
            gate.open.set()
            assert not await world.listed("cna-02")

    in_virtual_time(scenario())


def test_orders_that_are_late_or_for_somebody_else_are_refused() -> None:
    async def scenario() -> None:
        async with running(World((host("cna-01"), 2), (host("cna-02"), 0))) as world:

            async def refused(**command: Any) -> tuple[grpc.StatusCode, str]:
                order = agent_pb2.VmRequest(command=world.command(**command), vm=VM)
                return await refusal(world.orders.PauseVm(order))

            code, details = await refused(incarnation=1)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert details == "host cna-01 is incarnation 2 now; the order was for 1"
            code, details = await refused(vrm_generation=0)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "generation 1 has taken over" in details
            code, details = await refused(session=0)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "session 0 of host cna-01, which has ended" in details
            code, details = await refused(request_id="")
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            code, details = await refused(host="cna-77")
            assert code is grpc.StatusCode.NOT_FOUND
            assert "cna-01, cna-02" in details
            code, details = await refused(host="cna-02")
            assert code is grpc.StatusCode.UNAVAILABLE
            code, details = await refused()
            assert code is grpc.StatusCode.NOT_FOUND
            assert VM in details

    in_virtual_time(scenario())


def test_an_order_of_a_newer_vrm_ends_the_rule_of_the_old_one() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            await world.start(vm())
            pause = agent_pb2.VmRequest(command=world.command(vrm_generation=2), vm=VM)
            world.vrm.restart()
            await world.orders.PauseVm(pause)
            resume = agent_pb2.VmRequest(command=world.command(vrm_generation=1), vm=VM)
            code, _ = await refusal(world.orders.ResumeVm(resume))
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            await until(lambda: "cna-01" in world.vrm.known, "registration with the new VRM")
            paused = {VM: VM_STATES[VmState.PAUSED]}
            await until(lambda: world.vrm.states("cna-01") == paused, "what the new VRM ordered")

    in_virtual_time(scenario())


def test_an_order_known_from_an_earlier_session_is_answered_again() -> None:
    async def scenario() -> None:
        async with running(World()) as world:
            first = await world.start(vm(), request_id="r1")
            world.agent._membership.registered({"cna-01": 1}, session=9)
            again = await world.start(vm(), request_id="r1", session=1)
            assert again == first
            assert first.sequence > 0
            order = agent_pb2.VmRequest(command=world.command(session=1), vm=VM)
            code, _ = await refusal(world.orders.PauseVm(order))
            assert code is grpc.StatusCode.FAILED_PRECONDITION

    in_virtual_time(scenario())

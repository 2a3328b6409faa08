"""Hosts that share a process have power of their own."""

from __future__ import annotations

import grpc
import pytest

from cluster.rpc.v1 import agent_pb2
from cluster.rpc.v1.power_pb2 import PowerRequest
from tests.cluster.agent_world import World, host, running, vm
from tests.cluster.virtual_time import in_virtual_time, until


def pair() -> World:
    return World((host("cna-01"), 1), (host("cna-02"), 4))


def test_a_host_switched_off_is_dead_and_its_neighbour_does_not_notice() -> None:
    async def scenario() -> None:
        async with running(pair()) as world:
            await world.start(vm("a"), on="cna-01")
            await world.start(vm("b"), on="cna-02", first=2)
            command = world.command("cna-01")
            assert (await world.power.Off(PowerRequest(host="cna-01"))).incarnation == 1
            await until(lambda: list(world.vrm.reports[-1].host) == ["cna-02"], "silence of one")
            assert list(world.vrm.reports[-1].vms.vm_number) == [2]
            assert list(world.vrm.reports[-1].vms.host_row) == [0]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await world.orders.PauseVm(agent_pb2.VmRequest(command=command, vm="i-00000001"))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            listed = await world.orders.ListHosts(agent_pb2.ListHostsRequest())
            assert [(each.name, each.incarnation) for each in listed.hosts] == [("cna-02", 4)]
            assert [each.vm for each in listed.hosts[0].vms] == ["i-00000002"]
            assert len(world.vrm.registrations) == 1

    in_virtual_time(scenario())


def test_a_host_comes_back_empty_as_its_next_incarnation() -> None:
    async def scenario() -> None:
        async with running(pair()) as world:
            await world.start(vm("a"), request_id="r1")
            old = world.command()
            await world.power.Off(PowerRequest(host="cna-01"))
            assert (await world.power.Off(PowerRequest(host="cna-01"))).incarnation == 1
            on = await world.power.On(PowerRequest(host="cna-01", incarnation=2))
            assert on.incarnation == 2
            await until(lambda: world.vrm.known["cna-01"] == 2, "registration")
            [registered] = world.vrm.registrations[-1].hosts
            assert (registered.spec.name, registered.incarnation) == ("cna-01", 2)
            assert not await world.listed()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await world.orders.PauseVm(agent_pb2.VmRequest(command=old, vm="i-00000001"))
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            # An answer to the incarnation before is no answer to this one.
            assert not (await world.start(vm("a"), request_id="r1")).refusals
            assert list(await world.listed()) == ["i-00000001"]

    in_virtual_time(scenario())


def test_power_calls_may_be_repeated() -> None:
    async def scenario() -> None:
        async with running(pair()) as world:
            assert (
                await world.power.On(PowerRequest(host="cna-01", incarnation=9))
            ).incarnation == 1
            reset = PowerRequest(host="cna-01", incarnation=2)
            assert (await world.power.Reset(reset)).incarnation == 2
            await world.start(vm("a"))
            assert (await world.power.Reset(reset)).incarnation == 2
            assert list(await world.listed()) == ["i-00000001"]

    in_virtual_time(scenario())


def test_incarnations_only_rise() -> None:
    async def scenario() -> None:
        async with running(pair()) as world:
            await world.power.Off(PowerRequest(host="cna-02"))

            async def refused(host: str, incarnation: int) -> grpc.StatusCode:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await world.power.On(PowerRequest(host=host, incarnation=incarnation))
                return caught.value.code()

            assert await refused("cna-02", 4) is grpc.StatusCode.FAILED_PRECONDITION
            assert await refused("cna-02", 0) is grpc.StatusCode.INVALID_ARGUMENT
            assert await refused("cna-77", 5) is grpc.StatusCode.NOT_FOUND
            assert world.agent._chassis.powered == {"cna-01": 1}

    in_virtual_time(scenario())


def test_all_hosts_off_is_no_report_and_one_on_again_reports() -> None:
    async def scenario() -> None:
        async with running(pair()) as world:
            for name in ("cna-01", "cna-02"):
                await world.power.Off(PowerRequest(host=name))
            heard, ticks = len(world.vrm.reports), world.agent.view.now_s
            await until(lambda: world.agent.view.now_s > ticks + 10.0, "ten ticks")
            # At most the one that was on its way.
            assert len(world.vrm.reports) <= heard + 1
            assert not any(report.host == [] for report in world.vrm.reports)
            await world.power.On(PowerRequest(host="cna-02", incarnation=5))
            await until(lambda: list(world.vrm.reports[-1].incarnation) == [5], "its report")

    in_virtual_time(scenario())

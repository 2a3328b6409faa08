"""Hosts that hear nothing of the VRM: whom they ask, and what they do if nobody answers."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from typing import Any

import grpc
import pytest

from cluster.network import Plane
from cluster.rpc.v1 import agent_pb2, arbiter_pb2, arbiter_pb2_grpc, storage_pb2
from cluster.rpc.v1.power_pb2 import PowerRequest
from cluster.simulated.network import SimulatedNetwork
from fusion.spec import IsolationResponse
from fusion.vm import VmState
from tests.cluster.agent_world import INTERVAL_S, host
from tests.cluster.storage_world import LEASE_S, StorageWorld, disk_vm, storing
from tests.cluster.virtual_time import in_virtual_time, until

RUN, STOP = IsolationResponse.LEAVE_RUNNING, IsolationResponse.STOP
SILENCE_S = 3 * INTERVAL_S

VM, SHUTDOWN_S = "i-00000001", 2.0

#: From its last word, the VRM is missed, asked for by three waves of pings, and reported.
ENOUGH_S = SILENCE_S + 5 * INTERVAL_S


class Others(arbiter_pb2_grpc.ArbiterServicer):
    """Answers pings, and counts them."""

    def __init__(self) -> None:
        self.pings = 0

    async def Ping(self, request: arbiter_pb2.PingRequest, _: Any) -> arbiter_pb2.PingReply:
        self.pings += 1
        return arbiter_pb2.PingReply()


async def other(world: StorageWorld, name: str) -> Others:
    """Let somebody answer pings under ``name``."""
    others = Others()
    await SimulatedNetwork(world.fabric, name).serve(
        name, lambda server: arbiter_pb2_grpc.add_ArbiterServicer_to_server(others, server)
    )
    return others


async def says_isolated(world: StorageWorld) -> bool:
    reply = await world.stub().ReadHeartbeats(storage_pb2.ReadHeartbeatsRequest())
    return list(reply.isolated) == [True]


@pytest.mark.parametrize("somebody", ["arbiter", "cna-02", "cna-08", "cna-09"])
def test_a_dead_vrm_alone_stops_no_vm(somebody: str) -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(response=STOP)) as world:
            others = await other(world, somebody)
            await world.run_vms(disk_vm())
            await world.at(20.0)
            assert others.pings == 0, "nobody is asked while the VRM answers"
            await world.vrm_down()
            await world.at(120.0)
            assert others.pings > 3
            assert world.states() == [VmState.RUNNING]
            assert not await says_isolated(world)
            assert not world.agent.counters.notices

    in_virtual_time(scenario())


@pytest.mark.parametrize(("response", "states"), [(RUN, [VmState.RUNNING]), (STOP, [])])
def test_an_isolated_host_does_what_its_cluster_wants(
    response: IsolationResponse, states: list[VmState]
) -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(response=response)) as world:
            await world.run_vms(disk_vm())
            await world.at(20.0)
            await world.vrm_down()
            await world.at(20.0 + SILENCE_S - INTERVAL_S)
            assert world.states() == [VmState.RUNNING]
            await world.at(20.0 + ENOUGH_S)
            assert world.states() == (states or [VmState.STOPPED])
            assert await says_isolated(world)
            world.vrm.restart()
            await world.vrm_up()
            await until(lambda: world.notices("host.rejoined"), "the VRM knows")
            kinds = [notice.kind for notice in world.notices()]
            assert kinds == ["host.isolated", "host.rejoined"]
            done = "its VMs run on" if response is RUN else "halted 1 of its VMs"
            assert done in world.notices()[0].message
            await world.at(world.clock.now() + 3.1)
            assert not await says_isolated(world)
            assert world.states() == states

    in_virtual_time(scenario())


def test_what_is_frozen_is_not_halted_and_what_goes_on_is() -> None:
    """Isolated and without storage, VMs freeze; once they had their leases again they would run."""

    async def scenario() -> None:
        async with storing(StorageWorld(response=STOP)) as world:
            await world.run_vms(disk_vm())
            await world.at(20.0)
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(20.0 + LEASE_S)
            await world.vrm_down()
            await world.at(60.0)
            assert world.states() == [VmState.PAUSED]
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            await until(lambda: world.states() == [VmState.STOPPED], "halted")

    in_virtual_time(scenario())


def test_a_vm_that_has_just_shut_down_when_its_host_halts_all_is_no_trouble() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(response=STOP, tick_s=1000.0)) as world:
            await world.run_vms(disk_vm())
            await world.at(18.0)
            await world.vrm_down()
            isolated_s = 16.0 + SILENCE_S
            await world.at(isolated_s - SHUTDOWN_S - 0.1)
            await world.orders.StopVm(agent_pb2.StopVmRequest(command=world.command(), vm=VM))
            await world.at(isolated_s - 0.5)
            world.agent.add_load("cna-01", 1, 1.0)  # so soon after, no end of a phase is looked for
            await world.at(isolated_s + 0.1)
            assert world.agent.counters.notices == {"host.isolated": 1}
            await until(lambda: world.states() == [VmState.STOPPED], "the VM is off")

    in_virtual_time(scenario())


def test_a_process_that_wakes_asks_before_it_believes_to_be_alone() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(response=STOP)) as world:
            await other(world, "arbiter")
            await world.run_vms(disk_vm())
            await world.at(20.0)
            await world.hung_until(20.0 + LEASE_S - 3.0)
            await world.at(60.0)
            assert world.states() == [VmState.RUNNING]
            assert not world.notices()

    in_virtual_time(scenario())


def test_hosts_answer_their_peers_while_they_have_power() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld((host("cna-01"), 1))) as world:
            peer = arbiter_pb2_grpc.ArbiterStub(
                SimulatedNetwork(world.fabric, "cna-02").channel("chassis-1")
            )
            await peer.Ping(arbiter_pb2.PingRequest())
            await world.power.Off(PowerRequest(host="cna-01"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await peer.Ping(arbiter_pb2.PingRequest())
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    in_virtual_time(scenario())


def test_hosts_of_one_process_are_no_peers_of_each_other() -> None:
    async def scenario() -> None:
        world = StorageWorld((host("cna-01"), 1), (host("cna-02"), 1), response=STOP)
        async with storing(world):
            world.fabric.place("cna-01", "chassis-1")
            world.fabric.place("cna-02", "chassis-1")
            await world.run_vms(disk_vm())
            await world.at(20.0)
            await world.vrm_down()
            await world.at(20.0 + ENOUGH_S)
            assert world.states() == [VmState.STOPPED]
            assert world.agent.counters.notices == {"host.isolated": 2}

    in_virtual_time(scenario())

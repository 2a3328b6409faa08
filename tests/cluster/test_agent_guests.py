"""The ledger of guests over the network: what is acknowledged, when, and what outlives what."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from cluster.metrics.agent import Outcome
from cluster.metrics.storage import Operation
from cluster.network import Plane
from cluster.rpc.v1 import (
    agent_pb2,
    common_pb2,
    registry_pb2,
    service_pb2,
    service_pb2_grpc,
    storage_pb2,
)
from cluster.rpc.v1.power_pb2 import PowerRequest
from cluster.simulated.network import SimulatedNetwork
from fusion.spec import ArraySpec, DatastoreSpec
from fusion.vm import VmState
from tests.cluster.agent_world import host, vm
from tests.cluster.storage_world import LEASE_S, SAN_1, StorageWorld, disk_vm, storing
from tests.cluster.virtual_time import in_virtual_time, until

VM = "i-00000001"
RAM, DISK = service_pb2.DURABILITY_RAM, service_pb2.DURABILITY_DISK
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
DEADLINE = grpc.StatusCode.DEADLINE_EXCEEDED

#: Room for three entries.
SMALL = ArraySpec("san-1", (DatastoreSpec("ds-1", 12_288),))


class Client:
    """A client of one VM's ledger."""

    def __init__(self, world: StorageWorld, vm: str = VM, name: str = "c1") -> None:
        network = SimulatedNetwork(world.fabric, "gateway")
        self._guest = service_pb2_grpc.GuestStub(network.channel("chassis-1", Plane.SERVICE))
        self._vm = vm
        self._name = name

    async def append(
        self, number: int, durability: service_pb2.Durability.ValueType = DISK, limit_s: float = 2.0
    ) -> int | grpc.StatusCode:
        """Return the epoch of the answer, or the status of the failure."""
        request = service_pb2.AppendRequest(
            vm=self._vm,
            client=self._name,
            number=number,
            size_bytes=4096,
            durability=durability,
        )
        try:
            return (await self._guest.Append(request, timeout=limit_s)).epoch
        except grpc.aio.AioRpcError as failure:
            return failure.code()

    async def ledger(self) -> Any:
        """Return the numbers of all entries there, or the status of the failure."""
        request = service_pb2.ReadLedgerRequest(vm=self._vm, client=self._name)
        try:
            reply = await self._guest.ReadLedger(request, timeout=2.0)
        except grpc.aio.AioRpcError as failure:
            return failure.code()
        return [n for a, b in zip(reply.first, reply.last, strict=True) for n in range(a, b + 1)]


def on_volume(world: StorageWorld, vm: int = 1) -> int:
    """Return how many blocks the array has of a VM."""
    facts = world.roles["san-1"].facts
    assert facts is not None
    return len(facts.offsets(vm, 0))


def test_an_entry_is_acknowledged_once_it_is_where_the_client_wants_it() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(), epoch=6)
            client = Client(world)
            assert await client.append(1, DISK) == 6
            assert on_volume(world) == 1
            assert await client.append(2, RAM) == 6
            assert await client.append(3, RAM) == 6
            assert await client.append(3, RAM) == 6
            assert on_volume(world) == 1
            await world.at(world.clock.now() + 5.1)
            assert on_volume(world) == 3
            assert await client.ledger() == [1, 2, 3]
            assert await Client(world, name="c2").ledger() == []
            assert await client.append(3, DISK) == 6
            assert on_volume(world) == 3

    in_virtual_time(scenario())


def test_an_entry_of_memory_is_on_the_volume_once_a_client_wants_it_there() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            await client.append(1, RAM)
            await client.append(2, RAM)
            assert on_volume(world) == 0
            assert await client.append(1, DISK) == 1
            assert on_volume(world) == 2, "what came before it, and what it is written with"

    in_virtual_time(scenario())


@pytest.mark.parametrize("how", ["crash", "stop and start"])
def test_what_was_in_memory_alone_dies_with_the_guest(how: str) -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(boot_s=2.0))
            await until(lambda: world.states() == [VmState.RUNNING], "the boot")
            client = Client(world)
            assert await client.append(1, DISK) == 1
            assert await client.append(2, RAM) == 1
            epoch = 1
            if how == "crash":
                world.agent.crash_guest("cna-01", 1)
            else:
                stop = agent_pb2.StopVmRequest(
                    command=world.command(), vm=VM, mode=common_pb2.STOP_MODE_FORCE
                )
                await world.orders.StopVm(stop)
                epoch = 2
                await world.start(disk_vm(boot_s=2.0), epoch=2)
            assert await client.append(3) is UNAVAILABLE, "it boots"
            await until(lambda: world.states() == [VmState.RUNNING], "the boot")
            assert await client.ledger() == [1]
            assert await client.append(2, DISK) == epoch
            assert await client.ledger() == [1, 2]

    in_virtual_time(scenario())


def test_a_guest_that_shuts_down_writes_what_it_has() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1, RAM) == 1
            await world.orders.RebootVm(agent_pb2.RebootVmRequest(command=world.command(), vm=VM))
            assert await client.append(2) is UNAVAILABLE
            await until(lambda: world.states() == [VmState.RUNNING], "the reboot")
            assert await client.ledger() == [1]

    in_virtual_time(scenario())


def test_a_crash_with_a_write_under_way_is_answered_to_nobody_and_overwrites_nothing() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1) == 1
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)  # holds it under way
            waiting = asyncio.ensure_future(client.append(2, limit_s=9.0))
            await world.at(world.clock.now() + 1.0)
            world.agent.crash_guest("cna-01", 1)
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            assert await waiting is UNAVAILABLE
            assert await client.append(3) == 1
            assert await client.append(2) == 1
            numbers = await client.ledger()
            assert numbers == [1, 2, 3]
            world.agent.crash_guest("cna-01", 1)
            assert await client.ledger() == numbers

    in_virtual_time(scenario())


def test_an_entry_whose_client_gave_up_is_written_all_the_same() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1) == 1
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            assert await client.append(2, limit_s=0.2) is DEADLINE
            assert on_volume(world) == 1
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            await until(lambda: on_volume(world) == 2, "the write")
            assert await client.append(3) == 1
            assert await client.ledger() == [1, 2, 3]

    in_virtual_time(scenario())


def test_what_comes_while_a_write_is_under_way_goes_with_the_next_one() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            clients = [Client(world, name=f"c{k}") for k in range(5)]
            assert await clients[0].append(1) == 1
            writes = world.roles["san-1"]._counts.total[Operation.WRITE]
            appends = [client.append(2) for client in clients]
            assert await asyncio.gather(*appends, clients[0].append(3, RAM)) == [1] * 6
            assert world.roles["san-1"]._counts.total[Operation.WRITE] == writes + 2
            assert on_volume(world) == 7

    in_virtual_time(scenario())


def test_only_the_guest_that_lives_has_a_writer() -> None:
    def writers() -> int:
        return sum("_keep_written" in repr(task) for task in asyncio.all_tasks())

    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            for number in (1, 2, 3):
                assert await client.append(number) == 1
                assert writers() == 1
            world.agent.crash_guest("cna-01", 1)
            await until(lambda: world.states() == [VmState.RUNNING], "the next boot")
            assert await client.append(4) == 1
            await until(lambda: writers() == 1, "the end of the writer of the boot before")

    in_virtual_time(scenario())


def test_a_new_boot_writes_where_no_write_of_an_earlier_one_can_arrive() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            await client.append(1, DISK)
            await client.append(2, RAM)
            world.agent.crash_guest("cna-01", 1)
            await client.append(3, DISK)
            facts = world.roles["san-1"].facts
            assert facts is not None
            assert list(facts.offsets(1, 0)) == [0, 8192]

    in_virtual_time(scenario())


def test_a_vm_that_may_not_answer_keeps_silent() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await Client(world, "i-00000009").append(1) is grpc.StatusCode.NOT_FOUND
            assert await Client(world, "web").append(1) is grpc.StatusCode.INVALID_ARGUMENT
            assert await client.append(1, RAM) == 1
            await world.orders.PauseVm(agent_pb2.VmRequest(command=world.command(), vm=VM))
            assert await client.append(2, RAM) is UNAVAILABLE
            assert await client.ledger() is UNAVAILABLE
            await world.orders.ResumeVm(agent_pb2.VmRequest(command=world.command(), vm=VM))
            assert await client.append(2, RAM) == 1
            await world.at(10.0)
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(9.0 + LEASE_S - 0.1)
            assert await client.append(3, RAM) == 1
            await world.at(9.0 + LEASE_S + 0.1)
            assert await client.append(4, RAM) is UNAVAILABLE
            assert world.agent.counters.answers[Outcome.REFUSED] >= 3

    in_virtual_time(scenario())


def test_an_answer_is_checked_at_the_moment_it_leaves() -> None:
    """The entry is written while the lease runs, and the answer is ready when it does no more."""

    async def scenario() -> None:
        async with storing(StorageWorld(tick_s=1000.0)) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1) == 1
            await world.at(10.0)
            waiting = asyncio.ensure_future(client.append(2, limit_s=60.0))
            await world.at(10.00001)  # the write is on its way
            world.process.hang()
            await until(lambda: on_volume(world) == 2, "the write")
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(9.0 + LEASE_S + 5.0)
            world.process.wake()
            assert await waiting is UNAVAILABLE
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            await until(lambda: world.states() == [VmState.RUNNING], "it goes on")
            assert await client.append(2) == 1
            assert on_volume(world) == 2

    in_virtual_time(scenario())


def test_requests_that_a_process_slept_through_are_answered_by_nobody() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1) == 1
            await world.at(10.0)
            world.process.hang()
            waiting = [
                asyncio.ensure_future(client.append(number, RAM, limit_s=60.0))
                for number in range(2, 6)
            ]
            await world.at(11.0)
            await world.fence(1, 2)
            await world.at(9.0 + LEASE_S + 5.0)  # and its connections still stand
            world.process.wake()
            assert set(await asyncio.gather(*waiting)) <= {UNAVAILABLE, grpc.StatusCode.NOT_FOUND}

    in_virtual_time(scenario())


def test_a_process_that_slept_past_its_leases_writes_nothing() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            await world.at(10.0)
            assert await Client(world).append(1, RAM) == 1
            world.process.hang()
            await world.at(11.0)
            await world.fence(1, 2)
            await world.at(9.0 + LEASE_S + 5.0)
            world.process.wake()
            await until(lambda: world.notices("vm.discarded"), "the copy is void")
            load = await world.stub().ListDatastores(storage_pb2.ListDatastoresRequest())
            assert load.refused_total == 1, "its renewal; no write was tried"

    in_virtual_time(scenario())


def test_a_write_at_a_barred_epoch_voids_the_copy() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1) == 1
            await world.at(world.clock.now() + 0.5)
            await world.fence(1, 2)
            assert await client.append(2) is UNAVAILABLE
            await until(lambda: world.notices("vm.discarded"), "the VRM knows")
            assert not world.states()
            assert "refused to write" in world.notices("vm.discarded")[0].message
            assert on_volume(world) == 1

    in_virtual_time(scenario())


def test_a_full_datastore_freezes_its_writers_until_there_is_room_and_loses_nothing() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=(SMALL,))) as world:
            await world.run_vms(disk_vm(), disk_vm("hog"))
            client, hog = Client(world), Client(world, "i-00000002", "hog")
            for number in (1, 2):
                assert await hog.append(number) == 1
            assert await client.append(1) == 1
            assert await client.append(2) is DEADLINE, "nobody answers for it"
            assert await client.append(3) is UNAVAILABLE
            row = (await world.listed())[VM]
            assert row.held == registry_pb2.HOLD_CAUSE_SPACE
            assert world.states() == [VmState.PAUSED, VmState.RUNNING]
            await until(lambda: world.notices("vm.held"), "the VRM knows")
            assert "datastore ds-1 on array san-1 is full" in world.notices()[0].message
            assert list(world.vrm.reports[-1].vms.held_cause) == [registry_pb2.HOLD_CAUSE_SPACE]
            await world.at(60.0)
            assert len(world.notices()) == 1
            stop = agent_pb2.StopVmRequest(
                command=world.command(), vm="i-00000002", mode=common_pb2.STOP_MODE_FORCE
            )
            await world.orders.StopVm(stop)
            await world.delete(2)
            await until(lambda: VmState.RUNNING in world.states(), "it goes on")
            assert await client.ledger() == [1, 2]
            assert await client.append(2) == 1
            await until(lambda: world.notices("vm.resumed"), "the VRM knows")
            assert on_volume(world) == 2

    in_virtual_time(scenario())


def test_an_array_that_restarts_holds_an_entry_up_and_loses_none() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1) == 1
            world.arrays["san-1"].kill()
            waiting = asyncio.ensure_future(client.append(2, limit_s=60.0))
            await world.at(world.clock.now() + 2.0)
            assert not waiting.done()
            await world.array_up()
            assert await waiting == 1
            assert on_volume(world) == 2

    in_virtual_time(scenario())


def test_a_ledger_that_cannot_be_read_answers_nobody_until_it_can() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            world.arrays["san-1"].kill()
            client = Client(world)
            assert await client.append(1, RAM) is UNAVAILABLE
            await world.array_up()
            assert await client.append(1, RAM) == 1

    in_virtual_time(scenario())


def test_the_newest_copy_of_a_process_is_the_one_that_answers() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            await world.run_vms(disk_vm())
            client = Client(world)
            assert await client.append(1, RAM) == 1
            assert not (await world.start(disk_vm(), on="cna-02", epoch=3)).refusals
            assert await client.append(2, DISK) == 3
            await until(lambda: len(world.states()) == 1, "the older copy is void")
            assert await client.ledger() == [2]
            await world.power.Off(PowerRequest(host="cna-02"))
            assert await client.append(3) is grpc.StatusCode.NOT_FOUND

    in_virtual_time(scenario())


def test_a_vm_without_a_volume_keeps_no_ledger() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=(SAN_1,))) as world:
            await world.start(vm())
            assert await Client(world).append(1, RAM) is grpc.StatusCode.FAILED_PRECONDITION

    in_virtual_time(scenario())

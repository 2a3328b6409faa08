"""What is frozen while a VM is handed over: its guest, its ledger and the calls of its clients.

The agent has both hosts, and the steps are taken by hand.
"""

from __future__ import annotations

import asyncio

import grpc
import pytest

from cluster.agent.holdings import HoldCause, Holding
from cluster.network import Plane
from cluster.rpc.v1 import agent_pb2, registry_pb2, storage_pb2
from cluster.rpc.v1.power_pb2 import PowerRequest
from fusion.errors import InvalidInput, NotFound, Refused
from fusion.spec import IsolationResponse
from fusion.vm import VmState
from tests.cluster.agent_world import host
from tests.cluster.storage_world import LEASE_S, RENEWAL_S, StorageWorld, disk_vm, storing
from tests.cluster.test_agent_guests import DEADLINE, DISK, RAM, UNAVAILABLE, VM, Client, on_volume
from tests.cluster.virtual_time import in_virtual_time, until

SOURCE, DESTINATION = "cna-01", "cna-02"
HERE, THERE, BACK = 4, 5, 6  # the epochs of a migration
WHY = "its array has said so"


class Migration(StorageWorld):
    """VM 1 migrates from one host to the other, step by step."""

    def __init__(self, response: IsolationResponse = IsolationResponse.LEAVE_RUNNING) -> None:
        super().__init__((host(SOURCE), 1), (host(DESTINATION), 1), response=response)

    def states(self) -> list[VmState]:
        """Return the states of all VMs as of now."""
        vms = self.agent._chassis.current_view().vms
        return [vms.state_of(row) for row in range(len(vms))]

    async def begin(self) -> Holding:
        """Let the VM run and begin to migrate; return the copy at the source."""
        await self.run_vms(disk_vm(), epoch=HERE)
        with self.agent._chassis.change() as fleet:
            fleet.begin_migration(SOURCE, 1)
            fleet.expect(DESTINATION, 1, disk_vm())
        return self.held()

    def freeze(self) -> None:
        self.agent.copies.hold([self.held()], HoldCause.HAND_OVER, lambda _: WHY)

    async def ask(self, to_epoch: int) -> float:
        """Have the array hand the VM over; return until when the lease lasts."""
        sent_s = self.clock.now()
        request = storage_pb2.HandOverRequest(vm_number=1, from_epoch=HERE, to_epoch=to_epoch)
        reply = await self.stub().HandOver(request)
        assert reply.granted
        return sent_s + reply.lease_s

    async def move(self) -> None:
        """Have it run at the destination, and then be gone from the source."""
        ledger, copies = self.agent._ledgers.hand_out(SOURCE, 1), self.agent.copies
        until_s = await self.ask(THERE)
        spec = disk_vm()
        with self.agent._chassis.change() as fleet:
            fleet.arrive(DESTINATION, 1, spec, 1, fleet.hand_out(SOURCE, 1))
            copies.take(
                Holding(DESTINATION, 1, spec.name, THERE, spec.volumes, until_s={"san-1": until_s})
            )
        self.agent._ledgers.take_in(DESTINATION, 1, ledger)
        copies.give_away(self.held())

    async def take_back(self) -> None:
        """Let it go on at the source."""
        holding, copies = self.held(), self.agent.copies
        copies.take_back(holding, BACK, "san-1", await self.ask(BACK))
        copies.release([holding], HoldCause.HAND_OVER, WHY)
        with self.agent._chassis.change() as fleet:
            fleet.end_migration(SOURCE, 1)


def test_the_guest_answers_until_it_is_frozen_and_its_calls_wait_from_then_on() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            client = Client(world)
            assert await client.append(1, RAM) == HERE
            assert await client.append(2, DISK) == HERE
            world.freeze()
            waiting = [
                asyncio.ensure_future(client.append(3, RAM, limit_s=9.0)),
                asyncio.ensure_future(client.append(4, DISK, limit_s=9.0)),
            ]
            assert await client.append(5, RAM, limit_s=0.5) is DEADLINE
            assert not any(one.done() for one in waiting)
            await world.move()
            moved_s = world.clock.now()
            assert await asyncio.gather(*waiting) == [UNAVAILABLE, UNAVAILABLE]
            assert await client.append(3, RAM) == THERE
            assert await client.ledger() == [1, 2, 3]
            assert world.clock.now() == pytest.approx(moved_s, abs=0.01), "nothing was read back"

    in_virtual_time(scenario())


def test_what_was_acknowledged_from_memory_survives_and_is_written_where_it_arrives() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            client = Client(world)
            assert [await client.append(number, RAM) for number in (1, 2, 3)] == [HERE] * 3
            world.freeze()
            await world.at(world.clock.now() + 6.0)
            assert on_volume(world) == 0, "it keeps still, for however long that is"
            await world.move()
            await until(lambda: on_volume(world) == 3, "all is on the volume")
            world.agent.crash_guest(DESTINATION, 1)
            assert await client.ledger() == [1, 2, 3]
            assert await client.append(4, DISK) == THERE
            assert on_volume(world) == 4

    in_virtual_time(scenario())


def test_it_goes_on_at_the_source_as_if_nothing_had_been() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            client = Client(world)
            assert await client.append(1, RAM) == HERE
            world.freeze()
            waiting = [
                asyncio.ensure_future(client.append(2, RAM, limit_s=9.0)),
                asyncio.ensure_future(client.append(3, DISK, limit_s=9.0)),
            ]
            world.agent._ledgers.hand_out(SOURCE, 1)
            await world.at(world.clock.now() + 2.0)
            assert not any(one.done() for one in waiting)
            await world.take_back()
            back_s = world.clock.now()
            assert await asyncio.gather(*waiting) == [BACK, BACK]
            assert world.clock.now() == pytest.approx(back_s, abs=0.01)
            assert await client.ledger() == [1, 2, 3]
            assert world.states() == [VmState.RUNNING]
            assert holding.epoch == world.held().epoch == BACK
            await world.at(world.clock.now() + 3 * LEASE_S)
            assert on_volume(world) == 3
            assert await client.append(4, DISK) == BACK
            assert not world.notices()

    in_virtual_time(scenario())


@pytest.mark.parametrize("moved", [True, False])
def test_an_entry_on_its_way_to_the_volume_is_there_once(moved: bool) -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            client = Client(world)
            assert await client.append(1, DISK) == HERE
            world.fabric.wires.cut("san-1", "chassis-1", Plane.STORAGE)  # nobody hears of it
            waiting = asyncio.ensure_future(client.append(2, DISK, limit_s=9.0))
            await until(lambda: on_volume(world) == 2, "the write")
            world.freeze()
            if moved:
                await world.move()
            else:
                await world.take_back()
            world.fabric.wires.mend("san-1", "chassis-1", Plane.STORAGE)
            assert await waiting == (UNAVAILABLE if moved else BACK)
            assert await client.append(2, DISK) == (THERE if moved else BACK)
            assert await client.append(3, DISK) == (THERE if moved else BACK)
            assert on_volume(world) == 3
            assert await client.ledger() == [1, 2, 3]

    in_virtual_time(scenario())


@pytest.mark.parametrize("moved", [True, False])
def test_a_write_that_comes_too_late_for_its_epoch_voids_nothing(moved: bool) -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            client = Client(world)
            assert await client.append(1, DISK) == HERE
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            waiting = asyncio.ensure_future(client.append(2, DISK, limit_s=9.0))
            await world.at(world.clock.now() + 0.1)
            world.freeze()
            if moved:
                ledger = world.agent._ledgers.hand_out(SOURCE, 1)
                await world.ask(THERE)
            else:
                await world.take_back()
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            if moved:
                await world.at(world.clock.now() + 1.0)
                assert not waiting.done()
                assert ledger
                assert world.agent.copies.has(world.held()), "whoever hands it over drops it"
                world.agent.copies.give_away(world.held())
                assert await waiting is UNAVAILABLE
                assert on_volume(world) == 1
            else:
                assert await waiting == BACK
                assert on_volume(world) == 2
            assert not world.notices()

    in_virtual_time(scenario())


def test_a_ledger_that_nobody_has_read_yet_is_read_where_it_arrives() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            client = Client(world)
            assert await client.append(1, DISK) == HERE
            with world.agent._chassis.change() as fleet:
                fleet.end_migration(SOURCE, 1)
            world.agent.crash_guest(SOURCE, 1)
            with world.agent._chassis.change() as fleet:
                fleet.begin_migration(SOURCE, 1)
            world.freeze()
            assert world.agent._ledgers.hand_out(SOURCE, 1) == b"", "that was another boot's"
            await world.move()
            assert await client.ledger() == [1]
            assert await client.append(2, DISK) == THERE

    in_virtual_time(scenario())


def test_a_guest_that_still_writes_is_not_handed_out() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            ledgers = world.agent._ledgers
            with pytest.raises(Refused, match="i-00000001 is not handed over; its guest may"):
                ledgers.hand_out(SOURCE, 1)
            with pytest.raises(NotFound, match="cna-02 has no VM i-00000001"):
                ledgers.take_in(DESTINATION, 1, b"{}")
            with pytest.raises(InvalidInput, match="damaged"):
                ledgers.take_in(SOURCE, 1, b"{}")

    in_virtual_time(scenario())


def test_nobody_is_told_of_a_hand_over_but_that_the_vm_migrates() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            world.freeze()
            await world.at(world.clock.now() + 5.0)
            row = (await world.listed())[VM]
            assert row.held == registry_pb2.HOLD_CAUSE_UNSPECIFIED
            assert world.states() == [VmState.MIGRATING]
            assert not world.vrm.reports[-1].vms.held_vm
            await world.take_back()
            await world.at(world.clock.now() + 5.0)
            assert not world.notices()

    in_virtual_time(scenario())


def test_renewals_that_the_array_bars_leave_the_copy_to_whoever_hands_it_over() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            world.freeze()
            await world.ask(THERE)
            await world.at(world.clock.now() + 2 * RENEWAL_S)
            assert world.agent.copies.has(holding)
            assert not world.notices()
            world.agent.copies.give_away(holding)
            world.agent.copies.give_away(holding)
            assert world.states() == []
            await world.at(world.clock.now() + 5.0)
            assert not world.notices()

    in_virtual_time(scenario())


def test_a_bar_on_the_epoch_before_does_not_void_what_was_taken_back() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            await world.at(8.0)
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)  # holds the renewal of 9 s
            await world.at(10.0)
            world.freeze()
            await world.take_back()
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            await world.at(11.0)
            assert world.agent.copies.has(holding)
            await world.at(11.0 + 3 * LEASE_S)
            assert world.states() == [VmState.RUNNING]
            assert not world.notices()
            facts = world.roles["san-1"].facts
            assert facts is not None
            assert facts.epoch(1) == BACK

    in_virtual_time(scenario())


def test_what_was_taken_back_is_renewed_at_its_new_epoch() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            world.freeze()
            await world.at(RENEWAL_S + 1.0)
            world.agent.copies.take_back(holding, BACK, "san-1", await world.ask(BACK))
            await world.at(world.clock.now() + 3 * LEASE_S)
            assert holding.leased(world.clock.now())
            assert not world.notices(), "it always was"

    in_virtual_time(scenario())


def test_a_lease_that_comes_back_does_not_let_it_go_on() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            await world.at(10.0)
            world.freeze()
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(9.0 + LEASE_S + 1.0)
            assert holding.causes == HoldCause.HAND_OVER | HoldCause.LEASE
            assert world.states() == [VmState.MIGRATING]
            assert (await world.listed())[VM].held == registry_pb2.HOLD_CAUSE_UNSPECIFIED
            assert not world.vrm.reports[-1].vms.held_vm
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            await world.at(9.0 + LEASE_S + 1.0 + RENEWAL_S)
            assert holding.causes == HoldCause.HAND_OVER
            assert await Client(world).append(1, RAM, limit_s=1.0) is DEADLINE
            await world.take_back()
            assert await Client(world).append(1, RAM) == BACK

    in_virtual_time(scenario())


def test_what_is_taken_back_has_a_lease_again_at_once() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            await world.at(10.0)
            world.freeze()
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(9.0 + LEASE_S + 1.0)
            assert HoldCause.LEASE in holding.causes
            await world.take_back()
            assert world.states() == [VmState.RUNNING]
            assert holding.lease_until_s == world.clock.now() + LEASE_S

    in_virtual_time(scenario())


def test_one_that_may_not_go_on_for_another_cause_is_paused_then() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            holding = await world.begin()
            world.agent.copies.hold([holding], HoldCause.SPACE, lambda _: "its datastore is full")
            assert world.states() == [VmState.PAUSED]
            world.freeze()
            assert world.states() == [VmState.MIGRATING]
            await world.take_back()
            assert world.states() == [VmState.PAUSED]
            row = (await world.listed())[VM]
            assert row.held == registry_pb2.HOLD_CAUSE_SPACE
            world.agent.copies.release([holding], HoldCause.SPACE, "there is room")
            assert world.states() == [VmState.RUNNING]

    in_virtual_time(scenario())


@pytest.mark.parametrize("how", ["order", "power"])
def test_calls_wait_for_no_copy_that_is_gone(how: str) -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.begin()
            assert await Client(world).append(1, RAM) == HERE
            world.freeze()
            waiting = [
                asyncio.ensure_future(Client(world).append(number, RAM, limit_s=60.0))
                for number in (1, 2)
            ]
            await world.at(world.clock.now() + 1.0)
            if how == "order":
                discard = agent_pb2.DiscardVmsRequest(
                    command=world.command(), vm=[VM], epoch=[BACK + 1]
                )
                await world.orders.DiscardVms(discard)
            else:
                await world.power.Off(PowerRequest(host=SOURCE))
            began_s = world.clock.now()
            assert await asyncio.gather(*waiting) == [UNAVAILABLE, UNAVAILABLE]
            assert world.clock.now() <= began_s + RENEWAL_S
            assert await Client(world).append(3, RAM) is grpc.StatusCode.NOT_FOUND

    in_virtual_time(scenario())


def test_only_a_vm_that_migrates_is_handed_over() -> None:
    async def scenario() -> None:
        async with storing(Migration()) as world:
            await world.run_vms(disk_vm())
            with pytest.raises(Refused, match="does not migrate any more"):
                world.freeze()
            assert world.states() == [VmState.RUNNING]
            assert not world.held().causes
            assert not world.agent.copies.held()
            assert await Client(world).append(1, RAM) == 1

    in_virtual_time(scenario())


def test_an_isolated_host_halts_no_vm_of_which_the_array_has_yet_to_say_whose_it_is() -> None:
    async def scenario() -> None:
        async with storing(Migration(response=IsolationResponse.STOP)) as world:
            await world.begin()
            world.freeze()
            await world.vrm_down()
            await until(lambda: world.agent.counters.notices["host.isolated"], "it is isolated")
            await world.at(world.clock.now() + 20.0)
            assert world.states() == [VmState.MIGRATING]
            await world.take_back()
            await until(lambda: world.states() in ([], [VmState.STOPPED]), "it halts")

    in_virtual_time(scenario())

"""Whatever fails during a migration, one host has the VM, and its array says which."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cluster.agent.agent import Agent
from cluster.agent.holdings import HoldCause
from cluster.network import Plane
from cluster.rpc.convert import vm_to_message
from cluster.rpc.v1 import agent_pb2 as pb
from cluster.rpc.v1 import agent_pb2_grpc, power_pb2, power_pb2_grpc
from cluster.simulated.network import SimulatedNetwork
from fusion.errors import NotFound, Refused
from fusion.vm import VmState, vm_id
from tests.cluster.agent_migration_world import (
    BACK,
    DESTINATION,
    EPOCH,
    HAND_OVER,
    MIGRATION,
    MOVED,
    SOURCE,
    STAYED,
    THERE,
    VM,
    MigrationWorld,
    busy_vm,
    migrating,
    migration_host,
)
from tests.cluster.storage_world import LEASE_S, SAN_1, SAN_2
from tests.cluster.virtual_time import in_virtual_time, until

#: Of the hand-over in these tests: the last round ends, and the destination resumes the VM.
FINAL_S, RESUMED_S = 0.06, 0.16


def cut(world: MigrationWorld, a: str, b: str, plane: Plane, *, mend: bool = False) -> None:
    """Cut both directions between two names, or mend them."""
    act = world.fabric.wires.mend if mend else world.fabric.wires.cut
    act(a, b, plane)
    act(b, a, plane)


def running(world: MigrationWorld, agent: Agent) -> bool:
    return world.states_at(agent).get(VM) is VmState.RUNNING


async def at_source(world: MigrationWorld, epoch: int) -> None:
    """The VM goes on at the source, at ``epoch``, and nothing of it is at the destination."""
    outcome = await world.outcome()
    assert (outcome.phase, outcome.epoch) == (STAYED, epoch), outcome.reason
    assert world.array_epoch() == epoch
    assert world.held().epoch == epoch
    await until(lambda: running(world, world.agent), "it runs at the source")
    await until(lambda: not world.expected_bytes(), "its room is given up")
    await world.settled()
    assert world.states_at(world.other) == {}
    await world.at(world.clock.now() + 3 * LEASE_S)
    assert running(world, world.agent), "its lease is renewed"


async def at_destination(world: MigrationWorld) -> None:
    """The VM is the destination's, and nothing of it is left at the source."""
    outcome = await world.outcome()
    assert (outcome.phase, outcome.epoch) == (MOVED, THERE)
    assert world.array_epoch() == THERE
    assert world.states_at(world.agent) == {}
    await until(lambda: running(world, world.other), "it runs at the destination")
    await world.settled()
    await world.at(world.clock.now() + 3 * LEASE_S)
    assert running(world, world.other), "its lease is renewed"


# --- before the hand-over


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_a_vm_goes_on_where_its_destination_is_lost(how: str) -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 3.0)
            if how == "killed":
                world.other_process.kill()
                await world.other_up()
            else:
                cut(world, "chassis-1", DESTINATION, Plane.MIGRATION)
            await at_source(world, EPOCH)
            assert DESTINATION in (await world.outcome()).reason

    in_virtual_time(scenario())


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_a_half_built_copy_is_dropped_where_its_source_is_lost(how: str) -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 3.0)
            assert world.expected_bytes()
            if how == "killed":
                world.process.kill()
            else:
                cut(world, "chassis-1", DESTINATION, Plane.MIGRATION)
            await world.at(world.clock.now() + LEASE_S / 2 + 0.5)
            assert not world.expected_bytes()
            assert not world.other.migrations.incoming
            assert world.array_epoch() == EPOCH

    in_virtual_time(scenario())


def given_up_there(migration: str) -> pb.CancelMigrationRequest:
    """Return the word with which a VRM ends a migration at its destination."""
    command = pb.Command(host=DESTINATION, incarnation=1)
    return pb.CancelMigrationRequest(command=command, vm=VM, migration=migration)


def test_a_destination_gives_up_what_it_does_not_have_and_takes_it_in_no_more() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 2.0)
            await world.other.migrations.cancel(given_up_there(MIGRATION))
            await until(lambda: not world.expected_bytes(), "its room is given up")
            assert "the VRM ended migration" in (await world.outcome()).reason
            with pytest.raises(NotFound):
                await world.other.migrations.cancel(given_up_there("m-2"))
            await world.migrate(migration="m-2")  # which had been on its way
            assert "the VRM ended migration m-2" in (await world.outcome("m-2")).reason
            await world.migrate(migration="m-3")
            await world.in_phase(HAND_OVER, "m-3")
            await until(lambda: world.other.migrations.incoming[0].deciding, "the hand-over")
            with pytest.raises(Refused, match="is being handed over"):
                await world.other.migrations.cancel(given_up_there("m-3"))
            assert (await world.outcome("m-3")).phase == MOVED

    in_virtual_time(scenario())


def test_a_source_that_slept_finds_its_guest_as_it_left_it() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 3.0)
            await world.hung_until(world.clock.now() + 3 * LEASE_S)
            await at_source(world, EPOCH)

    in_virtual_time(scenario())


def test_a_guest_whose_lease_has_ended_is_not_handed_over() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            cut(world, "chassis-1", "san-1", Plane.STORAGE)
            await world.at(world.clock.now() + 2.0)
            await world.migrate()
            outcome = await world.outcome()
            assert (outcome.phase, outcome.epoch) == (STAYED, EPOCH)
            assert "its lease on san-1 has ended" in outcome.reason
            assert world.held().causes is HoldCause.LEASE
            cut(world, "chassis-1", "san-1", Plane.STORAGE, mend=True)
            await at_source(world, EPOCH)

    in_virtual_time(scenario())


def test_a_copy_that_the_vrm_gave_up_is_not_migrated_on() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 2.0)
            await world.fence(1, 9)
            discard = pb.DiscardVmsRequest(command=world.command(), vm=[VM], epoch=[9])
            await world.orders.DiscardVms(discard)
            outcome = await world.outcome()
            assert outcome.phase == STAYED
            assert "not on host cna-01 any more" in outcome.reason
            await until(lambda: not world.expected_bytes(), "its room is given up")
            assert world.states_at(world.agent) == {}

    in_virtual_time(scenario())


@pytest.mark.parametrize("which", [SOURCE, DESTINATION])
def test_a_host_that_loses_its_power_leaves_nothing_of_a_migration(which: str) -> None:
    async def scenario() -> None:
        hosts = (migration_host(SOURCE), migration_host("cna-08"))
        others = (migration_host(DESTINATION), migration_host("cna-09"))
        async with migrating(MigrationWorld(hosts=hosts, destinations=others)) as world:
            await world.migrate()
            await world.at(world.clock.now() + 2.0)
            network = SimulatedNetwork(world.fabric, "bmc")
            off = power_pb2.PowerRequest(host=which)
            await power_pb2_grpc.PowerStub(network.channel(which, Plane.BMC)).Off(off)
            await world.at(world.clock.now() + 0.5)
            assert not world.agent.migrations.outgoing
            assert not world.other.migrations.incoming
            assert not world.expected_bytes()
            if which == DESTINATION:
                assert running(world, world.agent)
                assert (await world.outcome()).phase == STAYED
            else:
                capacity = world.agent._chassis.current_view().hosts.cpu_capacity_mhz
                assert capacity[0] == capacity[1]

    in_virtual_time(scenario())


# --- during it


def test_a_vm_is_taken_back_where_the_destination_reaches_no_array() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            cut(world, "chassis-2", "san-1", Plane.STORAGE)
            outcome = await world.outcome()
            assert "did not answer for 4.5 s" in outcome.reason
            assert outcome.downtime_s == pytest.approx(FINAL_S + LEASE_S / 2, abs=0.01)
            assert running(world, world.agent)
            assert world.expected_bytes(), "it may have been granted, for all that it knows"
            cut(world, "chassis-2", "san-1", Plane.STORAGE, mend=True)
            await at_source(world, BACK)

    in_virtual_time(scenario())


def test_a_source_that_does_not_hear_of_the_commitment_learns_of_it_from_the_array() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            await world.at(world.clock.now() + FINAL_S + 0.02)
            assert world.array_epoch() == THERE
            cut(world, "chassis-1", DESTINATION, Plane.MIGRATION)
            await at_destination(world)

    in_virtual_time(scenario())


def test_nobody_runs_a_vm_until_the_array_has_answered_one_of_them() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            world.arrays["san-1"].kill()
            await world.at(world.clock.now() + 3 * LEASE_S)
            assert not running(world, world.agent)
            assert not running(world, world.other)
            await world.array_up()
            outcome = await world.outcome()
            if outcome.phase == MOVED:
                await at_destination(world)
            else:
                await at_source(world, BACK)

    in_virtual_time(scenario())


def test_a_vm_that_the_vrm_fenced_meanwhile_is_nobodys() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            await world.fence(1, 9)
            outcome = await world.outcome()
            assert (outcome.phase, outcome.epoch) == (STAYED, EPOCH)
            assert "array san-1 has epoch 9 of it" in outcome.reason
            await world.settled()
            assert world.states_at(world.agent) == world.states_at(world.other) == {}
            assert not world.expected_bytes()

    in_virtual_time(scenario())


def test_what_was_taken_back_outlives_a_late_answer_to_a_renewal_of_before() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld(arrays=(SAN_1, SAN_2))) as world:
            await world.migrate(busy_vm(SAN_1, SAN_2))
            await world.in_phase(HAND_OVER)
            await world.at(world.clock.now() + 0.01)
            cut(world, "chassis-2", "san-1", Plane.STORAGE)
            await until(lambda: world.array_epoch() == BACK, "it is taken back")
            cut(world, "chassis-2", "san-1", Plane.STORAGE, mend=True)
            await at_source(world, BACK)
            assert world.array_epoch("san-2") == BACK, "other arrays follow at a renewal"

    in_virtual_time(scenario())


@pytest.mark.parametrize("asleep_s", [1.0, 3 * LEASE_S])
@pytest.mark.parametrize("offset_s", [0.0, 0.03, FINAL_S - 0.001, FINAL_S + 0.01, 0.12, 0.155])
def test_a_source_that_slept_through_the_hand_over_asks_who_has_it(
    offset_s: float, asleep_s: float
) -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            await world.at(world.clock.now() + offset_s)
            await world.hung_until(world.clock.now() + asleep_s)
            outcome = await world.outcome()
            assert outcome.epoch == world.array_epoch()
            if outcome.phase == MOVED:
                await at_destination(world)
            else:
                await at_source(world, outcome.epoch)

    in_virtual_time(scenario())


@pytest.mark.parametrize("asleep_s", [1.0, 3 * LEASE_S])
@pytest.mark.parametrize("offset_s", [0.0, 0.03, FINAL_S - 0.001, FINAL_S + 0.01, 0.12, 0.155])
def test_a_destination_that_slept_through_the_hand_over_runs_nothing_that_is_not_its_own(
    offset_s: float, asleep_s: float
) -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            await world.at(world.clock.now() + offset_s)
            world.other_process.hang()
            await world.at(world.clock.now() + asleep_s)
            world.other_process.wake()
            outcome = await world.outcome()
            assert outcome.epoch == world.array_epoch()
            if outcome.phase == MOVED:
                await at_destination(world)
            else:
                await at_source(world, outcome.epoch)

    in_virtual_time(scenario())


def _kill_source(world: MigrationWorld) -> None:
    world.process.kill()


def _kill_destination(world: MigrationWorld) -> None:
    world.other_process.kill()


@pytest.mark.parametrize("offset_s", [0.0, 0.03, FINAL_S - 0.001, FINAL_S + 0.01, 0.12, 0.155])
@pytest.mark.parametrize("kill", [_kill_source, _kill_destination])
def test_a_host_that_dies_leaves_the_vm_to_whom_the_array_says(
    kill: Callable[[MigrationWorld], None], offset_s: float
) -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.in_phase(HAND_OVER)
            await world.at(world.clock.now() + offset_s)
            kill(world)
            await world.at(world.clock.now() + LEASE_S)
            if kill is _kill_source:
                assert running(world, world.other) == (world.array_epoch() == THERE)
                assert not world.expected_bytes()
                assert not world.other.migrations.incoming
            else:
                outcome = await world.outcome()
                assert outcome.epoch == world.array_epoch()
                assert running(world, world.agent) == (outcome.phase == STAYED)
                assert (outcome.phase == MOVED) == (world.array_epoch() == THERE)

    in_virtual_time(scenario())


def test_a_start_at_a_later_epoch_takes_the_place_of_what_comes_in() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 2.0)
            world.process.kill()
            await world.fence(1, 9)
            network = SimulatedNetwork(world.fabric, "vrm")
            orders = agent_pb2_grpc.AgentStub(network.channel(DESTINATION))
            domain = pb.Domain(vm=vm_id(1), seed=1, spec=vm_to_message(busy_vm()), epoch=9)
            command = world.command()
            command.host = DESTINATION
            reply = await orders.StartVms(pb.StartVmsRequest(command=command, domains=[domain]))
            assert not reply.refusals
            await until(lambda: running(world, world.other), "it runs")
            await world.settled_there()
            assert running(world, world.other)
            assert not world.expected_bytes()
            assert MIGRATION not in [one.migration for one in world.other.passages.arrived]

    in_virtual_time(scenario())

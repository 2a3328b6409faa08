"""Live migration between two agents: what is sent, who has the VM, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import grpc
import pytest
from prometheus_client import CollectorRegistry

from cluster.metrics.agent import AgentMetrics
from cluster.network import Plane
from cluster.rpc.v1 import agent_pb2 as pb
from cluster.rpc.v1 import common_pb2, service_pb2, service_pb2_grpc
from cluster.simulated.network import SimulatedNetwork
from fusion.memory.spec import GuestMemory, WriteSet
from fusion.migration.forecast import forecast
from fusion.migration.settings import HANDOVER_S, Compression, MigrationSettings, NoConvergence
from fusion.spec import GIB
from fusion.vm import VmState
from tests.cluster.agent_migration_world import (
    DESTINATION,
    EPOCH,
    HAND_OVER,
    MEMORY,
    MIGRATION,
    MOVED,
    PLAIN,
    SLOW,
    SOURCE,
    STAYED,
    THERE,
    VM,
    MigrationWorld,
    busy_vm,
    migrating,
    migration_host,
)
from tests.cluster.array_world import fails_with
from tests.cluster.storage_world import LEASE_S, SAN_1, SAN_2, disk_vm
from tests.cluster.virtual_time import in_virtual_time, until

REFUSED = grpc.StatusCode.FAILED_PRECONDITION


def test_a_vm_moves_while_its_guest_works_on() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.at(10.0)
            reply = await world.migrate()
            assert reply.state == common_pb2.VM_STATE_MIGRATING
            told = await world.watched()
            assert [one.phase for one in told[-2:]] == [HAND_OVER, MOVED]
            assert told[-1].epoch == THERE
            assert told[-1].remaining_bytes == 0
            assert told[-1].downtime_s == pytest.approx(0.16, abs=0.01)
            assert world.states_at(world.agent) == {}
            assert world.states_at(world.other) == {VM: VmState.RUNNING}
            assert world.array_epoch() == THERE
            arrived = world.arrived()
            assert arrived is not None
            assert arrived.epoch == THERE
            assert arrived.leased(world.clock.now())
            await world.settled()
            assert world.gateway.announced == [(1, DESTINATION, THERE)]
            assert world.expected_bytes() == 0
            await world.at(world.clock.now() + 3 * LEASE_S)
            assert world.states_at(world.other) == {VM: VmState.RUNNING}, "its lease is renewed"

    in_virtual_time(scenario())


def test_the_memory_that_arrives_is_that_which_left() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.outcome()
            [left], [arrived] = world.agent.passages.left, world.other.passages.arrived
            assert (left.migration, left.vm, left.epoch) == (MIGRATION, 1, EPOCH)
            assert (arrived.migration, arrived.vm, arrived.epoch) == (MIGRATION, 1, THERE)
            assert left.digest == arrived.digest

    in_virtual_time(scenario())


@pytest.mark.parametrize("compression", list(Compression))
def test_it_takes_what_was_forecast(compression: Compression) -> None:
    async def scenario() -> None:
        settings = MigrationSettings(compression=compression)
        async with migrating(MigrationWorld()) as world:
            await world.at(5.0)
            pace = world.agent._chassis.write_pace(SOURCE, 1)
            expected = forecast(MEMORY, busy_vm().memory_bytes, settings, SLOW, pace)
            await world.migrate(settings=settings)
            outcome = await world.outcome()
            assert outcome.phase == MOVED
            assert outcome.elapsed_s == pytest.approx(expected.duration_s, rel=0.005)
            assert outcome.raw_bytes == pytest.approx(expected.raw_bytes, rel=0.005)
            assert outcome.wire_bytes == pytest.approx(expected.wire_bytes, rel=0.005)
            assert outcome.downtime_s == pytest.approx(expected.downtime_s, abs=0.005)
            assert outcome.round == expected.rounds

    in_virtual_time(scenario())


def test_a_guest_that_writes_too_fast_is_slowed_down_and_has_all_its_processors_afterwards() -> (
    None
):
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            # 800 MiB are written at twice the rate of the network.
            memory = GuestMemory("hog", 0.1, write_sets=(WriteSet(800 << 20, 240 << 20),))
            hog = replace(busy_vm(), memory=memory)
            settings = replace(PLAIN, no_convergence=NoConvergence.AUTO_CONVERGE)
            await world.migrate(hog, settings=settings)
            told = await world.watched()
            shares = [one.throttle_share for one in told if one.throttle_share]
            assert shares[0] == 0.2
            assert sorted(shares) == shares
            assert told[-1].phase == MOVED
            view = world.other._chassis.current_view()
            assert view.vms.cpu_used_mhz[0] == view.vms.cpu_demand_mhz[0]

    in_virtual_time(scenario())


def test_a_guest_that_writes_too_fast_stays_where_that_is_wanted() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            memory = GuestMemory("hog", 0.1, write_sets=(WriteSet(800 << 20, 480 << 20),))
            settings = replace(PLAIN, no_convergence=NoConvergence.GIVE_UP, rounds=3)
            await world.migrate(replace(busy_vm(), memory=memory), settings=settings)
            outcome = await world.outcome()
            assert (outcome.phase, outcome.epoch) == (STAYED, EPOCH)
            assert "after 3 rounds" in outcome.reason
            assert world.states_at(world.agent) == {VM: VmState.RUNNING}
            await until(lambda: not world.expected_bytes(), "its room is given up")

    in_virtual_time(scenario())


def test_a_guest_that_hogs_memory_stays_and_goes_once_it_does_so_no_more() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            settings = replace(PLAIN, no_convergence=NoConvergence.GIVE_UP, rounds=3)
            await world.at(5.0)
            world.agent.hog_memory(SOURCE, 1, 480 << 20)
            await world.migrate(settings=settings)
            outcome = await world.outcome()
            assert outcome.phase == STAYED
            assert "after 3 rounds" in outcome.reason
            world.agent.hog_memory(SOURCE, 1, 0.0)
            await until(lambda: not world.expected_bytes(), "its room is given up")

    in_virtual_time(scenario())


def test_a_guest_that_hogs_memory_takes_that_along() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.at(5.0)
            world.agent.hog_memory(SOURCE, 1, 1 << 20)
            await world.migrate()
            assert (await world.outcome()).phase == MOVED
            assert world.other._chassis.hogged_bytes_s(DESTINATION, 1) == 1 << 20
            [left], [arrived] = world.agent.passages.left, world.other.passages.arrived
            assert left.digest == arrived.digest

    in_virtual_time(scenario())


def test_packing_takes_processors_of_the_host_and_gives_them_back() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:

            def capacity_mhz() -> float:
                return float(world.agent._chassis.current_view().hosts.cpu_capacity_mhz[0])

            whole_mhz = capacity_mhz()
            await world.migrate(settings=MigrationSettings(compression=Compression.ZSTD))
            await world.at(world.clock.now() + 2.0)
            assert whole_mhz - 2 * 2500.0 <= capacity_mhz() < whole_mhz
            assert (await world.outcome()).phase == MOVED
            assert capacity_mhz() == whole_mhz

    in_virtual_time(scenario())


def test_a_vm_on_two_arrays_has_leases_on_both_at_its_new_host() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld(arrays=(SAN_1, SAN_2))) as world:
            await world.migrate(busy_vm(SAN_1, SAN_2))
            assert (await world.outcome()).phase == MOVED
            assert [world.array_epoch(array) for array in ("san-1", "san-2")] == [THERE, THERE]
            arrived = world.arrived()
            assert arrived is not None
            assert arrived.leased(world.clock.now())
            assert world.states_at(world.other) == {VM: VmState.RUNNING}

    in_virtual_time(scenario())


def test_hosts_of_one_process_migrate_to_each_other() -> None:
    async def scenario() -> None:
        pair = (migration_host(SOURCE), migration_host("cna-08"))
        async with migrating(MigrationWorld(hosts=pair)) as world:
            await world.migrate(destination="cna-08")
            assert (await world.outcome()).phase == MOVED
            arrived = world.agent.copies.of("cna-08", 1)
            assert arrived is not None
            assert arrived.epoch == THERE
            assert world.agent.copies.of(SOURCE, 1) is None
            assert world.states_at(world.agent) == {VM: VmState.RUNNING}

    in_virtual_time(scenario())


def test_migrations_share_the_network_of_their_host() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.create({2: busy_vm()})
            await world.start(busy_vm(), first=2, epoch=EPOCH)
            began_s = world.clock.now()
            await world.migrate()
            await world.migrate(vm=2, migration="m-2")
            alone_s = forecast(MEMORY, busy_vm().memory_bytes, PLAIN, SLOW, 1.0).duration_s
            for migration in (MIGRATION, "m-2"):
                assert (await world.outcome(migration)).phase == MOVED
            assert world.clock.now() - began_s > 1.8 * alone_s
            assert len(world.states_at(world.other)) == 2

    in_virtual_time(scenario())


def test_clients_lose_no_entry_and_calls_wait_for_the_hand_over() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            network = SimulatedNetwork(world.fabric, "gateway")
            here = service_pb2_grpc.GuestStub(network.channel(SOURCE, Plane.SERVICE))
            there = service_pb2_grpc.GuestStub(network.channel(DESTINATION, Plane.SERVICE))

            def entry(number: int) -> service_pb2.AppendRequest:
                return service_pb2.AppendRequest(vm=VM, client="c", number=number, size_bytes=512)

            await here.Append(entry(1))
            await world.migrate()
            await here.Append(entry(2))
            await world.in_phase(HAND_OVER)
            asked_s = world.clock.now()
            with fails_with(grpc.StatusCode.UNAVAILABLE):
                await here.Append(entry(3))
            assert world.clock.now() - asked_s >= HANDOVER_S, "it waited for who has the VM"
            reply = await there.Append(entry(3))
            assert reply.epoch == THERE
            ledger = await there.ReadLedger(service_pb2.ReadLedgerRequest(vm=VM, client="c"))
            assert (list(ledger.first), list(ledger.last)) == ([1], [3])

    in_virtual_time(scenario())


# --- orders


def test_an_order_that_comes_twice_is_one_migration_and_its_outcome_is_remembered() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.migrate()
            assert len(world.agent.migrations.outgoing) == 1
            assert (await world.outcome()).phase == MOVED
            await world.migrate()
            assert not world.agent.migrations.outgoing
            assert (await world.outcome()).phase == MOVED

    in_virtual_time(scenario())


def test_what_makes_no_sense_is_refused_and_changes_nothing() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            with fails_with(grpc.StatusCode.NOT_FOUND, "has no VM"):
                await world.migrate(vm=7)
            with fails_with(grpc.StatusCode.INVALID_ARGUMENT, "to another one"):
                await world.migrate(destination=SOURCE)
            with fails_with(grpc.StatusCode.INVALID_ARGUMENT, "downtime"):
                await world.migrate(settings=replace(PLAIN, downtime_s=0.0))
            late = world.request()
            late.domain.epoch = EPOCH - 1
            with fails_with(REFUSED, "has epoch 4"):
                await world.orders.MigrateVm(late)
            back = world.request()
            back.epoch_back = THERE
            with fails_with(grpc.StatusCode.INVALID_ARGUMENT, "above the one before"):
                await world.orders.MigrateVm(back)
            old = world.request()
            old.command.incarnation = 2
            with fails_with(REFUSED, "incarnation"):
                await world.orders.MigrateVm(old)
            assert world.states_at(world.agent) == {VM: VmState.RUNNING}
            with fails_with(grpc.StatusCode.NOT_FOUND):
                await world.outcome("m-9")
            with fails_with(grpc.StatusCode.NOT_FOUND):
                await world.cancel("m-9")

    in_virtual_time(scenario())


def test_a_vm_that_migrates_takes_no_other_orders() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            with fails_with(REFUSED, "migrating"):
                await world.migrate(migration="m-2")
            with fails_with(REFUSED, "migrating"):
                await world.orders.PauseVm(pb.VmRequest(command=world.command(), vm=VM))
            stop = pb.StopVmRequest(command=world.command(), vm=VM, mode=common_pb2.STOP_MODE_FORCE)
            with fails_with(REFUSED, "migrating"):
                await world.orders.StopVm(stop)
            reply = await world.start(busy_vm(), epoch=EPOCH)
            assert "migrating" in reply.refusals[0].reason
            assert (await world.outcome()).phase == MOVED

    in_virtual_time(scenario())


def test_a_vm_is_cancelled_before_its_hand_over_and_not_after() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 2.0)
            assert world.expected_bytes() == 2 * GIB
            asked_s = world.clock.now()
            reply = await world.cancel()
            assert reply.state == common_pb2.VM_STATE_RUNNING
            assert world.clock.now() - asked_s < 0.01
            outcome = await world.outcome()
            assert (outcome.phase, outcome.epoch) == (STAYED, EPOCH)
            assert outcome.reason == "it was cancelled"
            assert outcome.downtime_s == 0.0
            await until(lambda: not world.expected_bytes(), "its room is given up")
            await world.migrate(migration="m-2")
            await world.in_phase(HAND_OVER, "m-2")
            with fails_with(REFUSED, "cannot be cancelled any more"):
                await world.cancel("m-2")
            assert (await world.outcome("m-2")).phase == MOVED
            with fails_with(REFUSED, "has ended"):
                await world.cancel("m-2")

    in_virtual_time(scenario())


def test_a_host_that_hangs_holds_up_no_cancellation() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            await world.at(world.clock.now() + 2.0)
            world.other_process.hang()
            await world.at(world.clock.now() + 1.5)
            asked_s = world.clock.now()
            await world.cancel()
            assert world.clock.now() - asked_s < 0.01
            assert world.states_at(world.agent) == {VM: VmState.RUNNING}
            world.other_process.wake()
            await until(lambda: not world.expected_bytes(), "its room is given up")

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    ("memory_bytes", "incarnation", "said"),
    [(1 * GIB, 1, "memory free"), (16 * GIB, 2, "incarnation 1 now")],
)
def test_a_destination_says_why_it_does_not_take_a_vm(
    memory_bytes: int, incarnation: int, said: str
) -> None:
    async def scenario() -> None:
        full = (migration_host(DESTINATION, memory_bytes),)
        async with migrating(MigrationWorld(destinations=full)) as world:
            request = world.request()
            request.destination_incarnation = incarnation
            await world.orders.MigrateVm(request)
            outcome = await world.outcome()
            assert outcome.phase == STAYED
            assert said in outcome.reason
            assert DESTINATION in outcome.reason
            assert world.states_at(world.agent) == {VM: VmState.RUNNING}

    in_virtual_time(scenario())


def test_a_vm_without_a_volume_cannot_be_handed_over() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            diskless = replace(disk_vm(), volumes=())
            await world.start(diskless, first=2, epoch=EPOCH)
            with fails_with(REFUSED, "no volume on an array"):
                await world.migrate(diskless, vm=2)
            assert world.states_at(world.agent)["i-00000002"] is VmState.RUNNING

    in_virtual_time(scenario())


def test_migrations_are_counted() -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld()) as world:
            await world.migrate()
            assert world.agent.counters.migrations.under_way == {"out": 1, "in": 0}
            outcome = await world.outcome()
            counters = world.agent.counters.migrations
            assert counters.under_way == {"out": 0, "in": 0}
            assert sum(counters.duration["moved"].counts) == 1
            assert counters.downtime["moved"].sum_s == pytest.approx(outcome.downtime_s)
            assert counters.rounds == {"moved": outcome.round, "stayed": 0}
            assert counters.raw_bytes == outcome.raw_bytes
            assert counters.wire_bytes == outcome.wire_bytes
            registry = CollectorRegistry()
            registry.register(AgentMetrics("dc", "chassis-1", world.agent.counters))
            for name, value in (
                ("fusion_migration_downtime_seconds_sum", outcome.downtime_s),
                ("fusion_migration_duration_seconds_count", 1),
                ("fusion_migration_rounds_total", outcome.round),
            ):
                labels = {"datacenter": "dc", "agent": "chassis-1", "outcome": "moved"}
                assert registry.get_sample_value(name, labels) == pytest.approx(value)
            labels = {"datacenter": "dc", "agent": "chassis-1"}
            wire = registry.get_sample_value("fusion_migration_wire_bytes_total", labels)
            assert wire == outcome.wire_bytes

    in_virtual_time(scenario())


def test_sources_are_not_given_up_where_many_share_the_way_in() -> None:
    async def scenario() -> None:
        sources = tuple(
            replace(migration_host(name), migration_bps=math.inf)
            for name in (SOURCE, "cna-08", "cna-09")
        )
        slow = (replace(migration_host(DESTINATION), migration_bps=2e7),)
        async with migrating(MigrationWorld(hosts=sources, destinations=slow)) as world:
            await world.create({2: busy_vm(), 3: busy_vm()})
            small = replace(busy_vm(), memory_bytes=64 << 20)
            await world.migrate(replace(small, memory=replace(MEMORY, write_sets=())))
            for vm, source in ((2, "cna-08"), (3, "cna-09")):
                await world.start(busy_vm(), on=source, first=vm, epoch=EPOCH)
                one = replace(small, memory=replace(MEMORY, write_sets=()))
                await world.migrate(one, vm=vm, migration=f"m-{vm}", source=source)
            for migration in (MIGRATION, "m-2", "m-3"):
                outcome = await world.outcome(migration)
                assert outcome.phase == MOVED, outcome.reason

    in_virtual_time(scenario())

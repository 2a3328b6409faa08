"""Leases on arrays: what a host holds, for how long, and what becomes of it then."""

from __future__ import annotations

import pytest

from cluster.agent.holdings import HoldCause
from cluster.network import Plane
from cluster.rpc.convert import VM_STATES
from cluster.rpc.v1 import agent_pb2, common_pb2, registry_pb2, storage_pb2
from cluster.rpc.v1.power_pb2 import PowerRequest
from cluster.simulated.wires import Quality
from fusion.vm import VmState
from tests.cluster.agent_world import RUNNING, host
from tests.cluster.storage_world import (
    LEASE_S,
    RENEWAL_S,
    SAN_1,
    SAN_2,
    StorageWorld,
    disk_vm,
    storing,
)
from tests.cluster.virtual_time import in_virtual_time, until

VM = "i-00000001"
PAUSED = VM_STATES[VmState.PAUSED]


def test_volumes_are_opened_before_a_vm_starts_and_renewed_while_it_is_on() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.at(1.0)
            await world.run_vms(disk_vm(), epoch=4)
            facts = world.roles["san-1"].facts
            assert facts is not None
            assert facts.epoch(1) == 4
            assert world.held().lease_until_s == 1.0 + LEASE_S
            await world.at(100.0)
            assert world.states() == [VmState.RUNNING]
            assert world.held().lease_until_s == 99.0 + LEASE_S
            stop = agent_pb2.StopVmRequest(
                command=world.command(), vm=VM, mode=common_pb2.STOP_MODE_FORCE
            )
            await world.orders.StopVm(stop)
            await world.at(110.0)
            assert await world.fence(1, 5) == 0.0, "nobody has renewed it since"

    in_virtual_time(scenario())


def test_a_stopped_vm_that_the_vrm_has_yet_to_hear_of_is_not_renewed() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(), epoch=4)
            stop = agent_pb2.StopVmRequest(
                command=world.command(), vm=VM, mode=common_pb2.STOP_MODE_FORCE
            )
            await world.vrm_down()
            await world.orders.StopVm(stop)
            await world.at(world.clock.now() + 2 * LEASE_S)
            assert await world.fence(1, 5) == 0.0
            assert world.states() == [VmState.STOPPED], "neither frozen nor discarded"
            world.vrm.restart()
            await world.vrm_up()
            await until(lambda: len(world.vrm.registrations) == 2, "another registration")
            assert list(world.vrm.registrations[-1].vms.epoch) == [4]

    in_virtual_time(scenario())


def test_a_vm_whose_array_bars_it_or_is_silent_does_not_start() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=(SAN_1, SAN_2))) as world:
            both = disk_vm("both", SAN_1, SAN_2)
            await world.create({1: both, 2: disk_vm("one"), 3: disk_vm("late")})
            await world.fence(3, 7)
            world.arrays["san-2"].kill()
            reply = await world.start(both, disk_vm("one"), disk_vm("late"), epoch=6)
            reasons = {each.vm: each.reason for each in reply.refusals}
            assert list(reasons) == [VM, "i-00000003"]
            assert "san-2 did not open its volumes: UNAVAILABLE" in reasons[VM]
            assert "does not let it in at epoch 6" in reasons["i-00000003"]
            assert list(await world.listed()) == ["i-00000002"]

    in_virtual_time(scenario())


def test_a_vm_is_frozen_when_a_lease_ends_and_goes_on_when_it_is_renewed() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=(SAN_1, SAN_2))) as world:
            await world.run_vms(disk_vm("both", SAN_1, SAN_2))
            await world.at(10.0)
            world.fabric.wires.cut("chassis-1", "san-2", Plane.STORAGE)
            await world.at(9.0 + LEASE_S - 0.001)
            assert world.states() == [VmState.RUNNING]
            await world.at(9.0 + LEASE_S + 0.001)
            row = (await world.listed())[VM]
            assert (row.state, row.held) == (PAUSED, registry_pb2.HOLD_CAUSE_LEASE)
            await until(lambda: world.vrm.states("cna-01") == {VM: PAUSED}, "the report")
            rows = world.vrm.reports[-1].vms
            assert list(rows.held_vm) == [1]
            assert list(rows.held_cause) == [registry_pb2.HOLD_CAUSE_LEASE]
            [notice] = world.notices("vm.held")
            assert "its lease on san-2 has ended" in notice.message
            assert notice.severe
            await until(lambda: list(world.vrm.reports[-1].storage_less) == ["cna-01"], "say so")
            world.fabric.wires.mend("chassis-1", "san-2", Plane.STORAGE)
            await until(lambda: world.states() == [VmState.RUNNING], "it goes on")
            await until(lambda: world.notices("vm.resumed"), "the VRM knows")
            assert not list(world.vrm.reports[-1].storage_less)
            assert not list(world.vrm.reports[-1].vms.held_vm)
            await world.at(40.0)
            said: dict[int, set[bytes]] = {}
            for report in world.vrm.reports:
                said.setdefault(report.since, set()).add(but_for_figures(report))
            assert 0 not in said
            assert all(len(one) == 1 for one in said.values())
            assert len(world.vrm.reports) > 2 * len(said)

    in_virtual_time(scenario())


def but_for_figures(report: registry_pb2.ReportRequest) -> bytes:
    """Return what a report says that others with its ``since`` say as well."""
    rest = registry_pb2.ReportRequest()
    rest.CopyFrom(report)
    rest.sequence = 0
    del rest.cpu_demand_mhz[:], rest.cpu_used_mhz[:]
    rest.vms.cpu_demand_mhz = rest.vms.cpu_used_mhz = rest.vms.cpu_ready_s = b""
    return rest.SerializeToString(deterministic=True)


def test_a_vm_that_goes_on_is_frozen_again_when_its_next_lease_ends() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=(SAN_1, SAN_2))) as world:
            await world.run_vms(disk_vm("both", SAN_1, SAN_2))
            await world.at(10.0)
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(13.0)
            world.fabric.wires.cut("chassis-1", "san-2", Plane.STORAGE)
            await world.at(9.0 + LEASE_S + 1.0)
            assert world.states() == [VmState.PAUSED]
            world.fabric.wires.mend("chassis-1", "san-1", Plane.STORAGE)
            await world.at(12.0 + LEASE_S - 0.001)
            assert world.states() == [VmState.RUNNING]
            await world.at(12.0 + LEASE_S + 0.001)
            assert world.states() == [VmState.PAUSED]

    in_virtual_time(scenario())


def test_a_holder_never_believes_in_its_lease_for_longer_than_the_array_grants_it() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            for link in (("chassis-1", "san-1"), ("san-1", "chassis-1")):
                world.fabric.wires.shape(*link, Plane.STORAGE, Quality(latency_s=0.3, jitter_s=0.0))
            await world.at(1.0)
            await world.run_vms(disk_vm())
            assert world.held().lease_until_s == 1.0 + LEASE_S, "opened when it was sent"
            await world.at(32.0)
            assert world.held().lease_until_s == 30.0 + LEASE_S, "and so it is renewed"
            believed_s = world.held().lease_until_s - world.clock.now()
            assert await world.fence(1, 2) == pytest.approx(believed_s + 0.3)

    in_virtual_time(scenario())


def test_a_path_on_which_answers_take_longer_than_an_interval_is_slow_and_not_lost() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            for link in (("chassis-1", "san-1"), ("san-1", "chassis-1")):
                world.fabric.wires.shape(*link, Plane.STORAGE, Quality(latency_s=2.0, jitter_s=0.5))
            await world.at(300.0)
            assert world.states() == [VmState.RUNNING]
            assert not world.notices()
            assert not world.vrm.reports[-1].storage_less

    in_virtual_time(scenario())


def test_a_lossy_path_costs_no_lease() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            for link in (("chassis-1", "san-1"), ("san-1", "chassis-1")):
                world.fabric.wires.shape(*link, Plane.STORAGE, Quality(loss=0.1))
            await world.at(1000.0)
            assert not world.notices()

    in_virtual_time(scenario())


def test_a_vm_that_has_just_shut_down_when_its_lease_ends_is_not_frozen() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(tick_s=1000.0)) as world:
            await world.run_vms(disk_vm())
            await world.at(10.0)
            world.fabric.wires.cut("chassis-1", "san-1", Plane.STORAGE)
            await world.at(9.0 + LEASE_S - 2.0)  # it takes 2 s to shut down
            await world.orders.StopVm(agent_pb2.StopVmRequest(command=world.command(), vm=VM))
            await world.at(30.0)
            assert not world.notices()
            assert not world.states()

    in_virtual_time(scenario())


def test_a_vm_may_freeze_and_go_on_several_times_in_one_instant_and_for_two_causes() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            copies, copy = world.agent.copies, world.held()
            for _ in range(3):
                for cause in (HoldCause.LEASE, HoldCause.SPACE):
                    copies.hold([copy], cause, lambda _: "the test says so")
                assert world.states() == [VmState.PAUSED]
                copies.release([copy], HoldCause.SPACE, "the test says so")
                assert world.states() == [VmState.PAUSED]
                assert list(copies.held()) == [copy]
                copies.release([copy], HoldCause.LEASE, "the test says so")
                copies.hold([copy], HoldCause.LEASE, lambda _: "the test says so")
                copies.release(copies.held(), HoldCause.LEASE, "the test says so")
                assert not copies.held()
                assert copies.active() == [copy]
                assert not copy.causes

    in_virtual_time(scenario())


def test_a_copy_of_which_an_array_has_a_later_epoch_is_discarded_at_once() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(), disk_vm("db"), epoch=2)
            await world.at(7.0)
            remaining_s = await world.fence(1, 3)
            assert remaining_s == pytest.approx(LEASE_S - 1.0, abs=0.01)
            await until(lambda: len(world.states()) == 1, "the copy is gone")
            assert world.clock.now() < 7.0 + RENEWAL_S
            await until(lambda: world.notices("vm.discarded"), "the VRM knows")
            [notice] = world.notices()
            assert (notice.host, notice.vm_number, notice.severe) == ("cna-01", 1, True)
            assert "copy of epoch 2, because array san-1 has a later epoch" in notice.message

    in_virtual_time(scenario())


def test_a_host_that_wakes_after_its_leases_freezes_first_and_discards_what_is_void() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(), disk_vm("db"))
            await world.at(10.0)
            world.process.hang()
            await world.at(12.0)
            remaining_s = await world.fence(1, 2)
            await world.at(40.0)
            assert 12.0 + remaining_s < 40.0
            seen: list[list[VmState]] = []
            world.agent.follow(
                lambda view: seen.append([view.vms.state_of(row) for row in range(len(view.vms))])
            )
            assert not world.held().leased(world.clock.now())
            world.process.wake()
            await until(lambda: seen and seen[-1] == [VmState.RUNNING], "the other one goes on")
            assert [VmState.PAUSED] * 2 in seen
            await until(lambda: world.notices("vm.discarded"), "the VRM knows")

    in_virtual_time(scenario())


def test_an_array_that_was_away_for_less_than_a_lease_stops_nobody() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm())
            await world.at(10.0)
            world.arrays["san-1"].kill()
            await world.at(9.0 + LEASE_S - 2.0)
            await world.array_up("san-1")
            await world.at(100.0)
            assert world.states() == [VmState.RUNNING]
            assert not world.notices()

    in_virtual_time(scenario())


def test_an_array_that_hangs_holds_up_no_renewal_on_another() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=(SAN_1, SAN_2))) as world:
            await world.run_vms(disk_vm("one", SAN_1), disk_vm("two", SAN_2))
            world.arrays["san-2"].hang()
            await world.at(60.0)
            assert [each.held for each in (await world.listed()).values()] == [
                registry_pb2.HOLD_CAUSE_UNSPECIFIED,
                registry_pb2.HOLD_CAUSE_LEASE,
            ]
            world.arrays["san-2"].wake()
            await until(lambda: world.states() == [VmState.RUNNING] * 2, "both run")

    in_virtual_time(scenario())


def test_a_later_epoch_takes_the_place_of_a_copy_on_the_same_host() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(boot_s=5.0))
            await world.at(20.0)
            assert world.states() == [VmState.RUNNING]
            assert not (await world.start(disk_vm(boot_s=5.0), epoch=3)).refusals
            assert world.states() == [VmState.STARTING]
            assert world.held().epoch == 3
            [refused] = (await world.start(disk_vm(), epoch=2)).refusals
            assert "epoch 2" in refused.reason

    in_virtual_time(scenario())


def test_copies_below_an_epoch_are_discarded_by_order() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld()) as world:
            await world.run_vms(disk_vm(), disk_vm("db"), epoch=5)
            discard = agent_pb2.DiscardVmsRequest(
                command=world.command(), vm=[VM, "i-00000002", "i-00000009"], epoch=[6, 5, 1]
            )
            reply = await world.orders.DiscardVms(discard)
            assert reply.sequence > 0
            assert list(await world.listed()) == ["i-00000002"]
            assert await world.orders.DiscardVms(discard) == reply

    in_virtual_time(scenario())


def test_registrations_name_the_epoch_of_every_row() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            await world.create({1: disk_vm(), 7: disk_vm()})
            await world.start(disk_vm(), epoch=5, on="cna-02")
            await world.start(disk_vm(), epoch=2, first=7)
            world.vrm.restart()
            await until(lambda: len(world.vrm.registrations) == 2, "another registration")
            rows = world.vrm.registrations[-1].vms
            assert list(zip(rows.vm_number, rows.epoch, strict=True)) == [(7, 2), (1, 5)]

    in_virtual_time(scenario())


def test_power_loss_of_a_packed_host_ends_what_it_held() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld((host("cna-01"), 1), (host("cna-02"), 1))) as world:
            await world.create({1: disk_vm(), 2: disk_vm()})
            await world.start(disk_vm(), on="cna-01")
            await world.start(disk_vm(), on="cna-02", first=2)
            await world.at(10.0)
            await world.power.Off(PowerRequest(host="cna-01"))
            await world.at(9.0 + LEASE_S)
            assert await world.fence(1, 2) == 0.0
            assert await world.fence(2, 2) > 0.0
            assert world.agent.copies.of("cna-01", 1) is None
            heartbeats = await world.stub().ReadHeartbeats(storage_pb2.ReadHeartbeatsRequest())
            ages = dict(zip(heartbeats.host, heartbeats.age_s, strict=True))
            assert ages["cna-01"] > ages["cna-02"]

    in_virtual_time(scenario())


def test_without_arrays_nothing_of_this_happens() -> None:
    async def scenario() -> None:
        async with storing(StorageWorld(arrays=())) as world:
            assert not (await world.start(disk_vm(), epoch=3)).refusals
            await world.at(100.0)
            assert (await world.listed())[VM].state == RUNNING
            assert not world.notices()

    in_virtual_time(scenario())

"""Migrations in the model: what a VM may do meanwhile, the room kept for it, what goes along."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InvalidInput, NotFound, Refused
from fusion.fleet import Fleet
from fusion.memory.spec import GuestMemory
from fusion.passage import Passage
from fusion.spec import GIB, Bursts, Constant, CpuQos, VmSpec
from fusion.vm import VmState
from tests.fusion.test_fleet import HOST, VM, fleet_of, running, vms

SOURCE, DESTINATION = "cna-01", "cna-02"
HOSTS = (HOST, replace(HOST, name=DESTINATION))
FRESH = Passage(used_mhz_s=0.0, ready_s=0.0, added_load=0.0)


def migrating(spec: VmSpec = VM) -> Fleet:
    """Return two hosts, on the first of which VM 1 migrates."""
    fleet = fleet_of(*HOSTS)
    fleet.start(SOURCE, 1, replace(spec, boot_s=0.0), seed=1)
    fleet.advance(0.0)
    assert fleet.begin_migration(SOURCE, 1) is VmState.MIGRATING
    return fleet


def used_bytes(fleet: Fleet) -> list[int]:
    used: list[int] = fleet.view().hosts.memory_used_bytes.tolist()
    return used


class TestSource:
    def test_the_guest_works_on_and_afterwards_all_is_as_before(self) -> None:
        fleet = migrating()
        boot = fleet.guest(SOURCE, 1)[1]
        fleet.advance(10.0)
        assert vms(fleet).cpu_used_mhz_s.tolist() == [10_000.0]
        assert fleet.end_migration(SOURCE, 1) is VmState.RUNNING
        assert fleet.end_migration(SOURCE, 1) is VmState.RUNNING, "it is over already"
        assert fleet.guest(SOURCE, 1)[1] == boot

    @pytest.mark.parametrize("state", ["starting", "stopped", "paused", "frozen", "migrating"])
    def test_only_a_vm_that_runs_begins(self, state: str) -> None:
        fleet = fleet_of(HOST)
        fleet.start(SOURCE, 1, VM, seed=1)
        if state != "starting":
            fleet.advance(10.0)
        match state:
            case "stopped":
                fleet.stop(SOURCE, 1, force=True)
            case "paused":
                fleet.pause(SOURCE, 1)
            case "frozen":
                fleet.suspend(SOURCE, 1, "its lease on san-1 has ended")
            case "migrating":
                fleet.begin_migration(SOURCE, 1)
        with pytest.raises(Refused, match=f"{state}.*so migrate is not possible"):
            fleet.begin_migration(SOURCE, 1)

    @pytest.mark.parametrize(
        "order",
        [
            lambda fleet: fleet.stop(SOURCE, 1, force=False),
            lambda fleet: fleet.reboot(SOURCE, 1, force=False),
            lambda fleet: fleet.reboot(SOURCE, 1, force=True),
            lambda fleet: fleet.pause(SOURCE, 1),
            lambda fleet: fleet.resume(SOURCE, 1),
            lambda fleet: fleet.start(SOURCE, 1, VM, seed=1),
            lambda fleet: fleet.crash_guest(SOURCE, 1),
            lambda fleet: fleet.set_cpu(SOURCE, 1, CpuQos(500)),
        ],
        ids=["stop", "reboot", "force-reboot", "pause", "resume", "start", "crash", "set-cpu"],
    )
    def test_orders_wait_until_it_is_over(self, order: Callable[[Fleet], VmState]) -> None:
        fleet = migrating()
        with pytest.raises(Refused, match=r"i-00000001 is migrating.*; wait until"):
            order(fleet)
        fleet.suspend_for_hand_over(SOURCE, 1)
        with pytest.raises(Refused, match=r"handed over to another host; wait|is migrating; wait"):
            order(fleet)

    def test_its_host_may_halt_it_until_it_is_handed_over(self) -> None:
        fleet = migrating()
        fleet.throttle(SOURCE, 1, 0.9)
        assert fleet.stop(SOURCE, 1, force=True) is VmState.STOPPED
        assert fleet.end_migration(SOURCE, 1) is VmState.STOPPED
        fleet.start(SOURCE, 1, replace(VM, boot_s=0.0, workload=Constant(100)), seed=1)
        assert vms(fleet).cpu_used_mhz.tolist() == [2000.0], "nothing is left of the throttle"
        fleet.advance(0.0)
        fleet.begin_migration(SOURCE, 1)
        fleet.suspend_for_hand_over(SOURCE, 1)
        with pytest.raises(Refused, match="is being handed over"):
            fleet.stop(SOURCE, 1, force=True)
        assert fleet.state(SOURCE, 1) is VmState.MIGRATING

    def test_a_guest_that_is_handed_over_keeps_still_and_is_shown_as_migrating(self) -> None:
        fleet = migrating()
        fleet.advance(5.0)
        assert fleet.suspend_for_hand_over(SOURCE, 1) is VmState.MIGRATING
        fleet.advance(50.0)
        assert vms(fleet).cpu_used_mhz_s.tolist() == [5000.0]
        assert fleet.restore(SOURCE, 1) is VmState.MIGRATING
        assert fleet.end_migration(SOURCE, 1) is VmState.RUNNING
        fleet.advance(51.0)
        assert vms(fleet).cpu_used_mhz_s.tolist() == [6000.0]

    def test_only_one_that_migrates_is_handed_over(self) -> None:
        fleet = running(VM)
        with pytest.raises(Refused, match="is running; it does not migrate any more"):
            fleet.suspend_for_hand_over(SOURCE, 1)
        fleet.stop(SOURCE, 1, force=True)
        with pytest.raises(Refused, match="is stopped; it does not migrate any more"):
            fleet.suspend_for_hand_over(SOURCE, 1)

    @pytest.mark.parametrize("lease_first", [True, False])
    def test_one_that_stays_while_its_lease_is_over_is_paused_for_that(
        self, lease_first: bool
    ) -> None:
        fleet = migrating()
        if lease_first:
            assert fleet.suspend(SOURCE, 1, "its lease is over") is VmState.PAUSED
        assert fleet.suspend_for_hand_over(SOURCE, 1) is VmState.MIGRATING
        if not lease_first:
            assert fleet.suspend(SOURCE, 1, "its lease is over") is VmState.MIGRATING
        assert fleet.end_migration(SOURCE, 1) is VmState.PAUSED
        with pytest.raises(Refused, match="frozen by its host, because its lease is over"):
            fleet.reboot(SOURCE, 1, force=True)
        assert fleet.restore(SOURCE, 1) is VmState.RUNNING

    def test_a_throttle_takes_a_share_of_what_it_may_use_and_ends_with_the_migration(self) -> None:
        fleet = migrating(replace(VM, workload=Constant(80)))
        for share, used_mhz in ((0.1, 1600.0), (0.3, 1400.0), (0.99, 20.0), (0.0, 1600.0)):
            fleet.throttle(SOURCE, 1, share)
            assert vms(fleet).cpu_used_mhz.tolist() == pytest.approx([used_mhz])
            assert vms(fleet).cpu_demand_mhz.tolist() == [1600.0]
        fleet.throttle(SOURCE, 1, 0.5)
        fleet.end_migration(SOURCE, 1)
        assert vms(fleet).cpu_used_mhz.tolist() == [1600.0]
        with pytest.raises(Refused, match="is running; it does not migrate"):
            fleet.throttle(SOURCE, 1, 0.5)
        fleet.begin_migration(SOURCE, 1)
        for share in (-0.1, 1.0, float("nan")):
            with pytest.raises(InvalidInput, match="0 to below 1"):
                fleet.throttle(SOURCE, 1, share)

    def test_a_throttle_goes_below_a_reservation(self) -> None:
        fleet = migrating(
            replace(VM, workload=Constant(100), cpu=CpuQos(1000, reservation_mhz=2e3))
        )
        fleet.throttle(SOURCE, 1, 0.5)
        assert vms(fleet).cpu_used_mhz.tolist() == [1000.0]
        assert fleet.short_of_reservations() == ()


class TestWritePace:
    def test_it_follows_the_load_and_what_the_guest_gets(self) -> None:
        spec = replace(VM, memory=GuestMemory(idle_share=0.2), workload=Constant(50))
        fleet = migrating(spec)
        assert fleet.write_pace(SOURCE, 1) == pytest.approx(0.2 + 0.8 * 0.5)
        fleet.throttle(SOURCE, 1, 0.75)  # it still gets 500 of the 1,000 MHz that it wants
        assert fleet.write_pace(SOURCE, 1) == pytest.approx((0.2 + 0.8 * 0.5) / 4)
        fleet.add_load(SOURCE, 1, 50)
        assert fleet.write_pace(SOURCE, 1) == pytest.approx(0.25)
        fleet.suspend_for_hand_over(SOURCE, 1)
        assert fleet.write_pace(SOURCE, 1) == 0.0

    @pytest.mark.parametrize("idle_share", [0.0, 0.3, 1.0])
    def test_an_idle_guest_writes_at_its_idle_share(self, idle_share: float) -> None:
        spec = replace(VM, memory=GuestMemory(idle_share=idle_share), workload=Constant(0))
        fleet = migrating(spec)
        assert fleet.write_pace(SOURCE, 1) == pytest.approx(idle_share)
        fleet.end_migration(SOURCE, 1)
        fleet.pause(SOURCE, 1)
        assert fleet.write_pace(SOURCE, 1) == 0.0

    def test_a_starved_guest_writes_nothing(self) -> None:
        fleet = migrating()
        fleet.steal_cpu(SOURCE, 8000.0)
        assert fleet.write_pace(SOURCE, 1) == 0.0


class TestHog:
    def test_it_slows_with_the_guest_and_ends_with_its_work(self) -> None:
        fleet = migrating(replace(VM, workload=Constant(50)))
        assert fleet.hogged_bytes_s(SOURCE, 1) == 0.0
        fleet.hog_memory(SOURCE, 1, 8e8)
        assert fleet.hogged_bytes_s(SOURCE, 1) == pytest.approx(8e8)
        fleet.throttle(SOURCE, 1, 0.75)  # it still gets 500 of the 1,000 MHz that it wants
        assert fleet.hogged_bytes_s(SOURCE, 1) == pytest.approx(2e8)
        fleet.suspend_for_hand_over(SOURCE, 1)
        assert fleet.hogged_bytes_s(SOURCE, 1) == 0.0

    def test_it_goes_with_the_vm(self) -> None:
        fleet = migrating()
        fleet.hog_memory(SOURCE, 1, 8e8)
        fleet.arrive(DESTINATION, 1, VM, 1, fleet.hand_out(SOURCE, 1))
        assert fleet.hogged_bytes_s(DESTINATION, 1) == pytest.approx(8e8)

    @pytest.mark.parametrize("rate_bytes_s", [-1.0, math.inf, math.nan])
    def test_a_rate_that_is_none_is_refused(self, rate_bytes_s: float) -> None:
        with pytest.raises(InvalidInput, match="bytes a second to hog; give 0 or more"):
            migrating().hog_memory(SOURCE, 1, rate_bytes_s)


class TestCompression:
    def test_what_the_host_takes_is_missing_beside_what_a_fault_steals(self) -> None:
        fleet = running(*[replace(VM, workload=Constant(100))] * 4)
        fleet.take_cpu(SOURCE, 1000.0)
        fleet.take_cpu(SOURCE, 500.0)
        fleet.steal_cpu(SOURCE, 2000.0)
        hosts = fleet.view().hosts
        assert hosts.cpu_capacity_mhz.tolist() == [4500.0]
        assert hosts.cpu_used_mhz.tolist() == [4500.0]
        fleet.steal_cpu(SOURCE, 0.0)
        fleet.take_cpu(SOURCE, -500.0)
        assert fleet.view().hosts.cpu_capacity_mhz.tolist() == [7000.0]
        fleet.take_cpu(SOURCE, -1000.0)
        assert fleet.view().hosts.cpu_capacity_mhz.tolist() == [8000.0]
        fleet.take_cpu(SOURCE, 1e6)
        assert fleet.view().hosts.cpu_capacity_mhz.tolist() == [0.0]
        fleet.power_off(SOURCE)
        fleet.power_on(SOURCE)
        assert fleet.view().hosts.cpu_capacity_mhz.tolist() == [8000.0]

    @given(st.lists(st.floats(0.1, 3000.0), max_size=30))
    def test_all_is_there_again_once_all_is_given_back(self, taken_mhz: list[float]) -> None:
        fleet = fleet_of(HOST)
        for sign in (1, -1):
            for mhz in taken_mhz:
                fleet.take_cpu(SOURCE, sign * mhz)
        assert fleet.view().hosts.cpu_capacity_mhz.tolist() == [8000.0]

    def test_it_keeps_no_vm_out(self) -> None:
        fleet = fleet_of(HOST)
        fleet.take_cpu(SOURCE, 4000.0)
        spec = replace(VM, vcpus=4, cpu=CpuQos(1000, reservation_mhz=8000.0))
        assert fleet.start(SOURCE, 1, spec, seed=1) is VmState.STARTING
        fleet.steal_cpu(SOURCE, 1000.0)
        with pytest.raises(Refused, match="reserves"):
            fleet.start(SOURCE, 2, replace(spec, cpu=CpuQos(1, reservation_mhz=1.0)), seed=1)


class TestDestination:
    def test_room_is_kept_for_what_is_on_its_way(self) -> None:
        fleet = migrating()
        large = replace(VM, memory_bytes=13 * GIB, cpu=CpuQos(1000, reservation_mhz=7000.0))
        fleet.expect(DESTINATION, 1, large)
        assert used_bytes(fleet) == [2 * GIB, 13 * GIB]
        hosts = fleet.view().hosts
        assert hosts.memory_expected_bytes.tolist() == [0, 13 * GIB]
        assert hosts.vms.tolist() == [1, 0]
        with pytest.raises(Refused, match=r"3 GiB of memory free and VM i-00000002 needs 4 GiB"):
            fleet.start(DESTINATION, 2, replace(VM, memory_bytes=4 * GIB), seed=1)
        greedy = replace(VM, cpu=CpuQos(1000, reservation_mhz=1500.0))
        with pytest.raises(Refused, match=r"1000 MHz left to reserve|1 GHz left to reserve"):
            fleet.expect(DESTINATION, 2, greedy)
        fleet.drop_expected(DESTINATION, 1)
        fleet.drop_expected(DESTINATION, 1)
        assert used_bytes(fleet) == [2 * GIB, 0]
        fleet.expect(DESTINATION, 2, greedy)

    def test_what_cannot_arrive_is_not_expected(self) -> None:
        fleet = migrating()
        with pytest.raises(Refused, match="cna-01 has VM i-00000001, which is migrating"):
            fleet.expect(SOURCE, 1, VM)
        with pytest.raises(NotFound, match="no host 'cna-09' here"):
            fleet.expect("cna-09", 1, VM)
        with pytest.raises(InvalidInput, match="vcpus is 0"):
            fleet.expect(DESTINATION, 1, replace(VM, vcpus=0))
        with pytest.raises(Refused, match="16 GiB of memory free and VM i-00000001 needs 17 GiB"):
            fleet.expect(DESTINATION, 1, replace(VM, memory_bytes=17 * GIB))
        fleet.expect(DESTINATION, 1, VM)
        with pytest.raises(Refused, match="cna-02 expects VM i-00000001 already"):
            fleet.expect(DESTINATION, 1, VM)
        fleet.power_off(DESTINATION)
        with pytest.raises(Refused, match="cna-02 is powered off"):
            fleet.expect(DESTINATION, 1, VM)
        fleet.power_on(DESTINATION)
        assert used_bytes(fleet) == [2 * GIB, 0], "nothing of it outlives the power"
        fleet.expect(DESTINATION, 1, VM)

    def test_a_vm_goes_on_where_it_was(self) -> None:
        spec = replace(VM, workload=Bursts(10, 90, 5, 5))
        fleet, stayed = migrating(spec), migrating(spec)
        for one in (fleet, stayed):
            one.add_load(SOURCE, 1, 20)
            one.advance(30.0)
            one.suspend_for_hand_over(SOURCE, 1)
        fleet.expect(DESTINATION, 1, spec)
        passage = fleet.hand_out(SOURCE, 1)
        for one in (fleet, stayed):
            one.advance(31.0)
        assert fleet.arrive(DESTINATION, 1, spec, 1, passage) is VmState.RUNNING
        fleet.discard(SOURCE, 1)
        stayed.restore(SOURCE, 1)
        for now_s in (31.0, 40.0, 55.5):
            fleet.advance(now_s)
            stayed.advance(now_s)
            here, there = vms(fleet), vms(stayed)
            assert here.cpu_used_mhz.tolist() == there.cpu_used_mhz.tolist()
            assert here.cpu_used_mhz_s.tolist() == there.cpu_used_mhz_s.tolist()
            assert here.cpu_ready_s.tolist() == there.cpu_ready_s.tolist()
        assert used_bytes(fleet) == [0, 2 * GIB]
        assert fleet.view().hosts.memory_expected_bytes.tolist() == [0, 0]
        assert fleet.next_change() > 55.5, "it does not boot"

    def test_a_guest_that_arrived_is_no_guest_that_lived_here_before(self) -> None:
        fleet = migrating()
        boots = [fleet.guest(SOURCE, 1)[1]]
        for source, destination in ((SOURCE, DESTINATION), (DESTINATION, SOURCE)):
            fleet.expect(destination, 1, VM)
            fleet.arrive(destination, 1, VM, 1, FRESH)
            boots.append(fleet.guest(destination, 1)[1])
            fleet.discard(source, 1)
        assert len(set(boots)) == 3

    def test_what_was_expected_arrives_whatever_befell_the_host_meanwhile(self) -> None:
        fleet = migrating()
        spec = replace(VM, cpu=CpuQos(1000, reservation_mhz=2000.0))
        fleet.expect(DESTINATION, 1, spec)
        fleet.steal_cpu(DESTINATION, 7500.0)
        assert fleet.arrive(DESTINATION, 1, spec, 1, FRESH) is VmState.RUNNING
        assert fleet.short_of_reservations() == (DESTINATION,)

    def test_what_was_not_expected_is_admitted_like_any_other(self) -> None:
        fleet = migrating()
        with pytest.raises(Refused, match="needs 20 GiB"):
            fleet.arrive(DESTINATION, 1, replace(VM, memory_bytes=20 * GIB), 1, FRESH)
        fleet.power_off(DESTINATION)
        with pytest.raises(Refused, match="powered off"):
            fleet.arrive(DESTINATION, 1, VM, 1, FRESH)
        fleet.power_on(DESTINATION)
        assert fleet.arrive(DESTINATION, 1, VM, 1, FRESH) is VmState.RUNNING
        with pytest.raises(Refused, match="cna-02 has VM i-00000001, which is running"):
            fleet.arrive(DESTINATION, 1, VM, 1, FRESH)

    def test_a_start_takes_the_room_that_was_kept(self) -> None:
        fleet = migrating()
        spec = replace(VM, memory_bytes=10 * GIB)
        fleet.expect(DESTINATION, 1, spec)
        assert fleet.start(DESTINATION, 1, spec, seed=1) is VmState.STARTING
        assert used_bytes(fleet) == [2 * GIB, 10 * GIB]
        with pytest.raises(Refused, match="which is starting"):
            fleet.arrive(DESTINATION, 1, spec, 1, FRESH)

    def test_it_may_come_back_to_where_it_has_stopped_before(self) -> None:
        fleet = migrating()
        fleet.start(DESTINATION, 1, replace(VM, workload=Constant(100)), seed=1)
        fleet.stop(DESTINATION, 1, force=True)
        fleet.expect(DESTINATION, 1, VM)
        fleet.arrive(DESTINATION, 1, VM, 1, Passage(used_mhz_s=7.0, ready_s=3.0, added_load=0.0))
        shown = vms(fleet)
        assert (shown.cpu_used_mhz_s[1], shown.cpu_ready_s[1]) == (7.0, 3.0)
        assert shown.cpu_used_mhz.tolist() == [1000.0, 1000.0]

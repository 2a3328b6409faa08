"""The model of hosts: orders, time, ready time, power and what always holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusion.errors import InvalidInput, NotFound, Refused
from fusion.fleet import Fleet
from fusion.fleet_view import VmColumns
from fusion.spec import GIB, NO_DOM0, Constant, CpuQos, HostSpec, Sine, Step, VmSpec
from fusion.vm import VmState

HOST = HostSpec(
    name="cna-01",
    cluster="c",
    rack="r",
    sockets=1,
    cores_per_socket=4,
    core_mhz=2000,
    memory_bytes=16 * GIB,
    dom0=NO_DOM0,
)
VM = VmSpec(
    name="web",
    cluster="c",
    vcpus=1,
    vcpu_mhz=2000,
    memory_bytes=2 * GIB,
    cpu=CpuQos(shares=1000),
    workload=Constant(50),
    boot_s=10,
    shutdown_s=5,
)


def fleet_of(*hosts: HostSpec) -> Fleet:
    fleet = Fleet(hosts)
    for host in hosts:
        fleet.power_on(host.name)
    return fleet


def running(*specs: VmSpec, host: HostSpec = HOST) -> Fleet:
    """Return one host on which ``specs`` run, numbered from 1, with nothing counted yet."""
    fleet = fleet_of(host)
    for number, spec in enumerate(specs, start=1):
        fleet.start(host.name, number, replace(spec, boot_s=0), seed=number)
    fleet.advance(0)
    return fleet


def vms(fleet: Fleet) -> VmColumns:
    return fleet.view().vms


class TestLife:
    def test_a_vm_boots_for_its_time_wanting_one_full_vcpu_and_then_works(self) -> None:
        fleet = fleet_of(HOST)
        assert fleet.start("cna-01", 1, replace(VM, vcpus=2), seed=1) is VmState.STARTING
        fleet.advance(9.9)
        assert fleet.state("cna-01", 1) is VmState.STARTING
        assert vms(fleet).cpu_demand_mhz.tolist() == [2000]
        fleet.advance(10)
        assert fleet.state("cna-01", 1) is VmState.RUNNING
        assert vms(fleet).cpu_demand_mhz.tolist() == [0.5 * 2 * 2000]

    def test_booting_gets_one_core_and_no_more(self) -> None:
        fleet = fleet_of(HOST)
        fleet.start("cna-01", 1, replace(VM, vcpus=2, vcpu_mhz=3000), seed=1)
        assert vms(fleet).cpu_used_mhz.tolist() == [2000]

    def test_a_guest_that_boots_in_no_time_runs_at_once(self) -> None:
        fleet = fleet_of(HOST)
        fleet.start("cna-01", 1, replace(VM, boot_s=0), seed=1)
        assert fleet.next_change() == 0
        fleet.advance(0)
        assert fleet.state("cna-01", 1) is VmState.RUNNING

    def test_a_safe_stop_takes_the_shutdown_time_and_the_workload_goes_on_meanwhile(self) -> None:
        fleet = running(VM)
        assert fleet.stop("cna-01", 1, force=False) is VmState.STOPPING
        fleet.advance(4.9)
        assert vms(fleet).cpu_used_mhz.tolist() == [1000]
        fleet.advance(5)
        assert fleet.state("cna-01", 1) is VmState.STOPPED

    @pytest.mark.parametrize("prepare", ["starting", "running", "stopping", "rebooting", "paused"])
    def test_force_stops_at_once_whatever_it_does(self, prepare: str) -> None:
        fleet = fleet_of(HOST) if prepare == "starting" else running(VM)
        orders: dict[str, Callable[[], object]] = {
            "starting": lambda: fleet.start("cna-01", 1, VM, seed=1),
            "running": lambda: None,
            "stopping": lambda: fleet.stop("cna-01", 1, force=False),
            "rebooting": lambda: fleet.reboot("cna-01", 1, force=False),
            "paused": lambda: fleet.pause("cna-01", 1),
        }
        orders[prepare]()
        assert fleet.state("cna-01", 1) == prepare
        assert fleet.stop("cna-01", 1, force=True) is VmState.STOPPED
        assert fleet.next_change() == math.inf
        fleet.advance(100)
        assert fleet.state("cna-01", 1) is VmState.STOPPED

    def test_a_stopped_vm_keeps_its_row_but_neither_memory_nor_cpu(self) -> None:
        fleet = running(VM, VM)
        fleet.advance(10)
        fleet.stop("cna-01", 1, force=True)
        view = fleet.view()
        assert view.vms.number.tolist() == [1, 2]
        assert view.vms.state_of(0) is VmState.STOPPED
        assert view.vms.cpu_demand_mhz.tolist() == view.vms.cpu_used_mhz.tolist() == [0, 1000]
        assert view.vms.cpu_used_mhz_s.tolist() == [10_000, 10_000]
        assert view.hosts.memory_used_bytes.tolist() == [2 * GIB]
        assert view.hosts.vms.tolist() == [1]

    def test_a_stopped_vm_starts_again_as_newly_configured_with_its_counters_at_zero(self) -> None:
        fleet = running(VM)
        fleet.advance(10)
        fleet.stop("cna-01", 1, force=True)
        fleet.start("cna-01", 1, replace(VM, name="new", vcpus=2, workload=Constant(100)), seed=2)
        view = vms(fleet)
        assert (view.names, view.vcpus.tolist()) == (("new",), [2])
        assert view.cpu_used_mhz_s.tolist() == [0]
        fleet.advance(20)
        assert vms(fleet).cpu_used_mhz.tolist() == [4000]

    def test_a_safe_reboot_shuts_down_and_then_boots(self) -> None:
        fleet = fleet_of(HOST)
        fleet.start("cna-01", 1, replace(VM, vcpus=2, workload=Constant(100)), seed=1)
        fleet.advance(10)
        assert fleet.reboot("cna-01", 1, force=False) is VmState.REBOOTING
        fleet.advance(14)
        assert vms(fleet).cpu_used_mhz.tolist() == [4000]
        fleet.advance(16)
        assert vms(fleet).cpu_used_mhz.tolist() == [2000]
        assert fleet.next_change() == 25
        fleet.advance(25)
        assert fleet.state("cna-01", 1) is VmState.RUNNING

    def test_a_forced_reboot_only_boots(self) -> None:
        fleet = fleet_of(HOST)
        fleet.start("cna-01", 1, VM, seed=1)
        fleet.advance(10)
        fleet.reboot("cna-01", 1, force=True)
        assert fleet.next_change() == 20

    def test_a_paused_vm_wants_nothing_waits_for_nothing_and_keeps_its_memory(self) -> None:
        fleet = running(replace(VM, workload=Step(((0, 50), (7, 100)))))
        assert fleet.pause("cna-01", 1) is VmState.PAUSED
        assert fleet.next_change() == math.inf
        fleet.advance(20)
        view = fleet.view()
        assert view.vms.cpu_demand_mhz.tolist() == view.vms.cpu_used_mhz_s.tolist() == [0]
        assert view.vms.cpu_ready_s.tolist() == [0]
        assert view.hosts.memory_used_bytes.tolist() == [2 * GIB]
        assert fleet.resume("cna-01", 1) is VmState.RUNNING
        assert vms(fleet).cpu_used_mhz.tolist() == [2000]

    def test_forget_drops_a_stopped_vm_and_no_other(self) -> None:
        fleet = running(VM, VM, VM)
        with pytest.raises(Refused, match="i-00000001 is running; stop it"):
            fleet.forget("cna-01", 1)
        fleet.stop("cna-01", 1, force=True)
        fleet.forget("cna-01", 1)
        assert vms(fleet).number.tolist() == [2, 3]
        assert fleet.pause("cna-01", 3) is VmState.PAUSED
        assert [vms(fleet).state_of(row) for row in (0, 1)] == [VmState.RUNNING, VmState.PAUSED]


class TestRefusals:
    def test_what_is_not_in_the_table(self) -> None:
        fleet = running(VM)
        with pytest.raises(Refused, match="i-00000001 is running, so start"):
            fleet.start("cna-01", 1, VM, seed=1)
        with pytest.raises(Refused, match="is running, so resume"):
            fleet.resume("cna-01", 1)
        fleet.stop("cna-01", 1, force=True)
        with pytest.raises(Refused, match="is stopped, so stop"):
            fleet.stop("cna-01", 1, force=False)

    def test_unknown_hosts_and_vms(self) -> None:
        fleet = running(VM)
        with pytest.raises(NotFound, match="no host 'cna-09'"):
            fleet.start("cna-09", 1, VM, seed=1)
        with pytest.raises(NotFound, match="cna-01 has no VM i-00000007"):
            fleet.pause("cna-01", 7)

    def test_a_host_that_is_off(self) -> None:
        with pytest.raises(Refused, match="cna-01 is powered off; power it on"):
            Fleet([HOST]).start("cna-01", 1, VM, seed=1)

    def test_memory_that_does_not_fit_and_then_does(self) -> None:
        fleet = running(*[VM] * 7)
        big = replace(VM, memory_bytes=2 * GIB + 1)
        with pytest.raises(Refused, match="cna-01 has 2 GiB of memory free and VM i-00000008"):
            fleet.start("cna-01", 8, big, seed=8)
        assert vms(fleet).number.tolist() == list(range(1, 8))
        fleet.stop("cna-01", 3, force=True)
        fleet.start("cna-01", 8, big, seed=8)

    def test_dom0_keeps_its_memory_and_cores(self) -> None:
        host = HostSpec("cna-02", "c", "r", 1, 4, 2000, 16 * GIB)
        fleet = running(*[replace(VM, workload=Constant(100))] * 6, host=host)
        with pytest.raises(Refused, match="1 GiB of memory free"):
            fleet.start("cna-02", 7, VM, seed=7)
        hosts = fleet.view().hosts
        assert hosts.cpu_capacity_mhz.tolist() == [4000]
        assert hosts.cpu_used_mhz.tolist() == pytest.approx([4000])

    def test_reservations_that_do_not_fit(self) -> None:
        fleet = running(replace(VM, cpu=CpuQos(1000, reservation_mhz=6000)), VM)
        with pytest.raises(Refused, match="has 2 GHz left to reserve"):
            fleet.start("cna-01", 3, replace(VM, cpu=CpuQos(1000, reservation_mhz=2001)), seed=3)
        with pytest.raises(Refused, match="has 2 GHz left to reserve"):
            fleet.set_cpu("cna-01", 2, CpuQos(1000, reservation_mhz=2001))
        fleet.set_cpu("cna-01", 1, CpuQos(1000, reservation_mhz=8000))
        assert vms(fleet).cpu_reservation_mhz.tolist() == [8000, 0]

    def test_a_stopped_vm_reserves_nothing(self) -> None:
        fleet = running(replace(VM, cpu=CpuQos(1000, reservation_mhz=8000)))
        fleet.stop("cna-01", 1, force=True)
        fleet.start("cna-01", 2, replace(VM, cpu=CpuQos(1000, reservation_mhz=8000)), seed=2)
        with pytest.raises(Refused, match="0 MHz left to reserve"):
            fleet.start("cna-01", 1, replace(VM, cpu=CpuQos(1000, reservation_mhz=1)), seed=1)

    @pytest.mark.parametrize(
        "cpu", [CpuQos(0), CpuQos(1, limit_mhz=0), CpuQos(1, reservation_mhz=-1)]
    )
    def test_nonsensical_qos(self, cpu: CpuQos) -> None:
        fleet = running(VM)
        with pytest.raises(InvalidInput, match="i-00000001: shares"):
            fleet.set_cpu("cna-01", 1, cpu)
        with pytest.raises(InvalidInput, match="i-00000002: shares"):
            fleet.start("cna-01", 2, replace(VM, cpu=cpu), seed=2)
        assert vms(fleet).cpu_shares.tolist() == [1000]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"vcpus": 0},
            {"vcpu_mhz": 0.0},
            {"memory_bytes": 0},
            {"boot_s": -1.0},
            {"shutdown_s": math.nan},
            {"boot_s": math.inf},
        ],
    )
    def test_a_vm_that_could_never_run(self, wrong: dict[str, float]) -> None:
        fleet = fleet_of(HOST)
        with pytest.raises(InvalidInput, match=f"i-00000001: {next(iter(wrong))} is"):
            fleet.start("cna-01", 1, replace(VM, **wrong), seed=1)  # type: ignore[arg-type]
        assert len(vms(fleet)) == 0

    def test_a_broken_workload_leaves_no_trace(self) -> None:
        fleet = fleet_of(HOST)
        with pytest.raises(InvalidInput, match="sine"):
            fleet.start("cna-01", 1, replace(VM, workload=Sine(50, 50, 0)), seed=1)
        assert len(vms(fleet)) == 0

    def test_two_hosts_of_one_name(self) -> None:
        with pytest.raises(InvalidInput, match="one name"):
            Fleet([HOST, HOST])

    def test_time_does_not_go_back(self) -> None:
        fleet = running(VM)
        fleet.advance(5)
        with pytest.raises(ValueError, match="cannot go back"):
            fleet.advance(4)


class TestSharing:
    def test_the_white_papers_host(self) -> None:
        host = replace(HOST, cores_per_socket=1, core_mhz=2800)
        full = replace(VM, vcpu_mhz=2800, workload=Constant(100))
        shares = [replace(full, cpu=CpuQos(shares)) for shares in (1000, 2000, 4000)]
        fleet = running(*shares, host=host)
        assert vms(fleet).cpu_used_mhz.tolist() == [400, 800, 1600]
        fleet.set_cpu("cna-01", 1, CpuQos(1000, reservation_mhz=700))
        assert vms(fleet).cpu_used_mhz.tolist() == [700, 700, 1400]

    def test_a_vcpu_never_gets_more_than_one_core(self) -> None:
        fleet = running(replace(VM, vcpus=2, vcpu_mhz=3000, workload=Constant(100)))
        fleet.advance(10)
        view = vms(fleet)
        assert view.cpu_demand_mhz.tolist() == [6000]
        assert view.cpu_used_mhz.tolist() == [4000]
        # Of 2 vCPUs, each ran two thirds of what it wanted.
        assert view.cpu_ready_s.tolist() == pytest.approx([10 * 2 / 3])

    def test_a_limit_makes_a_vm_wait_on_an_idle_host(self) -> None:
        cpu = CpuQos(1000, limit_mhz=500)
        fleet = running(replace(VM, cpu=cpu, workload=Constant(100)))
        fleet.advance(8)
        view = vms(fleet)
        assert view.cpu_used_mhz_s.tolist() == [4000]
        assert view.cpu_ready_s.tolist() == [6]

    def test_ready_time_of_contention(self) -> None:
        fleet = running(*[replace(VM, workload=Constant(100))] * 5)
        fleet.advance(10)
        # 5 vCPUs on 4 cores: each runs 0.8 of the time.
        assert vms(fleet).cpu_ready_s.tolist() == pytest.approx([2.0] * 5)

    def test_who_gets_what_it_wants_is_never_ready(self) -> None:
        fleet = running(VM)
        fleet.advance(1000)
        assert vms(fleet).cpu_ready_s.tolist() == [0]

    def test_set_cpu_acts_from_the_instant_that_was_advanced_to(self) -> None:
        fleet = running(replace(VM, workload=Constant(100)))
        fleet.advance(10)
        fleet.set_cpu("cna-01", 1, CpuQos(1000, limit_mhz=500))
        fleet.advance(12)
        assert vms(fleet).cpu_used_mhz_s.tolist() == [2000 * 10 + 500 * 2]

    def test_stolen_processors_shrink_reservations_and_are_named_until_given_back(self) -> None:
        reserved = replace(VM, workload=Constant(100), vcpus=2)
        fleet = running(
            replace(reserved, cpu=CpuQos(1000, reservation_mhz=1000)),
            replace(reserved, cpu=CpuQos(1000, reservation_mhz=3000)),
        )
        fleet.steal_cpu("cna-01", 6000)
        assert fleet.short_of_reservations() == ("cna-01",)
        view = fleet.view()
        assert view.vms.cpu_used_mhz.tolist() == [500, 1500]
        assert view.hosts.short_of_reservations.tolist() == [True]
        assert view.hosts.cpu_capacity_mhz.tolist() == [2000]
        with pytest.raises(InvalidInput, match="cna-01: -1 MHz"):
            fleet.steal_cpu("cna-01", -1)
        fleet.steal_cpu("cna-01", 0)
        assert fleet.short_of_reservations() == ()
        assert vms(fleet).cpu_used_mhz.tolist() == [4000, 4000]


class TestTime:
    def test_a_boot_ends_exactly_when_due_between_two_ticks(self) -> None:
        fleet = fleet_of(HOST)
        fleet.start("cna-01", 1, replace(VM, boot_s=2.5), seed=1)
        fleet.advance(10)
        # 2.5 s of booting at 2000 MHz, then 7.5 s at 50 %.
        assert vms(fleet).cpu_used_mhz_s.tolist() == [2.5 * 2000 + 7.5 * 1000]

    def test_a_shutdown_between_two_ticks_frees_the_processors_then(self) -> None:
        full = replace(VM, vcpus=4, workload=Constant(100))
        fleet = running(full, full)
        fleet.stop("cna-01", 2, force=False)
        fleet.advance(8)
        assert vms(fleet).cpu_used_mhz_s.tolist() == [5 * 4000 + 3 * 8000, 5 * 4000]

    def test_a_chain_of_phases_within_one_advance(self) -> None:
        fleet = running(replace(VM, workload=Constant(100), vcpus=2))
        fleet.reboot("cna-01", 1, force=False)
        fleet.advance(5)
        fleet.stop("cna-01", 1, force=True)
        fleet.start("cna-01", 1, replace(VM, boot_s=3), seed=1)
        fleet.advance(100)
        assert fleet.state("cna-01", 1) is VmState.RUNNING
        assert vms(fleet).cpu_used_mhz_s.tolist() == [3 * 2000 + 92 * 1000]

    def test_next_change_is_the_earliest_of_timers_and_steps(self) -> None:
        fleet = running(replace(VM, workload=Step(((0, 10), (40, 20)))))
        assert fleet.next_change() == 40
        fleet.start("cna-01", 2, VM, seed=2)
        assert fleet.next_change() == 10
        fleet.advance(10)
        assert fleet.next_change() == 40
        fleet.advance(40)
        assert fleet.next_change() == math.inf

    def test_the_load_is_that_of_the_launch_whenever_the_vm_started(self) -> None:
        fleet = fleet_of(HOST)
        fleet.advance(30)
        step = Step(((0, 10), (40, 20)))
        fleet.start("cna-01", 1, replace(VM, boot_s=0, workload=step), seed=1)
        fleet.advance(39)
        assert vms(fleet).cpu_demand_mhz.tolist() == [200]
        fleet.advance(40)
        assert vms(fleet).cpu_demand_mhz.tolist() == [400]

    def test_one_long_way_equals_many_short_ones_under_constant_demand(self) -> None:
        def journey(*stops: float) -> VmColumns:
            fleet = fleet_of(HOST)
            for number in range(1, 8):
                load = Constant(100 if number % 2 else 60)
                spec = replace(VM, vcpus=number % 3 + 1, boot_s=number * 1.3, workload=load)
                fleet.start("cna-01", number, spec, seed=number)
            for stop in stops:
                fleet.advance(stop)
            return vms(fleet)

        long, short = journey(10), journey(*range(1, 11))
        assert long.cpu_used_mhz_s.tolist() == pytest.approx(short.cpu_used_mhz_s.tolist())
        assert long.cpu_ready_s.tolist() == pytest.approx(short.cpu_ready_s.tolist())
        assert long.cpu_used_mhz.tolist() == short.cpu_used_mhz.tolist()

    def test_a_host_does_not_depend_on_what_happens_at_its_neighbours(self) -> None:
        wave = replace(VM, workload=Sine(50, 50, 60))
        other = replace(HOST, name="cna-02")

        def used(with_neighbour: bool) -> Any:
            fleet = fleet_of(HOST, other)
            fleet.start("cna-01", 1, replace(wave, boot_s=0), seed=1)
            if with_neighbour:
                fleet.start("cna-02", 2, replace(wave, boot_s=7), seed=2)
            fleet.advance(10)
            fleet.advance(20)
            return fleet.view().hosts.cpu_used_mhz_s.tolist()

        assert used(True)[0] == used(False)[0]
        assert used(True)[1] > used(False)[1] == 0


class TestPower:
    def test_power_off_takes_the_vms_of_one_host_at_once_and_nobody_elses(self) -> None:
        hosts = [replace(HOST, name=f"cna-0{i}") for i in (1, 2, 3)]
        fleet, alike = fleet_of(*hosts), fleet_of(hosts[0], hosts[2])
        for number in range(1, 10):
            name = hosts[number % 3].name
            fleet.start(name, number, VM, seed=number)
            if name != "cna-02":
                alike.start(name, number, VM, seed=number)
        fleet.advance(12)
        alike.advance(12)
        fleet.power_off("cna-02")
        view = fleet.view()
        assert view.hosts.on.tolist() == [True, False, True]
        assert view.hosts.vms.tolist() == [3, 0, 3]
        assert view.hosts.cpu_used_mhz.tolist() == [3000, 0, 3000]
        assert view.hosts.cpu_demand_mhz[1] == view.hosts.memory_used_bytes[1] == 0
        with pytest.raises(NotFound):
            fleet.state("cna-02", 1)
        fleet.advance(20)
        alike.advance(20)
        assert vms(fleet).number.tolist() == vms(alike).number.tolist()
        assert vms(fleet).cpu_used_mhz_s.tolist() == vms(alike).cpu_used_mhz_s.tolist()
        fleet.stop("cna-03", 8, force=True)
        assert fleet.state("cna-03", 8) is VmState.STOPPED

    def test_a_host_comes_back_empty_healthy_and_counting_from_zero(self) -> None:
        fleet = running(VM)
        fleet.steal_cpu("cna-01", 5000)
        fleet.advance(10)
        fleet.power_off("cna-01")
        fleet.advance(20)
        fleet.power_on("cna-01")
        hosts = fleet.view().hosts
        assert hosts.on.tolist() == [True]
        assert hosts.cpu_used_mhz_s.tolist() == [0]
        assert hosts.cpu_capacity_mhz.tolist() == [8000]
        fleet.start("cna-01", 1, VM, seed=1)

    def test_powering_a_running_host_on_changes_nothing(self) -> None:
        fleet = running(VM)
        fleet.advance(10)
        fleet.power_on("cna-01")
        assert fleet.view().hosts.cpu_used_mhz_s.tolist() == [10_000]
        assert fleet.state("cna-01", 1) is VmState.RUNNING


class TestView:
    def test_vms_stand_by_host_and_number_whatever_came_and_went(self) -> None:
        other = replace(HOST, name="cna-02")
        fleet = fleet_of(HOST, replace(HOST, name="cna-00"), other)
        for host, number in [("cna-02", 1), ("cna-01", 9), ("cna-02", 7), ("cna-01", 2)]:
            fleet.start(host, number, replace(VM, name=f"vm-{number}"), seed=1)
        fleet.stop("cna-02", 1, force=True)
        fleet.forget("cna-02", 1)
        fleet.start("cna-02", 3, replace(VM, name="vm-3"), seed=1)
        view = fleet.view()
        assert view.hosts.first_vm.tolist() == [0, 2, 2, 4]
        assert view.vms.host_row.tolist() == [0, 0, 2, 2]
        assert view.vms.number.tolist() == [2, 9, 3, 7]
        assert view.vms.names == ("vm-2", "vm-9", "vm-3", "vm-7")

    def test_the_same_number_may_be_known_to_two_hosts(self) -> None:
        fleet = fleet_of(HOST, replace(HOST, name="cna-02"))
        fleet.start("cna-01", 1, VM, seed=1)
        fleet.stop("cna-01", 1, force=True)
        fleet.start("cna-02", 1, VM, seed=1)
        assert fleet.state("cna-01", 1) is VmState.STOPPED
        assert fleet.state("cna-02", 1) is VmState.STARTING

    def test_an_old_view_stays_as_it_was(self) -> None:
        fleet = running(VM, VM)
        fleet.advance(5)
        view = fleet.view()
        kept = repr(view)
        fleet.set_cpu("cna-01", 1, CpuQos(5000, limit_mhz=1))
        fleet.stop("cna-01", 2, force=True)
        fleet.advance(9)
        fleet.forget("cna-01", 2)
        fleet.power_off("cna-01")
        fleet.view()
        assert repr(view) == kept

    def test_views_share_names_until_a_vm_comes_goes_or_is_reconfigured(self) -> None:
        fleet = running(VM)
        first = vms(fleet)
        fleet.pause("cna-01", 1)
        fleet.advance(5)
        assert vms(fleet).names is first.names
        fleet.set_cpu("cna-01", 1, CpuQos(7))
        second = vms(fleet)
        assert (first.cpu_shares.tolist(), second.cpu_shares.tolist()) == ([1000], [7])
        fleet.start("cna-01", 2, VM, seed=2)
        assert vms(fleet).names == ("web", "web")

    def test_what_views_share_nobody_can_write(self) -> None:
        view = running(VM).view()
        with pytest.raises(ValueError, match="read-only"):
            view.vms.cpu_shares[0] = 9

    def test_an_empty_fleet_has_columns_of_the_right_kinds(self) -> None:
        hosts = Fleet([HOST]).view().hosts
        assert hosts.cpu_demand_mhz.dtype == np.float64
        assert hosts.memory_used_bytes.dtype == np.int64
        assert hosts.vms.tolist() == [0]

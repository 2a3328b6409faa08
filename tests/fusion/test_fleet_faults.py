"""What befalls guests in the model: crashes that the watchdog mends, and bursts of load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusion.errors import InvalidInput, NotFound, Refused
from fusion.fleet import Fleet
from fusion.spec import Constant
from fusion.vm import VmState
from tests.fusion.test_fleet import HOST, VM, running, vms

NAME = HOST.name


def booted(boot_s: float = 10.0, percent: float = 50.0) -> Fleet:
    """Return a host with VM 1, that boots in ``boot_s`` and has just come up."""
    fleet = Fleet([HOST])
    fleet.power_on(NAME)
    fleet.start(NAME, 1, replace(VM, boot_s=boot_s, workload=Constant(percent)), seed=1)
    fleet.advance(boot_s)
    return fleet


def test_a_crashed_guest_is_booted_by_its_watchdog() -> None:
    fleet = booted()
    assert fleet.crash_guest(NAME, 1) is VmState.FAULT_RESUMING
    assert fleet.next_change() == 20.0
    assert fleet.view().hosts.vms.tolist() == [1]  # it keeps its memory
    fleet.advance(15.0)
    assert fleet.state(NAME, 1) is VmState.FAULT_RESUMING
    assert vms(fleet).cpu_demand_mhz.tolist() == [2000]  # boots, for which it wants one vCPU
    fleet.advance(20.0)
    assert fleet.state(NAME, 1) is VmState.RUNNING
    assert vms(fleet).cpu_demand_mhz.tolist() == [1000]


def test_only_a_running_guest_crashes() -> None:
    fleet = booted()
    fleet.pause(NAME, 1)
    with pytest.raises(Refused, match="paused"):
        fleet.crash_guest(NAME, 1)
    fleet.resume(NAME, 1)
    fleet.crash_guest(NAME, 1)
    with pytest.raises(Refused, match="fault-resuming"):
        fleet.crash_guest(NAME, 1)
    with pytest.raises(NotFound):
        fleet.crash_guest(NAME, 2)


def test_a_guest_that_resumes_from_a_fault_can_be_halted() -> None:
    fleet = booted()
    fleet.crash_guest(NAME, 1)
    assert fleet.stop(NAME, 1, force=True) is VmState.STOPPED
    fleet.advance(100.0)
    assert fleet.state(NAME, 1) is VmState.STOPPED


def test_a_crash_cuts_off_no_shutdown() -> None:
    fleet = booted()
    fleet.stop(NAME, 1, force=False)
    with pytest.raises(Refused):
        fleet.crash_guest(NAME, 1)


def test_added_load_is_wanted_on_top_up_to_all_vcpus_until_it_ends() -> None:
    fleet = booted()
    fleet.add_load(NAME, 1, 30.0)
    fleet.advance(fleet.now_s)
    assert vms(fleet).cpu_demand_mhz.tolist() == [0.8 * 2000]
    assert vms(fleet).cpu_used_mhz.tolist() == [0.8 * 2000]
    fleet.add_load(NAME, 1, 500.0)
    assert vms(fleet).cpu_demand_mhz.tolist() == [2000]
    fleet.add_load(NAME, 1, 0.0)
    assert vms(fleet).cpu_demand_mhz.tolist() == [1000]


def test_added_load_counts_only_while_the_guest_works() -> None:
    fleet = booted()
    fleet.add_load(NAME, 1, 30.0)
    fleet.crash_guest(NAME, 1)
    assert vms(fleet).cpu_demand_mhz.tolist() == [2000]  # booting: one vCPU, as always
    fleet.advance(20.0)
    assert vms(fleet).cpu_demand_mhz.tolist() == [1600]  # the clients are still there
    fleet.pause(NAME, 1)
    assert vms(fleet).cpu_demand_mhz.tolist() == [0]


def test_a_vm_that_is_started_again_is_without_added_load() -> None:
    fleet = booted()
    fleet.add_load(NAME, 1, 30.0)
    fleet.stop(NAME, 1, force=True)
    fleet.start(NAME, 1, VM, seed=1)
    fleet.advance(fleet.now_s + VM.boot_s)
    assert vms(fleet).cpu_demand_mhz.tolist() == [1000]


def test_added_load_stays_with_its_vm_when_rows_move() -> None:
    fleet = running(VM, replace(VM, name="other"))
    fleet.add_load(NAME, 2, 30.0)
    fleet.stop(NAME, 1, force=True)
    fleet.forget(NAME, 1)
    assert vms(fleet).names == ("other",)
    assert vms(fleet).cpu_demand_mhz.tolist() == [1600]


@pytest.mark.parametrize("percent", [-1.0, float("inf"), float("nan")])
def test_load_that_is_no_number_of_per_cent_is_refused(percent: float) -> None:
    with pytest.raises(InvalidInput, match="give 0 or more"):
        booted().add_load(NAME, 1, percent)

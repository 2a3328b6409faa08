"""What a host does to VMs by itself: it freezes them, lets them go on, and drops copies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusion.errors import NotFound, Refused
from fusion.fleet import Fleet
from fusion.spec import CpuQos
from fusion.vm import VmState
from tests.fusion.test_fleet import HOST, VM, fleet_of, vms

NAME = HOST.name
WHY = "its lease on san-1 has ended"


def starting() -> Fleet:
    """Return a host with VM 1, which has 10 s to boot."""
    fleet = fleet_of(HOST)
    fleet.start(NAME, 1, VM, seed=1)
    return fleet


def test_a_frozen_vm_is_paused_and_keeps_its_memory_alone() -> None:
    fleet = starting()
    fleet.advance(20.0)
    assert fleet.suspend(NAME, 1, WHY) is VmState.PAUSED
    used = vms(fleet).cpu_used_mhz_s.tolist()
    fleet.advance(500.0)
    assert fleet.state(NAME, 1) is VmState.PAUSED
    assert vms(fleet).cpu_used_mhz_s.tolist() == used
    assert fleet.view().hosts.memory_used_bytes.tolist() == [VM.memory_bytes]
    assert fleet.suspend(NAME, 1, "once more") is VmState.PAUSED
    assert fleet.restore(NAME, 1) is VmState.RUNNING
    fleet.advance(501.0)
    assert vms(fleet).cpu_used_mhz_s.tolist() == [used[0] + 1000.0]


def test_what_is_left_of_a_boot_or_a_shutdown_follows() -> None:
    fleet = starting()
    fleet.advance(4.0)
    fleet.suspend(NAME, 1, WHY)
    fleet.advance(100.0)
    assert fleet.restore(NAME, 1) is VmState.STARTING
    assert fleet.next_change() == 106.0
    fleet.advance(106.0)
    assert fleet.state(NAME, 1) is VmState.RUNNING
    fleet.stop(NAME, 1, force=False)
    fleet.advance(107.0)
    fleet.suspend(NAME, 1, WHY)
    fleet.advance(200.0)
    assert fleet.restore(NAME, 1) is VmState.STOPPING
    fleet.advance(204.0)
    assert fleet.state(NAME, 1) is VmState.STOPPED


def test_a_vm_that_an_operator_paused_is_paused_again_afterwards() -> None:
    fleet = starting()
    fleet.advance(10.0)
    fleet.pause(NAME, 1)
    fleet.suspend(NAME, 1, WHY)
    with pytest.raises(Refused, match=r"frozen by its host, because its lease on san-1 has ended"):
        fleet.resume(NAME, 1)
    assert fleet.restore(NAME, 1) is VmState.PAUSED
    assert fleet.resume(NAME, 1) is VmState.RUNNING


@pytest.mark.parametrize(
    "order",
    [
        lambda fleet: fleet.stop(NAME, 1, force=False),
        lambda fleet: fleet.reboot(NAME, 1, force=False),
        lambda fleet: fleet.reboot(NAME, 1, force=True),
        lambda fleet: fleet.pause(NAME, 1),
        lambda fleet: fleet.resume(NAME, 1),
        lambda fleet: fleet.start(NAME, 1, VM, seed=1),
        lambda fleet: fleet.crash_guest(NAME, 1),
    ],
    ids=["stop", "reboot", "force-reboot", "pause", "resume", "start", "crash"],
)
def test_a_frozen_vm_takes_no_orders(order: Callable[[Fleet], VmState]) -> None:
    fleet = starting()
    fleet.advance(10.0)
    fleet.suspend(NAME, 1, WHY)
    with pytest.raises(Refused, match=WHY):
        order(fleet)
    assert fleet.restore(NAME, 1) is VmState.RUNNING


def test_but_for_a_forced_stop_after_which_it_may_start_again() -> None:
    fleet = starting()
    fleet.suspend(NAME, 1, WHY)
    fleet.set_cpu(NAME, 1, CpuQos(500))
    assert fleet.stop(NAME, 1, force=True) is VmState.STOPPED
    with pytest.raises(Refused, match="not frozen"):
        fleet.restore(NAME, 1)
    with pytest.raises(Refused, match="nothing to freeze"):
        fleet.suspend(NAME, 1, WHY)
    assert fleet.start(NAME, 1, VM, seed=1) is VmState.STARTING


def test_a_discarded_copy_leaves_nothing() -> None:
    fleet = starting()
    fleet.suspend(NAME, 1, WHY)
    fleet.discard(NAME, 1)
    assert len(vms(fleet)) == 0
    assert fleet.view().hosts.memory_used_bytes.tolist() == [0]
    with pytest.raises(NotFound):
        fleet.discard(NAME, 1)
    fleet.start(NAME, 1, VM, seed=1)
    with pytest.raises(Refused, match="not frozen"):
        fleet.restore(NAME, 1)
    fleet.suspend(NAME, 1, WHY)
    fleet.power_off(NAME)
    fleet.power_on(NAME)
    fleet.start(NAME, 1, VM, seed=1)
    with pytest.raises(Refused, match="not frozen"):
        fleet.restore(NAME, 1)


def test_a_guest_has_a_boot_of_its_own_until_it_boots_again() -> None:
    fleet = starting()
    boots = [fleet.guest(NAME, 1)[1]]

    def booted_anew() -> bool:
        boots.append(fleet.guest(NAME, 1)[1])
        return boots[-1] not in boots[:-1]

    fleet.advance(4.0)
    fleet.suspend(NAME, 1, WHY)
    fleet.restore(NAME, 1)
    fleet.advance(10.0)
    fleet.pause(NAME, 1)
    fleet.resume(NAME, 1)
    assert not booted_anew()
    fleet.crash_guest(NAME, 1)
    assert booted_anew()
    fleet.advance(20.0)
    fleet.reboot(NAME, 1, force=False)
    assert not booted_anew()  # it shuts down first
    fleet.advance(25.0)
    assert booted_anew()
    fleet.advance(35.0)
    fleet.reboot(NAME, 1, force=True)
    assert booted_anew()
    fleet.discard(NAME, 1)
    fleet.start(NAME, 1, VM, seed=1)
    assert booted_anew()

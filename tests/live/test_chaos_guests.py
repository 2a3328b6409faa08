"""Faults of guests, as the process that has them lets them befall."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from cluster.live.datastore_faults import DatastoreFaults
from cluster.live.fault_book import WrittenFault
from cluster.live.guest_faults import GuestFaults
from fusion.errors import Refused
from fusion.faults.schedule import Fault, FaultKind, Filled, Load, MemoryHog
from fusion.fleet_view import FleetView


class Guests:
    """VMs by name on hosts; what befell them, in order."""

    def __init__(self, **host_of: str) -> None:
        self.host_of = host_of
        self.befell: list[tuple[Any, ...]] = []
        self.running = True

    @property
    def view(self) -> FleetView:
        hosts = sorted(set(self.host_of.values()))
        rows = [hosts.index(host) for host in self.host_of.values()]
        vms = SimpleNamespace(
            names=tuple(self.host_of), host_row=rows, number=range(1, len(rows) + 1)
        )
        return cast(FleetView, SimpleNamespace(hosts=SimpleNamespace(names=hosts), vms=vms))

    def crash_guest(self, host: str, vm: int) -> None:
        if not self.running:
            raise Refused("it does not run")
        self.befell.append(("crash", host, vm))

    def add_load(self, host: str, vm: int, percent: float) -> None:
        self.befell.append(("load", host, vm, percent))

    def hog_memory(self, host: str, vm: int, rate_bytes_s: float) -> None:
        self.befell.append(("hog", host, vm, rate_bytes_s))


def crash(name: str, *vms: str) -> WrittenFault:
    return WrittenFault(name, Fault(FaultKind.GUEST_CRASH, 0.0, 0.0, vms), None)


def burst(name: str, percent: float, *vms: str) -> WrittenFault:
    fault = Fault(FaultKind.LOAD_BURST, 0.0, 9.0, vms, Load(percent=percent))
    return WrittenFault(name, fault, None)


def hog(name: str, rate_bytes_s: float, *vms: str) -> WrittenFault:
    parameters = MemoryHog(rate_bytes_s=rate_bytes_s)
    return WrittenFault(name, Fault(FaultKind.GUEST_MEMORY_HOG, 0.0, 9.0, vms, parameters), None)


def full_datastore(name: str, percent: float, *names: str) -> WrittenFault:
    parameters = Filled(percent=percent)
    return WrittenFault(name, Fault(FaultKind.FULL_DATASTORE, 0.0, 9.0, names, parameters), None)


def test_a_guest_crashes_once_by_each_fault() -> None:
    guests = Guests(a="cna-01", b="cna-02")
    faults = GuestFaults(guests)
    first, second = crash("fault-1", "b", "elsewhere"), crash("fault-2", "b")
    assert faults.suffer([first]) == [first]
    assert faults.suffer([first]) == [first]
    assert guests.befell == [("crash", "cna-02", 2)]
    assert faults.suffer([first, second]) == [first, second]
    assert guests.befell == [("crash", "cna-02", 2)] * 2


def test_a_guest_that_does_not_run_crashes_once_it_does() -> None:
    guests = Guests(a="cna-01")
    faults, fault = GuestFaults(guests), crash("fault-1", "a")
    guests.running = False
    assert faults.suffer([fault]) == []
    guests.running = True
    assert faults.suffer([fault]) == [fault]


def test_faults_of_guests_elsewhere_are_not_felt() -> None:
    guests = Guests(a="cna-01")
    assert GuestFaults(guests).suffer([crash("fault-1", "b"), burst("fault-2", 50, "b")]) == []
    assert guests.befell == []


def test_bursts_add_up_and_end() -> None:
    guests = Guests(a="cna-01")
    faults, small, large = GuestFaults(guests), burst("f-1", 10, "a"), burst("f-2", 30, "a")
    for in_force in ([small], [small, large], [small, large], [large], []):
        assert faults.suffer(in_force) == in_force
    loads = [percent for _, _, _, percent in guests.befell]
    assert loads == [10, 40, 30, 0]


def test_hogs_add_up_beside_bursts_and_end() -> None:
    guests = Guests(a="cna-01")
    faults, load, small, large = (
        GuestFaults(guests),
        burst("f-1", 10, "a"),
        hog("f-2", 1e6, "a"),
        hog("f-3", 2e6, "a"),
    )
    for in_force in ([small], [load, small, large], [large], []):
        assert faults.suffer(in_force) == in_force
    assert [rate for what, _, _, rate in guests.befell if what == "hog"] == [1e6, 3e6, 2e6, 0.0]
    assert [percent for what, _, _, percent in guests.befell if what == "load"] == [10, 0.0]


def test_datastores_are_as_full_as_the_worst_fault_has_them() -> None:
    filled: list[tuple[str, float]] = []
    faults = DatastoreFaults(["ds-1", "ds-2"], lambda name, percent: filled.append((name, percent)))
    some, full = full_datastore("f-1", 80, "ds-1"), full_datastore("f-2", 100, "ds-2", "ds-1")
    other = full_datastore("f-3", 100, "ds-9")
    assert faults.suffer([other, burst("f-4", 10, "ds-1")]) == []
    for in_force in ([some], [some, full], [some, full], [some], []):
        assert faults.suffer(in_force) == in_force
    one = [percent for name, percent in filled if name == "ds-1"]
    assert (one, len(filled)) == ([80, 100, 80, 0], 6)


def test_a_burst_follows_a_vm_to_another_host() -> None:
    guests = Guests(a="cna-01")
    faults, fault = GuestFaults(guests), burst("fault-1", 10, "a")
    faults.suffer([fault])
    guests.host_of["a"] = "cna-02"
    faults.suffer([fault])
    assert sorted(guests.befell[1:]) == [("load", "cna-01", 1, 0.0), ("load", "cna-02", 1, 10)]

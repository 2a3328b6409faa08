"""Orders in any sequence: the fleet follows a naive model of itself, and what must hold holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fusion.errors import NotFound, Refused
from fusion.fleet import Fleet
from fusion.passage import Passage
from fusion.spec import GIB, NO_DOM0, Bursts, Constant, CpuQos, HostSpec, Sine, Step, Trace, VmSpec
from fusion.vm import ON_HOST, TRANSITIONS, VmAction, VmState

HOSTS = tuple(
    HostSpec(f"cna-{i}", "c", "r", 1, cores, 2000, 6 * GIB, NO_DOM0)
    for i, cores in enumerate((1, 2, 4))
)
NAMES = [host.name for host in HOSTS]
WORKLOADS = (
    Constant(100),
    Sine(50, 50, 40),
    Step(((0, 10), (15, 100))),
    Bursts(10, 100, 5, 5),
    Trace(bytes([0, 50, 100]), 3),
)

host_names = st.sampled_from(NAMES)
numbers = st.integers(1, 6)
qos = st.builds(
    CpuQos,
    shares=st.sampled_from([1, 1000, 4000]),
    limit_mhz=st.sampled_from([300.0, 2500.0, math.inf]),
    reservation_mhz=st.sampled_from([0.0, 700.0, 1500.0]),
)
specs = st.builds(
    VmSpec,
    name=st.just("vm"),
    cluster=st.just("c"),
    vcpus=st.integers(1, 4),
    vcpu_mhz=st.sampled_from([1000.0, 2000.0, 3000.0]),
    memory_bytes=st.integers(1, 4).map(lambda gib: gib * GIB),
    cpu=qos,
    workload=st.sampled_from(WORKLOADS),
    boot_s=st.sampled_from([0.0, 2.5, 10.0]),
    shutdown_s=st.sampled_from([0.0, 1.5, 4.0]),
)


@dataclass
class Known:
    """What a naive model knows of a VM: since when it boots, and when its state ends by itself.

    ``frozen`` is what it was before its host froze it: its state, and the times left.
    ``handed_over``: its host froze it for another host. ``throttle`` is the share it is kept from.
    """

    spec: VmSpec
    state: VmState
    boots_s: float
    until_s: float
    frozen: tuple[VmState, float, float] | None = None
    handed_over: bool = False
    throttle: float = 0.0

    @property
    def migrates(self) -> bool:
        state = self.frozen[0] if self.frozen else self.state
        return state is VmState.MIGRATING


class Orders(RuleBasedStateMachine):
    """Every order at any time, refused or not."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(HOSTS)
        self.on: dict[str, bool] = dict.fromkeys(NAMES, False)
        self.known: dict[tuple[str, int], Known] = {}
        self.expected: dict[tuple[str, int], VmSpec] = {}
        self.ready: dict[tuple[str, int], float] = {}

    @rule(host=host_names)
    def power_on(self, host: str) -> None:
        self.fleet.power_on(host)
        self.on[host] = True

    @rule(host=st.sampled_from(NAMES[:1]))
    def power_off(self, host: str) -> None:
        self.fleet.power_off(host)
        self.on[host] = False
        self.known = {key: vm for key, vm in self.known.items() if key[0] != host}
        self.expected = {key: vm for key, vm in self.expected.items() if key[0] != host}

    @rule(host=host_names, number=numbers, spec=specs)
    def start(self, host: str, number: int, spec: VmSpec) -> None:
        vm = self.known.get((host, number))
        fits = self.fits(host, number, spec.memory_bytes, spec.cpu)
        possible = self.on[host] and fits and (vm is None or vm.state is VmState.STOPPED)
        try:
            self.fleet.start(host, number, spec, seed=number)
        except Refused:
            assert not possible
            return
        assert possible
        now_s = self.fleet.now_s
        self.known[host, number] = Known(spec, VmState.STARTING, now_s, now_s + spec.boot_s)
        self.expected.pop((host, number), None)
        self.advance(0.0)

    @rule(
        host=host_names,
        number=numbers,
        action=st.sampled_from(
            [
                VmAction.STOP,
                VmAction.FORCE_STOP,
                VmAction.REBOOT,
                VmAction.FORCE_REBOOT,
                VmAction.PAUSE,
                VmAction.RESUME,
            ]
        ),
    )
    def order(self, host: str, number: int, action: VmAction) -> None:
        vm = self.known.get((host, number))
        possible = vm is not None and action in TRANSITIONS[vm.state]
        if vm is not None and action is VmAction.FORCE_STOP:
            possible = (possible or vm.migrates) and not vm.handed_over
        elif vm is not None and vm.frozen:
            possible = False
        try:
            self.give(host, number, action)
        except (Refused, NotFound) as refusal:
            assert not possible
            assert isinstance(refusal, NotFound) == (vm is None)
            return
        assert possible and vm is not None
        boot_s, shutdown_s = vm.spec.boot_s, vm.spec.shutdown_s
        vm.state, boots_in_s, lasting_s = {
            VmAction.STOP: (VmState.STOPPING, math.inf, shutdown_s),
            VmAction.FORCE_STOP: (VmState.STOPPED, math.inf, math.inf),
            VmAction.REBOOT: (VmState.REBOOTING, shutdown_s, shutdown_s + boot_s),
            VmAction.FORCE_REBOOT: (VmState.REBOOTING, 0.0, boot_s),
            VmAction.PAUSE: (VmState.PAUSED, math.inf, math.inf),
            VmAction.RESUME: (VmState.RUNNING, math.inf, math.inf),
        }[action]
        vm.frozen, vm.throttle = None, 0.0
        vm.boots_s = self.fleet.now_s + boots_in_s
        vm.until_s = self.fleet.now_s + lasting_s
        self.advance(0.0)

    def give(self, host: str, number: int, action: VmAction) -> None:
        match action:
            case VmAction.STOP | VmAction.FORCE_STOP:
                self.fleet.stop(host, number, force=action is VmAction.FORCE_STOP)
            case VmAction.REBOOT | VmAction.FORCE_REBOOT:
                self.fleet.reboot(host, number, force=action is VmAction.FORCE_REBOOT)
            case VmAction.PAUSE:
                self.fleet.pause(host, number)
            case VmAction.RESUME:
                self.fleet.resume(host, number)

    @rule(host=host_names, number=numbers)
    def suspend(self, host: str, number: int) -> None:
        vm, now_s = self.known.get((host, number)), self.fleet.now_s
        try:
            self.fleet.suspend(host, number, "the test says so")
        except (Refused, NotFound):
            assert vm is None or vm.state is VmState.STOPPED
            return
        assert vm is not None
        if vm.frozen is None:
            vm.frozen = vm.state, vm.boots_s - now_s, vm.until_s - now_s
            vm.state, vm.boots_s, vm.until_s = VmState.PAUSED, math.inf, math.inf

    @rule(host=host_names, number=numbers)
    def restore(self, host: str, number: int) -> None:
        vm, now_s = self.known.get((host, number)), self.fleet.now_s
        try:
            self.fleet.restore(host, number)
        except (Refused, NotFound):
            assert vm is None or vm.frozen is None
            return
        assert vm is not None
        assert vm.frozen is not None
        vm.state, boots_in_s, lasting_s = vm.frozen
        vm.boots_s, vm.until_s = now_s + boots_in_s, now_s + lasting_s
        vm.frozen, vm.handed_over = None, False
        self.advance(0.0)

    @rule(host=host_names, number=numbers)
    def discard(self, host: str, number: int) -> None:
        try:
            self.fleet.discard(host, number)
        except NotFound:
            assert (host, number) not in self.known
            return
        del self.known[host, number]

    @rule(host=host_names, number=numbers)
    def begin_migration(self, host: str, number: int) -> None:
        vm = self.known.get((host, number))
        try:
            self.fleet.begin_migration(host, number)
        except (Refused, NotFound):
            assert vm is None or vm.state is not VmState.RUNNING
            return
        assert vm is not None
        assert vm.state is VmState.RUNNING
        vm.state = VmState.MIGRATING

    @rule(host=host_names, number=numbers)
    def suspend_for_hand_over(self, host: str, number: int) -> None:
        vm = self.known.get((host, number))
        try:
            self.fleet.suspend_for_hand_over(host, number)
        except (Refused, NotFound):
            assert vm is None or not vm.migrates
            return
        assert vm is not None
        vm.frozen = vm.frozen or (vm.state, math.inf, math.inf)
        vm.state, vm.handed_over = VmState.MIGRATING, True

    @rule(host=host_names, number=numbers)
    def end_migration(self, host: str, number: int) -> None:
        vm = self.known.get((host, number))
        try:
            self.fleet.end_migration(host, number)
        except NotFound:
            assert vm is None
            return
        assert vm is not None
        if vm.migrates:
            vm.handed_over, vm.throttle = False, 0.0
            if vm.frozen:
                vm.frozen, vm.state = (VmState.RUNNING, math.inf, math.inf), VmState.PAUSED
            else:
                vm.state = VmState.RUNNING

    @rule(host=host_names, number=numbers, share=st.sampled_from([0.0, 0.2, 0.99]))
    def throttle(self, host: str, number: int, share: float) -> None:
        vm = self.known.get((host, number))
        try:
            self.fleet.throttle(host, number, share)
        except (Refused, NotFound):
            assert vm is None or not vm.migrates
            return
        assert vm is not None
        vm.throttle = share

    @rule(host=host_names, number=numbers, spec=specs)
    def expect(self, host: str, number: int, spec: VmSpec) -> None:
        possible = self.on[host] and self.is_free(host, number)
        possible &= (host, number) not in self.expected
        possible &= self.fits(host, number, spec.memory_bytes, spec.cpu)
        try:
            self.fleet.expect(host, number, spec)
        except Refused:
            assert not possible
            return
        assert possible
        self.expected[host, number] = spec

    @rule(host=host_names, number=numbers)
    def drop_expected(self, host: str, number: int) -> None:
        self.fleet.drop_expected(host, number)
        self.expected.pop((host, number), None)

    @rule(host=host_names, number=numbers, spec=specs)
    def arrive(self, host: str, number: int, spec: VmSpec) -> None:
        expected = self.expected.get((host, number))
        spec = expected or spec
        possible = self.on[host] and self.is_free(host, number)
        possible &= bool(expected) or self.fits(host, number, spec.memory_bytes, spec.cpu)
        try:
            self.fleet.arrive(host, number, spec, number, Passage(7.0, 5.0, 0.25))
        except Refused:
            assert not possible
            return
        assert possible
        self.known[host, number] = Known(spec, VmState.RUNNING, math.inf, math.inf)
        self.expected.pop((host, number), None)

    @rule(host=host_names, number=numbers, cpu=qos)
    def set_cpu(self, host: str, number: int, cpu: CpuQos) -> None:
        vm = self.known.get((host, number))
        fits = vm is not None and not vm.migrates
        fits = (
            fits
            and vm is not None
            and (vm.state not in ON_HOST or self.fits(host, number, vm.spec.memory_bytes, cpu))
        )
        try:
            self.fleet.set_cpu(host, number, cpu)
        except (Refused, NotFound):
            assert not fits
            return
        assert fits and vm is not None
        vm.spec = vm.spec.with_cpu(cpu)

    @rule(host=host_names, number=numbers)
    def forget(self, host: str, number: int) -> None:
        vm = self.known.get((host, number))
        try:
            self.fleet.forget(host, number)
        except (Refused, NotFound):
            assert vm is None or vm.state is not VmState.STOPPED
            return
        assert self.known.pop((host, number)).state is VmState.STOPPED

    @rule(lasting_s=st.sampled_from([0.0, 0.5, 1.0, 7.25, 300.0]))
    def advance(self, lasting_s: float) -> None:
        self.fleet.advance(self.fleet.now_s + lasting_s)
        for vm in self.known.values():
            if vm.until_s <= self.fleet.now_s:
                halting = vm.state is VmState.STOPPING
                vm.state = VmState.STOPPED if halting else VmState.RUNNING
                vm.boots_s = vm.until_s = math.inf

    def is_free(self, host: str, number: int) -> bool:
        vm = self.known.get((host, number))
        return vm is None or vm.state is VmState.STOPPED

    def fits(self, host: str, number: int, memory_bytes: int, cpu: CpuQos) -> bool:
        others = [
            vm.spec
            for (place, other), vm in self.known.items()
            if place == host and other != number and vm.state in ON_HOST
        ]
        others += [
            other
            for (place, on_its_way), other in self.expected.items()
            if place == host and on_its_way != number
        ]
        spec = HOSTS[NAMES.index(host)]
        reserved = cpu.reservation_mhz + sum(other.cpu.reservation_mhz for other in others)
        memory = memory_bytes + sum(other.memory_bytes for other in others)
        return reserved <= spec.vm_cpu_mhz and memory <= spec.vm_memory_bytes

    @invariant()
    def knows_what_the_naive_model_knows(self) -> None:
        view = self.fleet.view()
        shown = {
            (NAMES[view.vms.host_row[row]], int(view.vms.number[row])): row
            for row in range(len(view.vms))
        }
        assert list(shown) == sorted(self.known)
        for key, vm in self.known.items():
            row = shown[key]
            assert view.vms.state_of(row) is vm.state is self.fleet.state(*key)
            assert view.vms.memory_bytes[row] == vm.spec.memory_bytes
            assert view.vms.cpu_reservation_mhz[row] == vm.spec.cpu.reservation_mhz
        for host, name in enumerate(NAMES):
            held = [
                vm.spec.memory_bytes
                for (place, _), vm in self.known.items()
                if place == name and vm.state in ON_HOST
            ]
            assert view.hosts.on[host] == self.on[name]
            assert view.hosts.vms[host] == len(held)
            kept = sum(vm.memory_bytes for (place, _), vm in self.expected.items() if place == name)
            used_bytes = view.hosts.memory_used_bytes[host]
            assert view.hosts.memory_expected_bytes[host] == kept
            assert used_bytes == sum(held) + kept <= view.hosts.memory_bytes[host]

    @invariant()
    def never_grants_more_than_there_is_nor_less_than_was_promised(self) -> None:
        view = self.fleet.view()
        hosts, vms = view.hosts, view.vms
        assert (hosts.cpu_used_mhz <= hosts.cpu_capacity_mhz + 1e-6).all()
        # VMs of the naive model in the order of the view: by host, then by number.
        known = [vm for _, vm in sorted(self.known.items())]
        booting = np.array([vm.boots_s <= self.fleet.now_s for vm in known], dtype=np.bool_)
        cores_mhz = np.where(booting, 1, vms.vcpus) * 2000
        left = np.array([1.0 - vm.throttle for vm in known], dtype=np.float64)
        most_mhz = np.minimum(cores_mhz, vms.cpu_limit_mhz) * left
        ceiling = np.minimum(vms.cpu_demand_mhz, most_mhz)
        assert (vms.cpu_used_mhz <= ceiling + 1e-6).all()
        assert (vms.cpu_used_mhz >= np.minimum(vms.cpu_reservation_mhz, ceiling) - 1e-6).all()
        assert not hosts.short_of_reservations.any()
        wanted = np.bincount(vms.host_row, ceiling, len(HOSTS))
        sums = np.bincount(vms.host_row, vms.cpu_used_mhz, len(HOSTS))
        assert np.allclose(sums, hosts.cpu_used_mhz)
        assert np.allclose(sums, np.minimum(wanted, hosts.cpu_capacity_mhz))

    @invariant()
    def time_to_come_is_never_past(self) -> None:
        change_s = self.fleet.next_change()
        due_s = min((vm.until_s for vm in self.known.values()), default=math.inf)
        assert self.fleet.now_s <= change_s <= due_s


Orders.TestCase.settings = settings(stateful_step_count=40)
TestOrders = Orders.TestCase


def test_a_days_traffic_leaks_no_rows() -> None:
    """What comes and goes on a full host must leave room for the next."""
    fleet = Fleet(HOSTS)
    fleet.power_on("cna-2")
    spec = VmSpec("vm", "c", 1, 2000, 3 * GIB, CpuQos(1000), WORKLOADS[3], 0.0, 0.0)
    for number in range(1, 400):
        fleet.start("cna-2", number, replace(spec, workload=WORKLOADS[number % 5]), seed=number)
        fleet.advance(number)
        if number > 1:
            fleet.stop("cna-2", number - 1, force=bool(number % 2))
            fleet.advance(number)
            fleet.forget("cna-2", number - 1)
    view = fleet.view()
    assert view.vms.number.tolist() == [399]
    assert view.hosts.vms.tolist() == [0, 0, 1]

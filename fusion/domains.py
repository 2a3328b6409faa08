"""The VMs of all hosts of a process: which there are, where, and how their lives go on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fusion.arrays import Ints
from fusion.compute.processors import Guest, Processors
from fusion.errors import InvalidInput, NotFound, Refused
from fusion.fleet_view import CODE_OF, STATES, Layout, Occupancy
from fusion.guest.workload import WorkloadBank
from fusion.room import Room
from fusion.spec import CpuQos, HostSpec, VmSpec
from fusion.suspension import Suspension
from fusion.vm import ON_HOST, TRANSITIONS, VmAction, VmState, next_state, vm_id
from fusion.vm_table import VmTable

#: By code of state: the code of the state once the guest has booted; itself where none boots.
BOOTED = np.array(
    [CODE_OF[TRANSITIONS[state].get(VmAction.BOOTED, state)] for state in STATES], dtype=np.int8
)


class Domains:
    """Hosts by name, and the rows of their VMs by number: what a ``Fleet`` is made of."""

    def __init__(self, hosts: Sequence[HostSpec], now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._names = tuple(host.name for host in hosts)
        self._row_of = {host.name: row for row, host in enumerate(hosts)}
        if len(self._row_of) < len(hosts):
            raise InvalidInput("two hosts of a fleet have one name; give each its own")
        self._on = np.zeros(len(hosts), dtype=np.bool_)
        #: Of each host, the rows of its VMs by number.
        self._rows: list[dict[int, int]] = [{} for _ in hosts]
        self._vms = VmTable()
        self._boots = 0
        self._suspended: dict[tuple[int, int], Suspension] = {}  # by host row and number
        self._bank = WorkloadBank()
        self._processors = Processors(hosts, self._vms, self._bank)
        self._room = Room(hosts, self._vms, self._processors)
        self._layout: Layout | None = None
        self._occupancy: Occupancy | None = None
        self._next_timer_s: float | None = None  # None: to be looked up

    # What is known

    def state(self, host: str, number: int) -> VmState:
        """Return the state of a VM; raises ``NotFound`` where it is not on ``host``."""
        return self._state(self._vm(host, number))

    def guest(self, host: str, number: int) -> tuple[VmState, int]:
        """Return the state of a VM and by which boot its guest lives: another whenever it begins
        with empty memory.

        No two guests of a fleet have one in common, ever. Raises ``NotFound``.
        """
        try:  # asked several times for every request of a client
            row = self._rows[self._row_of[host]][number]
        except KeyError:
            row = self._vm(host, number)
        return STATES[self._vms.state.item(row)], self._vms.boot.item(row)

    # Finding and admitting

    def _host(self, host: str) -> int:
        row = self._row_of.get(host)
        if row is None:
            raise NotFound(f"no host {host!r} here; there are {', '.join(self._names)}")
        return row

    def _vm(self, host: str, number: int) -> int:
        row = self._rows[self._host(host)].get(number)
        if row is None:
            raise NotFound(f"host {host} has no VM {vm_id(number)}; start it there first")
        return row

    def _others(self, host_row: int, number: int) -> Ints:
        """Return the rows of a host's VMs, VM ``number`` left out."""
        rows = self._rows[host_row]
        return np.array([row for other, row in rows.items() if other != number], dtype=np.int64)

    def _admit(self, host_row: int, number: int, spec: VmSpec) -> None:
        """Raise ``Refused`` where a host is off or has no room for a VM, ``InvalidInput`` where
        none ever would.
        """
        if not self._on[host_row]:
            host = self._names[host_row]
            raise Refused(f"host {host} is powered off; power it on before it is given VMs")
        _check(number, spec)
        others = self._others(host_row, number)
        self._room.admit_memory(host_row, number, spec.memory_bytes, others)
        self._room.admit_reservation(host_row, number, spec.cpu.reservation_mhz, others)

    def _refuse_if_there(self, host_row: int, number: int) -> None:
        row = self._rows[host_row].get(number)
        if row is not None and self._state(row) is not VmState.STOPPED:
            raise Refused(
                f"host {self._names[host_row]} has VM {vm_id(number)}, which is {self._state(row)};"
                f" choose another host"
            )

    # Rows

    def _occupy(self, host_row: int, number: int, spec: VmSpec, seed: int) -> int:
        """Return the row of a VM that was admitted: a new one, or that of one that has stopped."""
        slot = self._bank.add(spec.workload, seed)
        self._room.drop(host_row, number)
        row = self._rows[host_row].get(number)
        if row is None:
            row = self._rows[host_row][number] = self._vms.append(number, host_row)
        self._vms.set_spec(row, spec)
        self._vms.workload[row] = slot
        self._layout = None
        return row

    def _remove(self, host_row: int, number: int) -> None:
        row = self._rows[host_row].pop(number)
        self._suspended.pop((host_row, number), None)
        if self._vms.workload[row] >= 0:
            self._bank.remove(int(self._vms.workload[row]))
        self._vms.remove(row)
        if row < len(self._vms):
            self._rows[int(self._vms.host_row[row])][int(self._vms.number[row])] = row
        self._layout = None
        self._changed(host_row)

    def _changed(self, host_row: int | Ints) -> None:
        """A VM or the power of a host changed, or those of several."""
        self._processors.disturb(host_row)
        self._occupancy = None
        self._next_timer_s = None

    def _state(self, row: int) -> VmState:
        return STATES[int(self._vms.state[row])]

    def _after(self, row: int, action: VmAction) -> VmState:
        number = int(self._vms.number[row])
        suspension = self._suspended.get((int(self._vms.host_row[row]), number))
        if suspension is not None and not suspension.allows(action):
            raise suspension.refusal(vm_id(number), action)
        return next_state(vm_id(number), self._state(row), action)

    def _migrates(self, row: int) -> bool:
        """Whether a VM migrates, frozen or not."""
        key = int(self._vms.host_row[row]), int(self._vms.number[row])
        suspension = self._suspended.get(key)
        state = self._state(row) if suspension is None else suspension.state
        return state is VmState.MIGRATING

    def _suspension(self, row: int, why: str) -> Suspension:
        """Return what is kept of a VM as it stands; raises ``Refused`` where it is stopped."""
        state = self._state(row)
        if state not in ON_HOST:
            number = int(self._vms.number[row])
            raise Refused(f"VM {vm_id(number)} is {state}; there is nothing to freeze")
        return Suspension(
            state=state,
            guest=Guest(int(self._vms.guest[row])),
            remaining_s=float(self._vms.timer_s[row]) - self.now_s,
            why=why,
        )

    def _enter(self, row: int, state: VmState, guest: Guest, lasting_s: float) -> VmState:
        """Put a VM into ``state`` and its guest into a new phase that ends after ``lasting_s``."""
        if guest is Guest.BOOTING:
            self._begin_boot(row)
        return self._put(row, state, guest, lasting_s)

    def _begin_boot(self, row: int) -> None:
        self._boots += 1
        self._vms.boot[row] = self._boots

    def _put(self, row: int, state: VmState, guest: Guest, lasting_s: float) -> VmState:
        self._vms.state[row], self._vms.guest[row] = CODE_OF[state], guest
        self._vms.timer_s[row] = self.now_s + lasting_s
        self._changed(int(self._vms.host_row[row]))
        return state

    def _halt(self, row: int) -> VmState:
        """Stop a VM: its row stays, without memory, processors or workload."""
        self._bank.remove(int(self._vms.workload[row]))
        self._vms.workload[row] = -1
        self._vms.added_load[row] = self._vms.hog_bytes_s[row] = 0.0
        self._suspended.pop((int(self._vms.host_row[row]), int(self._vms.number[row])), None)
        return self._enter(row, VmState.STOPPED, Guest.IDLE, math.inf)

    # Timers

    def _next_timer(self) -> float:
        if self._next_timer_s is None:
            self._next_timer_s = float(self._vms.timer_s.min(initial=math.inf))
        return self._next_timer_s

    def _end_phases(self) -> None:
        """End the phases of guests whose time has come."""
        vms = self._vms
        due = np.flatnonzero(vms.timer_s <= self.now_s)
        booting = vms.guest[due] == Guest.BOOTING
        booted, shut_down = due[booting], due[~booting]
        vms.state[booted] = BOOTED[vms.state[booted]]
        vms.guest[booted] = Guest.WORKING
        vms.timer_s[booted] = math.inf
        self._changed(vms.host_row[booted])
        # Only orders shut guests down, so these are few.
        for row in shut_down.tolist():
            if self._state(row) is VmState.STOPPING:
                self._halt(row)
            else:
                self._enter(row, VmState.REBOOTING, Guest.BOOTING, float(vms.boot_s[row]))


def _check(number: int, spec: VmSpec) -> None:
    """Raise ``InvalidInput`` where a VM of ``spec`` could run nowhere."""
    check_cpu(number, spec.cpu)
    for fact, value, least in (
        ("vcpus", spec.vcpus, 1),
        ("vcpu_mhz", spec.vcpu_mhz, 1),
        ("memory_bytes", spec.memory_bytes, 1),
        ("boot_s", spec.boot_s, 0),
        ("shutdown_s", spec.shutdown_s, 0),
    ):
        if not least <= value < math.inf:
            raise InvalidInput(
                f"VM {vm_id(number)}: {fact} is {value:g}; at least {least} is needed"
            )


def check_cpu(number: int, cpu: CpuQos) -> None:
    """Raise ``InvalidInput`` where nothing can be shared out by ``cpu``."""
    if cpu.shares < 1 or not cpu.limit_mhz > 0 or not 0 <= cpu.reservation_mhz < math.inf:
        raise InvalidInput(
            f"VM {vm_id(number)}: shares of {cpu.shares}, a limit of {cpu.limit_mhz:g} MHz and a"
            f" reservation of {cpu.reservation_mhz:g} MHz; give shares of at least 1, a limit"
            f" above 0 MHz (or none) and a reservation of 0 MHz or more"
        )

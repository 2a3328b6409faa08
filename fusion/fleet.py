"""All hosts of one process and the VMs on them, advanced together in one pass over arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fusion.arrays import Ints
from fusion.compute.processors import Guest, Processors
from fusion.compute.sharing import EXACTNESS_MHZ
from fusion.errors import InvalidInput, NotFound, Refused
from fusion.fleet_view import (
    CODE_OF,
    HOLDS,
    STATES,
    FleetView,
    HostColumns,
    Layout,
    Occupancy,
    constant,
)
from fusion.guest.workload import WorkloadBank
from fusion.spec import CpuQos, HostSpec, VmSpec
from fusion.suspension import Suspension
from fusion.units import format_mhz, format_size
from fusion.vm import ON_HOST, TRANSITIONS, VmAction, VmState, next_state, vm_id
from fusion.vm_table import VmTable

#: By code of state: the code of the state once the guest has booted; itself where none boots.
BOOTED = np.array(
    [CODE_OF[TRANSITIONS[state].get(VmAction.BOOTED, state)] for state in STATES], dtype=np.int8
)


class Fleet:
    """The model of all hosts of one process.

    Time stands still between calls of ``advance``. An order takes effect at the instant that was
    last advanced to, so whoever gives one advances to the present first.
    """

    def __init__(self, hosts: Sequence[HostSpec], now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._names = tuple(host.name for host in hosts)
        self._row_of = {host.name: row for row, host in enumerate(hosts)}
        if len(self._row_of) < len(hosts):
            raise InvalidInput("two hosts of a fleet have one name; give each its own")
        self._on = np.zeros(len(hosts), dtype=np.bool_)
        self._memory_bytes = constant(
            np.array([max(host.vm_memory_bytes, 0) for host in hosts], np.int64)
        )
        #: Of each host, the rows of its VMs by number.
        self._rows: list[dict[int, int]] = [{} for _ in hosts]
        self._vms = VmTable()
        self._boots = 0
        self._suspended: dict[tuple[int, int], Suspension] = {}  # by host row and number
        self._bank = WorkloadBank()
        self._processors = Processors(hosts, self._vms, self._bank)
        self._layout: Layout | None = None
        self._occupancy: Occupancy | None = None
        self._next_timer_s: float | None = None  # None: to be looked up

    # Hosts

    def power_on(self, host: str) -> None:
        """Power ``host`` on, empty and with its counters at zero; nothing happens if it is on."""
        host_row = self._host(host)
        if not self._on[host_row]:
            self._on[host_row] = True
            self._changed(host_row)
            self._processors.reset(host_row)

    def power_off(self, host: str) -> None:
        """Cut ``host``'s power: its VMs are gone at once. Nothing happens if it is off."""
        host_row = self._host(host)
        for number in list(self._rows[host_row]):
            self._remove(host_row, number)
        self._on[host_row] = False
        self._changed(host_row)

    def steal_cpu(self, host: str, stolen_mhz: float) -> None:
        """Take ``stolen_mhz`` of the VMs' processors away, as a fault does; 0 gives them back.

        Reservations admitted earlier may then not fit: see ``short_of_reservations``.
        """
        if not stolen_mhz >= 0:
            raise InvalidInput(f"host {host}: {stolen_mhz:g} MHz cannot be stolen; give 0 or more")
        self._processors.steal(self._host(host), stolen_mhz)

    # What befalls guests

    def crash_guest(self, host: str, number: int) -> VmState:
        """Let the guest of a running VM die; its watchdog has it boot again at once."""
        row = self._vm(host, number)
        crashed = self._after(row, VmAction.CRASHED)
        return self._enter(row, crashed, Guest.BOOTING, float(self._vms.boot_s[row]))

    def add_load(self, host: str, number: int, percent: float) -> None:
        """Ask ``percent`` of a VM's vCPUs × MHz on top of its workload; 0 ends that.

        It lasts until then or until the VM halts, and counts while the guest works.
        """
        row = self._vm(host, number)
        if not 0 <= percent < math.inf:
            raise InvalidInput(f"VM {vm_id(number)}: {percent:g} % more load; give 0 or more")
        self._vms.added_load[row] = percent / 100.0
        self._processors.disturb(self._host(host))

    # Orders

    def start(self, host: str, number: int, spec: VmSpec, seed: int) -> VmState:
        """Make VM ``number`` on ``host`` and boot it; ``seed`` is its workload's.

        Raises ``Refused`` where the host is off, the VM is there and not stopped, or its memory or
        reservation does not fit, and ``InvalidInput`` where ``spec`` can never run.
        """
        host_row = self._host(host)
        if not self._on[host_row]:
            raise Refused(f"host {host} is powered off; power it on before starting VMs on it")
        _check(number, spec)
        row = self._rows[host_row].get(number)
        if row is None:
            starting = next_state(vm_id(number), VmState.STOPPED, VmAction.START)
        else:
            starting = self._after(row, VmAction.START)
        others = self._holding(host_row, but=number)
        self._admit_memory(host_row, number, spec.memory_bytes, others)
        self._admit_reservation(host_row, number, spec.cpu.reservation_mhz, others)
        slot = self._bank.add(spec.workload, seed)
        if row is None:
            row = self._rows[host_row][number] = self._vms.append(number, host_row)
        self._vms.set_spec(row, spec)
        self._vms.workload[row] = slot
        self._layout = None
        return self._enter(row, starting, Guest.BOOTING, spec.boot_s)

    def stop(self, host: str, number: int, force: bool) -> VmState:
        """Let the guest shut down, which takes its ``shutdown_s``, or halt the VM at once."""
        row = self._vm(host, number)
        stopping = self._after(row, VmAction.FORCE_STOP if force else VmAction.STOP)
        if force:
            return self._halt(row)
        return self._enter(row, stopping, Guest.WORKING, float(self._vms.shutdown_s[row]))

    def reboot(self, host: str, number: int, force: bool) -> VmState:
        """Boot the guest again, at once if forced, else when it has shut down."""
        row = self._vm(host, number)
        rebooting = self._after(row, VmAction.FORCE_REBOOT if force else VmAction.REBOOT)
        if force:
            return self._enter(row, rebooting, Guest.BOOTING, float(self._vms.boot_s[row]))
        return self._enter(row, rebooting, Guest.WORKING, float(self._vms.shutdown_s[row]))

    def pause(self, host: str, number: int) -> VmState:
        """Freeze the VM where it is; it keeps its memory."""
        row = self._vm(host, number)
        paused = next_state(vm_id(number), self._after(row, VmAction.PAUSE), VmAction.SETTLED)
        return self._enter(row, paused, Guest.IDLE, math.inf)

    def resume(self, host: str, number: int) -> VmState:
        """Let a paused VM go on."""
        row = self._vm(host, number)
        running = next_state(vm_id(number), self._after(row, VmAction.RESUME), VmAction.SETTLED)
        return self._enter(row, running, Guest.WORKING, math.inf)

    def set_cpu(self, host: str, number: int, cpu: CpuQos) -> VmState:
        """Change limit, shares and reservation; ``Refused`` where the reservation does not fit."""
        row = self._vm(host, number)
        host_row, state = self._host(host), self._state(row)
        _check_cpu(number, cpu)
        if state in ON_HOST:
            others = self._holding(host_row, but=number)
            self._admit_reservation(host_row, number, cpu.reservation_mhz, others)
        self._vms.set_cpu(row, cpu)
        self._changed(host_row)
        self._layout = None
        return state

    def forget(self, host: str, number: int) -> None:
        """Drop what is kept of a stopped VM."""
        row = self._vm(host, number)
        if self._state(row) is not VmState.STOPPED:
            raise Refused(f"VM {vm_id(number)} is {self._state(row)}; stop it before forgetting it")
        self._remove(self._host(host), number)

    # What hosts do to VMs by themselves

    def suspend(self, host: str, number: int, why: str) -> VmState:
        """Freeze a VM as it stands, whatever it is doing; nothing happens if it is frozen already.

        It is shown as paused and keeps its memory. But for a forced stop, orders are refused with
        ``why``, a clause such as ``its lease on san-1 has ended``. Raises ``Refused`` where the VM
        is stopped.
        """
        row, host_row = self._vm(host, number), self._host(host)
        if (host_row, number) in self._suspended:
            return VmState.PAUSED
        state = self._state(row)
        if state not in ON_HOST:
            raise Refused(f"VM {vm_id(number)} is {state}; there is nothing to freeze")
        self._suspended[host_row, number] = Suspension(
            state=state,
            guest=Guest(int(self._vms.guest[row])),
            remaining_s=float(self._vms.timer_s[row]) - self.now_s,
            why=why,
        )
        return self._enter(row, VmState.PAUSED, Guest.IDLE, math.inf)

    def restore(self, host: str, number: int) -> VmState:
        """Let a VM that is frozen go on as it was: what is left of a boot or shutdown follows."""
        row, host_row = self._vm(host, number), self._host(host)
        suspension = self._suspended.pop((host_row, number), None)
        if suspension is None:
            raise Refused(f"VM {vm_id(number)} is not frozen; only one that is can be let go on")
        return self._put(row, suspension.state, suspension.guest, suspension.remaining_s)

    def discard(self, host: str, number: int) -> None:
        """Drop a VM at once, whatever it is doing: nothing is left of this copy."""
        self._vm(host, number)
        self._remove(self._host(host), number)

    # Time

    def advance(self, to_s: float) -> None:
        """Take all hosts to the instant ``to_s``.

        Used and ready time add up with the processors shared as they last were; boots and
        shutdowns end exactly when they are due, and at ``to_s`` demand is asked anew.
        """
        if to_s < self.now_s:
            raise ValueError(f"the fleet is at {self.now_s} s and cannot go back to {to_s} s")
        self._processors.settle(self.now_s)
        while (due_s := self._next_timer()) <= to_s:
            self._processors.add_up(due_s - self.now_s)
            self.now_s = due_s
            self._end_phases()
            self._processors.settle(due_s)
        if to_s > self.now_s:
            self._processors.go_on(self.now_s, to_s)
            self.now_s = to_s

    def next_change(self) -> float:
        """Return the next instant at which a boot or shutdown ends or a load steps, or infinity.

        Smooth loads change at every instant and count for nothing here.
        """
        return min(self._next_timer(), self._processors.next_change(self.now_s))

    # What is known

    def state(self, host: str, number: int) -> VmState:
        """Return the state of a VM; raises ``NotFound`` where it is not on ``host``."""
        return self._state(self._vm(host, number))

    def boot(self, host: str, number: int) -> int:
        """Return by which boot a VM's guest lives: another whenever it begins with empty memory.

        No two guests of a fleet have one in common, ever.
        """
        return int(self._vms.boot[self._vm(host, number)])

    def short_of_reservations(self) -> tuple[str, ...]:
        """Return the names of the hosts that cannot give their VMs what they reserved."""
        self._processors.settle(self.now_s)
        short = np.flatnonzero(self._processors.short_of_reservations)
        return tuple(self._names[row] for row in short.tolist())

    def view(self) -> FleetView:
        """Return all hosts and VMs as they are now, in arrays that will not change."""
        processors = self._processors
        processors.settle(self.now_s)
        layout = self._layout = self._layout or Layout(self._vms, len(self._names))
        if self._occupancy is None:
            self._occupancy = Occupancy(self._vms, layout, self._on)
        occupancy = self._occupancy
        return FleetView(
            now_s=self.now_s,
            hosts=HostColumns(  # by position, in its order: by name it would take twice as long
                self._names,
                occupancy.on,
                processors.capacity_mhz,
                processors.demand_mhz,
                processors.used_mhz,
                processors.used_mhz_s,
                processors.short_of_reservations,
                self._memory_bytes,
                occupancy.memory_used_bytes,
                occupancy.vms,
                layout.first_vm,
            ),
            vms=layout.vm_columns(self._vms, occupancy),
        )

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

    def _holding(self, host_row: int, but: int) -> Ints:
        """Return the rows of the VMs that hold resources of a host, VM number ``but`` left out."""
        rows = self._rows[host_row]
        others = np.array([row for number, row in rows.items() if number != but], dtype=np.int64)
        return others[HOLDS[self._vms.state[others]]]

    def _admit_memory(self, host_row: int, number: int, memory_bytes: int, others: Ints) -> None:
        used = int(self._vms.memory_bytes[others].sum())
        free = int(self._memory_bytes[host_row]) - used
        if memory_bytes > free:
            raise Refused(
                f"host {self._names[host_row]} has {format_size(free)} of memory free and"
                f" VM {vm_id(number)} needs {format_size(memory_bytes)};"
                f" choose another host or stop VMs on this one"
            )

    def _admit_reservation(
        self, host_row: int, number: int, reservation_mhz: float, others: Ints
    ) -> None:
        reserved = float(self._vms.reservation_mhz[others].sum())
        free = max(float(self._processors.capacity_mhz[host_row]) - reserved, 0.0)
        if reservation_mhz > free + EXACTNESS_MHZ:
            raise Refused(
                f"host {self._names[host_row]} has {format_mhz(free)} left to reserve and"
                f" VM {vm_id(number)} reserves {format_mhz(reservation_mhz)};"
                f" reserve less or choose another host"
            )

    # Rows

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
        if suspension is not None and action is not VmAction.FORCE_STOP:
            raise suspension.refusal(vm_id(number), action)
        return next_state(vm_id(number), self._state(row), action)

    def _enter(self, row: int, state: VmState, guest: Guest, lasting_s: float) -> VmState:
        """Put a VM into ``state`` and its guest into a new phase that ends after ``lasting_s``."""
        if guest is Guest.BOOTING:
            self._boots += 1
            self._vms.boot[row] = self._boots
        return self._put(row, state, guest, lasting_s)

    def _put(self, row: int, state: VmState, guest: Guest, lasting_s: float) -> VmState:
        self._vms.state[row], self._vms.guest[row] = CODE_OF[state], guest
        self._vms.timer_s[row] = self.now_s + lasting_s
        self._changed(int(self._vms.host_row[row]))
        return state

    def _halt(self, row: int) -> VmState:
        """Stop a VM: its row stays, without memory, processors or workload."""
        self._bank.remove(int(self._vms.workload[row]))
        self._vms.workload[row], self._vms.added_load[row] = -1, 0.0
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
    _check_cpu(number, spec.cpu)
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


def _check_cpu(number: int, cpu: CpuQos) -> None:
    if cpu.shares < 1 or not cpu.limit_mhz > 0 or not 0 <= cpu.reservation_mhz < math.inf:
        raise InvalidInput(
            f"VM {vm_id(number)}: shares of {cpu.shares}, a limit of {cpu.limit_mhz:g} MHz and a"
            f" reservation of {cpu.reservation_mhz:g} MHz; give shares of at least 1, a limit"
            f" above 0 MHz (or none) and a reservation of 0 MHz or more"
        )

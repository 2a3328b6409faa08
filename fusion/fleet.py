"""All hosts of one process and the VMs on them, advanced together in one pass over arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from fusion.arrays import Bools, Ints, sums
from fusion.compute.sharing import EXACTNESS_MHZ, share_cpu
from fusion.errors import InvalidInput, NotFound, Refused
from fusion.fleet_view import CODE_OF, STATES, FleetView, HostColumns, VmColumns
from fusion.guest.workload import WorkloadBank
from fusion.spec import CpuQos, HostSpec, VmSpec
from fusion.vm import ON_HOST, VmAction, VmState, next_state, vm_id
from fusion.vm_table import VmTable

#: Whether a VM in the state of each code holds memory and a reservation of its host.
HOLDS = np.array([state in ON_HOST for state in STATES])


class Guest(IntEnum):
    """What a guest wants of its processors."""

    IDLE = 0  # nothing: its VM is stopped or paused
    BOOTING = 1  # one full vCPU
    WORKING = 2  # what its workload says, while it shuts down too


class Fleet:
    """The model of all hosts of one process.

    Time stands still between calls of ``advance``. An order takes effect at the instant that was
    last advanced to, so whoever orders advances to the present first.
    """

    def __init__(self, hosts: Sequence[HostSpec], now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._names = tuple(host.name for host in hosts)
        self._row_of = {host.name: row for row, host in enumerate(hosts)}
        if len(self._row_of) < len(hosts):
            raise InvalidInput("two hosts of a fleet have one name; give each its own")
        self._core_mhz = np.array([host.core_mhz for host in hosts], dtype=np.float64)
        self._cpu_mhz = np.array([max(host.vm_cpu_mhz, 0.0) for host in hosts], dtype=np.float64)
        self._memory_bytes = np.array([max(host.vm_memory_bytes, 0) for host in hosts], np.int64)
        self._on = np.zeros(len(hosts), dtype=np.bool_)
        self._used_mhz = np.zeros(len(hosts))
        self._used_mhz_s = np.zeros(len(hosts))
        self._short = np.zeros(len(hosts), dtype=np.bool_)
        self._unsettled = np.zeros(len(hosts), dtype=np.bool_)
        #: Of each host, the rows of its VMs by number.
        self._rows: list[dict[int, int]] = [{} for _ in hosts]
        self._vms = VmTable()
        self._bank = WorkloadBank()

    # Power

    def power_on(self, host: str) -> None:
        """Power ``host`` on, empty and with its counters at zero; nothing happens if it is on."""
        row = self._host(host)
        if not self._on[row]:
            self._on[row] = True
            self._used_mhz_s[row] = 0.0

    def power_off(self, host: str) -> None:
        """Cut ``host``'s power: its VMs are gone at once. Nothing happens if it is off."""
        host_row = self._host(host)
        for number in list(self._rows[host_row]):
            self._remove(host_row, number)
        self._on[host_row] = False
        self._used_mhz[host_row] = 0.0
        self._short[host_row] = False

    # Orders

    def start(self, host: str, number: int, spec: VmSpec, seed: int) -> VmState:
        """Make VM ``number`` on ``host`` and boot it; ``seed`` is its workload's.

        Raises ``Refused`` where the host is off, the VM is there and not stopped, or its memory or
        reservation does not fit.
        """
        host_row = self._host(host)
        if not self._on[host_row]:
            raise Refused(f"host {host} is powered off; power it on before starting VMs on it")
        _check_cpu(number, spec.cpu)
        row = self._rows[host_row].get(number)
        before = VmState.STOPPED if row is None else self._state(row)
        after = next_state(vm_id(number), before, VmAction.START)
        self._admit_memory(host_row, number, spec.memory_bytes)
        self._admit_reservation(host_row, number, spec.cpu.reservation_mhz)
        workload = self._bank.add(spec.workload, seed)
        if row is None:
            row = self._vms.append(spec.name)
            self._rows[host_row][number] = row
        self._fill(row, host_row, number, spec)
        self._vms.workload[row] = workload
        self._enter(row, after, Guest.BOOTING, spec.boot_s)
        return after

    def stop(self, host: str, number: int, force: bool) -> VmState:
        """Shut the guest down, which takes its ``shutdown_s``, or halt the VM at once."""
        row = self._vm(host, number)
        state = self._after(row, VmAction.FORCE_STOP if force else VmAction.STOP)
        if force:
            self._halt(row)
            return VmState.STOPPED
        self._enter(row, state, Guest.WORKING, float(self._vms.shutdown_s[row]))
        return state

    def reboot(self, host: str, number: int, force: bool) -> VmState:
        """Boot the guest again, after it has shut down unless forced."""
        row = self._vm(host, number)
        state = self._after(row, VmAction.FORCE_REBOOT if force else VmAction.REBOOT)
        if force:
            self._enter(row, state, Guest.BOOTING, float(self._vms.boot_s[row]))
        else:
            self._enter(row, state, Guest.WORKING, float(self._vms.shutdown_s[row]))
        return state

    def pause(self, host: str, number: int) -> VmState:
        """Freeze the VM where it is; it keeps its memory."""
        row = self._vm(host, number)
        pausing = self._after(row, VmAction.PAUSE)
        paused = next_state(vm_id(number), pausing, VmAction.SETTLED)
        self._enter(row, paused, Guest.IDLE, math.inf)
        return paused

    def resume(self, host: str, number: int) -> VmState:
        """Let a paused VM go on."""
        row = self._vm(host, number)
        resuming = self._after(row, VmAction.RESUME)
        running = next_state(vm_id(number), resuming, VmAction.SETTLED)
        self._enter(row, running, Guest.WORKING, math.inf)
        return running

    def set_cpu(self, host: str, number: int, cpu: CpuQos) -> VmState:
        """Change limit, shares and reservation; ``Refused`` where the reservation does not fit."""
        row = self._vm(host, number)
        _check_cpu(number, cpu)
        state = self._state(row)
        if state in ON_HOST:
            self._admit_reservation(self._host(host), number, cpu.reservation_mhz)
        self._vms.set_cpu(row, cpu)
        self._unsettled[self._vms.host_row[row]] = True
        return state

    def forget(self, host: str, number: int) -> None:
        """Drop what is kept of a stopped VM."""
        row = self._vm(host, number)
        state = self._state(row)
        if state is not VmState.STOPPED:
            raise Refused(f"VM {vm_id(number)} is {state}; stop it before it can be forgotten")
        self._remove(self._host(host), number)

    # Time

    def advance(self, to_s: float) -> None:
        """Take all hosts to the instant ``to_s``.

        Used and ready time add up with the processors shared as they last were; boots and
        shutdowns end exactly when they are due, and at ``to_s`` demand is asked anew.
        """
        if to_s < self.now_s:
            raise ValueError(f"the fleet is at {self.now_s} s and cannot go back to {to_s} s")
        self._settle()
        while (due_s := self._next_timer()) <= to_s:
            self._add_up(due_s - self.now_s)
            self.now_s = due_s
            for row in np.flatnonzero(self._vms.timer_s <= due_s).tolist():
                self._time_out(row)
            self._settle()
        if to_s > self.now_s:
            self._add_up(to_s - self.now_s)
            self.now_s = to_s
            self._unsettled[:] = True
            self._settle()

    def next_change(self) -> float:
        """Return the next instant at which a boot or shutdown ends or a load steps, or infinity."""
        working = self._vms.workload[self._vms.guest == Guest.WORKING]
        return min(self._next_timer(), self._bank.next_change(self.now_s, working))

    # What is known

    def state(self, host: str, number: int) -> VmState:
        """Return the state of a VM; raises ``NotFound`` where it is not on ``host``."""
        return self._state(self._vm(host, number))

    def short_of_reservations(self) -> tuple[str, ...]:
        """Return the names of the hosts that cannot give their VMs what they reserved."""
        self._settle()
        return tuple(self._names[row] for row in np.flatnonzero(self._short))

    def view(self) -> FleetView:
        """Return all hosts and VMs as they are now, in arrays of the view's own."""
        self._settle()
        vms, hosts = self._vms, len(self._names)
        order = np.lexsort((vms.number, vms.host_row))
        holds = HOLDS[vms.state]
        first_vm = np.zeros(hosts + 1, dtype=np.int64)
        np.cumsum(np.bincount(vms.host_row, minlength=hosts), out=first_vm[1:])
        memory_used = sums(vms.host_row, vms.memory_bytes * holds, hosts)
        return FleetView(
            now_s=self.now_s,
            hosts=HostColumns(
                names=self._names,
                on=self._on.copy(),
                cpu_capacity_mhz=self._cpu_mhz.copy(),
                cpu_demand_mhz=sums(vms.host_row, vms.demand_mhz, hosts),
                cpu_used_mhz=self._used_mhz.copy(),
                cpu_used_mhz_s=self._used_mhz_s.copy(),
                short_of_reservations=self._short.copy(),
                memory_bytes=self._memory_bytes.copy(),
                memory_used_bytes=memory_used.astype(np.int64),
                vms=np.bincount(vms.host_row[holds], minlength=hosts),
                first_vm=first_vm,
            ),
            vms=VmColumns(
                names=tuple(vms.names[row] for row in order),
                number=vms.number[order],
                host_row=vms.host_row[order],
                state=vms.state[order],
                vcpus=vms.vcpus[order],
                memory_bytes=vms.memory_bytes[order],
                cpu_shares=vms.shares[order],
                cpu_limit_mhz=vms.limit_mhz[order],
                cpu_reservation_mhz=vms.reservation_mhz[order],
                cpu_demand_mhz=vms.demand_mhz[order],
                cpu_used_mhz=vms.used_mhz[order],
                cpu_used_mhz_s=vms.used_mhz_s[order],
                cpu_ready_s=vms.ready_s[order],
            ),
        )

    # Finding and admitting

    def _host(self, host: str) -> int:
        row = self._row_of.get(host)
        if row is None:
            raise NotFound(f"no host {host} here; its agent serves {', '.join(self._names)}")
        return row

    def _vm(self, host: str, number: int) -> int:
        row = self._rows[self._host(host)].get(number)
        if row is None:
            raise NotFound(f"host {host} has no VM {vm_id(number)}; start it there first")
        return row

    def _others(self, host_row: int, number: int) -> Ints:
        """Rows of the VMs that hold resources of a host, VM ``number`` left out."""
        rows = self._rows[host_row]
        others = np.array([row for key, row in rows.items() if key != number], dtype=np.int64)
        holds: Bools = HOLDS[self._vms.state[others]]
        return others[holds]

    def _admit_memory(self, host_row: int, number: int, memory_bytes: int) -> None:
        used = int(self._vms.memory_bytes[self._others(host_row, number)].sum())
        free = int(self._memory_bytes[host_row]) - used
        if memory_bytes > free:
            raise Refused(
                f"host {self._names[host_row]} has {free} bytes of memory free and VM"
                f" {vm_id(number)} needs {memory_bytes}; choose another host or stop VMs there"
            )

    def _admit_reservation(self, host_row: int, number: int, reservation_mhz: float) -> None:
        reserved = float(self._vms.reservation_mhz[self._others(host_row, number)].sum())
        free = float(self._cpu_mhz[host_row]) - reserved
        if reservation_mhz > free + EXACTNESS_MHZ:
            raise Refused(
                f"host {self._names[host_row]} has {free:g} MHz left to reserve and VM"
                f" {vm_id(number)} reserves {reservation_mhz:g}; reserve less, or choose another"
            )

    # Rows

    def _fill(self, row: int, host_row: int, number: int, spec: VmSpec) -> None:
        vms = self._vms
        vms.names[row] = spec.name
        vms.number[row], vms.host_row[row] = number, host_row
        vms.vcpus[row], vms.vcpu_mhz[row] = spec.vcpus, spec.vcpu_mhz
        vms.core_mhz[row] = self._core_mhz[host_row]
        vms.memory_bytes[row] = spec.memory_bytes
        vms.boot_s[row], vms.shutdown_s[row] = spec.boot_s, spec.shutdown_s
        vms.used_mhz_s[row], vms.ready_s[row] = 0.0, 0.0
        vms.set_cpu(row, spec.cpu)

    def _remove(self, host_row: int, number: int) -> None:
        row = self._rows[host_row].pop(number)
        slot = int(self._vms.workload[row])
        if slot >= 0:
            self._bank.remove(slot)
        self._vms.remove(row)
        if row < len(self._vms):
            moved_host, moved = int(self._vms.host_row[row]), int(self._vms.number[row])
            self._rows[moved_host][moved] = row

    def _state(self, row: int) -> VmState:
        return STATES[int(self._vms.state[row])]

    def _after(self, row: int, action: VmAction) -> VmState:
        number = int(self._vms.number[row])
        return next_state(vm_id(number), self._state(row), action)

    def _enter(self, row: int, state: VmState, guest: Guest, lasting_s: float) -> None:
        """Put a VM into ``state`` and its guest into a phase that ends after ``lasting_s``."""
        vms = self._vms
        vms.state[row], vms.guest[row] = CODE_OF[state], guest
        vms.timer_s[row] = self.now_s + lasting_s
        self._unsettled[vms.host_row[row]] = True

    def _halt(self, row: int) -> None:
        """Stop a VM for good: its row stays, without memory, processors or workload."""
        self._bank.remove(int(self._vms.workload[row]))
        self._vms.workload[row] = -1
        self._enter(row, VmState.STOPPED, Guest.IDLE, math.inf)

    def _time_out(self, row: int) -> None:
        """End the phase of a guest whose time has come."""
        if self._state(row) is VmState.STOPPING:
            self._halt(row)
        elif self._vms.guest[row] == Guest.WORKING:  # rebooting, and now shut down
            boot_s = float(self._vms.boot_s[row])
            self._enter(row, VmState.REBOOTING, Guest.BOOTING, boot_s)
        else:
            self._enter(row, self._after(row, VmAction.BOOTED), Guest.WORKING, math.inf)

    # Arrays

    def _next_timer(self) -> float:
        return float(self._vms.timer_s.min(initial=math.inf))

    def _add_up(self, lasting_s: float) -> None:
        vms = self._vms
        vms.used_mhz_s += vms.used_mhz * lasting_s
        vms.ready_s += (vms.demand_mhz - vms.used_mhz) / vms.vcpu_mhz * lasting_s
        self._used_mhz_s += self._used_mhz * lasting_s

    def _settle(self) -> None:
        """Ask demand and share processors on the hosts where something happened."""
        if not self._unsettled.any():
            return
        vms, hosts = self._vms, len(self._names)
        rows = np.flatnonzero(self._unsettled[vms.host_row])
        guest, vcpu_mhz = vms.guest[rows], vms.vcpu_mhz[rows]
        booting, working = guest == Guest.BOOTING, guest == Guest.WORKING
        vcpus = np.where(booting, 1, vms.vcpus[rows])
        load = booting.astype(np.float64)
        load[working] = self._bank.fractions(self.now_s, vms.workload[rows[working]])
        demand = load * vcpus * vcpu_mhz
        sharing = share_cpu(
            self._cpu_mhz,
            vms.host_row[rows],
            demand_mhz=np.minimum(demand, vcpus * vms.core_mhz[rows]),
            limit_mhz=vms.limit_mhz[rows],
            reservation_mhz=vms.reservation_mhz[rows],
            shares=vms.shares[rows],
        )
        vms.demand_mhz[rows] = demand
        vms.used_mhz[rows] = sharing.granted_mhz
        used = sums(vms.host_row[rows], sharing.granted_mhz, hosts)
        self._used_mhz[self._unsettled] = used[self._unsettled]
        self._short[self._unsettled] = sharing.short_of_reservations[self._unsettled]
        self._unsettled[:] = False


def _check_cpu(number: int, cpu: CpuQos) -> None:
    if cpu.shares < 1 or not cpu.limit_mhz > 0 or not 0 <= cpu.reservation_mhz < math.inf:
        raise InvalidInput(
            f"VM {vm_id(number)}: shares {cpu.shares}, limit {cpu.limit_mhz:g} MHz, reservation"
            f" {cpu.reservation_mhz:g} MHz; shares are at least 1, limits above 0, reservations"
            f" 0 or more"
        )

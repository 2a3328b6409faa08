"""All hosts of one process and the VMs on them, advanced together in one pass over arrays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fusion.compute.processors import Guest
from fusion.crossings import Crossings
from fusion.domains import check_cpu
from fusion.errors import InvalidInput, Refused
from fusion.fleet_view import (
    FleetView,
    HostColumns,
    Layout,
    Occupancy,
)
from fusion.spec import CpuQos, VmSpec
from fusion.vm import ON_HOST, VmAction, VmState, next_state, vm_id


class Fleet(Crossings):
    """The model of all hosts of one process.

    Time stands still between calls of ``advance``. An order takes effect at the instant that was
    last advanced to, so whoever gives one advances to the present first.
    """

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
        self._room.drop_all(host_row)
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

    def hog_memory(self, host: str, number: int, rate_bytes_s: float) -> None:
        """Have a VM's guest write so much memory on top of what it does anyway; 0 ends that.

        It lasts as ``add_load`` does; see ``hogged_bytes_s``.
        """
        row = self._vm(host, number)
        if not 0 <= rate_bytes_s < math.inf:
            raise InvalidInput(
                f"VM {vm_id(number)}: {rate_bytes_s:g} bytes a second to hog; give 0 or more"
            )
        self._vms.hog_bytes_s[row] = rate_bytes_s

    # Orders

    def start(self, host: str, number: int, spec: VmSpec, seed: int) -> VmState:
        """Make VM ``number`` on ``host`` and boot it; ``seed`` is its workload's.

        Raises ``Refused`` where the host is off, the VM is there and not stopped, or its memory or
        reservation does not fit, and ``InvalidInput`` where ``spec`` can never run.
        """
        host_row = self._host(host)
        row = self._rows[host_row].get(number)
        if row is None:
            starting = next_state(vm_id(number), VmState.STOPPED, VmAction.START)
        else:
            starting = self._after(row, VmAction.START)
        self._admit(host_row, number, spec)
        row = self._occupy(host_row, number, spec, seed)
        return self._enter(row, starting, Guest.BOOTING, spec.boot_s)

    def stop(self, host: str, number: int, force: bool) -> VmState:
        """Let the guest shut down, which takes its ``shutdown_s``, or halt the VM at once."""
        row = self._vm(host, number)
        if force and self._state(row) is VmState.MIGRATING:
            self._after(row, VmAction.HALTED)  # no order does that, but an isolated host may
            return self._halt(row)
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
        """Change limit, shares and reservation.

        Raises ``Refused`` where the reservation does not fit, or the VM migrates: its destination
        keeps free what it had when that began.
        """
        row = self._vm(host, number)
        host_row, state = self._host(host), self._state(row)
        check_cpu(number, cpu)
        if self._migrates(row):
            raise Refused(f"VM {vm_id(number)} is migrating; wait until that is over")
        if state in ON_HOST:
            others = self._others(host_row, number)
            self._room.admit_reservation(host_row, number, cpu.reservation_mhz, others)
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
        row, key = self._vm(host, number), (self._host(host), number)
        suspension = self._suspended.get(key)
        if suspension is None:
            suspension = self._suspended[key] = self._suspension(row, why)
        elif suspension.handed_over:
            self._suspended[key] = replace(suspension, why=why)  # what holds if it stays
        return self._enter(row, suspension.shown, Guest.IDLE, math.inf)

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
            self._occupancy = Occupancy(self._vms, layout, self._on, self._room.expected_bytes)
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
                self._room.memory_bytes,
                occupancy.memory_used_bytes,
                occupancy.memory_expected_bytes,
                occupancy.vms,
                layout.first_vm,
            ),
            vms=layout.vm_columns(self._vms, occupancy),
        )

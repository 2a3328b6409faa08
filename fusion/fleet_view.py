"""What a fleet shows of itself: arrays that nobody changes any more, safe to read anywhere."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fusion.arrays import Bools, Codes, Floats, Ints, sums
from fusion.vm import ON_HOST, VmState
from fusion.vm_table import VmTable

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: What the codes of ``VmColumns.state`` stand for.
STATES: tuple[VmState, ...] = tuple(VmState)
CODE_OF: dict[VmState, int] = {state: code for code, state in enumerate(STATES)}

#: By code of state: whether the VM holds memory and a reservation of its host.
HOLDS: Bools = np.array([state in ON_HOST for state in STATES])

NO_FIGURES: Floats = np.zeros(0)


class HostColumns(NamedTuple):
    """One entry a host, in the order in which the fleet was given them.

    Capacities are what VMs can have. The VMs of host *i* are the rows
    ``first_vm[i]`` to ``first_vm[i + 1]`` of the VM columns.
    """

    names: tuple[str, ...]
    on: Bools
    cpu_capacity_mhz: Floats
    cpu_demand_mhz: Floats
    cpu_used_mhz: Floats
    cpu_used_mhz_s: Floats  # since it was powered on
    short_of_reservations: Bools
    memory_bytes: Ints
    memory_used_bytes: Ints
    memory_expected_bytes: Ints  # of these: kept for VMs that are on their way here
    vms: Ints  # those that hold memory: the stopped are not counted
    first_vm: Ints  # one longer than the rest


class VmColumns(NamedTuple):
    """One entry a VM, by host in the fleet's order, then by number.

    ``names`` is the same object in two views if no VM came, went or was reconfigured in between,
    and so is ``state`` if moreover none changed its state.
    """

    names: tuple[str, ...]
    number: Ints
    host_row: Ints
    vcpus: Ints
    memory_bytes: Ints
    cpu_shares: Floats
    cpu_limit_mhz: Floats  # infinite where there is none
    cpu_reservation_mhz: Floats
    state: Codes
    cpu_demand_mhz: Floats
    cpu_used_mhz: Floats
    cpu_used_mhz_s: Floats  # since it was started
    cpu_ready_s: Floats  # vCPU-seconds that it waited for a core since it was started

    def __len__(self) -> int:
        return len(self.names)  # VMs, not columns

    def state_of(self, row: int) -> VmState:
        return STATES[int(self.state[row])]


class FleetView(NamedTuple):
    """All hosts and VMs of a fleet at one instant."""

    now_s: float
    hosts: HostColumns
    vms: VmColumns


class Layout:
    """What views share for as long as no VM comes, goes or is reconfigured."""

    def __init__(self, vms: VmTable, hosts: int) -> None:
        #: Rows of the table, in the order of the view.
        self.order: Ints = np.lexsort((vms.number, vms.host_row))
        self.host_row = constant(vms.host_row[self.order])
        self.memory_bytes = constant(vms.memory_bytes[self.order])
        self.first_vm = constant(np.searchsorted(self.host_row, np.arange(hosts + 1)))
        self._in_order = bool((self.order == np.arange(len(vms))).all())
        #: Of the table, and in the order of the view.
        self._ready_s = self._ordered_ready_s = NO_FIGURES
        #: The first columns of a view, up to its state.
        self._constant = (
            tuple(vms.names[row] for row in self.order.tolist()),
            constant(vms.number[self.order]),
            self.host_row,
            constant(vms.vcpus[self.order]),
            self.memory_bytes,
            constant(vms.shares[self.order]),
            constant(vms.limit_mhz[self.order]),
            constant(vms.reservation_mhz[self.order]),
        )

    def vm_columns(self, vms: VmTable, occupancy: Occupancy) -> VmColumns:
        """Return the columns of ``vms``, the table that this layout was made for."""
        demand_mhz, used_mhz, ready_s = vms.demand_mhz, vms.used_mhz, vms.ready_s
        if self._in_order:  # as it is where VMs of one host were started by number
            figures = demand_mhz, used_mhz, vms.used_mhz_s, ready_s
        else:  # what is one and the same array in the table is so in the view
            order, all_get_it = self.order, used_mhz is demand_mhz
            if ready_s is not self._ready_s:
                self._ready_s, self._ordered_ready_s = ready_s, ready_s[order]
            demand_mhz = demand_mhz[order]
            figures = (
                demand_mhz,
                demand_mhz if all_get_it else used_mhz[order],
                vms.used_mhz_s[order],
                self._ordered_ready_s,
            )
        return VmColumns(*self._constant, occupancy.state, *figures)


class Occupancy:
    """What views share for as long as moreover no VM changes its state and no host its power.

    ``expected_bytes`` is what hosts keep for VMs that are on their way ``[H]``.
    """

    def __init__(self, vms: VmTable, layout: Layout, on: Bools, expected_bytes: Ints) -> None:
        hosts = len(on)
        self.on = constant(on.copy())
        self.state = constant(vms.state[layout.order])
        holds = HOLDS[self.state]
        held_bytes = np.where(holds, layout.memory_bytes, 0)
        used_bytes = sums(layout.host_row, held_bytes, hosts).astype(np.int64)
        self.memory_used_bytes = constant(used_bytes + expected_bytes)
        self.memory_expected_bytes = expected_bytes
        self.vms = constant(np.bincount(layout.host_row[holds], minlength=hosts))


def constant(column: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return ``column``, which cannot be written to any more."""
    column.flags.writeable = False
    return column

"""What a fleet shows of itself: arrays that nobody changes any more, safe to read anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.arrays import Bools, Codes, Floats, Ints
from fusion.vm import VmState

#: What the codes of ``VmColumns.state`` stand for.
STATES: tuple[VmState, ...] = tuple(VmState)
CODE_OF: dict[VmState, int] = {state: code for code, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class HostColumns:
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
    vms: Ints  # those that hold memory: the stopped are not counted
    first_vm: Ints  # one longer than the rest


@dataclass(frozen=True, slots=True)
class VmColumns:
    """One entry a VM, by host in the fleet's order, then by number."""

    names: tuple[str, ...]
    number: Ints
    host_row: Ints
    state: Codes
    vcpus: Ints
    memory_bytes: Ints
    cpu_shares: Floats
    cpu_limit_mhz: Floats  # infinite where there is none
    cpu_reservation_mhz: Floats
    cpu_demand_mhz: Floats
    cpu_used_mhz: Floats
    cpu_used_mhz_s: Floats
    cpu_ready_s: Floats  # vCPU-seconds that it waited for a core

    def __len__(self) -> int:
        return len(self.names)

    def state_of(self, row: int) -> VmState:
        return STATES[int(self.state[row])]


@dataclass(frozen=True, slots=True)
class FleetView:
    """All hosts and VMs of a fleet at one instant."""

    now_s: float
    hosts: HostColumns
    vms: VmColumns

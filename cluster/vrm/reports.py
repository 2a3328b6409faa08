"""What agents say of their hosts and VMs, taken over column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.clock import Clock
from cluster.rpc.convert import HOST_STATES, VM_STATE_OF, VM_STATES
from cluster.rpc.v1 import registry_pb2
from cluster.vrm.changes import Changes
from cluster.vrm.events import Events, Severity
from cluster.vrm.figures import NO_VM, NOWHERE
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Host, Vm
from fusion.errors import InvalidInput
from fusion.host import HostState
from fusion.vm import ON_HOST, TRANSIENT, VmState

Integers = NDArray[np.int64]

_ON_HOST = np.zeros(max(VM_STATES.values()) + 1, dtype=np.bool_)
_ON_HOST[[VM_STATES[state] for state in ON_HOST]] = True

_CONNECTED = [HOST_STATES[state] for state in (HostState.NORMAL, HostState.MAINTENANCE)]


class Reports:
    """Brings the inventory to what registrations and reports say."""

    def __init__(
        self, inventory: Inventory, changes: Changes, events: Events, clock: Clock
    ) -> None:
        self._inventory = inventory
        self._changes = changes
        self._events = events
        self._clock = clock
        self._strays: set[tuple[int, int]] = set()  # (host row, VM number) that were reported

    def take_hosts(
        self, rows: Integers, message: registry_pb2.ReportRequest
    ) -> NDArray[np.float64]:
        """Take over the figures of hosts; return how long ago each connected one last reported.

        ``rows`` gives the inventory's row of every row of ``message``, ``NOWHERE`` where that is
        not to be taken over.
        """
        figures = self._inventory.host_figures
        ours = rows != NOWHERE
        taken = rows[ours]
        figures.cpu_demand_mhz[taken] = np.array(message.cpu_demand_mhz)[ours]
        figures.cpu_used_mhz[taken] = np.array(message.cpu_used_mhz)[ours]
        figures.memory_used_bytes[taken] = np.array(message.memory_used_bytes, np.int64)[ours]
        last_s = figures.last_report_s[taken]
        connected = np.isin(figures.state[taken], _CONNECTED) & (last_s >= 0)
        now_s = self._clock.now()
        figures.last_report_s[taken] = now_s
        gaps_s: NDArray[np.float64] = now_s - last_s[connected]
        return gaps_s

    def take_vms(self, rows: Integers, message: registry_pb2.VmRows) -> None:
        """Take over the figures and states of VMs; what a host does not mention it has not."""
        figures = self._inventory.vm_figures
        number = np.array(message.vm_number, dtype=np.int64)
        on = rows[np.array(message.host_row, dtype=np.int64)]
        state = np.array(message.state, dtype=np.int64)

        known = (on != NOWHERE) & (number < len(figures.state))
        known[known] &= figures.state[number[known]] != NO_VM
        self._report_strays(number, on, state, ~known & (on != NOWHERE))
        held = known.copy()
        held[known] &= figures.host_row[number[known]] == on[known]

        where = number[held]
        figures.cpu_demand_mhz[where] = np.array(message.cpu_demand_mhz)[held]
        figures.cpu_used_mhz[where] = np.array(message.cpu_used_mhz)[held]
        figures.cpu_ready_s[where] = np.array(message.cpu_ready_s)[held]

        differs = known & ~held
        differs[held] |= figures.state[where] != state[held]
        for row in np.flatnonzero(differs).tolist():
            vm = self._inventory.vms[int(number[row])]
            host = self._inventory.hosts[int(on[row])]
            self._take_vm(vm, host, VM_STATE_OF.get(int(state[row]), VmState.UNKNOWN))
        for missing in self._missing(rows, where).tolist():
            vm = self._inventory.vms[missing]
            assert vm.host is not None
            self._take_vm(vm, vm.host, VmState.STOPPED)

    def _missing(self, rows: Integers, mentioned: Integers) -> Integers:
        """Return the VMs that the inventory has on ``rows`` and that are not ``mentioned``."""
        figures = self._inventory.vm_figures
        reporting = np.zeros(len(self._inventory.hosts) + 1, dtype=np.bool_)
        reporting[rows[rows != NOWHERE]] = True  # the last stays False: VMs that are nowhere
        expected = reporting[figures.host_row] & _ON_HOST[figures.state]
        expected[mentioned] = False
        return np.flatnonzero(expected)

    def _take_vm(self, vm: Vm, host: Host, state: VmState) -> None:
        if vm.host is host:
            if not self._changes.is_stale(vm, state):
                self._take_state(vm, host, state)
        elif state not in ON_HOST or self._changes.is_stale(vm, state):
            return  # the last words of an instance that is known to have ended
        elif vm.host is None:
            self._adopt(vm, host, state)
        else:
            self._warn_of_second(vm, vm.host, host)

    def _take_state(self, vm: Vm, host: Host, state: VmState) -> None:
        lasting = vm.state not in TRANSIENT
        if lasting and vm.change is None and state is VmState.STOPPED:
            doubted = vm.state is VmState.UNKNOWN
            why = "it ended while it was unknown" if doubted else "nobody ordered it to stop"
            self._events.emit(
                Severity.WARNING,
                "vm.halted",
                f"VM {vm.title} is no longer on {host.name}: {why}",
                cluster=vm.spec.cluster,
                host=host.name,
                vm=vm.id,
            )
        self._changes.observed(vm, state)

    def _adopt(self, vm: Vm, host: Host, state: VmState) -> None:
        self._inventory.give(vm, host)
        self._changes.observed(vm, state)
        self._events.emit(
            Severity.WARNING,
            "vm.found",
            f"VM {vm.title} was taken for {VmState.STOPPED} and is {state} on {host.name}",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
        )

    def _warn_of_second(self, vm: Vm, believed: Host, host: Host) -> None:
        if (host.row, vm.number) in self._strays:
            return
        self._strays.add((host.row, vm.number))
        self._events.emit(
            Severity.ERROR,
            "vm.elsewhere",
            f"VM {vm.title} belongs on {believed.name}, and {host.name} holds it too",
            cluster=vm.spec.cluster,
            host=host.name,
            vm=vm.id,
        )

    def _report_strays(
        self, number: Integers, on: Integers, state: Integers, strays: NDArray[np.bool_]
    ) -> None:
        for row in np.flatnonzero(strays).tolist():
            stray = int(on[row]), int(number[row])
            if stray in self._strays or VM_STATE_OF.get(int(state[row])) not in ON_HOST:
                continue
            self._strays.add(stray)
            host = self._inventory.hosts[stray[0]]
            self._events.emit(
                Severity.ERROR,
                "vm.stray",
                f"host {host.name} holds a VM of number {stray[1]} that the inventory has not",
                cluster=host.spec.cluster,
                host=host.name,
            )


def check_columns(hosts: int, rows: registry_pb2.VmRows) -> None:
    """Raise ``InvalidInput`` where ``rows`` are no rows of VMs on so many hosts."""
    columns = (
        rows.vm_number,
        rows.host_row,
        rows.state,
        rows.cpu_demand_mhz,
        rows.cpu_used_mhz,
        rows.cpu_ready_s,
    )
    if any(len(column) != len(rows.vm_number) for column in columns):
        raise InvalidInput("vms: the columns are not of one length")
    if len(rows.host_row) and max(rows.host_row) >= hosts:
        raise InvalidInput(f"vms.host_row: there is no row {max(rows.host_row)} of {hosts} hosts")


def message_rows(hosts: Sequence[Host | None]) -> Integers:
    """Return the inventory's row for every host of a message, ``NOWHERE`` for ``None``."""
    return np.array([NOWHERE if host is None else host.row for host in hosts], dtype=np.int64)

"""The VMs of many hosts as columns: one row a VM, one array a fact or figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion.arrays import Codes, Floats, Ints, grown
from fusion.spec import CpuQos, VmSpec

FIRST_ROOM = 64

COLUMNS: dict[str, type[np.generic]] = {
    "number": np.int64,
    "host_row": np.int64,
    "state": np.int8,
    "guest": np.int8,
    "boot": np.int64,
    "workload": np.int64,
    "added_load": np.float64,
    "hog_bytes_s": np.float64,
    "idle_share": np.float64,
    "throttle": np.float64,
    "vcpus": np.int64,
    "vcpu_mhz": np.float64,
    "memory_bytes": np.int64,
    "shares": np.float64,
    "limit_mhz": np.float64,
    "reservation_mhz": np.float64,
    "boot_s": np.float64,
    "shutdown_s": np.float64,
    "timer_s": np.float64,
}

#: What changes at every tick.
FIGURES = ("demand_mhz", "used_mhz", "used_mhz_s", "ready_s")


class VmTable:
    """Columns of equal length. Rows stay dense: the last row takes the place of a removed one.

    Figures are replaced by other arrays and never written to, so that views hold them as they
    are. Rows have none between their ``set_spec`` and the next ``begin_figures``.
    """

    number: Ints
    host_row: Ints
    state: Codes  # index into fusion.fleet_view.STATES
    guest: Codes  # fusion.compute.processors.Guest
    boot: Ints  # which of the fleet's boots its guest lives by: its memory is of that one
    workload: Ints  # slot in the bank, -1 where the VM is stopped
    added_load: Floats  # share of vCPUs × MHz that is wanted on top of the workload
    hog_bytes_s: Floats  # of memory that it writes beside its rates
    idle_share: Floats  # of its rates of writing memory at which an idle guest writes
    throttle: Floats  # share of what it could use of its processors that it is kept from
    vcpus: Ints
    vcpu_mhz: Floats
    memory_bytes: Ints
    shares: Floats
    limit_mhz: Floats
    reservation_mhz: Floats
    boot_s: Floats
    shutdown_s: Floats
    timer_s: Floats  # instant at which the guest's present phase ends; infinite where none does
    demand_mhz: Floats
    used_mhz: Floats
    used_mhz_s: Floats
    ready_s: Floats

    def __init__(self) -> None:
        self.names: list[str] = []
        self._without_figures: list[int] = []  # rows
        for figure in FIGURES:
            setattr(self, figure, np.zeros(0))
        self._room: dict[str, NDArray[np.generic]] = {
            name: np.zeros(FIRST_ROOM, dtype=kind) for name, kind in COLUMNS.items()
        }
        self._fit()

    def __len__(self) -> int:
        return len(self.names)

    def append(self, number: int, host_row: int) -> int:
        """Add a row and return where it is; the facts of the VM are still to be set."""
        row = len(self.names)
        if row == len(self._room["number"]):
            self._room = {column: grown(array, 2 * row) for column, array in self._room.items()}
        self.names.append("")
        self._fit()
        self.number[row], self.host_row[row] = number, host_row
        return row

    def remove(self, row: int) -> None:
        """Remove ``row``; the last row, if it is another, now stands there."""
        self.begin_figures()
        last = len(self.names) - 1
        for array in self._room.values():
            array[row] = array[last]
        for figure in FIGURES:
            column = getattr(self, figure)[:last].copy()
            if row < last:
                column[row] = getattr(self, figure)[last]
            setattr(self, figure, column)
        self.names[row] = self.names[last]
        self.names.pop()
        self._fit()

    def set_spec(self, row: int, spec: VmSpec) -> None:
        """Make the VM of ``row`` as configured, with its counters at zero."""
        self.names[row] = spec.name
        self.vcpus[row], self.vcpu_mhz[row] = spec.vcpus, spec.vcpu_mhz
        self.memory_bytes[row] = spec.memory_bytes
        self.boot_s[row], self.shutdown_s[row] = spec.boot_s, spec.shutdown_s
        self.added_load[row] = self.hog_bytes_s[row] = self.throttle[row] = 0.0
        self.idle_share[row] = spec.memory.idle_share
        self._without_figures.append(row)
        self.set_cpu(row, spec.cpu)

    def begin_figures(self) -> None:
        """Give the rows that have none figures of zero, all at once however many were started."""
        if not self._without_figures:
            return
        for figure in FIGURES:
            column = grown(getattr(self, figure), len(self.names))
            column[self._without_figures] = 0.0
            setattr(self, figure, column)
        self._without_figures.clear()

    def carry_on(self, row: int, used_mhz_s: float, ready_s: float) -> None:
        """Have the counters of ``row`` go on from those values."""
        self.begin_figures()
        self.used_mhz_s, self.ready_s = self.used_mhz_s.copy(), self.ready_s.copy()
        self.used_mhz_s[row], self.ready_s[row] = used_mhz_s, ready_s

    def set_cpu(self, row: int, cpu: CpuQos) -> None:
        self.shares[row] = cpu.shares
        self.limit_mhz[row] = cpu.limit_mhz
        self.reservation_mhz[row] = cpu.reservation_mhz

    def _fit(self) -> None:
        for column, array in self._room.items():
            setattr(self, column, array[: len(self.names)])

"""The VMs of many hosts as columns: one row a VM, one array a fact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusion.arrays import Codes, Floats, Ints, grown
from fusion.spec import CpuQos

FIRST_ROOM = 64

COLUMNS: dict[str, type[np.generic]] = {
    "number": np.int64,
    "host_row": np.int64,
    "state": np.int8,
    "guest": np.int8,
    "workload": np.int64,
    "vcpus": np.int64,
    "vcpu_mhz": np.float64,
    "core_mhz": np.float64,
    "memory_bytes": np.int64,
    "shares": np.float64,
    "limit_mhz": np.float64,
    "reservation_mhz": np.float64,
    "boot_s": np.float64,
    "shutdown_s": np.float64,
    "timer_s": np.float64,
    "demand_mhz": np.float64,
    "used_mhz": np.float64,
    "used_mhz_s": np.float64,
    "ready_s": np.float64,
}


class VmTable:
    """Columns of equal length. Rows stay dense: the last row takes the place of a removed one."""

    number: Ints
    host_row: Ints
    state: Codes  # index into STATES
    guest: Codes  # what it wants: see Guest
    workload: Ints  # slot in the bank, -1 where it has none
    vcpus: Ints
    vcpu_mhz: Floats
    core_mhz: Floats  # of its host
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
        self._room: dict[str, NDArray[np.generic]] = {
            name: np.zeros(FIRST_ROOM, dtype=kind) for name, kind in COLUMNS.items()
        }
        self._fit()

    def __len__(self) -> int:
        return len(self.names)

    def append(self, name: str) -> int:
        """Add a row of zeros and return its number."""
        row = len(self.names)
        if row == len(self._room["number"]):
            self._room = {column: grown(array, 2 * row) for column, array in self._room.items()}
        self.names.append(name)
        self._fit()
        for array in self._room.values():
            array[row] = 0
        return row

    def remove(self, row: int) -> None:
        """Remove ``row``; the last row, if it is another, now stands there."""
        last = len(self.names) - 1
        for array in self._room.values():
            array[row] = array[last]
        self.names[row] = self.names[last]
        self.names.pop()
        self._fit()

    def set_cpu(self, row: int, cpu: CpuQos) -> None:
        self.shares[row] = cpu.shares
        self.limit_mhz[row] = cpu.limit_mhz
        self.reservation_mhz[row] = cpu.reservation_mhz

    def _fit(self) -> None:
        for column, array in self._room.items():
            setattr(self, column, array[: len(self.names)])

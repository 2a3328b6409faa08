"""What the VRM knows of all hosts and VMs, as columns: of hosts by row, of VMs by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.rpc.convert import HOST_STATES, VM_STATES
from fusion.host import HostState
from fusion.policy.placement import most_mhz
from fusion.spec import HostSpec, VmSpec
from fusion.vm import VmState

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOWHERE = -1

#: The state column of a number that no VM bears.
NO_VM = 0


class HostFigures:
    """One row per host, in the order of the inventory. States are the numbers of the protocol."""

    def __init__(self, specs: Sequence[HostSpec]) -> None:
        count = len(specs)
        self.cores: Integers = np.array([spec.cores for spec in specs], dtype=np.int64)
        self.memory_bytes: Integers = np.array(
            [spec.vm_memory_bytes for spec in specs], dtype=np.int64
        )
        self.cpu_mhz: Floats = np.array([spec.vm_cpu_mhz for spec in specs], dtype=np.float64)
        self.state = np.full(count, HOST_STATES[HostState.POWERED_OFF], dtype=np.int8)
        self.vms = np.zeros(count, dtype=np.int64)
        self.memory_committed_bytes = np.zeros(count, dtype=np.int64)
        self.cpu_committed_mhz = np.zeros(count)
        self.cpu_reserved_mhz = np.zeros(count)
        self.last_report_s = np.full(count, -1.0)

    def commit(self, row: int, spec: VmSpec, times: int = 1) -> None:
        """Count a VM as held by ``row``; ``times=-1`` takes it back."""
        self.vms[row] += times
        self.expect(row, spec, times)

    def expect(self, row: int, spec: VmSpec, times: int = 1) -> None:
        """Count what a VM needs that is on its way to ``row``, which does not hold it yet."""
        self.memory_committed_bytes[row] += times * spec.memory_bytes
        self.cpu_committed_mhz[row] += times * most_mhz(spec)
        self.cpu_reserved_mhz[row] += times * spec.cpu.reservation_mhz

    def commit_all(self, rows: Sequence[int], specs: Sequence[VmSpec]) -> None:
        """Count VMs as held, each by its row."""
        np.add.at(self.vms, rows, 1)
        np.add.at(self.memory_committed_bytes, rows, [spec.memory_bytes for spec in specs])
        np.add.at(self.cpu_committed_mhz, rows, [most_mhz(spec) for spec in specs])
        np.add.at(self.cpu_reserved_mhz, rows, [spec.cpu.reservation_mhz for spec in specs])


class VmFigures:
    """One row per VM number, growing as numbers are given out; numbers are never given twice."""

    def __init__(self) -> None:
        self.state = np.zeros(64, dtype=np.int8)
        self.host_row = np.full(64, NOWHERE, dtype=np.int64)
        self.epoch = np.zeros(64, dtype=np.int64)

    def reach(self, number: int) -> None:
        """Grow until there is a row for ``number``."""
        rows = len(self.state)
        if number < rows:
            return
        more = max(number + 1 - rows, rows)
        self.state = np.concatenate([self.state, np.zeros(more, dtype=np.int8)])
        self.host_row = np.concatenate([self.host_row, np.full(more, NOWHERE, dtype=np.int64)])
        self.epoch = np.concatenate([self.epoch, np.zeros(more, dtype=np.int64)])

    def set_state(self, number: int, state: VmState) -> None:
        self.state[number] = VM_STATES[state]

    def set_all(
        self, numbers: Sequence[int], states: Sequence[VmState], epochs: Sequence[int]
    ) -> None:
        """Have rows for VMs that are nowhere yet."""
        self.reach(max(numbers, default=0))
        self.state[numbers] = [VM_STATES[state] for state in states]
        self.epoch[numbers] = epochs

    def remove(self, number: int) -> None:
        self.state[number] = NO_VM
        self.host_row[number] = NOWHERE
        self.epoch[number] = 0

"""Room on hosts for VMs: beside those that are there, for those that are on their way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion.arrays import Ints
from fusion.compute.processors import Processors
from fusion.compute.sharing import EXACTNESS_MHZ
from fusion.errors import Refused
from fusion.fleet_view import HOLDS, constant
from fusion.spec import HostSpec, VmSpec
from fusion.units import format_mhz, format_size
from fusion.vm import vm_id
from fusion.vm_table import VmTable


class Room:
    """Memory and reservations of H hosts, by the VMs of a table and by those that are expected.

    An expected VM has its memory and reservation kept for it; it uses no processor. The caller
    says by ``others`` which rows of the table a host has, but for the VM that is asked about.
    """

    def __init__(self, hosts: Sequence[HostSpec], vms: VmTable, processors: Processors) -> None:
        self._names = tuple(host.name for host in hosts)
        self._vms = vms
        self._processors = processors
        #: That VMs can have ``[H]``.
        self.memory_bytes = constant(
            np.array([max(host.vm_memory_bytes, 0) for host in hosts], np.int64)
        )
        #: That is kept for VMs that are expected ``[H]``; another array whenever that changes.
        self.expected_bytes: Ints = constant(np.zeros(len(hosts), np.int64))
        self._expected: list[dict[int, VmSpec]] = [{} for _ in hosts]

    def expects(self, host_row: int, number: int) -> bool:
        return number in self._expected[host_row]

    def keep(self, host_row: int, number: int, spec: VmSpec) -> None:
        """Keep room for a VM that was admitted."""
        self._expected[host_row][number] = spec
        self._add_up(host_row)

    def drop(self, host_row: int, number: int) -> bool:
        """Keep no room for a VM any more; tell whether there was any."""
        if self._expected[host_row].pop(number, None) is None:
            return False
        self._add_up(host_row)
        return True

    def drop_all(self, host_row: int) -> None:
        """Keep no room on a host."""
        self._expected[host_row].clear()
        self._add_up(host_row)

    def admit_memory(self, host_row: int, number: int, memory_bytes: int, others: Ints) -> None:
        """Raise ``Refused`` where there is not so much memory for a VM."""
        others = self._holding(others)
        used = int(self._vms.memory_bytes[others].sum())
        used += sum(spec.memory_bytes for spec in self._on_their_way(host_row, number))
        free = int(self.memory_bytes[host_row]) - used
        if memory_bytes > free:
            raise Refused(
                f"host {self._names[host_row]} has {format_size(free)} of memory free and"
                f" VM {vm_id(number)} needs {format_size(memory_bytes)};"
                f" choose another host or stop VMs on this one"
            )

    def admit_reservation(
        self, host_row: int, number: int, reservation_mhz: float, others: Ints
    ) -> None:
        """Raise ``Refused`` where a VM cannot reserve so much."""
        others = self._holding(others)
        reserved = float(self._vms.reservation_mhz[others].sum())
        reserved += sum(spec.cpu.reservation_mhz for spec in self._on_their_way(host_row, number))
        free = max(self._processors.reservable_mhz(host_row) - reserved, 0.0)
        if reservation_mhz > free + EXACTNESS_MHZ:
            raise Refused(
                f"host {self._names[host_row]} has {format_mhz(free)} left to reserve and"
                f" VM {vm_id(number)} reserves {format_mhz(reservation_mhz)};"
                f" reserve less or choose another host"
            )

    def _holding(self, rows: Ints) -> Ints:
        """Return those of ``rows`` whose VMs hold resources of their hosts."""
        return rows[HOLDS[self._vms.state[rows]]]

    def _on_their_way(self, host_row: int, but: int) -> list[VmSpec]:
        return [spec for number, spec in self._expected[host_row].items() if number != but]

    def _add_up(self, host_row: int) -> None:
        expected_bytes = self.expected_bytes.copy()
        on_their_way = self._expected[host_row].values()
        expected_bytes[host_row] = sum(spec.memory_bytes for spec in on_their_way)
        self.expected_bytes = constant(expected_bytes)

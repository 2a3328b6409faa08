"""The processors of many hosts: who wants how much, who gets it, and what it adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from fusion.arrays import Ints, sums
from fusion.compute.sharing import share_cpu
from fusion.guest.workload import WorkloadBank
from fusion.spec import HostSpec
from fusion.vm_table import VmTable


class Guest(IntEnum):
    """What a guest wants of its processors."""

    IDLE = 0  # nothing: its VM is stopped or paused
    BOOTING = 1  # one full vCPU
    WORKING = 2  # what its workload says, while it shuts down too


class Processors:
    """Shares of the processors of H hosts among the VMs of a table.

    Whoever changes a VM or a host *disturbs* that host; ``settle`` then asks demand and shares
    anew on disturbed hosts, and on those alone. In between, demand and shares stand still.
    Columns ``[H]`` are to be read from outside, not written.
    """

    def __init__(self, hosts: Sequence[HostSpec], vms: VmTable, bank: WorkloadBank) -> None:
        self._vms = vms
        self._bank = bank
        self._built_mhz = np.array([max(host.vm_cpu_mhz, 0.0) for host in hosts], dtype=np.float64)
        self._disturbed = np.zeros(len(hosts), dtype=np.bool_)
        self.core_mhz = np.array([host.core_mhz for host in hosts], dtype=np.float64)
        self.capacity_mhz = self._built_mhz.copy()
        self.demand_mhz = np.zeros(len(hosts))
        self.used_mhz = np.zeros(len(hosts))
        self.used_mhz_s = np.zeros(len(hosts))
        self.short_of_reservations = np.zeros(len(hosts), dtype=np.bool_)

    def steal(self, host_row: int, stolen_mhz: float) -> None:
        """Leave the VMs of a host its built capacity less ``stolen_mhz``."""
        self.capacity_mhz[host_row] = max(self._built_mhz[host_row] - stolen_mhz, 0.0)
        self.disturb(host_row)

    def reset(self, host_row: int) -> None:
        """Make a host as it is when it comes up: nothing stolen, nothing counted."""
        self.steal(host_row, 0.0)
        self.used_mhz_s[host_row] = 0.0

    def disturb(self, host_row: int | Ints) -> None:
        """Say that something happened on a host, or on several."""
        self._disturbed[host_row] = True

    def disturb_all(self) -> None:
        self._disturbed[:] = True

    def working(self) -> Ints:
        """Return the slots of the workloads that are being worked on."""
        vms = self._vms
        return np.compress(vms.guest == Guest.WORKING, vms.workload)

    def add_up(self, lasting_s: float) -> None:
        """Add to used and ready time what ``lasting_s`` more seconds of the present shares give.

        A VM is ready, and waits, for what it wants and does not get, in vCPU-seconds.
        """
        vms = self._vms
        vms.used_mhz_s += vms.used_mhz * lasting_s
        vms.ready_s += (vms.demand_mhz - vms.used_mhz) / vms.vcpu_mhz * lasting_s
        self.used_mhz_s += self.used_mhz * lasting_s

    def settle(self, now_s: float) -> None:
        """Ask demand at ``now_s`` and share processors on the disturbed hosts."""
        disturbed = self._disturbed
        if not disturbed.any():
            return
        vms, hosts = self._vms, len(disturbed)
        rows = np.flatnonzero(disturbed[vms.host_row])
        host_row = vms.host_row[rows]
        booting, working = vms.guest[rows] == Guest.BOOTING, vms.guest[rows] == Guest.WORKING
        vcpus = np.where(booting, 1, vms.vcpus[rows])
        load = booting.astype(np.float64)
        at_work = rows[working]
        asked = self._bank.fractions(now_s, vms.workload[at_work]) + vms.added_load[at_work]
        load[working] = np.minimum(asked, 1.0)
        demand = load * vcpus * vms.vcpu_mhz[rows]
        sharing = share_cpu(
            self.capacity_mhz,
            host_row,
            # A vCPU runs on one core at a time.
            demand_mhz=np.minimum(demand, vcpus * self.core_mhz[host_row]),
            limit_mhz=vms.limit_mhz[rows],
            reservation_mhz=vms.reservation_mhz[rows],
            shares=vms.shares[rows],
        )
        vms.demand_mhz[rows], vms.used_mhz[rows] = demand, sharing.granted_mhz
        self.demand_mhz[disturbed] = sums(host_row, demand, hosts)[disturbed]
        self.used_mhz[disturbed] = sums(host_row, sharing.granted_mhz, hosts)[disturbed]
        self.short_of_reservations[disturbed] = sharing.short_of_reservations[disturbed]
        disturbed[:] = False

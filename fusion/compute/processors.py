"""The processors of many hosts: who wants how much, who gets it, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from fusion.arrays import Floats, Ints, sums
from fusion.compute.outlook import MOST_VMS, NOTHING, Foreseen, Rates, foresee, instants
from fusion.compute.sharing import EXACTNESS_MHZ, Sharing, share_cpu
from fusion.guest.workload import Loads, WorkloadBank
from fusion.spec import HostSpec
from fusion.vm_table import VmTable


class Guest(IntEnum):
    """What a guest wants of its processors."""

    IDLE = 0  # nothing: its VM is stopped or paused
    BOOTING = 1  # one full vCPU
    WORKING = 2  # what its workload says, while it shuts down too


_BOOTING, _WORKING = int(Guest.BOOTING), int(Guest.WORKING)  # a member takes long to look up


@dataclass(frozen=True, slots=True)
class _Wants:
    """What certain VMs want, by what can change only with their state or configuration.

    Demand is ``idle_mhz``, and ``full_mhz`` × load for those that work, given by their
    position (None: all); ``most_mhz`` is what a VM can use of it (None: whatever it wants).
    Shapes: [N], but ``working``, ``full_mhz`` and ``added_load`` (None: all zero) [W].
    """

    host_row: Ints
    idle_mhz: Floats
    working: Ints | None
    full_mhz: Floats
    added_load: Floats | None
    most_mhz: Floats | None
    reservation_mhz: Floats
    shares: Floats
    loads: Loads

    def demand_mhz(self, load: Floats) -> Floats:
        """Return the demand ``[…, N]`` at ``load`` ``[…, W]``, that of ``loads``."""
        if self.added_load is not None:
            load = np.minimum(load + self.added_load, 1.0)
        if self.working is None:
            return load * self.full_mhz
        demand = np.empty(load.shape[:-1] + self.idle_mhz.shape)
        demand[...] = self.idle_mhz
        demand[..., self.working] = load * self.full_mhz
        return demand

    def shared(self, capacity_mhz: Floats, demand_mhz: Floats) -> Sharing:
        """Share out ``capacity_mhz`` ``[H]``."""
        return share_cpu(
            capacity_mhz,
            self.host_row,
            demand_mhz=demand_mhz,
            limit_mhz=self.most_mhz,
            reservation_mhz=self.reservation_mhz,
            shares=self.shares,
        )


class Processors:
    """Shares of the processors of H hosts among the VMs of a table.

    Whoever changes a VM or a host *disturbs* that host; ``settle`` then asks demand and shares
    anew on disturbed hosts, and on those alone. In between, demand and shares stand still, until
    ``go_on`` asks all for their demand. Columns ``[H]`` are replaced by other arrays and never
    written to, so that views hold them as they are.
    """

    def __init__(self, hosts: Sequence[HostSpec], vms: VmTable, bank: WorkloadBank) -> None:
        self._vms = vms
        self._bank = bank
        self._built_mhz = np.array([max(host.vm_cpu_mhz, 0.0) for host in hosts], dtype=np.float64)
        self._disturbed = np.zeros(len(hosts), dtype=np.bool_)
        self._any_disturbed = False
        self._asked = True  # whether demand is that of the instant that time has come to
        self._wants: _Wants | None = None  # of all VMs; None: a host was disturbed
        self._load: Floats | None = None  # at which all VMs were last asked
        self._step_s = 0.0  # how long the last call of ``go_on`` let pass
        self._outlook = NOTHING  # what comes if only time passes
        #: vCPUs that want to run and do not, of each VM; None where there are none.
        self._waiting: Floats | None = None
        self._stolen_mhz = np.zeros(len(hosts))
        self._taken_mhz = np.zeros(len(hosts))
        self.core_mhz = np.array([host.core_mhz for host in hosts], dtype=np.float64)
        self.capacity_mhz = self._built_mhz
        self.demand_mhz = np.zeros(len(hosts))
        self.used_mhz = np.zeros(len(hosts))
        self.used_mhz_s = np.zeros(len(hosts))
        self.short_of_reservations = np.zeros(len(hosts), dtype=np.bool_)

    def steal(self, host_row: int, stolen_mhz: float) -> None:
        """Let a fault have ``stolen_mhz`` of a host."""
        self._stolen_mhz[host_row] = stolen_mhz
        self._cut(host_row)

    def take(self, host_row: int, mhz: float) -> None:
        """Have a host itself use so much more of its processors; negative: so much less."""
        taken_mhz = self._taken_mhz[host_row] + mhz
        self._taken_mhz[host_row] = taken_mhz if taken_mhz > EXACTNESS_MHZ else 0.0
        self._cut(host_row)

    def _cut(self, host_row: int) -> None:
        """Leave the VMs of a host what it was built with, less what others have of it."""
        others_mhz = self._stolen_mhz[host_row] + self._taken_mhz[host_row]
        self.capacity_mhz = self.capacity_mhz.copy()
        self.capacity_mhz[host_row] = max(self._built_mhz[host_row] - others_mhz, 0.0)
        self.disturb(host_row)

    def reservable_mhz(self, host_row: int) -> float:
        """Return what the VMs of a host may reserve; what the host takes for a while is no loss."""
        return max(float(self._built_mhz[host_row] - self._stolen_mhz[host_row]), 0.0)

    def reset(self, host_row: int) -> None:
        """Make a host as it is when it comes up: nothing stolen or taken, nothing counted."""
        self._taken_mhz[host_row] = 0.0
        self.steal(host_row, 0.0)
        self.used_mhz_s = self.used_mhz_s.copy()
        self.used_mhz_s[host_row] = 0.0

    def disturb(self, host_row: int | Ints) -> None:
        """Say that something happened on a host, or on several."""
        self._disturbed[host_row] = True
        self._any_disturbed = True
        self._wants, self._outlook = None, NOTHING

    def next_change(self, now_s: float) -> float:
        """Return the first instant after ``now_s`` at which a step-like load changes."""
        return self._wants_of_all().loads.next_change(now_s)

    def add_up(self, lasting_s: float) -> None:
        """Add to used and ready time what ``lasting_s`` more seconds of the present shares give.

        A VM is ready, and waits, for what it wants and does not get, in vCPU-seconds.
        """
        vms = self._vms
        vms.used_mhz_s = vms.used_mhz_s + vms.used_mhz * lasting_s
        if self._waiting is not None:
            vms.ready_s = vms.ready_s + self._waiting * lasting_s
        self.used_mhz_s = self.used_mhz_s + self.used_mhz * lasting_s

    def settle(self, now_s: float) -> None:
        """Ask demand at ``now_s`` and share processors on the disturbed hosts, or on all."""
        if self._asked and not self._any_disturbed:
            return
        self._vms.begin_figures()
        if not self._asked or self._disturbed.all():  # as it always is with one host
            self._ask_all(now_s)
            self._asked = True
        else:
            self._settle_some(now_s)
        self._disturbed[:] = False
        self._any_disturbed = False

    def _settle_some(self, now_s: float) -> None:
        """Ask demand and share processors on the disturbed hosts, and leave the others be."""
        disturbed, vms = self._disturbed, self._vms
        rows = np.flatnonzero(disturbed[vms.host_row])
        wants = self._wants_of(rows)
        demand = wants.demand_mhz(wants.loads.at(now_s))
        sharing = wants.shared(self.capacity_mhz, demand)
        demanded = sums(wants.host_row, demand, len(disturbed))
        vms.demand_mhz = _replaced(vms.demand_mhz, rows, demand)
        vms.used_mhz = _replaced(vms.used_mhz, rows, sharing.granted_mhz)
        self.demand_mhz = np.where(disturbed, demanded, self.demand_mhz)
        self.used_mhz = np.where(disturbed, sharing.used_mhz, self.used_mhz)
        self.short_of_reservations = np.where(
            disturbed, sharing.short_of_reservations, self.short_of_reservations
        )
        self._wait(vms.demand_mhz, vms.used_mhz)
        self._load = None

    def go_on(self, now_s: float, to_s: float) -> None:
        """Let time pass from ``now_s``, and ask all for their demand at ``to_s``: ``settle`` does.

        From the second step of one length on, the next ones are computed together.
        """
        foreseen = next(self._outlook, None)
        if foreseen is None or foreseen[0] != to_s:
            step_s = to_s - now_s
            even, self._step_s = step_s == self._step_s, step_s
            self._outlook = self._look_ahead(now_s) if even else NOTHING
            foreseen = next(self._outlook, None)
            if foreseen is None or foreseen[0] != to_s:
                self._outlook = NOTHING
                self.add_up(step_s)
                self._asked = False
                return
        vms = self._vms
        _, vms.demand_mhz, vms.used_mhz_s, self.demand_mhz, self.used_mhz_s = foreseen
        vms.used_mhz, self.used_mhz = vms.demand_mhz, self.demand_mhz

    def _look_ahead(self, now_s: float) -> Iterator[Foreseen]:
        """Compute the next instants, where there is anything to gain by it."""
        wants, vms = self._wants_of_all(), self._vms
        unlimited = vms.used_mhz is vms.demand_mhz and wants.most_mhz is None
        if len(vms) > MOST_VMS or not (unlimited and wants.loads.waving):
            return NOTHING
        instants_s = instants(len(vms), now_s, self._step_s, wants.loads.next_change(now_s))
        if not instants_s.size:
            return NOTHING
        return foresee(
            Rates(vms.demand_mhz, vms.used_mhz_s),
            Rates(self.demand_mhz, self.used_mhz_s),
            now_s=now_s,
            instants_s=instants_s,
            demand_mhz=wants.demand_mhz(wants.loads.ahead(instants_s)),
            host_row=wants.host_row,
            capacity_mhz=self.capacity_mhz,
        )

    def _ask_all(self, now_s: float) -> None:
        """Ask demand at ``now_s`` and share processors on all hosts, where any load changed."""
        wants = self._wants_of_all()
        load = wants.loads.at(now_s)
        if load is self._load:
            return
        self._load = load
        vms = self._vms
        demand = wants.demand_mhz(load)
        granted, self.used_mhz, self.short_of_reservations = wants.shared(self.capacity_mhz, demand)
        vms.demand_mhz, vms.used_mhz = demand, granted
        if granted is demand:
            self.demand_mhz, self._waiting = self.used_mhz, None
        else:
            self.demand_mhz = sums(wants.host_row, demand, len(self._disturbed))
            self._wait(demand, granted)

    def _wait(self, demand_mhz: Floats, used_mhz: Floats) -> None:
        """Note who waits, at this demand and use of all VMs."""
        waiting = (demand_mhz - used_mhz) / self._vms.vcpu_mhz
        self._waiting = waiting if np.count_nonzero(waiting) else None

    def _wants_of_all(self) -> _Wants:
        if self._wants is None:
            self._wants = self._wants_of(np.arange(len(self._vms)))
            self._load = None
        return self._wants

    def _wants_of(self, rows: Ints) -> _Wants:
        vms = self._vms
        host_row, guest, vcpu_mhz = vms.host_row[rows], vms.guest[rows], vms.vcpu_mhz[rows]
        booting = guest == _BOOTING
        (working,) = (guest == _WORKING).nonzero()
        vcpus = np.where(booting, 1, vms.vcpus[rows])
        at_work = rows[working]
        added_load = vms.added_load[at_work]
        idle_mhz = np.where(booting, vcpu_mhz, 0.0)
        full_mhz = vcpus[working] * vcpu_mhz[working]
        # A vCPU runs on one core at a time.
        most_mhz = np.minimum(vms.limit_mhz[rows], vcpus * self.core_mhz[host_row])
        most_mhz *= 1.0 - vms.throttle[rows]
        limited = np.count_nonzero(idle_mhz > most_mhz) or np.count_nonzero(
            full_mhz > most_mhz[working]
        )
        return _Wants(
            host_row=host_row,
            idle_mhz=idle_mhz,
            working=None if len(working) == len(rows) else working,
            full_mhz=full_mhz,
            added_load=added_load if np.count_nonzero(added_load) else None,
            most_mhz=most_mhz if limited else None,
            reservation_mhz=vms.reservation_mhz[rows],
            shares=vms.shares[rows],
            loads=self._bank.loads(vms.workload[at_work]),
        )


def _replaced(column: Floats, rows: Ints, values: Floats) -> Floats:
    """Return ``column`` with these ``values`` in ``rows``."""
    column = column.copy()
    column[rows] = values
    return column

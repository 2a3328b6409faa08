"""The measures of consolidation studies, added up as time passes.

Definitions are those of Beloglazov and Buyya, "Optimal Online Deterministic Algorithms and Adaptive
Heuristics for Energy and Performance Efficient Dynamic Consolidation of Virtual Machines in Cloud
Data Centers", CCPE 24 (13), 2012, section 5. Between two calls of ``add`` everything stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion.arrays import Bools, Codes, Floats, Ints, grown, sums
from fusion.fleet_view import STATES
from fusion.spec import HostSpec

JOULES_PER_KWH = 3.6e6

#: Of the processors that a VM uses while it migrates, so much is taken to be lost to it (there).
DEGRADED_SHARE = 0.1

#: The curve of a host whose power is not known: it has the shape of one.
NO_POWER = (0.0,) * 11

#: A host that gives all but this share of its capacity is at 100 %: sums of floats are rounded.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class HostMeasures:
    """What the hosts of a cluster did.

    ``utilisation`` is the mean over time and over hosts that were on, weighed by capacity.
    ``slatah`` is the mean, over hosts that ever served, of the share of the time in which they
    served VMs that they spent at 100 % CPU. ``energy_kwh`` is ``None`` where a host has no power
    curve.
    """

    utilisation: float
    slatah: float
    energy_kwh: float | None
    pdm: float = 0.0  # see MigrationStudy

    @property
    def slav(self) -> float:
        """SLA violation: ``slatah`` × ``pdm``."""
        return self.slatah * self.pdm

    @property
    def esv(self) -> float | None:
        """Energy and SLA violation: kWh × ``slav``."""
        return None if self.energy_kwh is None else self.energy_kwh * self.slav


class HostStudy:
    """Adds up what H hosts do. Capacities and use are what VMs can have and what they get."""

    def __init__(self, hosts: Sequence[HostSpec]) -> None:
        self._clusters = [host.cluster for host in hosts]
        self._metered = np.array([bool(host.power_watts) for host in hosts], dtype=np.bool_)
        self._watts = np.array([host.power_watts or NO_POWER for host in hosts])
        self._used_mhz_s = np.zeros(len(hosts))
        self._offered_mhz_s = np.zeros(len(hosts))
        self._serving_s = np.zeros(len(hosts))
        self._full_s = np.zeros(len(hosts))
        self._joules = np.zeros(len(hosts))

    def add(
        self, lasting_s: float, *, on: Bools, serving: Bools, capacity_mhz: Floats, used_mhz: Floats
    ) -> None:
        """Let ``lasting_s`` pass; all columns ``[H]``. A host serves if it is on and holds VMs.

        A host that is on draws power with and without VMs, one that is off draws none.
        """
        self._used_mhz_s += np.where(on, used_mhz, 0.0) * lasting_s
        self._offered_mhz_s += np.where(on, capacity_mhz, 0.0) * lasting_s
        self._serving_s += serving * lasting_s
        full = serving & (capacity_mhz > 0) & (used_mhz >= capacity_mhz * (1 - ROUNDING))
        self._full_s += full * lasting_s
        if self._metered.any():
            load = np.divide(used_mhz, capacity_mhz, out=np.zeros(len(on)), where=capacity_mhz > 0)
            self._joules += np.where(on, power_watts(self._watts, load), 0.0) * lasting_s

    def measures(self, cluster: str, pdm: float = 0.0) -> HostMeasures:
        """Return the measures of ``cluster`` so far; without any time all are 0."""
        rows = np.array([row for row, c in enumerate(self._clusters) if c == cluster], np.int64)
        offered = float(self._offered_mhz_s[rows].sum())
        served = rows[self._serving_s[rows] > 0]
        shares = self._full_s[served] / self._serving_s[served]
        return HostMeasures(
            utilisation=float(self._used_mhz_s[rows].sum()) / offered if offered else 0.0,
            slatah=float(shares.mean()) if served.size else 0.0,
            energy_kwh=float(self._joules[rows].sum()) / JOULES_PER_KWH
            if self._metered[rows].all()
            else None,
            pdm=pdm,
        )


def power_watts(curves: Floats, load: Floats) -> Floats:
    """Return what hosts draw ``[H]`` at ``load`` ``[H]``, 0 to 1.

    ``curves`` ``[H, 11]`` are their watts at 0, 10, …, 100 %; in between they are linear.
    """
    place = np.clip(load, 0.0, 1.0) * (curves.shape[1] - 1)
    below = np.minimum(place.astype(np.int64), curves.shape[1] - 2)
    host = np.arange(len(load))
    low, high = curves[host, below], curves[host, below + 1]
    watts: Floats = low + (high - low) * (place - below)
    return watts


class MigrationStudy:
    """Performance degradation by migration: the mean, over VMs that wanted processors, of how much
    less they are taken to have had for migrating, as a share of what they wanted all the time.
    """

    def __init__(self, clusters: Sequence[str]) -> None:
        self._row_of = {cluster: row for row, cluster in enumerate(clusters)}
        self._cluster_row = np.zeros(0, dtype=np.int64)
        self._wanted_mhz_s = np.zeros(0)
        self._degraded_mhz_s = np.zeros(0)

    def add(
        self,
        lasting_s: float,
        *,
        cluster_row: Ints,
        number: Ints,
        demand_mhz: Floats,
        used_mhz: Floats,
        migrating: Bools,
    ) -> None:
        """Let ``lasting_s`` pass; one entry a VM, each at most once."""
        rows = int(number.max(initial=-1)) + 1
        if rows > len(self._wanted_mhz_s):
            rows = max(rows, 2 * len(self._wanted_mhz_s))
            self._cluster_row = grown(self._cluster_row, rows)
            self._wanted_mhz_s = grown(self._wanted_mhz_s, rows)
            self._degraded_mhz_s = grown(self._degraded_mhz_s, rows)
        self._cluster_row[number] = cluster_row
        self._wanted_mhz_s[number] += demand_mhz * lasting_s
        if migrating.any():
            lost_mhz = DEGRADED_SHARE * used_mhz[migrating]
            self._degraded_mhz_s[number[migrating]] += lost_mhz * lasting_s

    def pdm(self, cluster: str) -> float:
        """Return the measure of ``cluster`` so far."""
        wanted = (self._cluster_row == self._row_of[cluster]) & (self._wanted_mhz_s > 0)
        shares = self._degraded_mhz_s[wanted] / self._wanted_mhz_s[wanted]
        return float(shares.mean()) if shares.size else 0.0


class StateStudy:
    """Adds up how long VMs are in which state, by cluster."""

    def __init__(self, clusters: Sequence[str]) -> None:
        self._row_of = {cluster: row for row, cluster in enumerate(clusters)}
        self._seconds = np.zeros((len(clusters), len(STATES)))

    def add(self, lasting_s: float, *, cluster_row: Ints, state: Codes) -> None:
        """Let ``lasting_s`` pass; one entry a VM, ``state`` by its place in ``STATES``."""
        cell = cluster_row * len(STATES) + state
        counts = np.bincount(cell, minlength=self._seconds.size).reshape(self._seconds.shape)
        self._seconds += counts * lasting_s

    def vm_seconds(self, cluster: str) -> dict[str, float]:
        """Return the VM-seconds of ``cluster`` by state, those without any left out."""
        seconds = self._seconds[self._row_of[cluster]].tolist()
        return {state.value: s for state, s in zip(STATES, seconds, strict=True) if s}


class ReadyStudy:
    """Adds up ready time from counters that start again at 0 whenever a VM is started."""

    def __init__(self, clusters: Sequence[str]) -> None:
        self._row_of = {cluster: row for row, cluster in enumerate(clusters)}
        self._ready_s = np.zeros(len(clusters))
        self._last_s = np.zeros(64)

    def add(self, *, cluster_row: Ints, number: Ints, ready_s: Floats) -> None:
        """Look at the counters ``ready_s`` of VMs, by number; each VM at most once."""
        most = int(number.max(initial=0))
        if most >= len(self._last_s):
            self._last_s = grown(self._last_s, max(most + 1, 2 * len(self._last_s)))
        last_s = self._last_s[number]
        # What a VM that was started anew had waited since the last look is lost.
        more_s = np.where(ready_s >= last_s, ready_s - last_s, ready_s)
        self._ready_s += sums(cluster_row, more_s, len(self._ready_s))
        self._last_s[number] = ready_s

    def ready_s(self, cluster: str) -> float:
        """Return the vCPU-seconds that the VMs of ``cluster`` waited for a core."""
        return float(self._ready_s[self._row_of[cluster]])

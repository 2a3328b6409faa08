"""Room for the VMs of hosts that fail: what a cluster may be given, so that HA can keep its word.

Asked before a VM starts, with the VMs that run and the one to come, over the hosts in use. Restarts
after a failure are not asked: the room is kept for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion.arrays import Floats, Ints
from fusion.spec import Admission, AdmissionKind, HostSpec, VmSpec
from fusion.units import format_mhz, format_size

#: What a VM without a reservation counts as, as in vSphere: none should be taken for nothing.
LEAST_CPU_MHZ = 32.0

#: What is over by less than this share is over by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Member:
    """A host of the cluster, with what it has for VMs."""

    name: str
    cpu_mhz: float
    memory_bytes: int

    @staticmethod
    def of(spec: HostSpec) -> Member:
        return Member(spec.name, spec.vm_cpu_mhz, spec.vm_memory_bytes)


@dataclass(frozen=True, slots=True)
class Load:
    """What must be there for a VM to run."""

    cpu_mhz: float
    memory_bytes: int

    @staticmethod
    def of(spec: VmSpec) -> Load:
        return Load(max(spec.cpu.reservation_mhz, LEAST_CPU_MHZ), spec.memory_bytes)


@dataclass(frozen=True, slots=True)
class SlotTable:
    """The cluster cut into pieces of which each takes any of its VMs."""

    cpu_mhz: float
    memory_bytes: int
    per_host: tuple[int, ...]  # in the order of the hosts
    used: int

    @property
    def total(self) -> int:
        return sum(self.per_host)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``why`` says what is kept free, or what is lacking and what would help.

    ``tolerated_hosts`` is how many hosts, the largest first, may fail with room left for all VMs:
    by slots where there are slots, else by sums of CPU and memory.
    """

    admitted: bool
    why: str
    tolerated_hosts: int
    slots: SlotTable | None = None


@dataclass(frozen=True, slots=True)
class _Columns:
    """CPU in MHz and memory in bytes, ``[N]`` each."""

    cpu_mhz: Floats
    memory_bytes: Ints

    @staticmethod
    def of(rows: Sequence[Member] | Sequence[Load]) -> _Columns:
        return _Columns(
            np.array([row.cpu_mhz for row in rows], dtype=np.float64),
            np.array([row.memory_bytes for row in rows], dtype=np.int64),
        )


def judge(admission: Admission, hosts: Sequence[Member], vms: Sequence[Load]) -> Verdict:
    """Return whether ``hosts`` can hold ``vms`` and keep free what ``admission`` wants."""
    room, loads = _Columns.of(hosts), _Columns.of(vms)
    match admission.kind:
        case AdmissionKind.NONE:
            return Verdict(True, "keeps nothing free for failures", _tolerated(room, loads))
        case AdmissionKind.SLOTS:
            return _judge_slots(admission.tolerated_hosts, hosts, room, loads)
        case AdmissionKind.PERCENTAGE:
            return _judge_percentage(admission, room, loads)
        case AdmissionKind.SPARE_HOSTS:
            return _judge_spares(admission.spare_hosts, hosts, room, loads)


# --- slots


def _judge_slots(wanted: int, hosts: Sequence[Member], room: _Columns, loads: _Columns) -> Verdict:
    slots = _slots(room, loads)
    per_host = np.array(slots.per_host, dtype=np.int64)
    order = np.argsort(-per_host, kind="stable")  # those with the most slots fail first
    left = slots.total - np.concatenate([[0], np.cumsum(per_host[order])])  # by failed hosts
    tolerated = int((left >= slots.used).sum()) - 1  # -1: not even all hosts are enough
    size = f"{format_mhz(slots.cpu_mhz)} and {format_size(slots.memory_bytes)}"
    if tolerated >= wanted:
        why = (
            f"tolerates the failure of {_counted(tolerated, 'host')}: "
            f"{slots.used} of {_counted(slots.total, 'slot')} of {size} in use"
        )
        return Verdict(True, why, tolerated, slots)
    if wanted > len(hosts):
        why = (
            f"cannot tolerate the failure of {_counted(wanted, 'host')} "
            f"with {len(hosts)} in use; add hosts, or tolerate fewer failures"
        )
    else:
        failed = [hosts[row].name for row in order[:wanted].tolist()]
        without = f" without {_listed(failed)}" if failed else ""
        why = (
            f"has {_counted(int(left[wanted]), 'slot')} of {size}{without}, and "
            f"{slots.used} are needed; add hosts, lower the largest CPU reservation or memory "
            "among the VMs, or tolerate fewer failures"
        )
    return Verdict(False, why, max(tolerated, 0), slots)


def _slots(room: _Columns, loads: _Columns) -> SlotTable:
    """Cut hosts into slots as large as the largest load in CPU, and the largest in memory."""
    cpu_mhz = max(float(loads.cpu_mhz.max(initial=0.0)), 1.0)
    memory_bytes = max(int(loads.memory_bytes.max(initial=0)), 1)
    by_cpu = np.floor(room.cpu_mhz / cpu_mhz * (1 + _ROUNDING)).astype(np.int64)
    per_host = np.minimum(by_cpu, room.memory_bytes // memory_bytes)
    return SlotTable(cpu_mhz, memory_bytes, tuple(per_host.tolist()), len(loads.cpu_mhz))


# --- percentage and spare hosts


def _judge_percentage(admission: Admission, room: _Columns, loads: _Columns) -> Verdict:
    tolerated = _tolerated(room, loads)
    cpu_free = _free_percent(room.cpu_mhz, loads.cpu_mhz)
    memory_free = _free_percent(room.memory_bytes, loads.memory_bytes)
    kept = (
        f"keeps {admission.cpu_percent:g} % of its CPU and "
        f"{admission.memory_percent:g} % of its memory free for failures"
    )
    have = f"{cpu_free:.1f} % and {memory_free:.1f} %"
    short = min(cpu_free - admission.cpu_percent, memory_free - admission.memory_percent)
    if short < -100 * _ROUNDING:
        why = f"{kept}, and only {have} would be; add hosts, lower reservations or the percentages"
        return Verdict(False, why, tolerated)
    return Verdict(True, f"{kept}: {have} are", tolerated)


def _judge_spares(
    spares: Sequence[str], hosts: Sequence[Member], room: _Columns, loads: _Columns
) -> Verdict:
    tolerated = _tolerated(room, loads)
    others = np.array([host.name not in spares for host in hosts], dtype=np.bool_)
    cpu_free = _free_percent(room.cpu_mhz[others], loads.cpu_mhz)
    memory_free = _free_percent(room.memory_bytes[others], loads.memory_bytes)
    kept = f"keeps {_listed(spares)} free for failures"
    if min(cpu_free, memory_free) < -100 * _ROUNDING:
        count = _counted(int(others.sum()), "other host")
        why = (
            f"{kept}, and {100 - cpu_free:.1f} % of the CPU and {100 - memory_free:.1f} % of the "
            f"memory of its {count} would be taken; "
            "add hosts, lower reservations, or keep fewer spare"
        )
        return Verdict(False, why, tolerated)
    return Verdict(True, kept + (", of which none is in use" if others.all() else ""), tolerated)


def _free_percent(have: Floats | Ints, taken: Floats | Ints) -> float:
    """Return what is left, negative where more is taken than there is."""
    total = float(have.sum())
    if total <= 0:
        return -100.0 if taken.sum() > 0 else 0.0
    return 100.0 * (1.0 - float(taken.sum()) / total)


def _tolerated(room: _Columns, loads: _Columns) -> int:
    """Return how many hosts may fail, the largest first in each of CPU and memory."""
    counts = []
    for have, taken in (
        (room.cpu_mhz, loads.cpu_mhz),
        (room.memory_bytes, loads.memory_bytes),
    ):
        left = have.sum() - np.cumsum(np.sort(have)[::-1])
        counts.append(int((left >= taken.sum() * (1 - _ROUNDING)).sum()))
    return min(counts)


# --- words


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{', '.join(names[:2])} and {len(names) - 2} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

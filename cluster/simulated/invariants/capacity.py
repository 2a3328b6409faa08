"""Invariant 3: no host gives more than it has, and every VM gets what it is due."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.simulated.invariants.granted import Frame, Frames, Granted, Published, granted
from cluster.simulated.invariants.scene import Scene, Seat
from cluster.simulated.invariants.violation import Report
from cluster.vrm.facts import Known
from fusion.arrays import Bools, Floats, Ints, places, some
from fusion.units import format_mhz, format_size
from fusion.vm import vm_id

#: Views do not change, so they are looked at together: one at a time would cost as much as the run.
TOGETHER = 128

#: Sums of many floating point numbers may be off by that much.
ROUNDING_MHZ = 1e-3


class Capacity:
    """Granted processors and memory never exceed what the host was built with.

    Used memory is that of the VMs it holds, so used and free make the total. A VM is granted no
    more than the smaller of its limit and demand, and no less than its reservation (or demand,
    where that is less) unless the host says that it is short of reservations. Nor does the VRM
    promise more of a host's memory than there is.
    """

    name: ClassVar[str] = "3 (capacity)"

    def __init__(self) -> None:
        self._cpu_mhz: Floats = np.empty(0)
        self._memory_bytes: Ints = np.empty(0, dtype=np.int64)
        self._frames: dict[Seat, Frame] = {}
        self._together: Frames | None = None  # those of the views last looked at
        self._new: list[Frame] = []
        self._published = Published()

    def check(self, scene: Scene, report: Report) -> None:
        if not len(self._cpu_mhz):
            self._cpu_mhz = np.array([max(host.vm_cpu_mhz, 0.0) for host in scene.hosts])
            self._memory_bytes = np.array([max(host.vm_memory_bytes, 0) for host in scene.hosts])
        for seat in scene.reshaped:
            frame = self._frames[seat] = Frame.of(seat, scene)
            self._new.append(frame)
        if scene.fresh:
            self._published.add(scene, [self._frames[seat] for seat in scene.fresh])
        if len(self._published.views) >= TOGETHER:
            self._check_published(report)
        if scene.known is not None and scene.known_hosts_changed:
            self._check_promises(scene, scene.known, report)

    def finish(self, scene: Scene, report: Report) -> None:
        self._check_published(report)

    def _check_published(self, report: Report) -> None:
        published, self._published = self._published, Published()
        new, self._new = self._new, []
        if published.views:
            if self._together is None or not self._together.are(published.frames):
                self._together = Frames.of(published.frames)
            found = granted(published, self._together)
            self._check_processors(found, report)
            if new:  # it takes another frame for another account of memory
                self._check_memory(Frames.of(new), report)
            self._check_vms(found, report)

    def _check_processors(self, granted: Granted, report: Report) -> None:
        frames = granted.frames
        built_mhz = self._cpu_mhz[frames.row]
        capacity_mhz = np.minimum(granted.capacity_mhz, built_mhz) * frames.on
        used_mhz = np.maximum(granted.used_mhz, granted.vms_used_mhz)
        for k in _where(used_mhz > capacity_mhz + ROUNDING_MHZ):
            report(
                frames.hosts[k],
                at_s=float(granted.at_s[k]),
                text=f"host {frames.hosts[k]} grants {format_mhz(float(used_mhz[k]))} "
                f"and has {format_mhz(float(capacity_mhz[k]))}",
            )

    def _check_memory(self, frames: Frames, report: Report) -> None:
        built_bytes = self._memory_bytes[frames.row]
        held_bytes, used_bytes = frames.vms_memory_bytes, frames.memory_used_bytes
        for k in _where(held_bytes > built_bytes * frames.on):
            report(
                frames.hosts[k],
                at_s=frames.at_s(k),
                text=f"the VMs on host {frames.hosts[k]} hold {format_size(int(held_bytes[k]))} "
                f"of memory and it has {format_size(int(built_bytes[k] * frames.on[k]))}",
            )
        wrong = (used_bytes != held_bytes) | (frames.memory_bytes != built_bytes)
        for k in _where(wrong):
            report(
                frames.hosts[k],
                at_s=frames.at_s(k),
                text=f"host {frames.hosts[k]} says that {int(used_bytes[k])} of "
                f"{int(frames.memory_bytes[k])} bytes are used; its VMs hold "
                f"{int(held_bytes[k])}, and it was built with {int(built_bytes[k])}",
            )

    def _check_vms(self, granted: Granted, report: Report) -> None:
        frames, used_mhz = granted.frames, granted.vm_used_mhz
        above = used_mhz > granted.vm_most_mhz + ROUNDING_MHZ
        below = used_mhz < granted.vm_least_mhz - ROUNDING_MHZ
        for wrong, bound_mhz, what in (
            (above, granted.vm_most_mhz, "at most"),
            (below, granted.vm_least_mhz, "at least"),
        ):
            for k in _where(wrong):
                vm, host = vm_id(int(frames.vm_number[k])), frames.hosts[frames.vm_host[k]]
                report(
                    vm,
                    host,
                    at_s=float(granted.at_s[frames.vm_host[k]]),
                    text=f"VM {vm} on host {host} is granted {format_mhz(float(used_mhz[k]))}, "
                    f"and is due {what} {format_mhz(float(bound_mhz[k]))}",
                )

    def _check_promises(self, scene: Scene, known: Known, report: Report) -> None:
        promised_bytes = known.host_memory_committed_bytes
        for row in _where(promised_bytes > self._memory_bytes):
            report(
                scene.names[row],
                text=f"the VRM has promised {format_size(int(promised_bytes[row]))} of host "
                f"{scene.names[row]}'s {format_size(int(self._memory_bytes[row]))} of memory",
            )


def _where(holds: Bools) -> list[int]:
    return places(holds).tolist() if some(holds) else []

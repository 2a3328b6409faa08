"""What hosts grant their VMs, gathered from many views that were published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import is_

import numpy as np

from cluster.simulated.invariants.scene import HELD, Scene, Seat
from fusion.arrays import Bools, Floats, Ints, some, sums
from fusion.fleet_view import CODE_OF, STATES, FleetView
from fusion.vm import VmState

#: The code of the state in which a VM may be kept from what it reserved, so that it can migrate.
MIGRATING = CODE_OF[VmState.MIGRATING]

#: By code of state: whether the guest may be booting, which occupies one of its vCPUs.
BOOTS: Bools = np.isin(
    np.arange(len(STATES)),
    [CODE_OF[s] for s in (VmState.STARTING, VmState.REBOOTING, VmState.FAULT_RESUMING)],
)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a view says besides who uses how much, which lasts until its seat is reshaped.

    Columns of hosts ``[H]`` and of their VMs ``[N]``, those of one type together as the rows of one
    array, in the order in which ``Frames`` takes them apart; ``at_s`` is when it was first
    published.
    """

    at_s: float
    view: FleetView
    of_hosts: Ints
    of_vms: Ints
    bounds_mhz: Floats

    @staticmethod
    def of(seat: Seat, scene: Scene) -> Frame:
        view = seat.view
        assert view is not None
        hosts, vms = view.hosts, view.vms
        core_mhz = scene.core_mhz[seat.rows[vms.host_row]]
        floor_mhz = np.where(vms.state == MIGRATING, 0.0, vms.cpu_reservation_mhz)
        held_bytes = np.where(HELD[vms.state], vms.memory_bytes, 0)
        vms_bytes = sums(vms.host_row, held_bytes, len(hosts.names)).astype(np.int64)
        due_bytes = (
            vms_bytes + hosts.memory_expected_bytes
        )  # with what is kept for VMs on their way
        ceiling_mhz = np.minimum(vms.vcpus * core_mhz, vms.cpu_limit_mhz)
        floor_mhz = np.where(BOOTS[vms.state], np.minimum(floor_mhz, core_mhz), floor_mhz)
        return Frame(
            at_s=scene.now_s,
            view=view,
            of_hosts=np.array(
                (seat.rows, hosts.on, hosts.memory_bytes, hosts.memory_used_bytes, due_bytes)
            ),
            of_vms=np.array((vms.number, vms.host_row)),
            bounds_mhz=np.array((ceiling_mhz, floor_mhz)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Several frames side by side.

    ``row`` is a host's in the inventory. A VM is granted no more than ``vm_ceiling_mhz`` whatever
    it wants, and ``vm_floor_mhz`` where it wants so much.
    """

    frames: tuple[Frame, ...]
    hosts: tuple[str, ...]
    row: Ints
    on: Ints  # 1 or 0
    memory_bytes: Ints
    memory_used_bytes: Ints  # by the host's own account
    vms_memory_bytes: Ints
    vm_number: Ints
    vm_host: Ints  # index into the columns of hosts
    vm_ceiling_mhz: Floats
    vm_floor_mhz: Floats

    @staticmethod
    def of(frames: Sequence[Frame]) -> Frames:
        names = [frame.view.hosts.names for frame in frames]
        first = np.cumsum([0, *map(len, names[:-1])])
        number, host = np.concatenate([frame.of_vms for frame in frames], axis=1)
        row, on, memory_bytes, used_bytes, vms_bytes = np.concatenate(
            [frame.of_hosts for frame in frames], axis=1
        )
        ceiling_mhz, floor_mhz = np.concatenate([frame.bounds_mhz for frame in frames], axis=1)
        return Frames(
            frames=tuple(frames),
            hosts=tuple(chain.from_iterable(names)),
            row=row,
            on=on,
            memory_bytes=memory_bytes,
            memory_used_bytes=used_bytes,
            vms_memory_bytes=vms_bytes,
            vm_number=number,
            vm_host=host + np.repeat(first, [frame.of_vms.shape[1] for frame in frames]),
            vm_ceiling_mhz=ceiling_mhz,
            vm_floor_mhz=floor_mhz,
        )

    def are(self, frames: Sequence[Frame]) -> bool:
        return len(frames) == len(self.frames) and all(map(is_, frames, self.frames))

    def at_s(self, host: int) -> float:
        """Return when ``host`` first said that."""
        sizes = np.cumsum([len(frame.view.hosts.names) for frame in self.frames])
        return self.frames[int(np.searchsorted(sizes, host, side="right"))].at_s


@dataclass(slots=True, eq=False)
class Published:
    """Views as they were published, each with its instant and its frame."""

    at_s: list[float] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    views: list[FleetView] = field(default_factory=list)

    def add(self, scene: Scene, frames: Sequence[Frame]) -> None:
        """Take in what is fresh in ``scene``, which has these ``frames``."""
        self.at_s += [scene.now_s] * len(frames)
        self.frames += frames
        self.views += [seat.view for seat in scene.fresh if seat.view is not None]


@dataclass(frozen=True, slots=True)
class Granted:
    """Who uses how much in some views, as columns like those of ``frames``; ``at_s`` by host.

    ``vm_most_mhz`` and ``vm_least_mhz`` are the bounds of what each VM may be granted.
    """

    frames: Frames
    at_s: Floats
    capacity_mhz: Floats
    used_mhz: Floats  # by the host's own account
    vms_used_mhz: Floats
    vm_used_mhz: Floats
    vm_most_mhz: Floats
    vm_least_mhz: Floats


def granted(published: Published, frames: Frames) -> Granted:
    """Return what the hosts of all these views grant; ``frames`` are theirs side by side."""
    hosts = [view.hosts for view in published.views]
    vms = [view.vms for view in published.views]
    used_mhz = np.concatenate([columns.cpu_used_mhz for columns in vms])
    wanted_mhz = np.concatenate([columns.cpu_demand_mhz for columns in vms])
    short = np.concatenate([columns.short_of_reservations for columns in hosts])

    most_mhz = np.minimum(wanted_mhz, frames.vm_ceiling_mhz)
    least_mhz = np.minimum(most_mhz, frames.vm_floor_mhz)
    if some(short):
        least_mhz[short[frames.vm_host]] = 0.0
    return Granted(
        frames=frames,
        at_s=np.repeat(published.at_s, [len(each.names) for each in hosts]),
        capacity_mhz=np.concatenate([columns.cpu_capacity_mhz for columns in hosts]),
        used_mhz=np.concatenate([columns.cpu_used_mhz for columns in hosts]),
        vms_used_mhz=sums(frames.vm_host, used_mhz, len(frames.hosts)),
        vm_used_mhz=used_mhz,
        vm_most_mhz=most_mhz,
        vm_least_mhz=least_mhz,
    )

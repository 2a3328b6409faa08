"""What hosts grant their VMs, gathered from all views that were published in one instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cluster.simulated.invariants.scene import HELD, Scene
from fusion.arrays import Bools, Floats, Ints, sums
from fusion.fleet_view import CODE_OF, STATES, FleetView
from fusion.vm import VmState

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: By code of state: whether the guest may be booting, which occupies one of its vCPUs.
BOOTS: Bools = np.isin(
    np.arange(len(STATES)),
    [CODE_OF[s] for s in (VmState.STARTING, VmState.REBOOTING, VmState.FAULT_RESUMING)],
)


@dataclass(frozen=True, slots=True)
class Granted:
    """Columns of hosts ``[H]`` and of their VMs ``[N]``; ``row`` is a host's in the inventory,
    ``at_s`` when it granted that.

    ``vm_most_mhz`` and ``vm_least_mhz`` are the bounds of what each VM may be granted.
    """

    host: tuple[str, ...]
    row: Ints
    at_s: Floats
    on: Bools
    capacity_mhz: Floats
    used_mhz: Floats  # by the host's own account
    vms_used_mhz: Floats
    memory_bytes: Ints
    memory_used_bytes: Ints  # by the host's own account
    vms_memory_bytes: Ints
    vm_number: Ints
    vm_host: Ints  # index into the columns of hosts
    vm_used_mhz: Floats
    vm_most_mhz: Floats
    vm_least_mhz: Floats


@dataclass(frozen=True, slots=True)
class Published:
    """A view as it was published at an instant, of hosts at these rows of the inventory."""

    at_s: float
    rows: Ints
    view: FleetView


def gathered(published: Sequence[Published], scene: Scene) -> Granted:
    """Return what the hosts of all these views grant."""
    views = [each.view for each in published]

    def column(of: Callable[[FleetView], NDArray[_Scalar]]) -> NDArray[_Scalar]:
        return np.concatenate([of(view) for view in views]) if len(views) > 1 else of(views[0])

    sizes = [len(view.hosts.names) for view in views]
    first = np.repeat(np.cumsum([0, *sizes[:-1]]), [len(view.vms) for view in views])
    vm_host = column(lambda view: view.vms.host_row) + first
    hosts = sum(sizes)
    row = np.concatenate([each.rows for each in published])
    state = column(lambda view: view.vms.state)
    used_mhz = column(lambda view: view.vms.cpu_used_mhz)
    short = column(lambda view: view.hosts.short_of_reservations)

    core_mhz = scene.core_mhz[row[vm_host]]
    all_cores_mhz = column(lambda view: view.vms.vcpus) * core_mhz
    wanted_mhz = np.minimum(column(lambda view: view.vms.cpu_demand_mhz), all_cores_mhz)
    most_mhz = np.minimum(wanted_mhz, column(lambda view: view.vms.cpu_limit_mhz))
    reserved_mhz = np.minimum(most_mhz, column(lambda view: view.vms.cpu_reservation_mhz))
    least_mhz = np.where(BOOTS[state], np.minimum(reserved_mhz, core_mhz), reserved_mhz)
    held_bytes = np.where(HELD[state], column(lambda view: view.vms.memory_bytes), 0)
    return Granted(
        host=tuple(name for view in views for name in view.hosts.names),
        row=row,
        at_s=np.repeat([each.at_s for each in published], sizes),
        on=column(lambda view: view.hosts.on),
        capacity_mhz=column(lambda view: view.hosts.cpu_capacity_mhz),
        used_mhz=column(lambda view: view.hosts.cpu_used_mhz),
        vms_used_mhz=sums(vm_host, used_mhz, hosts),
        memory_bytes=column(lambda view: view.hosts.memory_bytes),
        memory_used_bytes=column(lambda view: view.hosts.memory_used_bytes),
        vms_memory_bytes=sums(vm_host, held_bytes, hosts).astype(np.int64),
        vm_number=column(lambda view: view.vms.number),
        vm_host=vm_host,
        vm_used_mhz=used_mhz,
        vm_most_mhz=most_mhz,
        vm_least_mhz=np.where(short[vm_host], 0.0, least_mhz),
    )

"""What must hold between storage, availability, clients and the rest of a datacenter file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cluster.datacenter_file import storage_schema as shape
from cluster.datacenter_file.mistakes import did_you_mean
from cluster.datacenter_file.plan import HostPlan, Mistakes, VmPlan
from cluster.datacenter_file.schema import DatacenterFile, Heartbeat
from cluster.datacenter_file.storage_expansion import lease_and_renewal_s, named, volumes
from fusion import spec
from fusion.policy.failover_times import (
    LEAST_RENEWALS,
    bears_a_late_heartbeat,
    bears_a_lost_renewal,
    timeout_s,
)
from fusion.units import format_duration, format_size


def check_storage(
    file: DatacenterFile, hosts: Sequence[HostPlan], vms: Sequence[VmPlan], mistakes: Mistakes
) -> None:
    """Add to ``mistakes`` whatever does not hold."""
    _check_detector(file.heartbeat, mistakes)
    _check_lease(file, mistakes)
    _check_arrays(file, hosts, mistakes)
    for plan in vms:
        _check_volumes(plan, file.storage, mistakes)
    _check_thick(file, vms, mistakes)
    _check_clients(file, vms, mistakes)
    _check_spare_hosts(file, hosts, mistakes)


def _check_detector(heartbeat: Heartbeat, mistakes: Mistakes) -> None:
    detector = spec.DetectorSpec(spec.DetectorKind(heartbeat.detector), heartbeat.phi)
    interval_s = heartbeat.interval
    limit_s = timeout_s(detector, interval_s=interval_s, misses=heartbeat.misses)
    if not bears_a_late_heartbeat(
        limit_s, interval_s=interval_s
    ):  # that of misses is a matter of the key alone
        mistakes.add(
            "heartbeat.phi",
            f"{heartbeat.phi:g} makes a timeout of {format_duration(limit_s)}, so late heartbeats "
            "would count as failures; timeout >= 2 * interval must hold, and the interval is "
            f"{format_duration(interval_s)}: write more, for example 8",
        )


def _check_lease(file: DatacenterFile, mistakes: Mistakes) -> None:
    lease_s, renewal_s = lease_and_renewal_s(file)
    if not bears_a_lost_renewal(lease_s=lease_s, renewal_s=renewal_s):
        mistakes.add(
            "storage.lease",
            f"{format_duration(lease_s)} is shorter than three renewals of "
            f"{format_duration(renewal_s)}, so a lost one could end it; lease >= 3 * renewal must "
            f"hold: write at least {format_duration(LEAST_RENEWALS * renewal_s)}, "
            "or a shorter renewal",
        )


def _check_arrays(file: DatacenterFile, hosts: Sequence[HostPlan], mistakes: Mistakes) -> None:
    taken = {name: plan.place for plan in hosts for name in plan.names}
    datastores: dict[str, str] = {}
    for index, entry in enumerate(file.storage.arrays):
        place = f"storage.arrays[{index}]"
        if entry.name in taken:
            mistakes.add(
                f"{place}.name",
                f"{entry.name!r} is a name that {taken[entry.name]} has too; choose another name",
            )
        taken.setdefault(entry.name, place)
        for row, datastore in enumerate(entry.datastores):
            spot = f"{place}.datastores[{row}]"
            first = datastores.setdefault(datastore.name, spot)
            if first != spot:
                mistakes.add(
                    f"{spot}.name",
                    f"{datastore.name!r} is a name that {first} has too; choose another name",
                )


def _check_volumes(plan: VmPlan, storage: shape.Storage, mistakes: Mistakes) -> None:
    capacity = _capacities(storage)
    for index, volume in enumerate(plan.group.volumes or []):
        place = f"{plan.place}.volumes[{index}]"
        datastore = volume.datastore or next(iter(capacity))
        if datastore not in capacity:
            hint = did_you_mean(datastore, list(capacity), "there is")
            mistakes.add(
                f"{place}.datastore", f"{datastore!r} is no datastore of this file; {hint}"
            )
        elif not volume.thin and volume.size > capacity[datastore]:
            mistakes.add(
                f"{place}.size",
                f"{format_size(volume.size)} do not fit on {datastore}, which has "
                f"{format_size(capacity[datastore])}; write less, or thin: true",
            )


def _check_thick(file: DatacenterFile, vms: Sequence[VmPlan], mistakes: Mistakes) -> None:
    """All thick volumes of a datastore take their space at the launch."""
    capacity = _capacities(file.storage)
    reserved: Counter[str] = Counter()
    for plan in vms:
        if any(
            (entry.datastore or "") not in (*capacity, "") for entry in plan.group.volumes or []
        ):
            continue  # said already
        for volume in volumes(plan.group.volumes, file.storage):
            reserved[volume.datastore] += 0 if volume.thin else volume.size_bytes * len(plan.names)
    for name, size_bytes in reserved.items():
        if size_bytes > capacity[name]:
            mistakes.add(
                "vms",
                f"their thick volumes need {format_size(size_bytes)} of {name}, which has "
                f"{format_size(capacity[name])}; make some of them thin, or the datastore larger",
            )


def _check_clients(file: DatacenterFile, vms: Sequence[VmPlan], mistakes: Mistakes) -> None:
    if len(vms) < len(file.vms):
        return  # where a VM group is wrong, its names are not known
    owner: dict[str, str] = {}
    known = [name for plan in vms for name in plan.names]
    for index, entry in enumerate(file.clients):
        place = f"clients[{index}]"
        for row, wanted in enumerate(entry.vms):
            if not any(True for _ in named(entry.model_copy(update={"vms": [wanted]}), vms)):
                hint = did_you_mean(wanted, known, "there is")
                mistakes.add(f"{place}.vms[{row}]", f"{wanted!r} is no VM of this file; {hint}")
        for vm in dict.fromkeys(named(entry, vms)):
            first = owner.setdefault(f"{entry.name}-{vm}", place)
            if first != place:
                mistakes.add(
                    f"{place}.name",
                    f"{entry.name!r} is what the client of {vm} in {first} is called too; "
                    "give one of them another name",
                )
                break


def _check_spare_hosts(file: DatacenterFile, hosts: Sequence[HostPlan], mistakes: Mistakes) -> None:
    if len(hosts) < len(file.hosts):
        return
    for index, cluster in enumerate(file.clusters):
        if not isinstance(cluster.admission, shape.SpareHostsAdmission):
            continue
        place = f"clusters[{index}].admission.hosts"
        members = [name for plan in hosts if plan.cluster == cluster.name for name in plan.names]
        for row, name in enumerate(cluster.admission.hosts):
            if name not in members:
                hint = did_you_mean(name, members, "there is")
                mistakes.add(
                    f"{place}[{row}]", f"{name!r} is no host of the cluster {cluster.name}; {hint}"
                )
        if members and set(members) <= set(cluster.admission.hosts):
            mistakes.add(place, "all hosts of the cluster are spare; leave some to run VMs on")


def _capacities(storage: shape.Storage) -> dict[str, int]:
    return {
        datastore.name: datastore.capacity
        for entry in storage.arrays
        for datastore in entry.datastores
    }

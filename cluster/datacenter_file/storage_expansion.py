"""From what a datacenter file says of storage, availability and clients to facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cluster.datacenter_file import schema
from cluster.datacenter_file import storage_schema as shape
from cluster.datacenter_file.plan import VmPlan
from fusion import spec

#: Renewals are that many heartbeats apart, and a lease spans that many renewals, unless told
#: otherwise: an array hears a third as much as the VRM, and one lost renewal ends no lease.
HEARTBEATS_PER_RENEWAL = 3
RENEWALS_PER_LEASE = 3

#: In place of names: every VM of the file.
ALL = "all"


def lease_and_renewal_s(file: schema.DatacenterFile) -> tuple[float, float]:
    """Return how long leases last and how often they are renewed; each follows from the other."""
    lease_s, renewal_s = file.storage.lease, file.storage.renewal
    if renewal_s is None:
        renewal_s = (
            HEARTBEATS_PER_RENEWAL * file.heartbeat.interval
            if lease_s is None
            else lease_s / RENEWALS_PER_LEASE
        )
    if lease_s is None:
        lease_s = RENEWALS_PER_LEASE * renewal_s
    return lease_s, renewal_s


def array(entry: shape.Array) -> spec.ArraySpec:
    return spec.ArraySpec(
        name=entry.name,
        datastores=tuple(
            spec.DatastoreSpec(datastore.name, datastore.capacity) for datastore in entry.datastores
        ),
        iops=entry.iops,
        service_s=entry.service_time,
    )


def array_of(storage: shape.Storage) -> dict[str, str]:
    """Return the array of every datastore."""
    return {
        datastore.name: entry.name for entry in storage.arrays for datastore in entry.datastores
    }


def volumes(
    entries: Sequence[shape.Volume] | None, storage: shape.Storage
) -> tuple[spec.VolumeSpec, ...]:
    """Return the volumes of a VM: what its group says, or a thin one on the first datastore."""
    arrays = array_of(storage)
    first = next(iter(arrays))
    if entries is None:
        entries = [shape.Volume(size=shape.DEFAULT_VOLUME_BYTES)]
    return tuple(
        spec.VolumeSpec(
            datastore=entry.datastore or first,
            array=arrays[entry.datastore or first],
            size_bytes=entry.size,
            thin=entry.thin,
        )
        for entry in entries
    )


def admission(
    entry: shape.SlotAdmission | shape.PercentageAdmission | shape.SpareHostsAdmission | None,
) -> spec.Admission:
    match entry:
        case None:
            return spec.Admission()
        case shape.SlotAdmission():
            return spec.Admission(spec.AdmissionKind.SLOTS, tolerated_hosts=entry.tolerated_hosts)
        case shape.PercentageAdmission():
            return spec.Admission(
                spec.AdmissionKind.PERCENTAGE,
                cpu_percent=entry.cpu,
                memory_percent=entry.memory,
            )
        case shape.SpareHostsAdmission():
            return spec.Admission(
                spec.AdmissionKind.SPARE_HOSTS, spare_hosts=tuple(dict.fromkeys(entry.hosts))
            )


def clients(entries: Sequence[shape.Client], vms: Sequence[VmPlan]) -> tuple[spec.ClientSpec, ...]:
    """Return a client for every VM that an entry names."""
    return tuple(
        spec.ClientSpec(
            name=f"{entry.name}-{vm}",
            vm=vm,
            every_s=entry.every,
            time_limit_s=entry.time_limit,
            size_bytes=entry.size,
            durability=spec.Durability(entry.durability),
        )
        for entry in entries
        for vm in dict.fromkeys(named(entry, vms))
    )


def named(entry: shape.Client, vms: Sequence[VmPlan]) -> Iterator[str]:
    """Yield the VMs that ``entry`` names: by name, by the pattern of their group, or all."""
    for wanted in entry.vms:
        for plan in vms:
            if wanted in (ALL, plan.group.name):
                yield from plan.names
            elif wanted in plan.names:
                yield wanted

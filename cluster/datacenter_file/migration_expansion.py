"""From what a datacenter file says of guest memory, migration and virtual networks to facts."""

from __future__ import annotations

from cluster.datacenter_file import migration_schema as shape
from cluster.datacenter_file import schema
from fusion import spec
from fusion.memory.profiles import PROFILES
from fusion.memory.spec import GuestMemory, Mix, WriteSet
from fusion.migration.settings import (
    AdaptiveRate,
    Compression,
    MigrationSettings,
    NoConvergence,
)


def memory(file: schema.DatacenterFile, group: schema.VmGroup, memory_bytes: int) -> GuestMemory:
    """Return the memory of a VM of ``group`` with ``memory_bytes``, whose profile there is."""
    name = group.memory_profile
    own = file.memory_profiles.get(name)
    if own is None:
        return PROFILES[name].of(memory_bytes)
    return GuestMemory(
        profile=name,
        zero_share=own.zero,
        mix=mix(own.mix),
        write_sets=tuple(WriteSet(each.set.of(memory_bytes), each.rate) for each in own.writes),
        idle_share=own.idle,
    )


def mix(entry: shape.MemoryMix) -> Mix:
    return Mix(repetitive=entry.repetitive, text=entry.text, code=entry.code, random=entry.random)


def migration(entry: shape.Migration) -> MigrationSettings:
    rate = entry.rate
    return MigrationSettings(
        compression=Compression(entry.compression),
        compression_threads=entry.threads,
        downtime_s=entry.downtime,
        rounds=entry.rounds,
        sent_share=entry.sent_limit,
        no_convergence=NoConvergence(entry.no_convergence),
        skip_hot=entry.skip_hot,
        rate=None if rate is None else AdaptiveRate(rate.floor, rate.step, rate.ceiling),
        per_host=entry.per_host,
        per_cluster=entry.per_cluster or 0,
    )


def vnics(group: schema.VmGroup) -> tuple[spec.Vnic, ...]:
    return tuple(spec.Vnic(nic.network, spec.VnicKind(nic.kind)) for nic in group.nics)

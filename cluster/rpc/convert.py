"""Between the facts of ``fusion.spec`` and the messages that carry them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, get_args

from cluster.rpc.v1 import common_pb2 as pb
from fusion.errors import InvalidInput
from fusion.host import HostState
from fusion.memory.spec import GuestMemory, Mix, WriteSet
from fusion.migration.settings import (
    AdaptiveRate,
    Compression,
    MigrationSettings,
    NoConvergence,
)
from fusion.spec import (
    Bursts,
    Constant,
    CpuQos,
    Dom0,
    HostSpec,
    Nic,
    RestartPriority,
    Sine,
    Step,
    Trace,
    VmSpec,
    Vnic,
    VnicKind,
    VolumeSpec,
    Workload,
)
from fusion.vm import VmState

VM_STATES: dict[VmState, pb.VmState.ValueType] = {
    state: pb.VmState.Value("VM_STATE_" + state.name) for state in VmState
}
VM_STATE_OF: dict[int, VmState] = {number: state for state, number in VM_STATES.items()}

HOST_STATES: dict[HostState, pb.HostState.ValueType] = {
    state: pb.HostState.Value("HOST_STATE_" + state.name) for state in HostState
}
HOST_STATE_OF: dict[int, HostState] = {number: state for state, number in HOST_STATES.items()}

#: VMs of which both forms are kept: the same ones are read again by each host that they start on,
#: by a VRM that comes back, and in each run of a simulation.
VMS_KEPT = 4096

RESTART_PRIORITIES: dict[RestartPriority, pb.RestartPriority.ValueType] = {
    priority: pb.RestartPriority.Value("RESTART_PRIORITY_" + priority.name)
    for priority in RestartPriority
}
RESTART_PRIORITY_OF = {number: priority for priority, number in RESTART_PRIORITIES.items()}

VNIC_KINDS: dict[VnicKind, pb.VnicKind.ValueType] = {
    kind: pb.VnicKind.Value("VNIC_KIND_" + kind.name) for kind in VnicKind
}
VNIC_KIND_OF = {number: kind for kind, number in VNIC_KINDS.items()}

COMPRESSIONS: dict[Compression, pb.Compression.ValueType] = {
    one: pb.Compression.Value("COMPRESSION_" + one.name) for one in Compression
}
COMPRESSION_OF = {number: one for one, number in COMPRESSIONS.items()}

NO_CONVERGENCES: dict[NoConvergence, pb.NoConvergence.ValueType] = {
    one: pb.NoConvergence.Value("NO_CONVERGENCE_" + one.name) for one in NoConvergence
}
NO_CONVERGENCE_OF = {number: one for one, number in NO_CONVERGENCES.items()}

_PlainSetting = Literal[
    "compression_threads",
    "downtime_s",
    "rounds",
    "sent_share",
    "skip_hot",
    "per_host",
    "per_cluster",
]
#: Settings of migrations that are called the same in the message.
_PLAIN: tuple[_PlainSetting, ...] = get_args(_PlainSetting)


def cpu_to_message(cpu: CpuQos) -> pb.CpuQos:
    return pb.CpuQos(
        shares=cpu.shares,
        limit_mhz=0.0 if math.isinf(cpu.limit_mhz) else cpu.limit_mhz,
        reservation_mhz=cpu.reservation_mhz,
    )


def cpu_from_message(message: pb.CpuQos) -> CpuQos:
    return CpuQos(
        shares=message.shares,
        limit_mhz=message.limit_mhz or math.inf,
        reservation_mhz=message.reservation_mhz,
    )


def workload_to_message(workload: Workload) -> pb.Workload:
    match workload:
        case Constant():
            return pb.Workload(constant=pb.Workload.Constant(percent=workload.percent))
        case Sine():
            return pb.Workload(
                sine=pb.Workload.Sine(
                    mean_percent=workload.mean_percent,
                    amplitude_percent=workload.amplitude_percent,
                    period_s=workload.period_s,
                    phase_s=workload.phase_s,
                )
            )
        case Step():
            return pb.Workload(
                step=pb.Workload.Step(
                    from_s=[level[0] for level in workload.levels],
                    percent=[level[1] for level in workload.levels],
                )
            )
        case Bursts():
            return pb.Workload(
                bursts=pb.Workload.Bursts(
                    base_percent=workload.base_percent,
                    peak_percent=workload.peak_percent,
                    mean_gap_s=workload.mean_gap_s,
                    mean_burst_s=workload.mean_burst_s,
                )
            )
        case Trace():
            return pb.Workload(
                trace=pb.Workload.Trace(
                    percents=workload.percents,
                    interval_s=workload.interval_s,
                    source=workload.source,
                )
            )


def workload_from_message(message: pb.Workload) -> Workload:
    match message.WhichOneof("kind"):
        case "constant":
            return Constant(message.constant.percent)
        case "sine":
            sine = message.sine
            return Sine(sine.mean_percent, sine.amplitude_percent, sine.period_s, sine.phase_s)
        case "step":
            return Step(tuple(zip(message.step.from_s, message.step.percent, strict=True)))
        case "bursts":
            bursts = message.bursts
            return Bursts(
                bursts.base_percent, bursts.peak_percent, bursts.mean_gap_s, bursts.mean_burst_s
            )
        case "trace":
            return Trace(message.trace.percents, message.trace.interval_s, message.trace.source)
        case _:
            raise InvalidInput("workload: no kind; give one of constant, sine, step, bursts, trace")


@lru_cache(VMS_KEPT)
def vm_to_message(spec: VmSpec) -> pb.VmSpec:
    """Return the message, not to be changed, for ``spec``."""
    return pb.VmSpec(
        name=spec.name,
        cluster=spec.cluster,
        vcpus=spec.vcpus,
        vcpu_mhz=spec.vcpu_mhz,
        memory_bytes=spec.memory_bytes,
        cpu=cpu_to_message(spec.cpu),
        workload=workload_to_message(spec.workload),
        boot_s=spec.boot_s,
        shutdown_s=spec.shutdown_s,
        volumes=[
            pb.Volume(
                datastore=volume.datastore,
                size_bytes=volume.size_bytes,
                thin=volume.thin,
                array=volume.array,
            )
            for volume in spec.volumes
        ],
        ha=spec.ha,
        restart_priority=RESTART_PRIORITIES[spec.restart_priority],
        memory=memory_to_message(spec.memory),
        vnics=[pb.Vnic(network=one.network, kind=VNIC_KINDS[one.kind]) for one in spec.vnics],
        gpu=spec.gpu,
        pinned_to=spec.pinned_to,
    )


def vm_from_message(message: pb.VmSpec) -> VmSpec:
    return vm_from_bytes(message.SerializeToString())


@lru_cache(VMS_KEPT)
def vm_from_bytes(written: bytes) -> VmSpec:
    message = pb.VmSpec.FromString(written)
    return VmSpec(
        name=message.name,
        cluster=message.cluster,
        vcpus=message.vcpus,
        vcpu_mhz=message.vcpu_mhz,
        memory_bytes=message.memory_bytes,
        cpu=cpu_from_message(message.cpu),
        workload=workload_from_message(message.workload),
        boot_s=message.boot_s,
        shutdown_s=message.shutdown_s,
        volumes=tuple(
            VolumeSpec(volume.datastore, volume.array, volume.size_bytes, volume.thin)
            for volume in message.volumes
        ),
        ha=message.ha,
        restart_priority=RESTART_PRIORITY_OF[message.restart_priority],
        memory=memory_from_message(message.memory) if message.HasField("memory") else GuestMemory(),
        vnics=tuple(Vnic(one.network, VNIC_KIND_OF[one.kind]) for one in message.vnics),
        gpu=message.gpu,
        pinned_to=message.pinned_to,
    )


def memory_to_message(memory: GuestMemory) -> pb.GuestMemory:
    return pb.GuestMemory(
        profile=memory.profile,
        zero_share=memory.zero_share,
        repetitive_share=memory.mix.repetitive,
        text_share=memory.mix.text,
        code_share=memory.mix.code,
        random_share=memory.mix.random,
        write_set_bytes=[one.size_bytes for one in memory.write_sets],
        write_rate_bytes_s=[one.rate_bytes_s for one in memory.write_sets],
        idle_share=memory.idle_share,
    )


def memory_from_message(message: pb.GuestMemory) -> GuestMemory:
    sets = zip(message.write_set_bytes, message.write_rate_bytes_s, strict=True)
    return GuestMemory(
        profile=message.profile,
        zero_share=message.zero_share,
        mix=Mix(
            repetitive=message.repetitive_share,
            text=message.text_share,
            code=message.code_share,
            random=message.random_share,
        ),
        write_sets=tuple(WriteSet(size_bytes, rate_bytes_s) for size_bytes, rate_bytes_s in sets),
        idle_share=message.idle_share,
    )


def migration_to_message(settings: MigrationSettings) -> pb.MigrationSettings:
    message = pb.MigrationSettings(
        compression=COMPRESSIONS[settings.compression],
        compression_threads=settings.compression_threads,
        downtime_s=settings.downtime_s,
        rounds=settings.rounds,
        sent_share=settings.sent_share,
        no_convergence=NO_CONVERGENCES[settings.no_convergence],
        skip_hot=settings.skip_hot,
        per_host=settings.per_host,
        per_cluster=settings.per_cluster,
    )
    if settings.rate is not None:
        message.floor_bps = settings.rate.floor_bps
        message.step_bps = settings.rate.step_bps
        message.ceiling_bps = settings.rate.ceiling_bps
    return message


def migration_from_message(
    message: pb.MigrationSettings, default: MigrationSettings
) -> MigrationSettings:
    """Return what ``message`` says, and of what it does not say the ``default``."""
    given: dict[str, Any] = {
        name: getattr(message, name) for name in _PLAIN if message.HasField(name)
    }
    if message.HasField("floor_bps"):
        given["rate"] = AdaptiveRate(message.floor_bps, message.step_bps, message.ceiling_bps)
    return replace(
        default,
        compression=COMPRESSION_OF.get(message.compression, default.compression),
        no_convergence=NO_CONVERGENCE_OF.get(message.no_convergence, default.no_convergence),
        **given,
    )


def host_to_message(spec: HostSpec) -> pb.HostSpec:
    return pb.HostSpec(
        name=spec.name,
        cluster=spec.cluster,
        rack=spec.rack,
        sockets=spec.sockets,
        cores_per_socket=spec.cores_per_socket,
        core_mhz=spec.core_mhz,
        memory_bytes=spec.memory_bytes,
        dom0_vcpus=spec.dom0.vcpus,
        dom0_memory_bytes=spec.dom0.memory_bytes,
        nics=[pb.HostSpec.Nic(name=nic.name, link_bps=nic.link_bps) for nic in spec.nics],
        cpu_generation=spec.cpu_generation,
        migration_bps=0.0 if math.isinf(spec.migration_bps) else spec.migration_bps,
        networks=spec.networks,
    )


def host_from_message(message: pb.HostSpec) -> HostSpec:
    return HostSpec(
        name=message.name,
        cluster=message.cluster,
        rack=message.rack,
        sockets=message.sockets,
        cores_per_socket=message.cores_per_socket,
        core_mhz=message.core_mhz,
        memory_bytes=message.memory_bytes,
        dom0=Dom0(message.dom0_vcpus, message.dom0_memory_bytes),
        nics=tuple(Nic(nic.name, nic.link_bps) for nic in message.nics),
        cpu_generation=message.cpu_generation,
        migration_bps=message.migration_bps or math.inf,
        networks=tuple(message.networks),
    )

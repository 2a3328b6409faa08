"""From checked groups to the facts of every single host and VM."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cluster.datacenter_file import schema
from cluster.datacenter_file.fault_expansion import fault_plan
from cluster.datacenter_file.migration_expansion import memory, migration, vnics
from cluster.datacenter_file.plan import HostPlan, VmPlan
from cluster.datacenter_file.storage_expansion import (
    admission,
    array,
    clients,
    lease_and_renewal_s,
    volumes,
)
from fusion import spec


def expand(
    file: schema.DatacenterFile, hosts: Sequence[HostPlan], vms: Sequence[VmPlan]
) -> spec.Datacenter:
    """Return the datacenter that ``file`` describes."""
    lease_s, renewal_s = lease_and_renewal_s(file)
    return spec.Datacenter(
        name=file.datacenter,
        clusters=tuple(_cluster(cluster) for cluster in file.clusters),
        hosts=tuple(host for plan in hosts for host in _hosts(plan)),
        vms=tuple(vm for plan in vms for vm in _vms(plan, file)),
        seed=file.seed,
        speed=file.speed,
        tick_s=file.heartbeat.interval if file.tick is None else file.tick,
        heartbeat_interval_s=file.heartbeat.interval,
        heartbeat_misses=file.heartbeat.misses,
        hosts_per_actor=file.hosts_per_actor,
        first_port=file.first_port,
        faults=None if file.faults is None else fault_plan(file.faults),
        detector=spec.DetectorSpec(spec.DetectorKind(file.heartbeat.detector), file.heartbeat.phi),
        arrays=tuple(array(each) for each in file.storage.arrays),
        lease_s=lease_s,
        renewal_s=renewal_s,
        clients=clients(file.clients, vms),
        sample=file.data_plane.sample,
    )


def _cluster(cluster: schema.Cluster) -> spec.ClusterSpec:
    return spec.ClusterSpec(
        name=cluster.name,
        placement=spec.Placement(cluster.placement),
        ha=cluster.ha,
        drs=cluster.drs,
        memory_overcommit=cluster.memory_overcommit,
        cpu_baseline=cluster.cpu_baseline,
        policy=cluster.policy or "",
        admission=admission(cluster.admission),
        isolation_response=spec.IsolationResponse(cluster.isolation_response),
        storage_fault=spec.StorageFault(cluster.storage_fault),
        restarts_per_host=cluster.restarts_per_host,
        migration=migration(cluster.migration),
    )


def _hosts(plan: HostPlan) -> Iterator[spec.HostSpec]:
    group = plan.group
    dom0 = spec.Dom0(vcpus=group.dom0.vcpus, memory_bytes=group.dom0.memory)
    nics = tuple(spec.Nic(name=nic.name, link_bps=nic.link) for nic in group.nics)
    for index, name in enumerate(plan.names):
        yield spec.HostSpec(
            name=name,
            cluster=plan.cluster,
            rack=group.rack,
            sockets=group.sockets,
            cores_per_socket=group.cores,
            core_mhz=group.mhz[index % len(group.mhz)],
            memory_bytes=group.memory,
            dom0=dom0,
            nics=nics,
            cpu_generation=group.cpu_generation,
            power_watts=group.power[index % len(group.power)] if group.power else (),
            migration_bps=group.migration_network,
            networks=tuple(group.networks or ()),
        )


def _vms(plan: VmPlan, file: schema.DatacenterFile) -> Iterator[spec.PlannedVm]:
    group = plan.group
    disks = volumes(group.volumes, file.storage)
    loads = _workloads(plan)
    memories = {size.memory: memory(file, group, size.memory) for _, size in plan.sizes}
    cards = vnics(group)
    called = name_of_group(plan.names)
    for index, name in enumerate(plan.names):
        size = plan.size_of(index)
        vm = spec.VmSpec(
            name=name,
            cluster=plan.cluster,
            vcpus=size.vcpus,
            vcpu_mhz=size.mhz,
            memory_bytes=size.memory,
            cpu=_cpu(group.cpu, size.vcpus),
            workload=loads[index % len(loads)],
            boot_s=group.boot,
            shutdown_s=group.shutdown,
            volumes=disks,
            ha=group.ha,
            restart_priority=spec.RestartPriority(group.restart_priority),
            memory=memories[size.memory],
            vnics=cards,
            gpu=group.gpu or "",
            pinned_to=group.pinned_to or "",
        )
        yield spec.PlannedVm(spec=vm, group=called, start=group.start)


def name_of_group(names: Sequence[str]) -> str:
    """Return what a group is called in tasks and events: its VM's name, or the first and last."""
    return names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}"


def _cpu(cpu: schema.CpuQos, vcpus: int) -> spec.CpuQos:
    return spec.CpuQos(
        shares=spec.SHARES_PER_VCPU * vcpus if cpu.shares is None else cpu.shares,
        limit_mhz=math.inf if cpu.limit is None else cpu.limit,
        reservation_mhz=cpu.reservation,
    )


def _workloads(plan: VmPlan) -> Sequence[spec.Workload]:
    """Return one workload for all VMs of the group, or one for each."""
    match plan.group.workload:
        case schema.ConstantLoad() as load:
            return [spec.Constant(load.percent)]
        case schema.SineLoad() as load:
            count = len(plan.names)
            spread = [load.period * index / count for index in range(count)]
            phases = spread if load.phase == "spread" else [load.phase]
            return [spec.Sine(load.mean, load.amplitude, load.period, phase) for phase in phases]
        case schema.StepLoad() as load:
            return [spec.Step(tuple((level.at, level.percent) for level in load.levels))]
        case schema.BurstsLoad() as load:
            return [spec.Bursts(load.base, load.peak, load.mean_gap, load.mean_burst)]
        case schema.TraceLoad() | schema.TracesLoad():
            return plan.traces

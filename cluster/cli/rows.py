"""What ``--json`` prints: the VRM's messages as plain rows. Units are in the names."""

from __future__ import annotations

from typing import Any

from cluster.rpc.convert import HOST_STATE_OF, VM_STATE_OF, VNIC_KIND_OF
from cluster.rpc.v1 import agent_pb2 as agent
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm

Row = dict[str, Any]

#: Task states that last.
ENDED = frozenset({"succeeded", "failed", "cancelled"})


def status_row(status: vrm.Status) -> Row:
    return {
        "datacenter": status.datacenter,
        "world": status.world,
        "now_s": status.now_s,
        "speed": status.speed,
        "vrm": {
            "address": status.vrm_address,
            "pid": status.vrm_pid,
            "metrics_url": status.vrm_metrics_url,
            "generation": status.vrm_generation,
        },
        "clusters": [cluster_row(cluster) for cluster in status.clusters],
        "hosts": [host_row(host) for host in status.hosts],
        "vms": [vm_row(vm) for vm in status.vms],
    }


def cluster_row(cluster: vrm.Cluster) -> Row:
    return {
        "name": cluster.name,
        "placement": cluster.placement,
        "ha": cluster.ha,
        "drs": cluster.drs,
        "memory_overcommit": cluster.memory_overcommit,
        "cpu_baseline": cluster.cpu_baseline or None,
        "hosts": cluster.hosts,
        "hosts_normal": cluster.hosts_normal,
        "vms": cluster.vms,
        "vms_running": cluster.vms_running,
        "cpu_capacity_mhz": cluster.cpu_capacity_mhz,
        "cpu_used_mhz": cluster.cpu_used_mhz,
        "memory_bytes": cluster.memory_bytes,
        "memory_used_bytes": cluster.memory_used_bytes,
    }


def host_row(host: vrm.Host) -> Row:
    return {
        "name": host.spec.name,
        "state": host_state(host),
        "pid": host.pid or None,
        "address": host.address or None,
        "metrics_url": host.metrics_url or None,
        "cluster": host.spec.cluster,
        "rack": host.spec.rack,
        "incarnation": host.incarnation,
        "cpu_capacity_mhz": host.cpu_capacity_mhz,
        "cpu_demand_mhz": host.cpu_demand_mhz,
        "cpu_used_mhz": host.cpu_used_mhz,
        "memory_bytes": host.memory_bytes,
        "memory_used_bytes": host.memory_used_bytes,
        "vms": host.vms,
        "last_report_s": host.last_report_s if host.last_report_s >= 0 else None,
    }


def host_details(host: vrm.Host, vms: list[vrm.Vm]) -> Row:
    """The row of a host, how it is built, and the rows of the VMs on it."""
    spec = host.spec
    return {
        **host_row(host),
        "sockets": spec.sockets,
        "cores_per_socket": spec.cores_per_socket,
        "core_mhz": spec.core_mhz,
        "installed_memory_bytes": spec.memory_bytes,
        "dom0": {"vcpus": spec.dom0_vcpus, "memory_bytes": spec.dom0_memory_bytes},
        "nics": [{"name": nic.name, "link_bps": nic.link_bps} for nic in spec.nics],
        "cpu_generation": spec.cpu_generation or None,
        "migration_bps": spec.migration_bps or None,
        "networks": list(spec.networks) or None,
        "guests": [vm_row(vm) for vm in vms],
    }


def vm_row(vm: vrm.Vm) -> Row:
    return {
        "id": vm.id,
        "name": vm.spec.name,
        "state": vm_state(vm),
        "cluster": vm.spec.cluster,
        "host": vm.host or None,
        "vcpus": vm.spec.vcpus,
        "memory_bytes": vm.spec.memory_bytes,
        "cpu_demand_mhz": vm.cpu_demand_mhz,
        "cpu_used_mhz": vm.cpu_used_mhz,
        "cpu_ready_s": vm.cpu_ready_s,
        "group": vm.group or None,
    }


def vm_details(vm: vrm.Vm) -> Row:
    """The row of a VM and how it is configured."""
    spec = vm.spec
    return {
        **vm_row(vm),
        "vcpu_mhz": spec.vcpu_mhz,
        "cpu_shares": spec.cpu.shares,
        "cpu_limit_mhz": spec.cpu.limit_mhz or None,
        "cpu_reservation_mhz": spec.cpu.reservation_mhz,
        "workload": workload_row(spec.workload),
        "boot_s": spec.boot_s,
        "shutdown_s": spec.shutdown_s,
        "memory_profile": spec.memory.profile or None,
        "nics": nics_rows(spec),
        "gpu": spec.gpu or None,
        "pinned_to": spec.pinned_to or None,
    }


def nics_rows(spec: common.VmSpec) -> list[Row]:
    return [{"network": nic.network, "kind": VNIC_KIND_OF[nic.kind].value} for nic in spec.vnics]


def workload_row(workload: common.Workload) -> Row:
    """The kind of a workload and its figures; of a trace where it came from, not its samples."""
    kind = workload.WhichOneof("kind") or "none"
    row: Row = {"kind": kind}
    match kind:
        case "constant":
            row["percent"] = workload.constant.percent
        case "sine":
            sine = workload.sine
            row |= {
                "mean_percent": sine.mean_percent,
                "amplitude_percent": sine.amplitude_percent,
                "period_s": sine.period_s,
                "phase_s": sine.phase_s,
            }
        case "step":
            step = workload.step
            row["levels"] = [
                {"from_s": at, "percent": percent}
                for at, percent in zip(step.from_s, step.percent, strict=True)
            ]
        case "bursts":
            bursts = workload.bursts
            row |= {
                "base_percent": bursts.base_percent,
                "peak_percent": bursts.peak_percent,
                "mean_gap_s": bursts.mean_gap_s,
                "mean_burst_s": bursts.mean_burst_s,
            }
        case "trace":
            trace = workload.trace
            row |= {
                "source": trace.source or None,
                "interval_s": trace.interval_s,
                "samples": len(trace.percents),
            }
    return row


def task_row(task: vrm.Task) -> Row:
    row = {
        "id": task.id,
        "kind": task.kind,
        "entity": task.entity,
        "entity_name": task.entity_name or task.entity,
        "status": task_status(task),
        "progress_percent": task.progress_percent,
        "reason": task.reason or None,
        "started_s": task.started_s,
        "ended_s": task.ended_s if task.ended_s >= 0 else None,
        "cancellable": task.cancellable,
    }
    if task.HasField("migration"):
        row["migration"] = progress_row(task.migration)
    return row


def progress_row(progress: agent.MigrationProgress) -> Row:
    """How far a migration has come; sizes are raw, but for what crossed the network."""
    phase = agent.MigrationPhase.Name(progress.phase).removeprefix("MIGRATION_PHASE_")
    return {
        "phase": phase.lower().replace("_", "-"),
        "round": progress.round,
        "raw_bytes": progress.raw_bytes,
        "wire_bytes": progress.wire_bytes,
        "remaining_bytes": progress.remaining_bytes,
        "rate_bytes_s": progress.rate_bytes_s,
        "dirty_bytes_s": progress.dirty_bytes_s,
        "throttle_share": progress.throttle_share,
        "elapsed_s": progress.elapsed_s,
        "left_s": progress.left_s if progress.left_s >= 0 else None,
        "downtime_s": progress.downtime_s,
        "zero_pages": progress.zero_pages,
        "checked_pages": progress.checked_pages,
    }


def event_row(event: vrm.Event) -> Row:
    return {
        "number": event.number,
        "time_s": event.time_s,
        "severity": event_severity(event),
        "kind": event.kind,
        "message": event.message,
        "cluster": event.cluster or None,
        "host": event.host or None,
        "vm": event.vm or None,
        "task": event.task or None,
    }


def host_state(host: vrm.Host) -> str:
    state = HOST_STATE_OF.get(host.state)
    return state.value if state else "unknown"


def vm_state(vm: vrm.Vm) -> str:
    state = VM_STATE_OF.get(vm.state)
    return state.value if state else "unknown"


def task_status(task: vrm.Task) -> str:
    return vrm.TaskStatus.Name(task.status).removeprefix("TASK_STATUS_").lower()


def event_severity(event: vrm.Event) -> str:
    return vrm.Severity.Name(event.severity).removeprefix("SEVERITY_").lower()

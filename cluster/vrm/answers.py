"""The inventory, tasks and events as messages to operators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cluster.rpc.convert import HOST_STATES, VM_STATES
from cluster.rpc.v1 import registry_pb2, storage_pb2, vrm_pb2
from cluster.vrm.events import Event, Severity
from cluster.vrm.failovers import Failover
from cluster.vrm.inventory import Inventory, cluster_message
from cluster.vrm.migration_orders import Plan
from cluster.vrm.migrations import Migration
from cluster.vrm.records import Host, Vm
from cluster.vrm.tasks import Task, TaskStatus
from fusion.host import HostState
from fusion.spec import ArraySpec, ClusterSpec
from fusion.vm import VmState, vm_id

_STATUS = {status: vrm_pb2.TaskStatus.Value(f"TASK_STATUS_{status.name}") for status in TaskStatus}
_SEVERITY = {severity: vrm_pb2.Severity.Value(f"SEVERITY_{severity.name}") for severity in Severity}


def host_answer(inventory: Inventory, host: Host) -> vrm_pb2.Host:
    figures, usage, row = inventory.host_figures, inventory.usage.hosts, host.row
    return vrm_pb2.Host(
        spec=host.message,
        state=HOST_STATES[host.state],
        incarnation=host.incarnation,
        address=host.address,
        metrics_url=host.metrics_url,
        pid=host.pid,
        cpu_capacity_mhz=figures.cpu_mhz[row],
        cpu_demand_mhz=usage.cpu_demand_mhz[row],
        cpu_used_mhz=usage.cpu_used_mhz[row],
        memory_bytes=int(figures.memory_bytes[row]),
        memory_used_bytes=int(usage.memory_used_bytes[row]),
        vms=int(figures.vms[row]),
        last_report_s=figures.last_report_s[row],
        storage_less=host.storage_less,
    )


def vm_answer(inventory: Inventory, vm: Vm) -> vrm_pb2.Vm:
    usage = inventory.usage.vms
    return vrm_pb2.Vm(
        id=vm.id,
        spec=vm.message,
        state=VM_STATES[vm.state],
        host=vm.host.name if vm.host is not None else "",
        cpu_demand_mhz=usage.cpu_demand_mhz[vm.number],
        cpu_used_mhz=usage.cpu_used_mhz[vm.number],
        cpu_ready_s=usage.cpu_ready_s[vm.number],
        group=vm.group,
        epoch=vm.epoch,
        held=vm.held if vm.state is VmState.PAUSED else registry_pb2.HOLD_CAUSE_UNSPECIFIED,
    )


def cluster_answer(inventory: Inventory, cluster: ClusterSpec) -> vrm_pb2.Cluster:
    figures, usage = inventory.host_figures, inventory.usage.hosts
    rows = [host.row for host in inventory.hosts_of(cluster.name)]
    vms = [vm for vm in inventory.vms.values() if vm.spec.cluster == cluster.name]

    def total(column: NDArray[np.float64] | NDArray[np.int64]) -> float:
        return float(column[rows].sum())

    answer = cluster_message(cluster)
    answer.hosts = len(rows)
    answer.hosts_normal = int((figures.state[rows] == HOST_STATES[HostState.NORMAL]).sum())
    answer.vms = len(vms)
    answer.vms_running = sum(vm.state is VmState.RUNNING for vm in vms)
    answer.cpu_capacity_mhz = total(figures.cpu_mhz)
    answer.cpu_used_mhz = total(usage.cpu_used_mhz)
    answer.memory_bytes = int(figures.memory_bytes[rows].sum())
    answer.memory_used_bytes = int(usage.memory_used_bytes[rows].sum())
    return answer


def task_answer(task: Task) -> vrm_pb2.Task:
    return vrm_pb2.Task(
        id=task.id,
        kind=task.kind,
        entity=task.entity,
        progress_percent=task.progress_percent,
        status=_STATUS[task.status],
        reason=task.reason,
        started_s=task.started_s,
        ended_s=task.ended_s,
        cancellable=task.cancellable,
        entity_name=task.entity_name,
        migration=task.migration,
    )


def failover_answer(failover: Failover) -> vrm_pb2.Failover:
    return vrm_pb2.Failover(
        number=failover.number,
        vm=vm_id(failover.vm_number),
        vm_name=failover.vm_name,
        from_host=failover.from_host,
        to_host=failover.to_host,
        cause=failover.cause,
        last_seen_s=failover.last_seen_s,
        detected_s=failover.detected_s,
        fenced_s=failover.fenced_s,
        queued_s=failover.queued_s,
        placed_s=failover.placed_s,
        started_s=failover.started_s,
        running_s=failover.running_s,
        attempts=failover.attempts,
        outcome=failover.outcome,
    )


def migration_answer(migration: Migration) -> vrm_pb2.MigrationRecord:
    return vrm_pb2.MigrationRecord(
        number=migration.number,
        vm=vm_id(migration.vm_number),
        vm_name=migration.vm_name,
        source=migration.source,
        destination=migration.destination,
        task=migration.task,
        queued_s=migration.queued_s,
        started_s=migration.started_s,
        ended_s=migration.ended_s,
        outcome=migration.outcome,
        settings=migration.settings,
        forecast=migration.forecast,
        progress=migration.progress,
    )


def plan_answer(plan: Plan) -> vrm_pb2.MigrationPlan:
    return vrm_pb2.MigrationPlan(
        vm=plan.vm.id,
        vm_name=plan.vm.name,
        source=plan.vm.host.name if plan.vm.host is not None else "",
        destination=plan.destination.name if plan.destination is not None else "",
        checks=[
            vrm_pb2.MigrationCheck(name=check.name, passed=check.passed, reason=check.reason)
            for check in plan.checks
        ],
        forecast=plan.forecast,
        settings=plan.settings,
    )


def datastore_answers(
    array: ArraySpec, reply: storage_pb2.ListDatastoresReply | None
) -> list[vrm_pb2.Datastore]:
    """Return the datastores of ``array``, of which only the capacity is known without a reply."""
    if reply is None:
        return [
            vrm_pb2.Datastore(name=each.name, array=array.name, capacity_bytes=each.capacity_bytes)
            for each in array.datastores
        ]
    return [
        vrm_pb2.Datastore(
            name=each.name,
            array=array.name,
            reachable=True,
            capacity_bytes=each.capacity_bytes,
            allocated_bytes=each.allocated_bytes,
            provisioned_bytes=each.provisioned_bytes,
            volumes=each.volumes,
        )
        for each in reply.datastores
    ]


def event_answer(event: Event) -> vrm_pb2.Event:
    return vrm_pb2.Event(
        number=event.number,
        time_s=event.time_s,
        severity=_SEVERITY[event.severity],
        kind=event.kind,
        message=event.message,
        cluster=event.cluster,
        host=event.host,
        vm=event.vm,
        task=event.task,
    )

"""The service that operators and their tools call."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

from cluster.clock import Clock
from cluster.rpc import convert
from cluster.rpc.errors import streaming, unary
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc
from cluster.vrm import answers
from cluster.vrm.arrays import Arrays
from cluster.vrm.configuration import Configuration
from cluster.vrm.events import Events
from cluster.vrm.failovers import Failovers
from cluster.vrm.hosts import HostOrder, Hosts, VmsOfHost
from cluster.vrm.inventory import Inventory
from cluster.vrm.lifecycle import Lifecycle
from cluster.vrm.migration_orders import MigrationOrders
from cluster.vrm.migrations import KIND as MIGRATION
from cluster.vrm.migrations import Migrations
from cluster.vrm.records import Host, Vm
from cluster.vrm.tasks import Task, Tasks
from fusion.errors import FusionError, InvalidInput, NotFound

#: After so many VMs a long answer lets heartbeats through.
CHUNK = 250

_POWER = {
    vrm_pb2.POWER_ACTION_ON: HostOrder.POWER_ON,
    vrm_pb2.POWER_ACTION_OFF: HostOrder.POWER_OFF,
    vrm_pb2.POWER_ACTION_REBOOT: HostOrder.REBOOT,
}
_VMS = {
    vrm_pb2.VMS_OF_HOST_REFUSE: VmsOfHost.REFUSE,
    vrm_pb2.VMS_OF_HOST_SHUT_DOWN: VmsOfHost.SHUT_DOWN,
    vrm_pb2.VMS_OF_HOST_MIGRATE: VmsOfHost.MIGRATE,
    vrm_pb2.VMS_OF_HOST_ABANDON: VmsOfHost.ABANDON,
}


class Operator(vrm_pb2_grpc.VrmServicer):
    """Answers operators; ``about`` has the fields of a status that never change."""

    def __init__(
        self,
        *,
        about: vrm_pb2.Status,
        inventory: Inventory,
        tasks: Tasks,
        events: Events,
        lifecycle: Lifecycle,
        configuration: Configuration,
        hosts: Hosts,
        failovers: Failovers,
        migrations: Migrations,
        migration_orders: MigrationOrders,
        arrays: Arrays,
        clock: Clock,
    ) -> None:
        self._about = about
        self._inventory = inventory
        self._tasks = tasks
        self._events = events
        self._lifecycle = lifecycle
        self._configuration = configuration
        self._hosts = hosts
        self._failovers = failovers
        self._migrations = migrations
        self._migration_orders = migration_orders
        self._arrays = arrays
        self._clock = clock

    @unary
    async def GetStatus(self, request: vrm_pb2.GetStatusRequest, context: Any) -> vrm_pb2.Status:
        status = vrm_pb2.Status()
        status.CopyFrom(self._about)
        status.now_s = self._clock.now()
        status.clusters.extend(self._clusters([]))
        status.hosts.extend(
            answers.host_answer(self._inventory, host) for host in self._inventory.hosts
        )
        status.vms.extend(await self._vms(list(self._inventory.vms.values())))
        return status

    @unary
    async def ListClusters(
        self, request: vrm_pb2.ListClustersRequest, context: Any
    ) -> vrm_pb2.ListClustersReply:
        return vrm_pb2.ListClustersReply(clusters=self._clusters(list(request.names)))

    @unary
    async def ListHosts(
        self, request: vrm_pb2.ListHostsQuery, context: Any
    ) -> vrm_pb2.ListHostsAnswer:
        hosts: list[Host] = self._inventory.hosts
        if request.names:
            hosts = [self._inventory.host(name) for name in request.names]
        if request.cluster:
            cluster = self._inventory.cluster(request.cluster).name
            hosts = [host for host in hosts if host.spec.cluster == cluster]
        return vrm_pb2.ListHostsAnswer(
            hosts=[answers.host_answer(self._inventory, host) for host in hosts]
        )

    @unary
    async def ListVms(self, request: vrm_pb2.ListVmsQuery, context: Any) -> vrm_pb2.ListVmsAnswer:
        vms: list[Vm] = list(self._inventory.vms.values())
        if request.vms:
            vms = [self._inventory.vm(name) for name in request.vms]
        if request.cluster:
            cluster = self._inventory.cluster(request.cluster).name
            vms = [vm for vm in vms if vm.spec.cluster == cluster]
        if request.host:
            host = self._inventory.host(request.host)
            vms = [vm for vm in vms if vm.host is host]
        return vrm_pb2.ListVmsAnswer(vms=await self._vms(vms))

    @unary
    async def CreateVm(self, request: vrm_pb2.CreateVmRequest, context: Any) -> vrm_pb2.Task:
        return self._once(
            request.request_id,
            "vm.create",
            request.spec.name,
            lambda: self._lifecycle.create(
                convert.vm_from_message(request.spec), request.start, request.request_id
            ),
        )

    @unary
    async def StartVm(self, request: vrm_pb2.VmOrder, context: Any) -> vrm_pb2.Task:
        return self._order(
            request, "vm.start", lambda vm: self._lifecycle.start(vm, request.request_id)
        )

    @unary
    async def StopVm(self, request: vrm_pb2.VmOrder, context: Any) -> vrm_pb2.Task:
        return self._order(
            request,
            "vm.stop",
            lambda vm: self._lifecycle.stop(vm, request.mode, request.request_id),
        )

    @unary
    async def RebootVm(self, request: vrm_pb2.VmOrder, context: Any) -> vrm_pb2.Task:
        return self._order(
            request,
            "vm.reboot",
            lambda vm: self._lifecycle.reboot(vm, request.mode, request.request_id),
        )

    @unary
    async def PauseVm(self, request: vrm_pb2.VmOrder, context: Any) -> vrm_pb2.Task:
        return self._order(
            request, "vm.pause", lambda vm: self._lifecycle.pause(vm, request.request_id)
        )

    @unary
    async def ResumeVm(self, request: vrm_pb2.VmOrder, context: Any) -> vrm_pb2.Task:
        return self._order(
            request, "vm.resume", lambda vm: self._lifecycle.resume(vm, request.request_id)
        )

    @unary
    async def DeleteVm(self, request: vrm_pb2.VmOrder, context: Any) -> vrm_pb2.Task:
        return self._order(
            request, "vm.delete", lambda vm: self._lifecycle.delete(vm, request.request_id)
        )

    @unary
    async def SetVmCpu(self, request: vrm_pb2.SetVmCpuOrder, context: Any) -> vrm_pb2.Task:
        limit_mhz = (request.limit_mhz or math.inf) if request.HasField("limit_mhz") else None
        return self._once(
            request.request_id,
            "vm.set-cpu",
            request.vm,
            lambda: self._configuration.set_cpu(
                self._inventory.vm(request.vm),
                shares=request.shares if request.HasField("shares") else None,
                limit_mhz=limit_mhz,
                reservation_mhz=(
                    request.reservation_mhz if request.HasField("reservation_mhz") else None
                ),
                request_id=request.request_id,
            ),
        )

    @unary
    async def PowerHost(self, request: vrm_pb2.PowerHostOrder, context: Any) -> vrm_pb2.Task:
        return self._host_order(request, _POWER[request.action])

    @unary
    async def EnterMaintenance(
        self, request: vrm_pb2.MaintenanceOrder, context: Any
    ) -> vrm_pb2.Task:
        return self._host_order(request, HostOrder.ENTER_MAINTENANCE)

    @unary
    async def LeaveMaintenance(
        self, request: vrm_pb2.MaintenanceOrder, context: Any
    ) -> vrm_pb2.Task:
        return self._host_order(request, HostOrder.EXIT_MAINTENANCE, bring_back=request.bring_back)

    @unary
    async def MigrateVm(self, request: vrm_pb2.MigrateVmOrder, context: Any) -> vrm_pb2.Task:
        return self._once(
            request.request_id,
            MIGRATION,
            request.vm,
            lambda: self._migration_orders.migrate(
                *self._vm_and_host(request), request.settings, request.request_id
            ),
        )

    @unary
    async def PlanMigration(
        self, request: vrm_pb2.MigrateVmOrder, context: Any
    ) -> vrm_pb2.MigrationPlan:
        plan = self._migration_orders.plan(*self._vm_and_host(request), request.settings)
        return answers.plan_answer(plan)

    def _vm_and_host(self, request: vrm_pb2.MigrateVmOrder) -> tuple[Vm, Host | None]:
        vm = self._inventory.vm(request.vm)
        return vm, self._inventory.host(request.host) if request.host else None

    @unary
    async def ListMigrations(
        self, request: vrm_pb2.ListMigrationsQuery, context: Any
    ) -> vrm_pb2.ListMigrationsAnswer:
        number = self._inventory.vm(request.vm).number if request.vm else 0
        return vrm_pb2.ListMigrationsAnswer(
            migrations=[
                answers.migration_answer(migration)
                for migration in self._migrations.all()
                if migration.number > request.after and number in (0, migration.vm_number)
            ]
        )

    @unary
    async def Locate(self, request: vrm_pb2.LocateRequest, context: Any) -> vrm_pb2.LocateReply:
        reply = vrm_pb2.LocateReply()
        for name in request.vms:
            vm = self._inventory.known_vm(name)  # asked often, and of VMs that are gone
            reply.vm_number.append(vm.number if vm is not None else 0)
            reply.host.append(vm.host.name if vm is not None and vm.host is not None else "")
            reply.epoch.append(vm.epoch if vm is not None else 0)
        return reply

    @unary
    async def ListFailovers(
        self, request: vrm_pb2.ListFailoversQuery, context: Any
    ) -> vrm_pb2.ListFailoversAnswer:
        number = self._inventory.vm(request.vm).number if request.vm else 0
        return vrm_pb2.ListFailoversAnswer(
            failovers=[
                answers.failover_answer(failover)
                for failover in self._failovers.all()
                if failover.number > request.after and number in (0, failover.vm_number)
            ]
        )

    @unary
    async def ListDatastores(
        self, request: vrm_pb2.ListDatastoresQuery, context: Any
    ) -> vrm_pb2.ListDatastoresAnswer:
        for name in request.names:
            if name not in self._arrays.array_of:
                known = ", ".join(self._arrays.array_of) or "none"
                raise NotFound(f"there is no datastore {name!r}; there are: {known}")
        wanted = request.names or list(self._arrays.array_of)
        arrays = list(dict.fromkeys(self._arrays.array_of[name] for name in wanted))
        found = await asyncio.gather(*(self._datastores(array) for array in arrays))
        return vrm_pb2.ListDatastoresAnswer(
            datastores=[each for some in found for each in some if each.name in wanted]
        )

    async def _datastores(self, array: str) -> list[vrm_pb2.Datastore]:
        spec = self._arrays.specs[array]
        try:
            return answers.datastore_answers(spec, await self._arrays.datastores(array))
        except FusionError:
            return answers.datastore_answers(spec, None)

    @unary
    async def ListTasks(
        self, request: vrm_pb2.ListTasksQuery, context: Any
    ) -> vrm_pb2.ListTasksAnswer:
        tasks = self._tasks.all()
        if request.ids:
            tasks = [self._tasks.find(identity) for identity in request.ids]
        return vrm_pb2.ListTasksAnswer(tasks=[answers.task_answer(task) for task in tasks])

    @streaming
    async def WatchTask(
        self, request: vrm_pb2.WatchTaskRequest, context: Any
    ) -> AsyncIterator[vrm_pb2.Task]:
        async for task in self._tasks.watch(self._tasks.find(request.id)):
            yield answers.task_answer(task)

    @unary
    async def CancelTask(self, request: vrm_pb2.CancelTaskRequest, context: Any) -> vrm_pb2.Task:
        task = self._tasks.find(request.id)
        if task.kind in list(HostOrder):
            self._hosts.cancel(task)
        else:
            await self._migration_orders.cancel(task)
        return answers.task_answer(task)

    @streaming
    async def WatchEvents(
        self, request: vrm_pb2.WatchEventsRequest, context: Any
    ) -> AsyncIterator[vrm_pb2.Event]:
        async for event in self._events.watch(request.after, request.last, request.follow):
            yield answers.event_answer(event)

    def _order(
        self, request: vrm_pb2.VmOrder, kind: str, give: Callable[[Vm], Task]
    ) -> vrm_pb2.Task:
        return self._once(
            request.request_id, kind, request.vm, lambda: give(self._inventory.vm(request.vm))
        )

    def _host_order(
        self,
        request: vrm_pb2.PowerHostOrder | vrm_pb2.MaintenanceOrder,
        order: HostOrder,
        *,
        bring_back: bool = False,
    ) -> vrm_pb2.Task:
        return self._once(
            request.request_id,
            order,
            request.host,
            lambda: self._hosts.order(
                self._inventory.host(request.host),
                order,
                _VMS[request.vms],
                request.request_id,
                bring_back=bring_back,
            ),
        )

    def _once(
        self, request_id: str, kind: str, name: str, give: Callable[[], Task]
    ) -> vrm_pb2.Task:
        """Return the task that this request started before, or else starts now.

        Raises ``InvalidInput`` where it was another request: its task would say that this one is
        done as well.
        """
        task = self._tasks.of_request(request_id)
        if task is not None and (task.kind != kind or name not in (task.entity, task.entity_name)):
            raise InvalidInput(
                f"request_id: {request_id!r} was that of task {task.id} ({task.kind} of "
                f"{task.entity_name}); give each order an id of its own"
            )
        return answers.task_answer(task or give())

    def _clusters(self, names: list[str]) -> list[vrm_pb2.Cluster]:
        wanted = names or list(self._inventory.clusters)
        return [
            answers.cluster_answer(self._inventory, self._inventory.cluster(name))
            for name in wanted
        ]

    async def _vms(self, vms: list[Vm]) -> list[vrm_pb2.Vm]:
        found: list[vrm_pb2.Vm] = []
        for first in range(0, len(vms), CHUNK):
            if first:
                await self._clock.sleep(0)
            found += [answers.vm_answer(self._inventory, vm) for vm in vms[first : first + CHUNK]]
        return found

# ruff: noqa: N802 - the methods are named by the protocol
"""A VRM that only talks: what the command line is tested against, over real gRPC on loopback."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from cluster.live import processes
from cluster.live.run_state import RunState
from cluster.rpc.convert import HOST_STATES, VM_STATES, migration_to_message
from cluster.rpc.errors import streaming, unary
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm
from cluster.rpc.v1.vrm_pb2_grpc import VrmServicer, add_VrmServicer_to_server
from fusion.errors import InvalidInput, NotFound, Refused
from fusion.host import HostState
from fusion.migration.settings import MigrationSettings
from fusion.vm import VmAction, VmState, next_state

GIB = 1 << 30
DONE = vrm.TASK_STATUS_SUCCEEDED


def a_host(name: str, used_mhz: float = 9_000.0, cluster: str = "production") -> vrm.Host:
    return vrm.Host(
        spec=common.HostSpec(
            name=name,
            cluster=cluster,
            rack="r1",
            sockets=2,
            cores_per_socket=8,
            core_mhz=2600,
            memory_bytes=128 * GIB,
            dom0_vcpus=2,
            dom0_memory_bytes=3 * GIB,
            nics=[common.HostSpec.Nic(name="eth0", link_bps=1e10)],
        ),
        state=HOST_STATES[HostState.NORMAL],
        incarnation=1,
        address="127.0.0.1:17010",
        metrics_url="http://127.0.0.1:17011/metrics",
        pid=4242,
        cpu_capacity_mhz=36_400,
        cpu_demand_mhz=used_mhz + 500,
        cpu_used_mhz=used_mhz,
        memory_bytes=125 * GIB,
        memory_used_bytes=20 * GIB,
        vms=1,
        last_report_s=41.5,
    )


def a_vm(number: int, name: str, state: VmState, host: str = "") -> vrm.Vm:
    return vrm.Vm(
        id=f"i-{number:08d}",
        spec=common.VmSpec(
            name=name,
            cluster="production",
            vcpus=2,
            vcpu_mhz=2000,
            memory_bytes=4 * GIB,
            cpu=common.CpuQos(shares=2000, limit_mhz=3000),
            workload=common.Workload(constant=common.Workload.Constant(percent=80)),
            boot_s=10,
            shutdown_s=5,
        ),
        state=VM_STATES[state],
        host=host,
        cpu_demand_mhz=3200 if host else 0,
        cpu_used_mhz=3000 if host else 0,
        cpu_ready_s=1.25 if host else 0,
        group="web",
    )


class TalkingVrm(VrmServicer):
    """Two hosts and three VMs; every order succeeds unless ``fail_with`` says why not."""

    def __init__(self) -> None:
        self.hosts = [a_host("cna-01"), a_host("cna-02", used_mhz=0.0)]
        self.vms = [
            a_vm(1, "web-01", VmState.RUNNING, "cna-01"),
            a_vm(2, "web-02", VmState.STOPPED),
            a_vm(3, "web-03", VmState.STOPPED),
        ]
        self.events = [
            vrm.Event(
                number=1,
                time_s=0.5,
                kind="vrm.started",
                message="the VRM serves",
            ),
            vrm.Event(
                number=2,
                time_s=4.0,
                kind="host.disconnected",
                severity=vrm.SEVERITY_WARNING,
                message="host cna-02 [r1] is silent",
                host="cna-02",
            ),
        ]
        self.tasks: dict[str, vrm.Task] = {}
        self.fail_with = ""
        self.refuse_with = ""  # orders to hosts
        self.never_ends = False
        self.watched = False
        self.planned = vrm.MigrateVmOrder()
        self.plan = vrm.MigrationPlan()
        self.migrations: list[vrm.MigrationRecord] = []
        self.orders: list[Any] = []

    @unary
    async def GetStatus(self, request: Any, context: Any) -> vrm.Status:
        return vrm.Status(
            datacenter="demo",
            world="live",
            now_s=42.0,
            speed=1.0,
            vrm_address="127.0.0.1:17000",
            vrm_pid=4000,
            vrm_metrics_url="http://127.0.0.1:17001/metrics",
            vrm_generation=1,
            clusters=self._clusters(),
            hosts=self.hosts,
            vms=self.vms,
        )

    def _clusters(self) -> list[vrm.Cluster]:
        names = sorted({host.spec.cluster for host in self.hosts})
        return [
            vrm.Cluster(
                name=name,
                placement="balance",
                ha=True,
                hosts=len(self.hosts),
                hosts_normal=len(self.hosts),
                vms=len(self.vms),
                vms_running=1,
                cpu_capacity_mhz=72_800,
                cpu_used_mhz=9_000,
                memory_bytes=250 * GIB,
                memory_used_bytes=20 * GIB,
                migration=migration_to_message(MigrationSettings()),
            )
            for name in names
        ]

    @unary
    async def ListClusters(self, request: Any, context: Any) -> vrm.ListClustersReply:
        found = [c for c in self._clusters() if not request.names or c.name in request.names]
        if request.names and not found:
            raise NotFound(f"there is no cluster {request.names[0]}")
        return vrm.ListClustersReply(clusters=found)

    @unary
    async def ListHosts(self, request: Any, context: Any) -> vrm.ListHostsAnswer:
        found = [h for h in self.hosts if not request.names or h.spec.name in request.names]
        if request.names and not found:
            raise NotFound(f"there is no host {request.names[0]}; did you mean cna-01?")
        return vrm.ListHostsAnswer(hosts=found)

    @unary
    async def ListVms(self, request: Any, context: Any) -> vrm.ListVmsAnswer:
        vms = [self._vm(name) for name in request.vms] or self.vms
        return vrm.ListVmsAnswer(vms=[v for v in vms if not request.host or v.host == request.host])

    def _vm(self, name: str) -> vrm.Vm:
        for vm in self.vms:
            if name in (vm.id, vm.spec.name):
                return vm
        raise NotFound(f"there is no VM {name}; did you mean web-01?")

    def _order(self, order: Any, kind: str, action: VmAction) -> vrm.Task:
        self.orders.append(order)
        vm = self._vm(order.vm)
        state = {number: state for state, number in VM_STATES.items()}[vm.state]
        next_state(vm.spec.name, state, action)
        return self._task(kind, vm)

    def _task(self, kind: str, vm: vrm.Vm) -> vrm.Task:
        return self._task_of(kind, vm.id, vm.spec.name)

    def _task_of(self, kind: str, entity: str, entity_name: str) -> vrm.Task:
        task = vrm.Task(
            id=f"t-{len(self.tasks) + 1:06d}",
            kind=kind,
            entity=entity,
            entity_name=entity_name,
            status=vrm.TASK_STATUS_RUNNING,
            started_s=42.0,
            ended_s=-1.0,
            cancellable=True,
        )
        self.tasks[task.id] = task
        return task

    @unary
    async def CreateVm(self, request: Any, context: Any) -> vrm.Task:
        self.orders.append(request)
        if any(vm.spec.name == request.spec.name for vm in self.vms):
            raise InvalidInput(f"there is a VM {request.spec.name} already; choose another name")
        vm = a_vm(len(self.vms) + 1, request.spec.name, VmState.STOPPED)
        vm.spec.CopyFrom(request.spec)
        self.vms.append(vm)
        return self._task("vm.create", vm)

    @unary
    async def StartVm(self, request: Any, context: Any) -> vrm.Task:
        return self._order(request, "vm.start", VmAction.START)

    @unary
    async def StopVm(self, request: Any, context: Any) -> vrm.Task:
        return self._order(request, "vm.stop", VmAction.STOP)

    @unary
    async def RebootVm(self, request: Any, context: Any) -> vrm.Task:
        return self._order(request, "vm.reboot", VmAction.REBOOT)

    @unary
    async def PauseVm(self, request: Any, context: Any) -> vrm.Task:
        return self._order(request, "vm.pause", VmAction.PAUSE)

    @unary
    async def ResumeVm(self, request: Any, context: Any) -> vrm.Task:
        return self._order(request, "vm.resume", VmAction.RESUME)

    @unary
    async def DeleteVm(self, request: Any, context: Any) -> vrm.Task:
        return self._order(request, "vm.delete", VmAction.DELETE)

    @unary
    async def SetVmCpu(self, request: Any, context: Any) -> vrm.Task:
        self.orders.append(request)
        return self._task("vm.set-cpu", self._vm(request.vm))

    @unary
    async def PowerHost(self, request: Any, context: Any) -> vrm.Task:
        off = request.action == vrm.POWER_ACTION_OFF
        state = HostState.POWERED_OFF if off else HostState.NORMAL
        return self._host_order(request, f"host.power-{'off' if off else 'on'}", state)

    @unary
    async def EnterMaintenance(self, request: Any, context: Any) -> vrm.Task:
        return self._host_order(request, "host.enter-maintenance", HostState.MAINTENANCE)

    @unary
    async def LeaveMaintenance(self, request: Any, context: Any) -> vrm.Task:
        return self._host_order(request, "host.exit-maintenance", HostState.NORMAL)

    def _host_order(self, order: Any, kind: str, state: HostState) -> vrm.Task:
        self.orders.append(order)
        if self.refuse_with:
            raise Refused(self.refuse_with)
        for host in self.hosts:
            if host.spec.name == order.host:
                host.state = HOST_STATES[state]
                return self._task_of(kind, order.host, order.host)
        raise NotFound(f"there is no host {order.host}; did you mean cna-01?")

    @unary
    async def MigrateVm(self, request: Any, context: Any) -> vrm.Task:
        self.orders.append(request)
        vm = self._vm(request.vm)
        if vm.state != VM_STATES[VmState.RUNNING]:
            raise Refused(f"VM {vm.spec.name} is not running, so it cannot be migrated")
        return self._task("vm.migrate", vm)

    @unary
    async def PlanMigration(self, request: Any, context: Any) -> vrm.MigrationPlan:
        self._vm(request.vm)
        self.planned = request
        return self.plan

    @unary
    async def ListMigrations(self, request: Any, context: Any) -> vrm.ListMigrationsAnswer:
        wanted = self._vm(request.vm).id if request.vm else ""
        return vrm.ListMigrationsAnswer(
            migrations=[each for each in self.migrations if not wanted or each.vm == wanted]
        )

    async def Locate(self, request: Any, context: Any) -> vrm.LocateReply:
        return vrm.LocateReply()

    async def ListFailovers(self, request: Any, context: Any) -> vrm.ListFailoversAnswer:
        return vrm.ListFailoversAnswer()

    async def ListDatastores(self, request: Any, context: Any) -> vrm.ListDatastoresAnswer:
        return vrm.ListDatastoresAnswer()

    def _known(self, task_id: str) -> vrm.Task:
        if task_id not in self.tasks:
            raise NotFound(f"there is no task {task_id}")
        return self.tasks[task_id]

    @unary
    async def ListTasks(self, request: Any, context: Any) -> vrm.ListTasksAnswer:
        tasks = [self._known(task_id) for task_id in request.ids] or list(self.tasks.values())
        return vrm.ListTasksAnswer(tasks=tasks)

    @streaming
    async def WatchTask(self, request: Any, context: Any) -> AsyncIterator[vrm.Task]:
        task = self._known(request.id)
        self.watched = True
        yield task
        if self.never_ends:
            await asyncio.Event().wait()
        task.progress_percent = 50
        yield task
        task.status = vrm.TASK_STATUS_FAILED if self.fail_with else DONE
        task.reason = self.fail_with
        task.progress_percent = 50 if self.fail_with else 100
        task.ended_s = 44.0
        yield task

    @unary
    async def CancelTask(self, request: Any, context: Any) -> vrm.Task:
        task = self._known(request.id)
        if task.status != vrm.TASK_STATUS_RUNNING:
            raise Refused(f"task {task.id} has ended, so it cannot be cancelled")
        task.status = vrm.TASK_STATUS_CANCELLED
        task.ended_s = 43.0
        return task

    @streaming
    async def WatchEvents(self, request: Any, context: Any) -> AsyncIterator[vrm.Event]:
        events = [event for event in self.events if event.number > request.after]
        for event in events[-request.last :]:
            yield event
        if request.follow:
            await asyncio.Event().wait()


class ServedVrm:
    """A ``TalkingVrm`` on a port of its own, served by a thread of its own."""

    def __init__(self, port: int = 0) -> None:
        self.vrm = TalkingVrm()
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._server: grpc.aio.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ServedVrm:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def stop(self) -> None:
        """Stop serving: the port is free."""
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._server.stop(None), self._loop).result(10)
            self._server = None

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()

    async def _start(self) -> None:
        self._server = grpc.aio.server()
        add_VrmServicer_to_server(self.vrm, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        self._ready.set()


def a_run(name: str, port: int, folder: Path) -> RunState:
    """The record of a datacenter that this very process launched."""
    run = RunState(
        datacenter=name,
        folder=str(folder),
        launcher=processes.identify(os.getpid(), "launcher"),
        phase="up",
        addresses={"vrm": f"127.0.0.1:{port}"},
    )
    run.save()
    return run

"""The operator's connection to a VRM."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc

from cluster.cli.exits import Unreachable
from cluster.live import processes
from cluster.live.network import LiveNetwork
from cluster.live.run_state import NothingRuns, RunState, find
from cluster.parties import VRM
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import common_pb2 as common
from cluster.rpc.v1 import vrm_pb2 as vrm
from cluster.rpc.v1.vrm_pb2_grpc import VrmStub
from fusion.errors import FusionError, InvalidInput, NotFound

#: A VRM that was killed answers again after about 1.5 s.
CONNECT_TIMEOUT_S = 2.0
#: The largest answer, 10,000 VMs, takes well under a second.
CALL_TIMEOUT_S = 10.0
#: How long a stream waits for a VRM that went away.
STREAM_PATIENCE_S = 15.0

Result = TypeVar("Result")


class VrmClient:
    """What operators ask of one VRM; failures come as ``FusionError`` fit for a terminal."""

    def __init__(self, run: RunState, channel: grpc.aio.Channel) -> None:
        self.run = run
        self._channel = channel
        self._stub = VrmStub(channel)

    async def status(self) -> vrm.Status:
        return await self._call(self._stub.GetStatus, vrm.GetStatusRequest())

    async def clusters(self, names: Sequence[str] = ()) -> list[vrm.Cluster]:
        request = vrm.ListClustersRequest(names=names)
        return list((await self._call(self._stub.ListClusters, request)).clusters)

    async def hosts(self, names: Sequence[str] = (), cluster: str = "") -> list[vrm.Host]:
        request = vrm.ListHostsQuery(names=names, cluster=cluster)
        return list((await self._call(self._stub.ListHosts, request)).hosts)

    async def vms(self, vms: Sequence[str] = (), cluster: str = "", host: str = "") -> list[vrm.Vm]:
        request = vrm.ListVmsQuery(vms=vms, cluster=cluster, host=host)
        return list((await self._call(self._stub.ListVms, request)).vms)

    async def tasks(self, ids: Sequence[str] = ()) -> list[vrm.Task]:
        request = vrm.ListTasksQuery(ids=ids)
        return list((await self._call(self._stub.ListTasks, request)).tasks)

    async def failovers(self) -> list[vrm.Failover]:
        request = vrm.ListFailoversQuery()
        return list((await self._call(self._stub.ListFailovers, request)).failovers)

    async def datastores(self) -> list[vrm.Datastore]:
        request = vrm.ListDatastoresQuery()
        return list((await self._call(self._stub.ListDatastores, request)).datastores)

    async def create_vm(self, spec: common.VmSpec, start: bool) -> vrm.Task:
        request = vrm.CreateVmRequest(request_id=_request_id(), spec=spec, start=start)
        return await self._call(self._stub.CreateVm, request)

    async def order_vm(
        self, order: str, vm: str, mode: common.StopMode.ValueType = common.STOP_MODE_SAFE
    ) -> vrm.Task:
        """Give ``order``: start, stop, reboot, pause, resume or delete."""
        method = {
            "start": self._stub.StartVm,
            "stop": self._stub.StopVm,
            "reboot": self._stub.RebootVm,
            "pause": self._stub.PauseVm,
            "resume": self._stub.ResumeVm,
            "delete": self._stub.DeleteVm,
        }[order]
        return await self._call(method, vrm.VmOrder(request_id=_request_id(), vm=vm, mode=mode))

    async def set_vm_cpu(
        self,
        vm: str,
        shares: int | None,
        limit_mhz: float | None,
        reservation_mhz: float | None,
    ) -> vrm.Task:
        """Change what is given; a limit of 0 takes the limit away."""
        order = vrm.SetVmCpuOrder(
            request_id=_request_id(),
            vm=vm,
            shares=shares,
            limit_mhz=limit_mhz,
            reservation_mhz=reservation_mhz,
        )
        return await self._call(self._stub.SetVmCpu, order)

    async def power_host(
        self,
        host: str,
        action: vrm.PowerAction.ValueType,
        vms: vrm.VmsOfHost.ValueType = vrm.VMS_OF_HOST_REFUSE,
    ) -> vrm.Task:
        order = vrm.PowerHostOrder(request_id=_request_id(), host=host, action=action, vms=vms)
        return await self._call(self._stub.PowerHost, order)

    async def enter_maintenance(self, host: str, vms: vrm.VmsOfHost.ValueType) -> vrm.Task:
        order = vrm.MaintenanceOrder(request_id=_request_id(), host=host, vms=vms)
        return await self._call(self._stub.EnterMaintenance, order)

    async def leave_maintenance(self, host: str) -> vrm.Task:
        order = vrm.MaintenanceOrder(request_id=_request_id(), host=host)
        return await self._call(self._stub.LeaveMaintenance, order)

    async def cancel_task(self, task_id: str) -> vrm.Task:
        return await self._call(self._stub.CancelTask, vrm.CancelTaskRequest(id=task_id))

    async def watch_task(self, task_id: str) -> AsyncIterator[vrm.Task]:
        """Yield the task as it is now and at every change, until it has ended."""
        while True:
            try:
                request = vrm.WatchTaskRequest(id=task_id)
                async for task in self._stub.WatchTask(request, wait_for_ready=True):
                    yield task
                return
            except grpc.aio.AioRpcError as failure:
                await self._endure(failure)

    async def events(self, last: int, follow: bool) -> AsyncIterator[vrm.Event]:
        """Yield the ``last`` events (0: all of them), and with ``follow`` those to come."""
        seen = 0
        while True:
            try:
                # After a break the stream goes on where it stopped.
                request = vrm.WatchEventsRequest(
                    after=seen, last=0 if seen else last, follow=follow
                )
                async for event in self._stub.WatchEvents(request, wait_for_ready=True):
                    seen = event.number
                    yield event
                return
            except grpc.aio.AioRpcError as failure:
                await self._endure(failure)

    async def _call(self, method: Callable[..., Awaitable[Result]], request: Any) -> Result:
        """Call; once again if the connection broke: orders carry an id, so none is done twice."""
        try:
            return await method(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is not grpc.StatusCode.UNAVAILABLE:
                raise self._error(failure) from failure
        try:
            await self.wait_until_ready(CONNECT_TIMEOUT_S)
            return await method(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as failure:
            raise self._error(failure) from failure

    async def wait_until_ready(self, patience_s: float) -> None:
        """Return when the VRM answers. Raises ``Unreachable`` after ``patience_s``."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), patience_s)
        except TimeoutError:
            raise self._unreachable() from None

    async def _endure(self, failure: grpc.aio.AioRpcError) -> None:
        """Wait for a VRM whose stream broke; raise what else ended the stream."""
        if failure.code() is not grpc.StatusCode.UNAVAILABLE:
            raise self._error(failure) from failure
        await asyncio.sleep(0.2)
        await self.wait_until_ready(STREAM_PATIENCE_S)

    def _error(self, failure: grpc.aio.AioRpcError) -> FusionError:
        match failure.code():
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
                return self._unreachable()
            case grpc.StatusCode.ALREADY_EXISTS | grpc.StatusCode.OUT_OF_RANGE:
                return InvalidInput(failure.details() or "it exists already")
            case _:
                return error_of(failure)

    def _unreachable(self) -> FusionError:
        name = self.run.datacenter
        if not processes.alive(self.run.launcher):
            return killed(self.run)
        if self.run.phase == "launching":
            return NothingRuns(f"datacenter {name} is still being launched; try again in a moment")
        return Unreachable(
            f"the VRM of {name} at {self.run.vrm_address} does not answer; "
            f"see {self.run.folder}/logs/vrm.jsonl"
        )


def killed(run: RunState) -> NothingRuns:
    """What to say of a datacenter whose launcher is gone and could not clean up."""
    return NothingRuns(
        f"datacenter {run.datacenter} runs no more: its launcher (pid {run.launcher.pid}) "
        f"was killed; clean up with 'fusion down -d {run.datacenter}'"
    )


@asynccontextmanager
async def connect(datacenter: str | None) -> AsyncIterator[VrmClient]:
    """Connect to the VRM of ``datacenter``, or of the only one that runs.

    Raises ``NothingRuns`` where there is none and ``Unreachable`` where it keeps silent.
    """
    run = find(datacenter)
    if not processes.alive(run.launcher):
        raise killed(run)
    address = run.vrm_address
    network = LiveNetwork(lambda _: address)
    try:
        client = VrmClient(run, network.channel(VRM))
        await client.wait_until_ready(CONNECT_TIMEOUT_S)
        yield client
    finally:
        await network.close()


def ask(
    datacenter: str | None, question: Callable[[VrmClient], Coroutine[Any, Any, Result]]
) -> Result:
    """Return the answer to ``question``, asked of the VRM of ``datacenter``."""

    async def session() -> Result:
        async with connect(datacenter) as client:
            return await question(client)

    return asyncio.run(session())


def only(found: Sequence[Result], what: str, name: str) -> Result:
    """Return the one of ``found``. Raises ``NotFound`` where there is none."""
    if not found:
        raise NotFound(f"there is no {what} {name}")
    return found[0]


def _request_id() -> str:
    return uuid.uuid4().hex

"""Watching a launch through the VRM: how many hosts are up, how many VMs run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from cluster.live.power_supply import PowerSupply
from cluster.live.progress import Progress, Step
from cluster.network import Network
from cluster.parties import VRM
from cluster.rpc.v1 import common_pb2, vrm_pb2, vrm_pb2_grpc
from fusion.errors import FusionError
from fusion.spec import Datacenter

Reply = TypeVar("Reply")

_POLL_S = 0.25
_CALL_S = 5.0
_STALL_S = 90.0  # without one more host in so long, something is stuck
_DEPLOYMENT = "vm.deploy"
_ENDED = (
    vrm_pb2.TASK_STATUS_SUCCEEDED,
    vrm_pb2.TASK_STATUS_FAILED,
    vrm_pb2.TASK_STATUS_CANCELLED,
)


class LaunchWatch:
    """Tells the progress of a launch, and fails with the reason when it cannot succeed."""

    def __init__(
        self,
        datacenter: Datacenter,
        network: Network,
        supply: PowerSupply,
        tell: Callable[[Progress], None],
    ) -> None:
        self._datacenter = datacenter
        self._network = network
        self._supply = supply
        self._tell = tell

    async def until_hosts_are_up(self) -> None:
        """Wait until every host is normal. Raises ``FusionError`` saying why one is not."""
        wanted = len(self._datacenter.hosts)
        most = -1
        stalled_at = time.monotonic() + _STALL_S
        while True:
            self._check()
            normal = await self._normal_hosts()
            if normal > most:
                most = normal
                stalled_at = time.monotonic() + _STALL_S
                self._tell(Progress(Step.HOSTS, normal, wanted))
            if normal == wanted:
                return
            if time.monotonic() > stalled_at:
                raise FusionError(await self._who_is_missing())
            await asyncio.sleep(_POLL_S)

    async def until_vms_run(self) -> str:
        """Wait until the VMs that were to start are running, or cannot be; say what is missing."""
        wanted = sum(planned.start for planned in self._datacenter.vms)
        groups = {planned.group for planned in self._datacenter.vms}
        told = -1
        while True:
            self._check()
            deployments = await self._deployments()
            running = await self._running_vms()
            if running != told:
                told = running
                self._tell(Progress(Step.VMS, running, wanted))
            if len(deployments) >= len(groups) and all(t.status in _ENDED for t in deployments):
                failed = [t for t in deployments if t.status != vrm_pb2.TASK_STATUS_SUCCEEDED]
                return "; ".join(f"VMs of {t.entity}: {t.reason}" for t in failed)
            await asyncio.sleep(_POLL_S)

    def _check(self) -> None:
        if self._supply.failures:
            raise FusionError(self._supply.failures[0])
        if self._supply.deaths:
            name = self._supply.deaths[0]
            raise FusionError(f"the process of {name} died during the launch; see its log")

    async def _normal_hosts(self) -> int:
        answer = await self._clusters()
        return sum(cluster.hosts_normal for cluster in answer)

    async def _running_vms(self) -> int:
        answer = await self._clusters()
        return sum(cluster.vms_running for cluster in answer)

    async def _clusters(self) -> list[vrm_pb2.Cluster]:
        reply = await _answered(
            self._stub().ListClusters(vrm_pb2.ListClustersRequest(), timeout=_CALL_S)
        )
        return [] if reply is None else list(reply.clusters)

    async def _deployments(self) -> list[vrm_pb2.Task]:
        if not self._datacenter.vms:
            return []
        reply = await _answered(self._stub().ListTasks(vrm_pb2.ListTasksQuery(), timeout=_CALL_S))
        return [] if reply is None else [t for t in reply.tasks if t.kind == _DEPLOYMENT]

    async def _who_is_missing(self) -> str:
        reply = await _answered(self._stub().ListHosts(vrm_pb2.ListHostsQuery(), timeout=_CALL_S))
        if reply is None:
            return "the VRM does not answer; see its log"
        states = common_pb2.HostState
        missing = [
            f"{host.spec.name} ({states.Name(host.state).removeprefix('HOST_STATE_').lower()})"
            for host in reply.hosts
            if host.state != common_pb2.HOST_STATE_NORMAL
        ]
        some = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
        return f"{len(missing)} of {len(reply.hosts)} hosts do not come up: {some}; see their logs"

    def _stub(self) -> vrm_pb2_grpc.VrmStub:
        return vrm_pb2_grpc.VrmStub(self._network.channel(VRM))


async def _answered(call: Awaitable[Reply]) -> Reply | None:
    """Return the reply, or None where a busy or restarting VRM did not give one now."""
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        if failure.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return None
        raise FusionError(f"the VRM failed: {failure.details()}") from failure

"""An agent that does what a test says: it reports, answers and keeps silent when told to."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc

from cluster.network import Network, Plane
from cluster.role import Endpoint
from cluster.rpc.convert import VM_STATES, host_to_message
from cluster.rpc.figures import to_message
from cluster.rpc.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
    storage_pb2,
    storage_pb2_grpc,
)
from fusion.spec import HostSpec
from fusion.vm import VmState


class Puppet(agent_pb2_grpc.AgentServicer):
    """The agent of one host. Orders wait until ``answering`` is set.

    ``refusal`` is the reason with which it refuses VMs to start, ``failure`` the status with which
    orders fail, and ``dumb`` that with which it says nothing of migrations; ``state`` is what it
    says of a VM after any other order.
    """

    def __init__(
        self, spec: HostSpec, incarnation: int, endpoint: Endpoint, network: Network
    ) -> None:
        self.spec = spec
        self.incarnation = incarnation
        self._endpoint = endpoint
        self._network = network
        self._registry = registry_pb2_grpc.RegistryStub(network.channel("vrm"))
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusal = ""
        self.failure: grpc.StatusCode | None = None
        self.dumb: grpc.StatusCode | None = None
        self.state = VmState.RUNNING
        self.demand_mhz = 100.0  # what it says that its VMs want
        self.orders: list[Any] = []
        #: What it has to say of migrations of which it is the source, by their identity.
        self.progress: dict[str, list[agent_pb2.MigrationProgress]] = {}
        self.answered = 0
        self.session = 0
        self._sequence = 0

    async def run(self, serving: Callable[[], None]) -> None:
        """Answer orders until cancelled."""

        def register(server: grpc.aio.Server) -> None:
            agent_pb2_grpc.add_AgentServicer_to_server(self, server)

        server = await self._network.serve(self._endpoint.name, register)
        try:
            serving()
            await asyncio.Event().wait()
        finally:
            await server.stop()

    async def join(self, vms: Mapping[int, VmState] | None = None) -> None:
        """Register with the VRM, and send the first report of the session."""
        await self.register(vms)
        await self.report(vms)

    async def register(
        self, vms: Mapping[int, VmState] | None = None, *, epochs: Sequence[int] = ()
    ) -> None:
        """Register with the VRM, holding ``vms`` (their states by number) at ``epochs``."""
        entry = registry_pb2.RegisterRequest.Host(
            spec=host_to_message(self.spec), incarnation=self.incarnation
        )
        reply = await self._registry.Register(
            registry_pb2.RegisterRequest(
                hosts=[entry],
                address=self._endpoint.address,
                metrics_url=self._endpoint.metrics_url,
                pid=self._endpoint.pid,
                vms=rows(vms or {}, epochs),
                sequence=self.next_sequence(),
            )
        )
        self.session = reply.session

    async def report(
        self,
        vms: Mapping[int, VmState] | None = None,
        *,
        sequence: int | None = None,
        since: int = 0,
        notices: Sequence[registry_pb2.Notice] = (),
    ) -> list[str]:
        """Send one heartbeat; return the hosts that the VRM wants to register.

        With a ``sequence`` it is one that was said then, and arrives only now; with ``since`` it is
        said to be as the others with that, but for figures.
        """
        reply = await self._registry.Report(
            registry_pb2.ReportRequest(
                host=[self.spec.name],
                incarnation=[self.incarnation],
                cpu_demand_mhz=[self.demand_mhz],
                cpu_used_mhz=[90.0],
                memory_used_bytes=[1],
                vms=rows(vms or {}),
                session=[self.session],
                sequence=self.next_sequence() if sequence is None else sequence,
                since=since,
                notices=notices,
            )
        )
        return list(reply.unregistered)

    async def renew(self, array: str) -> None:
        """Send a storage heartbeat to ``array``, for no VM."""
        stub = storage_pb2_grpc.StorageArrayStub(self._network.channel(array, Plane.STORAGE))
        await stub.Renew(
            storage_pb2.RenewRequest(
                host=[self.spec.name], incarnation=[self.incarnation], isolated=[False]
            )
        )

    async def StartVms(
        self, request: agent_pb2.StartVmsRequest, context: Any
    ) -> agent_pb2.StartVmsReply:
        await self._receive(request, context)
        refused = request.domains if self.refusal else []
        return agent_pb2.StartVmsReply(
            refusals=[
                agent_pb2.StartVmsReply.Refusal(vm=domain.vm, reason=self.refusal)
                for domain in refused
            ],
            sequence=self.next_sequence(),
        )

    async def StopVm(self, request: agent_pb2.StopVmRequest, context: Any) -> agent_pb2.VmReply:
        return await self._answer(request, context)

    async def RebootVm(self, request: agent_pb2.RebootVmRequest, context: Any) -> agent_pb2.VmReply:
        return await self._answer(request, context)

    async def PauseVm(self, request: agent_pb2.VmRequest, context: Any) -> agent_pb2.VmReply:
        return await self._answer(request, context)

    async def ResumeVm(self, request: agent_pb2.VmRequest, context: Any) -> agent_pb2.VmReply:
        return await self._answer(request, context)

    async def SetVmCpu(self, request: agent_pb2.SetVmCpuRequest, context: Any) -> agent_pb2.VmReply:
        return await self._answer(request, context)

    async def DiscardVms(
        self, request: agent_pb2.DiscardVmsRequest, context: Any
    ) -> agent_pb2.DiscardVmsReply:
        await self._receive(request, context)
        return agent_pb2.DiscardVmsReply(sequence=self.next_sequence())

    async def MigrateVm(
        self, request: agent_pb2.MigrateVmRequest, context: Any
    ) -> agent_pb2.VmReply:
        await self._receive(request, context)
        self.progress.setdefault(request.migration, [])
        state = VM_STATES[VmState.MIGRATING]
        return agent_pb2.VmReply(state=state, sequence=self.next_sequence())

    async def CancelMigration(
        self, request: agent_pb2.CancelMigrationRequest, context: Any
    ) -> agent_pb2.VmReply:
        return await self._answer(request, context)

    async def WatchMigration(
        self, request: agent_pb2.WatchMigrationRequest, context: Any
    ) -> AsyncIterator[agent_pb2.MigrationProgress]:
        """Say all that ``progress`` holds of the migration, and whatever is added to it."""
        said = self.progress.get(request.migration)
        if self.dumb is not None:
            await context.abort(self.dumb, "as the test wants it")
        if said is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such migration")
            return
        told = 0
        while True:
            while told < len(said):
                told += 1
                yield said[told - 1]
                if said[told - 1].phase >= agent_pb2.MIGRATION_PHASE_MOVED:
                    return
            await asyncio.sleep(0.1)

    async def ListHosts(
        self, request: agent_pb2.ListHostsRequest, context: Any
    ) -> agent_pb2.ListHostsReply:
        return agent_pb2.ListHostsReply()

    def next_sequence(self) -> int:
        """Return the sequence of what is said now."""
        self._sequence += 1
        return self._sequence

    async def _answer(self, request: Any, context: Any) -> agent_pb2.VmReply:
        await self._receive(request, context)
        self.answered += 1
        return agent_pb2.VmReply(state=VM_STATES[self.state], sequence=self.next_sequence())

    async def _receive(self, request: Any, context: Any) -> None:
        self.orders.append(request)
        await self.answering.wait()
        if self.failure is not None:
            await context.abort(self.failure, "as the test wants it")


def rows(vms: Mapping[int, VmState], epochs: Sequence[int] = ()) -> registry_pb2.VmRows:
    """Return rows of ``vms``, all on the first host of the message."""
    count = len(vms)
    return registry_pb2.VmRows(
        vm_number=list(vms),
        host_row=[0] * count,
        state=[VM_STATES[state] for state in vms.values()],
        cpu_demand_mhz=to_message([50.0] * count),
        cpu_used_mhz=to_message([40.0] * count),
        cpu_ready_s=to_message([1.0] * count),
        epoch=epochs,
    )

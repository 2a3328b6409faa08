"""Watches a datacenter during a run, by what it tells anybody who asks: gRPC alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import grpc

from cluster.chaos.looks import Requests, client_gauges, fullest, gauges, rows_of, vms_seen
from cluster.chaos.spans import Spans
from cluster.clock import Clock
from cluster.network import Network, Plane
from cluster.parties import GATEWAY, VRM
from cluster.rpc.v1 import service_pb2, service_pb2_grpc, vrm_pb2, vrm_pb2_grpc
from fusion.arrays import Ints
from fusion.experiment.evidence import Look
from fusion.spec import ClientSpec, Datacenter

#: A look waits for answers as long as that share of the time until the next.
LOOK_SHARE = 0.8

#: How long anything may take that is asked once.
ONCE_S = 60.0

#: Behind the end of every list.
END = 1 << 62

R = TypeVar("R")


class Observer:
    """Looks at all gauges, and keeps what is needed to tell at the end what came of the run.

    Instants count from ``begin``, by each party's own clock: none is compared with another's.
    """

    def __init__(
        self,
        clock: Clock,
        network: Network,
        datacenter: Datacenter,
        classes: Sequence[str],
        look_s: float,
    ) -> None:
        self.clients: tuple[ClientSpec, ...] = datacenter.clients
        self.spans = Spans()
        self.requests: list[Requests] = []
        self.host_of: dict[str, str] = {}
        self.wanted = frozenset(vm.spec.name for vm in datacenter.vms if vm.start)
        self._clock = clock
        self._vrm = vrm_pb2_grpc.VrmStub(network.channel(VRM))
        # Without clients there is no gateway.
        self._gateway = _gateway(network) if datacenter.clients else None
        self._arrays = bool(datacenter.arrays)
        self._classes = tuple(classes)
        self._clients_of: dict[str, Ints] = {
            pattern: rows_of(pattern, [client.vm for client in self.clients]) for pattern in classes
        }
        self._look_s, self._limit_s = look_s, LOOK_SHARE * look_s
        self._looked = False
        self.vrm_zero_s = self.gateway_zero_s = 0.0  # when the run began, by their clocks
        self.zero_s = 0.0
        self._position = 0
        self._last_event = self._last_failover = self._last_migration = 0

    # --- the course of a run

    async def begin(self) -> None:
        """Count instants and records from now on; of requests the first look sees those of the time
        before it that other looks see, which count for nothing else.
        """
        if self._gateway is not None:
            request = service_pb2.ReadAttemptsRequest(after=END)
            reply = await self._gateway.ReadAttempts(request, timeout=ONCE_S)
            self._position = reply.position
            await self._clock.sleep(self._look_s)
            request = service_pb2.ReadAttemptsRequest(after=END)
            reply = await self._gateway.ReadAttempts(request, timeout=ONCE_S)
            self.gateway_zero_s = reply.now_s
        self.zero_s = self._clock.now()
        status = await self._vrm.GetStatus(vrm_pb2.GetStatusRequest(), timeout=ONCE_S)
        self.vrm_zero_s = status.now_s
        self._last_failover = max((each.number for each in await self.failovers()), default=0)
        self._last_migration = max((each.number for each in await self.migrations()), default=0)
        async for event in self._vrm.WatchEvents(
            vrm_pb2.WatchEventsRequest(last=1), timeout=ONCE_S
        ):
            self._last_event = event.number

    def now_s(self) -> float:
        return self._clock.now() - self.zero_s

    async def look(self) -> Look:
        """Return all gauges now; of who does not answer in time they are missing."""
        at_s = self.now_s()
        status, datastores, attempts = await asyncio.gather(
            self._try(self._vrm.GetStatus(vrm_pb2.GetStatusRequest(), timeout=self._limit_s)),
            self._datastores(),
            self._attempts(),
        )
        values = {"vrm_up": float(status is not None)}
        if status is not None:
            hosts, vms = list(status.hosts), vms_seen(status)
            self.spans.look(hosts, vms, at_s)
            self.host_of = {vm.name: vm.host for vm in vms if vm.host}
            values.update(gauges(hosts, vms, self.wanted, self._classes))
        if datastores is not None:
            values.update(fullest(datastores.datastores))
        if attempts is not None:
            self._position = attempts.position
            requests = Requests.of(
                attempts.client, attempts.sent_s, attempts.ended_s, attempts.answered
            )
            if self._looked:
                self.requests.append(requests)
            values.update(client_gauges(requests, self._clients_of))
        self._looked = True
        return Look(at_s, values)

    async def _datastores(self) -> vrm_pb2.ListDatastoresAnswer | None:
        if not self._arrays:
            return None
        request = vrm_pb2.ListDatastoresQuery()
        return await self._try(self._vrm.ListDatastores(request, timeout=self._limit_s))

    async def _attempts(self) -> service_pb2.ReadAttemptsReply | None:
        if self._gateway is None:
            return None
        request = service_pb2.ReadAttemptsRequest(after=self._position)
        return await self._try(self._gateway.ReadAttempts(request, timeout=self._limit_s))

    # --- what is asked once, at the end

    async def failovers(self) -> list[vrm_pb2.Failover]:
        """Return the failovers since the beginning. Raises ``AioRpcError``."""
        request = vrm_pb2.ListFailoversQuery(after=self._last_failover)
        return list((await self._vrm.ListFailovers(request, timeout=ONCE_S)).failovers)

    async def migrations(self) -> list[vrm_pb2.MigrationRecord]:
        """Return the migrations since the beginning. Raises ``AioRpcError``."""
        request = vrm_pb2.ListMigrationsQuery(after=self._last_migration)
        return list((await self._vrm.ListMigrations(request, timeout=ONCE_S)).migrations)

    async def events(self) -> list[vrm_pb2.Event]:
        """Return the platform's events since the beginning. Raises ``AioRpcError``."""
        request = vrm_pb2.WatchEventsRequest(after=self._last_event)
        return [event async for event in self._vrm.WatchEvents(request, timeout=ONCE_S)]

    async def read_back(self) -> list[service_pb2.ReadClientsReply.Client]:
        """Have all ledgers compared with what clients were told. Raises ``AioRpcError``."""
        if self._gateway is None:
            return []
        request = service_pb2.ReadClientsRequest(verify=True)
        return list((await self._gateway.ReadClients(request, timeout=ONCE_S)).clients)

    async def migrate(self, vm: str, request_id: str) -> str:
        """Order that ``vm`` migrates; return why that was refused, empty where it was not."""
        order = vrm_pb2.MigrateVmOrder(request_id=request_id, vm=vm)
        try:
            await self._vrm.MigrateVm(order, timeout=ONCE_S)
        except grpc.aio.AioRpcError as failure:
            return failure.details() or failure.code().name
        return ""

    async def _try(self, call: Awaitable[R]) -> R | None:
        """Return the answer to ``call``, ``None`` where there is none."""
        try:
            return await call
        except grpc.aio.AioRpcError:
            return None


def _gateway(network: Network) -> service_pb2_grpc.GatewayStub:
    return service_pb2_grpc.GatewayStub(network.channel(GATEWAY, Plane.SERVICE))

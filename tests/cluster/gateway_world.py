"""A gateway in virtual time, with hosts and a VRM that do what a test says."""

# The generated services name the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from cluster.clock import Clock
from cluster.gateway.facts import Facts
from cluster.gateway.gateway import Gateway
from cluster.network import Plane, Server
from cluster.parties import GATEWAY, VRM
from cluster.role import Endpoint
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1 import service_pb2_grpc, vrm_pb2, vrm_pb2_grpc
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.fabric import Fabric
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from fusion.spec import ClientSpec, Durability
from fusion.vm import vm_id
from tests.cluster.virtual_time import virtual_loop

INTERVAL_S = 1.0

#: Messages arrive in the instant in which they are sent.
AT_ONCE = Quality(latency_s=0.0, jitter_s=0.0)


def a_client(
    name: str = "shop", vm: str = "web-01", durability: Durability = Durability.DISK
) -> ClientSpec:
    """A client that appends once a second."""
    return ClientSpec(name, vm, durability=durability)


class Host(service_pb2_grpc.GuestServicer):
    """A host with the ledgers of VMs, by identity. It answers at once while ``answering`` is set.

    ``epochs`` are those at which it holds its VMs; what it does not hold it does not find.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.epochs: dict[str, int] = {}
        self.ledgers: dict[tuple[str, str], list[int]] = {}
        self.failure: grpc.StatusCode | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked: list[pb.AppendRequest] = []

    async def Append(self, request: pb.AppendRequest, context: Any) -> pb.AppendReply:
        self.asked.append(request)
        epoch = await self._held(request.vm, context)
        entries = self.ledgers.setdefault((request.vm, request.client), [])
        if request.number not in entries:
            entries.append(request.number)
        return pb.AppendReply(epoch=epoch)

    async def ReadLedger(self, request: pb.ReadLedgerRequest, context: Any) -> pb.ReadLedgerReply:
        epoch = await self._held(request.vm, context)
        entries = sorted(self.ledgers.get((request.vm, request.client), []))
        return pb.ReadLedgerReply(epoch=epoch, first=entries, last=entries)

    async def _held(self, vm: str, context: Any) -> int:
        await self.answering.wait()
        if self.failure is not None:
            await context.abort(self.failure, "as the test wants it")
        if vm not in self.epochs:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{vm} is not here")
        return self.epochs[vm]


class LocatingVrm(vrm_pb2_grpc.VrmServicer):
    """Knows where VMs are, by name, and keeps what it was asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.places: dict[str, tuple[int, str, int]] = {}
        self.asked: list[tuple[float, list[str]]] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def Locate(self, request: vrm_pb2.LocateRequest, context: Any) -> vrm_pb2.LocateReply:
        self.asked.append((self._clock.now(), list(request.vms)))
        await self.answering.wait()
        found = [self.places.get(vm, (0, "", 0)) for vm in request.vms]
        return vrm_pb2.LocateReply(
            vm_number=[number for number, _, _ in found],
            host=[host for _, host, _ in found],
            epoch=[epoch for _, _, epoch in found],
        )


class World:
    """The parties around one gateway; ``disk`` is what outlives it."""

    def __init__(self, *clients: ClientSpec, quality: Quality = AT_ONCE) -> None:
        loop = virtual_loop()
        self.wires = Wires(loop, seeds.generator(1, "network"), quality)
        self.fabric = Fabric(loop, self.wires, Trace())
        self.clock = SimulatedClock(loop)
        self.clients = clients
        self.vrm = LocatingVrm(self.clock)  # type: ignore[abstract]
        self.hosts = {name: Host(name) for name in ("cna-01", "cna-02")}
        self.disk = Disk()
        self.process: Process
        self.gateway: Gateway
        channel = SimulatedNetwork(self.fabric, "customer").channel(GATEWAY, Plane.SERVICE)
        self.stub = service_pb2_grpc.GatewayStub(channel)
        self._servers: dict[str, Server] = {}

    @property
    def facts(self) -> Facts:
        assert self.gateway.facts is not None
        return self.gateway.facts

    async def gateway_on(self) -> None:
        """Start the gateway, on what its store holds."""
        self.process = Process(GATEWAY, self.fabric, self.disk)
        await self.process.start(self._gateway)

    def _gateway(self, process: Process) -> Gateway:
        self.gateway = Gateway(
            clients=self.clients,
            endpoint=Endpoint(GATEWAY, "10.0.0.9:17000", "", 77),
            clock=process.clock,
            network=process.network,
            stores=process.stores,
            interval_s=INTERVAL_S,
        )
        return self.gateway

    async def vrm_up(self) -> None:
        self._servers[VRM] = await SimulatedNetwork(self.fabric, VRM).serve(
            VRM, lambda server: vrm_pb2_grpc.add_VrmServicer_to_server(self.vrm, server)
        )

    async def host_up(self, name: str) -> None:
        host = self.hosts[name]
        self._servers[name] = await SimulatedNetwork(self.fabric, name).serve(
            name,
            lambda server: service_pb2_grpc.add_GuestServicer_to_server(host, server),
            Plane.SERVICE,
        )

    async def down(self, name: str) -> None:
        """The VRM or a host is dead."""
        await self._servers.pop(name).stop()

    def give(self, number: int, host: str, epoch: int) -> None:
        """VM ``number``, called web-01 and so on, is on ``host``, and the VRM knows it."""
        self.vrm.places[f"web-{number:02d}"] = (number, host, epoch)
        if host:
            self.hosts[host].epochs[vm_id(number)] = epoch

    async def at(self, now_s: float) -> None:
        """Return when it is ``now_s``."""
        assert now_s >= self.clock.now()
        await self.clock.sleep(now_s - self.clock.now())

    async def append(self, number: int = 1, vm: str = "web-01", timeout: float = 2.0) -> int:
        """Append an entry as a customer; return the epoch of the answer."""
        request = pb.AppendRequest(vm=vm, client="customer", number=number)
        return (await self.stub.Append(request, timeout=timeout)).epoch

    async def failure(self, **request: Any) -> tuple[grpc.StatusCode, str]:
        """Append an entry in vain; return the status and the sentence."""
        try:
            await self.append(**request)
        except grpc.aio.AioRpcError as failure:
            return failure.code(), failure.details() or ""
        raise AssertionError("it was answered")

    async def seen(
        self, names: Sequence[str] = (), *, verify: bool = False, gaps: bool = False
    ) -> list[pb.ReadClientsReply.Client]:
        request = pb.ReadClientsRequest(names=names, verify=verify, gaps=gaps)
        return list((await self.stub.ReadClients(request)).clients)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """Run the gateway of ``world``, a VRM and two hosts. web-01 is on cna-01 at epoch 1."""
    world.give(1, "cna-01", epoch=1)
    await world.vrm_up()
    for name in world.hosts:
        await world.host_up(name)
    await world.gateway_on()
    try:
        yield world
    finally:
        world.process.kill()

"""The gateway over TCP: what it does with calls under way is the same there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from cluster.gateway.gateway import Gateway
from cluster.live.clock import LiveClock
from cluster.live.network import LiveNetwork
from cluster.live.stores import LiveStores
from cluster.network import Plane
from cluster.parties import GATEWAY, VRM
from cluster.role import Endpoint
from cluster.rpc.v1 import service_pb2 as pb
from cluster.rpc.v1 import service_pb2_grpc, vrm_pb2_grpc
from tests.cluster.gateway_world import Host, LocatingVrm, a_client
from tests.cluster.virtual_time import until
from tests.live.launched import free_address

SPEED = 10.0


class World:
    """A gateway, a VRM and two hosts, each at an address of its own."""

    def __init__(self, folder: Path) -> None:
        addresses = {name: free_address() for name in (VRM, GATEWAY, "cna-01", "cna-02")}
        self.network = LiveNetwork(addresses.__getitem__, SPEED)
        self.clock = LiveClock(time.time(), SPEED)
        self.vrm = LocatingVrm(self.clock)  # type: ignore[abstract]
        self.hosts = {name: Host(name) for name in ("cna-01", "cna-02")}
        self.gateway = Gateway(
            clients=[a_client()],
            endpoint=Endpoint(GATEWAY, addresses[GATEWAY], "", 1),
            clock=self.clock,
            network=self.network,
            stores=LiveStores(folder),
            interval_s=1.0,
        )
        channel = self.network.channel(GATEWAY, Plane.SERVICE)
        self.stub = service_pb2_grpc.GatewayStub(channel)

    def give(self, host: str, epoch: int) -> None:
        self.vrm.places["web-01"] = (1, host, epoch)
        self.hosts[host].epochs["i-00000001"] = epoch

    async def append(self, number: int) -> int:
        request = pb.AppendRequest(vm="web-01", client="customer", number=number)
        return (await self.stub.Append(request, timeout=60.0)).epoch


def played(folder: Path, play: Callable[[World], Awaitable[None]]) -> None:
    """Play while the gateway of a world runs, and stop that as an operator does."""

    async def run() -> None:
        world = World(folder)
        world.give("cna-01", epoch=1)
        servers = [
            await world.network.serve(
                VRM, lambda server: vrm_pb2_grpc.add_VrmServicer_to_server(world.vrm, server)
            )
        ]
        for name, host in world.hosts.items():

            def register(server: grpc.aio.Server, host: Host = host) -> None:
                service_pb2_grpc.add_GuestServicer_to_server(host, server)

            servers.append(await world.network.serve(name, register, Plane.SERVICE))
        serving = asyncio.Event()
        gateway = asyncio.ensure_future(world.gateway.run(serving.set))
        try:
            await serving.wait()
            await play(world)
        finally:
            gateway.cancel()
            await asyncio.wait([gateway])
            for server in servers:
                await server.stop()
            await world.network.close()
        assert gateway.cancelled()

    asyncio.run(run())


def test_a_call_under_way_follows_its_vm(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        assert await world.append(1) == 1
        world.hosts["cna-01"].answering.clear()
        world.give("cna-02", epoch=2)
        assert await world.append(2) == 2

    played(tmp_path, play)


def test_what_clients_saw_is_written_at_the_end(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        facts = world.gateway.facts
        assert facts is not None
        await until(lambda: facts.position >= 3)

    played(tmp_path, play)
    store = LiveStores(tmp_path).open(GATEWAY)
    rows = store.execute("SELECT number, outcome, epoch FROM attempts").fetchall()
    store.close()
    assert rows[:3] == [(1, 0, 1), (2, 0, 1), (3, 0, 1)]

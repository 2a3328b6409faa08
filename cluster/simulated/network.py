"""The network as one party of the simulated world sees it: ``cluster.network.Network``."""

from __future__ import annotations

import asyncio

from cluster.network import Plane, Registration
from cluster.simulated.channel import SimulatedChannel
from cluster.simulated.fabric import Fabric
from cluster.simulated.serving import Handlers, Service
from fusion.errors import FusionError


class SimulatedNetwork:
    """Channels and servers in memory. ``cut`` ends it with the incarnation that uses it."""

    def __init__(self, fabric: Fabric, node: str) -> None:
        self.fabric = fabric
        self.node = node
        self.dead = False  # with its incarnation
        self._channels: dict[tuple[str, Plane], SimulatedChannel] = {}

    def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> SimulatedChannel:
        channel = self._channels.get((peer, plane))
        if channel is None:
            channel = self._channels[peer, plane] = SimulatedChannel(self, peer, plane)
        return channel

    async def serve(
        self, name: str, register: Registration, plane: Plane = Plane.MANAGEMENT
    ) -> Service:
        if self.dead:
            raise asyncio.CancelledError
        if self.node in self.fabric.services:
            raise FusionError(f"{name} cannot listen on {self.node}: its address is taken")
        handlers = Handlers()
        register(handlers)  # type: ignore[arg-type]
        service = Service(self.fabric, name, self.node, handlers)
        self.fabric.add(service)
        return service

    def cut(self) -> None:
        """Nothing goes out any more."""
        self.dead = True

"""The network as one party of the simulated world sees it: ``cluster.network.Network``."""

from __future__ import annotations

import asyncio

from cluster.network import Plane, Registration
from cluster.simulated.channel import SimulatedChannel
from cluster.simulated.exchange import Exchange, Metadata, StatusCode
from cluster.simulated.fabric import Fabric
from cluster.simulated.party import PARTY
from cluster.simulated.serving import Handlers, Service
from fusion.errors import FusionError


class SimulatedNetwork:
    """Channels and servers in memory. ``cut`` ends it with the incarnation that uses it."""

    def __init__(self, fabric: Fabric, node: str) -> None:
        self._fabric = fabric
        self._node = node
        self._cut = False
        self._channels: dict[tuple[str, Plane], SimulatedChannel] = {}

    def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> SimulatedChannel:
        channel = self._channels.get((peer, plane))
        if channel is None:
            channel = self._channels[peer, plane] = SimulatedChannel(self, peer, plane)
        return channel

    async def serve(
        self, name: str, register: Registration, plane: Plane = Plane.MANAGEMENT
    ) -> Service:
        if self._cut:
            raise asyncio.CancelledError
        if self._fabric.service(self._node) is not None:
            raise FusionError(f"{name} cannot listen on {self._node}: its address is taken")
        handlers = Handlers()
        register(handlers)  # type: ignore[arg-type]
        service = Service(self._fabric, name, self._node, handlers)
        self._fabric.add(service)
        return service

    def exchange(
        self,
        peer: str,
        plane: Plane,
        method: str,
        *,
        timeout_s: float | None,
        metadata: Metadata,
        wait_for_ready: bool = False,
    ) -> Exchange:
        fabric = self._fabric
        deadline_s = None if timeout_s is None else fabric.loop.now_s + timeout_s
        link = (self._node, peer, plane)
        exchange = Exchange(
            fabric,
            link,
            method,
            metadata=metadata,
            deadline_s=deadline_s,
            wait_for_ready=wait_for_ready,
        )
        if self._cut:
            exchange.client_finish(StatusCode.CANCELLED, "Locally cancelled: its process died")
        else:
            fabric.opened(exchange, PARTY.get())
        return exchange

    def cut(self) -> None:
        """Nothing goes out any more."""
        self._cut = True

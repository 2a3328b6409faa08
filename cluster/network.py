"""The seam to other parties: channels and servers by logical name, in both worlds gRPC."""

from collections.abc import Callable
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import grpc

Stub = TypeVar("Stub")


class Plane(StrEnum):
    """What a connection is for; a fault may cut one plane and leave the others."""

    MANAGEMENT = "management"
    STORAGE = "storage"
    MIGRATION = "migration"
    SERVICE = "service"
    BMC = "bmc"


#: Calls the generated ``add_…_to_server`` functions on the server that it is given.
Registration = Callable[[grpc.aio.Server], None]


class Server(Protocol):
    """A gRPC server that answers under a name."""

    async def stop(self) -> None:
        """End it: open calls fail with UNAVAILABLE, its port is free."""
        ...


class Network(Protocol):
    """The network as one party sees it. Time limits of calls are emulated seconds."""

    def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> grpc.aio.Channel:
        """Return the channel to ``peer``; it lives as long as the network, don't close it."""
        ...

    async def serve(
        self, name: str, register: Registration, plane: Plane = Plane.MANAGEMENT
    ) -> Server:
        """Answer under ``name``. Raises ``FusionError`` where its address is taken."""
        ...


class Stubs(Generic[Stub]):
    """The stubs of one service by the name of the peer, all on one plane."""

    def __init__(
        self,
        network: Network,
        make: Callable[[grpc.aio.Channel], Stub],
        plane: Plane = Plane.MANAGEMENT,
    ) -> None:
        self._network = network
        self._make = make
        self._plane = plane
        self._known: dict[str, tuple[grpc.aio.Channel, Stub]] = {}

    def __getitem__(self, peer: str) -> Stub:
        # The channel is asked for anew every time, for a peer that moved; stubs are dear to make.
        channel = self._network.channel(peer, self._plane)
        known = self._known.get(peer)
        if known is None or known[0] is not channel:
            known = self._known[peer] = channel, self._make(channel)
        return known[1]

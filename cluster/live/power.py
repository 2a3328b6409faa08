"""Power over the bmc plane: the roles' side of it."""

from __future__ import annotations

import grpc

from cluster.network import Network, Plane
from cluster.parties import BMC
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import power_pb2, power_pb2_grpc


class LivePower:
    """Orders power from whoever answers as ``peer``: the launcher, unless told otherwise.

    Without ``timeout_s`` an order takes as long as a process takes to start. Each raises
    ``FusionError`` with the reason where it failed.
    """

    def __init__(self, network: Network, peer: str = BMC, timeout_s: float | None = None) -> None:
        self._network = network
        self._peer = peer
        self._timeout_s = timeout_s

    async def on(self, host: str, incarnation: int = 0) -> int:
        return await self._ordered(self._stub().On, host, incarnation)

    async def off(self, host: str) -> int:
        return await self._ordered(self._stub().Off, host, 0)

    async def reset(self, host: str, incarnation: int = 0) -> int:
        return await self._ordered(self._stub().Reset, host, incarnation)

    def _stub(self) -> power_pb2_grpc.PowerStub:
        # Asked for anew each time: the peer may have moved.
        return power_pb2_grpc.PowerStub(self._network.channel(self._peer, Plane.BMC))

    async def _ordered(
        self,
        call: grpc.aio.UnaryUnaryMultiCallable[power_pb2.PowerRequest, power_pb2.PowerReply],
        host: str,
        incarnation: int,
    ) -> int:
        request = power_pb2.PowerRequest(host=host, incarnation=incarnation)
        try:
            reply = await call(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure
        return reply.incarnation

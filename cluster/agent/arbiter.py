"""Who answers hosts that hear nothing of the VRM: their peers, and the arbitration address."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from typing import Any

import grpc

from cluster.agent.chassis import Chassis
from cluster.rpc.v1 import arbiter_pb2, arbiter_pb2_grpc


class Peer(arbiter_pb2_grpc.ArbiterServicer):
    """Answers for as long as any host of this process is on."""

    def __init__(self, chassis: Chassis) -> None:
        self._chassis = chassis

    async def Ping(self, request: arbiter_pb2.PingRequest, context: Any) -> arbiter_pb2.PingReply:
        if not self._chassis.powered:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no host here has power")
        return arbiter_pb2.PingReply()


class _Always(arbiter_pb2_grpc.ArbiterServicer):
    async def Ping(self, request: arbiter_pb2.PingRequest, context: Any) -> arbiter_pb2.PingReply:
        return arbiter_pb2.PingReply()


def answer_pings(server: grpc.aio.Server) -> None:
    """Have ``server`` be the arbitration address: there as long as it can be reached."""
    arbiter_pb2_grpc.add_ArbiterServicer_to_server(_Always(), server)

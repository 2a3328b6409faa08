"""Power control of the hosts that share this process, on the bmc plane."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from typing import Any

from cluster.agent.chassis import Chassis
from cluster.agent.commands import Commands
from cluster.agent.membership import Membership
from cluster.agent.migration.service import Migrations
from cluster.rpc.errors import unary
from cluster.rpc.v1 import power_pb2, power_pb2_grpc
from fusion.errors import InvalidInput, Refused


class PowerButtons(power_pb2_grpc.PowerServicer):
    """Switches one host without its neighbours noticing; each call may be repeated safely."""

    def __init__(
        self,
        chassis: Chassis,
        commands: Commands,
        migrations: Migrations,
        membership: Membership,
    ) -> None:
        self._chassis = chassis
        self._commands = commands
        self._migrations = migrations
        self._membership = membership

    @unary
    async def On(self, request: power_pb2.PowerRequest, _: Any) -> power_pb2.PowerReply:
        if not self._chassis.incarnation(request.host):
            self._switch_on(request)
        return self._reply(request)

    @unary
    async def Off(self, request: power_pb2.PowerRequest, _: Any) -> power_pb2.PowerReply:
        self._switch_off(request)
        ended = self._chassis.last_incarnation(request.host)
        return power_pb2.PowerReply(incarnation=ended)

    @unary
    async def Reset(self, request: power_pb2.PowerRequest, _: Any) -> power_pb2.PowerReply:
        if self._chassis.incarnation(request.host) != request.incarnation:
            self._check_new(request)
            self._switch_off(request)
            self._switch_on(request)
        return self._reply(request)

    def _switch_on(self, request: power_pb2.PowerRequest) -> None:
        self._check_new(request)
        self._chassis.power_on(request.host, request.incarnation)
        self._membership.changed.set()

    def _switch_off(self, request: power_pb2.PowerRequest) -> None:
        self._chassis.power_off(request.host)
        self._commands.end(request.host)
        self._migrations.end(request.host)

    def _check_new(self, request: power_pb2.PowerRequest) -> None:
        if request.incarnation < 1:
            raise InvalidInput(
                f"incarnation: say which incarnation of host {request.host} comes on, from 1"
            )
        last = self._chassis.last_incarnation(request.host)
        if request.incarnation <= last:
            raise Refused(
                f"host {request.host} has been incarnation {last} already, "
                f"so {request.incarnation} cannot come on; give a higher number"
            )

    def _reply(self, request: power_pb2.PowerRequest) -> power_pb2.PowerReply:
        return power_pb2.PowerReply(incarnation=self._chassis.incarnation(request.host))

"""The agent's side of what the VRM orders."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc
import structlog

from cluster.agent.chassis import Chassis, PoweredOff
from cluster.agent.commands import CommandKey, Commands, HostWentDown
from cluster.agent.copies import Copies
from cluster.agent.findings import cause_number
from cluster.agent.holdings import FREE
from cluster.agent.ledgers import Ledgers
from cluster.agent.membership import Membership
from cluster.agent.messages import list_hosts_reply
from cluster.agent.migration.service import Migrations
from cluster.agent.starting import Starting, number_of
from cluster.metrics.agent import AgentCounters, Outcome
from cluster.rpc.convert import VM_STATES, cpu_from_message
from cluster.rpc.errors import streaming, unary
from cluster.rpc.v1 import agent_pb2 as pb
from cluster.rpc.v1 import agent_pb2_grpc, common_pb2
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.fleet import Fleet
from fusion.vm import VmState, vm_id

log = structlog.get_logger()
Reply = TypeVar("Reply", pb.StartVmsReply, pb.VmReply, pb.DiscardVmsReply)


class Orders(agent_pb2_grpc.AgentServicer):
    """Carries out each order once, on the host that it names.

    A host that is off answers UNAVAILABLE, as a dead one would.
    """

    def __init__(
        self,
        *,
        chassis: Chassis,
        copies: Copies,
        starting: Starting,
        ledgers: Ledgers,
        migrations: Migrations,
        commands: Commands,
        membership: Membership,
        counters: AgentCounters,
    ) -> None:
        self._chassis = chassis
        self._copies = copies
        self._starting = starting
        self._ledgers = ledgers
        self._migrations = migrations
        self._commands = commands
        self._membership = membership
        self._counters = counters

    @unary
    async def StartVms(self, request: pb.StartVmsRequest, context: Any) -> pb.StartVmsReply:
        async def work() -> pb.StartVmsReply:
            for domain in request.domains:
                self._migrations.supersede(request.command.host, domain.vm, domain.epoch)
            return await self._starting.start(request.command, request.domains)

        return await self._once("start", request.command, context, work)

    @unary
    async def StopVm(self, request: pb.StopVmRequest, context: Any) -> pb.VmReply:
        force = request.mode == common_pb2.STOP_MODE_FORCE
        return await self._vm_order("stop", request, context, partial(Fleet.stop, force=force))

    @unary
    async def RebootVm(self, request: pb.RebootVmRequest, context: Any) -> pb.VmReply:
        force = request.mode == common_pb2.STOP_MODE_FORCE
        return await self._vm_order("reboot", request, context, partial(Fleet.reboot, force=force))

    @unary
    async def PauseVm(self, request: pb.VmRequest, context: Any) -> pb.VmReply:
        return await self._vm_order("pause", request, context, Fleet.pause)

    @unary
    async def ResumeVm(self, request: pb.VmRequest, context: Any) -> pb.VmReply:
        return await self._vm_order("resume", request, context, Fleet.resume)

    @unary
    async def SetVmCpu(self, request: pb.SetVmCpuRequest, context: Any) -> pb.VmReply:
        cpu = cpu_from_message(request.cpu)
        return await self._vm_order("set-cpu", request, context, partial(Fleet.set_cpu, cpu=cpu))

    @unary
    async def DiscardVms(self, request: pb.DiscardVmsRequest, context: Any) -> pb.DiscardVmsReply:
        async def work() -> pb.DiscardVmsReply:
            return self._discard(request)

        return await self._once("discard", request.command, context, work)

    @unary
    async def MigrateVm(self, request: pb.MigrateVmRequest, context: Any) -> pb.VmReply:
        async def work() -> pb.VmReply:
            return pb.VmReply(state=VM_STATES[self._migrations.begin(request)])

        return await self._once("migrate", request.command, context, work)

    @unary
    async def CancelMigration(self, request: pb.CancelMigrationRequest, context: Any) -> pb.VmReply:
        async def work() -> pb.VmReply:
            return pb.VmReply(state=VM_STATES[await self._migrations.cancel(request)])

        return await self._once("cancel-migration", request.command, context, work)

    @streaming
    async def WatchMigration(
        self, request: pb.WatchMigrationRequest, context: Any
    ) -> AsyncIterator[pb.MigrationProgress]:
        async for progress in self._migrations.watch(request.migration):
            yield progress

    @unary
    async def ListHosts(self, request: pb.ListHostsRequest, context: Any) -> pb.ListHostsReply:
        reply = list_hosts_reply(self._chassis.current_view(), self._chassis.powered)
        causes = {(one.host, vm_id(one.vm)): one.causes for one in self._copies.held()}
        for host in reply.hosts if causes else ():
            for vm in host.vms:
                vm.held = cause_number(causes.get((host.name, vm.vm), FREE))
        return reply

    async def _vm_order(
        self,
        kind: str,
        request: pb.VmRequest | pb.StopVmRequest | pb.RebootVmRequest | pb.SetVmCpuRequest,
        context: Any,
        act: Callable[[Fleet, str, int], VmState],
    ) -> pb.VmReply:
        host, number = request.command.host, number_of(request.vm)

        async def work() -> pb.VmReply:
            if self._chassis.guest(host, number)[0] is VmState.MIGRATING:
                raise Refused(f"VM {request.vm} is migrating; wait until it has, or cancel that")
            with self._chassis.change() as fleet:
                state = act(fleet, host, number)
            self._ledgers.flush(host, number)  # a guest that shuts down writes what it has
            name = self._chassis.vm_name(host, number)
            log.info("VM order", order=kind, host=host, vm=request.vm, name=name, state=state.value)
            return pb.VmReply(state=VM_STATES[state])

        return await self._once(kind, request.command, context, work)

    def _discard(self, request: pb.DiscardVmsRequest) -> pb.DiscardVmsReply:
        """Drop the copies that are older than the epochs named."""
        for vm, epoch in zip(request.vm, request.epoch, strict=True):
            copy = self._copies.of(request.command.host, number_of(vm))
            if copy is not None and copy.epoch < epoch:
                self._copies.discard([copy], f"the VRM has given it epoch {epoch}")
        return pb.DiscardVmsReply()

    async def _once(
        self, kind: str, command: pb.Command, context: Any, work: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """Carry out ``work`` once for all calls with this command."""
        try:
            key = self._admit(kind, command)
            return await self._commands.once(key, partial(self._counted, kind, command, work))
        except (PoweredOff, HostWentDown):
            reason = str(PoweredOff(command.host))
            await context.abort(grpc.StatusCode.UNAVAILABLE, reason)
            raise

    def _admit(self, kind: str, command: pb.Command) -> CommandKey:
        """Refuse what is late or meant for somebody else."""
        try:
            return self._key(command)
        except FusionError as refusal:
            self._refused(kind, command, refusal)
            raise

    def _key(self, command: pb.Command) -> CommandKey:
        incarnation = self._chassis.incarnation(command.host)
        if not incarnation:
            raise PoweredOff(command.host)
        if command.incarnation != incarnation:
            raise Refused(
                f"host {command.host} is incarnation {incarnation} now; "
                f"the order was for {command.incarnation}"
            )
        if not command.request_id:
            raise InvalidInput("command.request_id: empty; give each order an id of its own")
        self._membership.hear(command.vrm_generation)
        key = CommandKey(command.host, incarnation, command.request_id)
        if not self._commands.known(key):
            self._membership.admit(command.host, incarnation, command.session)
        return key

    async def _counted(
        self, kind: str, command: pb.Command, work: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        try:
            reply = await work()
        except FusionError as refusal:
            self._refused(kind, command, refusal)
            raise
        self._counters.orders[kind, Outcome.DONE] += 1
        reply.sequence = self._chassis.next_sequence()
        return reply

    def _refused(self, kind: str, command: pb.Command, refusal: FusionError) -> None:
        self._counters.orders[kind, Outcome.REFUSED] += 1
        log.warning("order refused", order=kind, host=command.host, reason=str(refusal))

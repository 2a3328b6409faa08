"""The agent's side of what the VRM orders."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import grpc
import structlog

from cluster.agent.chassis import Chassis, PoweredOff
from cluster.agent.commands import CommandKey, Commands, HostWentDown
from cluster.agent.membership import Membership
from cluster.agent.messages import list_hosts_reply
from cluster.metrics.agent import AgentCounters, Outcome
from cluster.rpc.convert import VM_STATES, cpu_from_message, vm_from_message
from cluster.rpc.errors import unary
from cluster.rpc.v1 import agent_pb2 as pb
from cluster.rpc.v1 import agent_pb2_grpc, common_pb2
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.fleet import Fleet
from fusion.spec import VmSpec
from fusion.vm import VmState, vm_number

log = structlog.get_logger()
Reply = TypeVar("Reply", pb.StartVmsReply, pb.VmReply)


class Orders(agent_pb2_grpc.AgentServicer):
    """Carries out each order once, on the host that it names.

    A host that is off answers UNAVAILABLE, as a dead one would.
    """

    def __init__(
        self,
        *,
        chassis: Chassis,
        commands: Commands,
        membership: Membership,
        counters: AgentCounters,
    ) -> None:
        self._chassis = chassis
        self._commands = commands
        self._membership = membership
        self._counters = counters

    @unary
    async def StartVms(self, request: pb.StartVmsRequest, context: Any) -> pb.StartVmsReply:
        work = partial(self._start, request.command.host, request.domains)
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
    async def ListHosts(self, request: pb.ListHostsRequest, context: Any) -> pb.ListHostsReply:
        return list_hosts_reply(self._chassis.current_view(), self._chassis.powered)

    async def _vm_order(
        self,
        kind: str,
        request: pb.VmRequest | pb.StopVmRequest | pb.RebootVmRequest | pb.SetVmCpuRequest,
        context: Any,
        act: Callable[[Fleet, str, int], VmState],
    ) -> pb.VmReply:
        host, number = request.command.host, _number(request.vm)

        def work() -> pb.VmReply:
            with self._chassis.change() as fleet:
                state = act(fleet, host, number)
            name = self._chassis.vm_name(host, number)
            log.info("VM order", order=kind, host=host, vm=request.vm, name=name, state=state.value)
            return pb.VmReply(state=VM_STATES[state])

        return await self._once(kind, request.command, context, work)

    def _start(self, host: str, domains: Iterable[pb.Domain]) -> pb.StartVmsReply:
        reply = pb.StartVmsReply()
        with self._chassis.change() as fleet:
            for domain in domains:
                try:
                    fleet.start(host, _number(domain.vm), _spec(domain), domain.seed)
                except FusionError as refusal:
                    reply.refusals.add(vm=domain.vm, reason=str(refusal))
                    log.warning(
                        "VM start refused",
                        host=host,
                        vm=domain.vm,
                        name=domain.spec.name,
                        reason=str(refusal),
                    )
        return reply

    async def _once(
        self, kind: str, command: pb.Command, context: Any, work: Callable[[], Reply]
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

    async def _counted(self, kind: str, command: pb.Command, work: Callable[[], Reply]) -> Reply:
        try:
            reply = work()
        except FusionError as refusal:
            self._refused(kind, command, refusal)
            raise
        self._counters.orders[kind, Outcome.DONE] += 1
        reply.sequence = self._chassis.next_sequence()
        return reply

    def _refused(self, kind: str, command: pb.Command, refusal: FusionError) -> None:
        self._counters.orders[kind, Outcome.REFUSED] += 1
        log.warning("order refused", order=kind, host=command.host, reason=str(refusal))


def _number(vm: str) -> int:
    try:
        return vm_number(vm)
    except ValueError as error:
        raise InvalidInput(f"vm: {error}") from error


def _spec(domain: pb.Domain) -> VmSpec:
    """Return what to start; the model computes with it, so what is absurd ends here."""
    try:
        spec = vm_from_message(domain.spec)
    except ValueError as error:
        raise InvalidInput(f"spec of VM {domain.vm}: {error}") from error
    if spec.vcpus < 1 or not 0 < spec.vcpu_mhz < math.inf:
        raise InvalidInput(
            f"spec of VM {domain.vm}: {spec.vcpus} vCPUs of {spec.vcpu_mhz:g} MHz are no processors"
        )
    if not (0 <= spec.boot_s < math.inf and 0 <= spec.shutdown_s < math.inf):
        raise InvalidInput(
            f"spec of VM {domain.vm}: boot {spec.boot_s:g} s, shutdown {spec.shutdown_s:g} s; "
            "times are finite and not negative"
        )
    return spec

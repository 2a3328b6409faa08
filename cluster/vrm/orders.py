"""What the VRM orders of agents: every order repeated under one request id until it is answered."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

import grpc

from cluster.clock import Clock
from cluster.network import Network, Stubs
from cluster.rpc import convert
from cluster.rpc.errors import error_of
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc, common_pb2
from cluster.vrm.migrations import Migration
from cluster.vrm.records import Change, Host, Vm
from fusion.errors import FusionError, InvalidInput, NotFound, Refused
from fusion.seeds import derive
from fusion.spec import CpuQos
from fusion.vm import VmState, vm_id

Reply = TypeVar("Reply", agent_pb2.StartVmsReply, agent_pb2.VmReply, agent_pb2.DiscardVmsReply)

#: In heartbeat intervals: the limit of one attempt, the pause before the next, and of all.
ATTEMPT, PAUSE, PATIENCE = 3.0, 0.25, 30.0

#: Failures of the connection, after which the agent may or may not have executed the order.
_BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


class Unanswered(FusionError):
    """Nobody knows whether the agent executed the order; its host's session has ended, so that it
    will not be executed any more, and the next session tells.
    """


class Senseless(Unanswered):
    """The agent answered, but with a failure of its own: nobody knows what it will make of it."""


class Orders:
    """Calls to agents, of one generation of the VRM. ``lost`` is told of a host that reports, but
    does not answer orders.

    Each raises ``Refused``, ``NotFound`` or ``InvalidInput`` where the agent did not do it, and
    ``Unanswered`` where that is not known.
    """

    def __init__(
        self,
        *,
        network: Network,
        clock: Clock,
        interval_s: float,
        generation: int,
        seed: int,
        lost: Callable[[Host, str], None],
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._generation = generation
        self._seed = seed
        self._lost = lost
        self._numbers = itertools.count(1)
        self._stubs = Stubs(network, agent_pb2_grpc.AgentStub)

    async def start(self, host: Host, changes: Sequence[Change]) -> dict[int, str]:
        """Start the VMs of ``changes`` on ``host``; return why it refused which, by number."""
        vms = [change.vm for change in changes]
        request = agent_pb2.StartVmsRequest(
            command=self._command(host),
            domains=[
                self._domain(vm, change.epoch) for vm, change in zip(vms, changes, strict=True)
            ],
        )
        reply = await self._call(host, lambda stub: stub.StartVms, request)
        number_of = {vm.id: vm.number for vm in vms}
        return {number_of[refusal.vm]: refusal.reason for refusal in reply.refusals}

    async def stop(self, host: Host, vm: Vm, mode: common_pb2.StopMode.ValueType) -> VmState:
        request = agent_pb2.StopVmRequest(command=self._command(host), vm=vm.id, mode=mode)
        return _state(await self._call(host, lambda stub: stub.StopVm, request))

    async def reboot(self, host: Host, vm: Vm, mode: common_pb2.StopMode.ValueType) -> VmState:
        request = agent_pb2.RebootVmRequest(command=self._command(host), vm=vm.id, mode=mode)
        return _state(await self._call(host, lambda stub: stub.RebootVm, request))

    async def pause(self, host: Host, vm: Vm) -> VmState:
        request = agent_pb2.VmRequest(command=self._command(host), vm=vm.id)
        return _state(await self._call(host, lambda stub: stub.PauseVm, request))

    async def resume(self, host: Host, vm: Vm) -> VmState:
        request = agent_pb2.VmRequest(command=self._command(host), vm=vm.id)
        return _state(await self._call(host, lambda stub: stub.ResumeVm, request))

    async def set_cpu(self, host: Host, vm: Vm, cpu: CpuQos) -> None:
        request = agent_pb2.SetVmCpuRequest(
            command=self._command(host), vm=vm.id, cpu=convert.cpu_to_message(cpu)
        )
        await self._call(host, lambda stub: stub.SetVmCpu, request)

    async def migrate(self, host: Host, vm: Vm, migration: Migration) -> VmState:
        """Have ``host`` begin ``migration`` of ``vm``, of which it is the source."""
        request = agent_pb2.MigrateVmRequest(
            command=self._command(host),
            vm=vm.id,
            migration=migration.id,
            destination=migration.destination,
            destination_incarnation=migration.destination_incarnation,
            settings=migration.settings,
            epoch_there=migration.epoch_there,
            epoch_back=migration.epoch_back,
            domain=self._domain(vm, migration.epoch),
        )
        return _state(await self._call(host, lambda stub: stub.MigrateVm, request))

    async def cancel_migration(self, host: Host, migration: Migration) -> None:
        """Have ``host``, at either end of it, give ``migration`` up.

        Raises ``Refused`` where it is too late for that.
        """
        request = agent_pb2.CancelMigrationRequest(
            command=self._command(host), vm=vm_id(migration.vm_number), migration=migration.id
        )
        await self._call(host, lambda stub: stub.CancelMigration, request)

    async def watch_migration(
        self, host: Host, migration: Migration
    ) -> AsyncGenerator[agent_pb2.MigrationProgress, None]:
        """Yield how ``migration`` goes, as its source ``host`` says, until it does not any more.

        Raises ``NotFound`` where the host's process knows of no such migration, ``Senseless`` where
        it fails to say, and ``Unanswered`` where the stream breaks, or is silent for as long as an
        attempt at an order may take.
        """
        request = agent_pb2.WatchMigrationRequest(migration=migration.id)
        call = self._stubs[host.name].WatchMigration(request)
        said = aiter(call)
        try:
            while True:
                async with self._clock.timeout(ATTEMPT * self._interval_s):
                    progress = await anext(said, None)
                if progress is None:
                    return
                yield progress
        except TimeoutError:
            raise Unanswered(f"host {host.name} says nothing of migration {migration.id}") from None
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure)
            if isinstance(error, NotFound):
                raise error from None
            kind = Unanswered if failure.code() in _BROKEN else Senseless
            raise kind(f"host {host.name} does not answer ({error})") from failure
        finally:
            call.cancel()

    async def discard(self, host: Host, vms: Sequence[Vm]) -> None:
        """Have ``host`` drop its copies of ``vms`` that have older epochs than these.

        Of none, it is a word with ``host`` after which all that it said before is known to be old.
        """
        request = agent_pb2.DiscardVmsRequest(
            command=self._command(host),
            vm=[vm.id for vm in vms],
            epoch=[vm.epoch for vm in vms],
        )
        await self._call(host, lambda stub: stub.DiscardVms, request)

    def _domain(self, vm: Vm, epoch: int) -> agent_pb2.Domain:
        seed = derive(self._seed, "vm", vm.name)
        return agent_pb2.Domain(vm=vm.id, seed=seed, spec=vm.message, epoch=epoch)

    def _command(self, host: Host) -> agent_pb2.Command:
        return agent_pb2.Command(
            request_id=f"{self._generation}-{next(self._numbers)}",
            host=host.name,
            incarnation=host.incarnation,
            vrm_generation=self._generation,
            session=host.session,
        )

    async def _call(
        self,
        host: Host,
        method: Callable[[agent_pb2_grpc.AgentStub], Callable[..., Awaitable[Reply]]],
        request: object,
    ) -> Reply:
        session, incarnation = host.session, host.incarnation
        patience_ends_s = self._clock.now() + PATIENCE * self._interval_s
        while True:
            _check_session(host, session, incarnation)
            try:
                limit_s = ATTEMPT * self._interval_s
                reply = await method(self._stubs[host.name])(request, timeout=limit_s)
            except grpc.aio.AioRpcError as failure:
                # A refusal may tell of the end of a session in which it was executed before.
                _check_session(host, session, incarnation)
                error = error_of(failure)
                if isinstance(error, Refused | NotFound | InvalidInput):
                    raise error from None
                if failure.code() not in _BROKEN or self._clock.now() >= patience_ends_s:
                    why = f"host {host.name} does not answer orders ({error})"
                    self._lost(host, why)
                    raise Unanswered(why) from failure
            else:
                if host.incarnation == incarnation:
                    host.sequence = max(host.sequence, reply.sequence)
                return reply
            await self._clock.sleep(PAUSE * self._interval_s)


def _check_session(host: Host, session: int, incarnation: int) -> None:
    """Raise ``Unanswered`` where what was ordered in ``session`` has become void."""
    if host.incarnation != incarnation:
        raise Unanswered(f"host {host.name} was restarted")
    if host.session != session or not host.reachable:
        raise Unanswered(f"host {host.name} fell silent")


def _state(reply: agent_pb2.VmReply) -> VmState:
    return convert.VM_STATE_OF[reply.state]

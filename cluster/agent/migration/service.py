"""The migrations of a process: which are under way, and those that come in."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import grpc
import structlog

from cluster.agent.chassis import PoweredOff
from cluster.agent.migration.facilities import Facilities
from cluster.agent.migration.framing import Frame, add_to_server
from cluster.agent.migration.incoming import Incoming
from cluster.agent.migration.order import Order
from cluster.agent.migration.outgoing import Outgoing
from cluster.rpc.errors import status_of
from cluster.rpc.v1 import agent_pb2
from fusion.errors import FusionError, InvalidInput, NotFound, Refused
from fusion.vm import VmState, vm_id

log = structlog.get_logger()

#: So many outcomes are remembered.
KEPT = 1024


class Migrations:
    """Runs what is ordered, remembers how it ended, and takes VMs in. Each runs in a task of the
    agent, so that nobody who stops waiting ends it.
    """

    def __init__(self, facilities: Facilities) -> None:
        self._facilities = facilities
        self._tasks: asyncio.TaskGroup | None = None
        self._outgoing: OrderedDict[str, Outgoing] = OrderedDict()  # by migration
        self._running: dict[str, asyncio.Task[None]] = {}  # of those that have not ended
        self._incoming: dict[tuple[str, int], Incoming] = {}  # by host and VM

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Have ``tasks`` own what is under way."""
        self._tasks = tasks

    # What there is

    @property
    def outgoing(self) -> Sequence[Outgoing]:
        """Those under way out of hosts of this process."""
        return [self._outgoing[migration] for migration in self._running]

    @property
    def incoming(self) -> Sequence[Incoming]:
        """Those under way to hosts of this process."""
        return list(self._incoming.values())

    # At the source

    def begin(self, request: agent_pb2.MigrateVmRequest) -> VmState:
        """Begin what ``request`` orders; one that has begun already is joined.

        Raises ``FusionError`` where it cannot be: then nothing has changed.
        """
        if request.migration in self._outgoing:
            return self._state(request.command.host, self._outgoing[request.migration].order.vm)
        order = Order.of(request)
        holding = self._facilities.copies.of(order.host, order.vm)
        if holding is None:
            raise NotFound(f"host {order.host} has no VM {request.vm}; ask where it is")
        if holding.epoch != order.epoch:
            raise Refused(
                f"{holding} has epoch {holding.epoch} on host {order.host}; "
                f"it was to be migrated at {order.epoch}"
            )
        if not holding.until_s:
            raise Refused(f"{holding} has no volume on an array that could hand it over")
        with self._facilities.chassis.change() as fleet:
            state = fleet.begin_migration(order.host, order.vm)
        outgoing = self._outgoing[order.migration] = Outgoing(order, holding, self._facilities)
        task = self._running[order.migration] = self._spawn(outgoing.run())
        task.add_done_callback(lambda _: self._ended(order.migration))
        self._count()
        return state

    async def cancel(self, request: agent_pb2.CancelMigrationRequest) -> VmState:
        """End a migration and return once it has. Raises ``NotFound``, and ``Refused`` where it is
        too late for that.
        """
        outgoing = self._known(request.migration)
        outgoing.cancel()
        await asyncio.wait([self._running[request.migration]])
        return self._state(outgoing.order.host, outgoing.order.vm)

    async def watch(self, migration: str) -> AsyncIterator[agent_pb2.MigrationProgress]:
        """Yield how a migration goes until its outcome. Raises ``NotFound``, also where the host
        loses its power meanwhile.
        """
        outgoing = self._known(migration)
        clock, interval_s = self._facilities.clock, self._facilities.interval_s
        async for message in outgoing.progress.follow(clock, interval_s):
            self._known(migration)
            yield message

    # At the destination

    def register(self, server: grpc.aio.Server) -> None:
        """Answer ``Migration.Receive`` on ``server``."""
        add_to_server(self.receive, server)

    async def receive(self, _: AsyncIterator[Frame], context: Any) -> None:
        """Take a VM in, over a call that its source made."""
        try:
            await self._receive(context)
        except FusionError as error:
            await context.abort(status_of(error), str(error))

    async def _receive(self, call: Any) -> None:
        try:
            async with self._facilities.clock.timeout(self._facilities.silence_s):
                first = await call.read()
        except TimeoutError:
            raise InvalidInput("a migration did not begin with an offer in time") from None
        if first is grpc.aio.EOF or not first.message.HasField("begin"):
            raise InvalidInput("a migration has to begin with an offer")
        incoming = Incoming(first.message.begin, self._facilities, self._spawn)
        incoming.keep_room()
        key = incoming.host, incoming.vm
        self._incoming[key] = incoming
        self._count()
        try:
            await incoming.run(call)
        finally:
            if incoming.deciding is None or incoming.deciding.done():
                self._came(key)
            else:  # its source has stopped listening
                incoming.deciding.add_done_callback(lambda _: self._came(key))

    # What ends them from outside

    def supersede(self, host: str, vm: str, epoch: int) -> None:
        """Drop what comes in of ``vm`` at an earlier epoch than it is to start at."""
        for incoming in self.incoming:
            if (incoming.host, vm_id(incoming.vm)) == (host, vm) and incoming.epoch < epoch:
                incoming.drop(Refused(f"VM {vm} is to start on host {host} at epoch {epoch}"))

    def end(self, host: str) -> None:
        """``host`` has lost its power: nothing is left of what went out of it or came in."""
        for migration, outgoing in list(self._outgoing.items()):
            if outgoing.order.host == host:
                del self._outgoing[migration]
                outgoing.progress.changed()
                if migration in self._running:
                    self._running.pop(migration).cancel()
        for incoming in self.incoming:
            if incoming.host == host:
                incoming.drop(PoweredOff(host))
        self._count()

    # Within

    def _known(self, migration: str) -> Outgoing:
        outgoing = self._outgoing.get(migration)
        if outgoing is None:
            raise NotFound(f"no migration {migration!r} is known here; its home array knows more")
        return outgoing

    def _state(self, host: str, vm: int) -> VmState:
        try:
            return self._facilities.chassis.guest(host, vm)[0]
        except NotFound:
            return VmState.STOPPED

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        assert self._tasks is not None, "run_in comes first"
        return self._tasks.create_task(work)

    def _ended(self, migration: str) -> None:
        self._running.pop(migration, None)
        while len(self._outgoing) > KEPT and next(iter(self._outgoing)) not in self._running:
            self._outgoing.popitem(last=False)
        self._count()

    def _came(self, key: tuple[str, int]) -> None:
        self._incoming.pop(key, None)
        self._count()

    def _count(self) -> None:
        under_way = self._facilities.counters.migrations.under_way
        under_way["out"], under_way["in"] = len(self._running), len(self._incoming)

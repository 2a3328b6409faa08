"""The migrations of a process: which are under way, and those that come in."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, NamedTuple

import grpc
import structlog

from cluster.agent.chassis import PoweredOff
from cluster.agent.migration.facilities import Facilities
from cluster.agent.migration.framing import Frame, add_to_server
from cluster.agent.migration.incoming import Incoming
from cluster.agent.migration.order import Order
from cluster.agent.migration.outgoing import Outgoing
from cluster.agent.migration.progress import Progress
from cluster.rpc.errors import status_of
from cluster.rpc.v1 import agent_pb2
from fusion.errors import FusionError, InvalidInput, NotFound, Refused
from fusion.vm import VmState, vm_id

log = structlog.get_logger()

#: So many outcomes are remembered.
KEPT = 1024


class _Known(NamedTuple):
    """What is remembered of a migration out of a host: without its memory."""

    host: str
    vm: int
    progress: Progress
    task: asyncio.Task[None]


class Migrations:
    """Runs what is ordered, remembers how it ended, and takes VMs in. Each runs in a task of the
    agent, so that nobody who stops waiting ends it.
    """

    def __init__(self, facilities: Facilities) -> None:
        self._facilities = facilities
        self._tasks: asyncio.TaskGroup | None = None
        self._known: OrderedDict[str, _Known] = OrderedDict()  # by migration, also what has ended
        self._outgoing: dict[str, Outgoing] = {}  # by migration
        self._incoming: dict[tuple[str, int], Incoming] = {}  # by host and VM
        self._refused: deque[tuple[str, str]] = deque(maxlen=KEPT)  # by host and migration

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Have ``tasks`` own what is under way."""
        self._tasks = tasks

    # What there is

    @property
    def outgoing(self) -> Sequence[Outgoing]:
        """Those under way out of hosts of this process."""
        return list(self._outgoing.values())

    @property
    def incoming(self) -> Sequence[Incoming]:
        """Those under way to hosts of this process."""
        return list(self._incoming.values())

    # At the source

    def begin(self, request: agent_pb2.MigrateVmRequest) -> VmState:
        """Begin what ``request`` orders; one that has begun already is joined.

        Raises ``FusionError`` where it cannot be: then nothing has changed.
        """
        if request.migration in self._known:
            return self._state(self._known[request.migration])
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
        task = self._spawn(outgoing.run())
        self._known[order.migration] = _Known(order.host, order.vm, outgoing.progress, task)
        task.add_done_callback(lambda _: self._ended(order.migration))
        self._count()
        return state

    async def cancel(self, request: agent_pb2.CancelMigrationRequest) -> VmState:
        """End a migration, at the host of either end, and return once it has. Raises ``NotFound``,
        and ``Refused`` where it is too late for that.

        What this host knows nothing of never begins here: it may be on its way.
        """
        known = self._known.get(request.migration)
        if known is None or known.host != request.command.host:
            return self._refuse(request)
        outgoing = self._outgoing.get(request.migration)
        if outgoing is None:
            raise Refused(f"migration {request.migration} has ended; there is nothing to cancel")
        outgoing.cancel()
        await asyncio.wait([known.task])
        return self._state(known)

    def _refuse(self, request: agent_pb2.CancelMigrationRequest) -> VmState:
        """Drop the half-built copy of a VM that comes in, and never take it."""
        host, migration = request.command.host, request.migration
        self._refused.append((host, migration))
        for incoming in self.incoming:
            if (incoming.host, incoming.migration) == (host, migration):
                if incoming.deciding is not None:
                    raise Refused(f"VM {request.vm} is being handed over to host {host}")
                incoming.drop(Refused(f"the VRM ended migration {migration}"))
                return VmState.STOPPED
        raise NotFound(f"no migration {migration!r} is under way to or from host {host}")

    async def watch(self, migration: str) -> AsyncIterator[agent_pb2.MigrationProgress]:
        """Yield how a migration goes until its outcome. Raises ``NotFound``, also where the host
        loses its power meanwhile.
        """
        clock, interval_s = self._facilities.clock, self._facilities.interval_s
        async for message in self._find(migration).progress.follow(clock, interval_s):
            self._find(migration)
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
        if (incoming.host, incoming.migration) in self._refused:
            raise Refused(f"the VRM ended migration {incoming.migration}")
        incoming.keep_room()
        self._incoming[incoming.host, incoming.vm] = incoming
        self._count()
        try:
            await incoming.run(call)
        finally:
            if incoming.deciding is None or incoming.deciding.done():
                self._came(incoming)
            else:  # its source has stopped listening
                incoming.deciding.add_done_callback(lambda _: self._came(incoming))

    # What ends them from outside

    def supersede(self, host: str, vm: str, epoch: int) -> None:
        """Drop what comes in of ``vm`` at an earlier epoch than it is to start at."""
        for incoming in self.incoming:
            if (incoming.host, vm_id(incoming.vm)) == (host, vm) and incoming.epoch < epoch:
                incoming.drop(Refused(f"VM {vm} is to start on host {host} at epoch {epoch}"))

    def end(self, host: str) -> None:
        """``host`` has lost its power: nothing is left of what went out of it or came in."""
        for migration, known in list(self._known.items()):
            if known.host == host:
                del self._known[migration]
                self._outgoing.pop(migration, None)
                known.task.cancel()
                known.progress.changed()
        for incoming in self.incoming:
            if incoming.host == host:
                incoming.drop(PoweredOff(host))
        self._count()

    # Within

    def _find(self, migration: str) -> _Known:
        known = self._known.get(migration)
        if known is None:
            raise NotFound(f"no migration {migration!r} is known here; its home array knows more")
        return known

    def _state(self, known: _Known) -> VmState:
        try:
            return self._facilities.chassis.guest(known.host, known.vm)[0]
        except NotFound:
            return VmState.STOPPED

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        assert self._tasks is not None, "run_in comes first"
        return self._tasks.create_task(work)

    def _ended(self, migration: str) -> None:
        self._outgoing.pop(migration, None)
        while len(self._known) > KEPT and next(iter(self._known)) not in self._outgoing:
            self._known.popitem(last=False)
        self._count()

    def _came(self, incoming: Incoming) -> None:
        if self._incoming.get((incoming.host, incoming.vm)) is incoming:
            del self._incoming[incoming.host, incoming.vm]
        self._count()

    def _count(self) -> None:
        under_way = self._facilities.counters.migrations.under_way
        under_way["out"], under_way["in"] = len(self._outgoing), len(self._incoming)

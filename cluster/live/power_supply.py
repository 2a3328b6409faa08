"""Power control of every host of a datacenter: where it is on, there is a process."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import structlog

from cluster.live.layout import Chassis
from cluster.live.power import LivePower
from cluster.network import Network
from cluster.rpc.errors import unary
from cluster.rpc.v1 import power_pb2 as pb
from cluster.rpc.v1 import power_pb2_grpc
from fusion.errors import FusionError, NotFound, Refused
from fusion.spec import HostSpec

log = structlog.get_logger()

_FORWARDED_S = 10.0  # wall time for an order to a process that runs


class Running(Protocol):
    """A chassis process that was started."""

    async def kill(self) -> None:
        """End the process; returns when it is gone."""
        ...


#: Starts the process of a chassis with its hosts and their incarnations (0: powered off); the
#: second argument is called when that process died.
StartChassis = Callable[
    [Chassis, tuple[tuple[HostSpec, int], ...], Callable[[], None]], Awaitable[Running]
]


class Incarnations:
    """The number of each host's last power-on, in a database: none is ever given twice."""

    def __init__(self, store: sqlite3.Connection) -> None:
        self._store = store
        with store:
            store.execute(
                "CREATE TABLE IF NOT EXISTS incarnation (host TEXT PRIMARY KEY, number INTEGER)"
            )

    def next(self, host: str) -> int:
        with self._store:
            (number,) = self._store.execute(
                "INSERT INTO incarnation VALUES (?, 1) "
                "ON CONFLICT (host) DO UPDATE SET number = number + 1 RETURNING number",
                (host,),
            ).fetchone()
        return int(number)

    def last(self, host: str) -> int:
        row = self._store.execute(
            "SELECT number FROM incarnation WHERE host = ?", (host,)
        ).fetchone()
        return int(row[0]) if row else 0


@dataclass(slots=True)
class _Slot:
    """One chassis: its process while it has one, and which of its hosts are on."""

    chassis: Chassis
    process: Running | None = None
    on: dict[str, int] = field(default_factory=dict)  # host: incarnation
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class PowerSupply:
    """Implements ``cluster.power.Power`` by starting and ending processes.

    A host alone in its process lives and dies with it. Packed hosts share one, which starts with
    the first of them; after that their power is the process's own Power service.
    """

    def __init__(
        self,
        chassis: tuple[Chassis, ...],
        start: StartChassis,
        network: Network,
        incarnations: Incarnations,
    ) -> None:
        slots = [_Slot(one) for one in chassis]
        self._slots = {host.name: slot for slot in slots for host in slot.chassis.hosts}
        self._start = start
        self._network = network
        self._incarnations = incarnations
        self._closed = False
        #: Why hosts could not be switched on, in order.
        self.failures: list[str] = []
        #: Processes that died without having been switched off, in order.
        self.deaths: list[str] = []

    def close(self) -> None:
        """Refuse every order from now on."""
        self._closed = True

    async def on(self, host: str) -> int:
        slot = self._slot(host)
        async with slot.changing:
            if host in slot.on and await self._still_on(slot, host):
                return slot.on[host]
            return await self._switch_on(slot, host)

    async def off(self, host: str) -> int:
        slot = self._slot(host)
        async with slot.changing:
            return await self._switch_off(slot, host)

    async def reset(self, host: str) -> int:
        slot = self._slot(host)
        async with slot.changing:
            await self._switch_off(slot, host)
            return await self._switch_on(slot, host)

    def _slot(self, host: str) -> _Slot:
        if self._closed:
            raise Refused("the datacenter is being shut down")
        slot = self._slots.get(host)
        if slot is None:
            raise NotFound(f"there is no host {host!r} to switch on or off")
        return slot

    async def _still_on(self, slot: _Slot, host: str) -> bool:
        """Tell whether ``host`` has not been switched off at its process, behind our back."""
        if not slot.chassis.packed:
            return True
        try:
            await self._switches_of(slot).on(host, slot.on[host])
        except Refused:  # it has been this incarnation already
            return False
        except FusionError:
            pass  # a process that does not answer has power all the same
        return True

    async def _switch_on(self, slot: _Slot, host: str) -> int:
        incarnation = self._incarnations.next(host)
        try:
            if slot.process is None:
                await self._start_process(slot, host, incarnation)
            else:
                await self._switches_of(slot).on(host, incarnation)
                if slot.process is None:
                    raise FusionError("its process died meanwhile; see its log")
        except FusionError as error:
            self.failures.append(f"host {host} cannot be started: {error}")
            log.error("host cannot be started", host=host, reason=str(error))
            raise
        slot.on[host] = incarnation
        log.info("host is on", host=host, incarnation=incarnation)
        return incarnation

    async def _start_process(self, slot: _Slot, host: str, incarnation: int) -> None:
        hosts = tuple(
            (spec, incarnation if spec.name == host else 0) for spec in slot.chassis.hosts
        )
        lost = False

        def died() -> None:
            nonlocal lost
            lost = True
            if slot.process is process:
                self._forget(slot)

        process: Running | None = None
        process = await self._start(slot.chassis, hosts, died)
        if lost:
            raise FusionError("its process died at once; see its log")
        slot.process = process

    def _switches_of(self, slot: _Slot) -> LivePower:
        return LivePower(self._network, slot.chassis.name, _FORWARDED_S)

    def _forget(self, slot: _Slot) -> None:
        name = slot.chassis.name
        self.deaths.append(name)
        log.error("process died", process_name=name, hosts_lost=sorted(slot.on))
        slot.process = None
        slot.on.clear()

    async def _switch_off(self, slot: _Slot, host: str) -> int:
        last = slot.on.pop(host, 0) or self._incarnations.last(host)
        process = slot.process
        if process is None:
            return last
        if slot.chassis.packed:
            await self._switches_of(slot).off(host)
        else:
            slot.process = None
            await process.kill()
        log.info("host is off", host=host, incarnation=last)
        return last


class PowerService(power_pb2_grpc.PowerServicer):
    """The power supply as a gRPC service: orders go on when their caller hangs up."""

    def __init__(self, supply: PowerSupply) -> None:
        self._supply = supply
        self._orders: set[asyncio.Task[int]] = set()

    def register(self, server: grpc.aio.Server) -> None:
        power_pb2_grpc.add_PowerServicer_to_server(self, server)

    @unary
    async def On(self, request: pb.PowerRequest, context: Any) -> pb.PowerReply:
        return await self._carry_out(self._supply.on(request.host))

    @unary
    async def Off(self, request: pb.PowerRequest, context: Any) -> pb.PowerReply:
        return await self._carry_out(self._supply.off(request.host))

    @unary
    async def Reset(self, request: pb.PowerRequest, context: Any) -> pb.PowerReply:
        return await self._carry_out(self._supply.reset(request.host))

    async def _carry_out(self, order: Coroutine[Any, Any, int]) -> pb.PowerReply:
        task = asyncio.create_task(order)
        self._orders.add(task)  # the loop itself would forget it
        task.add_done_callback(self._orders.discard)
        return pb.PowerReply(incarnation=await asyncio.shield(task))

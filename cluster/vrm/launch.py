"""The launch of a datacenter: all hosts on, then its VM groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc

from cluster.clock import Clock
from cluster.power import Power
from cluster.vrm.broadcast import Broadcast
from cluster.vrm.deploy import Deploy
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.liveness import Liveness
from cluster.vrm.records import Host
from fusion.errors import FusionError
from fusion.host import HostEvent, HostState
from fusion.spec import PlannedVm

#: Heartbeat intervals that a host may take from its power to its first registration, and one
#: that was on before a restart of the VRM to register again.
BOOT_INTERVALS = 60
RETURN_INTERVALS = 10


class Launch:
    """Switches on every host that never was, and deploys what has not been."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        events: Events,
        liveness: Liveness,
        deploy: Deploy,
        power: Power,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._inventory = inventory
        self._events = events
        self._liveness = liveness
        self._deploy = deploy
        self._power = power
        self._clock = clock
        self._interval_s = interval_s
        self._ready = {host.name: Broadcast() for host in inventory.hosts}

    async def run(self, vms: Sequence[PlannedVm]) -> None:
        """Launch, or after a restart of the VRM finish what was left."""
        deployments = self._deploy.plan(vms)
        async with asyncio.TaskGroup() as hosts:
            for host in self._inventory.hosts:
                if not host.incarnation:
                    hosts.create_task(self._boot(host))
                elif deployments:
                    hosts.create_task(self._comes(host, RETURN_INTERVALS))
        async with asyncio.TaskGroup() as groups:
            for deployment in deployments:
                groups.create_task(self._deploy.carry_out(deployment))

    def ready(self, host: Host) -> None:
        """``host`` can be used."""
        self._ready[host.name].notify()

    async def _boot(self, host: Host) -> None:
        if host.state is HostState.POWERED_OFF:
            self._inventory.move_host(host, HostEvent.POWERED_ON)
        try:
            incarnation = await self._power.on(host.name)
        except (FusionError, grpc.aio.AioRpcError) as error:
            self._give_up(host, error)
            return
        if incarnation > host.incarnation:
            self._inventory.set_incarnation(host, incarnation)
            host.session = 0
        if not await self._comes(host, BOOT_INTERVALS) and host.state is HostState.BOOTING:
            self._liveness.lose(
                host, f"host {host.name} has power, but its agent never made itself known"
            )

    async def _comes(self, host: Host, intervals: int) -> bool:
        """Wait until ``host`` can be used; return False where it does not come in time."""
        try:
            async with self._clock.timeout(intervals * self._interval_s):
                while not host.reachable:
                    await self._ready[host.name].wait()
        except TimeoutError:
            return False
        return True

    def _give_up(self, host: Host, error: FusionError | grpc.aio.AioRpcError) -> None:
        if host.state is not HostState.BOOTING:
            return  # its agent registered in spite of it
        self._inventory.move_host(host, HostEvent.FAILED)
        reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
        self._events.emit(
            Severity.ERROR,
            "host.faulty",
            f"host {host.name} cannot be switched on: {reason}",
            cluster=host.spec.cluster,
            host=host.name,
        )

"""The power of hosts, as the VRM uses it: on until the agent is there, off for good."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from cluster.clock import Clock
from cluster.power import Power
from cluster.vrm.broadcast import Broadcast
from cluster.vrm.events import Events, Severity
from cluster.vrm.failover import HighAvailability
from cluster.vrm.failovers import Cause
from cluster.vrm.inventory import Inventory
from cluster.vrm.liveness import Liveness
from cluster.vrm.records import Desired, Host
from cluster.vrm.store import Store
from fusion.errors import FusionError
from fusion.host import TRANSITIONS, HostEvent, HostState

#: Heartbeat intervals that a host may take from its power to its first registration, and one
#: that was on before a restart of the VRM to register again.
BOOT_INTERVALS = 60
RETURN_INTERVALS = 10


class Switch:
    """Switches hosts on and off. ``lost`` is told of a host that holds no VM of before any more."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        events: Events,
        liveness: Liveness,
        availability: HighAvailability,
        lost: Callable[[Host], None],
        power: Power,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._events = events
        self._liveness = liveness
        self._availability = availability
        self._lost = lost
        self._power = power
        self._clock = clock
        self._interval_s = interval_s
        self._ready = {host.name: Broadcast() for host in inventory.hosts}

    def ready(self, host: Host) -> None:
        """``host`` can be used."""
        self._ready[host.name].notify()

    async def comes(self, host: Host, intervals: int = RETURN_INTERVALS) -> bool:
        """Wait until ``host`` can be used; return False where it does not come in time."""
        try:
            async with self._clock.timeout(intervals * self._interval_s):
                while not host.reachable:
                    await self._ready[host.name].wait()
        except TimeoutError:
            return False
        return True

    async def on(self, host: Host) -> str:
        """Switch ``host`` on and wait until it can be used; return why it cannot, or nothing."""
        if HostEvent.POWERED_ON in TRANSITIONS[host.state]:
            self._inventory.move_host(host, HostEvent.POWERED_ON)
        try:
            incarnation = await self._power.on(host.name)
        except (FusionError, grpc.aio.AioRpcError) as error:
            return self._not_on(host, error)
        with self._store.transaction():
            if incarnation > host.incarnation:
                self._inventory.set_incarnation(host, incarnation)
                self._lost(host)
            elif host.state is HostState.BOOTING and host.address:
                # It had power all along; what is to become of its VMs must not wait for it.
                self._inventory.move_host(host, HostEvent.FELL_SILENT)
        if await self.comes(host, BOOT_INTERVALS):
            return ""
        why = f"host {host.name} has power, but its agent never made itself known"
        if host.state is HostState.BOOTING:
            self._liveness.lose(host, why)
        return f"{why}; cut its power, or reboot it"

    async def off(self, host: Host) -> str:
        """Cut the power of ``host`` at once; return what becomes of its VMs, or nothing.

        Nothing that is heard of this incarnation counts from then on. VMs that are to run are
        restarted elsewhere, once they are fenced. Raises ``FusionError`` where it still has power.
        """
        ended = await self._power.off(host.name)
        with self._store.transaction():
            self._inventory.end_incarnation(host, max(ended, host.incarnation))
            if host.state is not HostState.POWERED_OFF:
                self._inventory.move_host(host, HostEvent.POWERED_OFF)
            self._inventory.usage.forget_host(host.row)
            vms = [vm for vm in self._inventory.vms_on(host) if not vm.fenced_off]
            wanted = [vm for vm in vms if vm.desired is Desired.RUNNING and vm.spec.volumes]
            last_seen_s = float(self._inventory.host_figures.last_report_s[host.row])
            self._availability.lose(host, Cause.POWERED_OFF, last_seen_s, wanted)
            self._lost(host)
        told = []
        if wanted:
            told.append(f"{len(wanted)} of its VMs are taken to other hosts")
        if len(vms) > len(wanted):
            told.append(f"{len(vms) - len(wanted)} are stopped")
        return ", ".join(told)

    def _not_on(self, host: Host, error: FusionError | grpc.aio.AioRpcError) -> str:
        reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
        why = f"host {host.name} cannot be switched on: {reason}"
        if host.state is not HostState.BOOTING:
            return why  # its agent registered in spite of it, or it is off
        if host.incarnation > host.ended:
            self._liveness.lose(host, why)  # its VMs may still run
            return why
        self._inventory.move_host(host, HostEvent.FAILED)
        self._events.emit(
            Severity.ERROR, "host.faulty", why, cluster=host.spec.cluster, host=host.name
        )
        return why

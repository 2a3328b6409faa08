"""Who has fallen silent: looked at once per heartbeat interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import structlog

from cluster.clock import Clock
from cluster.rpc.convert import HOST_STATES
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Host
from cluster.vrm.store import Store
from fusion.host import HostEvent, HostState
from fusion.policy.detector import Detector
from fusion.vm import VmState

log = structlog.get_logger()

_WATCHED = np.zeros(max(HOST_STATES.values()) + 1, dtype=np.bool_)
_WATCHED[
    [
        HOST_STATES[state]
        for state in (HostState.INITIALISING, HostState.NORMAL, HostState.MAINTENANCE)
    ]
] = True


class Liveness:
    """Declares hosts disconnected that have been silent for too long, as the detector judges."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        events: Events,
        clock: Clock,
        detector: Detector,
        interval_s: float,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._events = events
        self._clock = clock
        self._interval_s = interval_s
        # Silence of those that were on before this VRM came up counts from now on.
        for host in inventory.hosts:
            if host.incarnation:
                detector.watch(host.row, clock.now())
        self._detector = detector

    async def watch(self, swept: Callable[[], None]) -> None:
        """Sweep at every interval, for ever; ``swept`` is called after each."""
        due_s = self._clock.now()
        while True:
            due_s += self._interval_s
            await self._clock.sleep(due_s - self._clock.now())
            late_s = self._clock.now() - due_s
            if late_s > self._interval_s:
                # It was the VRM that slept; the heartbeats are still waiting to be read.
                log.warning("the VRM was held up; this sweep for silent hosts is left out")
                due_s = self._clock.now()
            else:
                self.sweep()
            swept()

    def sweep(self) -> None:
        """Disconnect every host that has been silent for too long."""
        figures, now_s = self._inventory.host_figures, self._clock.now()
        silent = _WATCHED[figures.state] & self._detector.suspicion(now_s)
        if not silent.any():
            return
        with self._store.transaction():
            for row in np.flatnonzero(silent).tolist():
                host = self._inventory.hosts[row]
                self.lose(host, f"host {host.name} is {self._detector.why(row, now_s)}")

    def lose(self, host: Host, why: str) -> None:
        """``host`` is disconnected, and its VMs are unknown until it reports again."""
        with self._store.transaction():
            self._inventory.move_host(host, HostEvent.FELL_SILENT)
            host.session = 0  # nothing that was ordered in it is executed from now on
            self._inventory.usage.forget_host(host.row)
            vms = self._inventory.vms_on(host)
            for vm in vms:
                self._inventory.set_state(vm, VmState.UNKNOWN)
            of_vms = f"; its {len(vms)} VMs are unknown" if vms else ""
            self._events.emit(
                Severity.ERROR,
                "host.disconnected",
                why + of_vms,
                cluster=host.spec.cluster,
                host=host.name,
            )

"""What became of hosts that are silent, on the management plane or on the storage plane."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cluster.clock import Clock
from cluster.rpc.convert import HOST_STATES
from cluster.vrm.events import Events, Severity
from cluster.vrm.failover import HighAvailability
from cluster.vrm.failovers import Cause
from cluster.vrm.heartbeats import LONG_AGO_S, Heartbeats, Reading
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Host
from cluster.vrm.store import Store
from fusion.host import HostEvent, HostState
from fusion.policy.detector import Detector, Verdict, verdicts
from fusion.spec import IsolationResponse, StorageFault


def _among(*states: HostState) -> NDArray[np.bool_]:
    """Return, by the number of a state in the protocol, whether it is one of these."""
    mask = np.zeros(max(HOST_STATES.values()) + 1, dtype=np.bool_)
    mask[[HOST_STATES[state] for state in states]] = True
    return mask


#: States of hosts whose reports the VRM has given up waiting for.
_SILENT = _among(HostState.DISCONNECTED, HostState.ISOLATED)

#: States of hosts that report.
_REPORTING = _among(HostState.INITIALISING, HostState.NORMAL, HostState.MAINTENANCE)


class Detection:
    """Weighs both kinds of heartbeats, once per renewal, and has done what follows from it.

    A silent host of which no array hears is dead, and its VMs fail over. One that renews its leases
    is isolated: its VMs run on, unless it says itself that it stops them. A host that reports, and
    of which an array hears nothing, has lost its storage; ``room`` is called once it is back.
    """

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        events: Events,
        detector: Detector,
        heartbeats: Heartbeats,
        availability: HighAvailability,
        clock: Clock,
        interval_s: float,
        renewal_s: float,
        limit_s: float,
        room: Callable[[], None],
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._events = events
        self._detector = detector
        self._heartbeats = heartbeats
        self._availability = availability
        self._clock = clock
        self._interval_s = interval_s
        self._renewal_s = renewal_s
        self._limit_s = limit_s
        self._room = room
        self._began_s = clock.now()
        # Since when the VRM reaches all arrays and a host says that it does not.
        self._says_storage_less: dict[Host, float] = {}
        self._unheard: dict[Host, tuple[str, ...]] = {}  # on which arrays

    async def watch(self) -> None:
        """Read the storage heartbeats at every renewal and judge by them, for ever."""
        due_s = self._clock.now()
        while True:
            due_s = max(due_s + self._renewal_s, self._clock.now())
            await self._clock.sleep(due_s - self._clock.now())
            self.judge(await self._heartbeats.read())

    def judge(self, reading: Reading) -> None:
        """Carry out what follows from ``reading``."""
        state = self._inventory.host_figures.state
        # Who is silent was found by sweeps that leave out what the VRM itself slept through.
        silent = _SILENT[state] & self._detector.suspicion(self._clock.now())
        codes = verdicts(silent, reading.age_s, reading.says_isolated, self._limit_s)
        self._remember_silent_arrays(reading)
        with self._store.transaction():
            for host in self._hosts(silent):
                self._judge_silent(host, Verdict(int(codes[host.row])), reading)
            lacking = codes == Verdict.STORAGE_LESS
            for host in [*self._unheard, *self._says_storage_less]:
                lacking[host.row] = True
            for host in self._hosts(_REPORTING[state] & lacking):
                self._judge_reporting(host, reading)

    def _hosts(self, rows: NDArray[np.bool_]) -> list[Host]:
        return [self._inventory.hosts[row] for row in np.flatnonzero(rows).tolist()]

    def _judge_silent(self, host: Host, verdict: Verdict, reading: Reading) -> None:
        match verdict:
            case Verdict.DEAD:
                self._inventory.move_host(host, HostEvent.FAILED)
                self._tell(host, "dead", self._evidence(host, reading))
                self._availability.lose(host, Cause.DEAD, self._last_seen_s(host, reading))
            case Verdict.CUT_OFF if not self._outlived_its_reports(host, reading):
                pass  # it may have died right after its last renewal
            case Verdict.ISOLATED | Verdict.CUT_OFF:
                if host.state is not HostState.ISOLATED:
                    self._inventory.move_host(host, HostEvent.ISOLATED)
                    self._tell(host, "isolated", self._evidence(host, reading))
                if verdict is Verdict.ISOLATED and self._stops(host):
                    self._availability.lose(host, Cause.ISOLATED, self._last_seen_s(host, reading))
            case _:  # no array can be asked, so nothing can be fenced either
                pass

    def _outlived_its_reports(self, host: Host, reading: Reading) -> bool:
        """Whether it renewed leases when it reported no more, nor was about to."""
        reported_s = float(self._inventory.host_figures.last_report_s[host.row])
        renewed_s = self._clock.now() - reading.youngest_s(host.row)
        return renewed_s > max(reported_s, self._began_s) + self._interval_s

    def _stops(self, host: Host) -> bool:
        cluster = self._inventory.cluster(host.spec.cluster)
        return cluster.isolation_response is IsolationResponse.STOP

    # Hosts without storage

    def says_storage_less(self, host: Host, lacking: bool) -> None:
        """A report of ``host`` says whether it reaches all arrays."""
        if lacking:
            self._says_storage_less.setdefault(host, self._clock.now())
        else:
            self._says_storage_less.pop(host, None)
        self._mark(host)

    def forget(self, host: Host) -> None:
        """``host`` is off or came on anew: what it lacked before says nothing any more."""
        self._says_storage_less.pop(host, None)
        self._unheard.pop(host, None)
        host.storage_less = False

    def _remember_silent_arrays(self, reading: Reading) -> None:
        """Where it is the arrays that are away, no host is better than another."""
        if not np.isfinite(reading.age_s).any(axis=1).all():
            self._says_storage_less = dict.fromkeys(self._says_storage_less, self._clock.now())

    def _judge_reporting(self, host: Host, reading: Reading) -> None:
        age_s = reading.age_s[:, host.row]
        late = (age_s > self._limit_s) & (age_s < LONG_AGO_S)  # else it is about to register anew
        if late.any():
            self._unheard[host] = tuple(
                name for name, each in zip(reading.arrays, late.tolist(), strict=True) if each
            )
        else:
            self._unheard.pop(host, None)
        self._mark(host)
        if host.storage_less:
            self._restart_elsewhere(host, reading)

    def _mark(self, host: Host) -> None:
        storage_less = host in self._unheard or host in self._says_storage_less
        if storage_less == host.storage_less:
            return
        host.storage_less = storage_less
        if storage_less:
            arrays = " and ".join(self._unheard.get(host, ())) or "an array"
            whose = "hears nothing of it" if host in self._unheard else "cannot be reached, it says"
            self._tell(host, "storage-less", f"{arrays} {whose}; {self._strategy(host)}")
        else:
            self._events.emit(
                Severity.INFO,
                "host.storage-back",
                f"host {host.name} reaches its storage again",
                cluster=host.spec.cluster,
                host=host.name,
            )
            self._room()

    def _strategy(self, host: Host) -> str:
        match self._inventory.cluster(host.spec.cluster).storage_fault:
            case StorageFault.WAIT:
                return "VMs whose lease ends there wait, paused, until it is back"
            case StorageFault.RESTART:
                return "VMs whose lease ends there are restarted elsewhere"

    def _restart_elsewhere(self, host: Host, reading: Reading) -> None:
        """Take from ``host`` the VMs that it cannot run, where its cluster is set to that."""
        cluster = self._inventory.cluster(host.spec.cluster)
        if cluster.storage_fault is not StorageFault.RESTART or not cluster.ha:
            return
        unheard = self._unheard.get(host, ())
        says_s = self._clock.now() - self._says_storage_less.get(host, math.inf)
        frozen = [
            vm
            for vm in self._inventory.vms_on(host)
            if vm.spec.ha
            and (
                any(array in unheard for array in vm.spec.arrays)
                or (vm.frozen and says_s > self._limit_s)
            )
        ]
        if frozen:
            age_s = reading.age_s[:, host.row]
            missing_s = float(age_s[age_s < LONG_AGO_S].max(initial=0.0))
            self._availability.lose(host, Cause.STORAGE_LESS, self._clock.now() - missing_s, frozen)

    # What is told

    def _evidence(self, host: Host, reading: Reading) -> str:
        heard = [
            f"array {name} {self._heard(age_s)}"
            for name, age_s in zip(reading.arrays, reading.age_s[:, host.row].tolist(), strict=True)
            if np.isfinite(age_s)
        ]
        if reading.says_isolated[host.row]:
            heard.append("it says itself that nobody else answers it")
        return "; ".join([self._detector.why(host.row, self._clock.now()), *heard])

    def _heard(self, age_s: float) -> str:
        if age_s >= LONG_AGO_S:
            return "hears of a later life of it"
        if age_s > self._limit_s:
            return f"has not heard of it for {age_s:.1f} s"
        return f"heard of it {age_s:.1f} s ago"

    def _last_seen_s(self, host: Host, reading: Reading) -> float:
        """Return the VRM's instant of the last sign of life, of either kind."""
        reported_s = float(self._inventory.host_figures.last_report_s[host.row])
        return max(reported_s, self._clock.now() - reading.youngest_s(host.row))

    def _tell(self, host: Host, what: str, evidence: str) -> None:
        self._events.emit(
            Severity.ERROR,
            f"host.{what}",
            f"host {host.name} is {what}: {evidence}",
            cluster=host.spec.cluster,
            host=host.name,
        )

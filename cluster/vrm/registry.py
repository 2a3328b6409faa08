"""The service that agents call: registrations and heartbeats."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import structlog

from cluster.clock import Clock
from cluster.metrics.vrm import Lateness
from cluster.rpc.errors import unary
from cluster.rpc.v1 import registry_pb2, registry_pb2_grpc
from cluster.vrm.copies import VoidCopies
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.notices import Notices
from cluster.vrm.records import Host
from cluster.vrm.reports import Reports, check_columns, check_report
from cluster.vrm.store import Store
from fusion.host import HostEvent, HostState
from fusion.policy.detector import Detector

log = structlog.get_logger()

#: A host that falls silent or reports again changes from or into one of these.
_LOST = (HostState.DISCONNECTED, HostState.ISOLATED, HostState.FAULTY)


class _Verdict(Enum):
    """What a report is of a host."""

    NEW = auto()
    OLD = auto()  # something later was heard
    UNKNOWN = auto()  # of another life or session: the host should register


def _verdict(host: Host, incarnation: int, session: int, sequence: int) -> _Verdict:
    if incarnation > host.incarnation:
        return _Verdict.UNKNOWN
    if incarnation < host.incarnation:
        return _Verdict.OLD
    if not host.session or session != host.session:
        return _Verdict.UNKNOWN
    return _Verdict.NEW if sequence > host.sequence else _Verdict.OLD


class Registry(registry_pb2_grpc.RegistryServicer):
    """Takes over what agents say; ``ready`` is called with every host that can be used from
    now on."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        reports: Reports,
        copies: VoidCopies,
        notices: Notices,
        detector: Detector,
        events: Events,
        clock: Clock,
        generation: int,
        interval_s: float,
        lateness: Lateness,
        lost: Callable[[Host], None],
        ready: Callable[[Host], None],
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._reports = reports
        self._copies = copies
        self._notices = notices
        self._detector = detector
        self._events = events
        self._clock = clock
        self._generation = generation
        self._interval_s = interval_s
        self._lateness = lateness
        self._lost = lost
        self._ready = ready
        self._nothing_else = registry_pb2.ReportReply(vrm_generation=generation)
        self.reports_total = 0

    @unary
    async def Register(
        self, request: registry_pb2.RegisterRequest, context: Any
    ) -> registry_pb2.RegisterReply:
        check_columns(len(request.hosts), request.vms)
        hosts = [self._inventory.host(entry.spec.name) for entry in request.hosts]
        with self._store.transaction():
            session = self._store.raise_counter("session")
            taken: list[Host | None] = []
            for host, entry in zip(hosts, request.hosts, strict=True):
                said = entry.incarnation, request.sequence
                ended = entry.incarnation <= host.ended
                if ended or said <= (host.incarnation, host.sequence):
                    log.warning("an old registration arrived; ignored", host=host.name)
                    taken.append(None)
                    continue
                self._take_over(host, entry.incarnation, session, request.sequence)
                self._inventory.set_endpoint(
                    host, request.address, request.metrics_url, request.pid
                )
                taken.append(host)
            self._copies.learn(taken, request.vms)
            initialising = [host for host in taken if host is not None and not host.reachable]
            self._reports.take_vms(taken, request.vms, in_part=initialising)
        for ready in [host for host in taken if host is not None and host.reachable]:
            self._ready(ready)
        return registry_pb2.RegisterReply(
            vrm_generation=self._generation,
            heartbeat_interval_s=self._interval_s,
            session=session,
        )

    def _take_over(self, host: Host, incarnation: int, session: int, sequence: int) -> None:
        """Begin a session with ``host``.

        One that came on anew is ready at once. Otherwise orders of an earlier session may be on
        their way and be executed until the agent has heard of the new one, as its first report
        in it shows: the host is initialising, and a VM that it does not mention may yet appear.
        """
        was, came_on = host.state, incarnation > host.incarnation
        first = came_on or not host.address  # nothing has been ordered in this incarnation
        if was is HostState.POWERED_OFF:
            self._inventory.switch(host, off=False)  # somebody else switched it on
        if came_on:
            self._inventory.set_incarnation(host, incarnation)
            self._lost(host)
        host.session, host.sequence = session, sequence
        self._inventory.move_host(host, HostEvent.REGISTERED)
        self._inventory.host_figures.last_report_s[host.row] = self._clock.now()
        self._detector.watch(host.row, self._clock.now())
        if host.state is HostState.INITIALISING and first:
            self._begin_use(host)
        if was in _LOST and not first:
            self._tell_back(host, was)
        elif first:
            self._events.emit(
                Severity.INFO,
                "host.registered",
                f"host {host.name} made itself known (incarnation {incarnation})",
                cluster=host.spec.cluster,
                host=host.name,
            )

    @unary
    async def Report(
        self, request: registry_pb2.ReportRequest, context: Any
    ) -> registry_pb2.ReportReply:
        gaps_s = self._reports.take_repeated(request)
        if gaps_s is None:
            return self._take_news(request)
        self.reports_total += 1
        self._lateness.observe([gap_s - self._interval_s for gap_s in gaps_s])
        return self._nothing_else

    def _take_news(self, request: registry_pb2.ReportRequest) -> registry_pb2.ReportReply:
        """Take over a report that is not as the last one of its hosts."""
        check_report(request)
        self.reports_total += 1
        taken: list[Host | None] = []
        unregistered: list[str] = []
        initialised: list[Host] = []
        sequence = request.sequence
        with self._store.transaction():
            for name, incarnation, session in zip(
                request.host, request.incarnation, request.session, strict=True
            ):
                host = self._inventory.known_host(name)
                verdict = (
                    _verdict(host, incarnation, session, sequence) if host else _Verdict.UNKNOWN
                )
                if host is None or verdict is not _Verdict.NEW:
                    taken.append(None)
                    if verdict is _Verdict.UNKNOWN:
                        unregistered.append(name)
                    continue
                host.sequence = sequence
                taken.append(host)
                if host.state is HostState.INITIALISING:
                    initialised.append(host)
            gaps_s = self._reports.take_hosts(taken, request)
            self._lateness.observe([gap_s - self._interval_s for gap_s in gaps_s])
            for host in initialised:
                self._begin_use(host)
            vms = self._reports.take_vms(taken, request.vms)
            self._notices.take(taken, request)
        self._reports.remember(taken, vms, request)
        for host in initialised:
            self._ready(host)
        return registry_pb2.ReportReply(vrm_generation=self._generation, unregistered=unregistered)

    def _begin_use(self, host: Host) -> None:
        self._inventory.move_host(host, HostEvent.READY)
        if host.maintenance:
            self._inventory.move_host(host, HostEvent.ENTERED_MAINTENANCE)

    def _tell_back(self, host: Host, was: HostState) -> None:
        self._events.emit(
            Severity.INFO,
            "host.reconnected",
            f"host {host.name} was {was} and reports again",
            cluster=host.spec.cluster,
            host=host.name,
        )

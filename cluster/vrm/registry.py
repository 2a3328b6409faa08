"""The service that agents call: registrations and heartbeats."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from cluster.clock import Clock
from cluster.metrics.vrm import Lateness
from cluster.rpc.errors import unary
from cluster.rpc.v1 import registry_pb2, registry_pb2_grpc
from cluster.vrm.changes import Changes
from cluster.vrm.events import Events, Severity
from cluster.vrm.inventory import Inventory
from cluster.vrm.records import Host
from cluster.vrm.reports import Reports, check_columns
from cluster.vrm.store import Store
from fusion.errors import InvalidInput
from fusion.host import HostEvent, HostState

log = structlog.get_logger()

#: A host that falls silent or reports again changes from or into one of these.
_LOST = (HostState.DISCONNECTED, HostState.ISOLATED)


class Registry(registry_pb2_grpc.RegistryServicer):
    """Takes over what agents say; ``registered`` is called with every host that registered."""

    def __init__(
        self,
        *,
        store: Store,
        inventory: Inventory,
        reports: Reports,
        changes: Changes,
        events: Events,
        clock: Clock,
        generation: int,
        interval_s: float,
        lateness: Lateness,
        registered: Callable[[Host], None],
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._reports = reports
        self._changes = changes
        self._events = events
        self._clock = clock
        self._generation = generation
        self._interval_s = interval_s
        self._lateness = lateness
        self._registered = registered
        self.reports_total = 0

    @unary
    async def Register(
        self, request: registry_pb2.RegisterRequest, context: Any
    ) -> registry_pb2.RegisterReply:
        check_columns(len(request.hosts), request.vms)
        hosts = [self._inventory.host(entry.spec.name) for entry in request.hosts]
        with self._store.transaction():
            taken: list[Host | None] = []
            for host, entry in zip(hosts, request.hosts, strict=True):
                if entry.incarnation < host.incarnation:
                    log.warning("an earlier life of a host registered; ignored", host=host.name)
                    taken.append(None)
                    continue
                self._take_over(host, entry.incarnation)
                self._inventory.set_endpoint(
                    host, request.address, request.metrics_url, request.pid
                )
                taken.append(host)
            self._reports.take_vms(taken, request.vms)
        for host in filter(None, taken):
            self._registered(host)
        return registry_pb2.RegisterReply(
            vrm_generation=self._generation, heartbeat_interval_s=self._interval_s
        )

    def _take_over(self, host: Host, incarnation: int) -> None:
        came_on = incarnation > host.incarnation
        if came_on:
            self._inventory.set_incarnation(host, incarnation)
            for vm in self._inventory.vms_on(host):
                self._changes.forget_doubts(vm)
        was = host.state
        self._inventory.move_host(host, HostEvent.REGISTERED)
        if host.state is HostState.INITIALISING:
            self._inventory.move_host(host, HostEvent.READY)
        host.registered = True
        self._inventory.host_figures.last_report_s[host.row] = self._clock.now()
        if was in _LOST and not came_on:
            self._tell_back(host, was)
        elif was is not host.state or came_on:
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
        _check(request)
        self.reports_total += 1
        taken: list[Host | None] = []
        unregistered: list[str] = []
        with self._store.transaction():
            for place, name in enumerate(request.host):
                host, incarnation = self._inventory.known_host(name), request.incarnation[place]
                if host is None or not host.registered or host.incarnation != incarnation:
                    taken.append(None)
                    if host is None or incarnation >= host.incarnation:
                        unregistered.append(name)
                    continue
                taken.append(host)
                if host.state in _LOST:
                    self._reconnect(host)
                gap_s = self._reports.take_host(host, place, request)
                if gap_s is not None:
                    self._lateness.observe(gap_s - self._interval_s)
            self._reports.take_vms(taken, request.vms)
        return registry_pb2.ReportReply(vrm_generation=self._generation, unregistered=unregistered)

    def _reconnect(self, host: Host) -> None:
        was = host.state
        self._inventory.move_host(host, HostEvent.READY)
        # The time that it was away is no lateness of this heartbeat.
        self._inventory.host_figures.last_report_s[host.row] = -1.0
        self._tell_back(host, was)
        self._registered(host)

    def _tell_back(self, host: Host, was: HostState) -> None:
        self._events.emit(
            Severity.INFO,
            "host.reconnected",
            f"host {host.name} was {was} and reports again",
            cluster=host.spec.cluster,
            host=host.name,
        )


def _check(report: registry_pb2.ReportRequest) -> None:
    hosts = len(report.host)
    if not (
        len(report.incarnation) == hosts
        and len(report.cpu_demand_mhz) == hosts
        and len(report.cpu_used_mhz) == hosts
        and len(report.memory_used_bytes) == hosts
    ):
        raise InvalidInput("report: the columns of hosts are not of one length")
    check_columns(hosts, report.vms)

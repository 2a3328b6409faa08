"""What the VRM counts, and how a scrape reads it from another thread."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from cluster.metrics.discovery import Target
from cluster.metrics.vrm_entities import (
    KnownHost,
    KnownHosts,
    MovingVm,
    RestartedVm,
    moving_vms,
    restarted_vms,
)

#: Upper bounds of the lateness histogram, emulated seconds; above the last is +Inf.
LATENESS_BOUNDS_S = (0.0, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS = (*(str(bound) for bound in LATENESS_BOUNDS_S), "+Inf")


class Lateness:
    """How much later than one interval after the last the heartbeats of hosts arrived."""

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENESS_BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.max_s = 0.0

    def observe(self, late_s: Sequence[float]) -> None:
        """Count heartbeats; one that came early counts as not late."""
        on_time = 0
        for each_s in late_s:
            if each_s > 0.0:
                self.counts[bisect_left(LATENESS_BOUNDS_S, each_s)] += 1
                self.sum_s += each_s
                self.max_s = max(self.max_s, each_s)
            else:
                on_time += 1
        self.counts[0] += on_time

    def buckets(self) -> tuple[tuple[str, int], ...]:
        """Return cumulative counts by upper bound, as Prometheus wants them."""
        return tuple(zip(_BUCKETS, accumulate(self.counts), strict=True))


@dataclass(frozen=True, slots=True)
class VrmView:
    """The VRM at one instant; nothing in it changes once it is published."""

    generation: int = 0
    now_s: float = 0.0
    started_s: float = 0.0
    known_hosts: Sequence[KnownHost] = ()
    heard_s: Sequence[float] = ()  # of each of them
    restarted_vms: Sequence[RestartedVm] = ()
    moving_vms: Sequence[MovingVm] = ()
    hosts: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (cluster, state)
    vms: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (cluster, state)
    tasks: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (kind, status)
    events: Mapping[str, int] = field(default_factory=dict)  # severity
    reports: int = 0
    lateness_buckets: tuple[tuple[str, int], ...] = ()
    lateness_sum_s: float = 0.0
    lateness_max_s: float = 0.0
    placements: int = 0
    placement_s: float = 0.0
    failovers: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (cause, outcome)
    failovers_under_way: int = 0
    restarts_waiting: int = 0
    phases_s: Mapping[str, float] = field(default_factory=dict)  # of failovers that ran
    migrations: Mapping[str, int] = field(default_factory=dict)  # outcome
    migrations_waiting: int = 0
    migrations_under_way: int = 0
    targets: tuple[Target, ...] = ()


class VrmMetrics(Collector):
    """Renders the VRM's last published view; safe in any thread."""

    def __init__(self, datacenter: str, view: Callable[[], VrmView]) -> None:
        self._datacenter = datacenter
        self._view = view
        self._known_hosts = KnownHosts(datacenter)

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        view = self._view()
        yield self._by(
            GaugeMetricFamily(
                "fusion_vrm_hosts", "Hosts by state", labels=["datacenter", "cluster", "state"]
            ),
            view.hosts,
        )
        yield self._by(
            GaugeMetricFamily(
                "fusion_vrm_vms", "VMs by state", labels=["datacenter", "cluster", "state"]
            ),
            view.vms,
        )
        yield self._by(
            GaugeMetricFamily(
                "fusion_vrm_tasks",
                "Tasks that the VRM remembers",
                labels=["datacenter", "kind", "status"],
            ),
            view.tasks,
        )
        events = CounterMetricFamily(
            "fusion_vrm_events",
            "Events since the VRM started",
            labels=["datacenter", "severity"],
        )
        for severity, count in view.events.items():
            events.add_metric([self._datacenter, severity], count)
        yield events
        yield self._counter(
            "fusion_vrm_reports", "Reports received from agents' processes", view.reports
        )
        lateness = HistogramMetricFamily(
            "fusion_vrm_heartbeat_lateness_seconds",
            "How much more than one interval after the last a host's heartbeat arrived",
            labels=["datacenter"],
        )
        if view.lateness_buckets:
            lateness.add_metric(
                [self._datacenter], list(view.lateness_buckets), view.lateness_sum_s
            )
        yield lateness
        yield self._gauge(
            "fusion_vrm_heartbeat_lateness_max_seconds",
            "The latest heartbeat of a connected host since the VRM started",
            view.lateness_max_s,
        )
        yield self._counter("fusion_vrm_placements", "VMs that were placed", view.placements)
        yield self._counter(
            "fusion_vrm_placement_seconds", "Time spent on placing VMs", view.placement_s
        )
        yield from self._of_failovers(view)
        yield from self._of_migrations(view)
        yield from self._known_hosts.collect(view.known_hosts, view.heard_s)
        yield self._gauge("fusion_vrm_generation", "How often the VRM was started", view.generation)
        yield self._gauge(
            "fusion_vrm_started_seconds",
            "When the VRM was last started (emulated seconds since the launch)",
            view.started_s,
        )
        yield self._gauge(
            "fusion_vrm_clock_seconds", "Emulated seconds since the launch", view.now_s
        )

    def _of_failovers(self, view: VrmView) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "fusion_vrm_failovers",
            "Failovers of VMs that have ended since the VRM started",
            labels=["datacenter", "cause", "outcome"],
        )
        for (cause, outcome), count in view.failovers.items():
            ended.add_metric([self._datacenter, cause, outcome], count)
        yield ended
        yield self._gauge(
            "fusion_vrm_failovers_under_way", "VMs that are failing over", view.failovers_under_way
        )
        yield self._gauge(
            "fusion_vrm_restarts_waiting",
            "VMs that are fenced and wait for their turn or for a host",
            view.restarts_waiting,
        )
        phases = CounterMetricFamily(
            "fusion_vrm_failover_phase_seconds",
            "Time that failovers took whose VMs ran in the end, by phase",
            labels=["datacenter", "phase"],
        )
        for phase, spent_s in view.phases_s.items():
            phases.add_metric([self._datacenter, phase], spent_s)
        yield phases
        yield restarted_vms(self._datacenter, view.restarted_vms)

    def _of_migrations(self, view: VrmView) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "fusion_vrm_migrations",
            "Live migrations that have ended since the VRM started",
            labels=["datacenter", "outcome"],
        )
        for outcome, count in view.migrations.items():
            ended.add_metric([self._datacenter, outcome], count)
        yield ended
        yield self._gauge(
            "fusion_vrm_migrations_waiting",
            "Live migrations that wait for a slot of a host or of their cluster",
            view.migrations_waiting,
        )
        yield self._gauge(
            "fusion_vrm_migrations_under_way",
            "Live migrations that VMs are on",
            view.migrations_under_way,
        )
        yield from moving_vms(self._datacenter, view.moving_vms)

    def _by(
        self, family: GaugeMetricFamily, counts: Mapping[tuple[str, str], int]
    ) -> GaugeMetricFamily:
        for (first, second), count in counts.items():
            family.add_metric([self._datacenter, first, second], count)
        return family

    def _counter(self, name: str, text: str, value: float) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=["datacenter"])
        family.add_metric([self._datacenter], value)
        return family

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["datacenter"])
        family.add_metric([self._datacenter], value)
        return family

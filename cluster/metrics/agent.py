"""What an agent's process counts about itself: orders, reports and the rhythm of its heartbeats."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

#: Upper bounds of histograms, emulated seconds.
LATENESS_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
DURATION_BOUNDS_S = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, math.inf)
DOWNTIME_BOUNDS_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, math.inf)


#: What hosts do by themselves. Each is counted from the start: a series that appears with its first
#: count has no increase.
NOTICES = (
    *("vm.held", "vm.resumed", "vm.discarded"),
    *("host.isolated", "host.rejoined", "host.clock"),
)


class Outcome(StrEnum):
    """How an order or a call to the VRM ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Distribution:
    """Values counted up to bounds, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)
        self.sum_s = 0.0

    def add(self, value_s: float) -> None:
        self.counts[bisect_left(self.bounds, value_s)] += 1
        self.sum_s += value_s

    def buckets(self) -> list[tuple[str, int]]:
        """Return how many there were up to each bound."""
        upto = accumulate(self.counts)
        return [
            ("+Inf" if math.isinf(bound) else str(bound), count)
            for bound, count in zip(self.bounds, upto, strict=True)
        ]


class MigrationCounters:
    """Of migrations out of hosts: by outcome, ``moved`` or ``stayed``."""

    OUTCOMES = ("moved", "stayed")

    def __init__(self) -> None:
        self.duration = {one: Distribution(DURATION_BOUNDS_S) for one in self.OUTCOMES}
        self.downtime = {one: Distribution(DOWNTIME_BOUNDS_S) for one in self.OUTCOMES}
        self.rounds = dict.fromkeys(self.OUTCOMES, 0)
        self.raw_bytes = 0
        self.wire_bytes = 0
        self.under_way = {"out": 0, "in": 0}  # of all hosts of the process, by direction

    def ended(self, outcome: str, *, duration_s: float, downtime_s: float, rounds: int) -> None:
        """Note how a migration ended."""
        self.duration[outcome].add(duration_s)
        self.downtime[outcome].add(downtime_s)
        self.rounds[outcome] += rounds


class AgentCounters:
    """Plain numbers that only grow; the agent's loop writes them, a scrape reads them."""

    def __init__(self) -> None:
        self.orders: Counter[tuple[str, Outcome]] = Counter()
        self.registrations: Counter[Outcome] = Counter()
        self.reports: Counter[Outcome] = Counter()
        self.answers: Counter[Outcome] = Counter()  # of guests to clients
        self.notices: Counter[str] = Counter()  # of what hosts did by themselves, by kind
        self.renewals: Counter[tuple[str, Outcome]] = Counter()  # by array
        self.lateness = Distribution(LATENESS_BOUNDS_S)  # of heartbeats, after their due instants
        self.migrations = MigrationCounters()


class AgentMetrics(Collector):
    """Renders the counters of the process that answers under ``agent``; safe in any thread."""

    def __init__(self, datacenter: str, agent: str, counters: AgentCounters) -> None:
        self._labels = {"datacenter": datacenter, "agent": agent}
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        yield self._calls("reports", "Heartbeats sent to the VRM", self._counters.reports)
        yield self._calls(
            "registrations", "Registrations of hosts at the VRM", self._counters.registrations
        )
        yield self._by("orders", "Orders carried out, by kind", "kind", self._counters.orders)
        yield self._by("renewals", "Renewals of leases, by array", "array", self._counters.renewals)
        yield self._answers()
        yield self._notices()
        yield self._lateness()
        yield from self._migrations()

    def _calls(self, name: str, documentation: str, counts: Counter[Outcome]) -> Metric:
        family = CounterMetricFamily(f"fusion_agent_{name}", documentation)
        for outcome in (Outcome.DONE, Outcome.FAILED):
            labels = {**self._labels, "outcome": outcome.value}
            family.add_sample(f"fusion_agent_{name}_total", labels, counts[outcome])
        return family

    def _by(
        self, name: str, documentation: str, label: str, counts: Counter[tuple[str, Outcome]]
    ) -> Metric:
        family = CounterMetricFamily(f"fusion_agent_{name}", documentation)
        for (value, outcome), count in dict(counts).items():
            labels = {**self._labels, label: value, "outcome": outcome.value}
            family.add_sample(f"fusion_agent_{name}_total", labels, count)
        return family

    def _answers(self) -> Metric:
        family = CounterMetricFamily(
            "fusion_agent_guest_answers",
            "Requests of clients that guests answered, or were refused an answer to",
        )
        for outcome in (Outcome.DONE, Outcome.REFUSED):
            labels = {**self._labels, "outcome": outcome.value}
            count = self._counters.answers[outcome]
            family.add_sample("fusion_agent_guest_answers_total", labels, count)
        return family

    def _notices(self) -> Metric:
        family = CounterMetricFamily(
            "fusion_agent_notices",
            "What hosts did by themselves: VMs frozen, resumed and discarded, isolation",
        )
        for kind, count in {**dict.fromkeys(NOTICES, 0), **self._counters.notices}.items():
            family.add_sample("fusion_agent_notices_total", {**self._labels, "kind": kind}, count)
        return family

    def _lateness(self) -> Metric:
        family = HistogramMetricFamily(
            "fusion_agent_heartbeat_lateness_seconds",
            "How long after its due instant a heartbeat set out (emulated seconds)",
            labels=tuple(self._labels),
        )
        lateness = self._counters.lateness
        family.add_metric(
            tuple(self._labels.values()), buckets=lateness.buckets(), sum_value=lateness.sum_s
        )
        return family

    def _migrations(self) -> Iterator[Metric]:
        migrations = self._counters.migrations
        yield self._by_outcome(
            "duration_seconds",
            "From the begin of a migration until its outcome, at the source (emulated seconds)",
            migrations.duration,
        )
        yield self._by_outcome(
            "downtime_seconds",
            "How long guests were paused to be handed over (emulated seconds)",
            migrations.downtime,
        )
        rounds = CounterMetricFamily(
            "fusion_migration_rounds", "Rounds of pages in migrations that ended"
        )
        for outcome, count in migrations.rounds.items():
            labels = {**self._labels, "outcome": outcome}
            rounds.add_sample("fusion_migration_rounds_total", labels, count)
        yield rounds
        for kind, documentation, value in (
            ("raw", "Memory sent by migrations, as guests have it", migrations.raw_bytes),
            ("wire", "Bytes that migrations sent on the network", migrations.wire_bytes),
        ):
            name = f"fusion_migration_{kind}_bytes"
            family = CounterMetricFamily(name, documentation)
            family.add_sample(f"{name}_total", self._labels, value)
            yield family
        under_way = GaugeMetricFamily(
            "fusion_migrations_under_way", "Migrations under way, out of hosts and to them"
        )
        for direction, count in migrations.under_way.items():
            labels = {**self._labels, "direction": direction}
            under_way.add_sample("fusion_migrations_under_way", labels, count)
        yield under_way

    def _by_outcome(
        self, name: str, documentation: str, values: Mapping[str, Distribution]
    ) -> Metric:
        family = HistogramMetricFamily(
            f"fusion_migration_{name}", documentation, labels=(*self._labels, "outcome")
        )
        for outcome, distribution in values.items():
            family.add_metric(
                (*self._labels.values(), outcome),
                buckets=distribution.buckets(),
                sum_value=distribution.sum_s,
            )
        return family

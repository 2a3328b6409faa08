"""What an agent's process counts about itself: orders, reports and the rhythm of its heartbeats."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

#: Upper bounds of the lateness histogram, emulated seconds.
LATENESS_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)


class Outcome(StrEnum):
    """How an order or a call to the VRM ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class AgentCounters:
    """Plain numbers that only grow; the agent's loop writes them, a scrape reads them."""

    def __init__(self) -> None:
        self.orders: Counter[tuple[str, Outcome]] = Counter()
        self.registrations: Counter[Outcome] = Counter()
        self.reports: Counter[Outcome] = Counter()
        self.answers: Counter[Outcome] = Counter()  # of guests to clients
        self.notices: Counter[str] = Counter()  # of what hosts did by themselves, by kind
        self.renewals: Counter[tuple[str, Outcome]] = Counter()  # by array
        self.lateness_counts = [0] * len(LATENESS_BOUNDS_S)
        self.lateness_sum_s = 0.0

    def heartbeat(self, lateness_s: float) -> None:
        """Note a heartbeat that set out ``lateness_s`` after its due instant."""
        self.lateness_counts[bisect_left(LATENESS_BOUNDS_S, lateness_s)] += 1
        self.lateness_sum_s += lateness_s


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
        for kind, count in dict(self._counters.notices).items():
            family.add_sample("fusion_agent_notices_total", {**self._labels, "kind": kind}, count)
        return family

    def _lateness(self) -> Metric:
        family = HistogramMetricFamily(
            "fusion_agent_heartbeat_lateness_seconds",
            "How long after its due instant a heartbeat set out (emulated seconds)",
            labels=tuple(self._labels),
        )
        buckets, below = [], 0
        for bound, count in zip(LATENESS_BOUNDS_S, self._counters.lateness_counts, strict=True):
            below += count
            buckets.append(("+Inf" if math.isinf(bound) else str(bound), below))
        family.add_metric(
            tuple(self._labels.values()), buckets=buckets, sum_value=self._counters.lateness_sum_s
        )
        return family

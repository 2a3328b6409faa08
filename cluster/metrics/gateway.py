"""What the gateway's clients see, as a scrape shows it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fusion.guest.client_log import Outcome

#: Upper bounds of the latency histogram, emulated seconds.
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, math.inf)


class ClientCounters:
    """Plain numbers of one client; the gateway's loop writes them, a scrape reads them."""

    def __init__(self, client: str, vm: str) -> None:
        self.client = client
        self.vm = vm
        self.outcomes = dict.fromkeys(Outcome, 0)
        self.latency_counts = [0] * len(LATENCY_BOUNDS_S)
        self.latency_sum_s = 0.0
        self.longest_gap_s = 0.0  # of those that have ended
        self.since_s: float | None = None  # the last answer, or when it was first watched
        self.answered_s: float | None = None

    def ended(self, sent_s: float, ended_s: float, outcome: Outcome) -> None:
        """Count a request."""
        self.outcomes[outcome] += 1
        if self.since_s is None:
            self.since_s = ended_s if outcome is Outcome.ANSWERED else sent_s
        if outcome is Outcome.ANSWERED:
            self.latency_counts[bisect_left(LATENCY_BOUNDS_S, ended_s - sent_s)] += 1
            self.latency_sum_s += ended_s - sent_s
            self.longest_gap_s = max(self.longest_gap_s, ended_s - self.since_s)
            self.since_s = self.answered_s = ended_s

    def longest_s(self, now_s: float) -> float:
        """The longest time without an answer, the present one among them."""
        open_s = 0.0 if self.since_s is None else now_s - self.since_s
        return max(self.longest_gap_s, open_s)


class GatewayMetrics(Collector):
    """Renders the counters of all clients; safe in any thread."""

    def __init__(
        self, datacenter: str, clients: Sequence[ClientCounters], now: Callable[[], float]
    ) -> None:
        self._datacenter = datacenter
        self._clients = clients
        self._now = now

    def collect(self) -> Iterator[Metric]:
        labels = ("datacenter", "client", "vm")
        requests = CounterMetricFamily(
            "fusion_client_requests",
            "Requests of clients that have ended, since the gateway started",
            labels=(*labels, "outcome"),
        )
        latency = HistogramMetricFamily(
            "fusion_client_latency_seconds",
            "From a request of a client to its answer (emulated seconds)",
            labels=labels,
        )
        last = GaugeMetricFamily(
            "fusion_client_last_answer_seconds",
            "When a client was last answered (emulated seconds since the launch)",
            labels=labels,
        )
        longest = GaugeMetricFamily(
            "fusion_client_longest_gap_seconds",
            "The longest time without an answer since the gateway started (emulated seconds)",
            labels=labels,
        )
        for client in self._clients:
            values = (self._datacenter, client.client, client.vm)
            for outcome, count in client.outcomes.items():
                requests.add_metric((*values, _name(outcome)), count)
            latency.add_metric(values, _buckets(client.latency_counts), client.latency_sum_s)
            if client.answered_s is not None:
                last.add_metric(values, client.answered_s)
            longest.add_metric(values, client.longest_s(self._now()))
        yield from (requests, latency, last, longest)


def _name(outcome: Outcome) -> str:
    return outcome.name.lower().replace("_", "-")


def _buckets(counts: Sequence[int]) -> list[tuple[str, int]]:
    bounds = ("+Inf" if math.isinf(bound) else str(bound) for bound in LATENCY_BOUNDS_S)
    return list(zip(bounds, accumulate(counts), strict=True))
